"""Q-learning from several actions: the environment is a simulator, so in a state many rewards can be known.

A round makes rollouts, tries several tools in every visited state, puts the observations and the values of
these actions into the replay buffer, and fits the network to it. Trying, the costly part, serves many fits.

Source: fitted Q iteration (Ernst et al., JMLR 2005) with the paper's state, action and reward (section 3.2).
"""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from rlrestore.agent.policy import AnyPolicy
from rlrestore.agent.replay import ReplayBuffer
from rlrestore.envs.sources import PairSource
from rlrestore.envs.transition import EpisodeState, expand, start, tried_gains_db
from rlrestore.imaging.rewards import Reward
from rlrestore.toolbox.toolbox import Tools

WORST_VALUE_DB = -2.0
"""Values below this are all the same to an agent that will never choose them."""
CLOSENESS_DB = 0.5
"""How near a value must be to the best one of its state to matter fully."""
LEVEL_WEIGHT = 0.5
"""Weight of the error that all actions of a state share; the rest is what decides."""
TRIED = 4
"""Tools tried in a state."""
CHOICE_DB = 0.2
"""How much better an action must be to be e times as right a choice."""


@dataclass(frozen=True)
class TriedActions:
    """Q-learning from several actions of a visited state.

    Attributes:
        exploration: Probability of a random tool while playing.
        discount: How much a later gain counts beside one now. At 0 the best tool of the step stands out;
            above 0 the agent must observe the successors of every state, too.
        tried: How many tools are tried in a state, the one that is taken among them; or all that there are.
        reward: What a step is rewarded with.
    """

    exploration: float = 0.3
    discount: float = 0.0
    tried: int = TRIED
    reward: Reward = field(default="psnr", repr=False)  # checkpoints name it only where it is another

    def __post_init__(self) -> None:
        if self.tried < 1:
            raise ValueError(f"expected at least one tool to try in a state, got {self.tried}")

    @torch.no_grad()
    def collect(
        self,
        policy: AnyPolicy,
        toolbox: Tools,
        source: PairSource,
        count: int,
        done: float,  # noqa: ARG002  # its exploration does not change
        generator: torch.Generator,
    ) -> tuple[ReplayBuffer, int]:
        """Make rollouts of whole episodes and value several actions on the way; see `Learning.collect`.

        The agent takes its best tool, or a random one; it never stops, so that every episode has all its
        steps. The value of a tool is its reward plus the agent's own value, discounted, of where it leads.

        Columns, one entry for each step: `observations`, `last_actions` `(N, T)`, `values_db` `(N, T, A + 1)`
        and which of these are `known`.
        """
        device = generator.device
        state = start(*source(count, generator))
        hidden = policy.initial_state(count)
        steps: list[tuple[Tensor, ...]] = []
        for step in range(policy.max_steps):
            observations = policy.observe(state.images.clamp(0, 1))
            values, hidden = policy.step(policy.trunk(observations), state.last_action, hidden)
            random = torch.randint(toolbox.stop, (count,), generator=generator, device=device)
            explore = torch.rand(count, generator=generator, device=device) < self.exploration
            actions = torch.where(explore, random, values[:, :-1].argmax(dim=1))
            tried = self.choose_tried(values[:, :-1], actions, generator)
            successors, psnr_db = expand(toolbox, state, tried)
            targets = psnr_db - state.psnr_db[:, None]  # (B, K)
            if self.reward != "psnr":
                targets = tried_gains_db(self.reward, state, successors)
            if self.discount and step + 1 < policy.max_steps:
                targets = targets + self.discount * future_values(policy, successors, tried, hidden)
            values_db = torch.zeros_like(values).scatter(1, tried, targets.clamp(min=WORST_VALUE_DB))
            known = torch.zeros_like(values, dtype=torch.bool).scatter(1, tried, True)
            known[:, toolbox.stop] = True
            steps.append((observations.half(), state.last_action, values_db, known))
            state = follow(state, actions, successors[:, 0], psnr_db[:, 0])
        names = ("observations", "last_actions", "values_db", "known")
        columns = (torch.stack(column, dim=1) for column in zip(*steps, strict=True))
        return ReplayBuffer(dict(zip(names, columns, strict=True))), count * policy.max_steps

    def choose_tried(self, values: Tensor, actions: Tensor, generator: torch.Generator) -> Tensor:
        """Return the tools to try in each state, `(B, K)`, the one that is taken first.

        The others are drawn at random, those that the agent thinks nearly the best more often.
        """
        noise = -torch.empty_like(values).exponential_(generator=generator).log()  # Gumbel's
        ranks = (values / CLOSENESS_DB + noise).scatter(1, actions[:, None], torch.inf)
        return ranks.topk(min(self.tried, values.shape[1]), dim=1).indices

    def loss(self, policy: AnyPolicy, batch: ReplayBuffer) -> dict[str, Tensor]:
        """Return the parts of the loss of a batch of episodes; see `Learning.loss`."""
        values = values_along(policy, batch["observations"], batch["last_actions"])
        return {
            "value": value_loss(values, batch["values_db"], batch["known"]),
            "choice": choice_loss(values, batch["values_db"], batch["known"]),
        }


