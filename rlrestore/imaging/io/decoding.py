"""From the bytes of an image file to a `Photo`."""

import io
from contextlib import nullcontext, suppress
from dataclasses import replace
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from PIL import Image, ImageCms

from rlrestore.errors import ImageError
from rlrestore.imaging.io import boxes, ifd, raw
from rlrestore.imaging.io.cut_jpeg import read_cut_jpeg
from rlrestore.imaging.io.deep import deep_samples
from rlrestore.imaging.io.keeping import jpeg_coding
from rlrestore.imaging.io.metadata import TRANSPOSING, Metadata, directory_resolution, exif_of_tiff
from rlrestore.imaging.io.opening import (
    FIRST_PICTURE_FORMATS,
    MAX_MEGAPIXELS,
    Opened,
    check_header,
    no_pillow_limits,
    open_photo,
    reason,
)
from rlrestore.imaging.io.photo import Photo
from rlrestore.imaging.io.reading import described, of_pillow_image, tidied
from rlrestore.imaging.io.samples import Integers, to_floats

PHOTOMETRIC_TAG, WHITE_IS_ZERO = 262, 0
BITS_TAG = 258
DEEP_GREY_FORMATS = frozenset({None, "PNG", "TIFF", "PPM", "JPEG2000"})
"""Formats whose 16-bit grey spans 0 to 65535 as Pillow reads it."""
CONVERTED = frozenset({"CMYK", "LAB"})
"""Modes of colours that are converted to sRGB, which the file's own profile does not describe."""


def decode_photo(stream: BinaryIO, name: str) -> Photo:
    """Decode a whole image file.

    Args:
        stream: The open file, at its start.
        name: How to call the file in an error message.

    Raises:
        ImageError: It is no image, is damaged, too small, too large, has several frames, or holds samples
            that cannot be read faithfully.
    """
    if raw.is_raw(stream):
        return _developed(stream, name)
    opened = open_photo(stream, name)
    try:
        check_header(opened.width, opened.height, name, opened.kind if opened.several else None)
        metadata, turn, notes = described(opened)
        samples = deep_samples(opened, name)
        turned = False
        if samples is None and opened.image is not None:
            image, *more = _loaded(opened, opened.image)
            plain = list(more)
            samples = _plain_samples(image, plain, name)
            notes = [*plain, *notes]
            turned = opened.kind == "TIFF"  # Pillow turns TIFF by itself while loading, and only TIFF
        if samples is None:
            raise ValueError("no pixels")
        samples = samples if turned else _oriented(samples, turn)
        mode = "" if opened.image is None else opened.image.mode
        coding = jpeg_coding(opened.image)
        return replace(_photo(samples, _turned(metadata, turn), mode, notes), jpeg=coding)
    except ImageError:
        raise
    except Exception as error:  # decoders of damaged files raise whatever they trip over
        raise _unreadable(error, opened.kind, name) from error
    finally:
        opened.close()


def _loaded(opened: Opened, image: Image.Image) -> tuple[Any, ...]:
    """Have Pillow read the pixels; return the image, and a note where they are not all the file's."""
    try:
        # Pillow checks its limit again while it loads TIFF; other formats may hold a larger image inside.
        with no_pillow_limits() if image.format == "TIFF" else nullcontext():
            image.load()
    except OSError:
        rescued = read_cut_jpeg(opened.stream, image.mode) if opened.kind in ("JPEG", "MPO") else None
        if rescued is None:
            raise
        rows = (
            f"its last {rescued.lost_rows} rows are incomplete" if rescued.lost_rows else "no pixel is lost"
        )
        return rescued.image, f"the end of the file is missing: {rows}"
    if opened.kind == "AVIF" and boxes.avif_is_deep(opened.stream):
        return image, "more than 8 bits a sample were read as 8"
    return (image,)


def _developed(stream: BinaryIO, name: str) -> Photo:
    """Return a camera's raw file as a photograph."""
    samples = raw.developed(stream, name, MAX_MEGAPIXELS * 10**6)
    check_header(samples.shape[1], samples.shape[0], name)
    said: dict[str, Any] = {}
    with suppress(ValueError):
        directory = ifd.read_directory(stream)
        said = {"exif": exif_of_tiff(stream, directory), "dpi": directory_resolution(directory)}
    metadata, notes = tidied(said)
    return _photo(samples, metadata, "", ["a camera's raw file, developed to 16-bit sRGB", *notes])


