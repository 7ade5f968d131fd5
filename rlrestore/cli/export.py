"""`rlrestore export`: a model in ONNX, for machines without torch."""

import argparse
import importlib
from pathlib import Path

from rlrestore.cli import Subparsers
from rlrestore.cli.reporting import say
from rlrestore.errors import UsageError, how_to_install

DESCRIPTION = """\
Write a model in ONNX: a file for each tool, which takes images of any size and number, one for the agent,
and the card. Each network is compared with torch's, and nothing is written if one differs. On the folder,
restore, distribute, serve and tools need onnxruntime and no torch. It needs the extra onnx.
"""


def add_parser(subparsers: Subparsers) -> None:
    """Add the subcommand to the command line."""
    parser = subparsers.add_parser(
        "export", help="write a model in ONNX, for machines without torch", description=DESCRIPTION
    )
    parser.add_argument(
        "model",
        nargs="?",
        default="default",
        metavar="MODEL",
        help="name or folder (default: the shipped one)",
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="the model folder to write")
    parser.add_argument(
        "--half",
        action="store_true",
        help="weights in float16, in half the space, as the shipped model has them; computed in float32",
    )


def run(args: argparse.Namespace) -> int:
    """Export the model.

    Raises:
        UsageError: There is no such model, it cannot be exported, or another one is in `--out`.
        RlrestoreError: The exported model is not what it should be, or cannot be written.
    """
    check_onnx("export")
    from rlrestore.export.writing import export_model
    from rlrestore.model_folder import find_model
    from rlrestore.model_folder.exported import check_place
    from rlrestore.model_folder.inspector import copy_inspector
    from rlrestore.model_folder.upscaler import own_upscaler, replace_upscaler
    from rlrestore.runtime.torch_runtime import TorchRuntime

    check_place(args.out)
    model = TorchRuntime.load(args.model)
    comparisons = export_model(model, args.out, args.half)
    source = find_model(args.model)
    copy_inspector(source, args.out)
    replace_upscaler(args.out, own_upscaler(source))
    for each in comparisons:
        print(f"{each.part}: within {each.apart:.1g} of torch")
    say(f"wrote {args.out}; on a machine without torch: rlrestore restore IMG --model {args.out}")
    return 0


def check_onnx(wanted_by: str) -> None:
    """Make sure that networks can be written in ONNX, and run.

    Args:
        wanted_by: What needs it, for the message.

    Raises:
        UsageError: onnx or onnxruntime is not installed.
    """
    from rlrestore.toolbox.sessions import load_onnxruntime

    load_onnxruntime(wanted_by)
    try:
        importlib.import_module("onnx")
    except ImportError as error:
        raise UsageError(f"{wanted_by} needs onnx: {how_to_install('onnx')}") from error
