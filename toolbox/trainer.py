"""The loop that all trainings share: budget, checkpoints, resuming, interruption, divergence, memory.

A training (of a tool, of the agent, of both) does one step at a time and says what its state is; `Trainer`
does the rest, for all of them alike.
"""

import logging
import math
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol

import torch
from torch import Tensor

from rlrestore.errors import ModelError, RlrestoreError, UsageError
from rlrestore.toolbox import ranks
from rlrestore.toolbox.checkpoint import Checkpoint, TrainingState
from rlrestore.toolbox.logs import training_bar

CHECKPOINT_SECONDS = 60.0
CHECK_SECONDS = 2.0
"""Time between two checks of the metrics, for which the device is waited for."""
DIVERGED_DB = 6.0
"""A training whose mean gain falls by so much from one check to the next has diverged."""
MOST_ROLLBACKS = 3
WARM_UP_STEPS = 100
"""Over which the learning rate rises again where the moments of the optimiser were left behind."""

Start = Literal["new", "resume", "restart", "either"]
"""Whether a training may find a checkpoint: `new` refuses one, `resume` demands one and goes on from it,
`restart` deletes one, `either` goes on from one if it is there."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Budget:
    """How long a training takes, over all runs that resume it.

    Attributes:
        minutes: Wall-clock time of its steps; measuring and saving come on top. Or None.
        steps: Its steps. Or None; exactly one of the two is given.
    """

    minutes: float | None = None
    steps: int | None = None

    def __post_init__(self) -> None:
        if (self.minutes is None) == (self.steps is None):
            raise ValueError("expected either minutes or steps")

    def done(self, steps: int, seconds: float) -> float:
        """Return which share of it is used up, from 0 to 1."""
        if self.steps is not None:
            return min(1.0, steps / self.steps)
        return min(1.0, seconds / max(60 * (self.minutes or 0.0), 1e-3))


@dataclass(frozen=True)
class Moment:
    """Where in its course a training is.

    Attributes:
        done: Share of the budget that is used up, from 0 to 1.
        rate_factor: What the learning rate is to be multiplied by: halved after each divergence.
        attempt: Divergences so far; part of the seed of a step, which is to draw other patches than before.
    """

    done: float
    rate_factor: float = 1.0
    attempt: int = 0


class Training(Protocol):
    """What a `Trainer` drives.

    Attributes:
        name: What it is called: a tool's name, `agent` or `joint`.
        steps: Steps done so far.
        about: What a checkpoint must agree with to go on from it, as JSON values.
    """

    name: str
    steps: int
    about: dict[str, Any]

    def step(self, moment: Moment) -> Mapping[str, Tensor]:
        """Do one step, add to `steps`, and return its metrics: scalars, on any device."""
        ...

    def state(self) -> TrainingState:
        """Return all that is needed to go on."""
        ...

    def restore(self, progress: Mapping[str, Any], replay: Mapping[str, Tensor]) -> None:
        """Take `steps` and `counters` of a checkpoint, and its replay buffer, empty if it was left behind."""
        ...

    def shrink(self) -> bool:
        """Halve what is in memory at a time, after the device ran out of it; False if that is impossible."""
        ...


Watch = Callable[[int, float, Mapping[str, float]], None]
"""Takes steps and seconds so far and the mean metrics since the last call; its time is not counted."""


class Trainer:
    """Drives one training to the end of its budget.

    Attributes:
        training: What is trained.
        checkpoint: Where its state is written, every minute and at the end.
        seconds: Wall-clock time of its steps.
        slowest: Wall-clock time in seconds of the slowest of them but for the first of each run, which
            compiles.
        rollbacks: How often it diverged and went back.
    """

    def __init__(self, training: Training, checkpoint: Checkpoint, start: Start = "new") -> None:
        """Make a trainer, which goes on from the checkpoint if it is to.

        Args:
            training: What to train.
            checkpoint: Where its state is.
            start: Whether there may, must or must not be a checkpoint.

        Raises:
            UsageError: There is a checkpoint where none is expected, or none where one is.
            ModelError: The checkpoint is damaged or of another training.
        """
        self.training, self.checkpoint = training, checkpoint
        self.seconds, self.slowest, self.rollbacks, self._warm_up_left = 0.0, 0.0, 0, 0
        self._compiled = False
        found = checkpoint.exists()
        check_start(start, [checkpoint] if found else [], str(checkpoint.folder))
        if found and start == "restart":
            log.warning("%s: starting anew; its checkpoint is deleted", training.name)
            if ranks.rank() == 0:
                checkpoint.remove()
        elif found and start != "new":
            self.load()
            log.info("%s: going on from step %d", training.name, training.steps)
        ranks.meet()  # before one of them writes

    def load(self) -> None:
        """Go back to the checkpoint.

        Raises:
            ModelError: It is damaged or of another training.
        """
        check_about(self.checkpoint, self.training.about)
        progress, replay = self.checkpoint.load(self.training.state())
        self.training.restore(progress, replay)
        self.seconds, self.rollbacks = progress["seconds"], int(progress.get("rollbacks", 0))
        self.slowest = float(progress.get("slowest", 0.0))  # or a finished training would do one step more
        self._warm_up_left = 0 if progress["moments"] or not progress["steps"] else WARM_UP_STEPS

    def save(self) -> None:
        """Write the checkpoint, by rank 0."""
        progress = {
            "steps": self.training.steps,
            "seconds": self.seconds,
            "slowest": self.slowest,
            "rollbacks": self.rollbacks,
            "about": self.training.about,
        }
        state = self.training.state()
        state = replace(state, replay=ranks.gathered(state.replay))
        if ranks.rank() == 0:
            self.checkpoint.save(state, progress)

    def spent(self) -> dict[str, Any]:
        """Return what a card says of the training: its minutes, steps and precision."""
        precision = self.training.state().counters.get("precision")
        record: dict[str, Any] = {"minutes": round(self.seconds / 60, 1), "steps": self.training.steps}
        return record if precision is None else record | {"precision": precision}

    def run(self, budget: Budget, watch: Watch | None = None) -> None:
        """Train until the budget is used up, for one step at least if none was done before.

        Args:
            budget: How long, over all runs.
            watch: Called with the metrics every few seconds.

        Raises:
            RlrestoreError: It diverged too often; the checkpoint holds the last good state.
            KeyboardInterrupt: It was interrupted; the checkpoint holds the state after the last step.
        """
        training, previous_db, saved = self.training, -math.inf, time.monotonic()
        with (
            deferred_interrupt() as interrupted,
            training_bar(training.name, training.steps, budget.steps) as bar,
        ):
            ranks.take_first(training.state().weights.state_dict().values())
            self.seconds = ranks.agreed(self.seconds)[0]
            self.save()  # what to go back to
            while not self._is_over(budget) and not ranks.anywhere(interrupted()):
                metrics = self._steps_to_check(budget, interrupted)
                gain_db = metrics.get("gain_db", math.inf)
                if not all(map(math.isfinite, metrics.values())) or gain_db < previous_db - DIVERGED_DB:
                    self._roll_back(metrics)
                    continue
                previous_db = gain_db if "gain_db" in metrics else -math.inf
                bar.update(training.steps - bar.n)
                shown = [f"{name} {value:.3g}" for name, value in metrics.items()]
                if budget.minutes is not None:
                    shown.insert(0, f"{max(0.0, budget.minutes - self.seconds / 60):.1f} min to go")
                bar.set_postfix_str("  ".join(shown))
                if watch is not None:
                    watch(training.steps, self.seconds, metrics)
                if ranks.anywhere(time.monotonic() - saved > CHECKPOINT_SECONDS):
                    self.save()
                    saved = time.monotonic()
            self.save()
            if ranks.anywhere(interrupted()):
                log.warning("interrupted after %d steps; --resume goes on from there", training.steps)
                raise KeyboardInterrupt(f"interrupted after {training.steps} steps")

    def _is_over(self, budget: Budget) -> bool:
        if self.training.steps == 0:
            return False
        ahead = 0.0 if budget.minutes is None else self.slowest  # a step that would end too late is not begun
        return budget.done(self.training.steps, self.seconds + ahead) >= 1

    def _steps_to_check(self, budget: Budget, interrupted: Callable[[], bool]) -> dict[str, float]:
        """Take steps until the next check; return their mean metrics."""
        collected: list[Mapping[str, Tensor]] = []
        checked = time.monotonic()
        while True:
            began = time.monotonic()
            try:
                collected.append(self.training.step(self._moment(budget)))
            except torch.OutOfMemoryError as error:
                # Other ranks wait for the gradients of this step.
                if ranks.rank_count() > 1 or not self.training.shrink():
                    little = "process" if ranks.rank_count() > 1 else "single patch"
                    raise RlrestoreError(
                        f"{self.training.name}: the device has too little memory for a {little}"
                    ) from error
                log.warning("%s: out of memory; half as much at a time from now on", self.training.name)
            waited = time.monotonic() - checked > CHECK_SECONDS or interrupted()
            elapsed, enough = ranks.agreed(time.monotonic() - began, waited)
            self.seconds += elapsed
            if self._compiled:
                self.slowest = max(self.slowest, elapsed)
            self._compiled = bool(collected)
            if collected and (enough or self._is_over(budget)):
                break
        return ranks.mean_metrics(collected)

    def _moment(self, budget: Budget) -> Moment:
        done = budget.done(self.training.steps, self.seconds)
        factor = 0.5**self.rollbacks * (1 - self._warm_up_left / WARM_UP_STEPS)
        self._warm_up_left = max(0, self._warm_up_left - 1)
        return Moment(done, factor, self.rollbacks)

    def _roll_back(self, metrics: Mapping[str, float]) -> None:
        """Go back to the checkpoint, and on at half the rate with other patches.

        Raises:
            RlrestoreError: It did so too often.
        """
        rollbacks, steps = self.rollbacks + 1, self.training.steps
        shown = ", ".join(f"{name} {value:.3g}" for name, value in metrics.items())
        self.load()
        if rollbacks > MOST_ROLLBACKS:
            raise RlrestoreError(
                f"{self.training.name} diverged after {steps} steps ({shown}), {rollbacks} times in all; "
                f"{self.checkpoint.folder} holds the state of step {self.training.steps}: go on from it at a "
                "lower learning rate"
            )
        self.rollbacks = rollbacks
        log.warning(
            "%s diverged after %d steps (%s): back to step %d, and on at half the learning rate",
            self.training.name,
            steps,
            shown,
            self.training.steps,
        )
        self.save()


def check_start(start: Start, found: list[Checkpoint], place: str) -> None:
    """Check whether a training may begin as it is asked to.

    Args:
        start: What is asked for.
        found: The checkpoints that are there.
        place: Where they are, for the message.

    Raises:
        UsageError: It may not.
    """
    if start == "resume" and not found:
        raise UsageError(f"nothing to resume in {place}: expected a checkpoint there; leave out --resume")
    begun = [each for each in found if start == "new" and each.progress()["steps"]]
    if begun:
        raise UsageError(
            f"{begun[0].folder} holds a training of {begun[0].progress()['steps']} steps: --resume goes on "
            "with it, --restart deletes it and starts anew"
        )


def check_about(checkpoint: Checkpoint, about: Mapping[str, Any]) -> None:
    """Make sure that a checkpoint is of a training with this description.

    Raises:
        ModelError: It is of another one; the message names what differs, and nothing else.
    """
    given = checkpoint.progress().get("about")
    there = given if isinstance(given, dict) else {}
    differing = sorted(key for key in {*about, *there} if about.get(key) != there.get(key))
    if differing:
        words = "; ".join(f"{key}: expected {about.get(key)}, got {there.get(key)}" for key in differing)
        raise ModelError(
            f"{checkpoint.folder} is of another training ({words}); give the same options, or --restart"
        )


@contextmanager
def deferred_interrupt() -> Iterator[Callable[[], bool]]:
    """Let Ctrl-C and SIGTERM wait until a step is done; a second one ends the program at once.

    Yields:
        A function that tells whether one has come. In another thread than the main one it never does.
    """
    came: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return

    def note(number: int, _: object) -> None:
        if came:
            raise KeyboardInterrupt("interrupted twice")
        came.append(number)

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: bool(came)
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
