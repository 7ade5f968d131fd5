"""Training variants of a tool side by side: the same patches, the same seed, the same time."""

import copy
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from experiments.tool_variants import (
    ConditionedHourglass,
    plain,
    with_attention_in_attention,
    with_dropout,
    with_spatial_attention,
)
from rlrestore.devices import numbered_generator, training_precision
from rlrestore.imaging import PATCH
from rlrestore.imaging.degradation.jpeg import jpeg
from rlrestore.imaging.degradation.mixtures import MODERATE, light_amounts
from rlrestore.imaging.pairs import coded_side, degraded_pairs, take_patches
from rlrestore.imaging.patches import PhotoBank
from rlrestore.toolbox.checkpoint import Checkpoint, TrainingState
from rlrestore.toolbox.networks import channels_last
from rlrestore.toolbox.optimisation import CLIP_NORM, average_weights, rate_factor, restoration_losses
from rlrestore.toolbox.specs import TOOLS
from rlrestore.toolbox.trainer import Budget, Moment, Trainer

BATCH, LEARNING_RATE = 4, 1e-3
"""Patches a step, and the rate of Adam at its highest: the same for every variant."""
DRAWN_STEPS = 8
"""Steps whose patches are drawn at once."""
ROUNDS = 8
"""In which the steps of the variants are timed."""
VARYING_SHARE = 0.5
"""How many training patches have noise that varies over them: every second one of these by a step."""
MAP_FACTOR, MAP_OFFSET_255 = 0.1, 2.0
"""Standard deviations of the error of a training patch's map, as a factor and as an offset in units of 1/255:
about that of `inspect` on a single window (docs/inspect.md)."""


@dataclass(frozen=True)
class ConditionedBatch:
    """Patches, their references, and how strong the noise is in every pixel.

    Attributes:
        degraded: `(B, 3, H, W)` RGB in [0, 1].
        target: The same shape.
        strength_255: `(B, 1, H, W)` standard deviation of the noise in units of 1/255.
    """

    degraded: Tensor
    target: Tensor
    strength_255: Tensor


Drawn = tuple[Tensor, Tensor, Tensor | None]
"""Degraded patches and their references, `(B, 3, H, W)`, and maps of strength `(B, 1, H, W)` or none."""


class Stream(Protocol):
    """What patches are drawn from."""

    def draw(self, bank: PhotoBank, count: int, generator: torch.Generator) -> Drawn:
        """Draw degraded patches and their references, `(count, 3, PATCH, PATCH)`, and maps of strength."""
        ...


def ramps(count: int, side: int, generator: torch.Generator) -> Tensor:
    """Return `(count, 1, side, side)` maps from 0 at one side or corner to 1 at the opposite one."""
    angles = 2 * torch.pi * torch.rand(count, 1, 1, 1, generator=generator)
    line = torch.arange(side, dtype=torch.float32)
    heights = angles.sin() * line[:, None] + angles.cos() * line
    lowest, highest = (end(heights, dim=(2, 3), keepdim=True) for end in (torch.amin, torch.amax))
    return (heights - lowest) / (highest - lowest)


def noisy_patches(
    bank: PhotoBank,
    here_255: Tensor,
    there_255: Tensor,
    share: Tensor,
    generator: torch.Generator,
) -> ConditionedBatch:
    """Draw patches with white noise whose strength follows a map, and a light JPEG for every second one.

    Args:
        bank: The photographs.
        here_255: `(B,)` standard deviation where the map is 0, in units of 1/255.
        there_255: `(B,)` the same where it is 1.
        share: `(B, 1, side, side)` map in [0, 1] of the patches' size.
        generator: Source of all draws.
    """
    count, side = len(share), share.shape[-1]
    images = bank.crops(count, coded_side(side), generator)
    room = images.shape[-1] - side
    top, left = torch.randint(room + 1, (2, count), generator=generator)
    ends = torch.stack((here_255, there_255))[:, :, None, None, None]
    strength_255 = ends[0] + (ends[1] - ends[0]) * share
    noise = torch.randn(images.shape, generator=generator)
    # Around the patch, where only the coder sees it, the noise is as strong as on the patch's edge.
    everywhere = torch.cat(
        [
            F.pad(each, (x, room - x, y, room - y), mode="replicate")
            for each, y, x in zip(strength_255.split(1), top.tolist(), left.tolist(), strict=True)
        ]
    )
    noisy = torch.addcmul(images, noise, everywhere / 255).clamp_(0, 1)
    _, quality = light_amounts(torch.rand(4, count, generator=generator))
    coded = jpeg(noisy, quality)
    return ConditionedBatch(
        take_patches(coded, top, left, side), take_patches(images, top, left, side), strength_255
    )


