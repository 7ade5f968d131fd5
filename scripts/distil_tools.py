"""Train a finished model's tools on by distillation: they learn what a slower teacher makes of their patches.

    python scripts/distil_tools.py --data PHOTOS --start default --out DIR --minutes 60 --single SINGLE

The teacher is the mean of what the tools that it begins with make of eight views (`rlrestore restore --views
8`) and, with --single, of what one network does that `scripts/train_single.py` trained, where that comes
nearer to the clean image. Stopped at any point, the same command goes on where it was. The agent stays as it
is; average_agent.py lets it follow.
"""

import argparse
import logging
import shlex
import sys
from dataclasses import replace
from pathlib import Path

from rlrestore.agent.distillation import DistillationSettings, DistillationTraining, Teacher
from rlrestore.agent.learn import smallest_side
from rlrestore.agent.storage import load_agent, save_model
from rlrestore.cli.arguments import positive_float, positive_int, seed_number, share
from rlrestore.cli.outputs import prepare_folder
from rlrestore.cli.reporting import run_script
from rlrestore.devices import keep_freed_memory, resolve_device
from rlrestore.errors import UsageError
from rlrestore.imaging.mixture_files import read_mixture
from rlrestore.imaging.patches import PhotoBank
from rlrestore.model_folder import find_model, read_card
from rlrestore.toolbox.checkpoint import Checkpoint
from rlrestore.toolbox.networks import DEPTHS
from rlrestore.toolbox.storage import load_toolbox
from rlrestore.toolbox.toolbox import widened
from rlrestore.toolbox.trainer import Budget, Trainer
from rlrestore.toolbox.training import TRAINING_FOLDER


def build_parser() -> argparse.ArgumentParser:
    """Return the command line."""
    usual = DistillationSettings()
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", required=True, type=Path, help="folder of photographs to train on")
    parser.add_argument("--start", default="default", metavar="M", help="a name or folder (default: default)")
    parser.add_argument("--out", required=True, type=Path, help="the model folder to write")
    budget = parser.add_mutually_exclusive_group(required=True)
    budget.add_argument("--minutes", type=positive_float)
    budget.add_argument("--steps", type=positive_int)
    parser.add_argument("--single", metavar="M", help="a single network that teaches with the tools")
    parser.add_argument(
        "--tools", nargs="+", default=[], metavar="NAME", help="tools that learn (default: all)"
    )
    parser.add_argument(
        "--widths",
        type=positive_int,
        nargs=2,
        metavar=("HALF", "QUARTER"),
        help="channels of the 8-layer tools at half and at a quarter of the resolution; they grow, and "
        "restore as before until they learn (default: those of --start)",
    )
    parser.add_argument(
        "--batch", type=positive_int, default=usual.batch, help="patches a step (default: %(default)s)"
    )
    parser.add_argument(
        "--rate",
        type=positive_float,
        default=usual.learning_rate,
        help="learning rate (default: %(default)s)",
    )
    parser.add_argument(
        "--clean",
        type=share,
        default=usual.clean_weight,
        metavar="S",
        help="what the clean image counts (default: %(default)s)",
    )
    parser.add_argument("--mixture", default="any", metavar="FILE", help="what to train on (default: any)")
    parser.add_argument("--seed", type=seed_number, default=0)
    parser.add_argument("--device", default="cpu")
    return parser


def run(args: argparse.Namespace) -> None:
    """Train the tools, go on where it was stopped, and write the model.

    Raises:
        RlrestoreError: No such device, model, tool or photographs, `--out` is the model to begin with,
            widths out of range, or a checkpoint of another training.
    """
    keep_freed_memory()
    device, mixture, folder = resolve_device(args.device), read_mixture(args.mixture), find_model(args.start)
    if folder.resolve() == args.out.resolve():
        raise UsageError(f"{args.out} is the model to begin with: choose another --out")
    toolbox, card = load_toolbox(folder, device), read_card(folder)
    policy = load_agent(folder, toolbox, device)
    unknown = {*args.tools} - {*toolbox.names}
    if unknown:
        raise UsageError(f"expected tools among {', '.join(toolbox.names)}, got {', '.join(sorted(unknown))}")
    single = None if args.single is None else load_toolbox(args.single, device)
    if single is not None and single.stop != 1:
        raise UsageError(f"expected a model of one tool to teach, {args.single} has {single.stop}")
    students = load_toolbox(folder, device)
    if args.widths is not None:
        students = widened(students, {max(DEPTHS): args.widths}, args.seed)
    prepare_folder(args.out)
    bank = PhotoBank.from_folder(args.data, "train", smallest_side=smallest_side(mixture), device=device)
    settings = DistillationSettings(
        batch=args.batch, learning_rate=args.rate, clean_weight=args.clean, seed=args.seed
    )
    training = DistillationTraining(
        students,
        Teacher(toolbox, single),
        policy,
        bank,
        mixture.recipe,
        settings,
        mixture.identity,
        frozenset(args.tools),
    )
    trainer = Trainer(training, Checkpoint(args.out / TRAINING_FOLDER / training.name), "either")
    trainer.run(Budget(args.minutes, args.steps))
    record = {
        "stage": "joint",
        "part": training.name,
        "command": shlex.join(["python", *sys.argv]),
        "mixture": mixture.identity,
        "data": f"{len(bank)} photographs (scales counted)",
        **trainer.spent(),
        "device": args.device,
        "seed": args.seed,
    }
    save_model(args.out, students.eval(), policy, replace(card, training=(*card.training, record)))
    print(f"wrote {args.out}")


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    sys.exit(run_script(build_parser(), run))
