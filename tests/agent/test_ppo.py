import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from rlrestore.agent.measure import measure_policy
from rlrestore.agent.policy import Policy
from rlrestore.agent.ppo import PpoSettings, actor_policy, fit_ppo, make_ppo, train_ppo
from rlrestore.envs.setup import one_hot
from rlrestore.errors import RlrestoreError
from rlrestore.imaging.patches import PhotoBank
from rlrestore.toolbox.specs import ToolSpec
from rlrestore.toolbox.toolbox import Toolbox

CPU = torch.device("cpu")
FACTOR = 3.0


def unwatched(*_: object) -> None:
    """Watch nothing."""


class Stretch(nn.Module):
    """Multiplies the contrast about middle grey."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, images: Tensor) -> Tensor:
        return 0.5 + self.factor * (images - 0.5)


def stretchers() -> Toolbox:
    """Tool 0 raises the contrast, tool 1 lowers it, 2 stops."""
    specs = [ToolSpec(name, "noise", 0.0, 50.0, depth=3) for name in ("raise", "lower")]
    return Toolbox(specs, family="toy", networks=[Stretch(FACTOR), Stretch(1 / FACTOR)])


@pytest.fixture(scope="module")
def toolbox() -> Toolbox:
    return stretchers()


def stretched_grain(count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Grain, a little noisy, its contrast right, a third or three times of that, as likely each."""
    clean = 0.5 + 0.05 * torch.randn(count, 3, 63, 63, generator=generator)
    noisy = clean + 0.01 * torch.randn(clean.shape, generator=generator)
    exponent = torch.randint(-1, 2, (count, 1, 1, 1), generator=generator)
    return 0.5 + FACTOR**exponent * (noisy - 0.5), clean


BY_HAND_DB = sum(
    10 * np.log10(((factor - 1) ** 2 * 0.05**2 + factor**2 * 0.01**2) / 0.01**2) / 3 for factor in (1 / 3, 3)
)
"""What the right tool gains on average: it leaves the noise of 0.01; at the right contrast there is none."""


def test_the_agent_learns_a_toy(toolbox: Toolbox) -> None:
    settings = PpoSettings(steps=3072, episodes=32, rollout=6, batch=64, epochs=4, learning_rate=1e-3)
    before = Policy(2)
    policy = fit_ppo(toolbox, stretched_grain, settings, CPU, unwatched)
    images, clean = stretched_grain(128, torch.Generator().manual_seed(9))
    untrained, trained = (measure_policy(p, toolbox, images, clean) for p in (before, policy))
    assert trained.oracle_db == pytest.approx(BY_HAND_DB, abs=1.2)
    assert trained.policy_db > trained.fixed_db + 3  # no collapse to one tool
    assert trained.policy_db > untrained.policy_db + 5


def test_the_policy_is_ppos_actor(toolbox: Toolbox) -> None:
    """Along whole episodes, the policy's values are the actor's logits less that of stop."""
    model = make_ppo(toolbox, stretched_grain, PpoSettings(steps=1, episodes=2), CPU)
    policy, actor = actor_policy(model, tools=2), cast("Any", model.policy)
    generator = torch.Generator().manual_seed(0)
    states, hidden = policy.initial_state(2), policy.initial_state(2)
    states = states[0][None], states[1][None]  # stable-baselines3 keeps a dimension for layers
    with torch.no_grad():
        for last_action in torch.tensor([[-1, -1], [0, 1], [1, 1]]):
            images = torch.rand(2, 3, 63, 63, generator=generator)
            observations = {
                "image": policy.observe(images).flatten(1),
                "last_action": one_hot(last_action, actions=3),
            }
            distribution, states = actor.get_distribution(observations, states, torch.zeros(2))
            values, hidden = policy(images, last_action, hidden)
            log_probabilities = distribution.distribution.logits
            torch.testing.assert_close(
                values, log_probabilities - log_probabilities[:, 2:], atol=1e-5, rtol=1e-4
            )
            assert values[:, 2].tolist() == [0.0, 0.0]


def test_losses_beyond_the_floor_count_as_the_floor(toolbox: Toolbox) -> None:
    def clean(count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        patches = torch.rand(count, 3, 63, 63, generator=generator)
        return patches, patches

    env = make_ppo(toolbox, clean, PpoSettings(steps=1, episodes=3, worst_reward_db=-1.5), CPU).get_env()
    assert env is not None
    env.reset()
    _, rewards, dones, infos = env.step(np.array([0, 1, 2]))
    assert rewards.tolist() == [-1.5, -1.5, 0.0]
    assert dones.tolist() == [True, True, True]  # worse than its input, or stopped
    assert infos[0]["episode"]["r"] < -80  # the monitor reports what was really lost


def test_training_stops_at_the_minute(toolbox: Toolbox) -> None:
    began = time.monotonic()
    policy = fit_ppo(
        toolbox, stretched_grain, PpoSettings(minutes=0.01, episodes=2, rollout=2), CPU, unwatched
    )
    assert policy.tools == 2
    assert time.monotonic() - began < 30


def test_broken_numbers_stop_the_training(toolbox: Toolbox) -> None:
    settings = PpoSettings(steps=100, episodes=4, rollout=4, learning_rate=float("inf"))
    with pytest.raises(RlrestoreError, match="became NaN or infinite within"):
        fit_ppo(toolbox, stretched_grain, settings, CPU, unwatched)


def test_training_on_photographs_yields_a_policy_and_a_report(
    make_photograph: Callable[..., NDArray[np.uint8]], toolbox: Toolbox, tmp_path: Path
) -> None:
    bank = PhotoBank([make_photograph(128, 128)])
    threads = torch.get_num_threads()
    policy, report = train_ppo(
        bank, bank, toolbox, tmp_path, PpoSettings(steps=8, episodes=4, rollout=2, batch=8, epochs=1)
    )
    assert isinstance(policy, Policy)
    assert not policy.training
    assert np.isfinite(report.policy_db)
    assert torch.get_num_threads() == threads


@pytest.mark.parametrize("budget", [{}, {"minutes": 1.0, "steps": 5}])
def test_one_budget_is_needed(budget: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="expected either minutes or steps"):
        PpoSettings(**budget)
