"""A restored photograph enlarged twice or three times, by a tool of its own."""

import os
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from rlrestore.errors import ImageError, UsageError, how_to_install
from rlrestore.imaging.io.metadata import resized_block
from rlrestore.imaging.io.opening import MAX_MEGAPIXELS
from rlrestore.imaging.io.photo import Photo
from rlrestore.imaging.io.samples import Floats, Integers
from rlrestore.imaging.io.transparency import cover_hidden_
from rlrestore.imaging.io.xmp import resized_packet
from rlrestore.imaging.tiling import tiles
from rlrestore.model_folder import find_model
from rlrestore.model_folder.upscaler import SCALES, find_upscaler

TILE = 256
"""Side in pixels of what is enlarged at a time; it bounds the memory."""
Model = str | os.PathLike[str]
Network = Callable[[Floats, int], Floats]
"""Enlarges `(1, 3, h, w)` by a scale."""


def check_enlarged(width: int, height: int, scale: int) -> None:
    """Make sure that a photograph can be enlarged.

    Raises:
        UsageError: There is no such enlargement.
        ImageError: It would be larger than what is read.
    """
    if scale not in SCALES:
        raise UsageError(f"expected an enlargement by {' or '.join(map(str, SCALES))}, got {scale!r}")
    if width * height * scale**2 > MAX_MEGAPIXELS * 1e6:
        raise ImageError(
            f"expected at most {MAX_MEGAPIXELS} megapixels after the enlargement, but {scale} times "
            f"{width}×{height} is {scale**2 * width * height / 1e6:.0f}; crop it, or take a smaller one"
        )


def enlarged(photo: Photo, scale: int, model: Model = "default", device: str = "cpu") -> Photo:
    """Return a photo enlarged.

    Its resolution in pixels per inch stays, so that it is printed larger; sizes that its metadata name become
    the new ones. Pixels as good as transparent take on the colours around them.

    Args:
        photo: The restored photo.
        scale: 2 or 3.
        model: Whose tool; the shipped one where it has none of its own.
        device: Where to compute.

    Raises:
        UsageError: There is no such enlargement or model, torch is not installed, or the tool is damaged.
        ImageError: The result would be too large.
    """
    check_enlarged(photo.width, photo.height, scale)
    pixels = photo.pixels
    if photo.alpha is not None:
        pixels = pixels.copy()
        cover_hidden_(pixels.transpose(2, 0, 1)[None], photo.alpha)
    network, radius = upscaler_of(model, device)
    large = _enlarged_pixels(pixels, scale, network, radius)
    height, width = large.shape[:2]
    return replace(
        photo,
        pixels=large,
        alpha=None if photo.alpha is None else _enlarged_alpha(photo.alpha, width, height),
        exif=None if photo.exif is None else resized_block(photo.exif, width, height),
        xmp=None if photo.xmp is None else resized_packet(photo.xmp, width, height),
    )


def upscaler_of(model: Model = "default", device: str = "cpu") -> tuple[Network, int]:
    """Return a model's tool that enlarges, and how far it sees, in pixels of the small image.

    Raises:
        UsageError: There is no such model or device, torch is not installed, or the tool is damaged.
    """
    if find_spec("torch") is None:
        raise UsageError(f"enlarging needs torch, which is not installed: {how_to_install()}, or do without")
    folder = find_model(model)
    written = find_upscaler(folder).stat()
    return _tool(folder, (written.st_ino, written.st_mtime_ns), device)


def _enlarged_pixels(pixels: Floats, scale: int, network: Network, radius: int) -> Floats:
    """Return `(scale·H, scale·W, 3)` in [0, 1], made tile by tile."""
    height, width = pixels.shape[:2]
    large = np.empty((scale * height, scale * width, 3), np.float32)
    for tile in tiles(height, width, TILE, radius, align=1):
        part = np.ascontiguousarray(pixels[tile.read[1:]].transpose(2, 0, 1))[None]
        result = network(part, scale)[0].transpose(1, 2, 0)
        np.clip(result[_times(tile.inner, scale)], 0, 1, out=large[_times(tile.kept, scale)])
    return large


def _times(region: Any, scale: int) -> tuple[slice, slice]:
    down, across = (slice(scale * span.start, scale * span.stop) for span in region[1:])
    return down, across


def _enlarged_alpha(alpha: Integers, width: int, height: int) -> Integers:
    # Between no two values it would overshoot: a transparency that is everywhere full stays so.
    large: Any = cv2.resize(alpha, (width, height), interpolation=cv2.INTER_LINEAR)
    return large  # type: ignore[no-any-return]  # of the type that it was


@lru_cache(maxsize=2)
def _tool(
    folder: Path,
    version: tuple[int, int],  # noqa: ARG001  # of the cache's key: a file written anew is read anew
    device: str,
) -> tuple[Network, int]:
    """Return what enlarges `(1, 3, h, w)`, and how far it sees.

    Args:
        folder: Of the model.
        version: What tells the tool's file from another that is written in its place.
        device: Where to compute.
    """
    import torch

    from rlrestore.devices import resolve_device
    from rlrestore.toolbox.upscaler import load_upscaler

    place = resolve_device(device)
    network = load_upscaler(folder, place)

    @torch.inference_mode()
    def enlarge(part: Floats, scale: int) -> Floats:
        result: Floats = network(torch.from_numpy(part).to(place), scale).cpu().numpy()
        return result

    return enlarge, network.radius
