import itertools
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from rlrestore.agent.measure import HeldOut
from rlrestore.agent.policy import Policy
from rlrestore.agent.ppo import PpoSettings, fit_ppo, make_ppo, take_actor, train_ppo
from rlrestore.envs.setup import one_hot
from rlrestore.errors import RlrestoreError
from rlrestore.imaging.patches import PhotoBank
from rlrestore.toolbox.specs import ToolSpec
from rlrestore.toolbox.toolbox import Toolbox
from rlrestore.toolbox.trainer import Budget

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
    """Nearly what the oracle gains; it takes every seed of four as far; 2304 steps are enough for some."""
    settings = PpoSettings(episodes=32, rollout=6, batch=64, epochs=8, learning_rate=3e-3)
    policy = Policy(2)
    pairs = stretched_grain(128, torch.Generator().manual_seed(9))
    held_out = HeldOut.of(toolbox, *pairs, policy.max_steps)
    untrained = held_out.measure(policy)
    spent = fit_ppo(policy, toolbox, stretched_grain, Budget(steps=3456), settings, unwatched)
    trained = held_out.measure(policy)
    assert spent["steps"] == 3456
    assert trained.oracle_db == pytest.approx(BY_HAND_DB, abs=1.2)
    assert trained.policy_db > 0.85 * trained.oracle_db
    assert trained.policy_db > trained.fixed_db + 3  # no collapse to one tool
    assert trained.policy_db > untrained.policy_db + 5


def test_the_policy_is_ppos_actor(toolbox: Toolbox) -> None:
    """Along whole episodes, the policy's values are the actor's logits less that of stop."""
    model = make_ppo(toolbox, stretched_grain, PpoSettings(episodes=2), CPU)
    policy, actor = Policy(2), cast("Any", model.policy)
    take_actor(policy, model)
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

    env = make_ppo(toolbox, clean, PpoSettings(episodes=3, worst_reward_db=-1.5), CPU).get_env()
    assert env is not None
    env.reset()
    _, rewards, dones, infos = env.step(np.array([0, 1, 2]))
    assert rewards.tolist() == [-1.5, -1.5, 0.0]
    assert dones.tolist() == [True, True, True]  # worse than its input, or stopped
    assert infos[0]["episode"]["r"] < -80  # the monitor reports what was really lost


def test_training_stops_at_the_minute(toolbox: Toolbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """At every look at the clock 10 s are over: a rollout of two steps takes 30 s, the fifth is the last."""
    looks = itertools.count(step=10)
    monkeypatch.setattr("rlrestore.agent.ppo.time", SimpleNamespace(monotonic=lambda: next(looks)))
    settings = PpoSettings(episodes=2, rollout=2)
    spent = fit_ppo(Policy(2), toolbox, stretched_grain, Budget(minutes=1), settings, unwatched)
    assert spent["steps"] == 5 * settings.episodes


def test_broken_numbers_stop_the_training(toolbox: Toolbox) -> None:
    settings = PpoSettings(episodes=4, rollout=4, learning_rate=float("inf"))
    with pytest.raises(RlrestoreError, match="became NaN or infinite within"):
        fit_ppo(Policy(2), toolbox, stretched_grain, Budget(steps=100), settings, unwatched)


def test_training_on_photographs_yields_a_report(
    make_photograph: Callable[..., NDArray[np.uint8]], toolbox: Toolbox, tmp_path: Path
) -> None:
    bank, policy = PhotoBank([make_photograph(128, 128)]), Policy(2)
    threads, before = torch.get_num_threads(), policy.level.weight.clone()
    settings = PpoSettings(episodes=4, rollout=2, batch=8, epochs=1)
    report, spent = train_ppo(policy, bank, bank, toolbox, tmp_path, Budget(steps=8), settings)
    assert not policy.training
    assert not torch.equal(policy.level.weight, before)
    assert np.isfinite(report.policy_db)
    assert (spent["steps"], spent["precision"]) == (8, "float32")
    assert torch.get_num_threads() == threads
