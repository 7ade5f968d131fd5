"""The samples of a TIFF that Pillow does not read as they are: other depths than 8, unusual channels.

Pillow unpacks the bytes of each row, whatever the compression; what they mean is decided here.

Source: TIFF revision 6.0 (Adobe 1992); Adobe Photoshop TIFF technical notes (compression 8).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
from PIL import Image

from rlrestore.errors import ImageError
from rlrestore.imaging.io import ifd
from rlrestore.imaging.io.samples import Integers, scaled
from rlrestore.imaging.io.spliced import spliced

WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, FILL_ORDER = 256, 257, 258, 259, 262, 266
STRIP_OFFSETS, CHANNELS, STRIP_ROWS, STRIP_SIZES, PLANES = 273, 277, 278, 279, 284
PREDICTOR, TILE_WIDTH, TILE_HEIGHT, TILE_OFFSETS, TILE_SIZES = 317, 322, 323, 324, 325
EXTRA, SAMPLE_FORMAT = 338, 339
LARGEST_SAMPLE, LARGEST_VALUE = 281, 341

NEEDED = frozenset({*range(WIDTH, FILL_ORDER + 1), STRIP_OFFSETS, *range(CHANNELS, PLANES + 1)})
NEEDED |= {PREDICTOR, *range(TILE_WIDTH, TILE_SIZES + 1), EXTRA, SAMPLE_FORMAT}
"""Tags without which samples are not what they seem."""

ASSOCIATED, UNASSOCIATED, UNSPECIFIED = 1, 2, 0
GREY_WHITE_IS_ZERO, GREY, RGB = 0, 1, 2
COLOURS = {GREY_WHITE_IS_ZERO: 1, GREY: 1, RGB: 3}
BYTEWISE = frozenset({1, 5, 8, 32773, 32946, 34925, 50000})
"""Compressions that know of bytes and rows, not of samples: none, LZW, deflate, PackBits, LZMA, Zstandard."""
NAMES = {
    0: "grey",
    1: "grey",
    2: "RGB",
    3: "palette",
    4: "mask",
    5: "CMYK",
    6: "YCbCr",
    8: "Lab",
    9: "Lab",
    10: "Lab",
    32844: "LogL",
    32845: "LogLuv",
}
SIGNED, FLOAT = 2, 3
BAND_ROWS = 64


@dataclass(frozen=True)
class Layout:
    """How the samples of a TIFF lie in its file.

    Attributes:
        width: Pixels across.
        height: Pixels down.
        bits: Of every channel.
        kinds: Number formats of the samples: 1 unsigned, 2 signed, 3 floating-point.
        photometric: What the colours are.
        extras: What each channel beside the colours is: 0 unspecified, 1 and 2 transparency.
        separate: Whether every channel is a plane of its own.
        compression: As in the tag.
    """

    width: int
    height: int
    bits: tuple[int, ...]
    kinds: tuple[int, ...]
    photometric: int
    extras: tuple[int, ...]
    separate: bool
    compression: int

    @property
    def channels(self) -> int:
        """Colours and all others."""
        return len(self.bits)

    @property
    def colours(self) -> int:
        """Channels of colour, 1 or 3; 0 where the colours are of another kind."""
        return COLOURS.get(self.photometric, 0)

    @property
    def alpha(self) -> int | None:
        """The number of the first channel of transparency, None without one."""
        known = [number for number, kind in enumerate(self.extras) if kind != UNSPECIFIED]
        return self.colours + known[0] if known else None


def layout(directory: ifd.Directory) -> Layout:
    """Read how the samples lie.

    Raises:
        ValueError: The tags are not whole, or contradict each other.
    """
    if directory.damaged & NEEDED:
        raise ValueError(f"damaged tags {sorted(directory.damaged & NEEDED)}")
    channels = directory.whole(CHANNELS, 1)
    bits = tuple(int(number) for number in directory.numbers(BITS, (1,)))
    if not 1 <= channels <= 64:
        raise ValueError(f"{channels} channels")
    bits = bits * channels if len(bits) == 1 else bits[:channels]
    kinds = tuple(int(number) for number in directory.numbers(SAMPLE_FORMAT, (1,)))
    photometric = directory.whole(PHOTOMETRIC, GREY)
    beside = max(0, channels - COLOURS.get(photometric, channels))
    extras = tuple(int(number) for number in directory.numbers(EXTRA))[-beside:] if beside else ()
    extras = extras or (UNASSOCIATED,) * min(beside, 1)
    if len(bits) != channels:
        raise ValueError(f"{len(bits)} depths of {channels} channels")
    separate = directory.whole(PLANES, 1) == 2 and channels > 1
    size = directory.whole(WIDTH), directory.whole(HEIGHT)
    return Layout(*size, bits, kinds, photometric, extras, separate, directory.whole(COMPRESSION, 1))


def unusual(shape: Layout) -> bool:
    """Tell whether Pillow would not read these samples as they are."""
    plain = all(depth in (1, 2, 4, 8) for depth in shape.bits) and set(shape.kinds) <= {1, 4}
    return not plain or (shape.colours == 1 and shape.channels > 1)


def described(shape: Layout) -> str:
    """Return what to call a TIFF whose samples neither Pillow nor this module reads."""
    kind = f"{max(shape.bits)}-bit {NAMES.get(shape.photometric, 'unknown')}"
    many = f"{shape.channels} channels of {kind}"
    return f"a TIFF of {many}, compression {shape.compression}, which is not read"


def refuse_unreadable(shape: Layout, name: str) -> None:
    """Make sure that the samples are of a kind that is read here.

    Raises:
        ImageError: They are not: it says what they are.
    """
    kind = _unreadable_kind(shape)
    if kind is not None:
        raise ImageError(
            f"expected unsigned samples of up to 16 bits, but {name} holds {kind} ones; "
            "convert it to 16-bit TIFF or PNG, grey or RGB"
        )


def readable(shape: Layout) -> bool:
    """Tell whether the samples are of a kind that is read here."""
    return _unreadable_kind(shape) is None


def _unreadable_kind(shape: Layout) -> str | None:
    """Return what to call samples that are not read, None where they are."""
    deepest = max(shape.bits)
    if FLOAT in shape.kinds:
        return "floating-point"
    if SIGNED in shape.kinds:
        return f"signed {deepest}-bit"
    if not shape.colours:
        return f"{deepest}-bit {NAMES.get(shape.photometric, 'unknown')}"
    if len(set(shape.bits)) > 1 or not 1 <= deepest <= 16:
        return "/".join(str(depth) for depth in dict.fromkeys(shape.bits)) + "-bit"
    if shape.compression not in BYTEWISE:
        return f"{deepest}-bit compressed (TIFF compression {shape.compression})"
    return None


def tiff_samples(stream: BinaryIO, directory: ifd.Directory, shape: Layout, name: str) -> Integers:
    """Read the samples of a TIFF.

    Args:
        stream: The file.
        directory: Its first directory.
        shape: How the samples lie, of a kind that is read here.
        name: How to call the file in an error message.

    Returns:
        `(H, W, C)` uint8, or uint16 where there are more than 8 bits, that span their type; C is 1, 2 (with
        transparency), 3 or 4. Colours that transparency was multiplied into are divided by it again. Not
        turned upright.

    Raises:
        ImageError: The samples are of a kind that is not read.
    """
    refuse_unreadable(shape, name)
    channels = 1 if shape.separate else shape.channels
    planes = [
        _stretched(_numbers(rows, directory, shape, channels), shape.bits[0])
        for rows in _planes(stream, directory, shape)
    ]
    samples = planes[0] if len(planes) == 1 else np.concatenate(planes, axis=2)
    if shape.photometric == GREY_WHITE_IS_ZERO:
        samples[..., :1] = np.iinfo(samples.dtype).max - samples[..., :1]
    if shape.channels == shape.colours:
        return samples
    if shape.alpha is None:
        return np.ascontiguousarray(samples[..., : shape.colours])
    if shape.channels > shape.colours + 1:
        samples = samples[..., [*range(shape.colours), shape.alpha]]
    if shape.extras[shape.alpha - shape.colours] == ASSOCIATED:
        divide(samples)
    return samples


def divide(samples: Integers) -> None:
    """Undo, in place, the multiplication of `(H, W, C)` colours with their transparency, the last channel."""
    top = np.iinfo(samples.dtype).max
    for band in (samples[row : row + BAND_ROWS] for row in range(0, len(samples), BAND_ROWS)):
        alpha = np.maximum(band[..., -1:], 1).astype(np.float32)
        band[..., :-1] = np.rint(band[..., :-1] * (np.float32(top) / alpha)).clip(0, top)


def _planes(stream: BinaryIO, directory: ifd.Directory, shape: Layout) -> Iterator[npt.NDArray[np.uint8]]:
    """Yield the bytes of all rows `(H, bytes)`, of one plane after another where they are separate."""
    tiled = TILE_OFFSETS in directory.entries
    offsets = directory.numbers(TILE_OFFSETS if tiled else STRIP_OFFSETS)
    sizes = directory.numbers(TILE_SIZES if tiled else STRIP_SIZES)
    planes = shape.channels if shape.separate else 1
    bits = shape.bits[0] * (1 if shape.separate else shape.channels)
    pieces = len(offsets) // planes
    if not pieces or len(sizes) not in (0, len(offsets)):
        raise ValueError("no strips or tiles")
    row_bytes = -(-shape.width * bits // 8)
    whole = not sizes and not tiled and pieces == 1 and shape.compression == 1
    sizes = (row_bytes * shape.height,) * planes if whole else sizes
    tags = {
        WIDTH: (row_bytes,),
        HEIGHT: (shape.height,),
        COMPRESSION: (shape.compression,),
        FILL_ORDER: (directory.whole(FILL_ORDER, 1),),
    }
    if tiled:
        tags |= {TILE_WIDTH: (-(-directory.whole(TILE_WIDTH) * bits // 8),)}
        tags |= {TILE_HEIGHT: (directory.whole(TILE_HEIGHT),)}
    else:
        tags |= {STRIP_ROWS: (min(directory.whole(STRIP_ROWS, shape.height), shape.height),)}
    for plane in range(planes):
        part = slice(plane * pieces, (plane + 1) * pieces)
        places = {TILE_OFFSETS: offsets[part], TILE_SIZES: sizes[part]}
        if not tiled:
            places = {STRIP_OFFSETS: offsets[part], STRIP_SIZES: sizes[part]}
        yield _unpacked(stream, {**tags, **places})


def _unpacked(stream: BinaryIO, tags: dict[int, tuple[float, ...]]) -> npt.NDArray[np.uint8]:
    """Have Pillow unpack a file's strips or tiles as those of a greyscale picture of 8 bits."""
    end = stream.seek(0, 2)
    tree = {tag: ifd.entry("<", ifd.LONG, *map(int, numbers)) for tag, numbers in tags.items()}
    tree |= {
        tag: ifd.entry("<", ifd.SHORT, number) for tag, number in ((BITS, 8), (PHOTOMETRIC, 1), (CHANNELS, 1))
    }
    start = end + end % 2
    head = ifd.header("<", start)
    parts = (head, (len(head), end), bytes(end % 2) + ifd.pack("<", tree, start))
    with Image.open(spliced(stream, parts), formats=["TIFF"]) as image:
        rows: npt.NDArray[np.uint8] = np.array(image)
    return rows


