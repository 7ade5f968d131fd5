"""How the agent looks at a whole photograph: a grid of overlapping windows, one memory for each."""

from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from torch import Tensor

from rlrestore.agent.policy import AnyPolicy
from rlrestore.imaging.progress import progress_bar
from rlrestore.imaging.tiling import windows

BATCH = 256
"""Windows the agent looks at in one go; bounds the memory (15 MB of pixels)."""


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

    def patches(self, image: Tensor, first: int, last: int) -> Tensor:
        """Cut out windows number `first` to `last - 1` of `(1, 3, H, W)`: `(last - first, 3, size, size)`."""
        corners = [divmod(number, len(self.lefts)) for number in range(first, last)]
        size = self.size
        return torch.cat(
            [
                image[
                    ...,
                    self.tops[row] : self.tops[row] + size,
                    self.lefts[column] : self.lefts[column] + size,
                ]
                for row, column in corners
            ]
        )


def _even_subset(values: tuple[int, ...], count: int) -> tuple[int, ...]:
    if count >= len(values):
        return values
    chosen = (np.arange(count) + 0.5) * len(values) / count
    return tuple(values[int(index)] for index in chosen)


class View:
    """One photograph through the agent's eyes. It remembers, window by window, what it has seen before."""

    def __init__(self, policy: AnyPolicy, grid: WindowGrid) -> None:
        self._policy = policy
        self._grid = grid
        self._starts = range(0, len(grid), BATCH)
        # Copies, for both parts may be one tensor, and they are written to.
        first, second = policy.initial_state(len(grid))
        self._memory = first.clone(), second.clone()

    def look(self, image: Tensor, last_actions: Tensor, title: str | None = None) -> Tensor:
        """Look at every window of the photograph as it is now.

        Args:
            image: `(1, 3, H, W)`, not clipped; the agent sees it clipped, as in its training.
            last_actions: `(windows,)` int64, -1 before the first action.
            title: Name of a progress bar; None for no bar.

        Returns:
            `(windows, tools + 1)`: what the agent expects to gain by each choice, in dB.
        """
        image = _mirrored(image, self._grid.size)
        values = image.new_empty(len(self._grid), self._policy.tools + 1)
        # Nothing small is allocated that stays: in the gap that a batch leaves, it would keep the next from
        # fitting in, and the memory would grow with the photograph.
        for start in progress_bar(self._starts, title, "batch of windows"):
            part = slice(start, min(start + BATCH, len(self._grid)))
            patches = self._grid.patches(image, part.start, part.stop).clamp_(0, 1)
            before = (self._memory[0][part], self._memory[1][part])
            values[part], after = self._policy(patches, last_actions[part], before)
            for kept, new in zip(self._memory, after, strict=True):
                kept[part] = new
        return values


def _mirrored(image: Tensor, size: int) -> Tensor:
    """Continue an image shorter than `size` pixels by its mirror image, as often as it takes."""
    height, width = image.shape[-2:]
    if min(height, width) >= size:
        return image
    rows = np.pad(np.arange(height), (0, max(0, size - height)), mode="reflect")
    columns = np.pad(np.arange(width), (0, max(0, size - width)), mode="reflect")
    return image[
        ..., torch.from_numpy(rows)[:, None].to(image.device), torch.from_numpy(columns).to(image.device)
    ]
