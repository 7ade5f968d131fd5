"""What stands in the boxes of AVIF and JPEG 2000 beside the picture.

Source: ISO/IEC 14496-12 (boxes), 23008-12 (colours of an image), 15444-1 (JPEG 2000).
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

from rlrestore.imaging.io.colour import Colours

_XMP_UUID = bytes.fromhex("be7acfcb97a942e89c71999491e3afac")
_EXIF_UUID = b"JpgTiffExif->JP2"
_LARGEST = 32 * 2**20
_CODESTREAM = b"\xff\x4f\xff\x51"
AV1_PATH = (b"meta", b"iprp", b"ipco", b"av1C")
"""Where the settings of an AVIF's coder stand."""
_FULL_BOXES = frozenset({b"meta"})


@dataclass(frozen=True)
class Components:
    """The samples of a JPEG 2000 picture.

    Attributes:
        bits: Of every component.
        signed: Whether any holds negative numbers.
    """

    bits: tuple[int, ...]
    signed: bool


def boxes(stream: BinaryIO, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Yield kind, begin and end of what is in every box, as far as they are whole."""
    while start + 8 <= end:
        stream.seek(start)
        head = stream.read(16)
        length, kind = struct.unpack_from(">I4s", head)
        inside = start + 8
        if length == 1 and len(head) == 16:
            (length,) = struct.unpack_from(">Q", head, 8)
            inside += 8
        after = end if length == 0 else start + length
        if not inside <= after <= end:
            return
        yield kind, inside + (4 if kind in _FULL_BOXES else 0), after
        start = after


def inside(stream: BinaryIO, *path: bytes) -> Iterator[bytes]:
    """Yield what is in the boxes at the end of a path, such as `meta`, `iprp`, `ipco`, `colr`."""
    areas = [(0, stream.seek(0, 2))]
    for wanted in path:
        areas = [
            (begin, end) for area in areas for kind, begin, end in boxes(stream, *area) if kind == wanted
        ]
    for begin, end in areas:
        stream.seek(begin)
        yield stream.read(min(end - begin, _LARGEST))


def avif_colours(stream: BinaryIO) -> Colours | None:
    """Return the code points of an AVIF's colours, None without any."""
    for data in inside(stream, b"meta", b"iprp", b"ipco", b"colr"):
        if data[:4] == b"nclx" and len(data) >= 11:
            primaries, transfer, matrix, full = struct.unpack_from(">HHHB", data, 4)
            return code_points(primaries, transfer, matrix, full >> 7)
    return None


def code_points(primaries: int, transfer: int, matrix: int, full_range: int) -> Colours | None:
    """Return what code points say of colours, None where they are sRGB as usual."""
    said = Colours((primaries & 255, transfer & 255, matrix & 255, full_range & 1))
    return None if said.usual else said


def avif_is_deep(stream: BinaryIO) -> bool:
    """Tell whether an AVIF has more than 8 bits a sample."""
    return any(len(data) > 2 and data[2] & 0x40 for data in inside(stream, *AV1_PATH))


def has_gain_map(stream: BinaryIO) -> bool:
    """Tell whether an AVIF or HEIF has an item that says how to make HDR of it."""
    return any(b"tmap" in data or b"hdrgainmap" in data for data in inside(stream, b"meta"))


def jp2_described(stream: BinaryIO) -> dict[str, Any]:
    """Return what the boxes of a JPEG 2000 file say, by the names of `Metadata`."""
    said: dict[str, Any] = {}
    for data in inside(stream, b"jp2h", b"colr"):
        if data[:1] in (b"\x02", b"\x03") and len(data) > 3:
            said.setdefault("icc_profile", data[3:])
    for data in inside(stream, b"uuid"):
        if data[:16] == _XMP_UUID:
            said["xmp"] = data[16:]
        elif data[:16] == _EXIF_UUID:
            said["exif"] = data[16:]
    return said


def jp2_components(stream: BinaryIO) -> Components | None:
    """Return the components of a JPEG 2000 picture, None where there is no such header."""
    stream.seek(0)
    head = stream.read(4)
    bare = head == _CODESTREAM
    content = head + stream.read(2**16) if bare else next(inside(stream, b"jp2c"), b"")
    if content[:4] != _CODESTREAM or len(content) < 43:
        return None
    (count,) = struct.unpack_from(">H", content, 40)
    depths = content[42 : 42 + 3 * count : 3]
    return Components(tuple((depth & 127) + 1 for depth in depths), any(depth & 128 for depth in depths))


def avif_exif(stream: BinaryIO) -> bytes | None:
    """Return the EXIF block of an AVIF byte for byte, None without one; Pillow may write it anew."""
    try:
        wanted = {number for data in inside(stream, b"meta", b"iinf") for number in _exif_items(data)}
        for data in inside(stream, b"meta", b"iloc"):
            for number, start, length in _places(data):
                if number in wanted and length > 4:
                    stream.seek(start)
                    item = stream.read(min(length, _LARGEST))
                    return item[4 + struct.unpack_from(">I", item)[0] :] or None
    except struct.error:
        return None
    return None


def _exif_items(data: bytes) -> Iterator[int]:
    """Yield the numbers of the EXIF items that an item information box lists."""
    place = 6 if data[0] == 0 else 8
    while place + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, place)
        version = data[place + 8]
        number, kind = struct.unpack_from(">HxxI" if version == 2 else ">IxxI", data, place + 12)
        if version >= 2 and kind == int.from_bytes(b"Exif"):
            yield number
        place += max(length, 12)


def _places(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield number, begin and length of the items that stand in the file in one piece."""
    version, sizes, more = data[0], data[4], data[5]
    widths = (sizes >> 4, sizes & 15, more >> 4, more & 15 if version else 0)
    wide = 4 if version == 2 else 2
    count = int.from_bytes(data[6 : 6 + wide])
    place = 6 + wide

    def number(width: int) -> int:
        nonlocal place
        place += width
        return int.from_bytes(data[place - width : place])

    for _ in range(count):
        item, method = number(wide), number(2) & 15 if version else 0
        number(2)
        base, pieces = number(widths[2]), number(2)
        extents = [(number(widths[3]), number(widths[0]), number(widths[1])) for _ in range(pieces)]
        if method == 0 and pieces == 1 and place <= len(data):
            yield item, base + extents[0][1], extents[0][2]
