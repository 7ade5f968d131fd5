"""Training the tool that enlarges: photographs made smaller, and what they were.

Every other batch is of small photographs that were degraded and restored, as those that it will see: of clean
ones alone it learns to sharpen what a restoration has left.
"""

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rlrestore.devices import numbered_generator, training_precision
from rlrestore.imaging.metrics import psnr_db
from rlrestore.imaging.patches import PhotoBank
from rlrestore.model_folder.upscaler import SCALES
from rlrestore.toolbox.checkpoint import TrainingState
from rlrestore.toolbox.networks import channels_last
from rlrestore.toolbox.optimisation import CLIP_NORM, average_weights, rate_factor, restoration_losses
from rlrestore.toolbox.storage import load_weights
from rlrestore.toolbox.trainer import Moment
from rlrestore.toolbox.upscaler import Upscaler, enlarge

AREA_SHARE = 0.25
"""How many of the batches are made smaller by averaging squares; the others are by a bicubic filter."""


@dataclass(frozen=True)
class UpscaleSettings:
    """How the tool that enlarges is trained.

    Attributes:
        width: Channels of its layers.
        pairs: Its residual pairs.
        batch: Patches of a step.
        patch: Side in pixels of the small ones.
        learning_rate: Of Adam at its highest; it rises at the start and falls to zero along a cosine.
        seed: Of the weights and of the data.
    """

    width: int = 48
    pairs: int = 3
    batch: int = 8
    patch: int = 40
    learning_rate: float = 1e-3
    seed: int = 0


