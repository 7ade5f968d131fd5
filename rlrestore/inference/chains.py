"""The toolchain on a whole photograph: one chain for all of it, or one for every region."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from rlrestore.imaging import PATCH
from rlrestore.imaging.progress import Follow, Monitor
from rlrestore.imaging.tiling import apply_tiled_, read_tiles
from rlrestore.inference.choice import FREE, Choice
from rlrestore.inference.regions import Regions
from rlrestore.inference.windows import WindowedAgent, WindowGrid
from rlrestore.runtime import Agent, Floats, Tools
from rlrestore.toolbox.specs import NO_ACTION
from rlrestore.trace import BY_HAND, STOP_NAME, TraceStep

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
FORBIDDEN_DB = -1e4
"""The value of a tool that the agent must not choose."""
LOCAL_TILE = 256
"""The same in local mode: smaller, for a tool runs on every tile in which any window chose it."""

VALUING_SHARE = 0.2
"""About how much of a step's time the agent takes."""
SILENT = Monitor()

Chain = Iterator[tuple[Floats, TraceStep]]
"""The photograph `(1, 3, H, W)` after each step, the same array changed in place, and the step."""


def global_chain(
    tools: Tools,
    agent: Agent,
    image: Floats,
    max_steps: int,
    monitor: Monitor = SILENT,
    choice: Choice = FREE,
) -> Chain:
    """Apply one tool at a time to the whole photograph.

    Every window is valued by itself; the mean value over the windows decides.

    Args:
        tools: The tools.
        agent: The agent that chooses.
        image: `(1, 3, H, W)` RGB in [0, 1]; it is changed.
        max_steps: Tools to apply at most.
        monitor: Follows how far it is.
        choice: What was decided in the agent's place; a chain is of `max_steps` tools.

    Source: paper, section 4.4 (there the patches vote).
    """
    height, width = image.shape[-2:]
    fewest, most = GLOBAL_WINDOWS
    limit = min(max(height * width // PATCH**2, fewest), most)
    grid = WindowGrid.cover(height, width, PATCH, GLOBAL_STRIDE, limit)
    windowed, action, stop = WindowedAgent(agent, grid), NO_ACTION, len(tools.names)
    for number in range(1, max_steps + 1):
        started = time.perf_counter()
        monitor.begin(number, max_steps)
        valuing = monitor.part("batch of windows", 0, VALUING_SHARE)
        applying = monitor.part("tile", VALUING_SHARE, 1)
        last_actions = np.full(len(grid), action, np.int64)
        values = windowed.values(image, last_actions, valuing).mean(axis=0, dtype=np.float64)
        values[list(choice.left_out)] = FORBIDDEN_DB
        by_hand = choice.action(number)
        margin_db = step_margins_db(agent, number)[values[:-1].argmax()]
        action = best_action(values, margin_db) if by_hand is None else by_hand
        if action != stop:
            apply_tool_(tools, action, image, applying)
        shares = np.eye(stop + 1)[action]
        step = _step(tools, agent, values, shares, float(values[action]), margin_db, started)
        yield image, step if by_hand is None else replace(step, chosen_by=BY_HAND)
        if action == stop:
            return


def local_chain(
    tools: Tools,
    agent: Agent,
    image: Floats,
    max_steps: int,
    monitor: Monitor = SILENT,
    choice: Choice = FREE,
) -> Chain:
    """Let every region follow its own chain, and blend the regions.

    The values of neighbouring windows are smoothed before each chooses, so that neighbours seldom differ
    without cause. Each window is then shared out among its best tools (`share_out`), and what the tools make
    of it fades into its neighbours' by weights that fall off from its middle like a raised cosine.
    A region that stopped is left as it is from then on. The last action of a window is its best one.

    Args: as in `global_chain`.
    """
    height, width = image.shape[-2:]
    grid = WindowGrid.cover(height, width, PATCH, LOCAL_STRIDE)
    rows, columns = len(grid.tops), len(grid.lefts)
    down, across = (
        blending_weights(height, grid.tops, grid.size),
        blending_weights(width, grid.lefts, grid.size),
    )
    windowed, stop = WindowedAgent(agent, grid), len(tools.names)
    actions = np.full(len(grid), NO_ACTION, np.int64)
    for number in range(1, max_steps + 1):
        started = time.perf_counter()
        monitor.begin(number, max_steps)
        valuing = monitor.part("batch of windows", 0, VALUING_SHARE)
        applying = monitor.part("tile", VALUING_SHARE, 1)
        active = actions != stop
        values = smooth(windowed.values(image, actions, valuing), active, rows, columns)
        values[:, list(choice.left_out)] = FORBIDDEN_DB
        margins_db = step_margins_db(agent, number)
        shares = share_out(values, active, margins_db)
        actions = shares.argmax(axis=1)
        apply_locally_(tools, shares.reshape(rows, columns, -1), image, down, across, applying)
        expected_db = float((shares * values)[active].sum(axis=1).mean(dtype=np.float64))
        means, spread = values[active].mean(axis=0, dtype=np.float64), shares.mean(axis=0, dtype=np.float64)
        margin_db = margins_db[means[:-1].argmax()]
        step = _step(tools, agent, means, spread, expected_db, margin_db, started)
        names = (*tools.names, STOP_NAME)
        yield image, replace(step, regions=Regions(names, shares.reshape(rows, columns, -1)))
        if (actions == stop).all():
            return


def step_margins_db(agent: Agent, number: int) -> Floats:
    """Return `(N,)`, by the tool that is valued most in a step, from 1, what its value must exceed."""
    margins = agent.start_margins_db if number == 1 else (agent.stop_margin_db,) * (agent.actions - 1)
    return np.array(margins, np.float32)


def best_action(values: NDArray[np.floating], margin_db: float) -> int:
    """Return the action of an agent with these values: `(N + 1,)`, stop last.

    Args:
        values: Of every action, stop's being 0.
        margin_db: A tool's value must be higher than this; else the action is stop.
    """
    tool = int(values[:-1].argmax())
    return tool if values[tool] > margin_db else len(values) - 1


def share_out(values: Floats, active: NDArray[np.bool_], margins_db: Floats) -> Floats:
    """Decide how much each action counts in each window.

    A window of whose tools none is expected to gain enough is left alone. In any other the best two that are
    share it: the second counts less by a factor e for every `SHARING_DB` that it is behind. The values are
    estimates, and tools so close in value err in different directions, one leaving noise where the other
    smooths too much; their mean errs less than the better one would, and where the degradation changes
    slowly, one tool fades into the next.

    Args:
        values: `(windows, tools + 1)` expected gains in dB, stop last.
        active: `(windows,)`; a window that has stopped stays alone.
        margins_db: `(tools,)`, by the best tool of a window, what is enough there.

    Returns:
        `(windows, tools + 1)` weights in [0, 1]; every row sums to 1.
    """
    best = np.argsort(-values[:, :-1], axis=1, kind="stable")[:, :SHARING]
    gains_db = np.take_along_axis(values, best, axis=1)
    weights = np.exp((gains_db - gains_db[:, :1]) / SHARING_DB)
    weights = weights * ((gains_db > margins_db[best[:, :1]]) & active[:, None])
    weights /= weights.sum(axis=1, keepdims=True).clip(min=1)  # the best alone weighs 1
    shares = np.zeros_like(values)
    np.put_along_axis(shares, best, weights, axis=1)
    shares[:, -1] = weights.sum(axis=1) == 0
    return shares


def apply_tool_(tools: Tools, action: int, image: Floats, follow: Follow = iter) -> Floats:
    """Apply one tool to `(1, 3, H, W)` of any size in bounded memory, as if it had been applied in one go.

    Args:
        tools: The tools.
        action: The tool.
        image: `(1, 3, H, W)`; it is changed, and returned.
        follow: Passes the tiles on, and follows how many are done.
    """
    return apply_tiled_(
        lambda part: tools.apply(action, part), image, TILE, tools.radii[action], follow=follow
    )


def apply_locally_(
    tools: Tools, shares: Floats, image: Floats, down: Floats, across: Floats, follow: Follow = iter
) -> Floats:
    """Apply to each region its own tools, and blend: the image plus every tool's weighted correction.

    In each tile only those tools run that have a weight in it.

    Args:
        tools: The tools.
        shares: `(rows, columns, tools + 1)` how much each action counts in each window.
        image: `(1, 3, H, W)`; it is changed, and returned.
        down: `(H, rows)` blending weights.
        across: `(W, columns)` blending weights.
        follow: Passes the tiles on, and follows how many are done.
    """
    used = [action for action in range(len(tools.names)) if shares[..., action].any()]
    for tile, part in read_tiles(image, LOCAL_TILE, max(tools.radii), follow=follow):
        _, rows, columns = tile.kept
        above, beside = down[rows], across[columns]
        near = np.ix_(above.any(axis=0), beside.any(axis=0))  # the windows that reach into the tile
        above, beside = above[:, near[0].ravel()], beside[:, near[1].ravel()]
        for action in used:
            # By einsum, for a BLAS with threads of its own would be in the way of the tools' threads.
            fade = np.einsum("hr,rc->hc", above, shares[..., action][near])
            weights = np.einsum("hc,wc->hw", fade, beside)
            if weights.any():
                correction = (tools.apply(action, part) - part)[tile.inner]
                correction *= weights
                image[tile.kept] += correction
    return image


def blending_weights(length: int, starts: Sequence[int], size: int) -> Floats:
    """Return along one axis how much each window counts at each pixel.

    A raised cosine over each window, divided by the sum over all windows.

    Args:
        length: Pixels along the axis.
        starts: Where the windows begin.
        size: Length of a window.

    Returns:
        `(length, windows)` weights in [0, 1]; every row sums to 1.
    """
    inside = np.arange(length)[:, None] - np.array(starts)[None, :]  # (length, windows)
    bumps = np.square(np.sin((inside + 0.5) * np.pi / size)) * ((inside >= 0) & (inside < size))
    weights: Floats = (bumps / bumps.sum(axis=1, keepdims=True)).astype(np.float32)
    return weights


def smooth(values: Floats, active: NDArray[np.bool_], rows: int, columns: int) -> Floats:
    """Average each window's values with its eight neighbours', weighted 1-2-1 down and across.

    Args:
        values: `(rows * columns, actions)` in reading order.
        active: `(rows * columns,)`; a window that has stopped does not count.
        rows: Rows of windows.
        columns: Columns of windows.

    Returns:
        The same shape, 0 where no window near counts; beyond the border the outermost windows repeat.
    """
    counted = np.concatenate((values, np.ones_like(values[:, :1])), axis=1) * active[:, None]
    grid = np.pad(counted.reshape(rows, columns, -1), ((1, 1), (1, 1), (0, 0)), mode="edge")
    down = (grid[:-2] + 2 * grid[1:-1] + grid[2:]) / 4
    sums = ((down[:, :-2] + 2 * down[:, 1:-1] + down[:, 2:]) / 4).reshape(rows * columns, -1)
    averages: Floats = sums[:, :-1] / sums[:, -1:].clip(min=1 / 16)
    return averages


def _step(
    tools: Tools,
    agent: Agent,
    values: NDArray[np.float64],
    shares: NDArray[np.float64],
    expected_db: float,
    margin_db: float,
    started: float,
) -> TraceStep:
    """Return the record of a step.

    Args:
        tools: The tools.
        agent: The agent.
        values: `(tools + 1,)` expected gain of every action in dB, stop last.
        shares: `(tools + 1,)` how much of the photograph went to every action.
        expected_db: Expected gain of the actions taken.
        margin_db: What a tool had to exceed.
        started: When the step began, by `time.perf_counter`.
    """
    names, stop = (*tools.names, STOP_NAME), len(tools.names)
    used = sorted((action for action in range(len(names)) if shares[action]), key=lambda one: -shares[one])
    chosen = next((action for action in used if action != stop), stop)
    order = sorted(range(len(names)), key=lambda action: -values[action])
    others = [action for action in order if action != chosen and values[action] > FORBIDDEN_DB]
    # What a tool lacks for being chosen, so that none stands above a stop.
    margin = margin_db if chosen == stop else 0
    runners_up = tuple((names[action], float(values[action]) - margin) for action in others[:2])
    spread = tuple((names[action], float(shares[action])) for action in used)
    time_ms = 1000 * (time.perf_counter() - started)
    if not agent.values_in_db:
        return TraceStep(names[chosen], None, (), time_ms, shares=spread)
    return TraceStep(names[chosen], expected_db, runners_up, time_ms, shares=spread)
