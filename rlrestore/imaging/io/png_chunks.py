"""The chunks of a PNG: those that Pillow is to see, and what the others say.

Source: PNG specification, third edition (W3C 2025).
"""

import struct
import zlib
from collections.abc import Sequence
from typing import Any, BinaryIO, NamedTuple

from rlrestore.imaging.io.colour import Colours
from rlrestore.imaging.io.metadata import sensible_resolution
from rlrestore.imaging.io.photoshop import IPTC, joined, resources
from rlrestore.imaging.io.spliced import Part, spliced

SIGNATURE = b"\x89PNG\r\n\x1a\n"
LARGEST = 32 * 2**20
"""Bytes of what one chunk says, unpacked; more is left out, for it may be made to fill the memory."""
XMP_KEYWORD = "XML:com.adobe.xmp"
_METRES_PER_INCH = 0.0254
_FOR_PIXELS = frozenset({b"tRNS", b"acTL", b"fcTL", b"fdAT"})
"""Chunks that are not critical by their name, but tell of pixels."""
_TEXTS, _COLOURS = (b"tEXt", b"zTXt", b"iTXt"), (b"gAMA", b"cHRM", b"cICP", b"sRGB")
_OUTLIVED = frozenset({b"sBIT", b"bKGD", b"hIST", b"sPLT", b"tIME"})
"""What is not true of a result any more, or was only a help to show the picture."""


class Chunk(NamedTuple):
    """The kind of a chunk and its data."""

    kind: bytes
    data: bytes


def take_apart(stream: BinaryIO) -> tuple[BinaryIO, list[Chunk]]:
    """Return a PNG of nothing but pixels, and all other chunks, as far as they are whole."""
    end = stream.seek(0, 2)
    parts: list[Part] = []
    chunks, place, kept_from = list[Chunk](), len(SIGNATURE), 0
    while place + 12 <= end:
        stream.seek(place)
        length, kind = struct.unpack(">I4s", stream.read(8))
        after = place + 12 + length
        if after > end or not kind.isalpha():
            break
        if kind[:1].islower() and kind not in _FOR_PIXELS:
            if length <= LARGEST:
                data = stream.read(length)
                if stream.read(4) == struct.pack(">I", zlib.crc32(kind + data)):
                    chunks.append(Chunk(kind, data))
            else:
                chunks.append(Chunk(kind, b""))
            parts.append((kept_from, place))
            kept_from = after
        place = after
    return spliced(stream, [*parts, (kept_from, end)]), chunks


def described(chunks: Sequence[Chunk]) -> tuple[dict[str, Any], list[str]]:
    """Return what chunks say, by the names of `Metadata`, and notes on what was left out of it."""
    said: dict[str, Any] = {"texts": []}
    colours: dict[str, Any] = {}
    notes = []
    for kind, data in chunks:
        try:
            if kind in _TEXTS:
                _take_text(kind, data, said)
            elif kind in _COLOURS:
                colours |= _colours(kind, data)
            elif kind == b"iCCP":
                said["icc_profile"] = _inflated(data.split(b"\0", 1)[1][1:])
            elif kind == b"eXIf":
                said["exif"] = data
            elif kind == b"pHYs":
                notes += _take_resolution(data, said)
            elif kind not in _OUTLIVED:
                notes.append(f"its {kind.decode('latin-1')} chunk was left out")
        except (IndexError, ValueError, UnicodeError, struct.error, zlib.error) as error:
            notes.append(f"its {kind.decode('latin-1')} chunk was left out ({error})")
    said["texts"] = tuple(said["texts"])
    return said | ({"colours": Colours(**colours)} if colours else {}), notes


def _take_resolution(data: bytes, said: dict[str, Any]) -> list[str]:
    horizontal, vertical, unit = struct.unpack(">IIB", data)
    if unit == 1:
        said["dpi"] = sensible_resolution((horizontal * _METRES_PER_INCH, vertical * _METRES_PER_INCH))
        return []
    return ["that its pixels are not square was left out"] * (horizontal != vertical)


def _colours(kind: bytes, data: bytes) -> dict[str, Any]:
    if kind == b"gAMA":
        gamma = struct.unpack(">I", data)[0] / 100_000
        return {"gamma": gamma} if gamma > 0 else {}
    if kind == b"cHRM":
        return {"chromaticities": tuple(value / 100_000 for value in struct.unpack(">8I", data))}
    if kind == b"cICP":
        return {"code_points": struct.unpack(">4B", data)}
    return {"srgb_intent": struct.unpack(">B", data)[0]}


def _take_text(kind: bytes, data: bytes, said: dict[str, Any]) -> None:
    """Add what a chunk of text says: XMP, metadata as other programs hide it in texts, or a text."""
    name, rest = data.split(b"\0", 1)
    keyword = name.decode("latin-1")
    if kind == b"iTXt":
        packed, rest = rest[0], rest[2:].split(b"\0", 2)[2]
        rest = _inflated(rest) if packed else rest
    elif kind == b"zTXt":
        rest = _inflated(rest[1:])
    if keyword == XMP_KEYWORD:
        said.setdefault("xmp", rest)
    elif keyword.lower().startswith("raw profile type "):
        _take_raw_profile(keyword.lower().removeprefix("raw profile type "), rest, said, keyword)
    else:
        said["texts"].append((keyword, rest.decode("utf-8" if kind == b"iTXt" else "latin-1")))


def _take_raw_profile(kind: str, text: bytes, said: dict[str, Any], keyword: str) -> None:
    """Add what ImageMagick and others write as hexadecimal digits behind a name and a length."""
    data = bytes.fromhex(text.decode("latin-1").split(maxsplit=2)[2])
    if data.startswith(b"Exif\0\0"):
        said.setdefault("exif", data[6:])
    elif kind == "xmp" or data.startswith(b"http://ns.adobe.com/xap/1.0/\0"):
        said.setdefault("xmp", data.removeprefix(b"http://ns.adobe.com/xap/1.0/\0"))
    elif kind in ("8bim", "iptc"):
        block = data.removeprefix(b"Photoshop 3.0\0")
        found = list(resources(block))
        said.setdefault("photoshop", joined(found or [(IPTC, block)]))
    elif kind in ("icc", "icm"):
        said.setdefault("icc_profile", data)
    else:
        said["texts"].append((keyword, text.decode("latin-1")))


def _inflated(data: bytes) -> bytes:
    unpacker = zlib.decompressobj()
    unpacked = unpacker.decompress(data, LARGEST)
    if unpacker.unconsumed_tail:
        raise ValueError(f"more than {LARGEST // 2**20} MB")
    return unpacked


def chunk(kind: bytes, data: bytes) -> bytes:
    """Return a chunk as it stands in a file."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
