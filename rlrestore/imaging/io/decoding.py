"""From the bytes of an image file to a `Photo`."""

import importlib
import io
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from functools import cache
from typing import Any, BinaryIO

import numpy as np
from PIL import Image, ImageCms, UnidentifiedImageError

from rlrestore.errors import ImageError
from rlrestore.imaging.io.deep import deep_colour_samples
from rlrestore.imaging.io.metadata import exif_block, orientation, resolution_dpi, xmp_packet
from rlrestore.imaging.io.photo import Integers, Photo, to_floats

MAX_MEGAPIXELS = 200
MIN_SIDE_PX = 8

UNREAD_FORMATS = frozenset({"EPS", "WMF", "BUFR", "GRIB", "HDF5", "MPEG", "ICO", "ICNS"})
"""Formats that start another program, have no decoder at all, or hold images larger than they claim."""

FIRST_PICTURE_FORMATS = frozenset({"HEIF", "MPO", "PSD"})
"""Formats whose first picture is the photograph and whose others are its parts: previews, depth, layers."""

PHOTOMETRIC_TAG, WHITE_IS_ZERO = 262, 0
BITS_TAG = 258

_PILLOW_STATE = threading.Lock()


@contextmanager
def _no_pillow_limits() -> Iterator[None]:
    """Lift Pillow's pixel limit, which lies below ours, and silence its warnings while a header is read.

    Both are settings of the whole process, so they are held under a lock and put back at once.
    """
    with _PILLOW_STATE, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = limit


def decode_photo(stream: BinaryIO, name: str) -> Photo:
    """Decode a whole image file.

    Args:
        stream: The open file, at its start.
        name: How to call the file in an error message.

    Raises:
        ImageError: It is no image, is damaged, too small, too large, or has several frames.
    """
    image = _open_header(stream, name)
    try:
        _check_header(image, name)
        with _no_pillow_limits():
            turn = orientation(image)
        # Pillow checks its limit again while it loads TIFF; other formats may hold a larger image inside.
        with _no_pillow_limits() if image.format == "TIFF" else nullcontext():
            image.load()
        notes: list[str] = []
        samples = deep_colour_samples(image, stream, name)
        if samples is None:
            # Pillow turns TIFF by itself while loading, and only TIFF.
            samples = _oriented(_plain_samples(image, notes, name), 1 if image.format == "TIFF" else turn)
        else:
            samples = _oriented(samples, turn)
        return _photo(samples, image, tuple(notes))
    except ImageError:
        raise
    except Exception as error:  # decoders of damaged files raise whatever they trip over
        raise _told(error, image, name) from error
    finally:
        image.close()


def header_pixels(stream: BinaryIO, name: str) -> int:
    """Return how many pixels the header of an image file claims.

    Args:
        stream: The open file, at its start.
        name: How to call the file in an error message.

    Raises:
        ImageError: There is no header that can be read.
    """
    with _open_header(stream, name) as image:
        return image.width * image.height


def from_image(image: Image.Image) -> Photo:
    """Return a Pillow image as a `Photo`, upright, with all that Pillow knows of its file.

    Raises:
        ImageError: It is damaged, too small, too large, or has several frames.
    """
    name, notes = "the Pillow image", list[str]()
    if image.mode == "I" and image.format is None:
        raise ImageError(
            "expected to know the range of the Pillow image, got mode I: convert it to I;16 or L"
        )
    _check_header(image, name)
    try:
        return _photo(_oriented(_plain_samples(image, notes, name), orientation(image)), image, tuple(notes))
    except ImageError:
        raise
    except Exception as error:  # it may only now be read from its file
        raise _told(error, image, name) from error


def _told(error: Exception, image: Image.Image, name: str) -> ImageError:
    """Return what to tell the user of whatever a decoder tripped over."""
    if isinstance(error, MemoryError):
        return ImageError(f"expected {name} to fit into memory; it does not: make it smaller")
    return ImageError(
        f"expected a complete {image.format} image, but {name} is truncated or damaged "
        f"({_reason(error)}); get a fresh copy of the file"
    )


def _open_header(stream: BinaryIO, name: str) -> Image.Image:
    _know_formats()
    formats = [name for name in Image.ID if name not in UNREAD_FORMATS]
    try:
        with _no_pillow_limits():
            return Image.open(stream, formats=formats)
    except UnidentifiedImageError as error:
        raise ImageError(
            f"expected an image file, but {name} is none that can be read; convert it to PNG, JPEG or TIFF"
        ) from error
    except Exception as error:  # parsers of damaged headers raise whatever they trip over
        raise ImageError(
            f"expected an image file, but the header of {name} is damaged ({_reason(error)}); "
            "get a fresh copy of the file"
        ) from error


@cache
def _know_formats() -> None:
    """Load all that Pillow can read, HEIC among it where the extra `heic` is installed."""
    Image.init()
    with suppress(ImportError):
        importlib.import_module("pillow_heif").register_heif_opener()


def _reason(error: Exception) -> str:
    """Return an error's own words on one line."""
    return " ".join(str(error).split()) or type(error).__name__


