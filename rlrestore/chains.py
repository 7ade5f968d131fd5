"""The toolchain on a whole photograph: one chain for all of it, or one for every region."""

import time
from collections import Counter
from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from rlrestore.agent.policy import AnyPolicy
from rlrestore.envs.transition import NO_ACTION
from rlrestore.imaging.tiling import apply_tiled
from rlrestore.looking import View, WindowGrid
from rlrestore.toolbox.toolbox import Toolbox
from rlrestore.trace import STOP_NAME, TraceStep

GLOBAL_STRIDE = 48
"""Pixels between windows whose values are averaged."""
GLOBAL_LIMIT = 1024
"""Windows at most in global mode, an even subset of a larger photograph; its mean is known well before."""
LOCAL_STRIDE = 32
"""Pixels between windows that each follow their own chain: half a window, so that two always blend."""
TILE = 512
"""Side in pixels of the tiles that a tool works on; bounds the memory."""

Chain = Iterator[tuple[Tensor, TraceStep]]
"""The photograph `(1, 3, H, W)` after each step, and what was done."""


def global_chain(toolbox: Toolbox, policy: AnyPolicy, image: Tensor, max_steps: int) -> Chain:
    """Apply one tool at a time to the whole photograph.

    Every window is valued by itself; the mean value over the windows decides.

    Args:
        toolbox: The tools.
        policy: Who chooses.
        image: `(1, 3, H, W)` RGB in [0, 1].
        max_steps: Tools to apply at most.

    Source: paper, section 4.4 (there the patches vote).
    """
    height, width = image.shape[-2:]
    grid = WindowGrid.cover(height, width, policy.patch_size, GLOBAL_STRIDE, GLOBAL_LIMIT)
    view = View(policy, grid)
    actions = torch.full((len(grid),), NO_ACTION, device=image.device)
    for _ in range(max_steps):
        started = time.perf_counter()
        values = view.look(image, actions).mean(dim=0)
        actions = values.argmax().expand(len(grid))
        action = int(actions[0])
        if action != toolbox.stop:
            image = apply_tool(toolbox, action, image)
        yield (
            image,
            _step(toolbox, values.tolist(), [action], float(values[action]), _elapsed_ms(started, image)),
        )
        if action == toolbox.stop:
            return


def local_chain(toolbox: Toolbox, policy: AnyPolicy, image: Tensor, max_steps: int) -> Chain:
    """Let every region follow its own chain, and blend the regions.

    The values of neighbouring windows are smoothed before each chooses, so that neighbours seldom differ
    without cause; the results are blended by weights that fall off from the middle of a window like a raised
    cosine.
    A region that stopped is left as it is from then on.

    Args: as in `global_chain`.
    """
    height, width = image.shape[-2:]
    grid = WindowGrid.cover(height, width, policy.patch_size, LOCAL_STRIDE)
    view = View(policy, grid)
    down = blending_weights(height, grid.tops, grid.size).to(image.device)
    across = blending_weights(width, grid.lefts, grid.size).to(image.device)
    actions = torch.full((len(grid),), NO_ACTION, device=image.device)
    for _ in range(max_steps):
        started = time.perf_counter()
        active = actions != toolbox.stop
        values = smooth(view.look(image, actions), active, len(grid.tops), len(grid.lefts))
        actions = torch.where(active, values.argmax(dim=1), toolbox.stop)
        chosen = actions[active]
        image = _apply_locally(toolbox, actions.view(len(grid.tops), len(grid.lefts)), image, down, across)
        expected_db = float(values[active].gather(1, chosen[:, None]).mean())
        means = values[active].mean(dim=0).tolist()
        yield image, _step(toolbox, means, actions.tolist(), expected_db, _elapsed_ms(started, image))
        if bool((actions == toolbox.stop).all()):
            return


def apply_tool(toolbox: Toolbox, action: int, image: Tensor) -> Tensor:
    """Apply one tool to `(1, 3, H, W)` of any size in bounded memory, as if it had been applied in one go."""
    return apply_tiled(lambda part: toolbox.apply_tool(action, part), image, TILE, toolbox.receptive_field)


