"""What --detail brings back: energy of high frequencies and PSNR.

    python scripts/measure_detail.py --data real-noise/
    python scripts/measure_detail.py --choose photos/

Energy is that of the brightness above a quarter of the sampling rate, as a multiple of the reference's.
--data measures on pairs NAME_real and NAME_mean, and prints one line a picture and the means. --choose prints
the table that the constants were chosen by, on those of the photographs to train on that are held out, and
marks the choice.
"""

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from experiments.lost_detail import Pixels, degraded_pairs, high_energy, lines, measure_settings
from rlrestore.cli.arguments import positive_int, share
from rlrestore.cli.reporting import run_script
from rlrestore.errors import DataError
from rlrestore.imaging.io.files import list_photos, read_photo, read_rgb8
from rlrestore.imaging.patches import choose_part
from rlrestore.imaging.psnr import photo_psnr_db
from rlrestore.inference.photos import to_planes
from rlrestore.restorer import Restorer


@dataclass(frozen=True)
class Row:
    """One picture.

    Attributes:
        name: What its file is called.
        input: Energy as it came, as a multiple of the reference's.
        restored: The same without detail.
        detailed: The same with it.
        loss_db: How much PSNR the detail costs.
    """

    name: str
    input: float
    restored: float
    detailed: float
    loss_db: float


def measure(restorer: Restorer, path: Path, detail: float) -> Row:
    """Restore one picture without and with detail."""
    noisy, clean = read_photo(path), read_photo(path.with_name(path.name.replace("_real", "_mean")))
    plain = restorer.restore(noisy, keep_steps=False)
    detailed = plain.blended(detail=detail)
    whole = high_energy(clean.pixels)
    energies = [high_energy(one.pixels) / whole for one in (noisy, plain.photo, detailed.photo)]
    truth = to_planes(clean)
    before_db, after_db = (photo_psnr_db(to_planes(one.photo), truth) for one in (plain, detailed))
    return Row(path.stem, energies[0], energies[1], energies[2], before_db - after_db)


def line(name: str, rows: list[Row]) -> str:
    """Return the means of some pictures, and how much of the way to the reference the detail went."""
    table = np.array([(row.input, row.restored, row.detailed, row.loss_db) for row in rows])
    came, restored, detailed, loss_db = table.mean(axis=0)
    way = (detailed - restored) / (1 - restored)
    return f"{name:45} {came:7.2f} {restored:9.2f} {detailed:9.2f} {way:7.0%} {loss_db:+9.3f}"


def run(args: argparse.Namespace) -> None:
    """Measure and print."""
    restorer = Restorer.from_pretrained(args.model)
    if args.choose is not None:
        photos = choose_part(list_photos(args.choose), "validation")[:: args.every]
        middles = (
            _middle(read_rgb8(path), args.side) for path in tqdm(photos, file=sys.stderr, disable=None)
        )
        table = measure_settings(restorer, degraded_pairs(middles, args.seed), args.detail)
        print(*lines(table), sep="\n")
        return
    noisy = [path for path in list_photos(args.data) if path.stem.endswith("_real")][:: args.every]
    if not noisy:
        raise DataError(f"expected pictures NAME_real and NAME_mean in {str(args.data)!r}, got none")
    rows = [measure(restorer, path, args.detail) for path in tqdm(noisy, file=sys.stderr, disable=None)]
    print(f"{'picture':45} {'input':>7} {'restored':>9} {'detailed':>9} {'way':>7} {'loss, dB':>9}")
    for row in rows:
        print(line(row.name, [row]))
    smooth = [row for row in rows if row.restored < 1]
    print(line(f"mean of all {len(rows)}", rows))
    if smooth:
        print(line(f"mean of {len(smooth)} smoother than the reference", smooth))


def _middle(pixels: Pixels, side: int) -> Pixels:
    """Return the square of a side in the middle of a photograph, or what there is of it."""
    top, left = (max(length - side, 0) // 2 for length in pixels.shape[:2])
    return np.ascontiguousarray(pixels[top : top + side, left : left + side])


def main() -> int:
    """Run the script."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    photos = parser.add_mutually_exclusive_group(required=True)
    photos.add_argument("--data", type=Path, metavar="DIR", help="pairs NAME_real, NAME_mean")
    photos.add_argument("--choose", type=Path, metavar="DIR", help="photographs that were trained on")
    parser.add_argument("--detail", type=share, default=0.5, metavar="D", help="default: 0.5")
    parser.add_argument("--every", type=positive_int, default=1, metavar="N", help="every Nth picture alone")
    parser.add_argument(
        "--side",
        type=positive_int,
        default=128,
        metavar="PX",
        help="of the photographs, with --choose (default: 128)",
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="with --choose (default: 0)")
    parser.add_argument("--model", default="default", metavar="M", help="name or folder")
    return run_script(parser, run)


if __name__ == "__main__":
    sys.exit(main())
