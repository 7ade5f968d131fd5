"""Q-learning from all actions: the environment is a simulator, so in a visited state every reward is known.

A round plays episodes, expands every visited state by all tools, keeps what the agent saw with the values of
all its actions, and fits the network to what has been kept. One expansion, the costly part, serves many fits.

Source: fitted Q iteration (Ernst et al., JMLR 2005) with the paper's state, action and reward (section 3.2).
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from rlrestore.agent.kept import Kept
from rlrestore.agent.policy import AnyPolicy
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
CHOICE_DB = 0.2
"""How much better an action must be to be e times as right a choice."""


@dataclass(frozen=True)
class AllActions:
    """Q-learning from all thirteen actions of a visited state.

    Attributes:
        exploration: Probability of a random tool while playing.
        discount: How much a later gain counts beside one now. At 0 the best tool of the step stands out;
            above 0 the agent must look at twelve successors of every state.
    """

    exploration: float = 0.3
    discount: float = 0.0

    @torch.no_grad()
    def play(
        self,
        policy: AnyPolicy,
        toolbox: Toolbox,
        source: PairSource,
        count: int,
        done: float,  # noqa: ARG002  # its exploration does not change
        generator: torch.Generator,
    ) -> tuple[Kept, int]:
        """Play whole episodes and value every action on the way; see `Learning.play`.

        The agent plays its best tool, or a random one; it never stops, so that every episode has all its
        steps. The value of a tool is its reward plus the agent's own value, discounted, of where it leads.

        Kept of every step: `seen`, `last_actions` `(N, T)`, `values_db` `(N, T, A + 1)`.
        """
        device = generator.device
        state = start(*source(count, generator))
        hidden = policy.initial_state(count)
        steps: list[tuple[Tensor, Tensor, Tensor]] = []
        for step in range(policy.max_steps):
            seen = policy.see(state.images.clamp(0, 1))
            values, hidden = policy.look(policy.trunk(seen), state.last_action, hidden)
            with torch.autocast(device.type, torch.bfloat16, enabled=bfloat16_pays(device)):
                successors, psnr_db = expand(toolbox, state)
            targets = psnr_db - state.psnr_db[:, None]  # (B, A)
            if self.discount and step + 1 < policy.max_steps:
                targets = targets + self.discount * future_values(policy, successors, hidden)
            targets = F.pad(targets.clamp(min=WORST_VALUE_DB), (0, 1))
            steps.append((seen.half(), state.last_action, targets))
            random = torch.randint(toolbox.stop, (count,), generator=generator, device=device)
            explore = torch.rand(count, generator=generator, device=device) < self.exploration
            actions = torch.where(explore, random, values[:, :-1].argmax(dim=1))
            state = follow(state, actions, successors, psnr_db)
        seen, last_actions, values_db = (torch.stack(column, dim=1) for column in zip(*steps, strict=True))
        kept = Kept({"seen": seen, "last_actions": last_actions, "values_db": values_db})
        return kept, count * policy.max_steps

    def loss(self, policy: AnyPolicy, batch: Kept) -> dict[str, Tensor]:
        """Return the parts of the loss of a batch of kept episodes; see `Learning.loss`."""
        values = values_along(policy, batch["seen"], batch["last_actions"])
        return {
            "value": value_loss(values, batch["values_db"]),
            "choice": choice_loss(values, batch["values_db"]),
        }


def future_values(policy: AnyPolicy, successors: Tensor, hidden: tuple[Tensor, Tensor]) -> Tensor:
    """Return the agent's value of each successor, `(B, A)` in dB, never below 0, for it may stop there.

    Args:
        policy: The agent.
        successors: `(B, A, 3, P, P)`: where each tool leads.
        hidden: The memory in the states that they follow.
    """
    best = []
    for tool, images in enumerate(successors.unbind(dim=1)):
        taken = torch.full((len(images),), tool, device=images.device)
        values, _ = policy(images.clamp(0, 1), taken, hidden)
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


def values_along(policy: AnyPolicy, seen: Tensor, last_actions: Tensor) -> Tensor:
    """Return the agent's values `(N, T, A + 1)` along episodes.

    Args:
        policy: The agent.
        seen: `(N, T, …)` what it saw before each action, of any float type.
        last_actions: `(N, T)` int64.
    """
    count, steps = last_actions.shape
    features = policy.trunk(seen.flatten(0, 1).float()).view(count, steps, -1)
    hidden, values = policy.initial_state(count), []
    for step in range(steps):
        value, hidden = policy.look(features[:, step], last_actions[:, step], hidden)
        values.append(value)
    return torch.stack(values, dim=1)


def value_loss(values: Tensor, targets: Tensor) -> Tensor:
    """Return how far values `(…, A + 1)` are from what they should be, in dB².

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


def choice_loss(values: Tensor, targets: Tensor) -> Tensor:
    """Return how far a soft choice by values `(…, A + 1)` is from one by the truth: 0 or more, in dB.

    It is the divergence of the two softmax choices at a temperature of `CHOICE_DB`: what an agent loses by
    ranking the best actions wrongly. It tells near ties apart, at which a regression hardly looks.
    """
    log_right, log_chosen = ((scores / CHOICE_DB).log_softmax(dim=-1) for scores in (targets, values))
    return CHOICE_DB * (log_right.exp() * (log_right - log_chosen)).sum(dim=-1).mean()
