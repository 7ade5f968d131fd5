"""Learning curves of training algorithms: the records of runs, their table and their plot."""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from experiments.presentation import (
    BLUE,
    GREEN,
    GREY,
    SKY,
    VERMILION,
    markdown_table,
    save_with_legend,
    style_axes,
)
from rlrestore.errors import DataError
from rlrestore.imaging.io.atomic import write_atomically

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ENOUGH = 0.95
"""Share of q's final return that counts as having learned."""
BASELINES_DIFFER_DB = 0.01
"""The oracles of two runs may differ by this through rounding; by more they had other tools or patches."""
MARGIN_DB = 0.2
"""Margin of the plot above the oracle, and below the worst final return or 0, that of no action."""
GRID = 200
HEAD = (
    "trained by",
    "runs",
    "return, dB",
    "over the fixed chain, dB",
    "regret, dB",
    "steps of the environment",
    "minutes to 95 % of q's return",
    "first-action entropy, nats",
)


@dataclass(frozen=True)
class Learner:
    """A training algorithm with its network.

    Attributes:
        label: Its name in the table and the plot.
        algo: `q`, `dqn` or `ppo`.
        network: A key of `rlrestore.agent.policy.POLICIES`.
        colour: In the plot, one per algorithm, distinguishable for colour-blind readers.
        style: Of the line in the plot, one per network.
        tried: Number of tools that `q` tries in a state; its default without it.
    """

    label: str
    algo: str
    network: str
    colour: str
    style: str
    tried: int | None = None


LEARNERS = {
    "q": Learner("q", "q", "spectral", BLUE, "-"),
    "q-all": Learner("q, all twelve tools tried", "q", "spectral", SKY, "-", tried=12),
    "dqn": Learner("dqn", "dqn", "spectral", VERMILION, "-"),
    "ppo": Learner("ppo", "ppo", "spectral", GREEN, "-"),
    "q-paper": Learner("q, the paper's network", "q", "paper", BLUE, "--"),
    "dqn-paper": Learner("dqn, the paper's network", "dqn", "paper", VERMILION, "--"),
}


@dataclass(frozen=True)
class Point:
    """An agent measured in the course of its training.

    Attributes:
        steps: Of the environment, so far.
        seconds: Of training, so far.
        return_db: Mean gain on the held-out patches.
        first_action_entropy: Of the first actions there, in nats.
    """

    steps: int
    seconds: float
    return_db: float
    first_action_entropy: float


@dataclass(frozen=True)
class Run:
    """One training from beginning to end.

    Attributes:
        learner: A key of `LEARNERS`.
        seed: Of the weights and the draws.
        setup: Settings that all compared runs share.
        oracle_db: Mean gain of the greedy oracle on the held-out patches.
        fixed_db: That of the best fixed chain.
        fixed_chain: The tools of that chain.
        curve: Measurements in the order of time; the last is the end.
    """

    learner: str
    seed: int
    setup: dict[str, Any]
    oracle_db: float
    fixed_db: float
    fixed_chain: tuple[str, ...]
    curve: tuple[Point, ...]

    def __post_init__(self) -> None:
        if self.learner not in LEARNERS:
            raise ValueError(f"expected one of {', '.join(LEARNERS)}, got {self.learner!r}")
        times = [point.seconds for point in self.curve]
        if not times or times[0] <= 0 or any(later <= earlier for earlier, later in pairwise(times)):
            raise ValueError(f"expected points at growing times above 0, got them at {times}")

    @property
    def end(self) -> Point:
        """The trained agent."""
        return self.curve[-1]

    def write(self, path: Path) -> None:
        """Write it as JSON."""
        write_atomically(path, (json.dumps(asdict(self), indent=1) + "\n").encode())

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read what `write` wrote.

        Raises:
            DataError: The file is something else.
        """
        try:
            content = json.loads(path.read_bytes())
            content["fixed_chain"] = tuple(content["fixed_chain"])
            content["curve"] = tuple(Point(**point) for point in content["curve"])
            return cls(**content)
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(
                f"{path}: expected a run of compare_learning.py, got {error}; move the file away"
            ) from error


def read_runs(folder: Path, setup: Mapping[str, Any]) -> dict[str, list[Run]]:
    """Read all runs of a folder, by learner in the order of `LEARNERS`, then by seed.

    Args:
        folder: Where the runs were written.
        setup: The settings that they must have.

    Raises:
        DataError: A file is something else, or a run cannot be compared with the others.
    """
    runs = sorted((Run.read(path) for path in folder.glob("*.json")), key=lambda run: run.seed)
    for run in runs:
        for name in run.setup.keys() | setup.keys():
            if run.setup.get(name) != setup.get(name):
                raise DataError(
                    f"{folder}: expected runs with {name} {setup.get(name)}, got {run.learner} of seed "
                    f"{run.seed} with {run.setup.get(name)}; give this comparison another --out"
                )
        if abs(run.oracle_db - runs[0].oracle_db) > BASELINES_DIFFER_DB:
            raise DataError(
                f"{folder}: expected runs with the same tools and patches, got greedy oracles of "
                f"{runs[0].oracle_db:.2f} and {run.oracle_db:.2f} dB; give this comparison another --out"
            )
    found = {key: [run for run in runs if run.learner == key] for key in LEARNERS}
    return {key: of_one for key, of_one in found.items() if of_one}


def seconds_to(curve: Sequence[Point], level_db: float) -> float:
    """Return when a curve first reaches a return, on straight lines between its points; infinity if never."""
    if curve[0].return_db >= level_db:
        return curve[0].seconds
    for before, after in pairwise(curve):
        if after.return_db >= level_db:
            share = (level_db - before.return_db) / (after.return_db - before.return_db)
            return before.seconds + share * (after.seconds - before.seconds)
    return math.inf


def learning_table(runs: dict[str, list[Run]]) -> str:
    """Return the final results of the runs as Markdown; `±` is half the range over the seeds."""
    rows: list[tuple[str, ...]] = [HEAD]
    level_db = ENOUGH * _mean([run.end.return_db for run in runs["q"]]) if "q" in runs else math.nan
    rows += [_row(LEARNERS[key].label, of_one, level_db) for key, of_one in runs.items()]
    one = next(iter(runs.values()))[0]
    chain = " → ".join(one.fixed_chain) or "no tool"
    return "\n".join(
        [
            markdown_table(rows),
            "",
            f"Greedy oracle {one.oracle_db:.2f} dB; best fixed chain {one.fixed_db:.2f} dB ({chain}). "
            f"Setup: {', '.join(f'{name} {value}' for name, value in one.setup.items())}. "
            "± is half the range over the seeds.",
        ]
    )


def _row(label: str, runs: list[Run], level_db: float) -> tuple[str, ...]:
    returns = [run.end.return_db for run in runs]
    times = [seconds_to(run.curve, level_db) / 60 for run in runs]
    reached = [minutes for minutes in times if math.isfinite(minutes)]
    if math.isnan(level_db):
        learned = "–"
    elif len(reached) < len(times):
        learned = f"reached by {len(reached)} of {len(times)}"
    else:
        learned = _spread(reached, 1)
    return (
        label,
        str(len(runs)),
        _spread(returns, 2),
        f"{_mean(returns) - _mean([run.fixed_db for run in runs]):+.2f}",
        f"{_mean([run.oracle_db for run in runs]) - _mean(returns):.2f}",
        f"{_mean([run.end.steps for run in runs]):,.0f}",
        learned,
        f"{_mean([run.end.first_action_entropy for run in runs]):.2f}",
    )


def _mean(numbers: Sequence[float]) -> float:
    return sum(numbers) / len(numbers)


def _spread(numbers: Sequence[float], digits: int) -> str:
    half = (max(numbers) - min(numbers)) / 2
    return f"{_mean(numbers):.{digits}f}" + (f" ± {half:.{digits}f}" if len(numbers) > 1 else "")


def on_grid(
    runs: Sequence[Run], position: Callable[[Point], float]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the curves of several runs at the same places, where all of them have been measured.

    Args:
        runs: R of them.
        position: Where a point lies, above 0.

    Returns:
        `(G,)` places, evenly spaced by their logarithms; `(R, G)` returns there in dB.
    """
    places = [np.log([position(point) for point in run.curve]) for run in runs]
    first, last = max(own[0] for own in places), min(own[-1] for own in places)
    grid = np.linspace(min(first, last), last, GRID)
    returns = [
        np.interp(grid, own, [point.return_db for point in run.curve])
        for own, run in zip(places, runs, strict=True)
    ]
    return np.exp(grid), np.stack(returns)


