"""Training the agent on a toolbox: rounds of collecting episodes and fitting the network to them."""

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from rlrestore.agent.measure import entropy_nats
from rlrestore.agent.policy import AnyPolicy, Policy, best_action
from rlrestore.agent.replay import ReplayBuffer
from rlrestore.devices import precision_name
from rlrestore.envs.sources import PairSource
from rlrestore.imaging.rewards import Reward
from rlrestore.toolbox.checkpoint import TrainingState
from rlrestore.toolbox.functional import FunctionalTools
from rlrestore.toolbox.networks import channels_last
from rlrestore.toolbox.ranks import own_rows, rank_count, rank_generator, sum_gradients, summed, take_first
from rlrestore.toolbox.toolbox import Toolbox, Tools
from rlrestore.toolbox.trainer import Moment

CLIP_NORM = 1.0
REFILL_ROUNDS = 8
"""Rounds of episodes that replace a replay buffer which was left behind."""


@dataclass(frozen=True)
class AgentSettings:
    """How an agent is trained.

    Attributes:
        episodes: Episodes collected in a round, by each rank.
        fits: Gradient steps in a round.
        batch: Episodes per gradient step, of each rank.
        capacity: Episodes in the replay buffers of all ranks, the newest ones.
        learning_rate: Of Adam at the start; it falls to zero along a cosine.
        seed: Of the weights and of all draws.
        precision: In which the tools compute, for episodes; what pays on the device without it.
    """

    episodes: int = 128
    fits: int = 128
    batch: int = 64
    capacity: int = 32768
    learning_rate: float = 1e-3
    seed: int = 0
    precision: torch.dtype | None = None


class Learning(Protocol):
    """A way to learn from episodes: how they are collected, and what is fitted to them."""

    @property
    def reward(self) -> Reward:
        """What a step is rewarded with."""
        ...

    def collect(
        self,
        policy: AnyPolicy,
        toolbox: Tools,
        source: PairSource,
        count: int,
        done: float,
        generator: torch.Generator,
    ) -> tuple[ReplayBuffer, int]:
        """Collect episodes.

        Args:
            policy: The agent.
            toolbox: Its tools.
            source: Where the pairs come from.
            count: Episodes to collect.
            done: Share of the training that is over, from 0 to 1.
            generator: Source of all draws, on the device.

        Returns:
            The episodes, the agent's `observations` `(N, T, …)` float16 among their columns; and how many
            steps of the environment they took.
        """
        ...

    def loss(self, policy: AnyPolicy, batch: ReplayBuffer) -> dict[str, Tensor]:
        """Return the parts of the loss, scalars by their names."""
        ...


