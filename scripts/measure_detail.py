"""What --detail brings back: energy of high frequencies and PSNR, on pairs NAME_real and NAME_mean.

Prints one line a picture and the means. Energy is that of the brightness above a quarter of the sampling
rate, as a multiple of the reference's.
"""

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from rlrestore.cli.arguments import share
from rlrestore.cli.reporting import run_script
from rlrestore.errors import DataError
from rlrestore.imaging.io.files import list_photos, read_photo
from rlrestore.imaging.io.samples import Floats, luma
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


def high_energy(pixels: Floats) -> float:
    """Return the energy of the brightness above a quarter of the sampling rate, in a Hann window."""
    brightness = luma(pixels)[..., 0]
    height, width = brightness.shape
    window = np.hanning(height)[:, None] * np.hanning(width)
    spectrum = np.abs(np.fft.fft2((brightness - brightness.mean()) * window)) ** 2
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width))
    return float(spectrum[frequency > 0.25].sum())


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
    noisy = [path for path in list_photos(args.data) if path.stem.endswith("_real")][:: args.every]
    if not noisy:
        raise DataError(f"expected pictures NAME_real and NAME_mean in {str(args.data)!r}, got none")
    restorer = Restorer.from_pretrained(args.model)
    rows = [measure(restorer, path, args.detail) for path in tqdm(noisy, file=sys.stderr, disable=None)]
    print(f"{'picture':45} {'input':>7} {'restored':>9} {'detailed':>9} {'way':>7} {'loss, dB':>9}")
    for row in rows:
        print(line(row.name, [row]))
    smooth = [row for row in rows if row.restored < 1]
    print(line(f"mean of all {len(rows)}", rows))
    if smooth:
        print(line(f"mean of {len(smooth)} smoother than the reference", smooth))


def main() -> int:
    """Run the script."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="pairs NAME_real, NAME_mean")
    parser.add_argument("--detail", type=share, default=0.5, metavar="D", help="default: 0.5")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="every Nth pair alone")
    parser.add_argument("--model", default="default", metavar="M", help="name or folder")
    return run_script(parser, run)


if __name__ == "__main__":
    sys.exit(main())
