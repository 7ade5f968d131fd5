"""Colours of transparent pixels: they must not bleed into those around them that are visible."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from rlrestore.imaging.io.samples import BAND_ROWS, Floats, Integers

HIDDEN_BELOW = 8
"""The transparency, of 255, below which a pixel's colour is as good as unseen."""

Mask = npt.NDArray[np.bool_]


def cover_hidden_(image: Floats, alpha: Integers | None) -> Callable[[], None]:
    """Give transparent pixels the colours around them, in place, for as long as an image is worked on.

    Pixels are covered whose transparency is below `HIDDEN_BELOW`; none where all are.

    Args:
        image: `(1, 3, H, W)`; it is changed.
        alpha: `(H, W)` transparency, None without one.

    Returns:
        A function that puts the covered colours back into the image.
    """
    if alpha is None:
        return lambda: None
    hidden: Mask = alpha < HIDDEN_BELOW * (np.iinfo(alpha.dtype).max // 255)
    if hidden.all() or not hidden.any():
        return lambda: None
    pixels = image[0].transpose(1, 2, 0)  # (H, W, 3)
    covered = pixels[hidden]
    fill_hidden_(image, ~hidden)

    def put_back() -> None:
        pixels[hidden] = covered

    return put_back


def fill_hidden_(image: Floats, visible: Mask) -> None:
    """Give hidden pixels colours that go on from the visible ones around them, near ones counting most.

    Means over ever larger blocks of visible pixels are interpolated back.

    Args:
        image: `(1, 3, H, W)`; its hidden pixels are changed where any is visible.
        visible: `(H, W)`.

    Source: Gortler, Grzeszczuk, Szeliski, Cohen: The Lumigraph, SIGGRAPH 1996 (pull and push).
    """
    if visible.all() or not visible.any():
        return
    coarse, known = _block_means(image, visible)
    fill_hidden_(coarse, known)
    down, across = (_neighbours(*sides) for sides in zip(image.shape[-2:], coarse.shape[-2:], strict=True))
    for first in range(0, len(visible), BAND_ROWS):  # so that no second image is made
        rows, columns = np.nonzero(~visible[first : first + BAND_ROWS])
        rows += first
        (top, bottom, below), (left, right, beside) = (
            tuple(table[places] for table in tables) for tables, places in ((down, rows), (across, columns))
        )
        upper, lower = (
            coarse[0][:, row, left] * (1 - beside) + coarse[0][:, row, right] * beside
            for row in (top, bottom)
        )
        image[0][:, rows, columns] = upper * (1 - below) + lower * below


def _block_means(image: Floats, visible: Mask) -> tuple[Floats, Mask]:
    """Return the means of the visible pixels of each 2×2 block, and where a block has any."""
    height, width = (-(-side // 2) for side in visible.shape)
    sums, counts = np.zeros((1, 3, height, width), np.float32), np.zeros((height, width), np.float32)
    for row in range(2):
        for column in range(2):
            seen = visible[row::2, column::2]
            block = (..., slice(seen.shape[0]), slice(seen.shape[1]))
            sums[block] += image[..., row::2, column::2] * seen
            counts[block] += seen
    return sums / counts.clip(min=1), counts > 0


def _neighbours(length: int, coarse_length: int) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp], Floats]:
    """Return along one axis between which two coarse pixels every pixel lies, and how near the second is."""
    places = np.maximum((np.arange(length) + 0.5) * (coarse_length / length) - 0.5, 0)
    before = places.astype(np.intp)
    after = np.minimum(before + 1, coarse_length - 1)
    return before, after, (places - before).astype(np.float32)
