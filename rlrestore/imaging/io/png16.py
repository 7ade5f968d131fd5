"""PNG of 16 bits per sample: Pillow does not write it in colour, and OpenCV not with its resolution.

Source: PNG specification, third edition (W3C 2025): chunks, filter type 1.
"""

import struct
import zlib

import numpy as np

from rlrestore.imaging.io.photo import Integers, Photo

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_COLOUR_TYPE = {1: 0, 2: 4, 3: 2, 4: 6}
"""Of one to four channels."""

_METRES_PER_INCH = 0.0254

PNG_STRATEGY = zlib.Z_RLE
"""What zlib looks for in the filtered rows of a photograph, where hardly more repeats than the byte before:
restored photographs come out a little smaller than by its default, in a sixth of the time."""


def encode_png16(photo: Photo) -> bytes:
    """Write a photo as PNG of 16 bits per sample, with profile, EXIF, XMP and resolution."""
    samples = photo.samples(16).astype(">u2")
    header = struct.pack(">IIBBBBB", photo.width, photo.height, 16, _COLOUR_TYPE[photo.channels], 0, 0, 0)
    chunks = [(b"IHDR", header)]
    if photo.icc_profile:
        chunks.append((b"iCCP", b"ICC profile\x00\x00" + zlib.compress(photo.icc_profile)))
    if photo.dpi:
        per_metre = [round(dpi / _METRES_PER_INCH) for dpi in photo.dpi]
        chunks.append((b"pHYs", struct.pack(">IIB", *per_metre, 1)))
    if photo.xmp:
        chunks.append((b"iTXt", b"XML:com.adobe.xmp\x00\x00\x00\x00\x00" + photo.xmp))
    if photo.exif:
        chunks.append((b"eXIf", photo.exif))
    chunks += [(b"IDAT", _compressed_rows(samples)), (b"IEND", b"")]
    return _SIGNATURE + b"".join(_chunk(kind, payload) for kind, payload in chunks)


def _chunk(kind: bytes, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload)) + kind + payload + struct.pack(">I", zlib.crc32(kind + payload))


def _compressed_rows(samples: Integers) -> bytes:
    """Compress `(H, W, C)` big-endian samples as differences to the pixel on their left (filter Sub)."""
    compressor = zlib.compressobj(strategy=PNG_STRATEGY)
    step = samples.shape[2] * 2
    parts = []
    for row in samples:
        line = np.frombuffer(row.tobytes(), np.uint8)
        difference = line.copy()
        difference[step:] -= line[:-step]
        parts.append(compressor.compress(b"\x01" + difference.tobytes()))
    return b"".join((*parts, compressor.flush()))