def with_errors(strength_255: Tensor, generator: torch.Generator) -> Tensor:
    """Return maps `(B, 1, H, W)` as an estimate would have them: each too high or too low by some amount."""
    factor, offset = torch.randn(2, len(strength_255), 1, 1, 1, generator=generator)
    erring: Tensor = strength_255 * (1 + MAP_FACTOR * factor) + MAP_OFFSET_255 * offset
    return erring.clamp_(min=0)


@dataclass(frozen=True)
class NoiseStream:
    """Patches with noise of a range, constant or varying inside of it, and with a map of it that errs.

    Attributes:
        low_255: Where the range begins, in units of 1/255.
        high_255: Where it ends.
    """

    low_255: float
    high_255: float

    def draw(self, bank: PhotoBank, count: int, generator: torch.Generator) -> Drawn:
        """Draw patches; see `Stream`."""
        drawn = torch.rand(4, count, generator=generator)
        here, there = self.low_255 + (self.high_255 - self.low_255) * drawn[:2]
        there = torch.where(drawn[2] < VARYING_SHARE, there, here)
        share = ramps(count, PATCH, generator)
        share = torch.where((drawn[3] < 0.5).view(-1, 1, 1, 1), share, (share >= 0.5).float())
        batch = noisy_patches(bank, here, there, share, generator)
        return batch.degraded, batch.target, with_errors(batch.strength_255, generator)


@dataclass(frozen=True)
class MixtureStream:
    """Patches of the moderate mixture, without a map."""

    def draw(self, bank: PhotoBank, count: int, generator: torch.Generator) -> Drawn:
        """Draw patches; see `Stream`."""
        return *degraded_pairs(bank, MODERATE.sample(count, generator), PATCH, generator), None


@dataclass(frozen=True)
class Variant:
    """A network to be trained.

    Attributes:
        name: Of its checkpoint.
        build: Makes it, untrained.
        stream: What it is trained on.
        share: Of the minutes of a training.
        seed: Of the weights and of the patches.
    """

    name: str
    build: Callable[[], nn.Module]
    stream: Stream
    share: float = 1.0
    seed: int = 0


NOISE = [spec for spec in TOOLS if spec.distortion == "noise"]
WHOLE = NoiseStream(NOISE[0].low, NOISE[-1].high)
SIBLINGS = [
    Variant(spec.name, plain, NoiseStream(spec.low, spec.high), share=1 / len(NOISE)) for spec in NOISE
]
CONDITIONED = Variant("denoise-any", ConditionedHourglass, WHOLE)
BLIND = Variant("denoise-blind", plain, WHOLE)
DROPOUTS = (0.1, 0.3, 0.5, 0.7)
MIXTURE = MixtureStream()
NETWORKS = [
    Variant("hourglass", plain, MIXTURE),
    Variant("another-seed", plain, MIXTURE, seed=1),
    Variant("attention-pixel", partial(with_attention_in_attention, "pixel"), MIXTURE),
    Variant("attention-channel", partial(with_attention_in_attention, "channel"), MIXTURE),
    Variant("attention-spatial", with_spatial_attention, MIXTURE),
    *(Variant(f"dropout-{share}", partial(with_dropout, share), MIXTURE) for share in DROPOUTS),
]


def restore(network: nn.Module, images: Tensor, strength_255: Tensor | None) -> Tensor:
    """Restore `(B, 3, H, W)`, by its map `(B, 1, H, W)` if the network takes one."""
    conditioned = isinstance(network, ConditionedHourglass)
    restored: Tensor = network(images, strength_255) if conditioned else network(images)
    return restored


