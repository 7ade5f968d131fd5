"""The toolchain on a whole photograph: one chain for all of it, or one for every region."""

import time
from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from rlrestore.agent.policy import AnyPolicy, best_action
from rlrestore.envs.transition import NO_ACTION
from rlrestore.imaging.tiling import apply_tiled_, read_tiles
from rlrestore.inference.windows import View, WindowGrid
from rlrestore.toolbox.toolbox import Toolbox
from rlrestore.trace import STOP_NAME, TraceStep

GLOBAL_STRIDE = 48
"""Pixels between windows whose values are averaged."""
GLOBAL_WINDOWS = 16, 1024
"""Windows at most in global mode, of a small and of a large photograph, evenly spread; in between, as many as
lie side by side. Their mean is known well before."""
LOCAL_STRIDE = 32
"""Pixels between windows that each follow their own chain: half a window, so that two always blend."""
SHARING = 2
"""Tools at most that share a window."""
SHARING_DB = 0.2
"""How far behind the best a tool counts e times less, in dB."""
TILE = 512
"""Side in pixels of the tiles that a tool works on; bounds the memory."""
LOCAL_TILE = 256
"""The same in local mode: smaller, for a tool runs on every tile in which any window chose it."""

Chain = Iterator[tuple[Tensor, TraceStep]]
"""The photograph `(1, 3, H, W)` after each step, the same tensor changed in place, and what was done."""


