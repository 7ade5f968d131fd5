"""Values as colours: heat maps of errors, and of what rose and what fell."""

import cv2
import numpy as np
from numpy.typing import NDArray

from rlrestore.explain.errors import CELL, ErrorMap, find_harm
from rlrestore.picture import HeatMap

PSNR_RANGE_DB = 45.0, 15.0
"""Black and bright in the maps."""
CHANGE_DB = 3.0
"""A change of PSNR by this or more has the full colour."""
FELL, ROSE = (178, 24, 43), (33, 102, 172)
"""Red and blue that people who see no red or no green tell apart."""

Colours = NDArray[np.uint8]
Values = NDArray[np.float64]


def hot(values: Values, good: float, bad: float) -> Colours:
    """Return the colours of `(R, C)` values from good, black, to bad, bright: `(R, C, 3)`."""
    shares = np.clip((values - good) / (bad - good), 0, 1)
    levels = np.rint(255 * shares).astype(np.uint8)
    colours = cv2.applyColorMap(levels, cv2.COLORMAP_INFERNO)[..., ::-1]
    return np.ascontiguousarray(colours, np.uint8)


def rise_and_fall(values: Values, full: float) -> Colours:
    """Return the colours of `(R, C)` values: white for 0, blue for what rose, red for what fell.

    Args:
        values: Of any sign.
        full: The size from which on the colour is full.
    """
    shares = np.clip(values / full, -1, 1)[..., None]
    ends = np.where(shares < 0, np.array(FELL, float), np.array(ROSE, float))
    colours: Colours = np.rint(255 + np.abs(shares) * (ends - 255)).astype(np.uint8)
    return colours


def error_heat(before: ErrorMap | None, after: ErrorMap) -> tuple[HeatMap, ...]:
    """Return the maps of a photograph's errors and, after a step, of what the step changed.

    Args:
        before: Before the step; None for the input.
        after: Now.
    """
    good_db, bad_db = PSNR_RANGE_DB
    decibels, similarity = hot(after.psnr_db, good_db, bad_db), hot(after.ssim, 1, 0)
    mean = "" if after.mean_ssim is None else f", mean {after.mean_ssim:.3f}"
    maps = (
        HeatMap("where PSNR is low", (f"bright {bad_db:g} dB, black {good_db:g} dB",), decibels, CELL),
        HeatMap(f"where SSIM is low{mean}", ("bright 0, black 1",), similarity, CELL),
    )
    if before is None:
        return maps
    change = rise_and_fall(after.psnr_db - before.psnr_db, CHANGE_DB)
    title = f"harm to {find_harm(before, after).share:.1%} of the area"
    legend = (f"PSNR fell: red, rose: blue, full at {CHANGE_DB:g} dB",)
    return (*maps, HeatMap(title, legend, change, CELL))
