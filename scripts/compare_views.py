"""Measure what more views gain on whole photographs, and how much longer they take.

    python scripts/compare_views.py --data kodak24/
    python scripts/compare_views.py --pairs real-noise/

The photographs of --data are degraded by each mixture; those of --pairs, one shot beside the mean of many,
are restored as they are. Each is restored as by `rlrestore restore`, in turn with one view and with more.
"""

import argparse
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from experiments.comparison import Estimate
from experiments.comparison_sets import degraded_photos
from experiments.presentation import markdown_table
from experiments.rivals import real_pairs
from rlrestore.cli.arguments import positive_int, seed_number, thread_count
from rlrestore.cli.reporting import run_script
from rlrestore.evaluation.file_pairs import read_pair
from rlrestore.evaluation.testsets import read_photos
from rlrestore.imaging.degradation.mixtures import MIXTURES
from rlrestore.restorer import Restorer

Pair = tuple[NDArray[np.uint8], NDArray[np.uint8]]
"""A degraded photograph and its reference, `(H, W, 3)`."""


@dataclass(frozen=True)
class Seen:
    """What so many views make of the N photographs of a set.

    Attributes:
        gains_db: `(N,)`.
        seconds: Of all together.
    """

    gains_db: torch.Tensor
    seconds: float


def build_parser() -> argparse.ArgumentParser:
    """Return the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--data", type=Path, metavar="DIR", help="folder of clean photographs")
    source.add_argument(
        "--pairs", type=Path, metavar="DIR", help="folder of pairs, as for compare_cameras.py"
    )
    parser.add_argument("--part", choices=("all", "validation"), default="all", help="(default: all)")
    parser.add_argument("--every", type=positive_int, default=1, metavar="N", help="every Nth pair alone")
    parser.add_argument("--views", type=positive_int, nargs="+", default=(1, 2, 4, 8), metavar="N")
    parser.add_argument("--seed", type=seed_number, default=0, metavar="N", help="(default: 0)")
    parser.add_argument("--model", default="default", metavar="M", help="name or folder (default: default)")
    parser.add_argument("--threads", type=thread_count, default=1, metavar="N", help="(default: 1)")
    return parser


def sets(args: argparse.Namespace) -> Iterator[tuple[str, list[Pair]]]:
    """Yield the sets by their names."""
    if args.pairs is not None:
        yield "cameras", [read_pair(pair) for pair in real_pairs(args.pairs, args.every)]
    if args.data is not None:
        photos = read_photos(args.data, args.part)
        for name, mixture in MIXTURES.items():
            yield name, degraded_photos(photos, mixture, args.seed)


def measure(restorer: Restorer, pairs: list[Pair], views: int, name: str) -> Seen:
    """Restore the photographs of a set."""
    gains_db, seconds = [], 0.0
    for degraded, clean in tqdm(pairs, f"{name}, {views}", unit="photograph", leave=False, disable=None):
        began = time.monotonic()
        trace = restorer.restore(degraded, clean, keep_steps=False, views=views).trace
        seconds += time.monotonic() - began
        gains_db.append((trace.psnr_db or 0.0) - (trace.start_psnr_db or 0.0))
    return Seen(torch.tensor(gains_db, dtype=torch.float64), seconds)


def run(args: argparse.Namespace) -> None:
    """Measure and print a table.

    Raises:
        RlrestoreError: No such model or photographs, or a number of views that there is not.
    """
    restorer = Restorer.from_pretrained(args.model)
    restorer.runtime.set_threads(args.threads)
    rows = [["set", "views", "gain, dB", "over the first", "least", "worse than they came", "time"]]
    for name, pairs in sets(args):
        found = {views: measure(restorer, pairs, views, name) for views in args.views}
        first = found[args.views[0]]
        for views, seen in found.items():
            more = seen.gains_db - first.gains_db
            worse = int((seen.gains_db < 0).sum())
            rows.append(
                [
                    f"{name}, {len(pairs)}",
                    str(views),
                    f"{seen.gains_db.mean().item():+.2f}",
                    f"{Estimate.of(more)}",
                    f"{more.min().item():+.2f}",
                    str(worse),
                    f"× {seen.seconds / first.seconds:.2f}",
                ]
            )
    print(markdown_table(rows))


if __name__ == "__main__":
    sys.exit(run_script(build_parser(), run))
