"""What stands in a JPEG beside its picture: IPTC, comments, and what follows the picture.

Source: ITU-T T.81 (JPEG); Adobe XMP specification part 3 (2020).
"""

import re
import struct
from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO

from rlrestore.imaging.io.photoshop import joined, resources

PHOTOSHOP = b"Photoshop 3.0\0"
EXTENDED_XMP = b"http://ns.adobe.com/xmp/extension/\0"
LARGEST_SEGMENT = 65533
"""Bytes of what a segment can hold."""
LARGEST_XMP = LARGEST_SEGMENT - len(b"http://ns.adobe.com/xap/1.0/\0")
LARGEST_EXIF = LARGEST_SEGMENT - len(b"Exif\0\0")
LARGEST_PROFILE = 255 * (LARGEST_SEGMENT - 14)
_KNOWN = (
    *(b"JFIF\0", b"JFXX\0", b"Exif\0", b"http://ns.adobe.com/xap/1.0/\0", EXTENDED_XMP),
    *(b"ICC_PROFILE\0", b"MPF\0", b"Adobe", b"Ducky", PHOTOSHOP),
)
FRAMES = frozenset({*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC})
_NEXT_MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")
_EXPECTED_BEHIND = 4096
"""Bytes of padding, zeros, that some programs leave behind the picture."""


def described(segments: Sequence[tuple[str, bytes]]) -> tuple[dict[str, Any], list[str]]:
    """Return what segments say, by the names of `Metadata`, and notes on what was left out of it.

    Args:
        segments: Marker (`APP13`, `COM`) and data of each, as Pillow lists them.
    """
    comments, blocks, notes = [], [], []
    for marker, data in segments:
        if marker == "COM":
            comments.append(("Comment", _decoded(data.rstrip(b"\0"))))
        elif marker == "APP13" and data.startswith(PHOTOSHOP):
            blocks.append(data.removeprefix(PHOTOSHOP))
        elif not data.startswith(_KNOWN):
            label = re.match(rb"[\w .:/-]*", data[:24])
            name = f" ({label[0].decode()})" if label and label[0] else ""
            notes.append(f"its {marker} segment{name} was left out")
    if any(data.startswith(EXTENDED_XMP) for _, data in segments):
        notes.append("the extended part of its XMP was left out")
    block = joined(list(resources(b"".join(blocks))))
    said: dict[str, Any] = {"texts": tuple(text for text in comments if text[1])}
    return said | ({"photoshop": block} if block else {}), list(dict.fromkeys(notes))


def _decoded(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data.decode("latin-1")


def markers(stream: BinaryIO) -> Iterator[tuple[int, int]]:
    """Yield the number and the place of every marker, the last one the end of the picture.

    Nothing more comes after damage.
    """
    stream.seek(0)
    content = stream.read()
    place = 2
    while (found := _NEXT_MARKER.search(content, place)) is not None:
        number, start = content[found.end() - 1], found.start()
        yield number, start
        if number == 0xD9:
            return
        if start + 4 > len(content):
            return
        place = start + 2 + (0 if number == 0x01 else struct.unpack_from(">H", content, start + 2)[0])


def sample_bits(stream: BinaryIO) -> int:
    """Return the bits a sample that a JPEG's frame claims, 8 where there is none."""
    for number, place in markers(stream):
        if number in FRAMES:
            stream.seek(place + 4)
            return (stream.read(1) or b"\x08")[0]
        if number == 0xDA:
            break
    return 8


def bytes_behind(stream: BinaryIO) -> int | None:
    """Return how many bytes follow the picture in its file, None where its end is missing."""
    end = next((place + 2 for number, place in markers(stream) if number == 0xD9), None)
    if end is None:
        return None
    stream.seek(end)
    behind = stream.read()
    return len(behind) if len(behind) > _EXPECTED_BEHIND or behind.strip(b"\0\r\n ") else 0
