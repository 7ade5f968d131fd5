"""Training the agent on a toolbox that stays as it is: rounds of playing and fitting."""

import copy
import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from tqdm import tqdm

from rlrestore.agent.measure import entropy_nats
from rlrestore.agent.policy import AnyPolicy, Policy, best_action
from rlrestore.agent.replay import Kept
from rlrestore.devices import numbered_generator
from rlrestore.envs.sources import PairSource
from rlrestore.errors import ModelError, RlrestoreError
from rlrestore.toolbox.checkpoint import load_checkpoint, save_checkpoint
from rlrestore.toolbox.networks import channels_last
from rlrestore.toolbox.toolbox import Toolbox

CHECKPOINT_SECONDS = 60.0
CLIP_NORM = 1.0
Watch = Callable[[int, float, AnyPolicy, dict[str, float]], None]
"""Told of every round: steps of the environment and seconds so far, the policy, the round's metrics."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class AgentSettings:
    """How an agent is trained.

    Attributes:
        minutes: Wall-clock time of playing and fitting, over all runs that resume it; or None. Measuring and
            saving come on top.
        steps: Steps of the environment, rounded up to whole rounds; or None. Exactly one of the two is given.
        episodes: Episodes played in a round.
        fits: Gradient steps in a round.
        batch: Episodes per gradient step.
        capacity: Episodes kept, the newest ones.
        learning_rate: Of Adam at the start; it falls to zero along a cosine.
        seed: Of the weights and of all draws.
    """

    minutes: float | None = None
    steps: int | None = None
    episodes: int = 128
    fits: int = 128
    batch: int = 64
    capacity: int = 32768
    learning_rate: float = 1e-3
    seed: int = 0

    def __post_init__(self) -> None:
        if (self.minutes is None) == (self.steps is None):
            raise ValueError("expected either minutes or steps")


class Learning(Protocol):
    """A way to learn from episodes: what is played and kept, and what is fitted to it."""

    def play(
        self,
        policy: AnyPolicy,
        toolbox: Toolbox,
        source: PairSource,
        count: int,
        done: float,
        generator: torch.Generator,
    ) -> tuple[Kept, int]:
        """Play episodes.

        Args:
            policy: The agent.
            toolbox: Its tools.
            source: Where the pairs come from.
            count: Episodes to play.
            done: How much of the training is behind, from 0 to 1.
            generator: Source of all draws, on the device.

        Returns:
            What is kept of them, with what the agent saw as `seen` `(N, T, …)` float16; and how many steps of
            the environment they took.
        """
        ...

    def loss(self, policy: AnyPolicy, batch: Kept) -> dict[str, Tensor]:
        """Return the parts of the loss, scalars by their names."""
        ...


class AgentTrainer:
    """Trains a policy, with a checkpoint every minute.

    A resumed training has its weights, its optimiser and the episodes it kept, and its draws depend on the
    seed and the steps alone: with a budget in steps it goes on as if it had never stopped.
    """

    def __init__(
        self,
        policy: AnyPolicy,
        toolbox: Toolbox,
        source: PairSource,
        learning: Learning,
        settings: AgentSettings,
        device: torch.device,
        damage: str = "protocol",
    ) -> None:
        channels_last(policy)
        self.policy = policy.to(device).requires_grad_(True)  # one that was loaded is frozen
        self.toolbox, self.source = toolbox, source
        self.learning, self.settings, self.device = learning, settings, device
        self.optimizer = torch.optim.Adam(self.policy.parameters(), lr=settings.learning_rate)
        self.kept: Kept | None = None
        self.steps, self.seconds = 0, 0.0
        self.about = {
            "tools": list(toolbox.names),
            "network": policy.family,
            "patch_size": policy.patch_size,
            "max_steps": policy.max_steps,
            "learning": repr(learning),
            "damage": damage,
        }
        """What a checkpoint must agree with to go on from it."""

    def resume(self, path: Path) -> None:
        """Go on from a checkpoint, if there is one.

        Raises:
            ModelError: It does not fit.
        """
        if path.exists():
            progress, columns = load_checkpoint(path, self.policy, {"agent": self.optimizer})
            if progress.get("about") != self.about or not columns:
                raise ModelError(
                    f"{path} is of another training: expected {self.about}, got {progress.get('about')}; "
                    "give the same options, or start without --resume"
                )
            self.steps, self.seconds = progress["steps"], progress["seconds"]
            self.kept = Kept({name: column.to(self.device) for name, column in columns.items()})

    def train(self, checkpoint: Path, watch: Watch) -> None:
        """Train until the steps or the minutes are used up, but for a round at least.

        What comes before the round in progress is written when the training is interrupted or diverges.

        Args:
            checkpoint: Where to write checkpoints.
            watch: Told of every round; its time is not counted.

        Raises:
            RlrestoreError: The loss became NaN or infinite; the last good checkpoint is kept.
        """
        settings = self.settings
        whole = math.inf if settings.minutes is None else settings.minutes * 60
        saved, slowest = time.monotonic(), 0.0
        self.policy.train()
        good = self._snapshot()
        try:
            with tqdm(
                desc="agent", initial=self.steps, total=settings.steps, leave=False, disable=None
            ) as bar:
                while self.kept is None or (
                    self.seconds + slowest < whole and self.steps < (settings.steps or math.inf)
                ):
                    seconds, metrics = self._timed_round(whole)
                    self._check(metrics, good, checkpoint)
                    slowest = max(slowest, seconds)
                    good = self._snapshot()
                    bar.update(self.steps - bar.n)
                    bar.set_postfix_str(f"loss {metrics['loss']:.3f}")
                    watch(self.steps, self.seconds, self.policy, metrics)
                    if time.monotonic() - saved > CHECKPOINT_SECONDS:
                        good.save(checkpoint)
                        saved = time.monotonic()
        except KeyboardInterrupt:
            good.save(checkpoint)
            log.warning("interrupted after %d steps; --resume goes on from there", good.steps)
            raise
        self.policy.eval()
        good.save(checkpoint)

    @staticmethod
    def _check(metrics: dict[str, float], good: "Snapshot", checkpoint: Path) -> None:
        """Keep what was before a round of numbers that are none, and stop there."""
        broken = {name: value for name, value in metrics.items() if not math.isfinite(value)}
        if broken:
            good.save(checkpoint)
            name, value = next(iter(broken.items()))
            raise RlrestoreError(
                f"the agent's {name.replace('_', ' ')} became {value} after {good.steps} steps; {checkpoint} "
                "keeps the state before, if there was any: --resume --seed with another seed goes on"
            )

    def _timed_round(self, whole: float) -> tuple[float, dict[str, float]]:
        began = time.monotonic()
        steps = self.settings.steps
        metrics = self.round(self.seconds / whole if steps is None else self.steps / steps)
        seconds = time.monotonic() - began
        self.seconds += seconds
        return seconds, metrics

    def round(self, done: float) -> dict[str, float]:
        """Play once and fit many times.

        Args:
            done: How much of the training is behind, from 0 to 1; sets the learning rate.

        Returns:
            The round's metrics, as explained in docs/agent.md.
        """
        settings = self.settings
        generator = numbered_generator(self.device, settings.seed, self.steps)
        rate = settings.learning_rate * 0.5 * (1 + math.cos(math.pi * min(1.0, done)))
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        began = time.monotonic()
        new, steps = self.learning.play(
            self.policy, self.toolbox, self.source, settings.episodes, done, generator
        )
        if isinstance(self.policy, Policy):
            self.policy.trunk.standardise(new["seen"].flatten(0, 1))
        entropy = self._first_action_entropy(new)  # which waits for the device
        played = time.monotonic() - began
        self.kept = new if self.kept is None else self.kept.joined(new, settings.capacity)
        fits = [self._fit(self.kept, generator) for _ in range(settings.fits)]
        self.steps += steps
        means = {name: float(torch.stack([fit[name] for fit in fits]).mean()) for name in fits[0]}
        return {
            **means,
            "learning_rate": rate,
            "first_action_entropy": entropy,
            "steps_per_second": steps / played,
            "playing_share": played / (time.monotonic() - began),
        }

    @torch.no_grad()
    def _first_action_entropy(self, new: Kept) -> float:
        features = self.policy.trunk(new["seen"][:, 0].float())
        nothing = torch.full((len(new),), -1, device=self.device)
        values, _ = self.policy.look(features, nothing, self.policy.initial_state(len(new)))
        return entropy_nats(best_action(values, self.policy.caution_db), values.shape[1])

    def _fit(self, kept: Kept, generator: torch.Generator) -> dict[str, Tensor]:
        count = self.settings.batch
        batch = kept.rows(torch.randint(len(kept), (count,), generator=generator, device=self.device))
        if torch.rand((), generator=generator, device=self.device) < 0.5:
            batch = batch.transposed()
        parts = self.learning.loss(self.policy, batch)
        loss = torch.stack(tuple(parts.values())).sum()
        self.optimizer.zero_grad()
        loss.backward()
        norm = nn.utils.clip_grad_norm_(self.policy.parameters(), CLIP_NORM)
        self.optimizer.step()
        parts = {f"{name}_loss": part.detach() for name, part in parts.items()}
        return {"loss": loss.detach(), **parts, "gradient_norm": norm}

    def _snapshot(self) -> "Snapshot":
        policy, optimizer = copy.deepcopy((self.policy, self.optimizer))  # together: they share parameters
        return Snapshot(policy, optimizer, self.kept, self.steps, self.seconds, self.about)


@dataclass(frozen=True)
class Snapshot:
    """A training between two rounds.

    Attributes:
        policy: The agent.
        optimizer: Its Adam.
        kept: Episodes.
        steps: Steps of the environment.
        seconds: Wall-clock time.
        about: What the training is of.
    """

    policy: AnyPolicy
    optimizer: torch.optim.Optimizer
    kept: Kept | None
    steps: int
    seconds: float
    about: dict[str, Any]

    def save(self, path: Path) -> None:
        """Write it as a checkpoint; before the first round there is nothing to write."""
        if self.kept is not None:
            progress = {"steps": self.steps, "seconds": self.seconds, "about": self.about}
            save_checkpoint(path, self.policy, {"agent": self.optimizer}, progress, self.kept.columns)
