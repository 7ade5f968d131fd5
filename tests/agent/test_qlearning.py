"""The agent must learn: two toys with a known best, and the arithmetic of the loss."""

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from rlrestore.agent.measure import PolicyReport, fixed_chain, measure_policy, oracle_return
from rlrestore.agent.policy import Hidden, Policy
from rlrestore.agent.qlearning import Episodes, collect, join, value_loss, values_of
from rlrestore.agent.training import AgentSettings, QTrainer, train_q
from rlrestore.envs.sources import PairSource
from rlrestore.envs.transition import start
from rlrestore.errors import RlrestoreError
from rlrestore.imaging.patches import PhotoBank
from rlrestore.toolbox.specs import TOOLS, ToolSpec
from rlrestore.toolbox.toolbox import Toolbox

SIDE = 31
GRAIN = 0.05
CPU = torch.device("cpu")


def toy_toolbox(networks: list[nn.Module]) -> Toolbox:
    specs = [ToolSpec(f"tool-{index}", "noise", 0.0, 50.0, depth=3) for index in range(len(networks))]
    return Toolbox(specs, family="toy", networks=networks)


def grain(count: int, generator: torch.Generator) -> Tensor:
    return GRAIN * torch.randn(count, 3, SIDE, SIDE, generator=generator)


class Lower(nn.Module):
    """Takes 0.3 from one channel."""

    def __init__(self, channel: int) -> None:
        super().__init__()
        self.amount = 0.3 * torch.eye(3)[channel][:, None, None]

    def forward(self, images: Tensor) -> Tensor:
        return images - self.amount


