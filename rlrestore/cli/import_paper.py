"""`rlrestore import-paper`: the authors' released TensorFlow checkpoints as a model of ours."""

import argparse
from pathlib import Path

from rlrestore.cli import Subparsers
from rlrestore.cli.reporting import say

DESCRIPTION = """\
Read the authors' released checkpoints (twelve tools and the agent), without TensorFlow, and write them as a
model folder that every other command takes by --model. DIR holds toolbox/tool01 to tool12 and models/model,
each an .index and a .data-00000-of-00001.
"""


def add_parser(subparsers: Subparsers) -> None:
    """Add the subcommand to the command line."""
    parser = subparsers.add_parser(
        "import-paper", help="convert the authors' TensorFlow checkpoints", description=DESCRIPTION
    )
    parser.add_argument("folder", type=Path, metavar="DIR", help="the folder of the authors' release")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="the model folder to write")


def run(args: argparse.Namespace) -> int:
    """Read everything, then write the model.

    Raises:
        ModelError: The checkpoints are not what they should be.
        RlrestoreError: The model cannot be written.
    """
    from rlrestore.agent.storage import save_model
    from rlrestore.cli.outputs import prepare_folder
    from rlrestore.paper.importing import CARD, import_paper

    toolbox, policy = import_paper(args.folder)
    prepare_folder(args.out)
    save_model(args.out, toolbox, policy, CARD)
    say(f"wrote {args.out}")
    return 0
