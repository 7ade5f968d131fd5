"""The toolchain on a whole photograph: one chain for all of it, or others for regions that differ."""

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from rlrestore.errors import ModelError
from rlrestore.imaging import PATCH
from rlrestore.imaging.progress import Follow, Monitor
from rlrestore.imaging.tiling import ALIGN, Region, Tile, apply_tiled_, read_tiles
from rlrestore.inference.choice import FREE, Choice
from rlrestore.inference.labelling import STOPPED, best_action, choose_actions, divide
from rlrestore.inference.regions import Regions
from rlrestore.inference.windows import WindowedAgent, WindowGrid
from rlrestore.runtime import Actions, Agent, Floats, Tools
from rlrestore.toolbox.specs import NO_ACTION
from rlrestore.trace import BY_HAND, STOP_NAME, TraceStep

STRIDE = 32
"""Pixels between windows: about half a window."""
GLOBAL_WINDOWS = 16, 1024
"""Windows at most in global mode, of a small and of a large photograph, evenly spread; in between, as many as
lie side by side. Their mean is known well before."""
CLOSE_WINDOWS = 128
"""Local mode follows all of so many windows without a first look at few."""
TILE = 512
"""Side in pixels of the tiles that a tool works on; bounds the memory."""
FORBIDDEN_DB = -1e4
"""The value of a tool that the agent must not choose."""
VALUING_SHARE = 0.2
"""About how much of a step's time the agent takes."""
SILENT = Monitor()

Chain = Iterator[tuple[Floats, TraceStep]]
"""The photograph `(1, 3, H, W)` after each step, the same array changed in place, and the step."""
Correction = tuple[Region, Floats, Callable[[], Floats]]
"""Where in what is read of a tile a tool was begun, its weights there, `(h, w)`, and what waits for it."""


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
    for step in common_chain(tools, agent, [image], max_steps, monitor, choice):
        yield image, step


def common_chain(
    tools: Tools,
    agent: Agent,
    images: Sequence[Floats],
    max_steps: int,
    monitor: Monitor = SILENT,
    choice: Choice = FREE,
) -> Iterator[TraceStep]:
    """Apply one tool at a time to several images alike, as to frames of one scene.

    Args: as in `global_chain`, but for
        images: `(1, 3, H, W)` each, of one size; they are changed.

    Yields:
        Every step after it was taken.
    """
    grid = _sampling_grid(*images[0].shape[-2:])
    agents = [WindowedAgent(agent, grid) for _ in images]
    action, stop = NO_ACTION, len(tools.names)
    for number in range(1, max_steps + 1):
        started = time.perf_counter()
        monitor.begin(number, max_steps)
        valuing = monitor.part("batch of windows", 0, VALUING_SHARE)
        applying = monitor.part("tile", VALUING_SHARE, 1)
        last_actions = np.full(len(grid), action, np.int64)
        found = [one.values(image, last_actions, valuing) for one, image in zip(agents, images, strict=True)]
        values = np.concatenate(found).mean(axis=0, dtype=np.float64)
        values[list(choice.left_out)] = FORBIDDEN_DB
        by_hand = choice.action(number)
        margin_db = float(step_margins_db(agent, number)[values[:-1].argmax()])
        action = best_action(values, margin_db) if by_hand is None else by_hand
        if action != stop:
            for image in images:
                apply_tool_(tools, action, image, applying)
        shares = np.eye(stop + 1)[action]
        step = _step(tools, agent, values, shares, float(values[action]), margin_db, started)
        yield step if by_hand is None else replace(step, chosen_by=BY_HAND)
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
    """Let regions that need it follow their own chains, and blend where they meet.

    All of the photograph is one region at first, and follows the chain of global mode. In each step a region
    is divided only where that promises enough (`choose_actions`). A region that stopped is left as it is from
    then on. Where regions meet, a tool's work fades from the middles of its windows to those of the next.

    Args: as in `global_chain`.
    """
    monitor.begin(1, max_steps)
    grid, sampled = _local_grid(agent, image, choice, monitor.part("batch of windows", 0, 0))
    down = fading_weights(image.shape[-2], grid.tops, grid.size)
    across = fading_weights(image.shape[-1], grid.lefts, grid.size)
    windowed, stop = WindowedAgent(agent, grid), len(tools.names)
    actions, regions = np.full(sampled.shape, NO_ACTION, np.int64), np.zeros(sampled.shape, np.int64)
    for number in range(1, max_steps + 1):
        started = time.perf_counter()
        monitor.begin(number, max_steps)
        valuing = monitor.part("batch of windows", 0, VALUING_SHARE)
        applying = monitor.part("tile", VALUING_SHARE, 1)
        active = regions != STOPPED
        values = windowed.values(image, actions.ravel(), valuing, active.ravel())
        values = values.reshape(*sampled.shape, -1)
        values[..., list(choice.left_out)] = FORBIDDEN_DB
        margins_db = step_margins_db(agent, number)
        actions = choose_actions(values, margins_db, regions, sampled)
        apply_locally_(tools, actions, image, down, across, applying)
        shares = np.eye(stop + 1, dtype=np.float32)[actions]
        expected_db = float((values * shares).sum(axis=2)[sampled].mean(dtype=np.float64))
        means = values[sampled if active.all() else active].mean(axis=0, dtype=np.float64)
        spread, margin_db = shares.mean(axis=(0, 1), dtype=np.float64), margins_db[means[:-1].argmax()]
        step = _step(tools, agent, means, spread, expected_db, float(margin_db), started)
        yield image, replace(step, regions=Regions((*tools.names, STOP_NAME), shares))
        if (actions == stop).all():
            return
        regions = divide(regions, actions, stop)