def raised_channels(count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Each channel is raised by 0.3 with probability 1/2, which tool k undoes exactly; the grain remains."""
    clean = 0.4 + grain(count, generator)
    raised = torch.randint(2, (count, 3, 1, 1), generator=generator)
    return clean + grain(count, generator) + 0.3 * raised, clean


class Unveil(nn.Module):
    """Takes the veil away, and the mark in the corner with it."""

    def forward(self, images: Tensor) -> Tensor:
        unveiled = torch.where(veiled(images), images - 0.3, images)
        unveiled[..., :8, :8] = 0.4
        return unveiled


class Paint(nn.Module):
    """Shifts the lower half, if nothing veils it."""

    def __init__(self, amount: float) -> None:
        super().__init__()
        self.amount = amount

    def forward(self, images: Tensor) -> Tensor:
        painted = images.clone()
        painted[..., SIDE // 2 :, :] += self.amount
        return torch.where(veiled(images), images, painted)


def veiled(images: Tensor) -> Tensor:
    return images.mean(dim=(1, 2, 3), keepdim=True) > 0.55


def marked(count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """A veiled picture whose lower half is 0.1 off: only a mark tells which way, and the veil takes it."""
    clean = 0.4 + grain(count, generator)
    sign = 2.0 * torch.randint(2, (count, 1, 1, 1), generator=generator) - 1
    clean[..., SIDE // 2 :, :] += 0.1 * sign
    degraded = 0.4 + grain(count, generator) + 0.3
    degraded[..., :8, :8] += 0.25 * sign
    return degraded, clean


def train(toolbox: Toolbox, source: PairSource, steps: int, max_steps: int) -> Policy:
    torch.manual_seed(0)
    policy = Policy(toolbox.stop, SIDE, max_steps)
    settings = AgentSettings(steps=steps, episodes=64, fits=20, learning_rate=2e-3)
    trainer = QTrainer(policy, toolbox, source, settings, CPU)
    while trainer.steps < steps:
        trainer.round(trainer.steps / steps)
    return trainer.policy.eval()


def measure(policy: Policy, toolbox: Toolbox, source: PairSource) -> PolicyReport:
    return measure_policy(policy, toolbox, *source(256, torch.Generator().manual_seed(99)))


def test_the_agent_learns_which_tool_undoes_what() -> None:
    """Oracle by hand: from k raised channels (error k·0.03) to the grain (0.0025)."""
    toolbox = toy_toolbox([Lower(channel) for channel in range(3)])
    began = time.process_time()
    policy = train(toolbox, raised_channels, steps=4_000, max_steps=3)
    assert time.process_time() - began < 60
    report = measure(policy, toolbox, raised_channels)
    by_hand = sum(
        weight * 10 * np.log10(1 + k * 0.03 / 0.0025) for k, weight in ((1, 3 / 8), (2, 3 / 8), (3, 1 / 8))
    )
    assert report.oracle_db == pytest.approx(by_hand, abs=0.6)
    assert report.policy_db > 0.95 * report.oracle_db
    assert report.policy_db > report.fixed_db + 3


class Forgetful(Policy):
    """The same network, its memory emptied before every look."""

    def look(self, features: Tensor, last_action: Tensor, hidden: Hidden) -> tuple[Tensor, Hidden]:
        values, _ = super().look(features, last_action, self.initial_state(len(features)))
        return values, hidden


def test_only_a_memory_solves_the_second_toy() -> None:
    """With its memory the agent does what the oracle does; emptied, it must guess the second tool."""
    toolbox = toy_toolbox([Unveil(), Paint(0.1), Paint(-0.1)])
    policy = train(toolbox, marked, steps=4_000, max_steps=2)
    forgetful = Forgetful(toolbox.stop, SIDE, max_steps=2)
    forgetful.load_state_dict(policy.state_dict())
    report = measure(policy, toolbox, marked)
    assert report.policy_db > 0.95 * report.oracle_db
    assert measure(forgetful, toolbox, marked).policy_db < 0.9 * report.oracle_db


def test_the_best_fixed_chain_and_the_oracle() -> None:
    """All channels raised: every chain of the three tools is as good as the oracle."""
    toolbox = toy_toolbox([Lower(channel) for channel in range(3)])
    generator = torch.Generator().manual_seed(0)
    clean = 0.4 + grain(8, generator)
    state = start(clean + 0.3 + 0.01, clean)
    gain, chain = fixed_chain(toolbox, state, max_steps=4)
    assert sorted(chain) == [0, 1, 2]
    assert gain == pytest.approx(20 * np.log10(0.31 / 0.01), abs=1e-2)
    assert oracle_return(toolbox, state, max_steps=4).mean().item() == pytest.approx(gain, abs=1e-2)


def test_targets_are_rewards_where_nothing_follows() -> None:
    """One step: the value of tool k is its reward; stop's is 0; a harmful tool's is cut off at -2 dB."""
    toolbox = toy_toolbox([Lower(channel) for channel in range(3)])

    def first_channel(count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        clean = 0.4 + torch.zeros(count, 3, SIDE, SIDE)
        return clean + torch.tensor([0.31, 0.01, 0.01])[:, None, None], clean

    policy = Policy(3, SIDE, max_steps=1)
    episodes = collect(policy, toolbox, first_channel, 4, 0.5, 1.0, torch.Generator().manual_seed(0))
    reward = 10 * np.log10((0.31**2 + 2e-4) / 3e-4)
    assert episodes.values_db[0, 0].tolist() == pytest.approx([reward, -2, -2, 0], abs=1e-3)
    assert episodes.last_actions.tolist() == [[-1]] * 4


def test_the_loss_by_hand() -> None:
    """Two actions of one value: all that they share weighs half, all that parts them weighs fully."""
    targets = torch.zeros(1, 2)
    assert float(value_loss(torch.tensor([[0.4, 0.4]]), targets)) == pytest.approx(0.5 * 0.16)
    assert float(value_loss(torch.tensor([[0.4, -0.4]]), targets)) == pytest.approx(0.16)


def test_the_newest_episodes_are_kept() -> None:
    def episodes(first: int, count: int) -> Episodes:
        numbers = torch.arange(first, first + count)
        return Episodes(
            numbers.byte()[:, None, None, None, None], numbers[:, None], numbers[:, None, None].float()
        )

    kept = join(episodes(0, 4), episodes(4, 3), capacity=5)
    assert kept.last_actions.flatten().tolist() == [2, 3, 4, 5, 6]


def test_values_along_kept_episodes_are_those_of_playing() -> None:
    """What is fitted is what acts, to the rounding of the kept bytes."""
    toolbox = toy_toolbox([Lower(0)])
    policy = Policy(1, SIDE, max_steps=2)
    images = torch.full((1, 3, SIDE, SIDE), 200 / 255)
    first, hidden = policy(images, torch.tensor([-1]), policy.initial_state(1))
    after = toolbox.apply_tool(0, images)
    second, _ = policy(after, torch.tensor([0]), hidden)
    kept = Episodes(
        (torch.stack((images, after), dim=1) * 255).round().byte(),
        torch.tensor([[-1, 0]]),
        torch.zeros(1, 2, 2),
    )
    assert torch.allclose(values_of(policy, kept), torch.stack((first, second), dim=1), atol=2e-2)


def test_a_loss_that_is_no_number_stops_the_training(tmp_path: Path) -> None:
    toolbox = toy_toolbox([Lower(0)])
    policy = Policy(1, SIDE)
    with torch.no_grad():
        policy.level.bias.fill_(float("nan"))
    settings = AgentSettings(steps=100, episodes=2, fits=1, batch=2)
    trainer = QTrainer(policy, toolbox, raised_channels, settings, CPU)
    with pytest.raises(RlrestoreError, match="the agent's loss became nan after 6 steps"):
        trainer.train(tmp_path / "agent.safetensors")
    assert not list(tmp_path.iterdir())


def test_training_stops_at_its_steps_and_goes_on(
    make_photograph: Callable[..., NDArray[np.uint8]], tmp_path: Path
) -> None:
    bank = PhotoBank([make_photograph(128, 128, seed) for seed in range(2)])
    toolbox = Toolbox(TOOLS[4:6]).requires_grad_(False)

    def settings(steps: int) -> AgentSettings:
        return AgentSettings(steps=steps, episodes=4, fits=1, batch=4)

    _, report = train_q(bank, bank, toolbox, tmp_path, settings(12))
    assert report.policy_db == report.oracle_db == 0  # untrained tools change nothing
    resumed = QTrainer(Policy(2), toolbox, raised_channels, settings(24), CPU)
    resumed.resume(tmp_path / "training" / "agent.safetensors")
    assert resumed.steps == 12


def test_either_minutes_or_steps() -> None:
    with pytest.raises(ValueError, match="either minutes or steps"):
        AgentSettings(minutes=1, steps=1)
