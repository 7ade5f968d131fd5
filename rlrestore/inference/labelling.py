"""Which tool works where in local mode: few tools, in regions as large and as smooth as the degradation.

The windows that were treated alike so far are a region. One tool is chosen for a region by the mean over it,
as in global mode. Another one joins it only if, used where it is expected to do better, it raises the gain
that is expected of the whole photograph by more than a margin. A window's expectation is that of its
surroundings, and groups of a few windows join what is around them.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from rlrestore.runtime import Actions, Floats

JOINING_DB = 0.15
"""By how much a further tool must raise the expected gain of the whole photograph in a step, in dB."""
SURROUNDINGS = 1.5
"""Standard deviation of the Gaussian weights by which the values of windows are averaged, in windows."""
SMALLEST_REGION = 8
"""Windows; fewer are no region of their own."""

STOPPED = -1
"""The region of the windows that have stopped."""

Mask = NDArray[np.bool_]


def choose_actions(values: Floats, margins_db: Floats, regions: Actions, sampled: Mask) -> Actions:
    """Choose the action of every window.

    Args:
        values: `(rows, columns, tools + 1)` what each action is expected to gain, in dB; stop is last.
        margins_db: `(tools,)`, by the tool that is best for a region or in the surroundings of a window, what
            it must exceed there.
        regions: `(rows, columns)` the number of the region that a window belongs to, or `STOPPED`.
        sampled: `(rows, columns)` the windows over which global mode would average.

    Returns:
        `(rows, columns)`; stop where a window has stopped.
    """
    actions = np.full(regions.shape, values.shape[2] - 1, np.int64)
    for region in np.unique(regions[regions != STOPPED]):
        inside = regions == region
        deciding = sampled if inside.all() else inside
        means = values[deciding].mean(axis=0, dtype=np.float64)
        first = best_action(means, margins_db[means[:-1].argmax()])
        nearby = average_nearby(values, inside)
        nearby[..., -1] = margins_db[nearby[..., :-1].argmax(axis=2)]
        chosen = joined_by_others(nearby[inside].astype(np.float64), first, inside.size)
        best = np.array(chosen)[nearby[..., chosen].argmax(axis=2)]
        actions[inside] = without_islands(best, inside, first)[inside]
    return actions


def divide(regions: Actions, actions: Actions, stop: int) -> Actions:
    """Return the regions after a step, `(rows, columns)`: what lay in one region and was treated alike."""
    _, numbers = np.unique(regions * (stop + 1) + actions, return_inverse=True)
    return np.where(actions == stop, STOPPED, numbers.reshape(regions.shape))


def best_action(values: NDArray[np.floating], margin_db: float) -> int:
    """Return the best tool of `(tools + 1,)` values, or stop, the last, unless it exceeds a margin."""
    tool = int(values[:-1].argmax())
    return tool if values[tool] > margin_db else len(values) - 1


def average_nearby(values: Floats, inside: Mask) -> Floats:
    """Average each window's values with those around it, of the same region, by Gaussian weights.

    Args:
        values: `(rows, columns, actions)`.
        inside: `(rows, columns)` the windows of the region; only their results mean anything.
    """
    weights = inside.astype(np.float32)
    sums = _blur(values * weights[..., None])
    averages: Floats = sums / _blur(weights).clip(min=1e-6)[..., None]
    return averages


def joined_by_others(values: NDArray[np.float64], first: int, windows: int) -> list[int]:
    """Let further actions join the first while the best of them gains enough.

    Args:
        values: `(region's windows, actions)`.
        first: The action that is chosen anyway.
        windows: Of the whole photograph.
    """
    chosen = [first]
    while True:
        reached = values[:, chosen].max(axis=1, keepdims=True)
        gains_db = np.maximum(values - reached, 0).sum(axis=0) / windows
        following = int(gains_db.argmax())
        if gains_db[following] <= JOINING_DB:
            return chosen
        chosen.append(following)


def without_islands(actions: Actions, inside: Mask, usual: int) -> Actions:
    """Give connected groups of less than `SMALLEST_REGION` windows the action that is commonest around them.

    Args:
        actions: `(rows, columns)`.
        inside: `(rows, columns)` the windows of the region.
        usual: The action where there is no larger group near.
    """
    used = np.unique(actions[inside])
    votes = np.zeros((*actions.shape, len(used)), np.float32)
    for index, action in enumerate(used):
        group = ((actions == action) & inside).astype(np.uint8)
        _, numbers, statistics, _ = cv2.connectedComponentsWithStats(group, connectivity=4)
        large = statistics[:, cv2.CC_STAT_AREA] >= SMALLEST_REGION
        votes[..., index] = large[numbers] & (group > 0)
    settled = votes.any(axis=2)
    around = np.stack([_blur(vote) for vote in np.moveaxis(votes, 2, 0)], axis=2)
    commonest = np.where(around.any(axis=2), used[around.argmax(axis=2)], usual)
    return np.where(settled, actions, commonest)


def _blur(values: Floats) -> Floats:
    """Average `(rows, columns)` or `(rows, columns, N)` by Gaussian weights; 0 lies beyond the border."""
    blurred = cv2.GaussianBlur(values, (0, 0), SURROUNDINGS, borderType=cv2.BORDER_CONSTANT)
    return blurred.astype(np.float32, copy=False)
