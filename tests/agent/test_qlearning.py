"""The agent must learn: two toys with a known best, and the arithmetic of the loss."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from rlrestore.agent.measure import HeldOut, PolicyReport, fixed_chain, oracle_return
from rlrestore.agent.policy import Hidden, Policy, PolicySizes
from rlrestore.agent.qlearning import TriedActions, choice_loss, value_loss, values_along
from rlrestore.agent.replay import ReplayBuffer
from rlrestore.agent.training import AgentSettings, AgentTraining
from rlrestore.envs.sources import PairSource
from rlrestore.envs.transition import start
from rlrestore.toolbox.specs import ToolSpec
from rlrestore.toolbox.toolbox import Toolbox
from rlrestore.toolbox.trainer import Moment

SIDE = 32
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


def train(policy: Policy, toolbox: Toolbox, source: PairSource, steps: int, rate: float) -> Policy:
    settings = AgentSettings(episodes=32, fits=25, learning_rate=rate, precision=torch.float32)
    training = AgentTraining(policy, toolbox, source, TriedActions(), settings, CPU)
    while training.steps < steps:
        training.step(Moment(training.steps / steps))
    return policy.eval()


def measure(policy: Policy, toolbox: Toolbox, source: PairSource) -> PolicyReport:
    pairs = source(256, torch.Generator().manual_seed(99))
    return HeldOut.of(toolbox, *pairs, policy.max_steps).measure(policy)


def test_the_agent_learns_which_tool_undoes_what() -> None:
    """Oracle by hand: from k raised channels (error k·0.03) to the grain (0.0025)."""
    toolbox = toy_toolbox([Lower(channel) for channel in range(3)])
    torch.manual_seed(0)
    policy = train(Policy(3), toolbox, raised_channels, steps=2_000, rate=3e-3)
    report = measure(policy, toolbox, raised_channels)
    by_hand = sum(
        weight * 10 * np.log10(1 + k * 0.03 / 0.0025) for k, weight in ((1, 3 / 8), (2, 3 / 8), (3, 1 / 8))
    )
    assert report.oracle_db == pytest.approx(by_hand, abs=0.6)
    assert report.policy_db > 0.95 * report.oracle_db
    assert report.policy_db > report.fixed_db + 3


class Forgetful(Policy):
    """The same network, its memory emptied before every step."""

    def step(self, features: Tensor, last_action: Tensor, hidden: Hidden) -> tuple[Tensor, Hidden]:
        values, _ = super().step(features, last_action, self.initial_state(len(features)))
        return values, hidden


def test_only_a_memory_solves_the_second_toy() -> None:
    """With its memory the agent does what the oracle does; emptied, it must guess the second tool."""
    toolbox = toy_toolbox([Unveil(), Paint(0.1), Paint(-0.1)])
    torch.manual_seed(0)
    sizes = PolicySizes(32, 16, 16)
    policy = train(Policy(3, max_steps=2, sizes=sizes), toolbox, marked, steps=3_000, rate=2e-3)
    forgetful = Forgetful(3, max_steps=2, sizes=sizes)
    forgetful.load_state_dict(policy.state_dict())
    report = measure(policy, toolbox, marked)
    assert report.policy_db > 0.9 * report.oracle_db
    assert measure(forgetful, toolbox, marked).policy_db < 0.8 * report.oracle_db


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

    policy = Policy(3, max_steps=1)
    learning = TriedActions(exploration=0.5, discount=1.0)
    episodes, steps = learning.collect(
        policy, toolbox, first_channel, 4, 0.0, torch.Generator().manual_seed(0)
    )
    reward = 10 * np.log10((0.31**2 + 2e-4) / 3e-4)
    assert steps == 4
    assert episodes["values_db"][0, 0].tolist() == pytest.approx([reward, -2, -2, 0], abs=1e-3)
    assert episodes["last_actions"].tolist() == [[-1]] * 4


def test_the_loss_by_hand() -> None:
    """Two actions of one value: all that they share weighs half, all that parts them weighs fully."""
    targets, known = torch.zeros(1, 2), torch.ones(1, 2, dtype=torch.bool)
    assert float(value_loss(torch.tensor([[0.4, 0.4]]), targets, known)) == pytest.approx(0.5 * 0.16)
    assert float(value_loss(torch.tensor([[0.4, -0.4]]), targets, known)) == pytest.approx(0.16)


def test_the_choice_loss_by_hand() -> None:
    """Two equal actions, of which one is valued e times as right a choice: ln((1 + e) / 2) - 1/2 nats."""
    targets, known = torch.zeros(1, 2), torch.ones(1, 2, dtype=torch.bool)
    loss = choice_loss(torch.tensor([[0.2, 0.0]]), targets, known)
    assert float(loss) == pytest.approx(0.2 * (np.log((1 + np.e) / 2) - 0.5))
    assert float(choice_loss(torch.tensor([[1.3, 1.3]]), targets, known)) == pytest.approx(0, abs=1e-7)


def test_what_was_not_tried_teaches_nothing() -> None:
    """An action without a known target leaves both losses as they are without it, and gets no gradient."""
    values = torch.tensor([[0.4, 7.0, -0.3, 0.1]], requires_grad=True)
    targets, known = torch.tensor([[0.9, 0.0, -1.0, 0.0]]), torch.tensor([[True, False, True, True]])
    for loss in (value_loss, choice_loss):
        whole = loss(values, targets, known)
        left = loss(values[:, [0, 2, 3]], targets[:, [0, 2, 3]], known[:, [0, 2, 3]])
        assert whole.item() == pytest.approx(left.item())
        gradient = torch.autograd.grad(whole, values)[0]
        assert (gradient != 0).tolist() == known.tolist()


def test_tools_of_higher_value_are_tried_more_often() -> None:
    """By Gumbel's rule, one of two beside the one taken: a tool e² times as often as one worth 1 dB less."""
    values = torch.tensor([5.0, 1.0, 0.0]).expand(4000, 3)
    tried = TriedActions(tried=2).choose_tried(
        values, torch.zeros(4000, dtype=torch.int64), torch.Generator().manual_seed(0)
    )
    assert (tried[:, 0] == 0).all()
    share = float((tried[:, 1] == 1).float().mean())
    assert share == pytest.approx(1 / (1 + math.exp(-2)), abs=0.02)
    with pytest.raises(ValueError, match="at least one tool to try in a state, got 0"):
        TriedActions(tried=0)


