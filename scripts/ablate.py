"""Ablations of a model: one table, of the same patches without one of its parts.

    python scripts/ablate.py --data div2k_valid_256/
    python scripts/ablate.py --data div2k_valid_256/ --model MODEL --separate TRAINED_APART

Writes `ablations.md` into --out: the model, without joint training, without the stop action, with 1 to 5
steps, with half of its toolbox, with shallow or deep tools alone, and greedy oracles with the same tools.
"""

import argparse
import logging
import sys
from pathlib import Path

import torch

from experiments.ablation import ablate, ablation_page
from experiments.comparison_report import describe_machine, shown_command
from rlrestore.cli.arguments import positive_int, seed_number
from rlrestore.cli.outputs import prepare_folder
from rlrestore.cli.reporting import run_script
from rlrestore.errors import RlrestoreError
from rlrestore.evaluation.testsets import generate, read_photos
from rlrestore.imaging.degradation.mixtures import MIXTURES
from rlrestore.imaging.io.atomic import write_atomically
from rlrestore.model_folder import find_model, weights_label
from rlrestore.runtime.torch_runtime import TorchRuntime

ABLATIONS = "ablations.md"

log = logging.getLogger("ablate")


def build_parser() -> argparse.ArgumentParser:
    """Return the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--data", type=Path, required=True, metavar="DIR", help="held-out photographs to cut patches from"
    )
    parser.add_argument("--model", default="default", metavar="M", help="name or folder (default: default)")
    parser.add_argument("--separate", metavar="M", help="the same model trained without joint training")
    parser.add_argument(
        "--patches", type=positive_int, default=500, metavar="N", help="of each mixture (default: 500)"
    )
    parser.add_argument("--seed", type=seed_number, default=0, metavar="N", help="which patches")
    parser.add_argument("--threads", type=positive_int, default=2, metavar="N", help="(default: 2)")
    parser.add_argument("--device", default="cpu", metavar="D", help="(default: cpu)")
    parser.add_argument("--out", type=Path, default=Path("docs"), metavar="DIR", help="(default: docs)")
    return parser


def read_separate(name: str | None, device: str) -> tuple[TorchRuntime | None, str | None]:
    """Return the model trained without joint training, or why there is none."""
    if name is None:
        return None, "no --separate was given"
    try:
        return TorchRuntime.load(name, device), None
    except RlrestoreError as error:
        return None, str(error).replace(name, Path(name).name)


def run(args: argparse.Namespace) -> None:
    """Measure, and write the file.

    Raises:
        RlrestoreError: The model or a photograph cannot be read.
    """
    torch.set_num_threads(args.threads)
    model = TorchRuntime.load(args.model, args.device)
    separate, absent = read_separate(args.separate, args.device)
    if absent:
        log.warning("left out: without joint training: %s", absent)
    photos = read_photos(args.data)
    prepare_folder(args.out)
    sets = [generate(photos, mixture, args.patches, args.seed) for mixture in MIXTURES.values()]
    rows = ablate(model, sets, separate, progress=sys.stderr.isatty())
    how = (
        f"{args.patches} patches of each mixture from {args.data.name}, JPEG grid at any phase, seed "
        f"{args.seed}; weights {weights_label(find_model(args.model))}; {describe_machine(model.place)}."
    )
    page = ablation_page(rows, shown_command(sys.argv), how, absent, model.policy.max_steps)
    write_atomically(args.out / ABLATIONS, page.encode())


def main() -> int:
    """Run the ablations; print a user error in one line."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    return run_script(build_parser(), run)


if __name__ == "__main__":
    sys.exit(main())
