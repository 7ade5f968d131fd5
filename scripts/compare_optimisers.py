"""Compare optimisers on one tool's network, from nothing, by the same steps on the same patches.

    python scripts/compare_optimisers.py --data PHOTOS --steps 500 --batch 64

The network is an 8-layer tool on the mixtures of all strengths, with which `scripts/train_release.py` begins.
Each line of the table, in Markdown, says what it gains on held-out photographs. Tools are trained by Muon.
"""

import argparse
import sys
import tempfile
from pathlib import Path

import torch

from rlrestore.cli.arguments import positive_float, positive_int
from rlrestore.cli.reporting import run_script
from rlrestore.devices import keep_freed_memory, resolve_device
from rlrestore.imaging.mixture_files import read_mixture
from rlrestore.imaging.pairs import context_side
from rlrestore.imaging.patches import PhotoBank
from rlrestore.toolbox.checkpoint import Checkpoint
from rlrestore.toolbox.report import ToolReport
from rlrestore.toolbox.specs import ToolSpec
from rlrestore.toolbox.trainer import Budget, Trainer
from rlrestore.toolbox.training import ToolSettings, ToolTraining

OPTIMISERS = ("Adam", "Muon")
DEPTH = 8


def train(
    optimiser: str, settings: ToolSettings, steps: int, bank: PhotoBank, validation: PhotoBank
) -> ToolReport:
    """Train a new network by one of `OPTIMISERS`, at the settings' learning rate, and measure it."""
    levels = read_mixture("any").levels
    training = ToolTraining(
        ToolSpec("mixtures", "mixture", levels.lowest, levels.highest, DEPTH), settings, bank
    )
    if optimiser == "Adam":  # Muon is what tools are trained by
        training.optimizer = torch.optim.Adam(training.trained.parameters())  # type: ignore[assignment]  # here alone
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(training, Checkpoint(Path(folder) / "training"))
        trainer.run(Budget(steps=steps))
    return training.report(validation, trainer.seconds)


def build_parser() -> argparse.ArgumentParser:
    """Return the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", required=True, type=Path, help="folder of photographs to train on")
    parser.add_argument("--steps", type=positive_int, default=500, help="of each (default: 500)")
    parser.add_argument("--batch", type=positive_int, default=64, help="patches a step (default: 64)")
    parser.add_argument(
        "--rates",
        type=positive_float,
        nargs="+",
        default=[3e-4, 1e-3, 3e-3],
        metavar="R",
        help="learning rates at their highest (default: 3e-4 1e-3 3e-3)",
    )
    parser.add_argument("--device", default="cpu")
    return parser


def run(args: argparse.Namespace) -> None:
    """Train by each optimiser at each rate, and print the table.

    Raises:
        RlrestoreError: No such device, no photographs, or a training that diverged.
    """
    keep_freed_memory()
    device = resolve_device(args.device)
    bank, validation = (
        PhotoBank.from_folder(
            args.data, part, smallest_side=context_side(ToolSettings().patch), device=device
        )
        for part in ("train", "validation")
    )
    print("| optimiser | learning rate | gain, dB | seconds |\n|---|---|---|---|")
    for name in OPTIMISERS:
        for rate in args.rates:
            settings = ToolSettings(batch=args.batch, learning_rate=rate)
            report = train(name, settings, args.steps, bank, validation)
            before, after = report.own_db
            print(f"| {name} | {rate:g} | {after - before:+.2f} | {report.seconds:.0f} |", flush=True)


if __name__ == "__main__":
    sys.exit(run_script(build_parser(), run))
