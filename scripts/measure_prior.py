"""Deep image prior, which needs no training, beside the model: PSNR and time.

    python scripts/measure_prior.py --data photos/

On windows of photographs of the validation part, degraded by Gaussian noise and by moderate mixtures. The
prior is stopped where it is best on average over the others of its kind, which nobody who uses it knows, and
after all its iterations.
"""

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from experiments.deep_prior import fitted
from experiments.presentation import markdown_table
from rlrestore.cli.arguments import positive_int
from rlrestore.cli.reporting import run_script
from rlrestore.imaging.degradation import MODERATE, Degradations, degrade
from rlrestore.imaging.metrics import psnr_db
from rlrestore.imaging.patches import PhotoBank
from rlrestore.restorer import Restorer

SIDE = 128


def build_parser() -> argparse.ArgumentParser:
    """Return the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", required=True, type=Path, help="folder of photographs")
    parser.add_argument("--count", type=positive_int, default=4, help="windows of each kind (default: 4)")
    parser.add_argument("--iterations", type=positive_int, default=800, help="of the prior (default: 800)")
    return parser


def noise_alone(count: int, generator: torch.Generator) -> Degradations:
    """Return noise of σ 25 of 255, and neither blur nor JPEG."""
    del generator  # nothing is drawn
    nothing = torch.zeros(count)
    return Degradations(nothing, torch.full((count,), 25.0), nothing)


KINDS: dict[str, Callable[[int, torch.Generator], Degradations]] = {
    "noise σ 25": noise_alone,
    "moderate": MODERATE.sample,
}


def run(args: argparse.Namespace) -> None:
    """Measure and print.

    Raises:
        RlrestoreError: A photograph or the model cannot be read.
    """
    bank, restorer = (
        PhotoBank.from_folder(args.data, "validation", smallest_side=SIDE),
        Restorer.from_pretrained(),
    )
    rows = [("degradation", "input", "prior, at the end", "prior, at its best", "model", "prior's time")]
    for name, draw in KINDS.items():
        generator = torch.Generator().manual_seed(0)
        clean = bank.crops(args.count, SIDE, generator)
        degraded = degrade(clean, draw(args.count, generator), generator)
        curves, ours, seconds = [], [], np.zeros(2)
        for image, truth in zip(tqdm(degraded, disable=None), clean, strict=True):
            began = time.perf_counter()
            curves.append([_psnr(made[0], truth) for made in fitted(image[None], args.iterations)])
            fitted_at = time.perf_counter()
            picture = image.permute(1, 2, 0).numpy()
            pixels = restorer.restore(picture, keep_steps=False).photo.pixels
            seconds += (fitted_at - began, time.perf_counter() - fitted_at)
            ours.append(_psnr(torch.from_numpy(pixels).permute(2, 0, 1), truth))
        mean = np.mean(curves, axis=0)
        best = int(mean.argmax())
        came = np.mean([_psnr(image, truth) for image, truth in zip(degraded, clean, strict=True)])
        cells = (f"{came:.2f}", f"{mean[-1]:.2f}", f"{mean[best]:.2f} ({best + 1})", f"{np.mean(ours):.2f}")
        rows.append((name, *cells, f"{seconds[0] / seconds[1]:.0f}×"))
    print(markdown_table(rows))


def _psnr(image: Tensor, truth: Tensor) -> float:
    return float(psnr_db(image[None], truth[None]))


if __name__ == "__main__":
    sys.exit(run_script(build_parser(), run))
