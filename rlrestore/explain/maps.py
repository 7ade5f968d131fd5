"""Where a degradation differs over a photograph: coloured maps, side by side in one picture."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from rlrestore.explain.inspection import NAMES, Inspection
from rlrestore.imaging.io.photo import Photo
from rlrestore.imaging.io.samples import Floats
from rlrestore.inference.photos import to_frame, to_planes
from rlrestore.inference.windows import WindowGrid
from rlrestore.model_folder.inspector import QUANTITIES
from rlrestore.picture import Cell, Row, draw_rows

COLUMN = 440
"""Width of a map in pixels."""
TINT = 0.6
"""How much of the colour is seen over the grey photograph."""
COLOURS = np.array(((44, 88, 160), (120, 190, 170), (250, 225, 110), (200, 60, 40)), np.float32)
"""From the least degraded to the most."""
LEAST_SPANS = (0.5, 3.0, 10.0)
"""What the colours span at least, by `QUANTITIES`, so that a small difference does not look large."""
UNITS = ("px", "of 255", "")

Pixels = NDArray[np.uint8]


def draw_inspection(name: str, photo: Photo, inspection: Inspection) -> Image.Image:
    """Draw the photograph and a map of every quantity that differs over it.

    Args:
        name: What the photograph is called.
        photo: As it was inspected.
        inspection: With its windows.

    Returns:
        An RGB picture.
    """
    frame = _small(photo)
    cells = [Cell("the photograph", _size(photo), frame)]
    for index, quantity in enumerate(QUANTITIES):
        if quantity in inspection.varies and inspection.windows is not None:
            amounts = inspection.windows.smooth()[..., index]
            down, across = centres(inspection.windows.grid, frame.shape[0] / photo.height)
            low, high = _ends(amounts, index)
            caption = f"{low:.1f} (blue) to {high:.1f} (red) {UNITS[index]}".rstrip()
            if quantity == "jpeg_quality":
                caption = f"quality {low:.0f} (red) to {high:.0f} (blue)"
            coloured = overlay(frame, amounts, index, down, across)
            cells.append(Cell(f"{NAMES[quantity]}, where", (caption,), coloured))
    said = inspection.sentences()
    if len(cells) == 1:
        said += " As far as can be told, this is alike all over the picture."
    return draw_rows(name, (), [Row(said, tuple(cells))], COLUMN)


def centres(grid: WindowGrid, scale: float) -> tuple[Floats, Floats]:
    """Return in which rows and columns of a photograph made smaller by a scale the windows' middles lie."""
    down, across = (
        scale * (np.array(corners, np.float32) + grid.size / 2) - 0.5 for corners in (grid.tops, grid.lefts)
    )
    return down, across


def overlay(frame: Pixels, amounts: Floats, index: int, down: Floats, across: Floats) -> Pixels:
    """Colour a photograph, made grey, by a quantity of its windows.

    Args:
        frame: `(H, W, 3)`.
        amounts: `(rows, columns)`, by window.
        index: Of the quantity in `QUANTITIES`.
        down: `(rows,)` in which row of the frame the middles of the windows lie, ascending.
        across: `(columns,)` in which column.
    """
    low, high = _ends(amounts, index)
    share = np.clip((amounts - low) / (high - low), 0, 1)
    share = 1 - share if QUANTITIES[index] == "jpeg_quality" else share
    places = np.linspace(0, 1, len(COLOURS))
    colours = np.stack([np.interp(share, places, column) for column in COLOURS.T], axis=-1)
    wide = spread_out(colours.astype(np.float32), frame.shape[0], frame.shape[1], down, across)
    grey = np.asarray(Image.fromarray(frame).convert("L"), np.float32)[..., None]
    seen: Pixels = np.rint(grey * (1 - TINT) + TINT * wide).clip(0, 255).astype(np.uint8)
    return seen


def spread_out(values: Floats, height: int, width: int, down: Floats, across: Floats) -> Floats:
    """Interpolate linearly between the middles of windows; beyond the outer ones their values go on.

    Args:
        values: `(rows, columns, N)`, by window.
        height: Rows of the result.
        width: Columns of the result.
        down: `(rows,)` in which row of the result the middles lie, ascending.
        across: `(columns,)` in which column.

    Returns:
        `(height, width, N)`.
    """
    rows, columns = _between(height, down), _between(width, across)
    spread: Floats = np.einsum("hr,rcd,wc->hwd", rows, values, columns, optimize=True).astype(np.float32)
    return spread


def _between(length: int, places: Floats) -> NDArray[np.float64]:
    """Return the weights `(length, N)` that interpolate values at N places of a line; the ends go on."""
    line = np.arange(length)
    return np.stack([np.interp(line, places, one) for one in np.eye(len(places))], axis=1)


def _ends(amounts: Floats, index: int) -> tuple[float, float]:
    """Return what the colours span: the amounts, or more where they hardly differ."""
    low, high = float(amounts.min()), float(amounts.max())
    more = max(0.0, LEAST_SPANS[index] - (high - low))
    low = max(0.0, low - more / 2)
    return low, max(high + more / 2, low + LEAST_SPANS[index])


def _small(photo: Photo) -> Pixels:
    """Return a photograph at the width of a column at most."""
    image = Image.fromarray(to_frame(to_planes(photo)))
    image.thumbnail((COLUMN, 2 * COLUMN))
    return np.asarray(image)


def _size(photo: Photo) -> tuple[str, ...]:
    return (f"{photo.width} x {photo.height} pixels",)
