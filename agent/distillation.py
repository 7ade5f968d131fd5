"""Distillation: tools learn what a slower teacher makes of the patches that they meet.

The teacher is the mean of what a tool makes of eight views of a patch, turned and mirrored, and, where that
comes nearer to the clean image, of what one large network makes of them besides. Such a target lies near,
where the clean image is far away by what no tool can know; so little training tells much. Tools meet patches
in the agent's chains, in planned ones, and on their own ranges. The teacher's work is kept, and learned from
several times, turned and mirrored otherwise each time.

Source: Hinton, Vinyals, Dean, *Distilling the knowledge in a neural network*, arXiv 1503.02531. That the
teacher is the tool itself on other views, and who teaches a patch, is ours.

Shapes: B or M patches, P pixels a side, N tools; patches are RGB, about [0, 1], not clipped.
"""

import math
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor

from rlrestore.agent.policy import AnyPolicy
from rlrestore.agent.replay import ReplayBuffer
from rlrestore.agent.rollout import greedy, roll_out
from rlrestore.agent.teacher import prescribed, prescription
from rlrestore.agent.views import VIEWS, on_views, turned
from rlrestore.devices import numbered_generator, precision_name
from rlrestore.imaging import PATCH
from rlrestore.imaging.pairs import degraded_pairs
from rlrestore.imaging.patches import PhotoBank
from rlrestore.imaging.recipes import AnyRecipe, draw_pairs
from rlrestore.toolbox.checkpoint import TrainingState
from rlrestore.toolbox.distortions import training_distortion
from rlrestore.toolbox.functional import FunctionalTools
from rlrestore.toolbox.muon import Muon
from rlrestore.toolbox.networks import DEPTHS, channels_last
from rlrestore.toolbox.optimisation import ERROR_FLOOR, move_weights, rate_factor
from rlrestore.toolbox.storage import checksum
from rlrestore.toolbox.toolbox import Toolbox, group_sizes
from rlrestore.toolbox.trainer import Moment

PLANNED = 0.15
"""Share of the chains that undo what was done, instead of the agent's."""
EXPLORATION = 0.1
"""Share of the agent's choices that are exchanged for a random tool."""
OWN = 2
"""Patches of each tool's own range to a round of chains."""
HOPELESS = 1.25
"""A single network whose error on one view is so many times that of the tool is not asked for the others."""
DB_OF_SHARE = 10 / math.log(10)
"""What an error loses in dB for each share that it grows by, to first order."""


@dataclass(frozen=True)
class DistillationSettings:
    """How tools are distilled.

    Attributes:
        batch: Patches per step.
        chains: Chains that are rolled out at a time for new patches.
        reuse: How often a patch is learned from, on average.
        first: Patches before the first step.
        capacity: Patches that are kept, the newest ones.
        learning_rate: Of Muon at its highest; it rises at the start and falls to zero.
        clean_weight: What the error against the clean image counts, that against the target being 1.
        piece: Patches that are in memory at once; their number changes no result.
        seed: Of all draws.
        precision: Of the copies of the weights that compute; what pays on the device without it.
    """

    batch: int = 96
    chains: int = 64
    reuse: int = 9
    first: int = 1_500
    capacity: int = 20_000
    learning_rate: float = 4e-4
    clean_weight: float = 0.25
    piece: int = 64
    seed: int = 0
    precision: torch.dtype | None = None

    def __post_init__(self) -> None:
        for field in fields(self)[:5]:
            if getattr(self, field.name) < 1:
                raise ValueError(f"expected {field.name} from 1, got {getattr(self, field.name)}")


