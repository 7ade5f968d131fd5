"""Blocks of Photoshop's image resources, in which files hold IPTC.

Source: Adobe Photoshop file formats specification (2019); IPTC Information Interchange Model 4.2.
"""

import struct
from collections.abc import Iterator

IPTC = 0x0404
CARRIED_APART = frozenset({0x0409, 0x040C, 0x040F, 0x0422, 0x0423, 0x0424, 0x03ED, 0x03E9})
"""Thumbnails, which show the picture as it was; profile, EXIF, XMP and resolution, which have places of
their own."""


def resources(block: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield number and data of every resource, as far as the block is whole."""
    place = 0
    while place + 12 <= len(block) and block[place : place + 4] in (
        b"8BIM",
        b"MeSa",
        b"PHUT",
        b"AgHg",
        b"DCSR",
    ):
        (number,) = struct.unpack_from(">H", block, place + 4)
        name = block[place + 6] + 1
        start = place + 6 + name + name % 2
        if start + 4 > len(block):
            return
        (length,) = struct.unpack_from(">I", block, start)
        if start + 4 + length > len(block):
            return
        yield number, block[start + 4 : start + 4 + length]
        place = start + 4 + length + length % 2


def joined(parts: Iterator[tuple[int, bytes]] | list[tuple[int, bytes]]) -> bytes | None:
    """Return a block of resources, without those that are carried apart; None where none is left."""
    block = b"".join(
        struct.pack(">4sHHI", b"8BIM", number, 0, len(data)) + data + bytes(len(data) % 2)
        for number, data in parts
        if number not in CARRIED_APART
    )
    return block or None


def iptc(block: bytes | None) -> bytes | None:
    """Return the IPTC records of a block, None without any."""
    return next((data for number, data in resources(block or b"") if number == IPTC and data), None)