class AgentTraining:
    """The training of an agent, for a `Trainer`; a step is a round.

    Its draws depend on the seed and the steps alone: with a budget in steps, a resumed training goes on as if
    it had never stopped.

    Attributes:
        name: `agent`.
        steps: Steps of the environment so far.
        about: What a checkpoint must agree with to go on from it.
        buffer: The replay buffer; None before the first round.
    """

    name = "agent"

    def __init__(
        self,
        policy: AnyPolicy,
        toolbox: Toolbox,
        source: PairSource,
        learning: Learning,
        settings: AgentSettings,
        device: torch.device,
        mixture: str = "paper",
    ) -> None:
        """Make the training of a policy.

        Args:
            policy: The agent, trained in place.
            toolbox: Its tools. If they change, so do those that it learns from.
            source: Where the pairs come from, on the device.
            learning: How it learns.
            settings: How long a round is, and the like.
            device: Where it is trained.
            mixture: What the source is called.
        """
        channels_last(policy)
        self.policy = policy.to(device).requires_grad_(True)  # one that was loaded is frozen
        self.source, self.learning, self.settings, self.device = source, learning, settings, device
        self.tools = FunctionalTools.for_training(toolbox, settings.precision)
        self.optimizer = torch.optim.Adam(self.policy.parameters(), settings.learning_rate, fused=True)
        self.buffer: ReplayBuffer | None = None
        self.steps = 0
        self.about: dict[str, Any] = {
            "tools": list(toolbox.names),
            "network": policy.family,
            "max_steps": policy.max_steps,
            "learning": repr(learning),
            "mixture": mixture,
            "seed": settings.seed,
        }
        if learning.reward != "psnr":
            self.about["reward"] = learning.reward

    def step(self, moment: Moment) -> Mapping[str, Tensor]:
        """Collect episodes once and fit many times.

        Returns:
            The round's metrics, as explained in docs/training.md.
        """
        settings, device = self.settings, self.device
        generator = rank_generator(device, settings.seed + (moment.attempt << 16), self.steps)
        rate = settings.learning_rate * 0.5 * (1 + math.cos(math.pi * moment.done)) * moment.rate_factor
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        began = time.monotonic()
        self.policy.train()
        self.tools.refresh()
        # A buffer that was left behind is filled again before the network is fitted to it.
        rounds = REFILL_ROUNDS if self.buffer is None and self.steps else 1
        collected_parts = [
            self.learning.collect(
                self.policy, self.tools, self.source, settings.episodes, moment.done, generator
            )
            for _ in range(rounds)
        ]
        new = collected_parts[0][0]
        steps = int(summed(torch.tensor(sum(steps for _, steps in collected_parts))))
        for more, _ in collected_parts[1:]:
            new = new.joined(more, self._capacity)
        if isinstance(self.policy, Policy):
            self.policy.trunk.standardise(new["observations"].flatten(0, 1))
            take_first(self.policy.trunk.buffers())
        entropy = self._first_action_entropy(new)  # which waits for the device
        collected = time.monotonic() - began
        self.buffer = new if self.buffer is None else self.buffer.joined(new, self._capacity)
        fits = [self._fit(self.buffer, generator) for _ in range(settings.fits)]
        self.policy.eval()
        self.steps += steps
        means = {name: torch.stack([fit[name] for fit in fits]).mean() for name in fits[0]}
        numbers = {
            "learning_rate": rate,
            "first_action_entropy": entropy,
            "steps_per_second": steps / collected,
            "collecting_share": collected / (time.monotonic() - began),
        }
        return means | {name: torch.tensor(number, device=device) for name, number in numbers.items()}

    @property
    def _capacity(self) -> int:
        """Episodes in this rank's replay buffer."""
        return max(1, self.settings.capacity // rank_count())

    @torch.no_grad()
    def _first_action_entropy(self, new: ReplayBuffer) -> float:
        features = self.policy.trunk(new["observations"][:, 0].float())
        nothing = torch.full((len(new),), -1, device=self.device)
        values, _ = self.policy.step(features, nothing, self.policy.initial_state(len(new)))
        margins = torch.tensor(self.policy.start_margins_db, device=self.device)
        return entropy_nats(best_action(values, margins), values.shape[1])

    def _draw(self, buffer: ReplayBuffer, generator: torch.Generator) -> ReplayBuffer:
        """Return the episodes of a gradient step."""
        count = self.settings.batch
        batch = buffer.rows(torch.randint(len(buffer), (count,), generator=generator, device=self.device))
        turned = torch.rand((), generator=generator, device=self.device) < 0.5
        return batch.transposed() if turned else batch

    def _fit(self, buffer: ReplayBuffer, generator: torch.Generator) -> dict[str, Tensor]:
        parts = self.learning.loss(self.policy, self._draw(buffer, generator))
        loss = torch.stack(tuple(parts.values())).sum()
        self.optimizer.zero_grad()
        (loss / rank_count()).backward()
        sum_gradients(self.policy.parameters())
        norm = nn.utils.clip_grad_norm_(self.policy.parameters(), CLIP_NORM)
        self.optimizer.step()
        parts = {f"{name}_loss": part.detach() for name, part in parts.items()}
        return {"loss": loss.detach(), **parts, "gradient_norm": norm}

    def state(self) -> TrainingState:
        """Return all that is needed to go on; see `Training.state`."""
        columns = {} if self.buffer is None else self.buffer.columns
        counters = {"precision": precision_name(self.tools.precision)}
        return TrainingState(self.policy, {"agent": self.optimizer}, counters, columns)

    def restore(self, progress: Mapping[str, Any], replay: Mapping[str, Tensor]) -> None:
        """Take steps and replay buffer of a checkpoint; see `Training.restore`."""
        self.steps = progress["steps"]
        here = {name: column.to(self.device) for name, column in own_rows(replay).items()}
        self.buffer = ReplayBuffer(here) if any(map(len, here.values())) else None

    def shrink(self) -> bool:
        """Halve episodes and batch; see `Training.shrink`."""
        settings = self.settings
        if min(settings.episodes, settings.batch) < 2:
            return False
        self.settings = replace(settings, episodes=settings.episodes // 2, batch=settings.batch // 2)
        return True
