"""Camera raw files: recognised by their content, and developed where the extra `raw` is installed."""

import importlib
import importlib.util
from typing import Any, BinaryIO

from rlrestore.errors import ImageError, how_to_install
from rlrestore.imaging.io import ifd
from rlrestore.imaging.io.samples import Integers

RAW_SUFFIXES = frozenset(
    {
        *(
            ".dng",
            ".nef",
            ".nrw",
            ".cr2",
            ".cr3",
            ".crw",
            ".arw",
            ".srf",
            ".sr2",
            ".orf",
            ".rw2",
            ".raf",
            ".pef",
        ),
        *(
            ".srw",
            ".3fr",
            ".fff",
            ".iiq",
            ".mrw",
            ".x3f",
            ".dcr",
            ".kdc",
            ".erf",
            ".mef",
            ".mos",
            ".rwl",
            ".gpr",
        ),
    }
)
_BEGINNINGS = (
    *(b"FUJIFILMCCD-RAW", b"IIRO", b"IIRS", b"MMOR", b"IIU\0", b"\0MRM", b"FOVb", b"ARECOYK"),
    b"II\x1a\0\0\0HEAPCCDR",
)
_NEW_KIND, _PHOTOMETRIC, _SUB_DIRECTORIES, _DNG_VERSION = 254, 262, 330, 50706
_REDUCED = 1
_SRGB_CURVE = (2.4, 12.92)
_SENSOR_COLOURS = (32803, 34892)
"""Colours behind a mosaic of filters, and such that were only interpolated."""


def is_raw(stream: BinaryIO) -> bool:
    """Tell whether a file is a camera's raw data, with at most a preview of the photograph."""
    stream.seek(0)
    head = stream.read(32)
    if (
        head.startswith(_BEGINNINGS)
        or head[4:12] == b"ftypcrx "
        or (head[:2] in (b"II", b"MM") and head[8:10] == b"CR")
    ):
        return True
    if not ifd.is_tiff(head):
        return False
    try:
        first = ifd.read_directory(stream)
    except ValueError:
        return False
    preview = bool(first.whole(_NEW_KIND) & _REDUCED)
    if _DNG_VERSION in first.entries and (preview or _SUB_DIRECTORIES in first.entries):
        return True
    if preview and _SUB_DIRECTORIES in first.entries:
        return True
    others = [int(at) for at in (*first.numbers(_SUB_DIRECTORIES)[:8], first.next) if at]
    return _is_sensor(first) or any(_is_sensor_at(stream, at) for at in others)


def _is_sensor_at(stream: BinaryIO, at: int) -> bool:
    try:
        return _is_sensor(ifd.read_directory(stream, at))
    except ValueError:
        return False


def _is_sensor(directory: ifd.Directory) -> bool:
    return directory.whole(_PHOTOMETRIC, -1) in _SENSOR_COLOURS


def can_develop() -> bool:
    """Tell whether the extra `raw` is installed."""
    return importlib.util.find_spec("rawpy") is not None


def claimed_pixels(stream: BinaryIO) -> int:
    """Return how many pixels a raw file will be developed to; 0 of one that cannot be."""
    if not can_develop():
        return 0
    rawpy: Any = importlib.import_module("rawpy")
    stream.seek(0)
    try:
        with rawpy.imread(stream) as photo:
            return int(photo.sizes.width * photo.sizes.height)
    except rawpy.LibRawError:
        return 0


def developed(stream: BinaryIO, name: str, most_pixels: int) -> Integers:
    """Develop a raw file.

    Args:
        stream: The file.
        name: How to call it in an error message.
        most_pixels: A larger one is refused before it is unpacked.

    Returns:
        `(H, W, 3)` uint16 sRGB, upright, in the camera's white balance.

    Raises:
        ImageError: The extra is missing, or the file is none that it can develop.
    """
    cure = "develop it into a 16-bit TIFF first"
    if not can_develop():
        raise ImageError(
            f"expected a developed photograph, but {name} is a camera's raw file: {cure}, "
            f"or install the extra raw: {how_to_install('raw')}"
        )
    rawpy: Any = importlib.import_module("rawpy")
    stream.seek(0)
    try:
        with rawpy.imread(stream) as photo:
            width, height = photo.sizes.width, photo.sizes.height
            if width * height > most_pixels:
                raise ImageError(
                    f"expected at most {most_pixels / 1e6:.0f} megapixels, but {name} has {width}×{height}; "
                    "develop it into a smaller TIFF first"
                )
            samples: Integers = photo.postprocess(
                output_bps=16, use_camera_wb=True, no_auto_bright=True, gamma=_SRGB_CURVE
            )
            return samples
    except rawpy.LibRawError as error:
        cause = error.args[0].decode() if error.args and isinstance(error.args[0], bytes) else error
        raise ImageError(
            f"expected a developed photograph, but {name} is a camera's raw file that cannot be "
            f"developed here ({cause}): {cure}"
        ) from error
