"""Measure what models gain inside and outside of the salient regions of patches.

    python scripts/measure_saliency.py --data PHOTOS --models default salient/ --patches 300

The salient region of a patch is the quarter of its clean pixels that stands out most (`imaging.saliency`).
Gains are means over patches, in dB of PSNR; differences to the first model are paired over the patches, ±
their standard error.
"""

import argparse
import sys
from pathlib import Path

import numpy as np

from experiments.salient_regions import beside_map, gains, rows
from rlrestore.cli.arguments import JPEG_SUFFIXES, natural, positive_int
from rlrestore.cli.reporting import run_script
from rlrestore.evaluation.testsets import generate, read_photos
from rlrestore.imaging.io.files import Photo, write_photo
from rlrestore.imaging.io.samples import to_floats
from rlrestore.imaging.mixture_files import read_mixture
from rlrestore.runtime.torch_runtime import TorchRuntime


def build_parser() -> argparse.ArgumentParser:
    """Return the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="photographs to measure on")
    parser.add_argument("--models", nargs="+", default=["default"], metavar="M", help="names or folders")
    parser.add_argument("--mixture", default="any", metavar="FILE", help="what degrades them (default: any)")
    parser.add_argument("--patches", type=positive_int, default=300, metavar="N", help="(default: 300)")
    parser.add_argument("--seed", type=natural, default=0, metavar="N", help="which patches (default: 0)")
    parser.add_argument("--device", default="cpu", metavar="D")
    parser.add_argument(
        "--picture", type=Path, metavar="FILE", help="draw the maps of the photographs of --data, no more"
    )
    return parser


def run(args: argparse.Namespace) -> None:
    """Print the table, or draw the picture.

    Raises:
        UsageError: No such model, mixture or photographs.
        ImageError: The picture cannot be written.
    """
    mixture, photos = read_mixture(args.mixture), read_photos(args.data)
    if args.picture is not None:
        width = min(photo.shape[1] for photo in photos)
        maps = np.concatenate([beside_map(photo[:, :width]) for photo in photos])
        quality = 70 if args.picture.suffix.lower() in JPEG_SUFFIXES else None
        write_photo(args.picture, Photo(to_floats(maps)), quality)
        return
    models = {name: TorchRuntime.load(name, args.device) for name in args.models}
    pairs = generate(photos, mixture, args.patches, args.seed)
    print("\n".join(rows({name: gains(model, pairs) for name, model in models.items()})))


if __name__ == "__main__":
    sys.exit(run_script(build_parser(), run))