def check_whole(stream: BinaryIO, name: str) -> None:
    """Make sure that all pixels of an image file can be read, in less memory than `decode_photo` takes.

    Args:
        stream: The open file, at its start.
        name: How to call the file in an error message.

    Raises:
        ImageError: They cannot.
    """
    opened = open_photo(stream, name)
    try:
        check_header(opened.width, opened.height, name)
        if opened.image is None:
            deep_samples(opened, name)
        else:
            with no_pillow_limits() if opened.kind == "TIFF" else nullcontext():
                opened.image.load()
    except ImageError:
        raise
    except Exception as error:  # decoders of damaged files raise whatever they trip over
        raise _unreadable(error, opened.kind, name) from error
    finally:
        opened.close()


class Header(NamedTuple):
    """What the header of an image file claims.

    Attributes:
        format: As Pillow calls it, such as `JPEG`.
        pixels: Width times height.
    """

    format: str
    pixels: int


def read_header(stream: BinaryIO, name: str) -> Header:
    """Read what an image file claims to be.

    Args:
        stream: The open file, at its start.
        name: How to call the file in an error message.

    Raises:
        ImageError: There is no header that can be read.
    """
    if raw.is_raw(stream):
        return Header("RAW", raw.claimed_pixels(stream))
    opened = open_photo(stream, name)
    opened.close()
    return Header(opened.kind, opened.width * opened.height)


def from_image(image: Image.Image) -> Photo:
    """Return a Pillow image as a `Photo`, upright, with all that Pillow knows of its file.

    Raises:
        ImageError: It is damaged, too small, too large, or has several frames.
    """
    name = "the Pillow image"
    if image.mode == "I" and image.format is None:
        raise ImageError(
            "expected to know the range of the Pillow image, got mode I: convert it to I;16 or L"
        )
    depths = set(getattr(image, "tag_v2", {}).get(BITS_TAG, (8,)))
    if image.format == "TIFF" and image.mode.startswith("I") and depths != {16}:
        bits = "/".join(map(str, depths))
        raise ImageError(
            f"expected 8- or 16-bit samples, but {name} is of {bits}-bit ones; hand in the file's path"
        )
    with no_pillow_limits():
        several = bool(getattr(image, "is_animated", False)) and image.format not in FIRST_PICTURE_FORMATS
    check_header(image.width, image.height, name, str(image.format) if several else None)
    try:
        metadata, turn, notes = of_pillow_image(image)
        samples = _plain_samples(image, notes, name)
        turned = image.format == "TIFF"
        return _photo(
            samples if turned else _oriented(samples, turn), _turned(metadata, turn), image.mode, notes
        )
    except ImageError:
        raise
    except Exception as error:  # it may only now be read from its file
        raise _unreadable(error, image.format, name) from error


def _unreadable(error: Exception, kind: str | None, name: str) -> ImageError:
    """Return the error for whatever a decoder tripped over."""
    if isinstance(error, MemoryError):
        return ImageError(f"expected {name} to fit into memory; it does not: make it smaller")
    return ImageError(
        f"expected a complete {kind} image, but {name} is truncated or damaged "
        f"({reason(error)}); get a fresh copy of the file"
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
    if mode in CONVERTED:
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
    if image.format not in DEEP_GREY_FORMATS:
        raise ImageError(
            f"expected 8-bit samples in {image.format}, but {name} holds deeper ones of an unknown range; "
            "convert it to 16-bit TIFF or PNG"
        )
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
    if turn in TRANSPOSING:
        samples = samples.transpose(1, 0, 2)
    if turn in (3, 4, 7, 8):
        samples = samples[::-1]
    if turn in (2, 3, 6, 7):
        samples = samples[:, ::-1]
    return samples


def _turned(metadata: Metadata, turn: int) -> Metadata:
    """Turn what a file says of its pixels' sides with them."""
    if metadata.dpi is None or turn not in TRANSPOSING:
        return metadata
    return replace(metadata, dpi=(metadata.dpi[1], metadata.dpi[0]))


def _photo(samples: Integers, metadata: Metadata, mode: str, notes: list[str]) -> Photo:
    channels = samples.shape[2]
    transparent = channels in (2, 4)
    if mode in CONVERTED:
        metadata = replace(metadata, icc_profile=None, colours=None)
    return Photo(
        pixels=to_floats(samples[..., : channels - transparent]),
        alpha=np.ascontiguousarray(samples[..., -1]) if transparent else None,
        greyscale=channels <= 2,
        depth_bits=samples.dtype.itemsize * 8,
        notes=tuple(dict.fromkeys(notes)),
        **vars(metadata),
    )
