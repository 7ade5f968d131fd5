"""Make the test sets of the figures, `div2k_valid_256/` and `kodak24/`, from archives that you downloaded.

    python scripts/prepare_data.py --div2k DIV2K_valid_HR.zip --kodak kodak/ --out .
    python scripts/prepare_data.py --check .

An archive is a folder or a zip file; nothing is downloaded. `docs/data.md` says where the archives are.
Which 256×256 window of each DIV2K photograph the figures were measured on is found by search:
`prepare_data.json` holds of each window the sum of its pixels in each channel and their SHA-256; among all
windows of the photograph those of the same sums are candidates, and the checksum decides. What is written is
therefore, bit for bit, what was measured on, or the script says which picture it did not find, and exits
with 1. --check looks at the pictures that it made, or that came from elsewhere.

The archives themselves were not at hand: the search was tried on archives made to be like DIV2K's, with the
windows in them. Should the windows not be plain cut-outs of `DIV2K_valid_HR` (but of
`DIV2K_valid_LR_bicubic/X2`, say; give that, too), this shows when somebody runs it first.

--record writes such a list of the pictures in a folder.
"""

import argparse
import hashlib
import io
import json
import sys
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from rlrestore.cli.reporting import run_script
from rlrestore.errors import DataError, RlrestoreError, UsageError
from rlrestore.imaging.io.atomic import write_atomically

Pixels = npt.NDArray[np.uint8]

DIV2K, KODAK = "div2k_valid_256", "kodak24"
RECORD = Path(__file__).with_suffix(".json")
SUFFIXES = (".png", ".webp", ".tif", ".tiff", ".bmp")


@dataclass(frozen=True)
class Fingerprint:
    """What tells a picture from all others without being one.

    Attributes:
        size: Width and height in pixels.
        sums: Of all its 8-bit values, in red, green and blue.
        sha256: Of its pixels, uint8 RGB, row by row.
    """

    size: tuple[int, int]
    sums: tuple[int, int, int]
    sha256: str

    @classmethod
    def of(cls, pixels: Pixels) -> "Fingerprint":
        """Return that of pixels, uint8 `(H, W, 3)`."""
        red, green, blue = map(int, pixels.sum(axis=(0, 1), dtype=np.int64))
        digest = hashlib.sha256(np.ascontiguousarray(pixels).tobytes()).hexdigest()
        return cls((pixels.shape[1], pixels.shape[0]), (red, green, blue), digest)


Record = Mapping[str, Mapping[str, Fingerprint]]
"""By the name of a set and that of a picture in it."""


def decode(data: bytes, name: str) -> Pixels:
    """Return a picture's pixels, uint8 RGB `(H, W, 3)`.

    Raises:
        DataError: It is not a picture.
    """
    try:
        with Image.open(io.BytesIO(data)) as image:
            return np.asarray(image.convert("RGB"))
    except OSError as error:
        raise DataError(f"expected a picture in {name}, but it cannot be read ({error})") from error


def pictures(source: Path) -> Iterator[tuple[str, bytes]]:
    """Yield the name and the bytes of every picture without loss in a folder or a zip file, at any depth.

    Raises:
        DataError: It is neither, or damaged.
    """
    if source.is_dir():
        for path in sorted(source.rglob("*")):
            if path.suffix.lower() in SUFFIXES:
                yield path.relative_to(source).as_posix(), path.read_bytes()
        return
    if not zipfile.is_zipfile(source):
        raise DataError(
            f"expected a folder or a whole zip file, got {source}; get it again, or give a folder"
        )
    try:
        with zipfile.ZipFile(source) as archive:
            for name in sorted(archive.namelist()):
                if Path(name).suffix.lower() in SUFFIXES:
                    yield name, archive.read(name)
    except zipfile.BadZipFile as error:
        raise DataError(
            f"expected a whole zip file, but {source} is damaged ({error}); get it again"
        ) from error


def find_window(photo: Pixels, wanted: Fingerprint) -> tuple[int, int] | None:
    """Return where in a photograph the wanted window begins, `(x, y)`, or None.

    Args:
        photo: uint8 `(H, W, 3)`.
        wanted: The fingerprint of the window.
    """
    width, height = wanted.size
    if photo.shape[0] < height or photo.shape[1] < width:
        return None
    fits = np.ones((photo.shape[0] - height + 1, photo.shape[1] - width + 1), bool)
    above_left = np.zeros((photo.shape[0] + 1, photo.shape[1] + 1), np.uint32)
    for channel, wanted_sum in enumerate(wanted.sums):
        # An integral image: its overflow cancels in the difference, for one window's sum has 24 bits.
        above_left[1:, 1:] = photo[..., channel].cumsum(0, dtype=np.uint32).cumsum(1, dtype=np.uint32)
        rows = above_left[height:] - above_left[:-height]
        fits &= rows[:, width:] - rows[:, :-width] == wanted_sum
    for y, x in np.argwhere(fits):
        if Fingerprint.of(photo[y : y + height, x : x + width]) == wanted:
            return int(x), int(y)
    return None


