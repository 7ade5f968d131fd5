"""Deep Q-learning from the actions taken: its arithmetic, and that it learns."""

import math

import pytest
import torch
from torch import Tensor

from rlrestore.agent.dqn import TakenActions
from rlrestore.agent.measure import measure_policy
from rlrestore.agent.policy import Policy
from rlrestore.agent.replay import Kept
from rlrestore.agent.training import AgentSettings, AgentTrainer
from tests.agent.test_ppo import CPU, stretched_grain, stretchers


class Constant(Policy):
    """Values every tool at 1, whatever it sees."""

    def look(
        self, features: Tensor, last_action: Tensor, hidden: tuple[Tensor, Tensor]
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        values, hidden = super().look(features, last_action, hidden)
        return 0 * values + torch.tensor([1.0] * self.tools + [0.0]), hidden


def test_the_loss_by_hand() -> None:
    """Two steps: 3 dB and what follows, worth 1, by half; then 2 dB, of an episode that ends there."""
    policy = Constant(2)
    learning = TakenActions(discount=0.5)
    batch = Kept(
        {
            "seen": torch.zeros(1, 3, 27, 8, 8),
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
    settings = AgentSettings(steps=4_000, episodes=64, fits=30, batch=32, learning_rate=2e-3)
    trainer = AgentTrainer(policy, toolbox, stretched_grain, TakenActions(), settings, CPU)
    while trainer.steps < 4_000:
        metrics = trainer.round(trainer.steps / 4_000)
        assert math.isfinite(metrics["loss"])
    report = measure_policy(policy.eval(), toolbox, *stretched_grain(128, torch.Generator().manual_seed(9)))
    assert report.policy_db > 0.7 * report.oracle_db
