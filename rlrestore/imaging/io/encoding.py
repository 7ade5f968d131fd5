"""From a `Photo` to the bytes of an image file."""

import io
import struct
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal

import numpy as np
from PIL import Image

from rlrestore.errors import ImageError, UsageError
from rlrestore.imaging.io.holding import FORMATS, check_holds, fitted
from rlrestore.imaging.io.jpeg_segments import LARGEST_SEGMENT, PHOTOSHOP
from rlrestore.imaging.io.metadata import EXIF_PREFIX, without_orientation
from rlrestore.imaging.io.photo import Photo
from rlrestore.imaging.io.png import encode_png
from rlrestore.imaging.io.tiff import encode_tiff

DEFAULT_QUALITY = 95
"""Quality of a JPEG or AVIF that is written; the other formats are written without loss."""
KEEP: Literal["keep"] = "keep"
Quality = int | Literal["keep"] | None
"""From 1 to 100; `keep` writes a JPEG that came as one with its own tables, anything else as None does."""


def encode_photo(photo: Photo, suffix: str, name: str, quality: Quality = None) -> bytes:
    """Encode a photo in the format of a file name's suffix, without what the format cannot hold.

    Args:
        photo: What to write; kept at 16 bits where it is 16-bit and the format can (PNG, TIFF, PPM).
        suffix: A key of `ENCODERS`.
        name: How to call the file in an error message.
        quality: From 1 to 100, for JPEG, AVIF, and WebP, which is lossless without it; PNG, TIFF, BMP and PPM
            always are. `keep` writes a JPEG that came as one at its quality and subsampling.

    Raises:
        ImageError: The format cannot hold the photo's transparency or size.
        UsageError: A quality that there is none of, or for a format without one.
    """
    check_holds(photo, suffix, name)
    if quality not in (None, KEEP) and not (suffix in LOSSY_SUFFIXES and 1 <= quality <= 100):
        raise UsageError(f"expected a quality from 1 to 100, for jpg, avif or webp, got {quality} for {name}")
    kept, _ = fitted(photo if quality == KEEP else replace(photo, jpeg=None), suffix)
    quality = None if quality == KEEP else quality
    try:
        return ENCODERS[suffix](kept, quality)
    except (OSError, ValueError, TypeError, OverflowError, struct.error) as error:
        raise ImageError(
            f"expected a format that can hold {photo.width}×{photo.height} pixels, "
            f"but {name} cannot be encoded ({error}); write .png"
        ) from error


def _saved(image: Image.Image, image_format: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, image_format, **{key: value for key, value in options.items() if value is not None})
    return stream.getvalue()


def _prefixed_exif(photo: Photo) -> bytes | None:
    return EXIF_PREFIX + photo.exif if photo.exif else None


def _png(photo: Photo, quality: int | None) -> bytes:
    del quality  # lossless
    return encode_png(photo)


def _jpeg(photo: Photo, quality: int | None) -> bytes:
    comments = [text.encode() for _, text in photo.texts]
    return _saved(
        photo.to_image(),
        "JPEG",
        **_coarseness(photo, quality),
        icc_profile=photo.icc_profile,
        exif=_prefixed_exif(photo),
        xmp=photo.xmp,
        dpi=photo.dpi,
        extra=b"".join((*_photoshop_segments(photo.photoshop), *(_segment(0xFE, text) for text in comments))),
    )


def _coarseness(photo: Photo, quality: int | None) -> dict[str, Any]:
    if photo.jpeg is None:
        return {"quality": quality or DEFAULT_QUALITY, "subsampling": 0}
    tables = photo.jpeg.tables[:1] if photo.greyscale else photo.jpeg.tables
    return {"qtables": [list(table) for table in tables], "subsampling": photo.jpeg.subsampling}


def _photoshop_segments(block: bytes | None) -> list[bytes]:
    step = LARGEST_SEGMENT - len(PHOTOSHOP)
    return [
        _segment(0xED, PHOTOSHOP + block[place : place + step])
        for place in range(0, len(block or b""), step)
        if block
    ]


def _segment(marker: int, data: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(data) + 2) + data


def _webp(photo: Photo, quality: int | None) -> bytes:
    return _saved(
        photo.to_image(),
        "WEBP",
        lossless=quality is None,
        quality=quality,
        exact=True,
        icc_profile=photo.icc_profile,
        exif=_prefixed_exif(photo),
        xmp=photo.xmp,
    )


def _avif(photo: Photo, quality: int | None) -> bytes:
    return _saved(
        photo.to_image(),
        "AVIF",
        quality=quality or DEFAULT_QUALITY,
        subsampling="4:4:4",
        icc_profile=photo.icc_profile,
        exif=without_orientation(photo.exif) if photo.exif else None,  # else Pillow would write it anew
        xmp=photo.xmp,
    )


def _tiff(photo: Photo, quality: int | None) -> bytes:
    del quality  # lossless
    return encode_tiff(photo)


def _bmp(photo: Photo, quality: int | None) -> bytes:
    del quality  # lossless
    return _saved(photo.to_image(), "BMP", dpi=photo.dpi or (0, 0))  # without it Pillow makes up 96


def _ppm(photo: Photo, quality: int | None) -> bytes:
    del quality  # lossless
    if photo.depth_bits == 8:
        return _saved(photo.to_image(), "PPM")
    header = b"%b\n%d %d\n65535\n" % (b"P5" if photo.greyscale else b"P6", photo.width, photo.height)
    return header + photo.samples(16).astype(np.dtype(">u2")).tobytes()


_ENCODERS: dict[str, Callable[[Photo, int | None], bytes]] = {
    "PNG": _png,
    "JPEG": _jpeg,
    "WebP": _webp,
    "AVIF": _avif,
    "TIFF": _tiff,
    "BMP": _bmp,
    "PPM": _ppm,
}
ENCODERS = {suffix: _ENCODERS[held.name] for suffix, held in FORMATS.items()}
"""The suffixes that can be written."""

LOSSY_SUFFIXES = frozenset({".jpg", ".jpeg", ".webp", ".avif"})
"""The suffixes for which a quality can be given."""