def reduce(images: Tensor, scale: int, area: bool = False) -> Tensor:
    """Make `(B, 3, scale·H, scale·W)` smaller, to 8 bits.

    Args:
        images: RGB in [0, 1].
        scale: How many times smaller.
        area: By the mean of squares instead of a bicubic filter of that width.
    """
    if area:
        small = F.avg_pool2d(images, scale)
    else:
        size = [side // scale for side in images.shape[-2:]]
        small = F.interpolate(images, size, mode="bicubic", antialias=True, align_corners=False)
    return (small.clamp(0, 1) * 255).round() / 255


@dataclass(frozen=True, eq=False)
class Pairs:
    """Small photographs, and what they were.

    Attributes:
        small: `(N, 3, h, w)` RGB in [0, 1].
        large: `(N, 3, scale·h, scale·w)`.
    """

    small: Tensor
    large: Tensor

    def patches(self, count: int, side: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Draw patches of small photographs, randomly mirrored and transposed, and what they were."""
        scale = self.large.shape[-1] // self.small.shape[-1]
        small: list[Tensor] = []
        large: list[Tensor] = []
        for _ in range(count):
            number, top, left, turn = torch.randint(1 << 30, (4,), generator=generator).tolist()
            rows, columns = (length - side + 1 for length in self.small.shape[-2:])
            number, top, left = number % len(self.small), top % rows, left % columns
            for found, whole, times in ((small, self.small, 1), (large, self.large, scale)):
                down, across = (slice(times * start, times * (start + side)) for start in (top, left))
                found.append(_turned(whole[number, :, down, across], turn))
        return torch.stack(small), torch.stack(large)


def _turned(image: Tensor, turn: int) -> Tensor:
    image = image.flip(-1) if turn & 1 else image
    image = image.flip(-2) if turn & 2 else image
    return image.transpose(-1, -2) if turn & 4 else image


class UpscaleTraining:
    """The training of the tool that enlarges, for a `Trainer`.

    Attributes:
        name: What it is called.
        steps: Gradient steps done so far.
        about: What a checkpoint must agree with to go on from it.
        average: The tool: the average of the weights that the gradient moves.
    """

    name = "upscaler"

    def __init__(
        self, settings: UpscaleSettings, bank: PhotoBank, restored: Mapping[int, Pairs] | None = None
    ) -> None:
        """Make the training of a new tool.

        Args:
            settings: How it is trained.
            bank: Photographs to train on, on the device.
            restored: By scale, photographs that were degraded and restored; without them it trains on clean
                ones alone.
        """
        self.settings, self.bank, self.restored, self.steps = settings, bank, restored or {}, 0
        self.about: dict[str, Any] = {"width": settings.width, "pairs": settings.pairs, "seed": settings.seed}
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(settings.seed)
            self._network = Upscaler(settings.width, settings.pairs)
        channels_last(self._network)
        self._network.to(bank.device)
        self.average = copy.deepcopy(self._network).requires_grad_(False)
        self._precision = training_precision(bank.device)
        self._optimizer = torch.optim.Adam(self._network.parameters(), lr=settings.learning_rate)

    def begin_with(self, network: Upscaler) -> None:
        """Start from the weights of another tool.

        Raises:
            ModelError: Its network is another.
        """
        for own in (self._network, self.average):
            load_weights(own, network.state_dict(), "the tool to begin with")

    def step(self, moment: Moment) -> Mapping[str, Tensor]:
        """Take one gradient step, of one scale; see `Training.step`."""
        seed = self.settings.seed + (moment.attempt << 16)
        generator = numbered_generator(self.bank.device, seed, self.steps)
        scale = SCALES[self.steps % len(SCALES)]
        small, large = self._batch(scale, generator)
        small = small.contiguous(memory_format=torch.channels_last)
        low = self._precision == torch.bfloat16
        with torch.autocast(self.bank.device.type, self._precision, enabled=low):
            enlarged = self._network(small, scale)
        losses = restoration_losses(enlarged.float(), large)
        self._optimizer.zero_grad()
        losses.mean().backward()
        norm = nn.utils.clip_grad_norm_(self._network.parameters(), CLIP_NORM)
        for group in self._optimizer.param_groups:
            group["lr"] = self.settings.learning_rate * rate_factor(moment.done) * moment.rate_factor
        self._optimizer.step()
        average_weights(self.average, self._network, self.steps)
        self.steps += 1
        return {"psnr_db": -losses.detach().mean(), "gradient_norm": norm}

    def _batch(self, scale: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return small patches and large ones: restored ones in every other pair of steps."""
        batch, patch = self.settings.batch, self.settings.patch
        if self.restored and self.steps // len(SCALES) % 2:
            return self.restored[scale].patches(batch, patch, generator)
        large = self.bank.crops(batch, scale * patch, generator)
        by_area = bool(torch.rand((), generator=generator, device=self.bank.device) < AREA_SHARE)
        return reduce(large, scale, by_area), large

    def state(self) -> TrainingState:
        """Return all that is needed to go on; see `Training.state`."""
        modules = nn.ModuleDict({"trained": self._network, "average": self.average})
        return TrainingState(modules, {"upscaler": self._optimizer}, {}, {})

    def restore(self, progress: Mapping[str, Any], replay: Mapping[str, Tensor]) -> None:
        """Take the counters of a checkpoint; see `Training.restore`."""
        del replay  # it has none
        self.steps = progress["steps"]

    def shrink(self) -> bool:
        """Tell that a step cannot be divided; see `Training.shrink`."""
        return False

    @torch.no_grad()
    def gain_db(self, pairs: Pairs) -> float:
        """Return the mean gain in dB over Lanczos."""
        scale = pairs.large.shape[-1] // pairs.small.shape[-1]
        ours, plain = (
            enlarged.clamp(0, 1)
            for enlarged in (self.average(pairs.small, scale), enlarge(pairs.small, scale))
        )
        return float((psnr_db(ours, pairs.large) - psnr_db(plain, pairs.large)).mean())

    def clean_pairs(self, bank: PhotoBank, scale: int, count: int = 64) -> Pairs:
        """Return patches of photographs made smaller, always the same."""
        generator = torch.Generator(bank.device).manual_seed(self.settings.seed)
        large = bank.crops(count, scale * self.settings.patch, generator)
        return Pairs(reduce(large, scale), large)
