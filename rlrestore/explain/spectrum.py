"""The spectrum of a patch on NumPy arrays: `rlrestore.agent.spectrum` without torch.

A model's inspector was fitted to these numbers, so they stay as they are even if an agent comes to observe
something else.
"""

import functools

import numpy as np

from rlrestore.imaging.io.samples import Floats

BLOCK = 8
STRIDES = (5, 2, 1)
"""Pixels from one block to the next at full, half and quarter size."""
FAINT = 1e-3, 1e-4
"""What is added to a coefficient, and to a mean over a patch, before the logarithm."""
RGB_TO_YCBCR = np.array(
    ((19595, 38470, 7471), (-11059, -21709, 32768), (32768, -27439, -5329)), np.float32
) / np.float32(65536)
GREYS = np.array((0.0, 0.5, 0.5), np.float32)[:, None, None]
PLANES = len(STRIDES) * 3 * 3
"""For each scale, colour and statistic one."""
ENTRIES = PLANES * BLOCK * BLOCK


def spectra(patches: Floats) -> Floats:
    """Return the logarithms of the coefficients' sizes, three means of each over the blocks of a patch.

    Args:
        patches: `(N, 3, P, P)` RGB in [0, 1], of at least 32×32 pixels.

    Returns:
        `(N, ENTRIES)`: scale, colour, statistic (mean, root mean square, geometric mean), row, column.
    """
    count, _, height, width = patches.shape
    planes = (RGB_TO_YCBCR @ patches.reshape(count, 3, -1)).reshape(patches.shape) + GREYS
    parts = []
    for half, stride in enumerate(STRIDES):
        if half:
            planes = _halving(height) @ (planes @ _halving(width).T)
            height, width = height // 2, width // 2
        sizes = np.abs(_blocks(height, stride) @ (planes @ _blocks(width, stride).T))
        rows, columns = sizes.shape[2] // BLOCK, sizes.shape[3] // BLOCK
        parts.append(_log_means(sizes.reshape(count, 3, rows, BLOCK, columns, BLOCK)))
    return np.concatenate(parts, axis=1).reshape(count, ENTRIES)


def _log_means(sizes: Floats) -> Floats:
    """Return the three statistics: `(N, 3, rows, 8, columns, 8)` to `(N, 9, 8, 8)`."""
    coefficient_floor, mean_floor = map(np.float32, FAINT)
    blocks = np.float32(sizes.shape[2] * sizes.shape[4])

    def mean_of(values: Floats) -> Floats:
        means: Floats = values.sum(axis=2).sum(axis=3) / blocks  # down the rows first: along the memory
        return means

    mean = np.log(mean_of(sizes) + mean_floor)
    norm = np.log(np.sqrt(mean_of(np.square(sizes))) + mean_floor)
    geometric = mean_of(np.log(sizes + coefficient_floor))
    means = np.stack((mean, norm, geometric), axis=2)
    return means.reshape(len(sizes), -1, BLOCK, BLOCK)


@functools.cache
def _halving(length: int) -> Floats:
    """Return the means of pairs of a line, `(length // 2, length)`; an odd last pixel is left out."""
    pairs = np.zeros((length // 2, length), np.float32)
    places = np.arange(length // 2)
    pairs[places, 2 * places] = pairs[places, 2 * places + 1] = 0.5
    return pairs


@functools.cache
def _blocks(length: int, stride: int) -> Floats:
    """Return the DCT of every block of a line, `(blocks · 8, length)`."""
    frequency, place = np.mgrid[0:BLOCK, 0:BLOCK]
    basis = 0.5 * np.cos((2 * place + 1) * frequency * np.pi / (2 * BLOCK))
    basis[0] /= np.sqrt(2)
    starts = range(0, length - BLOCK + 1, stride)
    lines = np.zeros((len(starts), BLOCK, length), np.float32)
    for line, start in zip(lines, starts, strict=True):
        line[:, start : start + BLOCK] = basis
    return lines.reshape(-1, length)
