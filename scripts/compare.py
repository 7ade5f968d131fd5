"""Compare our models with the authors', single networks and non-local means: one run, one machine, one file.

    rlrestore import-paper RL-Restore/ --out paper/
    python scripts/train_single.py --data PHOTOS --out single/ --minutes M
    python scripts/compare.py --data div2k_valid_256/ --photos kodak24/ --authors paper/ --singles single/

Writes `results.md`, with tables and the plot `results.png`, into --out. A method that is not given or
cannot be read is left out, and the file says so. On one core and with all methods, 100 photographs of 256×256
and 24 of 768×512 take about half an hour, and every 100 patches two minutes more. Times are only good on an
idle machine.
"""

import argparse
import json
import logging
import sys
from pathlib import Path

import cv2
import torch

from experiments.comparison import Settings, compare
from experiments.comparison_plot import plot_comparison
from experiments.comparison_report import Setup, describe_machine, results_page, shown_command, to_json
from experiments.methods import load_methods
from experiments.presentation import require_matplotlib
from rlrestore.cli.arguments import positive_int, seed_number
from rlrestore.cli.outputs import prepare_folder
from rlrestore.cli.reporting import run_script
from rlrestore.devices import resolve_device
from rlrestore.evaluation.testsets import read_photos
from rlrestore.imaging.io.atomic import write_atomically

RESULTS, PLOT = "results.md", "results.png"

log = logging.getLogger("compare")


def build_parser() -> argparse.ArgumentParser:
    """Return the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    defaults = Settings()
    parser.add_argument(
        "--data", type=Path, required=True, metavar="DIR", help="held-out photographs to cut patches from"
    )
    parser.add_argument(
        "--photos", type=Path, required=True, metavar="DIR", help="held-out photographs to restore whole"
    )
    parser.add_argument(
        "--models",
        nargs="+",
        default=["default"],
        metavar="M",
        help="our models, names or folders (default: default)",
    )
    parser.add_argument("--authors", metavar="DIR", help="the authors' model, from rlrestore import-paper")
    parser.add_argument("--paper", metavar="DIR", help="our model in family paper")
    parser.add_argument(
        "--singles",
        nargs="+",
        default=[],
        metavar="DIR",
        help="toolboxes of one tool: the first goes with the first model, and so on; the last with the rest",
    )
    parser.add_argument("--patches", type=positive_int, default=defaults.patches, metavar="N")
    parser.add_argument("--batch", type=positive_int, default=defaults.batch, metavar="N")
    parser.add_argument("--rounds", type=positive_int, default=defaults.rounds, metavar="N", help="of timing")
    parser.add_argument("--seed", type=seed_number, default=defaults.seed, metavar="N", help="which patches")
    parser.add_argument("--threads", type=positive_int, default=2, metavar="N", help="(default: 2)")
    parser.add_argument("--device", default="cpu", metavar="D", help="(default: cpu)")
    parser.add_argument("--out", type=Path, default=Path("docs"), metavar="DIR", help="(default: docs)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers to this file too")
    return parser


def run(args: argparse.Namespace) -> None:
    """Measure, and write the files.

    Raises:
        RlrestoreError: Nothing can be compared, or a photograph cannot be read.
    """
    require_matplotlib()
    torch.set_num_threads(args.threads)
    cv2.setNumThreads(args.threads)
    methods = load_methods(args.models, args.authors, args.paper, args.singles, args.device)
    for sentence in methods.left_out:
        log.warning("left out: %s", sentence)
    prepare_folder(args.out)
    settings = Settings(args.patches, args.batch, args.rounds, args.seed)
    data, photos = read_photos(args.data), read_photos(args.photos)
    comparison = compare(methods, data, photos, settings, progress=sys.stderr.isatty())
    setup = Setup(
        command=shown_command(sys.argv),
        data=args.data.name,
        photos=args.photos.name,
        machine=describe_machine(resolve_device(args.device)),
        settings=settings,
        plot=PLOT,
    )
    plot_comparison(comparison, args.out / PLOT)
    write_atomically(args.out / RESULTS, results_page(comparison, setup).encode())
    if args.json is not None:
        content = json.dumps(to_json(comparison, setup), indent=1, ensure_ascii=False) + "\n"
        write_atomically(args.json, content.encode())


def main() -> int:
    """Run the comparison; print a user error in one line."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    return run_script(build_parser(), run)


if __name__ == "__main__":
    sys.exit(main())
