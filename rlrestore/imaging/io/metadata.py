"""What a file says beside its pixels, with the orientation taken out."""

import io
import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

from PIL import Image

from rlrestore.imaging.io import ifd
from rlrestore.imaging.io.colour import Colours
from rlrestore.imaging.io.ifd import Entry, Tree

ORIENTATION_TAG = 0x0112
UPRIGHT = 1
TRANSPOSING = frozenset({5, 6, 7, 8})
"""Orientations that swap width and height."""
EXIF_PREFIX = b"Exif\x00\x00"
_ENTRY_BYTES, _LONG = 12, 4

X_RESOLUTION, Y_RESOLUTION, RESOLUTION_UNIT = 282, 283, 296
UNITS_PER_INCH = {2: 1.0, 3: 2.54}

LAYOUT_TAGS = frozenset(
    {
        *(*range(254, 269), 273, ORIENTATION_TAG, *range(277, 285), *range(286, 294), RESOLUTION_UNIT, 297),
        *(317, *range(320, 329), 330, 332, *range(334, 340), 340, 341, 343, 344, 345, 346, 347, 351),
        *(*range(512, 522), *range(529, 533), 559, 32995, 32996, 32997, 32998),
        *(700, 33723, 34377, 34675, 37724),  # carried apart, or left out in words
        *range(50706, 50832),  # of a camera's raw data
    }
)
"""Tags of how a TIFF's pixels lie, which say nothing of the photograph, and those with their own place."""


@dataclass(frozen=True)
class Metadata:
    """What a file says beside its pixels; `Photo` has the same fields.

    Attributes:
        icc_profile: Colour profile, byte for byte.
        exif: EXIF block from its TIFF header on, the orientation reset to upright, the thumbnail cut off.
        xmp: XMP packet, the orientation reset to upright.
        dpi: Pixels per inch, horizontal and vertical.
        photoshop: Block of Photoshop's image resources, with IPTC.
        texts: Keyword and text of every comment.
        colours: What is said of the colours without a profile.
    """

    icc_profile: bytes | None = None
    exif: bytes | None = None
    xmp: bytes | None = None
    dpi: tuple[float, float] | None = None
    photoshop: bytes | None = None
    texts: tuple[tuple[str, str], ...] = ()
    colours: Colours | None = None


def orientation(image: Image.Image) -> int:
    """Return the orientation flag of an opened image, 1 (upright) to 8; 1 when absent or senseless."""
    return sensible_orientation(image.getexif().get(ORIENTATION_TAG, UPRIGHT))


def sensible_orientation(value: object) -> int:
    """Return an orientation flag from 1 to 8; 1 in place of any other value."""
    return value if isinstance(value, int) and 1 <= value <= 8 else UPRIGHT


def block_orientation(block: bytes) -> int:
    """Return the orientation flag of an EXIF block."""
    try:
        return sensible_orientation(ifd.read_directory(io.BytesIO(block)).whole(ORIENTATION_TAG, UPRIGHT))
    except ValueError:
        return UPRIGHT


def upright_block(block: bytes) -> bytes | None:
    """Set the orientation in an EXIF block to upright, and cut off its second directory, the thumbnail.

    The block is patched in place, not rebuilt, which would break the absolute offsets in makers' notes.

    Returns:
        None when the block is too damaged, or of a kind (BigTIFF) that is not understood.
    """
    try:
        patched, order, entries = _first_directory(block)
        for entry in entries:
            if struct.unpack_from(order + "H", patched, entry)[0] == ORIENTATION_TAG:
                struct.pack_into(order + "HIHH", patched, entry + 2, 3, 1, UPRIGHT, 0)
        if entries.stop + 4 <= len(patched):
            struct.pack_into(order + "I", patched, entries.stop, 0)
    except struct.error:
        return None
    return bytes(patched)


def resized_block(block: bytes, width: int, height: int) -> bytes:
    """Let an EXIF block say another size where it says one, in place, as `upright_block`.

    Args:
        block: From its TIFF header on.
        width: Pixels across.
        height: Pixels down.
    """
    sizes = {256: width, 257: height, 0xA002: width, 0xA003: height}
    try:
        patched, order, entries = _first_directory(block)
        for place in (*entries, *_nested_entries(patched, order, entries)):
            tag = struct.unpack_from(order + "H", patched, place)[0]
            if tag in sizes:
                struct.pack_into(order + "HHII", patched, place, tag, _LONG, 1, sizes[tag])
    except struct.error:
        return block
    return bytes(patched)


def _nested_entries(block: bytearray, order: str, entries: range) -> Iterator[int]:
    """Yield where the tags of the EXIF directory within the first one stand."""
    for place in entries:
        tag, start = struct.unpack_from(order + "H6xI", block, place)
        if tag == ifd.EXIF_DIRECTORY:
            (count,) = struct.unpack_from(order + "H", block, start)
            yield from range(start + 2, start + 2 + count * _ENTRY_BYTES, _ENTRY_BYTES)


