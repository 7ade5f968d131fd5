"""Joint training: the tools are trained along whole chains, and the agent follows its changing tools.

A batch of patches goes through the chains that the agent chooses, and the error at their ends flows back
through all their tools. A tool's gradient is the mean over the chains that used it; beside them each tool
restores some patches of its own range alone, or it would become what the chains need most and no longer be
what its name says. Every so many steps the agent collects a round of episodes on the tools as they have
become, and learns from them.

Source: paper, section 3.3. Teacher chains, the loss before the end and the tools' own ranges are ours.
"""

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from rlrestore.agent.policy import MAX_STEPS
from rlrestore.agent.rollout import Behaviour, fixed, greedy, roll_out
from rlrestore.agent.teacher import prescribed, prescription
from rlrestore.agent.training import AgentTraining
from rlrestore.devices import precision_name
from rlrestore.imaging import PATCH
from rlrestore.imaging.degradation.protocol import Degradations
from rlrestore.imaging.pairs import degraded_pairs
from rlrestore.imaging.patches import PhotoBank
from rlrestore.imaging.recipes import AnyRecipe, draw_pairs
from rlrestore.imaging.rewards import ERRORS, Measure, Reward, mse
from rlrestore.toolbox.checkpoint import TrainingState
from rlrestore.toolbox.distortions import training_distortion
from rlrestore.toolbox.functional import FunctionalTools
from rlrestore.toolbox.muon import Muon
from rlrestore.toolbox.networks import channels_last
from rlrestore.toolbox.optimisation import (
    ERROR_FLOOR,
    average_weights,
    move_weights,
    rate_factor,
    restoration_losses,
)
from rlrestore.toolbox.ranks import rank_count, rank_generator, summed, united
from rlrestore.toolbox.storage import checksum
from rlrestore.toolbox.toolbox import Toolbox
from rlrestore.toolbox.trainer import Moment


@dataclass(frozen=True)
class JointSettings:
    """How tools and agent are trained together.

    Attributes:
        batch: Chains per step, of each rank.
        piece: Chains that are in memory at once; their number changes no gradient.
        learning_rate: Of the tools' Muon at its highest; it rises at the start and falls to zero.
        planned: Share of the chains that are the teacher's, which knows the degradations, instead of the
            agent's. At 1 no agent is needed, and none is trained.
        exploration: Share of the agent's choices that are exchanged for a random tool.
        earlier_weight: What the error after each step before the end counts, the error at the end being 1.
        own: Patches of each tool's own range a step of each rank, restored by that tool alone.
        own_weight: What the mean error on them counts beside that of a tool's chains.
        agent_every: Steps of the tools to each round of the agent; at 0 the agent stays as it is.
        reward: What the agent is rewarded with, and by whose error (`ERRORS`) the chains train the tools.
        seed: Of all draws.
        precision: Of the copies of the weights that compute; what pays on the device without it.
    """

    batch: int = 16
    piece: int = 64
    learning_rate: float = 5e-4
    planned: float = 0.25
    exploration: float = 0.05
    earlier_weight: float = 0.5
    own: int = 0
    own_weight: float = 2.0
    agent_every: int = 128
    reward: Reward = "psnr"
    seed: int = 0
    precision: torch.dtype | None = None


def chain_losses(
    images: Tensor,
    clean: Tensor,
    actions: Tensor,
    stop: int,
    earlier_weight: float,
    error_of: Measure = mse,
) -> Tensor:
    """Return the loss `(B,)` of each chain: the error in dB at its end, and of what came before.

    The error is bounded from below, as in `restoration_losses`. Neither the input nor what follows a stop
    counts.

    Args:
        images: `(T + 1, B, 3, H, W)` the input and the patches after every step.
        clean: `(B, 3, H, W)`.
        actions: `(B, T)` int64.
        stop: The action that ends a chain.
        earlier_weight: Weight of the states between the input and the end.
        error_of: What is an error; by the mean squared one, the loss is the negative PSNR.
    """
    steps = images[1:]
    errors = torch.stack([error_of(step, clean) for step in steps], dim=1)  # (B, T)
    used = (actions != stop).float()
    ends = used * (1 - torch.cat((used[:, 1:], torch.zeros_like(used[:, :1])), dim=1))
    weights = ends + earlier_weight * (used - ends)
    return (weights * 10 * torch.log10(errors + ERROR_FLOOR)).sum(dim=1)


