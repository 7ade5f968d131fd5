"""A JPEG whose last bytes are missing, as after a download that broke off."""

import io
from typing import BinaryIO, NamedTuple

import numpy as np
from PIL import Image

from rlrestore.imaging.io.jpeg_segments import FRAMES, markers

LARGEST_LOSS = 0.05
"""Of the pixels; one block of 16 × 16 is as much of a very small picture."""
_END = b"\xff\xd9"
_ROW_BY_ROW, _SCAN = (0xC0, 0xC1), 0xDA


class Rescued(NamedTuple):
    """A picture without its end, and how many of its last rows are not the picture's."""

    image: Image.Image
    lost_rows: int


def read_cut_jpeg(stream: BinaryIO, mode: str) -> Rescued | None:
    """Read a JPEG that lacks no more than a few of its last pixels.

    Where the picture ends is found by reading it twice, with other data in place of the missing ones: the
    pixels that differ are not the picture's.

    Args:
        stream: The file.
        mode: Pillow's mode of the picture.

    Returns:
        The picture, what is missing filled in by the decoder; None where more is missing.
    """
    known = [(number, place) for number, place in markers(stream) if 0xC0 <= number <= _SCAN]
    frames = [number for number, _ in known if number in FRAMES]
    scans = [place for number, place in known if number == _SCAN]
    if len(frames) != 1 or frames[0] not in _ROW_BY_ROW or len(scans) != 1:
        return None  # of other kinds, the end belongs to the whole picture
    stream.seek(0)
    content = stream.read().removesuffix(b"\xff")
    pictures = [_decoded(content + filling, mode) for filling in _fillings(len(content))]
    if _channels(content, scans[0]) != len(pictures[0].getbands()):
        return None
    first, *others = (np.asarray(picture) for picture in pictures)
    lost = np.any([first != other for other in others], axis=0)
    lost = lost.reshape(*first.shape[:2], -1).any(axis=2)
    if lost.mean() > LARGEST_LOSS:
        return None
    return Rescued(pictures[0], int(len(lost) - lost.any(axis=1).argmax()) if lost.any() else 0)


def _channels(content: bytes, scan: int) -> int:
    """Return how many channels of a JPEG the scan at a place holds."""
    return content[scan + 4] if scan + 4 < len(content) else 0


def _fillings(length: int) -> tuple[bytes, ...]:
    """Return what may follow: nothing, and two kinds of noise, long enough for any rest that is accepted."""
    rng = np.random.default_rng(0)
    noise = (
        rng.integers(low, high, max(4096, length // 8), np.uint8).tobytes()
        for low, high in ((0, 255), (128, 254))
    )
    return (_END, *(data + _END for data in noise))


def _decoded(content: bytes, mode: str) -> Image.Image:
    with Image.open(io.BytesIO(content), formats=["JPEG"]) as image:
        image.load()
        return image.copy() if image.mode == mode else image.convert(mode)