def write_windows(source: Path, wanted: Mapping[str, Fingerprint], out: Path) -> set[str]:
    """Cut the wanted windows, write them as PNG, and return the names of those found.

    The photograph of `0801.png` is any whose name begins with `0801`.
    """
    found: set[str] = set()
    for place, data in pictures(source):
        for name in sorted(wanted.keys() - found):
            if not Path(place).stem.startswith(Path(name).stem):
                continue
            photo = decode(data, place)
            if (at := find_window(photo, wanted[name])) is None:
                continue
            (x, y), (width, height) = at, wanted[name].size
            stream = io.BytesIO()
            Image.fromarray(photo[y : y + height, x : x + width]).save(stream, "PNG")
            write_atomically(out / name, stream.getvalue())
            print(f"{name}: from {x},{y} of {place}, {photo.shape[1]}×{photo.shape[0]}", flush=True)
            found.add(name)
    return found


def copy_pictures(source: Path, wanted: Mapping[str, Fingerprint], out: Path) -> set[str]:
    """Copy the files whose pixels are the wanted ones, and return the names of those found."""
    found: set[str] = set()
    for place, data in pictures(source):
        name = Path(place).name
        if name in wanted and Fingerprint.of(decode(data, place)) == wanted[name]:
            write_atomically(out / name, data)
            found.add(name)
    return found


def check(folder: Path, wanted: Mapping[str, Fingerprint]) -> set[str]:
    """Return the names of the pictures in a folder that are the wanted ones."""
    there = {name: data for name, data in pictures(folder) if name in wanted}
    return {name for name, data in there.items() if Fingerprint.of(decode(data, name)) == wanted[name]}


def read_record(path: Path) -> Record:
    """Read what `--record` wrote."""
    sets = json.loads(path.read_text("utf-8"))
    return {
        name: {
            file: Fingerprint(tuple(each["size"]), tuple(each["sums"]), each["sha256"])
            for file, each in files.items()
        }
        for name, files in sets.items()
    }


def write_record(folder: Path, path: Path) -> None:
    """Write the fingerprints of the sets that are subfolders of a folder."""
    sets = {
        name: {file: asdict(Fingerprint.of(decode(data, file))) for file, data in pictures(folder / name)}
        for name in (DIV2K, KODAK)
    }
    lines = [
        f"{json.dumps(name)}: {{\n"
        + ",\n".join(f"{json.dumps(k)}: {json.dumps(v)}" for k, v in files.items())
        for name, files in sets.items()
    ]
    write_atomically(path, ("{\n" + "\n},\n".join(lines) + "\n}\n}\n").encode())


def _made(folder: Path) -> Path:
    """Return a folder that is there now."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"cannot write into {folder} ({error.strerror}); choose another --out") from error
    return folder


def run(args: argparse.Namespace) -> None:
    """Make, check or record the sets.

    Raises:
        RlrestoreError: A picture was not found, or is another one.
    """
    if args.record is not None:
        write_record(args.record, args.list)
        return
    record, found = read_record(args.list), dict[str, set[str]]()
    if args.check is not None:
        there = [name for name in record if (args.check / name).is_dir()]
        found = {name: check(args.check / name, record[name]) for name in there}
    if args.div2k is not None:
        found[DIV2K] = write_windows(args.div2k, record[DIV2K], _made(args.out / DIV2K))
    if args.kodak is not None:
        found[KODAK] = copy_pictures(args.kodak, record[KODAK], _made(args.out / KODAK))
    if not found:
        raise DataError(
            f"expected --div2k, --kodak, or --check of a folder with {DIV2K}/ or {KODAK}/; got none"
        )
    missing = []
    for name, names in found.items():
        print(f"{name}: {len(names)} of {len(record[name])} pictures")
        missing += [f"{name}/{each}" for each in sorted(record[name].keys() - names)]
    if missing:
        some = ", ".join(missing[:5]) + (", …" if len(missing) > 5 else "")
        raise RlrestoreError(
            f"expected the pictures that the figures were measured on, but {len(missing)} are missing or "
            f"others: {some}; docs/data.md says where the archives are"
        )


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--div2k", type=Path, metavar="PLACE", help="DIV2K's validation photographs")
    parser.add_argument("--kodak", type=Path, metavar="PLACE", help="the 24 photographs of Kodak")
    parser.add_argument("--out", type=Path, default=Path(), metavar="DIR", help="(default: here)")
    parser.add_argument("--check", type=Path, metavar="DIR", help="only look at what is there")
    parser.add_argument("--record", type=Path, metavar="DIR", help="write the list of what is there")
    parser.add_argument("--list", type=Path, default=RECORD, metavar="FILE", help="(default: beside this)")
    return parser


def main() -> int:
    """Make the sets; print a user error in one line."""
    return run_script(build_parser(), run)


if __name__ == "__main__":
    sys.exit(main())