class JointTraining:
    """The training of tools along chains, and of the agent on the tools, for a `Trainer`.

    Attributes:
        name: `joint`.
        steps: Gradient steps of the tools so far.
        about: What a checkpoint must agree with to go on from it.
        trained: The networks whose weights the gradient moves.
        toolbox: The tools: the averages of these weights.
        follower: The training of the agent, on `toolbox`; None where every chain is the teacher's.
        uses: Gradient steps of each tool so far.
    """

    name = "joint"

    def __init__(
        self,
        toolbox: Toolbox,
        follower: AgentTraining | None,
        bank: PhotoBank,
        recipe: AnyRecipe,
        settings: JointSettings,
        mixture: str = "paper",
        begun: int | None = None,
    ) -> None:
        """Make the training of a model.

        Args:
            toolbox: The tools to train, in place, on the bank's device.
            follower: The training of the agent on the same toolbox.
            bank: The photographs.
            recipe: The degradations.
            settings: How.
            mixture: What the recipe is called.
            begun: Checksum of the tools that it began with, where a checkpoint's take the place of those that
                are given; that of the given ones without it.

        Raises:
            ValueError: There is no follower, and not every chain is the teacher's.
        """
        if follower is None and settings.planned < 1:
            raise ValueError("expected an agent, or planned chains alone")
        self.toolbox, self.follower, self.bank, self.recipe = toolbox, follower, bank, recipe
        self.settings, self.piece = settings, settings.piece
        self.max_steps = MAX_STEPS if follower is None else follower.policy.max_steps
        self.about: dict[str, Any] = {
            "tools": list(toolbox.names),
            "begun": checksum(toolbox) if begun is None else begun,
            "mixture": mixture,
            "planned": settings.planned,
            "own": settings.own,
            "agent_every": settings.agent_every,
            "seed": settings.seed,
        }
        if settings.reward != "psnr":
            self.about["reward"] = settings.reward
        self.trained = copy.deepcopy(toolbox).requires_grad_(True)
        self._trainable = [index for index, spec in enumerate(toolbox.specs) if not spec.custom]
        for spec, network in zip(toolbox.specs, self.trained.networks, strict=True):
            network.requires_grad_(not spec.custom)
        channels_last(self.trained)
        self.tools = FunctionalTools.for_training(self.trained, settings.precision)
        self.optimizer = Muon(self.trained.parameters(), settings.learning_rate, self.tools.precision)
        self.steps, self.uses = 0, [0] * toolbox.stop

    def step(self, moment: Moment) -> Mapping[str, Tensor]:
        """Take one gradient step with all tools that a batch of chains uses, and let the agent follow.

        Returns:
            `loss` per chain, `gain_db` from input to end, `length` of the chains, `gradient_norm`, the mean
            over the tools that were used, and the agent's metrics after a round of it.
        """
        settings, device = self.settings, self.bank.device
        generator = rank_generator(device, settings.seed + (moment.attempt << 16), self.steps)
        drawn = draw_pairs(self.bank, self.recipe, settings.batch, PATCH, generator)
        given = self._prescribe(drawn.amounts, generator)
        self.tools.zero_grad()
        parts = []
        for piece in torch.arange(settings.batch, device=device).split(self.piece):
            behaviour = prescribed(given[piece], self.greedy())
            parts.append(self._backward(drawn.degraded[piece], drawn.target[piece], behaviour))
        actions, losses, gains_db = (torch.cat(column) for column in zip(*parts, strict=True))
        chains = summed(self._chains_of_tools(actions))
        if settings.own:
            self._backward_own(chains, generator)
        self.tools.scale_gradients(1 / chains.clamp(min=1))  # means over the chains that used a tool
        rate = settings.learning_rate * rate_factor(moment.done) * moment.rate_factor
        metrics = {
            "loss": losses.mean(),
            "gain_db": gains_db.mean(),
            "length": (actions != self.toolbox.stop).sum(dim=1).float().mean(),
            "gradient_norm": move_weights(self.tools, self.optimizer, rate),
        }
        for index in united(self.tools.used, self.toolbox.stop).intersection(self._trainable):
            average_weights(self.toolbox.networks[index], self.trained.networks[index], self.uses[index])
            self.uses[index] += 1
        self.steps += 1
        return metrics | self._follow(moment)

    def _follow(self, moment: Moment) -> dict[str, Tensor]:
        """Let the agent learn for a round, if one is due; return its metrics."""
        every = self.settings.agent_every
        if self.follower is None or every == 0 or self.steps % every:
            return {}
        return {f"agent_{name}": value for name, value in self.follower.step(moment).items()}

    def _prescribe(self, amounts: Degradations, generator: torch.Generator) -> Tensor:
        """Return the teacher's and random actions, `(B, T)`; see `prescription`."""
        settings, specs = self.settings, self.toolbox.specs
        return prescription(specs, amounts, self.max_steps, settings.planned, settings.exploration, generator)

    def greedy(self) -> Behaviour:
        """Choose as the agent does now, without exploration; where there is none, stop."""
        if self.follower is None:
            return fixed((), self.toolbox.stop)
        return greedy(self.follower.policy)

    def _backward(
        self, degraded: Tensor, clean: Tensor, behaviour: Behaviour
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Roll chains out and add their gradients; return actions, losses and gains in dB of each."""

        @torch.no_grad()
        def act(images: Tensor, last_action: Tensor) -> Tensor:
            return behaviour(images.detach(), last_action)

        rollout = roll_out(self.tools, degraded, act, self.max_steps)
        stop, weight = self.toolbox.stop, self.settings.earlier_weight
        error_of = ERRORS[self.settings.reward]
        losses = chain_losses(rollout.images, clean, rollout.actions, stop, weight, error_of)
        if losses.requires_grad:  # some chain has a tool
            losses.sum().backward()
        with torch.no_grad():
            ends = (rollout.images[0], rollout.images[-1])
            before, after = ((images - clean).square().mean(dim=(1, 2, 3)) for images in ends)
            gains_db = 10 * torch.log10((before + ERROR_FLOOR) / (after + ERROR_FLOOR))
        return rollout.actions, losses.detach(), gains_db

    def _chains_of_tools(self, actions: Tensor) -> Tensor:
        """Return `(N,)` how many chains used each tool."""
        tools = torch.arange(self.toolbox.stop, device=actions.device)
        return (actions[..., None] == tools).any(dim=1).sum(dim=0)

    def _backward_own(self, chains: Tensor, generator: torch.Generator) -> None:
        """Add the gradients of every tool alone on its own range, to count `own_weight` beside its chains.

        Args:
            chains: `(N,)` how many chains of all ranks used each tool: by that its gradient will be divided.
            generator: Source of the patches.
        """
        settings = self.settings
        tools = torch.tensor(self._trainable, device=chains.device).repeat_interleave(settings.own)
        specs = [self.toolbox.specs[index] for index in self._trainable for _ in range(settings.own)]
        amounts = training_distortion(specs, generator, mixed_share=0.0)
        degraded, clean = degraded_pairs(self.bank, amounts, PATCH, generator)
        weights = settings.own_weight / (settings.own * rank_count()) * chains.clamp(min=1)[tools]
        for piece in torch.arange(len(tools), device=chains.device).split(self.piece):
            restored = self.tools.apply_each(tools[piece], degraded[piece])
            (weights[piece] * restoration_losses(restored, clean[piece])).sum().backward()

    def state(self) -> TrainingState:
        """Return all that is needed to go on; see `Training.state`."""
        modules: dict[str, nn.Module] = {"trained": self.trained.networks, "average": self.toolbox.networks}
        optimizers: dict[str, torch.optim.Optimizer] = {"tools": self.optimizer}
        counters: dict[str, Any] = {"uses": self.uses, "precision": precision_name(self.tools.precision)}
        if self.follower is None:
            return TrainingState(nn.ModuleDict(modules), optimizers, counters, {})
        agent = self.follower.state()
        modules["agent"] = self.follower.policy
        counters["agent_steps"] = self.follower.steps
        return TrainingState(
            nn.ModuleDict(modules), {**optimizers, **agent.optimizers}, counters, agent.replay
        )

    def restore(self, progress: Mapping[str, Any], replay: Mapping[str, Tensor]) -> None:
        """Take counters and replay buffer of a checkpoint; see `Training.restore`."""
        counters = progress["counters"]
        self.steps, self.uses = progress["steps"], list(counters["uses"])
        self.tools.refresh()
        if self.follower is not None:
            self.follower.restore({"steps": counters["agent_steps"]}, replay)

    def shrink(self) -> bool:
        """Halve the chains in memory at a time; see `Training.shrink`."""
        self.piece //= 2
        return self.piece > 0