class Teacher:
    """Tools as they were, and what they and a network beside them make of eight views.

    Attributes:
        tools: The tools, N.
        single: The network beside them, as one tool, or None.
    """

    def __init__(
        self, toolbox: Toolbox, single: Toolbox | None = None, precision: torch.dtype | None = None
    ) -> None:
        """Make a teacher.

        Args:
            toolbox: The tools.
            single: One network that was trained on mixtures of degradations, as a toolbox of one tool, on the
                same device; it is asked beside the tools of its depth.
            precision: In which they compute; what pays on the device without it.

        Raises:
            ValueError: The single network is several.
        """
        if single is not None and single.stop != 1:
            raise ValueError(f"expected a single network, got {', '.join(single.names)}")
        self.tools = FunctionalTools.for_training(toolbox, precision)
        self.single = None if single is None else FunctionalTools.for_training(single, precision)
        deep = [spec.depth == max(DEPTHS) and not spec.custom for spec in toolbox.specs]
        self._deep = torch.tensor(deep, device=toolbox.device)

    @torch.no_grad()
    def __call__(self, actions: Tensor, images: Tensor, clean: Tensor) -> Tensor:
        """Return what is to be learned, `(B, 3, P, P)` float32.

        Args:
            actions: `(B,)` the tool of each patch.
            images: `(B, 3, P, P)` the patches.
            clean: `(B, 3, P, P)`; tells which teacher is the better one.
        """
        alone, *others = on_views(self.tools, actions, images, VIEWS)
        targets = torch.stack((alone, *others)).mean(dim=0)
        if self.single is None:
            return targets
        asked = self._deep[actions].nonzero().squeeze(1)
        (first,) = on_views(self.single, torch.zeros_like(asked), images[asked], VIEWS[:1])
        hopeful = mse(first, clean[asked]) < HOPELESS * mse(alone[asked], clean[asked])
        kept = hopeful.nonzero().squeeze(1)
        asked, first = asked[kept], first[kept]
        rest = on_views(self.single, torch.zeros_like(asked), images[asked], VIEWS[1:])
        together = (targets[asked] + torch.stack((first, *rest)).mean(dim=0)) / 2
        better = mse(together, clean[asked]) < mse(targets[asked], clean[asked])
        targets[asked] = torch.where(better[:, None, None, None], together, targets[asked])
        return targets


def mse(images: Tensor, others: Tensor) -> Tensor:
    """Return the mean squared errors `(B,)` between `(B, 3, P, P)` and others."""
    return (images - others).square().mean(dim=(1, 2, 3))


