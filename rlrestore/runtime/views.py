"""Tools that look at an image from several sides: turned and mirrored, the results turned back and averaged.

What a tool gets wrong by chance differs from view to view, and is less in the mean.

Source: Timofte, Rothe, Van Gool, *Seven ways to improve example-based single image super resolution*, CVPR
2016, which calls it self-ensemble.
"""

import copy
import operator
from collections.abc import Callable

import numpy as np

from rlrestore.errors import UsageError
from rlrestore.imaging.tiling import ALIGN
from rlrestore.runtime import Floats, Runtime, Tools

VIEWS = (
    (False, False, False),
    (True, True, True),
    (False, False, True),
    (False, True, False),
    (False, True, True),
    (True, False, False),
    (True, False, True),
    (True, True, False),
)
"""Whether rows and columns are exchanged, then rows, then columns put in the opposite order."""


class Views:
    """Tools as `rlrestore.runtime.Tools`, each the mean of its results on the first N of all eight views."""

    def __init__(self, tools: Tools, count: int) -> None:
        """Let tools look at so many views.

        Args:
            tools: The tools.
            count: From 1, which changes nothing, to 8.

        Raises:
            UsageError: It is another number.
        """
        self.names, self.specs, self.radii = tools.names, tools.specs, tools.radii
        self._tools, self._views = tools, VIEWS[: number_of_views(count)]
        self.pixels_ahead = tools.pixels_ahead // len(self._views)

    def apply(self, index: int, images: Floats) -> Floats:
        """Apply one tool to `(B, 3, H, W)`."""
        return self.begin(index, images)()

    def begin(self, index: int, images: Floats) -> Callable[[], Floats]:
        """Begin to apply one tool to `(B, 3, H, W)`; return what waits for the result."""
        if len(self._views) == 1:
            return self._tools.begin(index, images)
        align = 1 if self.specs[index].custom else ALIGN
        seen = [turned(_completed(images, align, *view), *view).copy(order="K") for view in self._views]
        waiting = [self._tools.begin(index, each) for each in seen]
        height, width = images.shape[-2:]

        def wait() -> Floats:
            total = np.zeros_like(images)
            for view, each in zip(self._views, waiting, strict=True):
                total += turned_back(each(), *view)[..., :height, :width]
            total /= len(self._views)
            return total

        return wait


def _completed(images: Floats, align: int, exchanged: bool, upside_down: bool, mirrored: bool) -> Floats:
    """Repeat the last rows and columns up to multiples of `align`, of the sides that a view turns round.

    So that networks fold them there as they do where nothing is turned, and tiles as the whole photograph.
    """
    rounded = (mirrored, upside_down) if exchanged else (upside_down, mirrored)
    sides = zip(images.shape[-2:], rounded, strict=True)
    beyond = [(0, -side % align if round_ else 0) for side, round_ in sides]
    return np.pad(images, [(0, 0), (0, 0), *beyond], mode="edge") if np.any(beyond) else images


def number_of_views(count: int) -> int:
    """Return how many views are asked for as a plain number.

    Raises:
        UsageError: It is none from 1 to 8.
    """
    try:
        number = int(operator.index(count))
    except TypeError:
        number = 0
    if not 1 <= number <= len(VIEWS):
        raise UsageError(f"expected 1 to {len(VIEWS)} views, got {count!r}")
    return number


def with_views(runtime: Runtime, count: int) -> Runtime:
    """Return a model whose tools look at so many views, as `Views`; the given one stays as it is."""
    seeing = copy.copy(runtime)
    seeing.tools = Views(runtime.tools, count)
    return seeing


def turned(images: Floats, exchanged: bool, upside_down: bool, mirrored: bool) -> Floats:
    """Return a view of images `(B, 3, H, W)`, in the same memory."""
    seen = images.swapaxes(-2, -1) if exchanged else images
    return seen[..., :: -1 if upside_down else 1, :: -1 if mirrored else 1]


def turned_back(seen: Floats, exchanged: bool, upside_down: bool, mirrored: bool) -> Floats:
    """Return the images that `turned` made a view of."""
    images = turned(seen, False, upside_down, mirrored)
    return images.swapaxes(-2, -1) if exchanged else images
