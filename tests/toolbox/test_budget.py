"""How long a training takes: in steps, or in minutes by a clock that the tests set."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from rlrestore.toolbox import trainer as trainer_module
from rlrestore.toolbox.checkpoint import Checkpoint
from rlrestore.toolbox.trainer import Budget, Trainer
from tests.toolbox.test_trainer import Descent


@pytest.fixture
def checkpoint(tmp_path: Path) -> Checkpoint:
    return Checkpoint(tmp_path / "training" / "descent")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time in seconds by which trainings go here, which the tests set."""
    now = [100.0]
    monkeypatch.setattr(trainer_module, "time", SimpleNamespace(monotonic=lambda: now[0]))
    return now


def lasting(clock: list[float], first_s: float, others_s: float) -> Descent:
    """Return a training whose steps take so long."""
    training = Descent()

    def wait(step: int) -> None:
        clock[0] += others_s if step else first_s

    training.disturb = wait
    return training


def test_either_minutes_or_steps() -> None:
    for both in ({}, {"minutes": 1.0, "steps": 3}):
        with pytest.raises(ValueError, match="expected either minutes or steps"):
            Budget(**both)  # type: ignore[arg-type]  # of two types
    assert Budget(steps=8).done(2, 1e9) == 0.25
    assert Budget(minutes=2).done(10**9, 30.0) == 0.25


def test_the_share_that_is_done_grows_to_the_end(checkpoint: Checkpoint) -> None:
    training = Descent()
    Trainer(training, checkpoint).run(Budget(steps=4))
    assert [moment.done for moment in training.moments] == [0.0, 0.25, 0.5, 0.75]
    assert {moment.rate_factor for moment in training.moments} == {1.0}


def test_it_stops_before_the_minute_is_over(checkpoint: Checkpoint, clock: list[float]) -> None:
    """An eighth step would end at 64 s."""
    trainer = Trainer(lasting(clock, 8, 8), checkpoint)
    trainer.run(Budget(minutes=1))
    assert (trainer.training.steps, trainer.seconds) == (7, 56)


def test_a_training_whose_minutes_are_over_takes_no_step_more(
    checkpoint: Checkpoint, clock: list[float]
) -> None:
    """The last step that would have ended too late is not made up for by a resumed one."""
    budget, training, again = Budget(minutes=1), lasting(clock, 25, 25), lasting(clock, 25, 25)
    Trainer(training, checkpoint).run(budget)
    Trainer(again, checkpoint, "resume").run(budget)
    assert again.steps == training.steps == 2


def test_a_first_step_that_compiles_does_not_end_a_training(
    checkpoint: Checkpoint, clock: list[float]
) -> None:
    """After its 40 s nine steps of 2 s are sure to end within the minute, as it did not."""
    training = lasting(clock, 40, 2)
    Trainer(training, checkpoint).run(Budget(minutes=1))
    assert training.steps == 1 + 9