def _local_grid(
    agent: Agent, image: Floats, choice: Choice, follow: Follow
) -> tuple[WindowGrid, NDArray[np.bool_]]:
    """Return the windows that local mode follows, and which of them global mode would average.

    In a large photograph these alone, unless a first look at them finds regions to tell apart: only then it
    is worth looking more closely.
    """
    height, width = image.shape[-2:]
    few, whole = _sampling_grid(height, width), WindowGrid.cover(height, width, PATCH, STRIDE)
    if len(whole) <= CLOSE_WINDOWS:
        return whole, whole.common(few)
    sampled, nothing = np.ones((len(few.tops), len(few.lefts)), bool), np.full(len(few), NO_ACTION, np.int64)
    values = WindowedAgent(agent, few).values(image, nothing, follow).reshape(*sampled.shape, -1)
    values[..., list(choice.left_out)] = FORBIDDEN_DB
    together = np.zeros(sampled.shape, np.int64)
    actions = choose_actions(values, step_margins_db(agent, 1), together, sampled)
    return (few, sampled) if (actions == actions[0, 0]).all() else (whole, whole.common(few))


def apply_tool_(tools: Tools, action: int, image: Floats, follow: Follow = iter) -> Floats:
    """Apply one tool to `(1, 3, H, W)` of any size in bounded memory, as if it had been applied in one go.

    Args:
        tools: The tools.
        action: The tool.
        image: `(1, 3, H, W)`; it is changed, and returned.
        follow: Passes the tiles on, and follows how many are done.
    """
    ahead = tools.pixels_ahead // TILE**2
    return apply_tiled_(
        partial(tools.begin, action), image, TILE, tools.radii[action], follow=follow, ahead=ahead
    )


