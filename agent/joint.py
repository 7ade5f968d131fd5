"""Joint training: the tools are trained along whole chains, and the agent follows its changing tools.

A batch of patches goes through the chains that the agent chooses, and the error at their ends flows back
through all their tools. A tool's gradient is the mean over the chains that used it. After so many steps the
agent plays a round on the tools as they have become, and learns from it.

Source: paper, section 3.3. The planned chains and the loss before the end are ours.
"""

import copy
import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from tqdm import tqdm

from rlrestore.agent.policy import MAX_STEPS
from rlrestore.agent.replay import ReplayBuffer
from rlrestore.agent.rollout import Behaviour, fixed, greedy, roll_out
from rlrestore.agent.teacher import prescribed, teacher_chains
from rlrestore.agent.training import AgentTrainer
from rlrestore.devices import bfloat16_pays, numbered_generator
from rlrestore.envs.sources import Recipe
from rlrestore.envs.transition import NO_ACTION
from rlrestore.errors import ModelError, RlrestoreError
from rlrestore.imaging.degradation.protocol import Degradations
from rlrestore.imaging.pairs import degraded_pairs
from rlrestore.imaging.patches import PATCH, PhotoBank
from rlrestore.toolbox.checkpoint import load_checkpoint, save_checkpoint
from rlrestore.toolbox.networks import channels_last
from rlrestore.toolbox.storage import checksum
from rlrestore.toolbox.toolbox import Toolbox
from rlrestore.toolbox.training import ERROR_FLOOR, average_weights, rate_factor