def _numbers(rows: npt.NDArray[np.uint8], directory: ifd.Directory, shape: Layout, channels: int) -> Integers:
    """Return the samples `(H, W, channels)` that rows of bytes stand for, as they are in the file."""
    bits = shape.bits[0]
    samples: Any
    if bits in (8, 16):
        samples = rows.view(np.dtype(f"{directory.order}u{bits // 8}"))
        samples = samples.astype(samples.dtype.newbyteorder("="), copy=False)
        samples = samples.reshape(shape.height, shape.width, channels)
    else:
        samples = _unpacked_bits(rows, bits, shape.width * channels)
        samples = samples.reshape(shape.height, shape.width, channels)
    if directory.whole(PREDICTOR, 1) == 2 and shape.compression in BYTEWISE - {1, 32773}:
        step = directory.whole(TILE_WIDTH) or shape.width
        for left in range(0, shape.width, step):
            part = samples[:, left : left + step]
            np.cumsum(part, axis=1, dtype=samples.dtype, out=part)
    return np.asarray(samples)


def _unpacked_bits(rows: npt.NDArray[np.uint8], bits: int, count: int) -> npt.NDArray[np.uint16]:
    """Return the numbers `(H, count)` of so many bits that stand in rows of bytes, the high bit first."""
    numbers = np.empty((len(rows), count), np.uint16)
    weights = 1 << np.arange(bits - 1, -1, -1, dtype=np.uint16)
    for top in range(0, len(rows), BAND_ROWS):
        band = np.unpackbits(rows[top : top + BAND_ROWS], axis=1, count=count * bits)
        band.resize(len(band), count, bits)
        numbers[top : top + BAND_ROWS] = band @ weights
    return numbers


def _stretched(samples: Integers, bits: int) -> Integers:
    """Let samples of so many bits span 8 or 16 bits."""
    if bits in (8, 16):
        return samples
    return scaled(samples, 2**bits - 1, 8 if bits < 8 else 16)
