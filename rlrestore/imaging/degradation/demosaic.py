"""The colour filters of a sensor, and the interpolation of what they left out, batched on any device.

A Bayer mosaic holds one colour a pixel: red and green in even rows, green and blue in odd ones. Both
interpolations are linear, so each is one convolution of the mosaic folded 2×2 into four channels: there every
channel is one colour, and no pixel has to ask which it is.

Source: Malvar, He and Cutler, *High-quality linear interpolation for demosaicing of Bayer-patterned color
images*, ICASSP 2004, figure 2.
"""

import functools

import torch
import torch.nn.functional as F
from torch import Tensor

from rlrestore.imaging.degradation.batches import Rows, apply_where

Kernel = tuple[tuple[float, ...], ...]

PLACES = ((0, 0), (0, 1), (1, 0), (1, 1))
"""Of a cell: rows and columns from its corner."""
LAYOUT = ((0, 1), (1, 2))
"""The channel that a pixel records, by the parity of its row and column."""
REACH_PX = 2
"""The reach of the interpolations in pixels."""

GREEN_AT_OTHERS: Kernel = (
    (0, 0, -1, 0, 0),
    (0, 0, 2, 0, 0),
    (-1, 2, 4, 2, -1),
    (0, 0, 2, 0, 0),
    (0, 0, -1, 0, 0),
)
"""In eighths, like the two below."""
ALONG_ROW: Kernel = (
    (0, 0, 0.5, 0, 0),
    (0, -1, 0, -1, 0),
    (-1, 4, 5, 4, -1),
    (0, -1, 0, -1, 0),
    (0, 0, 0.5, 0, 0),
)
"""Red or blue at a green pixel whose neighbours in the row have it; transposed, those in the column."""
ACROSS: Kernel = (
    (0, 0, -1.5, 0, 0),
    (0, 2, 0, 2, 0),
    (-1.5, 0, 6, 0, -1.5),
    (0, 2, 0, 2, 0),
    (0, 0, -1.5, 0, 0),
)
"""Red at a blue pixel and blue at a red one."""

BILINEAR_GREEN: Kernel = ((0, 2, 0), (2, 0, 2), (0, 2, 0))
BILINEAR_ALONG_ROW: Kernel = ((0, 0, 0), (4, 0, 4), (0, 0, 0))
BILINEAR_ACROSS: Kernel = ((2, 0, 2), (0, 0, 0), (2, 0, 2))
"""Means of the two or four nearest pixels of the colour, in eighths as well."""

METHODS = {
    "malvar": (GREEN_AT_OTHERS, ALONG_ROW, ACROSS),
    "bilinear": (BILINEAR_GREEN, BILINEAR_ALONG_ROW, BILINEAR_ACROSS),
}
"""By name: how green, a colour of the same row, and a colour of neither row nor column are interpolated."""


def mosaic(images: Tensor) -> Tensor:
    """Return what a sensor behind Bayer filters records, red first: `(B, 3, H, W)` to `(B, 1, H, W)`."""
    recorded = images[:, 1:2].clone()
    recorded[..., 0::2, 0::2] = images[:, 0:1, 0::2, 0::2]
    recorded[..., 1::2, 1::2] = images[:, 2:3, 1::2, 1::2]
    return recorded


def demosaic(recorded: Tensor, malvar: Tensor) -> Tensor:
    """Interpolate the two colours that each pixel of a Bayer mosaic lacks.

    The border is mirrored, which keeps the colours in their places.

    Args:
        recorded: `(B, 1, H, W)` mosaic with red in its corner, H and W even.
        malvar: `(B,)` bool: by the filters of Malvar, He and Cutler, else bilinearly.

    Returns:
        `(B, 3, H, W)`, not clipped.

    Raises:
        ValueError: A side is odd.
    """
    if recorded.shape[-2] % 2 or recorded.shape[-1] % 2:
        raise ValueError(f"expected a mosaic of even sides, got {tuple(recorded.shape[-2:])}; pad it")
    padded = F.pad(recorded[:, 0], (REACH_PX,) * 4, mode="reflect")
    folded = torch.stack([padded[:, row::2, column::2] for row, column in PLACES], dim=1)
    by_malvar, bilinear = _folded_weights(recorded.device)

    def interpolate(_: Tensor, rows: Rows) -> Tensor:
        return F.conv2d(folded[rows], bilinear)

    places = apply_where(~malvar, F.conv2d(folded, by_malvar), interpolate)  # (B, 12, H/2, W/2)
    colours = recorded.new_empty(len(recorded), 3, *recorded.shape[2:])
    # Four copies of long lines: `pixel_shuffle` writes two pixels at a time, and takes several times as long.
    for place, (row, column) in enumerate(PLACES):
        colours[..., row::2, column::2] = places[:, place::4]
    return colours


@functools.cache
def _folded_weights(device: torch.device) -> Tensor:
    """Return the filters on the folded mosaic, `(2, 12, 4, 3, 3)`: twelve of each method.

    The twelve are the three colours at the four places of a cell, the four the places that are read.
    """
    weights = torch.zeros(2, 3, 2, 2, 2, 2, 3, 3)  # method, colour, place (2), read place (2), cells (2)
    for method, kernels in enumerate(METHODS.values()):
        for colour in range(3):
            for row in range(2):
                for column in range(2):
                    weights[method, colour, row, column] = _folded(
                        _kernel_at(colour, row, column, kernels), row, column
                    )
    return weights.view(2, 12, 4, 3, 3).to(device)


def _kernel_at(colour: int, row: int, column: int, kernels: tuple[Kernel, Kernel, Kernel]) -> Tensor:
    """Return the filter `(k, k)` that gives a colour at a place of the cell."""
    green, along_row, across = (torch.tensor(kernel, dtype=torch.float32) / 8 for kernel in kernels)
    here = LAYOUT[row][column]
    if colour == here:
        itself = torch.zeros_like(green)
        itself[len(green) // 2, len(green) // 2] = 1
        return itself
    if colour == 1:
        return green
    if here != 1:
        return across
    return along_row if colour in LAYOUT[row] else along_row.T


def _folded(kernel: Tensor, row: int, column: int) -> Tensor:
    """Return a filter around a place of the cell as one on 3×3 cells of four places: `(2, 2, 3, 3)`."""
    half = len(kernel) // 2
    pixels = torch.zeros(6, 6)  # three cells each way, the second holding the place itself
    top, left = 2 + row - half, 2 + column - half
    pixels[top : top + len(kernel), left : left + len(kernel)] = kernel
    return pixels.view(3, 2, 3, 2).permute(1, 3, 0, 2)