def apply_locally_(
    tools: Tools, actions: Actions, image: Floats, down: Floats, across: Floats, follow: Follow = iter
) -> Floats:
    """Apply to each region its own tool, and blend: the image plus every tool's weighted correction.

    A tool runs on that part of a tile alone in which it has a weight; one that all share, as in global mode.

    Args:
        tools: The tools.
        actions: `(rows, columns)` the action of each window.
        image: `(1, 3, H, W)`; it is changed, and returned.
        down: `(H, rows)` blending weights.
        across: `(W, columns)` blending weights.
        follow: Passes the tiles on, and follows how many are done.
    """
    used = [int(action) for action in np.unique(actions)]
    if len(used) == 1:
        return image if used[0] == len(tools.names) else apply_tool_(tools, used[0], image, follow)
    used = [action for action in used if action != len(tools.names)]
    begun: deque[tuple[Tile, Floats, list[Correction]]] = deque()
    for tile, part in read_tiles(image, TILE, max(tools.radii[action] for action in used), follow=follow):
        _, rows, columns = tile.kept
        above, beside = down[rows], across[columns]
        near = np.ix_(above.any(axis=0), beside.any(axis=0))  # the windows that reach into the tile
        above, beside = above[:, near[0].ravel()], beside[:, near[1].ravel()]
        corrections: list[Correction] = []
        for action in used:
            # By einsum, for a BLAS with threads of its own would be in the way of the tools' threads.
            fade = np.einsum("hr,rc->hc", above, (actions[near] == action).astype(np.float32))
            weights = np.einsum("hc,wc->hw", fade, beside)
            if weights.any():
                seen = _seen_by(weights, tile.inner, tools.radii[action])
                corrections.append((seen, weights, tools.begin(action, part[seen])))
        begun.append((tile, part, corrections))
        if len(begun) > tools.pixels_ahead // TILE**2:
            _blend_(image, *begun.popleft())
    for each in begun:
        _blend_(image, *each)
    return image


def check_finite(model: str, image: Floats, gains_db: Sequence[float] = ()) -> None:
    """Make sure that a model has led to numbers alone.

    Args:
        model: Its name.
        image: What its tools made, of any shape.
        gains_db: What its agent expected.

    Raises:
        ModelError: One is a NaN or an infinity.
    """
    if not np.isfinite((image.min(), image.max(), *gains_db)).all():
        raise ModelError(
            f"expected finite numbers from the model {model!r}, got a NaN or an infinity; use another model"
        )


def _blend_(image: Floats, tile: Tile, part: Floats, corrections: Sequence[Correction]) -> None:
    """Add to a tile what tools make of it, each as far as it counts there.

    Args:
        image: `(1, 3, H, W)`; it is changed.
        tile: Where.
        part: What was read of the tile.
        corrections: Of each tool that counts there.
    """
    for seen, weights, wait in corrections:
        correction = np.zeros_like(part)
        correction[seen] = wait() - part[seen]
        image[tile.kept] += correction[tile.inner] * weights


def _seen_by(weights: Floats, inner: Region, radius: int) -> Region:
    """Return what a tool must see for the pixels of a tile that have a weight, counted inside what is read.

    Args:
        weights: `(h, w)` of the tile; some are above 0.
        inner: The tile inside what is read.
        radius: How far the tool sees.
    """
    spans = []
    for used, span in zip((weights.any(axis=1), weights.any(axis=0)), inner[1:], strict=True):
        places = np.flatnonzero(used) + span.start
        first = max(int(places[0]) - radius, 0)
        spans.append(slice(first - first % ALIGN, int(places[-1]) + 1 + radius))
    return ..., spans[0], spans[1]


def fading_weights(length: int, starts: Sequence[int], size: int) -> Floats:
    """Return along one axis how much each window counts at each pixel.

    A window's weight is 1 in its middle and falls like a raised cosine to 0 in the middle of the next.

    Args:
        length: Pixels along the axis.
        starts: Where the windows begin, ascending.
        size: Length of a window.

    Returns:
        `(length, windows)` weights in [0, 1]; every row sums to 1.
    """
    middles = np.array(starts) + (size - 1) / 2
    places = np.interp(np.arange(length), middles, np.arange(len(starts)))  # counted in windows
    away = np.abs(places[:, None] - np.arange(len(starts))).clip(max=1)
    weights: Floats = ((1 + np.cos(away * np.pi)) / 2).astype(np.float32)
    return weights


def _sampling_grid(height: int, width: int) -> WindowGrid:
    """Return the windows whose mean decides for a photograph: few of all that lie `STRIDE` apart."""
    fewest, most = GLOBAL_WINDOWS
    limit = min(max(height * width // PATCH**2, fewest), most)
    return WindowGrid.cover(height, width, PATCH, STRIDE, limit)


def step_margins_db(agent: Agent, number: int) -> Floats:
    """Return `(N,)`, by the tool that is valued most in a step, from 1, what its value must exceed."""
    margins = agent.start_margins_db if number == 1 else (agent.stop_margin_db,) * (agent.actions - 1)
    return np.array(margins, np.float32)


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
