"""PPM and PGM of more than 8 bits, which Pillow reads at 8.

Source: Netpbm, ppm(5) and pgm(5).
"""

import re
from typing import BinaryIO, NamedTuple

import numpy as np

from rlrestore.imaging.io.samples import Integers, scaled

_CHANNELS = {b"P2": 1, b"P3": 3, b"P5": 1, b"P6": 3}
_FIELD = re.compile(rb"(?:\s|#([^\r\n]*)[\r\n])*(\d{1,9})")
_HEADER_BYTES = 2**16


class Header(NamedTuple):
    """What stands before the samples: kind, size, largest sample, where they begin, and comments."""

    kind: bytes
    width: int
    height: int
    top: int
    start: int
    comments: tuple[str, ...]


def header(stream: BinaryIO) -> Header | None:
    """Read the header of a PPM or PGM; None where it is none that has samples of several bits."""
    stream.seek(0)
    head = stream.read(_HEADER_BYTES)
    if head[:2] not in _CHANNELS:
        return None
    numbers, place, comments = [], 2, list[str]()
    for _ in range(3):
        found = _FIELD.match(head, place)
        if found is None:
            return None
        between = head[place : found.start(2)]
        comments += [line.decode("utf-8", "replace").strip() for line in re.findall(rb"#([^\r\n]*)", between)]
        numbers.append(int(found[2]))
        place = found.end()
    width, height, top = numbers
    known = tuple(filter(None, comments))
    return Header(head[:2], width, height, top, place + 1, known) if 0 < top < 2**16 else None


def pnm_samples(stream: BinaryIO, about: Header) -> Integers:
    """Read samples of more than 8 bits, so that they span 16.

    Raises:
        ValueError: Some are missing.
    """
    shape = about.height, about.width, _CHANNELS[about.kind]
    count = shape[0] * shape[1] * shape[2]
    stream.seek(about.start)
    content = stream.read(2 * count if about.kind in (b"P5", b"P6") else -1)
    if about.kind in (b"P5", b"P6"):
        values = np.frombuffer(content, ">u2", count=min(count, len(content) // 2))
    else:
        values = np.array(re.sub(rb"#[^\r\n]*", b"", content).split()[:count], np.uint32)
    if len(values) < count:
        raise ValueError(f"{len(values)} of {count} samples")
    return scaled(values.astype(np.uint16).reshape(shape), about.top, 16)