def test_the_tool_that_is_taken_is_tried_with_others() -> None:
    """Of five tools two are tried in a state, and all in some; the next state is where the first led."""
    toolbox = toy_toolbox([Lower(channel) for channel in (0, 1, 2, 0, 1)])
    learning = TriedActions(exploration=1.0, tried=2)
    generator = torch.Generator().manual_seed(0)
    episodes, _ = learning.collect(Policy(5, max_steps=2), toolbox, raised_channels, 64, 0.0, generator)
    known, played = episodes["known"], episodes["last_actions"][:, 1]
    assert known.sum(dim=2).unique().tolist() == [3]  # two tools and stop
    assert known[..., 5].all()
    assert known[torch.arange(64), 0, played].all()
    assert known.any(dim=0).all()


def test_the_replay_buffer_holds_the_newest_episodes() -> None:
    def episodes(first: int, count: int) -> ReplayBuffer:
        return ReplayBuffer({"numbers": torch.arange(first, first + count)})

    assert episodes(0, 4).joined(episodes(4, 3), capacity=5)["numbers"].tolist() == [2, 3, 4, 5, 6]
    with pytest.raises(ValueError, match="expected columns of one length"):
        ReplayBuffer({"numbers": torch.zeros(2), "others": torch.zeros(3)})


def test_values_along_episodes_are_those_of_the_rollout() -> None:
    """What is fitted is what acts, to the rounding of what is kept."""
    toolbox = toy_toolbox([Lower(0)])
    policy = Policy(1, max_steps=2)
    images = torch.rand((1, 3, SIDE, SIDE), generator=torch.Generator().manual_seed(0))
    first, hidden = policy(images, torch.tensor([-1]), policy.initial_state(1))
    after = toolbox.apply_tool(0, images).clamp(0, 1)
    second, _ = policy(after, torch.tensor([0]), hidden)
    observations = torch.stack((policy.observe(images), policy.observe(after)), dim=1).half()
    values = values_along(policy, observations, torch.tensor([[-1, 0]]))
    assert torch.allclose(values, torch.stack((first, second), dim=1), atol=1e-3)
