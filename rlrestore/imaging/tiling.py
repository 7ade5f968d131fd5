"""Images larger than a network should see at once: overlapping tiles, and windows for an agent to look at."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor


def apply_tiled(
    function: Callable[[Tensor], Tensor], image: Tensor, tile: int, overlap: int, align: int = 2
) -> Tensor:
    """Apply a function to an image tile by tile, with the result it has on the whole image.

    Every tile is read with `overlap` pixels more on each inner side, and only its middle is kept. Where the
    function looks no farther than `overlap` pixels, and pads the image's border by itself, the result is that
    of `function(image)` but for the rounding of float sums. Beside the image, the result, one tile and what
    the function makes of it are in memory.

    Args:
        function: Maps `(B, C, h, w)` to the same shape, for any h and w. It may move the tile to another
            device: the result is gathered on the image's.
        image: `(B, C, H, W)` of any size; one not larger than a tile is passed on as it is.
        tile: Largest height and width given to the function, in pixels.
        overlap: Receptive field radius of the function, in pixels; rounded up to a multiple of `align`.
        align: The corner of every tile is a multiple of it, for functions that fold the image: 2 where a
            network folds 2×2 pixels into channels.

    Returns:
        `(B, C, H, W)`.

    Raises:
        ValueError: The tile has no middle beside the overlap, or the function changed the shape.
    """
    height, width = image.shape[-2:]
    if tile < 1 or overlap < 0 or align < 1:
        raise ValueError(f"expected tile and align from 1 and overlap from 0, got {tile}, {align}, {overlap}")
    if max(height, width) <= tile:
        return _checked(function, image)
    margin = -(-overlap // align) * align
    step = (tile - 2 * margin) // align * align
    if step < align:
        raise ValueError(
            f"expected tiles larger than twice the overlap of {overlap} pixels and {align} more, got {tile}; "
            f"take at least {2 * margin + align}"
        )
    result = torch.empty_like(image)
    for top, bottom, first_row, end_row in _spans(height, tile, step, margin):
        for left, right, first_column, end_column in _spans(width, tile, step, margin):
            part = _checked(function, image[..., first_row:end_row, first_column:end_column])
            kept = part[..., top - first_row : bottom - first_row, left - first_column : right - first_column]
            result[..., top:bottom, left:right] = kept
    return result


def _spans(length: int, tile: int, step: int, margin: int) -> Iterator[tuple[int, int, int, int]]:
    """Yield along one axis: start and end of what is kept, start and end of what is read for it."""
    if length <= tile:
        yield 0, length, 0, length
        return
    for start in range(0, length, step):
        end = min(start + step, length)
        yield start, end, max(start - margin, 0), min(end + margin, length)


def _checked(function: Callable[[Tensor], Tensor], tile: Tensor) -> Tensor:
    result = function(tile)
    if result.shape != tile.shape:
        raise ValueError(
            f"expected a function that keeps the shape {tuple(tile.shape)}, got {tuple(result.shape)}"
        )
    return result


def windows(height: int, width: int, size: int, stride: int) -> list[tuple[int, int]]:
    """Return the top left corners of overlapping square windows that cover an image.

    The windows are spread evenly, none reaches out of the image, and neighbours are at most `stride` apart.

    Args:
        height: Rows of the image, at least `size`.
        width: Columns of the image, at least `size`.
        size: Side of a window in pixels.
        stride: Largest distance of neighbouring windows in pixels, at most `size`.

    Returns:
        `(top, left)` of every window, row by row.

    Raises:
        ValueError: The image is smaller than a window (pad it first), or the windows would leave gaps.
    """
    if min(height, width) < size:
        raise ValueError(
            f"expected an image of at least {size}×{size} pixels, got {height}×{width}; pad it first"
        )
    if not 1 <= stride <= size:
        raise ValueError(f"expected a stride from 1 to the window's {size} pixels, got {stride}")
    return [(top, left) for top in _starts(height, size, stride) for left in _starts(width, size, stride)]


def _starts(length: int, size: int, stride: int) -> list[int]:
    steps = -(-(length - size) // stride)
    return [(length - size) * index // max(steps, 1) for index in range(steps + 1)]