def blending_weights(length: int, starts: Sequence[int], size: int) -> Tensor:
    """Return along one axis how much each window counts at each pixel.

    A raised cosine over each window, divided by the sum over all windows.

    Args:
        length: Pixels along the axis.
        starts: Where the windows begin.
        size: Length of a window.

    Returns:
        `(length, windows)` weights in [0, 1]; every row sums to 1.
    """
    inside = torch.arange(length)[:, None] - torch.tensor(starts)[None, :]  # (length, windows)
    bumps = torch.sin((inside + 0.5) * torch.pi / size).square() * ((inside >= 0) & (inside < size))
    return bumps / bumps.sum(dim=1, keepdim=True)


def smooth(values: Tensor, active: Tensor, rows: int, columns: int) -> Tensor:
    """Average each window's values with its eight neighbours', weighted 1-2-1 down and across.

    Args:
        values: `(rows * columns, choices)` in reading order.
        active: `(rows * columns,)` bool; a window that has stopped does not count.
        rows: Rows of windows.
        columns: Columns of windows.

    Returns:
        The same shape, 0 where no window near counts; beyond the border the outermost windows repeat.
    """
    choices = values.shape[1]
    weighted = torch.cat((values, torch.ones_like(values[:, :1])), dim=1) * active[:, None]
    grid = weighted.T.reshape(choices + 1, 1, rows, columns)
    padded = F.pad(grid, (1, 1, 1, 1), mode="replicate")
    line = torch.tensor([0.25, 0.5, 0.25], device=values.device)
    sums = F.conv2d(padded, torch.outer(line, line)[None, None]).reshape(choices + 1, rows * columns).T
    return sums[:, :-1] / sums[:, -1:].clamp(min=1 / 16)


def _apply_locally(toolbox: Toolbox, actions: Tensor, image: Tensor, down: Tensor, across: Tensor) -> Tensor:
    """Apply to each region its own tool and blend: `(1, 3, H, W)` plus every tool's weighted correction.

    Args:
        toolbox: The tools.
        actions: `(rows, columns)` what each window chose.
        image: `(1, 3, H, W)`.
        down: `(H, rows)` blending weights.
        across: `(W, columns)` blending weights.
    """
    result = image.clone()
    for action in actions.unique().tolist():
        if action == toolbox.stop:
            continue
        weights = down @ (actions == action).float() @ across.T  # (H, W)

        # The weights travel as a fourth channel, so that a tile knows its own; without any it costs nothing.
        def correction(part: Tensor, action: int = action) -> Tensor:
            pixels, weight = part[:, :3], part[:, 3:]
            if not bool(weight.any()):
                return torch.zeros_like(part)
            return torch.cat([weight * (toolbox.apply_tool(action, pixels) - pixels), weight], dim=1)

        weighted = torch.cat([image, weights[None, None]], dim=1)
        result += apply_tiled(correction, weighted, TILE, toolbox.receptive_field)[:, :3]
    return result


def _elapsed_ms(started: float, image: Tensor) -> float:
    if image.is_cuda:
        torch.cuda.synchronize(image.device)
    return 1000 * (time.perf_counter() - started)


def _step(
    toolbox: Toolbox, values: Sequence[float], actions: Sequence[int], expected_db: float, time_ms: float
) -> TraceStep:
    """Say what was chosen, by whom, and what came next.

    Args:
        toolbox: The tools.
        values: Expected gain of every choice in dB.
        actions: What each region chose; a single one stands for all of them.
        expected_db: Expected gain of what was chosen.
        time_ms: How long it took.
    """
    names = (*toolbox.names, STOP_NAME)
    counts = Counter(actions).most_common()
    chosen = next((action for action, _ in counts if action != toolbox.stop), toolbox.stop)
    order = sorted(range(len(names)), key=lambda action: -values[action])
    runners_up = [(names[action], values[action]) for action in order if action != chosen][:2]
    shares = tuple((names[action], count / len(actions)) for action, count in counts)
    return TraceStep(names[chosen], expected_db, tuple(runners_up), time_ms, shares=shares)
