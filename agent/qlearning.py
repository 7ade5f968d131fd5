"""Q-learning from all actions: the environment is a simulator, so in a visited state every reward is known.

A round collects episodes, expands every visited state by all tools, keeps the states with the values of all
their actions, and fits the network to what has been kept. One expansion, the costly part, serves many fits.

Source: fitted Q iteration (Ernst et al., JMLR 2005) with the paper's state, action and reward (section 3.2);
dueling values (Wang et al., ICML 2016).
"""

import dataclasses
from dataclasses import dataclass

import torch
from torch import Tensor

from rlrestore.agent.policy import Policy
from rlrestore.envs.sources import PairSource
from rlrestore.envs.transition import EpisodeState, expand, start
from rlrestore.toolbox.devices import bfloat16_pays
from rlrestore.toolbox.toolbox import Toolbox

WORST_VALUE_DB = -2.0
"""Values below this are all the same to an agent that will never choose them."""
CLOSENESS_DB = 0.5
"""How near a value must be to the best one of its state to matter fully."""
LEVEL_WEIGHT = 0.5
"""Weight of the error that all actions of a state share; the rest is what decides."""


@dataclass(frozen=True)
class Episodes:
    """What is kept of N episodes of T steps with A tools.

    Attributes:
        images: `(N, T, 3, P, P)` uint8: what the agent saw before each action.
        last_actions: `(N, T)` int64: what had been done before, −1 at first.
        values_db: `(N, T, A + 1)`: what every action is worth, stop last and 0.
    """

    images: Tensor
    last_actions: Tensor
    values_db: Tensor

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, chosen: Tensor | slice) -> "Episodes":
        return Episodes(self.images[chosen], self.last_actions[chosen], self.values_db[chosen])


def join(first: Episodes, second: Episodes, capacity: int) -> Episodes:
    """Return both, the newest `capacity` of them."""
    pairs = zip(dataclasses.astuple(first), dataclasses.astuple(second), strict=True)
    return Episodes(*(torch.cat(pair)[-capacity:] for pair in pairs))


@torch.no_grad()
def collect(
    policy: Policy,
    toolbox: Toolbox,
    source: PairSource,
    count: int,
    exploration: float,
    discount: float,
    generator: torch.Generator,
) -> Episodes:
    """Play whole episodes and value every action on the way.

    The agent plays its best tool, or a random one; it never stops, so that every episode has all its steps.
    The value of a tool is its reward plus the agent's own value, discounted, of where it leads.

    Args:
        policy: The agent.
        toolbox: A tools.
        source: Where the pairs come from.
        count: Episodes to play.
        exploration: Probability of a random tool at each step.
        discount: How much later gains count; with 0 they are not computed.
        generator: Source of all draws, on the device.
    """
    device = generator.device
    state = start(*source(count, generator))
    hidden = policy.initial_state(count)
    steps: list[tuple[Tensor, Tensor, Tensor]] = []
    for step in range(policy.max_steps):
        values, hidden = policy(state.images, state.last_action, hidden)
        with torch.autocast(device.type, torch.bfloat16, enabled=bfloat16_pays(device)):
            successors, psnr_db = expand(toolbox, state)
        targets = psnr_db - state.psnr_db[:, None]  # (B, A)
        if discount and step + 1 < policy.max_steps:
            targets = targets + discount * future_values(policy, successors, hidden)
        targets = targets.clamp(min=WORST_VALUE_DB)
        steps.append(
            (to_bytes(state.images), state.last_action, torch.cat((targets, targets.new_zeros(count, 1)), 1))
        )
        random = torch.randint(toolbox.stop, (count,), generator=generator, device=device)
        explore = torch.rand(count, generator=generator, device=device) < exploration
        actions = torch.where(explore, random, values[:, :-1].argmax(dim=1))
        state = follow(state, actions, successors, psnr_db)
    images, last_actions, values_db = (torch.stack(column, dim=1) for column in zip(*steps, strict=True))
    return Episodes(images, last_actions, values_db)


def future_values(policy: Policy, successors: Tensor, hidden: tuple[Tensor, Tensor]) -> Tensor:
    """Return the agent's value of each successor, `(B, A)` in dB, never below 0, for it may stop there.

    Args:
        policy: The agent.
        successors: `(B, A, 3, P, P)`: where each tool leads.
        hidden: The memory in the states that they follow.
    """
    best = []
    for tool, images in enumerate(successors.unbind(dim=1)):
        taken = torch.full((len(images),), tool, device=images.device)
        values, _ = policy(images, taken, hidden)
        best.append(values.amax(dim=1))
    return torch.stack(best, dim=1)


def follow(state: EpisodeState, actions: Tensor, successors: Tensor, psnr_db: Tensor) -> EpisodeState:
    """Take tools in states that were expanded: the transition without running a tool again."""
    line = torch.arange(len(actions), device=actions.device)
    return EpisodeState(
        images=successors[line, actions],
        clean=state.clean,
        psnr_db=psnr_db[line, actions],
        start_psnr_db=state.start_psnr_db,
        last_action=actions,
        steps=state.steps + 1,
    )


def to_bytes(images: Tensor) -> Tensor:
    """Round images in [0, 1] to uint8, which is how episodes are kept."""
    return (images.clamp(0, 1) * 255).round().to(torch.uint8)


def values_of(policy: Policy, episodes: Episodes) -> Tensor:
    """Return the agent's values `(N, T, A + 1)` along kept episodes."""
    count, steps = episodes.images.shape[:2]
    features = policy.trunk(episodes.images.flatten(0, 1).float() / 255).view(count, steps, -1)
    hidden, values = policy.initial_state(count), []
    for step in range(steps):
        value, hidden = policy.look(features[:, step], episodes.last_actions[:, step], hidden)
        values.append(value)
    return torch.stack(values, dim=1)


def value_loss(values: Tensor, targets: Tensor) -> Tensor:
    """Return the loss between values `(…, A + 1)` and what they should be, in dB².

    Patches differ by far more than the tools in one state, and a plain regression learns the first and not
    the second. So the error is split into the part that all actions share, which weighs little, and the rest,
    which weighs the more the closer an action is to the best.
    """
    error = values - targets
    weight = 0.1 + torch.exp((targets - targets.amax(dim=-1, keepdim=True)) / CLOSENESS_DB)
    weight = weight / weight.sum(dim=-1, keepdim=True)
    shared = (weight * error).sum(dim=-1, keepdim=True)
    deciding = (weight * (error - shared).square()).sum(dim=-1)
    return (deciding + LEVEL_WEIGHT * shared.squeeze(-1).square()).mean()


def turn(images: Tensor, generator: torch.Generator) -> Tensor:
    """Flip and transpose a batch `(…, P, P)` in one of the eight ways; what the tools gain hardly changes."""
    draws = torch.randint(2, (3,), generator=generator, device=generator.device).tolist()
    images = images.flip(-1) if draws[0] else images
    images = images.flip(-2) if draws[1] else images
    return images.mT if draws[2] else images
