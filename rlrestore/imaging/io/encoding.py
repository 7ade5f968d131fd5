"""From a `Photo` to the bytes of an image file."""

import io
import struct
from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from rlrestore.errors import ImageError, UsageError
from rlrestore.imaging.io.metadata import EXIF_PREFIX
from rlrestore.imaging.io.photo import Photo
from rlrestore.imaging.io.png16 import PNG_STRATEGY, encode_png16
from rlrestore.imaging.io.tiff import encode_tiff

DEFAULT_QUALITY = 95
"""Quality of a JPEG or AVIF that is written; the other formats are written without loss."""


def encode_photo(photo: Photo, suffix: str, name: str, quality: int | None = None) -> bytes:
    """Encode a photo in the format of a file name's suffix.

    Args:
        photo: What to write; kept at 16 bits where it is 16-bit and the format can (PNG, TIFF).
        suffix: A key of `ENCODERS`.
        name: How to call the file in an error message.
        quality: From 1 to 100, for JPEG, AVIF, and WebP, which is lossless without it; PNG, TIFF, BMP and PPM
            always are.

    Raises:
        ImageError: The format cannot hold the photo's transparency or size.
        UsageError: A quality that there is none of, or for a format without one.
    """
    check_transparency(photo, suffix, name)
    if quality is not None and not (suffix in LOSSY_SUFFIXES and 1 <= quality <= 100):
        raise UsageError(f"expected a quality from 1 to 100, for jpg, avif or webp, got {quality} for {name}")
    try:
        return ENCODERS[suffix](photo, quality)
    except (OSError, ValueError, TypeError, OverflowError, struct.error) as error:
        raise ImageError(
            f"expected a format that can hold {photo.width}×{photo.height} pixels, "
            f"but {name} cannot be encoded ({error}); write .png"
        ) from error


def check_transparency(photo: Photo, suffix: str, name: str) -> None:
    """Make sure that a format can hold a photo's transparency, to be asked before the work is done.

    Raises:
        ImageError: It cannot.
    """
    if photo.alpha is not None and suffix not in TRANSPARENT_SUFFIXES:
        raise ImageError(
            f"expected a format that keeps the photo's transparency, but {name} ends in {suffix}; "
            "write .png, .webp or .tif"
        )


def _saved(image: Image.Image, image_format: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, image_format, **{key: value for key, value in options.items() if value is not None})
    return stream.getvalue()


def _prefixed_exif(photo: Photo) -> bytes | None:
    return EXIF_PREFIX + photo.exif if photo.exif else None


def _png(photo: Photo, quality: int | None) -> bytes:
    del quality  # lossless
    if photo.depth_bits == 16:
        return encode_png16(photo)
    text = PngInfo()
    if photo.xmp:
        text.add_itxt("XML:com.adobe.xmp", photo.xmp.decode("utf-8", "replace"))
    return _saved(
        photo.to_image(),
        "PNG",
        compress_type=PNG_STRATEGY,
        pnginfo=text,
        icc_profile=photo.icc_profile,
        exif=photo.exif,
        dpi=photo.dpi,
    )


def _jpeg(photo: Photo, quality: int | None) -> bytes:
    return _saved(
        photo.to_image(),
        "JPEG",
        quality=quality or DEFAULT_QUALITY,
        subsampling=0,
        icc_profile=photo.icc_profile,
        exif=_prefixed_exif(photo),
        xmp=photo.xmp,
        dpi=photo.dpi,
    )


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
        exif=photo.exif,
        xmp=photo.xmp,
    )


def _tiff(photo: Photo, quality: int | None) -> bytes:
    del quality  # lossless
    return encode_tiff(photo)


def _bmp(photo: Photo, quality: int | None) -> bytes:
    del quality  # lossless
    return _saved(photo.to_image(), "BMP", dpi=photo.dpi)


def _ppm(photo: Photo, quality: int | None) -> bytes:
    del quality  # lossless
    if photo.depth_bits == 8:
        return _saved(photo.to_image(), "PPM")
    header = b"%b\n%d %d\n65535\n" % (b"P5" if photo.greyscale else b"P6", photo.width, photo.height)
    return header + photo.samples(16).astype(np.dtype(">u2")).tobytes()


ENCODERS: dict[str, Callable[[Photo, int | None], bytes]] = {
    ".png": _png,
    ".jpg": _jpeg,
    ".jpeg": _jpeg,
    ".webp": _webp,
    ".avif": _avif,
    ".tif": _tiff,
    ".tiff": _tiff,
    ".bmp": _bmp,
    ".ppm": _ppm,
    ".pgm": _ppm,
    ".pnm": _ppm,
}
"""The suffixes that can be written."""

TRANSPARENT_SUFFIXES = frozenset({".png", ".webp", ".avif", ".tif", ".tiff"})

LOSSY_SUFFIXES = frozenset({".jpg", ".jpeg", ".webp", ".avif"})
"""The suffixes for which a quality can be given."""
