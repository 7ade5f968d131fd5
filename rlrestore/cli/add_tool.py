"""`rlrestore add-tool`: a custom tool: a network in an ONNX file, as one tool more."""

import argparse
from dataclasses import replace
from pathlib import Path

from rlrestore.cli import Subparsers
from rlrestore.cli.reporting import say
from rlrestore.cli.training_records import lasting_card
from rlrestore.errors import UsageError

DESCRIPTION = """\
Write the tools of a model and one more, from an ONNX file that maps float32 (B, 3, H, W) to the same shape,
as a new model. Its agent is then to be trained: rlrestore train-agent --toolbox OUT --out OUT ... A PyTorch
module is added from Python: see docs/custom-tools.md.
"""


def add_parser(subparsers: Subparsers) -> None:
    """Add the subcommand to the command line."""
    parser = subparsers.add_parser(
        "add-tool", help="add a network of your own to a model's tools", description=DESCRIPTION
    )
    parser.add_argument("file", type=Path, metavar="FILE.onnx", help="the network, all in one file")
    parser.add_argument("--name", required=True, metavar="N", help="what the tool is called")
    parser.add_argument(
        "--radius",
        type=int,
        required=True,
        metavar="R",
        help="its receptive field to each side, up to 64 pixels",
    )
    parser.add_argument("--model", default="default", metavar="M", help="whose tools (default: default)")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="the model folder to write")


def run(args: argparse.Namespace) -> int:
    """Check the tool, then write the model.

    Raises:
        UsageError: The file is no tool, its name is taken, or `--out` is the model itself.
        RlrestoreError: The model cannot be read or written.
    """
    from rlrestore.cli.outputs import prepare_folder
    from rlrestore.model_folder import find_model, read_card
    from rlrestore.toolbox.custom import ONNX, add_onnx_tool, custom_spec
    from rlrestore.toolbox.storage import load_toolbox, save_toolbox

    model = find_model(args.model)
    if model.resolve() == args.out.resolve():
        raise UsageError(f"{args.out} is the model itself, whose agent would be lost: choose another --out")
    toolbox = add_onnx_tool(load_toolbox(model), custom_spec(args.name, ONNX, args.radius), args.file)
    prepare_folder(args.out)
    card = read_card(model)
    save_toolbox(args.out, toolbox, replace(lasting_card(card), precision=card.precision))
    say(f"wrote {args.out}; train its agent: rlrestore train-agent --toolbox {args.out} --out {args.out} ...")
    return 0
