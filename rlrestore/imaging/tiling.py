"""Images larger than a network should see at once: overlapping tiles for tools, and windows for an agent."""

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import EllipsisType
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from rlrestore.imaging.progress import Follow

ALIGN = 4
"""Tiles begin at multiples of it, for networks that fold squares of 2×2 or 4×4 pixels."""

Region: TypeAlias = tuple[EllipsisType, slice, slice]
"""Rows and columns, as an index of an array `(..., H, W)`."""

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Tile:
    """One tile of an image.

    Attributes:
        read: What is read: the tile and the surroundings that a function sees from it.
        kept: The tile itself; the tiles of an image share no pixel and leave none out.
        inner: The tile again, counted inside what is read.
    """

    read: Region
    kept: Region
    inner: Region


def tiles(height: int, width: int, tile: int, overlap: int, align: int = ALIGN) -> list[Tile]:
    """Divide an image into tiles that are read with their surroundings.

    Args:
        height: Rows of the image.
        width: Columns of the image.
        tile: Most rows and columns that are read at once, in pixels; an image not larger is one tile.
        overlap: Receptive field radius of a function, in pixels; rounded up to a multiple of `align`.
        align: The corner of all that is read is a multiple of it, for functions that fold the image: 4 where
            a network folds 4×4 pixels into channels.

    Returns:
        The tiles row by row.

    Raises:
        ValueError: The tile has no middle beside the overlap.
    """
    if tile < 1 or overlap < 0 or align < 1:
        raise ValueError(f"expected tile and align from 1 and overlap from 0, got {tile}, {align}, {overlap}")
    margin = -(-overlap // align) * align
    step = (tile - 2 * margin) // align * align
    if step < align and max(height, width) > tile:
        raise ValueError(
            f"expected tiles larger than twice the overlap of {overlap} pixels and {align} more, got {tile}; "
            f"take at least {2 * margin + align}"
        )
    rows, columns = (list(_spans(length, tile, step, margin)) for length in (height, width))
    return [
        Tile(*((..., down, across) for down, across in zip(row, column, strict=True)))
        for row in rows
        for column in columns
    ]


def _spans(length: int, tile: int, step: int, margin: int) -> Iterator[tuple[slice, slice, slice]]:
    """Yield along one axis what is read, what is kept, and that again inside what is read."""
    if length <= tile:
        yield (slice(0, length),) * 3
        return
    for start in range(0, length, step):
        end, first = min(start + step, length), max(start - margin, 0)
        yield slice(first, min(end + margin, length)), slice(start, end), slice(start - first, end - first)


def read_tiles(
    image: Floats, tile: int, overlap: int, align: int = ALIGN, follow: Follow = iter
) -> Iterator[tuple[Tile, Floats]]:
    """Yield every tile with its surroundings as they were, whatever is written into the image meanwhile.

    So an image can be changed in place: `image[tile.kept]` is written once the tile was yielded. Beside the
    image, two bands of tiles across its shorter side are in memory.

    Args:
        image: `(B, C, H, W)` of any size.
        tile: As in `tiles`, like `overlap` and `align`.
        overlap: What is read beyond a tile on each side, in pixels.
        align: What is folded, in pixels.
        follow: Passes the tiles on, and follows how many are done.

    Yields:
        The tile, and `(B, C, h, w)` what `tile.read` names.

    Raises:
        ValueError: The tile has no middle beside the overlap.
    """
    height, width = image.shape[-2:]
    down = height >= width  # the bands follow each other along the longer side

    def turned(region: Region) -> tuple[slice, slice]:
        _, rows, columns = region
        return (rows, columns) if down else (columns, rows)

    plan = sorted(tiles(height, width, tile, overlap, align), key=lambda one: turned(one.kept)[0].start)
    upright = image if down else image.swapaxes(-2, -1)  # a view whose rows the bands follow
    band, held = upright[..., :0, :], slice(0, 0)
    for one in follow(plan):
        wanted, part = turned(one.read)
        if wanted != held:
            fresh = upright[..., wanted, :].copy(order="K")
            known = max(0, held.stop - wanted.start)  # rows of which some were written already
            fresh[..., :known, :] = band[..., band.shape[-2] - known :, :]
            band, held = fresh, wanted
        read = band[..., part]
        yield one, read if down else read.swapaxes(-2, -1)


def apply_tiled_(
    begin: Callable[[Floats], Callable[[], Floats]],
    image: Floats,
    tile: int,
    overlap: int,
    align: int = ALIGN,
    follow: Follow = iter,
    ahead: int = 0,
) -> Floats:
    """Apply a function to an image tile by tile, in place, with the result it has on the whole image.

    Every tile is read with its surroundings, and only its middle is kept. Where the receptive field of the
    function reaches no farther than `overlap` pixels, and it pads the image's border by itself, the result is
    that of the function on the whole image but for the rounding of float sums. Beside the image, two bands of
    tiles, as many more as `ahead` tiles reach over, and what the function makes of these are in memory.

    Args:
        begin: Begins the function of `(B, C, h, w)`, for any h and w, and returns what waits for its result
            of the same shape.
        image: `(B, C, H, W)` of any size; it is changed.
        tile: As in `tiles`, like `overlap` and `align`.
        overlap: Receptive field radius of the function, in pixels.
        align: What the function folds, in pixels.
        follow: Passes the tiles on, and follows how many are begun.
        ahead: Tiles that are begun before the first of them is waited for.

    Returns:
        The image.

    Raises:
        ValueError: The tile has no middle beside the overlap, or the function changed the shape.
    """
    begun: deque[tuple[Tile, tuple[int, ...], Callable[[], Floats]]] = deque()
    for one, part in read_tiles(image, tile, overlap, align, follow):
        begun.append((one, part.shape, begin(part)))
        if len(begun) > ahead:
            _write(image, *begun.popleft())
    for each in begun:
        _write(image, *each)
    return image


def _write(image: Floats, tile: Tile, shape: tuple[int, ...], wait: Callable[[], Floats]) -> None:
    """Write what became of a tile of this shape.

    Raises:
        ValueError: It has another shape.
    """
    result = wait()
    if result.shape != shape:
        raise ValueError(f"expected a function that keeps the shape {shape}, got {result.shape}")
    image[tile.kept] = result[tile.inner]


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
