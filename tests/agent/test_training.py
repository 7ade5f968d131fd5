"""The training of an agent for a trainer: exact resumption, a lost replay buffer, what it leaves behind."""

import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from rlrestore.agent import learn
from rlrestore.agent.dqn import TakenActions
from rlrestore.agent.learn import train_agent, untrained
from rlrestore.agent.policy import AnyPolicy, Policy
from rlrestore.agent.qlearning import TriedActions
from rlrestore.agent.replay import ReplayBuffer
from rlrestore.agent.training import REFILL_ROUNDS, AgentSettings, AgentTraining, Learning
from rlrestore.errors import ModelError
from rlrestore.imaging.patches import PhotoBank
from rlrestore.imaging.rewards import Reward
from rlrestore.toolbox import trainer
from rlrestore.toolbox.checkpoint import Checkpoint
from rlrestore.toolbox.specs import TOOLS
from rlrestore.toolbox.toolbox import Toolbox
from rlrestore.toolbox.trainer import Budget, Moment, Trainer
from tests.agent.test_qlearning import CPU, Lower, raised_channels, toy_toolbox

TINY = AgentSettings(episodes=8, fits=3, batch=4, capacity=12, precision=torch.float32)
ROUND = 24
"""Steps of the environment in a round: eight episodes of three."""


def training_of(learning: Learning, settings: AgentSettings = TINY, channels: str = "012") -> AgentTraining:
    """Return a training on toy tools that begins with the same weights every time."""
    torch.manual_seed(5)
    toolbox = toy_toolbox([Lower(int(channel)) for channel in channels])
    return AgentTraining(Policy(toolbox.stop), toolbox, raised_channels, learning, settings, CPU)


@pytest.mark.parametrize("learning", [TriedActions, TakenActions])
def test_a_resumed_training_is_the_uninterrupted_one(
    learning: Callable[[], Learning], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Interrupted after two rounds of four, when the replay buffer has just overflowed."""
    monkeypatch.setattr(trainer, "CHECK_SECONDS", -1.0)
    rounds: list[int] = []

    def interrupt(steps: int, *_: object) -> None:
        rounds.append(steps)
        if len(rounds) == 2:
            signal.raise_signal(signal.SIGINT)

    whole, cut, resumed = (training_of(learning()) for _ in range(3))
    budget = Budget(steps=4 * ROUND)
    Trainer(whole, Checkpoint(tmp_path / "whole")).run(budget)
    with pytest.raises(KeyboardInterrupt, match="interrupted after"):
        Trainer(cut, Checkpoint(tmp_path / "cut")).run(budget, interrupt)
    assert cut.steps == rounds[-1] < whole.steps
    Trainer(resumed, Checkpoint(tmp_path / "cut"), "resume").run(budget)
    assert whole.steps == resumed.steps
    assert kept(whole) == TINY.capacity
    assert whole.buffer is not None
    assert resumed.buffer is not None
    for name, column in whole.buffer.columns.items():
        assert torch.equal(column, resumed.buffer[name]), name
    for name, weight in whole.policy.state_dict().items():
        assert torch.equal(weight, resumed.policy.state_dict()[name]), name


def kept(training: AgentTraining) -> int:
    """Return how many episodes are in the replay buffer."""
    return 0 if training.buffer is None else len(training.buffer)


@dataclass
class Recorded:
    """Learns from several actions, and notes what it does."""

    reward: Reward = field(default="psnr", repr=False)
    done: list[str] = field(default_factory=list, repr=False)

    def collect(self, *args: Any) -> tuple[ReplayBuffer, int]:
        self.done.append("collect")
        return TriedActions().collect(*args)

    def loss(self, policy: AnyPolicy, batch: ReplayBuffer) -> dict[str, Tensor]:
        self.done.append("fit")
        return TriedActions().loss(policy, batch)


def test_a_replay_buffer_that_was_left_behind_is_filled_before_fitting(tmp_path: Path) -> None:
    settings = AgentSettings(episodes=2, fits=3, batch=4, precision=torch.float32)
    Trainer(training_of(Recorded(), settings), Checkpoint(tmp_path)).run(Budget(steps=1))
    (tmp_path / "replay.safetensors").unlink()
    learning = Recorded()
    training = training_of(learning, settings)
    Trainer(training, Checkpoint(tmp_path), "resume")
    assert training.steps == 6
    assert kept(training) == 0
    training.step(Moment(0.5))
    assert learning.done == ["collect"] * REFILL_ROUNDS + ["fit"] * 3
    assert kept(training) == 2 * REFILL_ROUNDS
    assert training.steps == 6 + 6 * REFILL_ROUNDS
    training.step(Moment(0.5))
    assert learning.done[-4:] == ["collect", "fit", "fit", "fit"]
    assert kept(training) == 2 * REFILL_ROUNDS + 2


def test_a_checkpoint_of_another_training_is_refused(tmp_path: Path) -> None:
    """Other tools, or another way to learn: what differs is named, and nothing else."""
    Trainer(training_of(TriedActions()), Checkpoint(tmp_path)).save()
    others = (
        (training_of(TriedActions(), channels="01"), r"tools: expected \['tool-0', 'tool-1'\], got \[.*\]"),
        (training_of(TriedActions(discount=0.5)), r"learning: expected .*discount=0.5.*, got .*"),
        (training_of(TriedActions(), AgentSettings(seed=7)), "seed: expected 7, got 0"),
    )
    for other, words in others:
        with pytest.raises(ModelError, match=rf"is of another training \({words}\); give the same"):
            Trainer(other, Checkpoint(tmp_path), "resume")


def test_half_as_many_episodes_down_to_one() -> None:
    """What a device without memory for a round is asked for."""
    training = training_of(TriedActions())
    assert training.shrink()
    assert (training.settings.episodes, training.settings.batch) == (4, 2)
    assert training.shrink()
    assert not training.shrink()


def test_a_whole_training_leaves_a_checkpoint_a_log_and_a_report(
    make_photograph: Callable[..., NDArray[np.uint8]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(learn, "PRETRAINING_ROUNDS", 1)
    monkeypatch.setattr(learn, "VALIDATION_EPISODES", 8)
    bank = PhotoBank([make_photograph(128, 128, seed) for seed in range(2)])
    toolbox = Toolbox(TOOLS[4:6]).requires_grad_(False)
    settings = AgentSettings(episodes=4, fits=1, batch=4)
    policy = untrained(Policy, TOOLS[:2], seed=0)
    report, done = train_agent(
        policy, TriedActions(), bank, bank, toolbox, tmp_path, Budget(steps=12), settings
    )
    assert report.policy_db == report.oracle_db == 0  # untrained tools change nothing
    assert done.spent()["steps"] == 12
    assert Checkpoint(tmp_path / "training" / "agent").progress()["steps"] == 12
    assert list((tmp_path / "training" / "agent" / "log").glob("events*"))


def test_the_last_measurement_is_logged_at_the_last_step(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO"), learn.logged(tmp_path, lambda: {"return_db": 1.5}, 3) as watch:
        watch(7, 0.0, {"loss": 0.1})
    assert caplog.messages[-1] == "7 steps: return_db 1.5"
