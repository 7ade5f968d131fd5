"""Where a photograph is wrong, against its reference, and where a step made it worse; on NumPy arrays.

A photograph is divided into cells of 8×8 pixels. Each has a PSNR, over its own pixels and channels, and an
SSIM, the mean of the local ones.

Source: the error maps by which Chen et al., *Learning spatial attention for face super-resolution*, TIP 2020,
show where restored faces are wrong.
"""

import math
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from rlrestore.imaging.io.samples import to_floats
from rlrestore.imaging.psnr import SMALLEST_MSE

CELL = 8
"""Side of a cell in pixels."""
HARM_DB = 0.5
"""A step did harm to a cell whose PSNR it lowered by more than this: less is not seen."""
HARM_SSIM = 0.01
"""Likewise for the cell's SSIM."""
BOX_CELLS = 4
"""Side in cells of the box in which a step did most harm; smaller where the photograph is."""
WINDOW, WINDOW_SIGMA_PX = 11, 1.5
STABILISERS = 0.01**2, 0.03**2
"""Of SSIM, as `rlrestore.imaging.metrics.ssim` has them."""
BAND_CELLS = 32
"""Rows of cells at a time, so that no float copy of a large photograph is made."""

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float32]
Cells = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class ErrorMap:
    """How far a photograph is from its reference, cell by cell.

    Attributes:
        mse: `(rows, columns)` mean squared error in units where white is 1.
        ssim: `(rows, columns)` mean of the local SSIM, by mirror images beyond the photograph's border.
        mean_ssim: SSIM of the photograph, over its valid region; None of one smaller than 11×11.
        width: Of the photograph in pixels.
        height: Of the photograph in pixels.
    """

    mse: Cells
    ssim: Cells
    mean_ssim: float | None
    width: int
    height: int

    @property
    def areas(self) -> Cells:
        """Pixels of each cell `(rows, columns)`: fewer at the right and the lower border."""
        return _areas(self.height, self.width)

    @property
    def psnr_db(self) -> Cells:
        """PSNR of each cell in dB."""
        return _psnr_db(self.mse)


@dataclass(frozen=True)
class Box:
    """A part of a photograph in pixels."""

    x: int
    y: int
    width: int
    height: int


@dataclass(frozen=True)
class Harm:
    """Where a step moved a photograph away from its reference.

    Attributes:
        share: Share of the area whose cells lost more than `HARM_DB` of PSNR.
        ssim_share: Share of the area whose cells lost more than `HARM_SSIM` of SSIM.
        spared_db: By how much the PSNR of the photograph would be higher, had the step left the cells of
            `share` as they were.
        worst: The box of 32×32 pixels in which the squared error rose most; None if it rose in none.
        worst_db: What its PSNR rose by, negative; None without such a box.
    """

    share: float
    ssim_share: float
    spared_db: float
    worst: Box | None
    worst_db: float | None

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        worst = None
        if self.worst is not None and self.worst_db is not None:
            worst = {**vars(self.worst), "gain_db": round(self.worst_db, 4)}
        shares = {"share": round(self.share, 4), "ssim_share": round(self.ssim_share, 4)}
        return {**shares, "spared_db": round(self.spared_db, 4), "worst": worst}


def error_map(frame: Pixels, reference: Pixels) -> ErrorMap:
    """Compare a photograph with its reference.

    Args:
        frame: `(H, W, 3)` RGB.
        reference: `(H, W, 3)` RGB.

    Raises:
        ValueError: The shapes differ.
    """
    if frame.shape != reference.shape:
        raise ValueError(f"expected two photographs of one size, got {frame.shape} and {reference.shape}")
    (height, width), margin = frame.shape[:2], WINDOW // 2
    squares, similarities, valid = [], [], 0.0
    for top in range(0, height, BAND_CELLS * CELL):
        bottom = min(top + BAND_CELLS * CELL, height)
        first, last = max(0, top - margin), min(bottom + margin, height)
        one, other = (to_floats(pixels[first:last]) for pixels in (frame, reference))
        inner = slice(top - first, bottom - first)
        squares.append(_cell_sums(np.square(one[inner] - other[inner]).mean(axis=2)))
        local = _local_ssim(one, other)[inner]
        similarities.append(_cell_sums(local))
        rows = slice(max(margin - top, 0), min(bottom, height - margin) - top)
        valid += float(local[rows, margin : width - margin].sum(dtype=np.float64))
    mean = valid / ((height - 2 * margin) * (width - 2 * margin)) if min(height, width) >= WINDOW else None
    mse, similarity = (np.concatenate(sums) / _areas(height, width) for sums in (squares, similarities))
    return ErrorMap(mse, similarity, mean, width, height)