class DistillationTraining:
    """The training of tools by a teacher, for a `Trainer`, in one process.

    What is kept of the teacher's work goes into no checkpoint: a training that goes on begins by collecting
    anew.

    Attributes:
        name: `distillation`.
        steps: Gradient steps so far.
        about: What a checkpoint must agree with to go on from it.
        toolbox: The tools that learn, of N.
        teacher: Who sets the targets.
        tools: The tools that learn, as functions of their weights.
        optimizer: Of their weights.
    """

    name = "distillation"

    def __init__(
        self,
        toolbox: Toolbox,
        teacher: Teacher,
        policy: AnyPolicy,
        bank: PhotoBank,
        recipe: AnyRecipe,
        settings: DistillationSettings,
        mixture: str = "paper",
        names: Set[str] = frozenset(),
    ) -> None:
        """Make the training.

        Args:
            toolbox: The tools to train, in place, on the bank's device.
            teacher: Of the same tools with weights of their own, which roll out the chains.
            policy: The agent that chooses in the chains.
            bank: The photographs.
            recipe: The degradations.
            settings: How.
            mixture: What the recipe is called.
            names: The tools that learn; all without it. Custom ones never do.

        Raises:
            ValueError: The teacher has other tools, or weights that are to be trained, or there is no such
                tool to train.
        """
        before = teacher.tools.toolbox
        if before.names != toolbox.names:
            raise ValueError(f"expected a teacher of {toolbox.names}, got one of {before.names}")
        if {*map(id, toolbox.parameters())} & {*map(id, before.parameters())}:
            raise ValueError("expected tools with weights of their own, got some of the teacher's")
        able = {spec.name for spec in toolbox.specs if not spec.custom}
        learning = names or able
        if not learning or learning - able:
            raise ValueError(f"expected some of the tools {sorted(able)} to learn, got {sorted(learning)}")
        self.toolbox, self.teacher, self.policy = toolbox, teacher, policy
        self.bank, self.recipe, self.settings, self._piece = bank, recipe, settings, settings.piece
        self._learning = torch.tensor(
            [index for index, name in enumerate(toolbox.names) if name in learning], device=bank.device
        )
        self.about: dict[str, Any] = {
            "tools": [name for name in toolbox.names if name in learning],
            "widths": {str(depth): list(widths) for depth, widths in toolbox.widths.items()},
            "begun": checksum(before),
            "agent": checksum(policy),
            "single": None if teacher.single is None else checksum(teacher.single.toolbox),
            "clean": settings.clean_weight,
            "mixture": mixture,
            "seed": settings.seed,
        }
        for name, network in zip(toolbox.names, toolbox.networks, strict=True):
            network.requires_grad_(name in learning)
        channels_last(toolbox)
        self.tools = FunctionalTools.for_training(toolbox, settings.precision)
        weights = [weight for weight in toolbox.parameters() if weight.requires_grad]
        self.optimizer = Muon(weights, settings.learning_rate, self.tools.precision)
        self.steps = 0
        self._columns: dict[str, Tensor] = {}  # of what was collected, `capacity` rows
        self._collected = 0
        self._due = float(settings.first)  # patches that are to be collected

    def step(self, moment: Moment) -> Mapping[str, Tensor]:
        """Collect what is due, and take one gradient step.

        Returns:
            `loss` per patch in dB, `gain_db` of the tools, `behind_db`, what they gain less than the teacher,
            to first order, and `gradient_norm`, the mean over the tools.
        """
        settings = self.settings
        seed = settings.seed + (moment.attempt << 16)
        generator = numbered_generator(self.bank.device, seed, self.steps)
        self._collect_due(generator)
        batch = self._draw(generator)
        self.tools.zero_grad()
        parts = [self._backward(batch.rows(piece)) for piece in self._pieces(settings.batch)]
        behind_db, losses, gains_db = (torch.cat(column).mean() for column in zip(*parts, strict=True))
        patches = group_sizes(self.tools, batch["actions"])[:-1]
        self.tools.scale_gradients(1 / patches.clamp(min=1))  # means over the patches of a tool
        rate = settings.learning_rate * rate_factor(moment.done) * moment.rate_factor
        norm = move_weights(self.tools, self.optimizer, rate)
        self.steps += 1
        self._due += settings.batch / settings.reuse
        return {"loss": losses, "gain_db": gains_db, "behind_db": behind_db, "gradient_norm": norm}

    def _pieces(self, count: int) -> Sequence[Tensor]:
        """Return the numbers of so many patches, in pieces."""
        numbers = torch.arange(count, device=self.bank.device)
        return [numbers[first : first + self._piece] for first in range(0, count, self._piece)]

    def _collect_due(self, generator: torch.Generator) -> None:
        """Collect what is due; where there is no more room, in the place of the oldest patches.

        In place, for to join and cut, as the agent's training does, would copy all that is kept.
        """
        capacity = self.settings.capacity
        while self._due > 0:
            new = self.collect(generator)
            self._due -= len(new)
            new = new.rows(torch.arange(max(0, len(new) - capacity), len(new), device=self.bank.device))
            if not self._columns:
                self._columns = {
                    name: column.new_empty(capacity, *column.shape[1:])
                    for name, column in new.columns.items()
                }
            rows = (self._collected + torch.arange(len(new), device=self.bank.device)) % capacity
            for name, column in self._columns.items():
                column[rows] = new[name]
            self._collected += len(new)

    @torch.no_grad()
    def collect(self, generator: torch.Generator) -> ReplayBuffer:
        """Return M patches that the learning tools meet along new chains and on their own ranges.

        Its columns are the patches `images`, the `targets` and `clean`, `(M, 3, P, P)` float16, and their
        tools, `actions` `(M,)` int64.
        """
        tools, count = self.teacher.tools, self.settings.chains
        specs, steps = tools.toolbox.specs, self.policy.max_steps
        drawn = draw_pairs(self.bank, self.recipe, count, PATCH, generator)
        given = prescription(specs, drawn.amounts, steps, PLANNED, EXPLORATION, generator)
        rollout = roll_out(tools, drawn.degraded, prescribed(given, greedy(self.policy)), steps)
        chosen = rollout.actions.T.flatten()
        met = torch.isin(chosen, self._learning).nonzero().squeeze(1)
        own = self._learning.repeat_interleave(OWN)
        amounts = training_distortion([specs[index] for index in own.tolist()], generator, mixed_share=0.0)
        degraded, clean = degraded_pairs(self.bank, amounts, PATCH, generator)
        images = torch.cat((rollout.images[:-1].flatten(0, 1)[met], degraded))
        clean = torch.cat((drawn.target[met % count], clean))
        actions = torch.cat((chosen[met], own))
        targets = [
            self.teacher(actions[piece], images[piece], clean[piece]) for piece in self._pieces(len(actions))
        ]
        columns = {"images": images, "targets": torch.cat(targets), "clean": clean}
        return ReplayBuffer({**{name: each.half() for name, each in columns.items()}, "actions": actions})

    def _draw(self, generator: torch.Generator) -> ReplayBuffer:
        """Return the patches of a step, float32, each in another view, those of rare tools more often."""
        kept, count = ReplayBuffer(self._filled()), self.settings.batch
        patches = group_sizes(self.tools, kept["actions"])
        often = patches.clamp(min=1).float().rsqrt()[kept["actions"]]
        batch = kept.rows(torch.multinomial(often, count, replacement=True, generator=generator))
        draws = torch.randint(len(VIEWS), (count,), generator=generator, device=self.bank.device)
        columns = {"actions": batch["actions"]}
        for name in ("images", "targets", "clean"):
            images = batch[name].float()
            for number, view in enumerate(VIEWS):
                images = torch.where((draws == number)[:, None, None, None], turned(images, *view), images)
            columns[name] = images
        return ReplayBuffer(columns)

    def _filled(self) -> dict[str, Tensor]:
        """Return the columns up to where they are filled."""
        return {name: column[: self._collected] for name, column in self._columns.items()}

    def _backward(self, batch: ReplayBuffer) -> tuple[Tensor, Tensor, Tensor]:
        """Add the gradients of B patches; return how far each is behind its target, its loss and its gain.

        All are `(B,)`, in dB. The gradient is that of the sum of the losses.
        """
        targets, clean = batch["targets"], batch["clean"]
        worth = DB_OF_SHARE / (mse(targets, clean) + ERROR_FLOOR)
        restored = self.tools.apply_each(batch["actions"], batch["images"]).float()
        behind_db, wrong_db = worth * mse(restored, targets), worth * mse(restored, clean)
        losses = behind_db + self.settings.clean_weight * wrong_db
        losses.sum().backward()
        before, after = mse(batch["images"], clean), mse(restored.detach(), clean)
        gains_db = 10 * torch.log10((before + ERROR_FLOOR) / (after + ERROR_FLOOR))
        return behind_db.detach(), losses.detach(), gains_db

    def state(self) -> TrainingState:
        """Return all that is needed to go on; see `Training.state`."""
        counters = {"precision": precision_name(self.tools.precision)}
        return TrainingState(self.toolbox.networks, {"tools": self.optimizer}, counters, {})

    def restore(self, progress: Mapping[str, Any], replay: Mapping[str, Tensor]) -> None:
        """Take the steps of a checkpoint; see `Training.restore`."""
        del replay
        self.steps = progress["steps"]
        self.tools.refresh()

    def shrink(self) -> bool:
        """Halve the patches in memory at a time; see `Training.shrink`."""
        self._piece //= 2
        return self._piece > 0