def future_values(
    policy: AnyPolicy, successors: Tensor, actions: Tensor, hidden: tuple[Tensor, Tensor]
) -> Tensor:
    """Return the agent's value of each successor, `(B, K)` in dB, never below 0, for it may stop there.

    Args:
        policy: The agent.
        successors: `(B, K, 3, P, P)`: where the actions lead.
        actions: `(B, K)` int64.
        hidden: The memory in the states that they follow.
    """
    best = []
    for images, taken in zip(successors.unbind(dim=1), actions.unbind(dim=1), strict=True):
        values, _ = policy(images.clamp(0, 1), taken, hidden)
        best.append(values.amax(dim=1))
    return torch.stack(best, dim=1)


def follow(state: EpisodeState, actions: Tensor, images: Tensor, psnr_db: Tensor) -> EpisodeState:
    """Take actions `(B,)` whose successors and their PSNR are known: the transition without a tool."""
    return EpisodeState(
        images=images,
        clean=state.clean,
        psnr_db=psnr_db,
        start_psnr_db=state.start_psnr_db,
        last_action=actions,
        steps=state.steps + 1,
    )


def values_along(policy: AnyPolicy, observations: Tensor, last_actions: Tensor) -> Tensor:
    """Return the agent's values `(N, T, A + 1)` along episodes.

    Args:
        policy: The agent.
        observations: `(N, T, …)` what it saw before each action, of any float type.
        last_actions: `(N, T)` int64.
    """
    count, steps = last_actions.shape
    features = policy.trunk(observations.flatten(0, 1).float()).view(count, steps, -1)
    hidden, values = policy.initial_state(count), []
    for step in range(steps):
        value, hidden = policy.step(features[:, step], last_actions[:, step], hidden)
        values.append(value)
    return torch.stack(values, dim=1)


def value_loss(values: Tensor, targets: Tensor, known: Tensor) -> Tensor:
    """Return how far values `(…, A + 1)` are from what they should be, where that is known, in dB².

    Patches differ by far more than the tools in one state, and a plain regression learns the first and not
    the second. So the error is split into the part that all actions share, which weighs little, and the rest,
    which weighs the more the closer an action is to the best.
    """
    error = values - targets
    best = targets.masked_fill(~known, -torch.inf).amax(dim=-1, keepdim=True)
    weight = (0.1 + torch.exp((targets - best) / CLOSENESS_DB)) * known
    weight = weight / weight.sum(dim=-1, keepdim=True)
    shared = (weight * error).sum(dim=-1, keepdim=True)
    deciding = (weight * (error - shared).square()).sum(dim=-1)
    return (deciding + LEVEL_WEIGHT * shared.squeeze(-1).square()).mean()


def choice_loss(values: Tensor, targets: Tensor, known: Tensor) -> Tensor:
    """Return how far a soft choice by values `(…, A + 1)` is from one by the truth: 0 or more, in dB.

    It is the divergence of the two softmax choices, among the actions whose target is known, at a
    temperature of `CHOICE_DB`: what an agent loses by ranking the best actions wrongly. It tells near ties
    apart, which a regression hardly weighs.
    """
    log_right, log_chosen = (
        (scores / CHOICE_DB).masked_fill(~known, -torch.inf).log_softmax(dim=-1)
        for scores in (targets, values)
    )
    apart = torch.where(known, log_right - log_chosen, 0.0)
    return CHOICE_DB * (log_right.exp() * apart).sum(dim=-1).mean()
