"""Between photographs and tensors: what Python code may hand in, and what the tools work on."""

import os
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rlrestore.errors import ImageError, UsageError
from rlrestore.imaging.files import read_photo
from rlrestore.imaging.photo import BAND_ROWS, Photo, to_floats

PhotoLike = str | os.PathLike[str] | Photo | NDArray[Any] | Tensor
"""A path, a `Photo`, an array `(H, W, 3)` or `(H, W)`, or a tensor `(3, H, W)` or `(1, 3, H, W)`."""

SMALLEST_SIDE = 8


def as_photo(source: PhotoLike) -> Photo:
    """Return any kind of photograph as a `Photo`.

    Args:
        source: Whole samples (uint8, uint16) span the range of their type, floats lie in [0, 1].

    Raises:
        ImageError: The file cannot be read, or the photograph is smaller than 8×8.
        UsageError: Not a photograph: another type or shape, or values that are not finite.
    """
    if isinstance(source, Photo):
        return source
    if isinstance(source, str | os.PathLike):
        return read_photo(source)
    if isinstance(source, Tensor):
        planes = source[0] if source.ndim == 4 and len(source) == 1 else source
        if planes.ndim != 3 or planes.shape[0] != 3:
            raise UsageError(f"expected a tensor (3, H, W) or (1, 3, H, W), got {tuple(source.shape)}")
        return _from_array(planes.detach().permute(1, 2, 0).cpu().numpy())
    if isinstance(source, np.ndarray):
        return _from_array(source)
    raise UsageError(f"expected a path, a Photo, an array or a tensor, got {type(source).__name__}")


def _from_array(array: NDArray[Any]) -> Photo:
    greyscale = array.ndim == 2
    samples = np.repeat(array[..., None], 3, axis=2) if greyscale else array
    if samples.ndim != 3 or samples.shape[2] != 3:
        raise UsageError(f"expected an array (H, W, 3) or (H, W), got {array.shape}")
    if min(samples.shape[:2]) < SMALLEST_SIDE:
        raise ImageError(
            f"expected at least {SMALLEST_SIDE}×{SMALLEST_SIDE} pixels, "
            f"got {samples.shape[1]}×{samples.shape[0]}"
        )
    if samples.dtype in (np.uint8, np.uint16):
        return Photo(to_floats(samples), greyscale=greyscale, depth_bits=8 * samples.dtype.itemsize)
    if not np.issubdtype(samples.dtype, np.floating):
        raise UsageError(f"expected uint8, uint16 or floats in [0, 1], got {array.dtype}")
    if not np.isfinite(samples).all():
        raise UsageError("expected finite values in [0, 1], got a NaN or an infinity")
    low, high = float(samples.min()), float(samples.max())
    if low < 0 or high > 1:
        raise UsageError(
            f"expected floats in [0, 1], got {low:g} to {high:g}; scale them, or hand in whole numbers"
        )
    return Photo(np.array(samples, dtype=np.float32), greyscale=greyscale)


def to_tensor(photo: Photo, device: torch.device) -> Tensor:
    """Return the pixels as `(1, 3, H, W)` on a device."""
    pixels = photo.pixels if photo.pixels.flags.writeable else photo.pixels.copy()
    return torch.from_numpy(pixels).permute(2, 0, 1)[None].to(device)


def with_tensor(photo: Photo, image: Tensor) -> Photo:
    """Return the photo with the pixels of `(1, 3, H, W)`, which are clipped to [0, 1] in place."""
    return photo.with_pixels(np.ascontiguousarray(image.clamp_(0, 1)[0].permute(1, 2, 0).cpu().numpy()))


def to_frame(image: Tensor) -> NDArray[np.uint8]:
    """Return `(1, 3, H, W)` clipped and rounded to `(H, W, 3)` uint8."""
    frame = np.empty((*image.shape[-2:], 3), np.uint8)
    for top in range(0, len(frame), BAND_ROWS):  # so that no second copy in floats is made
        rows = slice(top, top + BAND_ROWS)
        frame[rows] = image[0, :, rows].permute(1, 2, 0).mul(255).round_().clamp_(0, 255).byte().cpu().numpy()
    return frame