def plot_runs(runs: dict[str, list[Run]], path: Path) -> None:
    """Draw return against time and against steps: the mean over the seeds in a band from worst to best.

    Args:
        runs: By learner.
        path: The picture to write; its suffix says in which format.
    """
    from matplotlib.figure import Figure  # drawn without pyplot: no window, no global state

    figure = Figure(figsize=(11, 5), layout="constrained")
    time_axes, steps_axes = figure.subplots(1, 2, sharey=True)
    _draw(time_axes, runs, lambda point: point.seconds / 60)
    _draw(steps_axes, runs, lambda point: point.steps)
    time_axes.set(xlabel="training time, minutes", ylabel="return on held-out patches, dB")
    steps_axes.set(xlabel="steps of the environment", xscale="log")
    time_axes.set_xlim(left=0)
    every = [run for of_one in runs.values() for run in of_one]
    lowest = min(0.0, *(run.end.return_db for run in every))
    time_axes.set_ylim(lowest - MARGIN_DB, every[0].oracle_db + MARGIN_DB)
    _name_levels(steps_axes, every[0])
    save_with_legend(figure, time_axes, path)


def _draw(axes: "Axes", runs: dict[str, list[Run]], position: Callable[[Point], float]) -> None:
    for key, of_one in runs.items():
        learner = LEARNERS[key]
        places, returns = on_grid(of_one, position)
        mean = returns.mean(axis=0)
        axes.fill_between(
            places, returns.min(axis=0), returns.max(axis=0), color=learner.colour, alpha=0.15, linewidth=0
        )
        axes.plot(places, mean, learner.style, color=learner.colour, label=learner.label)
        axes.plot(places[-1], mean[-1], "o", color=learner.colour, markersize=4)
    one = next(iter(runs.values()))[0]
    for level_db in (one.oracle_db, one.fixed_db, 0.0):
        axes.axhline(level_db, color=GREY, linestyle=":", linewidth=1)
    style_axes(axes)


def _name_levels(axes: "Axes", run: Run) -> None:
    """Label the dotted lines, on the left, where no curve is near."""
    for level_db, name in (
        (run.oracle_db, "greedy oracle"),
        (run.fixed_db, "best fixed chain"),
        (0.0, "input"),
    ):
        axes.annotate(
            name,
            (0.01, level_db),
            xycoords=axes.get_yaxis_transform(),
            xytext=(0, 2),
            textcoords="offset points",
            color=GREY,
            fontsize="small",
        )
