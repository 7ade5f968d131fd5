"""EXIF, XMP and resolution of an image file, with the orientation taken out."""

import math
import re
import struct
from typing import Any

from PIL import Image

ORIENTATION_TAG = 0x0112
XMP_TAG = 700
UPRIGHT = 1
EXIF_PREFIX = b"Exif\x00\x00"

_XMP_ORIENTATION = re.compile(rb"""(tiff:Orientation(?:>|=["']))\s*[0-9]""")
_ENTRY_BYTES = 12

_DESCRIPTIVE_TAGS = (270, 271, 272, 305, 306, 315, 33432)
"""Description, make, model, software, date, artist, copyright: what outlives the layout of a TIFF."""

_SUB_DIRECTORIES = (0x8769, 0x8825)
"""The EXIF and the GPS directory."""


def orientation(image: Image.Image) -> int:
    """Return the orientation flag of an opened image, 1 (upright) to 8; 1 when absent or senseless."""
    value = image.getexif().get(ORIENTATION_TAG, UPRIGHT)
    return value if isinstance(value, int) and 1 <= value <= 8 else UPRIGHT


def exif_block(image: Image.Image) -> bytes | None:
    """Return the EXIF block of an opened image from its TIFF header on, upright and without thumbnail.

    The block is patched in place, not rebuilt, which would break the absolute offsets in makers' notes.

    Returns:
        None when there is no EXIF, or it is too damaged to be patched.
    """
    raw = image.info.get("exif")
    if isinstance(raw, bytes) and raw:
        return upright_block(raw.removeprefix(EXIF_PREFIX))
    kept = Image.Exif()
    for tag, value in _lasting_tags(image.getexif()).items():
        kept[tag] = value
    return kept.tobytes().removeprefix(EXIF_PREFIX) if len(kept) else None


def upright_block(block: bytes) -> bytes | None:
    """Set the orientation in a TIFF or EXIF block to upright, and cut off its second directory.

    In EXIF that is the thumbnail, which shows the picture as it was.

    Returns:
        None when the block is too damaged, or of a kind (BigTIFF) that is not understood.
    """
    order = {b"II*\x00": "<", b"MM\x00*": ">"}.get(block[:4])
    if order is None:
        return None
    patched = bytearray(block)
    try:
        (start,) = struct.unpack_from(order + "I", patched, 4)
        (count,) = struct.unpack_from(order + "H", patched, start)
        end = start + 2 + count * _ENTRY_BYTES
        for entry in range(start + 2, end, _ENTRY_BYTES):
            if struct.unpack_from(order + "H", patched, entry)[0] == ORIENTATION_TAG:
                struct.pack_into(order + "HIHH", patched, entry + 2, 3, 1, UPRIGHT, 0)
        if end + 4 <= len(patched):
            struct.pack_into(order + "I", patched, end, 0)
    except struct.error:
        return None
    return bytes(patched)


def _lasting_tags(tags: Image.Exif) -> dict[int, Any]:
    kept: dict[int, Any] = {tag: tags[tag] for tag in _DESCRIPTIVE_TAGS if tag in tags}
    directories = {tag: dict(tags.get_ifd(tag)) for tag in _SUB_DIRECTORIES}
    return kept | {tag: directory for tag, directory in directories.items() if directory}


def lasting_exif(exif: bytes | None) -> dict[int, Any]:
    """Return those tags of an EXIF block that a TIFF takes over among its own; directories are nested."""
    if not exif:
        return {}
    block = Image.Exif()
    block.load(EXIF_PREFIX + exif)
    return _lasting_tags(block)


def xmp_packet(image: Image.Image) -> bytes | None:
    """Return the XMP packet of an opened image with its orientation reset to upright, None without one."""
    raw = image.info.get("xmp", image.info.get("XML:com.adobe.xmp"))
    packet = raw.encode() if isinstance(raw, str) else raw
    if not isinstance(packet, bytes) or not packet:
        return None
    return _XMP_ORIENTATION.sub(rb"\g<1>1", packet)


def resolution_dpi(image: Image.Image) -> tuple[float, float] | None:
    """Return the pixels per inch of an opened image, None when absent or senseless."""
    value: Any = image.info.get("dpi")
    if not isinstance(value, tuple) or len(value) != 2:
        return None
    horizontal, vertical = (float(v) for v in value)
    sensible = all(math.isfinite(v) and 0 < v < 1e6 for v in (horizontal, vertical))
    return (horizontal, vertical) if sensible else None