def global_chain(
    toolbox: Toolbox, policy: AnyPolicy, image: Tensor, max_steps: int, progress: bool = False
) -> Chain:
    """Apply one tool at a time to the whole photograph.

    Every window is valued by itself; the mean value over the windows decides.

    Args:
        toolbox: The tools.
        policy: Who chooses.
        image: `(1, 3, H, W)` RGB in [0, 1]; it is changed.
        max_steps: Tools to apply at most.
        progress: Show bars on stderr for what takes long.

    Source: paper, section 4.4 (there the patches vote).
    """
    height, width = image.shape[-2:]
    fewest, most = GLOBAL_WINDOWS
    limit = min(max(height * width // policy.patch_size**2, fewest), most)
    grid = WindowGrid.cover(height, width, policy.patch_size, GLOBAL_STRIDE, limit)
    view = View(policy, grid)
    actions = torch.full((len(grid),), NO_ACTION, device=image.device)
    for number in range(1, max_steps + 1):
        started, title = time.perf_counter(), f"step {number} of {max_steps}" if progress else None
        values = view.look(image, actions, title).mean(dim=0)
        actions = best_action(values, policy.caution_db).expand(len(grid))
        action = int(actions[0])
        if action != toolbox.stop:
            apply_tool_(toolbox, action, image, title)
        all_of_it = torch.eye(len(values))[action].tolist()
        step = _step(toolbox, values.tolist(), all_of_it, float(values[action]), _elapsed_ms(started, image))
        yield image, step
        if action == toolbox.stop:
            return


def local_chain(
    toolbox: Toolbox, policy: AnyPolicy, image: Tensor, max_steps: int, progress: bool = False
) -> Chain:
    """Let every region follow its own chain, and blend the regions.

    The values of neighbouring windows are smoothed before each chooses, so that neighbours seldom differ
    without cause. Each window is then shared out among its best tools (`share_out`), and what the tools make
    of it fades into its neighbours' by weights that fall off from its middle like a raised cosine.
    A region that stopped is left as it is from then on. The memory of a window is told its best choice.

    Args: as in `global_chain`.
    """
    height, width = image.shape[-2:]
    grid = WindowGrid.cover(height, width, policy.patch_size, LOCAL_STRIDE)
    rows, columns = len(grid.tops), len(grid.lefts)
    view = View(policy, grid)
    down = blending_weights(height, grid.tops, grid.size).to(image.device)
    across = blending_weights(width, grid.lefts, grid.size).to(image.device)
    actions = torch.full((len(grid),), NO_ACTION, device=image.device)
    for number in range(1, max_steps + 1):
        started, title = time.perf_counter(), f"step {number} of {max_steps}" if progress else None
        active = actions != toolbox.stop
        values = smooth(view.look(image, actions, title), active, rows, columns)
        shares = share_out(values, active, policy.caution_db)
        actions = shares.argmax(dim=1)
        apply_locally_(toolbox, shares.view(rows, columns, -1), image, down, across, title)
        expected_db = float((shares * values)[active].sum(dim=1).mean())
        means, spread = values[active].mean(dim=0).tolist(), shares.mean(dim=0).tolist()
        yield image, _step(toolbox, means, spread, expected_db, _elapsed_ms(started, image))
        if bool((actions == toolbox.stop).all()):
            return


def share_out(values: Tensor, active: Tensor, caution_db: float) -> Tensor:
    """Decide how much each choice counts in each window.

    A window of whose tools none is expected to gain enough is left alone. In any other the best two that are
    share it: the second counts less by a factor e for every `SHARING_DB` that it is behind. The values are
    estimates, and tools so close in value err in different directions, one leaving noise where the other
    smooths too much; their mean errs less than the better one would, and where the damage changes slowly,
    one tool fades into the next.

    Args:
        values: `(windows, tools + 1)` expected gains in dB, stop last.
        active: `(windows,)` bool; a window that has stopped stays alone.
        caution_db: What is enough, in dB.

    Returns:
        `(windows, tools + 1)` weights in [0, 1]; every row sums to 1.
    """
    best = values[:, :-1].topk(min(SHARING, values.shape[1] - 1), dim=1)
    behind_db = best.values[:, :1] - best.values
    weights = torch.exp(-behind_db / SHARING_DB) * ((best.values > caution_db) & active[:, None])
    weights = weights / weights.sum(dim=1, keepdim=True).clamp(min=1)  # the best alone weighs 1
    shares = torch.zeros_like(values).scatter(1, best.indices, weights)
    shares[:, -1] = (weights.sum(dim=1) == 0).to(shares.dtype)
    return shares


def apply_tool_(toolbox: Toolbox, action: int, image: Tensor, title: str | None = None) -> Tensor:
    """Apply one tool to `(1, 3, H, W)` of any size in bounded memory, as if it had been applied in one go.

    Args:
        toolbox: The tools.
        action: The tool.
        image: `(1, 3, H, W)`; it is changed, and returned.
        title: Name of a progress bar; None for no bar.
    """
    return apply_tiled_(
        lambda part: toolbox.apply_tool(action, part), image, TILE, toolbox.radius(action), title=title
    )


def apply_locally_(
    toolbox: Toolbox, shares: Tensor, image: Tensor, down: Tensor, across: Tensor, title: str | None = None
) -> Tensor:
    """Apply to each region its own tools, and blend: the image plus every tool's weighted correction.

    In each tile only those tools run that have a weight in it.

    Args:
        toolbox: The tools.
        shares: `(rows, columns, tools + 1)` how much each choice counts in each window.
        image: `(1, 3, H, W)`; it is changed, and returned.
        down: `(H, rows)` blending weights.
        across: `(W, columns)` blending weights.
        title: Name of a progress bar; None for no bar.
    """
    used = [action for action in range(toolbox.stop) if bool(shares[..., action].any())]
    for tile, part in read_tiles(image, LOCAL_TILE, toolbox.receptive_field, title=title):
        _, rows, columns = tile.kept
        for action in used:
            weights = down[rows] @ shares[..., action] @ across[columns].T  # (h, w)
            if bool(weights.any()):
                correction = (toolbox.apply_tool(action, part) - part)[tile.inner]
                image[tile.kept] += weights * correction
    return image


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


def _elapsed_ms(started: float, image: Tensor) -> float:
    if image.is_cuda:
        torch.cuda.synchronize(image.device)
    return 1000 * (time.perf_counter() - started)


def _step(
    toolbox: Toolbox, values: Sequence[float], shares: Sequence[float], expected_db: float, time_ms: float
) -> TraceStep:
    """Say what was chosen, by whom, and what came next.

    Args:
        toolbox: The tools.
        values: Expected gain of every choice in dB.
        shares: How much of the photograph went to every choice.
        expected_db: Expected gain of what was chosen.
        time_ms: How long it took.
    """
    names = (*toolbox.names, STOP_NAME)
    used = sorted((action for action in range(len(names)) if shares[action]), key=lambda one: -shares[one])
    chosen = next((action for action in used if action != toolbox.stop), toolbox.stop)
    order = sorted(range(len(names)), key=lambda action: -values[action])
    runners_up = [(names[action], values[action]) for action in order if action != chosen][:2]
    spread = tuple((names[action], shares[action]) for action in used)
    return TraceStep(names[chosen], expected_db, tuple(runners_up), time_ms, shares=spread)
