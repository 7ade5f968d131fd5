"""Train one network on the mixtures that a model is trained on: what a user would try instead of a toolbox.

    python scripts/train_single.py --data PHOTOS --out DIR --minutes M --mixture any --widths 32 104

The network is an 8-layer tool of another width, trained as the tools are. Of what the model is trained on it
sees the mixtures alone: single distortions and clean photographs, for which the toolbox has tools of its own
and a stop, would only cost it. `scripts/compare.py --singles DIR` sets it beside the model. With --start it
begins with a finished one.
"""

import argparse
import logging
import shlex
import sys
from pathlib import Path

from rlrestore.cli.arguments import positive_float, positive_int
from rlrestore.cli.outputs import prepare_folder
from rlrestore.cli.reporting import run_script
from rlrestore.devices import keep_freed_memory, resolve_device
from rlrestore.errors import UsageError
from rlrestore.imaging.mixture_files import read_mixture
from rlrestore.imaging.pairs import context_side
from rlrestore.imaging.patches import PhotoBank
from rlrestore.model_folder import read_card
from rlrestore.model_folder.card import ModelCard, Record
from rlrestore.toolbox.checkpoint import Checkpoint
from rlrestore.toolbox.networks import WIDTHS
from rlrestore.toolbox.specs import ToolSpec, check_widths
from rlrestore.toolbox.storage import load_toolbox, save_toolbox
from rlrestore.toolbox.toolbox import Toolbox
from rlrestore.toolbox.trainer import Budget, Trainer
from rlrestore.toolbox.training import TRAINING_FOLDER, ToolSettings, ToolTraining

DEPTH = 8


def build_parser() -> argparse.ArgumentParser:
    """Return the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", required=True, type=Path, help="folder of photographs to train on")
    parser.add_argument("--out", required=True, type=Path, help="the model folder to write")
    budget = parser.add_mutually_exclusive_group(required=True)
    budget.add_argument("--minutes", type=positive_float)
    budget.add_argument("--steps", type=positive_int)
    parser.add_argument(
        "--mixture", default="paper", metavar="FILE", help="whose levels (default: paper, the moderate ones)"
    )
    parser.add_argument(
        "--widths",
        type=positive_int,
        nargs=2,
        metavar=("HALF", "QUARTER"),
        default=WIDTHS["hourglass"][DEPTH],
        help="channels at half and at a quarter of the resolution (default: %(default)s)",
    )
    parser.add_argument("--start", type=Path, help="a folder that this script wrote, to begin with")
    parser.add_argument("--device", default="cpu")
    return parser


def run(args: argparse.Namespace) -> None:
    """Train it, go on where it was stopped, and write it as a toolbox of one tool.

    Raises:
        RlrestoreError: No such device, model or photographs, or a checkpoint of another training.
    """
    keep_freed_memory()
    device = resolve_device(args.device)
    check_widths(args.widths)
    prepare_folder(args.out)
    settings = ToolSettings(widths=tuple(args.widths))
    bank, validation = (
        PhotoBank.from_folder(args.data, part, smallest_side=context_side(settings.patch), device=device)
        for part in ("train", "validation")
    )
    mixture = read_mixture(args.mixture).levels
    spec = ToolSpec("single", "mixture", mixture.lowest, mixture.highest, DEPTH)
    training = ToolTraining(spec, settings, bank)
    trainer = Trainer(training, Checkpoint(args.out / TRAINING_FOLDER / spec.name), "either")
    records: tuple[Record, ...] = ()
    if args.start is not None:
        records = read_card(args.start).training
        begun = load_toolbox(args.start, device)
        if begun.stop != 1:
            raise UsageError(f"expected a model of one tool to begin with, {args.start} has {begun.stop}")
        if training.steps == 0:
            training.begin_with(begun.networks[0].state_dict())
    trainer.run(Budget(args.minutes, args.steps))
    report = training.report(validation, trainer.seconds)
    print(report.line())
    record = {
        "stage": "tools",
        "command": shlex.join(["python", *sys.argv]),
        "mixture": args.mixture,
        "data": f"{len(bank)} photographs (scales counted)",
        **trainer.spent(),
        "device": args.device,
        "seed": settings.seed,
        "networks": [report.record()],
    }
    toolbox = Toolbox([spec], networks=[training.average], widths={DEPTH: args.widths})
    save_toolbox(args.out, toolbox, ModelCard(args.out.name, training=(*records, record)))


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    sys.exit(run_script(build_parser(), run))
