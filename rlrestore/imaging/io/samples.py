"""Samples of images: whole numbers of 8 or 16 bits in files, floats in [0, 1] everywhere else."""

from typing import Any

import numpy as np
import numpy.typing as npt

BAND_ROWS = 256
"""Rows converted at a time, so that a large photo never exists twice in float."""

LUMA_WEIGHTS = (0.299, 0.587, 0.114)
"""Weights of R, G and B in the one channel of a greyscale file (ITU-R BT.601, as Pillow uses)."""

Floats = npt.NDArray[np.float32]
Integers = npt.NDArray[np.unsignedinteger[Any]]


def luma(pixels: Floats) -> Floats:
    """Return the brightness `(H, W, 1)` of RGB pixels; equal channels give their value exactly."""
    red, green, blue = pixels[..., :1], pixels[..., 1:2], pixels[..., 2:]
    brightness: Floats = green + LUMA_WEIGHTS[0] * (red - green) + LUMA_WEIGHTS[2] * (blue - green)
    return brightness


def sample_type(depth_bits: int) -> np.dtype[Any]:
    """Return the unsigned integer type of 8 or 16 bits."""
    return np.dtype(np.uint8 if depth_bits == 8 else np.uint16)


def to_integers(pixels: Floats, depth_bits: int = 8) -> Integers:
    """Round values in [0, 1] to whole samples; what lies outside is clipped, NaN becomes 0."""
    top = 2**depth_bits - 1
    levels = pixels * np.float32(top)
    np.fmin(np.fmax(levels, 0, out=levels), top, out=levels)  # of a NaN and a number the number
    rounded: Integers = np.rint(levels, out=levels).astype(sample_type(depth_bits))
    return rounded


def to_floats(samples: Integers) -> Floats:
    """Scale whole samples of 8 or 16 bits to float32 in [0, 1]; greyscale `(H, W, 1)` becomes `(H, W, 3)`."""
    top = np.iinfo(samples.dtype).max
    pixels = np.empty((*samples.shape[:2], 3), np.float32)
    np.divide(samples, np.float32(top), out=pixels, dtype=np.float32)
    return pixels


def scaled(samples: Integers, top: int, depth_bits: int) -> Integers:
    """Let whole samples from 0 to `top`, at most 65535, span 8 or 16 bits."""
    largest = 2**depth_bits - 1
    kind = np.uint8 if depth_bits == 8 else np.uint16
    if top == largest:
        return samples.astype(kind, copy=False)
    table: Integers = np.rint(np.arange(top + 1) * (largest / top)).astype(kind)
    stretched: Integers = table[np.minimum(samples, top)]
    return stretched
