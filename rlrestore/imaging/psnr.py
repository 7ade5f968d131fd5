"""The PSNR of a photograph in memory, on NumPy arrays; `metrics` has the same one for batches of tensors."""

import math

import numpy as np
from numpy.typing import NDArray

SMALLEST_MSE = 1e-10
"""Added to a mean squared error: equal images give 100 dB, not infinity, and no image gives more."""
BAND_ROWS = 256
"""Rows whose error is taken at a time, so that it never exists for the whole photograph."""


def photo_psnr_db(restored: NDArray[np.float32], clean: NDArray[np.float32]) -> float:
    """Return the peak signal-to-noise ratio of a photograph over all its pixels and channels, in dB.

    Defined as −10·log10(MSE + 1e-10).

    Args:
        restored: `(1, 3, H, W)` RGB in units where white is 1; not clipped here.
        clean: `(1, 3, H, W)`, the reference.

    Raises:
        ValueError: The shapes differ.
    """
    if restored.shape != clean.shape:
        raise ValueError(f"expected two photographs of one size, got {restored.shape} and {clean.shape}")
    total = 0.0
    for top in range(0, restored.shape[-2], BAND_ROWS):
        rows = slice(top, top + BAND_ROWS)
        error = restored[..., rows, :] - clean[..., rows, :]
        total += float(np.square(error, out=error).sum(dtype=np.float64))
    return -10 * math.log10(total / restored.size + SMALLEST_MSE)
