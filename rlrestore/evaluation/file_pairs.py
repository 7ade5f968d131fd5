"""Pairs of image files, a degraded one and its clean original, as test sets."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rlrestore.errors import DataError, ImageError
from rlrestore.imaging.io.files import list_photos, read_rgb8
from rlrestore.imaging.metrics import WINDOW as SSIM_WINDOW


@dataclass(frozen=True)
class FilePair:
    """A degraded image file and its clean original.

    Attributes:
        name: Path below the folder, without the suffix.
        degraded: The degraded file.
        clean: The clean file.
    """

    name: str
    degraded: Path
    clean: Path


def pair_files(degraded: Path, clean: Path) -> list[FilePair]:
    """Find the clean original of every degraded image: the file of the same name, whatever its suffix.

    Args:
        degraded: A folder, or some files of one: a path whose name has one `*`, as `photos/*_real`. The files
            are then called what stands in the place of the `*`.
        clean: Likewise.

    Raises:
        DataError: There are no images, an image has no original, or two images share a name.
    """
    inputs, originals = _by_name(degraded), _by_name(clean)
    alone = sorted(inputs.keys() - originals.keys())
    if alone:
        raise DataError(
            f"expected for every image in {degraded} one of the same name in {clean}: "
            f"{len(alone)} of {len(inputs)} have none, for instance {alone[0]}"
        )
    return [FilePair(name, path, originals[name]) for name, path in inputs.items()]


def _named(place: Path) -> Iterator[tuple[str, Path]]:
    """Yield the images of a folder, or those that a pattern means, each with its name."""
    if place.name.count("*") != 1:
        for path in list_photos(place):
            yield path.relative_to(place).with_suffix("").as_posix(), path
        return
    pattern = re.compile(re.escape(place.name).replace(r"\*", "(.*)"))
    photos = [path for path in list_photos(place.parent) if path.parent == place.parent]
    matches = [(pattern.fullmatch(path.stem) or pattern.fullmatch(path.name), path) for path in photos]
    found = [(match[1], path) for match, path in matches if match]
    if not found:
        raise DataError(f"expected images of names like {place.name!r} in {place.parent}, got none")
    yield from found


def _by_name(place: Path) -> dict[str, Path]:
    named: dict[str, Path] = {}
    for name, path in _named(place):
        if name in named:
            raise DataError(
                f"expected one image of each name, got {named[name]} and {path}: remove or rename one"
            )
        named[name] = path
    return named


def read_pair(pair: FilePair) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Read both images of a pair.

    Raises:
        ImageError: One cannot be read, their sizes differ, or they are too small for SSIM.
    """
    degraded, clean = read_rgb8(pair.degraded), read_rgb8(pair.clean)
    sizes = [f"{image.shape[1]}×{image.shape[0]}" for image in (degraded, clean)]
    if degraded.shape != clean.shape:
        raise ImageError(
            f"expected a pair of one size, {pair.degraded} is {sizes[0]} and {pair.clean} {sizes[1]}"
        )
    if min(degraded.shape[:2]) < SSIM_WINDOW:
        raise ImageError(
            f"expected images of at least {SSIM_WINDOW}×{SSIM_WINDOW} pixels, "
            f"{pair.degraded} is {sizes[0]}; leave it out"
        )
    return degraded, clean