CHECKPOINT_SECONDS = 60.0
CHECK_STEPS = 32
"""Steps between two looks at the loss, for which the device is waited for."""
CLIP_NORM = 5.0
DIVERGED_DB = 6.0
"""A training whose chains gain so much less, on average, than those of the steps before has gone astray."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class JointSettings:
    """How tools and agent are trained together.

    Attributes:
        minutes: Wall-clock time of all training, over all runs that resume it; or None. Measuring and saving
            come on top.
        steps: Gradient steps of the tools; or None. Exactly one of the two is given.
        batch: Chains per step.
        piece: Chains that are in memory at once; their number changes no gradient.
        learning_rate: Of the tools' Adam at its highest; it rises at the start and falls to zero.
        planned: Share of the chains that undo what was done to the patch, instead of being chosen by the
            agent. At 1 no agent is needed, and none is trained.
        exploration: Share of the agent's choices that are exchanged for a random tool.
        earlier_weight: What the error after each step before the end counts, the error at the end being 1.
        agent_every: Steps of the tools to each round of the agent; at 0 the agent stays as it is.
        seed: Of all draws.
    """

    minutes: float | None = None
    steps: int | None = None
    batch: int = 16
    piece: int = 64
    learning_rate: float = 1e-3
    planned: float = 0.25
    exploration: float = 0.05
    earlier_weight: float = 0.5
    agent_every: int = 128
    seed: int = 0

    def __post_init__(self) -> None:
        if (self.minutes is None) == (self.steps is None):
            raise ValueError("expected either minutes or steps")


def chain_losses(images: Tensor, clean: Tensor, actions: Tensor, stop: int, earlier_weight: float) -> Tensor:
    """Return the loss `(B,)` of each chain: the negative PSNR in dB at its end, and of what came before.

    The error is kept from vanishing, as in `restoration_loss`. Neither the input nor what follows a stop
    counts.

    Args:
        images: `(T + 1, B, 3, H, W)` the input and the patches after every step.
        clean: `(B, 3, H, W)`.
        actions: `(B, T)` int64.
        stop: The action that ends a chain.
        earlier_weight: Weight of the states between the input and the end.
    """
    errors = (images[1:] - clean).square().mean(dim=(2, 3, 4)).T  # (B, T)
    used = (actions != stop).float()
    ends = used * (1 - torch.cat((used[:, 1:], torch.zeros_like(used[:, :1])), dim=1))
    weights = ends + earlier_weight * (used - ends)
    return (weights * 10 * torch.log10(errors + ERROR_FLOOR)).sum(dim=1)


def is_sound(metrics: dict[str, float], least_db: float) -> bool:
    """Return whether all metrics of some steps are numbers, and their chains gain at least so much."""
    return all(map(math.isfinite, metrics.values())) and metrics["gain_db"] >= least_db


class JointTrainer:
    """Trains the tools along chains, and the agent on the tools, with a checkpoint every minute.

    Attributes:
        trained: The networks whose weights the gradient moves.
        toolbox: The tools: the averages of these weights.
        follower: The training of the agent, on `toolbox`; None where every chain is planned.
    """

    def __init__(
        self,
        toolbox: Toolbox,
        follower: AgentTrainer | None,
        bank: PhotoBank,
        recipe: Recipe,
        settings: JointSettings,
        about: dict[str, Any],
    ) -> None:
        """Make a trainer.

        Args:
            toolbox: The tools to train, in place, on the bank's device.
            follower: The training of the agent on the same toolbox.
            bank: The photographs.
            recipe: What is done to them.
            settings: How.
            about: What a checkpoint must agree with to go on from it.

        Raises:
            ValueError: There is no follower, and not every chain is planned.
        """
        if follower is None and settings.planned < 1:
            raise ValueError("expected an agent, or planned chains alone")
        self.toolbox, self.follower, self.bank, self.recipe = toolbox, follower, bank, recipe
        self.settings = settings
        self.max_steps = MAX_STEPS if follower is None else follower.policy.max_steps
        self.about = about | {
            "tools": list(toolbox.names),
            "begun": checksum(toolbox),
            "planned": settings.planned,
            "agent_every": settings.agent_every,
            "seed": settings.seed,
        }
        self.trained = copy.deepcopy(toolbox).requires_grad_(True)
        for spec, network in zip(toolbox.specs, self.trained.networks, strict=True):
            network.requires_grad_(not spec.custom)
        channels_last(self.trained)
        self.optimizer = torch.optim.Adam(self.trained.parameters(), lr=settings.learning_rate)
        self.steps, self.seconds, self.rollbacks = 0, 0.0, 0
        self.uses = [0] * toolbox.stop

    def resume(self, path: Path) -> None:
        """Go on from a checkpoint, if there is one.

        Raises:
            ModelError: It does not fit.
        """
        if not path.exists():
            return
        progress, columns = load_checkpoint(path, self._modules(), self._optimizers())
        if progress.get("about") != self.about:
            raise ModelError(
                f"{path} is of another training: expected {self.about}, got {progress.get('about')}; "
                "give the same options, or start without --resume"
            )
        self.steps, self.seconds = progress["steps"], progress["seconds"]
        self.uses, self.rollbacks = progress["uses"], progress["rollbacks"]
        if self.follower is not None:
            here = {name: column.to(self.bank.device) for name, column in columns.items()}
            self.follower.steps, self.follower.buffer = (
                progress["agent_steps"],
                ReplayBuffer(here) if here else None,
            )

    def save(self, path: Path) -> None:
        """Write a checkpoint."""
        progress: dict[str, Any] = {"steps": self.steps, "seconds": self.seconds, "about": self.about}
        progress |= {"uses": self.uses, "rollbacks": self.rollbacks}
        kept = None
        if self.follower is not None:
            progress["agent_steps"] = self.follower.steps
            kept = self.follower.buffer
        columns = None if kept is None else kept.columns
        save_checkpoint(path, self._modules(), self._optimizers(), progress, columns)

    def _modules(self) -> nn.ModuleDict:
        modules = {"trained": self.trained.networks, "average": self.toolbox.networks}
        return nn.ModuleDict(modules | ({} if self.follower is None else {"agent": self.follower.policy}))

    def _optimizers(self) -> dict[str, torch.optim.Optimizer]:
        optimizers: dict[str, torch.optim.Optimizer] = {"tools": self.optimizer}
        return optimizers if self.follower is None else optimizers | {"agent": self.follower.optimizer}

    def train(self, checkpoint: Path, watch: Callable[[dict[str, float]], None]) -> None:
        """Train until the steps or the minutes are used up.

        A training that goes astray goes back to its last checkpoint, once, and on with other patches.

        Args:
            checkpoint: Where to write checkpoints.
            watch: Told of the metrics every `CHECK_STEPS` steps; its time is not counted.

        Raises:
            RlrestoreError: It went astray a second time; the checkpoint holds the last good state.
        """
        settings = self.settings
        whole = math.inf if settings.minutes is None else settings.minutes * 60
        last = settings.steps or math.inf
        least_db, saved = -math.inf, time.monotonic()
        self.save(checkpoint)
        with tqdm(desc="joint", initial=self.steps, total=settings.steps, leave=False, disable=None) as bar:
            while self.seconds < whole and self.steps < last:
                metrics = self._stretch(whole, last)
                if not is_sound(metrics, least_db):
                    self._roll_back(metrics, checkpoint)
                    continue
                least_db = metrics["gain_db"] - DIVERGED_DB
                bar.update(self.steps - bar.n)
                bar.set_postfix_str(f"{metrics['gain_db']:+.2f} dB")
                watch(metrics)
                if time.monotonic() - saved > CHECKPOINT_SECONDS:
                    self.save(checkpoint)
                    saved = time.monotonic()
        self.save(checkpoint)

    def _stretch(self, whole: float, last: float) -> dict[str, float]:
        """Train for some steps, and for a round of the agent where one is due; return the mean metrics."""
        settings, step_metrics, agent_metrics = self.settings, [], []
        began, before = time.monotonic(), self.seconds
        for _ in range(CHECK_STEPS):
            if self.seconds >= whole or self.steps >= last:
                break
            done = min(1.0, self.seconds / whole if math.isfinite(whole) else self.steps / last)
            step_metrics.append(self.step(done))
            if self.follower is not None and settings.agent_every and self.steps % settings.agent_every == 0:
                agent_metrics.append(self.follower.round(done))
            self.seconds = before + time.monotonic() - began
        means = {
            name: float(torch.stack([one[name] for one in step_metrics]).mean()) for name in step_metrics[0]
        }
        rounds = (
            {name: [one[name] for one in agent_metrics] for name in agent_metrics[0]} if agent_metrics else {}
        )
        return means | {f"agent_{name}": sum(values) / len(values) for name, values in rounds.items()}

    def step(self, done: float) -> dict[str, Tensor]:
        """Take one gradient step with all tools that a batch of chains uses.

        Args:
            done: How much of the training is behind, from 0 to 1; sets the learning rate.

        Returns:
            `loss` per chain, `gain_db` from input to end, `length` of the chains, and `gradient_norm`, the
            mean over the tools that were used, as scalars on the device.
        """
        settings = self.settings
        for group in self.optimizer.param_groups:
            group["lr"] = settings.learning_rate * rate_factor(done)
        generator = numbered_generator(self.bank.device, settings.seed + (self.rollbacks << 16), self.steps)
        amounts = self.recipe.sample(settings.batch, generator)
        degraded, clean = degraded_pairs(self.bank, amounts, PATCH, generator)
        given = self._prescribe(amounts, generator)
        self.optimizer.zero_grad()
        parts = []
        for piece in torch.arange(settings.batch, device=self.bank.device).split(settings.piece):
            behaviour = prescribed(given[piece], self.greedy())
            parts.append(self._backward(degraded[piece], clean[piece], behaviour))
        actions, losses, gains_db = (torch.cat(column) for column in zip(*parts, strict=True))
        norm = self._apply_gradients(actions)
        self.steps += 1
        length = (actions != self.toolbox.stop).sum(dim=1).float().mean()
        return {"loss": losses.mean(), "gain_db": gains_db.mean(), "length": length, "gradient_norm": norm}

    def _prescribe(self, amounts: Degradations, generator: torch.Generator) -> Tensor:
        """Return what the agent does not choose, `(B, T)`: planned or random tools, else `NO_ACTION`."""
        settings, tools, device = self.settings, self.toolbox.stop, self.bank.device
        chains = teacher_chains(self.toolbox.specs, amounts, self.max_steps)
        draws = torch.rand(2, *chains.shape, generator=generator, device=device)
        random = torch.randint(tools, chains.shape, generator=generator, device=device)
        explored = torch.where(draws[0] < settings.exploration, random, NO_ACTION)
        return torch.where(draws[1, :, :1] < settings.planned, chains, explored)

    def greedy(self) -> Behaviour:
        """Choose as the agent does now, without exploration; where there is none, stop."""
        if self.follower is None:
            return fixed((), self.toolbox.stop)
        return greedy(self.follower.policy)

    def _backward(self, degraded: Tensor, clean: Tensor, choose: Behaviour) -> tuple[Tensor, Tensor, Tensor]:
        """Play chains and add their gradients, each chain's as it is; return what was done and came of it."""
        device = self.bank.device

        @torch.no_grad()
        def act_only(images: Tensor, last_action: Tensor) -> Tensor:
            with torch.autocast(device.type, enabled=False):  # it must see what it will see in use
                return choose(images.detach(), last_action)

        with torch.autocast(device.type, torch.bfloat16, enabled=bfloat16_pays(device)):
            rollout = roll_out(self.trained, degraded, act_only, self.max_steps)
        stop, weight = self.toolbox.stop, self.settings.earlier_weight
        losses = chain_losses(rollout.images.float(), clean, rollout.actions, stop, weight)
        if losses.requires_grad:  # some chain has a tool
            losses.sum().backward()
        with torch.no_grad():
            ends = (rollout.images[0], rollout.images[-1])
            before, after = ((images - clean).square().mean(dim=(1, 2, 3)) for images in ends)
            gains_db = 10 * torch.log10((before + ERROR_FLOOR) / (after + ERROR_FLOOR))
        return rollout.actions, losses.detach(), gains_db

    def _apply_gradients(self, actions: Tensor) -> Tensor:
        """Turn sums over chains into means over the chains that used a tool, and move its weights.

        Returns:
            The mean norm of the gradients before they are clipped.
        """
        tools = torch.arange(self.toolbox.stop, device=actions.device)
        chains = (actions[..., None] == tools).any(dim=1).sum(dim=0).tolist()  # the wait
        norms = [torch.zeros((), device=actions.device)]
        for network, count in zip(self.trained.networks, chains, strict=True):
            gradients = [parameter for parameter in network.parameters() if parameter.grad is not None]
            for parameter in gradients if count else ():
                parameter.grad /= count
            if gradients and count:
                norms.append(nn.utils.clip_grad_norm_(gradients, CLIP_NORM))
        self.optimizer.step()
        for index in (tool for tool, count in enumerate(chains) if count):
            average_weights(self.toolbox.networks[index], self.trained.networks[index], self.uses[index])
            self.uses[index] += 1
        return torch.stack(norms).sum() / max(1, len(norms) - 1)

    def _roll_back(self, metrics: dict[str, float], checkpoint: Path) -> None:
        """Go back to the checkpoint, once.

        Raises:
            RlrestoreError: It is the second time.
        """
        rollbacks = self.rollbacks + 1
        what = f"joint training diverged after {self.steps} steps (mean gain {metrics['gain_db']:.2f} dB)"
        self.resume(checkpoint)
        if rollbacks > 1:
            raise RlrestoreError(
                f"{what} a second time; {checkpoint} holds the state of step {self.steps}: "
                "go on from it at a lower learning rate"
            )
        log.warning("%s: back to step %d, and on with other patches", what, self.steps)
        self.rollbacks = rollbacks
        self.save(checkpoint)