def without_orientation(block: bytes) -> bytes:
    """Take the orientation out of an EXIF block in place; the room of one tag stays empty."""
    try:
        patched, order, entries = _first_directory(block)
        found = [at for at in entries if struct.unpack_from(order + "H", patched, at)[0] == ORIENTATION_TAG]
        for at in reversed(found):
            behind = patched[at + _ENTRY_BYTES : entries.stop + 4]
            patched[at : entries.stop + 4] = behind + bytes(_ENTRY_BYTES)
        struct.pack_into(order + "H", patched, entries.start - 2, len(entries) - len(found))
    except struct.error:
        return block
    return bytes(patched)


def _first_directory(block: bytes) -> tuple[bytearray, str, range]:
    """Return a copy of an EXIF block, the order of its bytes, and where each tag of it stands.

    Raises:
        struct.error: There is no such directory.
    """
    order = {b"II*\x00": "<", b"MM\x00*": ">"}.get(block[:4])
    if order is None:
        raise struct.error("no header")
    (start,) = struct.unpack_from(order + "I", block, 4)
    (count,) = struct.unpack_from(order + "H", block, start)
    return bytearray(block), order, range(start + 2, start + 2 + count * _ENTRY_BYTES, _ENTRY_BYTES)


def lasting(tree: Tree) -> dict[int, "Entry | Tree"]:
    """Return the tags that say something of the photograph, with the directories in the first one."""
    resolution = (X_RESOLUTION, Y_RESOLUTION)
    return {
        tag: value
        for tag, value in tree.items()
        if tag not in LAYOUT_TAGS and tag not in resolution and value
    }


def exif_of_tiff(stream: BinaryIO, directory: ifd.Directory) -> bytes | None:
    """Return a new EXIF block of the lasting tags of a TIFF, each value byte for byte; None without any."""
    tree = lasting(ifd.nested(stream, directory))
    return ifd.header(directory.order, 8) + ifd.pack(directory.order, tree) if tree else None


def exif_tree(exif: bytes | None) -> tuple[ifd.Order, dict[int, "Entry | Tree"]]:
    """Return the order of the bytes and the lasting tags of an EXIF block."""
    if not exif:
        return "<", {}
    try:
        stream = io.BytesIO(exif)
        directory = ifd.read_directory(stream)
        return directory.order, lasting(ifd.nested(stream, directory))
    except ValueError:
        return "<", {}


def exif_resolution(exif: bytes | None) -> tuple[float, float] | None:
    """Return the pixels per inch that an EXIF block says, None without a word."""
    try:
        return directory_resolution(ifd.read_directory(io.BytesIO(exif or b"")))
    except ValueError:
        return None


def directory_resolution(directory: ifd.Directory) -> tuple[float, float] | None:
    """Return the pixels per inch that a directory of tags says, None without a word."""
    per_inch = UNITS_PER_INCH.get(directory.whole(RESOLUTION_UNIT, 2))
    values = [directory.numbers(tag) for tag in (X_RESOLUTION, Y_RESOLUTION)]
    if per_inch is None or not all(values):
        return None
    return sensible_resolution((values[0][0] * per_inch, values[1][0] * per_inch))


def resolution_dpi(image: Image.Image) -> tuple[float, float] | None:
    """Return the pixels per inch of an opened image, None when absent or senseless."""
    if image.format in ("JPEG", "MPO") and not image.info.get("jfif_unit"):
        exif = image.info.get("exif")  # Pillow would make up 72
        return exif_resolution(exif.removeprefix(EXIF_PREFIX)) if isinstance(exif, bytes) else None
    tags: Any = getattr(image, "tag_v2", ())
    if image.format == "TIFF" and not (X_RESOLUTION in tags and Y_RESOLUTION in tags):
        return None  # Pillow would make up 1
    return sensible_resolution(image.info.get("dpi"))


def sensible_resolution(value: object) -> tuple[float, float] | None:
    """Return pixels per inch, None in place of what cannot be any."""
    if not isinstance(value, tuple) or len(value) != 2:
        return None
    horizontal, vertical = (float(v) for v in value)
    sensible = all(math.isfinite(v) and 0 < v < 1e6 for v in (horizontal, vertical))
    return (horizontal, vertical) if sensible else None


def xmp_of(image: Image.Image) -> bytes | None:
    """Return the XMP packet that Pillow read, as it is, None without one."""
    raw = image.info.get("xmp", image.info.get("XML:com.adobe.xmp"))
    packet = raw.encode() if isinstance(raw, str) else raw
    return packet if isinstance(packet, bytes) and packet else None


def lasting_exif_of(image: Image.Image) -> bytes | None:
    """Return a new EXIF block of what Pillow knows of a file without one, None where nothing lasts."""
    known, kept = image.getexif(), Image.Exif()
    for tag in known:
        if tag not in LAYOUT_TAGS and tag not in (X_RESOLUTION, Y_RESOLUTION, *ifd.NESTED):
            value: Any = known[tag]
            kept[tag] = value.encode("latin-1", "replace") if isinstance(value, str) else value
    for tag in (ifd.EXIF_DIRECTORY, ifd.GPS_DIRECTORY):
        if inner := dict(known.get_ifd(tag)):
            kept[tag] = inner
    return kept.tobytes().removeprefix(EXIF_PREFIX) if len(kept) else None