def _check_header(image: Image.Image, name: str) -> None:
    """Refuse from the header alone, before any memory is spent on pixels."""
    width, height = image.size
    if width * height > MAX_MEGAPIXELS * 10**6:
        raise ImageError(
            f"expected at most {MAX_MEGAPIXELS} megapixels, but {name} claims {width}×{height} "
            f"({width * height / 1e6:.0f} megapixels); crop or shrink it first"
        )
    if min(width, height) < MIN_SIDE_PX:
        raise ImageError(
            f"expected an image of at least {MIN_SIDE_PX}×{MIN_SIDE_PX} pixels, "
            f"but {name} is {width}×{height}; use a larger one"
        )
    with _no_pillow_limits():
        several = bool(getattr(image, "is_animated", False))
    if several and image.format not in FIRST_PICTURE_FORMATS:
        raise ImageError(
            f"expected a single picture, but {name} is an animated or multi-page {image.format}; "
            "save its frames as separate files first"
        )


def _plain_samples(image: Image.Image, notes: list[str], name: str) -> Integers:
    """Return `(H, W, C)` samples as Pillow decodes them; C is 1, 2 (with alpha), 3 or 4 (with alpha)."""
    mode = image.mode
    if mode.startswith("I"):
        return _grey16_samples(image, name)
    if mode == "F":
        raise ImageError(
            f"expected 8- or 16-bit samples, but {name} holds floating-point ones; convert it to 16-bit TIFF"
        )
    if mode in ("CMYK", "LAB"):
        image = _converted_to_rgb(image)
        notes.append(f"{mode} converted to RGB")
    elif mode in ("1", "L", "LA", "La"):
        image = image.convert("LA" if image.has_transparency_data else "L")
    else:
        image = image.convert("RGBA" if image.has_transparency_data else "RGB")
    samples: Integers = np.asarray(image)
    return samples if samples.ndim == 3 else samples[..., None]


def _converted_to_rgb(image: Image.Image) -> Image.Image:
    """Convert print or Lab colours to sRGB, through the file's own profile where it has a usable one."""
    embedded = image.info.get("icc_profile")
    target = ImageCms.createProfile("sRGB")
    try:
        source: Any = ImageCms.createProfile("LAB") if image.mode == "LAB" else io.BytesIO(embedded or b"")
        converted = ImageCms.profileToProfile(image, source, target, outputMode="RGB")
    except (ImageCms.PyCMSError, OSError):
        return image.convert("RGB")
    return converted if converted is not None else image.convert("RGB")


def _grey16_samples(image: Image.Image, name: str) -> Integers:
    values = np.asarray(image)
    if values.min() < 0 or values.max() > 65535:
        raise ImageError(
            f"expected 8- or 16-bit samples, but {name} holds values from {values.min()} to {values.max()}; "
            "convert it to 16-bit TIFF or PNG"
        )
    grey: Integers = values.astype(np.uint16)[..., None]
    if getattr(image, "tag_v2", {}).get(PHOTOMETRIC_TAG) == WHITE_IS_ZERO:
        grey = 65535 - grey
    key = image.info.get("transparency")
    if not isinstance(key, int):
        return grey
    return np.concatenate((grey, np.where(grey == key, 0, 65535).astype(np.uint16)), axis=2)


def _oriented(samples: Integers, turn: int) -> Integers:
    """Turn `(H, W, C)` samples upright. Source: EXIF 2.32, tag Orientation."""
    if turn in (5, 6, 7, 8):
        samples = samples.transpose(1, 0, 2)
    if turn in (3, 4, 7, 8):
        samples = samples[::-1]
    if turn in (2, 3, 6, 7):
        samples = samples[:, ::-1]
    return samples


def _photo(samples: Integers, image: Image.Image, notes: tuple[str, ...]) -> Photo:
    channels = samples.shape[2]
    transparent = channels in (2, 4)
    with _no_pillow_limits():
        exif, xmp, dpi = exif_block(image), xmp_packet(image), resolution_dpi(image)
    converted = image.mode in ("CMYK", "LAB")  # to sRGB, which the file's own profile does not describe
    return Photo(
        pixels=to_floats(samples[..., : channels - transparent]),
        alpha=np.ascontiguousarray(samples[..., -1]) if transparent else None,
        greyscale=channels <= 2,
        depth_bits=samples.dtype.itemsize * 8,
        icc_profile=None if converted else image.info.get("icc_profile") or None,
        exif=exif,
        xmp=xmp,
        dpi=dpi,
        notes=(*notes, *_left_behind(image)),
    )


def _left_behind(image: Image.Image) -> Iterator[str]:
    """Yield what of a file was not read."""
    several = image.format == "HEIF" and getattr(image, "n_frames", 1) > 1
    if image.format == "MPO" or several:
        yield "only the main picture of the file was read"
    if image.format == "HEIF" and image.info.get("bit_depth", 8) > 8:
        yield f"{image.info['bit_depth']} bits a sample were read as 8"
    if image.mode == "CMYK" and 16 in getattr(image, "tag_v2", {}).get(BITS_TAG, ()):
        yield "16 bits a sample were read as 8"
    primaries = (image.info.get("nclx_profile") or {}).get("color_primaries", 1)
    if primaries not in (1, 2) and not image.info.get("icc_profile"):
        yield f"its colours are taken for sRGB, though the file calls them others (primaries {primaries})"
