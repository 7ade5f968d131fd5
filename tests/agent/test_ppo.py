import time
from collections.abc import Callable
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
SHIFT = 0.15


class Shift(nn.Module):
    """Adds a constant."""

    def __init__(self, amount: float) -> None:
        super().__init__()
        self.amount = amount

    def forward(self, images: Tensor) -> Tensor:
        return images + self.amount


@pytest.fixture(scope="module")
def toolbox() -> Toolbox:
    """Tool 0 brightens, tool 1 darkens, 2 stops."""
    specs = [ToolSpec(name, "noise", 0.0, 50.0, depth=3) for name in ("brighten", "darken")]
    return Toolbox(specs, family="toy", networks=[Shift(SHIFT), Shift(-SHIFT)])


def shifted_grey(count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Grain on grey that is too dark, right or too bright, a third each: one tool, or none, undoes it."""
    clean = 0.5 + 0.05 * torch.randn(count, 3, 63, 63, generator=generator)
    noisy = clean + 0.03 * torch.randn(clean.shape, generator=generator)
    which = torch.randint(-1, 2, (count, 1, 1, 1), generator=generator)
    return noisy + SHIFT * which, clean


def test_the_agent_learns_a_toy(toolbox: Toolbox) -> None:
    """A third of the patches gains nothing; the others gain 10 log10(1 + (0.15 / 0.03)²) = 14.15 dB."""
    settings = PpoSettings(steps=1152, episodes=32, rollout=6, batch=32, epochs=3, learning_rate=2e-3)
    before = Policy(2)
    policy = fit_ppo(toolbox, shifted_grey, settings, CPU)
    images, clean = shifted_grey(128, torch.Generator().manual_seed(9))
    untrained, trained = (measure_policy(p, toolbox, images, clean) for p in (before, policy))
    assert trained.oracle_db == pytest.approx(2 / 3 * 14.15, abs=1.2)
    assert trained.policy_db > 0.7 * trained.oracle_db
    assert trained.policy_db > untrained.policy_db + 5


def test_the_policy_is_ppos_actor(toolbox: Toolbox) -> None:
    """Along whole episodes, the policy's values are the actor's logits less that of stop."""
    model = make_ppo(toolbox, shifted_grey, PpoSettings(steps=1, episodes=2), CPU)
    policy, actor = actor_policy(model, tools=2), cast("Any", model.policy)
    generator = torch.Generator().manual_seed(0)
    states, hidden = policy.initial_state(2), policy.initial_state(2)
    states = states[0][None], states[1][None]  # stable-baselines3 keeps a dimension for layers
    with torch.no_grad():
        for last_action in torch.tensor([[-1, -1], [0, 1], [1, 1]]):
            images = torch.rand(2, 3, 63, 63, generator=generator)
            seen = {"image": images.flatten(1), "last_action": one_hot(last_action, actions=3)}
            distribution, states = actor.get_distribution(seen, states, torch.zeros(2))
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
    assert (
        infos[0]["episode"]["r"] < -80
    )  # 0.15 off instead of right: the monitor reports what was really lost


def test_training_stops_at_the_minute(toolbox: Toolbox) -> None:
    began = time.monotonic()
    policy = fit_ppo(toolbox, shifted_grey, PpoSettings(minutes=0.01, episodes=2, rollout=2), CPU)
    assert policy.tools == 2
    assert time.monotonic() - began < 30


def test_broken_numbers_stop_the_training(toolbox: Toolbox) -> None:
    settings = PpoSettings(steps=100, episodes=4, rollout=4, learning_rate=float("inf"))
    with pytest.raises(RlrestoreError, match="became NaN or infinite within"):
        fit_ppo(toolbox, shifted_grey, settings, CPU)


def test_training_on_photographs_yields_a_policy_and_a_report(
    make_photograph: Callable[..., NDArray[np.uint8]], toolbox: Toolbox
) -> None:
    bank = PhotoBank([make_photograph(128, 128)])
    threads = torch.get_num_threads()
    policy, report = train_ppo(
        bank, bank, toolbox, PpoSettings(steps=8, episodes=4, rollout=2, batch=8, epochs=1)
    )
    assert isinstance(policy, Policy)
    assert not policy.training
    assert np.isfinite(report.policy_db)
    assert torch.get_num_threads() == threads


@pytest.mark.parametrize("budget", [{}, {"minutes": 1.0, "steps": 5}])
def test_one_budget_is_needed(budget: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="expected either minutes or steps"):
        PpoSettings(**budget)