def find_harm(before: ErrorMap, after: ErrorMap) -> Harm:
    """Compare a photograph's errors before and after a step.

    Args:
        before: Of the photograph before the step.
        after: Of the same photograph after it.
    """
    areas = before.areas
    harmed = before.psnr_db - after.psnr_db > HARM_DB
    unlike = before.ssim - after.ssim > HARM_SSIM
    spared = np.where(harmed, before.mse, after.mse)
    worst = _worst_box(before, after)
    return Harm(
        share=float(areas[harmed].sum() / areas.sum()),
        ssim_share=float(areas[unlike].sum() / areas.sum()),
        spared_db=_mean_psnr_db(spared, areas) - _mean_psnr_db(after.mse, areas),
        worst=None if worst is None else worst[0],
        worst_db=None if worst is None else worst[1],
    )


def _worst_box(before: ErrorMap, after: ErrorMap) -> tuple[Box, float] | None:
    """Return where the squared error rose most, and what the PSNR rose by there."""
    areas = before.areas
    rows, columns = (min(BOX_CELLS, side) for side in areas.shape)
    rises = _box_sums((after.mse - before.mse) * areas, rows, columns)
    top, left = divmod(int(rises.argmax()), rises.shape[1])
    if rises[top, left] <= 0:
        return None
    inside = slice(top, top + rows), slice(left, left + columns)
    new_db, old_db = (_mean_psnr_db(each.mse[inside], areas[inside]) for each in (after, before))
    x, y = left * CELL, top * CELL
    width, height = min(columns * CELL, before.width - x), min(rows * CELL, before.height - y)
    return Box(x, y, width, height), new_db - old_db


def _box_sums(cells: Cells, rows: int, columns: int) -> Cells:
    """Sum every box of so many cells: `(R - rows + 1, C - columns + 1)`."""
    sums = np.pad(cells.cumsum(axis=0).cumsum(axis=1), ((1, 0), (1, 0)))
    above, below = sums[:-rows], sums[rows:]
    boxes: Cells = below[:, columns:] - above[:, columns:] - below[:, :-columns] + above[:, :-columns]
    return boxes


def _local_ssim(one: Floats, other: Floats) -> Floats:
    """Return the SSIM around every pixel of `(H, W, 3)`, the mean over the channels: `(H, W)`."""
    low, high = STABILISERS
    x, y = one - 0.5, other - 0.5  # centred, as in `metrics.ssim`: differences of large numbers are inexact
    mean_x, mean_y = _smoothed(x), _smoothed(y)
    variances = _smoothed(x * x) + _smoothed(y * y) - mean_x**2 - mean_y**2
    covariance = _smoothed(x * y) - mean_x * mean_y
    mean_x, mean_y = mean_x + 0.5, mean_y + 0.5
    luminance = (2 * mean_x * mean_y + low) / (mean_x**2 + mean_y**2 + low)
    similar: Floats = (luminance * (2 * covariance + high) / (variances + high)).mean(axis=2)
    return similar


def _smoothed(planes: Floats) -> Floats:
    side = (WINDOW, WINDOW)
    smooth = cv2.GaussianBlur(planes, side, WINDOW_SIGMA_PX, borderType=cv2.BORDER_REFLECT_101)
    return smooth.astype(np.float32, copy=False)


def _areas(height: int, width: int) -> Cells:
    down, across = (np.minimum(side - np.arange(0, side, CELL), CELL) for side in (height, width))
    return np.outer(down, across).astype(np.float64)


def _cell_sums(plane: Floats) -> Cells:
    """Sum `(H, W)` over cells."""
    rows, columns = (np.arange(0, side, CELL) for side in plane.shape)
    sums: Cells = np.add.reduceat(np.add.reduceat(plane.astype(np.float64), rows, axis=0), columns, axis=1)
    return sums


def _psnr_db(mse: Cells) -> Cells:
    decibels: Cells = -10 * np.log10(mse + SMALLEST_MSE)
    return decibels


def _mean_psnr_db(mse: Cells, areas: Cells) -> float:
    return -10 * math.log10(float((mse * areas).sum() / areas.sum()) + SMALLEST_MSE)
