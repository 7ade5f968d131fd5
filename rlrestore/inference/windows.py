"""The agent on a whole photograph: a grid of overlapping windows, one memory for each."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from rlrestore.imaging.progress import Follow
from rlrestore.imaging.tiling import windows
from rlrestore.runtime import Actions, Agent, Floats

BATCH = 256
"""Windows that the agent takes at a time; bounds the memory (12 MB of pixels)."""


@dataclass(frozen=True)
class WindowGrid:
    """Square windows at every crossing of some rows and columns, in reading order.

    Attributes:
        size: Side of a window in pixels.
        tops: First row of each row of windows, ascending.
        lefts: First column of each column of windows, ascending.
    """

    size: int
    tops: tuple[int, ...]
    lefts: tuple[int, ...]

    @classmethod
    def cover(cls, height: int, width: int, size: int, stride: int, limit: int | None = None) -> Self:
        """Cover an image with overlapping windows; a side shorter than a window gets one at 0.

        Args:
            height: Rows of the image.
            width: Columns of the image.
            size: Side of a window.
            stride: Pixels from one window to the next.
            limit: At most this many windows. Where the image has room for more, an even subset of the rows
                and columns is taken, so that they cover it no more but still sample all of it.
        """
        corners = windows(max(height, size), max(width, size), size, stride)
        tops = tuple(sorted({top for top, _ in corners}))
        lefts = tuple(sorted({left for _, left in corners}))
        if limit is not None and len(corners) > limit:
            share = (limit / len(corners)) ** 0.5
            rows = min(limit, max(1, int(len(tops) * share)))
            tops = _even_subset(tops, rows)
            lefts = _even_subset(lefts, limit // rows)
        return cls(size, tops, lefts)

    def __len__(self) -> int:
        return len(self.tops) * len(self.lefts)

    def common(self, other: Self) -> NDArray[np.bool_]:
        """Tell which of these windows lie in another grid, too: `(rows, columns)`."""
        return np.isin(self.tops, other.tops)[:, None] & np.isin(self.lefts, other.lefts)

    def patches(self, image: Floats, numbers: NDArray[np.int64]) -> Floats:
        """Cut windows by their numbers out of `(1, 3, H, W)`: `(len(numbers), 3, size, size)`."""
        size = self.size
        cut = np.empty((len(numbers), size, size, 3), np.float32).transpose(0, 3, 1, 2)
        for index, number in enumerate(numbers):
            row, column = divmod(int(number), len(self.lefts))
            top, left = self.tops[row], self.lefts[column]
            cut[index] = image[0, :, top : top + size, left : left + size]
        return cut


def _even_subset(values: tuple[int, ...], count: int) -> tuple[int, ...]:
    if count >= len(values):
        return values
    chosen = (np.arange(count) + 0.5) * len(values) / count
    return tuple(values[int(index)] for index in chosen)


class WindowedAgent:
    """The agent on the windows of one photograph, with a memory of the steps before for each window."""

    def __init__(self, agent: Agent, grid: WindowGrid) -> None:
        self._agent = agent
        self._grid = grid
        self._memory = agent.empty_memory(len(grid))

    def values(
        self,
        image: Floats,
        last_actions: Actions,
        follow: Follow = iter,
        active: NDArray[np.bool_] | None = None,
    ) -> Floats:
        """Value every action in every window of the photograph as it is now.

        Args:
            image: `(1, 3, H, W)`, not clipped; the agent's windows are clipped, as in its training.
            last_actions: `(windows,)`, `NO_ACTION` before the first action.
            follow: Passes the batches on, and follows how many are done.
            active: `(windows,)` those to value; all without it.

        Returns:
            `(windows, tools + 1)`: the gain that the agent expects of each action, in dB; 0 where it did not
            look.
        """
        image = mirrored(image, self._grid.size)
        values = np.zeros((len(self._grid), self._agent.actions), np.float32)
        numbers = np.arange(len(self._grid)) if active is None else np.flatnonzero(active)
        # Nothing small is allocated that stays: in the gap that a batch leaves, it would keep the next from
        # fitting in, and the memory would grow with the photograph.
        for start in follow(range(0, len(numbers), BATCH)):
            part = numbers[start : start + BATCH]
            patches = self._grid.patches(image, part)
            np.clip(patches, 0, 1, out=patches)
            before = (self._memory[0][part], self._memory[1][part])
            values[part], after = self._agent.values(patches, last_actions[part], before)
            for kept, new in zip(self._memory, after, strict=True):
                kept[part] = new
        return values


def mirrored(image: Floats, size: int) -> Floats:
    """Continue an image shorter than `size` pixels by its mirror image, as often as it takes."""
    height, width = image.shape[-2:]
    if min(height, width) >= size:
        return image
    rows = np.pad(np.arange(height), (0, max(0, size - height)), mode="reflect")
    columns = np.pad(np.arange(width), (0, max(0, size - width)), mode="reflect")
    return image[..., rows[:, None], columns]
