"""Deep Q-learning from the actions taken: its arithmetic, and that it learns."""

import math

import pytest
import torch
from torch import Tensor

from rlrestore.agent.dqn import TakenActions
from rlrestore.agent.measure import HeldOut
from rlrestore.agent.policy import Policy
from rlrestore.agent.replay import ReplayBuffer
from rlrestore.agent.training import AgentSettings, AgentTraining
from rlrestore.toolbox.trainer import Moment
from tests.agent.test_ppo import CPU, stretched_grain, stretchers


class Constant(Policy):
    """Values every tool at 1, whatever it sees."""

    def step(
        self, features: Tensor, last_action: Tensor, hidden: tuple[Tensor, Tensor]
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        values, hidden = super().step(features, last_action, hidden)
        return 0 * values + torch.tensor([1.0] * self.tools + [0.0]), hidden


def test_the_loss_by_hand() -> None:
    """Two steps: 3 dB and what follows, worth 1, by half; then 2 dB, of an episode that ends there."""
    policy = Constant(2)
    learning = TakenActions(discount=0.5)
    batch = ReplayBuffer(
        {
            "observations": torch.zeros(1, 3, 27, 8, 8),
            "last_actions": torch.tensor([[-1, 0, 2]]),
            "actions": torch.tensor([[0, 1, 2]]),
            "rewards_db": torch.tensor([[3.0, 2.0, 0.0]]),
            "alive": torch.tensor([[True, True, False]]),
        }
    )
    expected = ((1 - 3.5) ** 2 + (1 - 2) ** 2) / 2
    assert learning.loss(policy, batch)["value"].item() == pytest.approx(expected)


def test_the_agent_learns_a_toy() -> None:
    toolbox = stretchers()
    torch.manual_seed(0)
    policy = Policy(2)
    settings = AgentSettings(episodes=32, fits=20, batch=32, learning_rate=3e-3, precision=torch.float32)
    training = AgentTraining(policy, toolbox, stretched_grain, TakenActions(), settings, CPU)
    while training.steps < 1_500:
        metrics = training.step(Moment(training.steps / 1_500))
        assert math.isfinite(metrics["loss"])
    pairs = stretched_grain(128, torch.Generator().manual_seed(9))
    report = HeldOut.of(toolbox, *pairs, policy.max_steps).measure(policy)
    assert report.policy_db > 0.7 * report.oracle_db