class VariantTraining:
    """The training of one variant, for a `Trainer`.

    Attributes:
        name: The variant's.
        steps: Gradient steps done so far.
        about: What a checkpoint must agree with to go on from it.
        average: The tool: the average of the weights that the gradient moves.
    """

    def __init__(self, variant: Variant, bank: PhotoBank, steps: int) -> None:
        """Make the training of a new network.

        Args:
            variant: The network.
            bank: Photographs to train on, in the processor's memory.
            steps: That it will take in all.
        """
        self.variant, self.bank, self.name, self.steps = variant, bank, variant.name, 0
        self.about: dict[str, Any] = {"variant": variant.name, "steps": steps}
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(variant.seed)
            self._network = variant.build()
        channels_last(self._network)
        self.average = copy.deepcopy(self._network).requires_grad_(False).eval()
        self._precision = training_precision(bank.device)
        self._optimizer = torch.optim.Adam(self._network.parameters(), lr=LEARNING_RATE)
        self._drawn: list[Drawn] = []

    def step(self, moment: Moment) -> Mapping[str, Tensor]:
        """Take one gradient step; see `Training.step`."""
        degraded, target, strength_255 = self._batch(moment.attempt)
        low = self._precision == torch.bfloat16
        with (
            torch.random.fork_rng(devices=[]),
            torch.autocast(self.bank.device.type, self._precision, enabled=low),
        ):
            torch.manual_seed(self.steps)  # of a dropout, which takes no generator
            restored = restore(self._network, degraded, strength_255)
        loss = restoration_losses(restored.float(), target).mean()
        self._optimizer.zero_grad()
        loss.backward()
        norm = nn.utils.clip_grad_norm_(self._network.parameters(), CLIP_NORM)
        for group in self._optimizer.param_groups:
            group["lr"] = LEARNING_RATE * rate_factor(moment.done) * moment.rate_factor
        self._optimizer.step()
        average_weights(self.average, self._network, self.steps)
        self.steps += 1
        return {"psnr_db": -loss.detach(), "gradient_norm": norm}

    def _batch(self, attempt: int) -> Drawn:
        """Return the patches of this step, which depend on the seed, its number and the attempt alone."""
        turn, place = divmod(self.steps, DRAWN_STEPS)
        if place == 0 or not self._drawn:
            generator = numbered_generator(self.bank.device, self.variant.seed + (attempt << 16), turn)
            degraded, target, strength = self.variant.stream.draw(self.bank, DRAWN_STEPS * BATCH, generator)
            degraded = degraded.contiguous(memory_format=torch.channels_last)
            maps = [None] * DRAWN_STEPS if strength is None else strength.split(BATCH)
            self._drawn = list(zip(degraded.split(BATCH), target.split(BATCH), maps, strict=True))
        return self._drawn[place]

    def state(self) -> TrainingState:
        """Return all that is needed to go on; see `Training.state`."""
        modules = nn.ModuleDict({"trained": self._network, "average": self.average})
        return TrainingState(modules, {"variant": self._optimizer}, {}, {})

    def restore(self, progress: Mapping[str, Any], replay: Mapping[str, Tensor]) -> None:
        """Take the counters of a checkpoint; see `Training.restore`."""
        del replay  # a tool has none
        self.steps, self._drawn = progress["steps"], []

    def shrink(self) -> bool:
        """Tell that a step cannot be divided; see `Training.shrink`."""
        return False


def train_variant(variant: Variant, bank: PhotoBank, steps: int, folder: Path) -> nn.Module:
    """Train a variant for so many steps, or go on where that was cut, and return the tool.

    Args:
        variant: The network.
        bank: Photographs to train on.
        steps: Of the whole training.
        folder: Of the checkpoints.

    Raises:
        ModelError: The checkpoint is of another training, or damaged.
        RlrestoreError: The training diverged too often, or the checkpoint cannot be written.
    """
    training = VariantTraining(variant, bank, steps)
    trainer = Trainer(training, Checkpoint(folder / variant.name), "either")
    if training.steps < steps:
        trainer.run(Budget(steps=steps))
    return training.average


def step_seconds(variants: Sequence[Variant], bank: PhotoBank, rounds: int = ROUNDS) -> dict[str, float]:
    """Return what a step of each variant costs, by name, in seconds of processor time.

    The variants take a few steps in turn, over and over, and the shortest time of each counts: so other work
    on the machine slows none more than another. Networks that are built alike cost the same.

    Args:
        variants: Which.
        bank: Photographs to train on.
        rounds: How often.
    """
    trainings: dict[object, tuple[VariantTraining, list[Variant]]] = {}
    for variant in variants:
        training = VariantTraining(variant, bank, DRAWN_STEPS * rounds)
        trainings.setdefault((repr(training.average), type(variant.stream)), (training, []))[1].append(
            variant
        )
    shortest = dict.fromkeys(trainings, math.inf)
    for _ in range(rounds):
        for key, (training, _) in trainings.items():
            began = time.process_time()
            for _ in range(DRAWN_STEPS):
                training.step(Moment(0.0))
            shortest[key] = min(shortest[key], (time.process_time() - began) / DRAWN_STEPS)
    return {alike.name: shortest[key] for key, (_, members) in trainings.items() for alike in members}
