"""A recipe of stages of the registry, one after another, each by amounts drawn within its ranges."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from rlrestore.imaging.degradation.batches import Rows, apply_where
from rlrestore.imaging.degradation.jpeg import MCU
from rlrestore.imaging.degradation.protocol import Degradations
from rlrestore.imaging.degradation.registry import Amounts, Degradation
from rlrestore.imaging.file_draws import FileDraw, FilePair, to_bytes
from rlrestore.imaging.io.samples import Floats
from rlrestore.imaging.pairs import PatchBatch, coded_side, take_patches
from rlrestore.imaging.patches import PhotoBank


@dataclass(frozen=True)
class Stage:
    """One degradation, and how its amounts are drawn.

    Attributes:
        name: Of the degradation.
        degradation: What is done.
        ranges: By parameter: between which ends its amount is drawn, uniformly.
        share: Of the images to which it is done.
    """

    name: str
    degradation: Degradation
    ranges: Mapping[str, tuple[float, float]] = field(hash=False)
    share: float = 1.0

    @property
    def reach_px(self) -> int:
        """How far inwards, in pixels, it lets a replicated border show."""
        return self.degradation.reach_px({name: high for name, (_, high) in self.ranges.items()})

    def sample(self, count: int, generator: torch.Generator) -> tuple[Tensor, Amounts]:
        """Draw to which of `count` images it is done, `(count,)` bool, and by which amounts."""
        draws = torch.rand(1 + len(self.ranges), count, generator=generator, device=generator.device)
        ends = zip(self.ranges.items(), draws[1:], strict=True)
        return draws[0] < self.share, {name: low + (high - low) * draw for (name, (low, high)), draw in ends}


@dataclass(frozen=True)
class Chain:
    """A recipe: stages in turn; the target is the photograph.

    Attributes:
        stages: At least one.
    """

    stages: tuple[Stage, ...]

    @property
    def reach_px(self) -> int:
        """How far inwards, in pixels, a replicated border shows in the end."""
        return sum(stage.reach_px for stage in self.stages)

    def context_side(self, size: int) -> int:
        """Return the side of the crop that is degraded to make a patch of `size` pixels."""
        return coded_side(size) + 2 * self.reach_px

    def pairs(self, bank: PhotoBank, count: int, size: int, generator: torch.Generator) -> PatchBatch:
        """Draw pairs; see `draw_pairs`."""
        clean = bank.crops(count, self.context_side(size), generator)
        degraded, counted = clean, _Counted.none(clean)
        for stage in self.stages:
            chosen, amounts = stage.sample(count, generator)
            degraded = _apply(stage, degraded, chosen, amounts, generator)
            counted = counted.after(stage, chosen, amounts)
        top, left = self.reach_px + torch.randint(MCU, (2, count), generator=generator, device=clean.device)
        degraded, clean = (take_patches(images, top, left, size) for images in (degraded, clean))
        return PatchBatch(degraded, clean, counted.amounts())

    def draw_file(self, generator: torch.Generator, rng: np.random.Generator) -> FileDraw:
        """Draw what is done to one photograph's file; see `draw_file`."""
        drawn = []
        for stage in self.stages:
            chosen, amounts = stage.sample(1, generator)
            if chosen:
                drawn.append((stage, {name: amount.item() for name, amount in amounts.items()}))

        def apply(pixels: Floats) -> FilePair:
            degraded = pixels
            for stage, amounts in drawn:
                degraded = stage.degradation.file(degraded, amounts, rng)
            return to_bytes(degraded), to_bytes(pixels)

        words = [
            f"{stage.name} {' '.join(f'{name} {amount:.4g}' for name, amount in amounts.items())}".strip()
            for stage, amounts in drawn
        ]
        return FileDraw(", ".join(words) or "nothing", self.reach_px + 2 * MCU, apply)


def _apply(
    stage: Stage, images: Tensor, chosen: Tensor, amounts: Amounts, generator: torch.Generator
) -> Tensor:
    def degrade(some: Tensor, rows: Rows) -> Tensor:
        theirs = {name: amount[rows] for name, amount in amounts.items()}
        return stage.degradation.batch(some, theirs, generator)

    return apply_where(chosen, images, degrade)


@dataclass(frozen=True)
class _Counted:
    """The protocol's amounts that come closest to the stages so far: variances add up, the last JPEG counts.

    Attributes:
        blur: `(B,)` variance in px².
        noise: `(B,)` variance in units of 1/255².
        quality: `(B,)` of the last JPEG, 0 for none.
    """

    blur: Tensor
    noise: Tensor
    quality: Tensor

    @classmethod
    def none(cls, images: Tensor) -> "_Counted":
        """Return those of no stage."""
        return cls(*images.new_zeros(3, len(images)))

    def after(self, stage: Stage, chosen: Tensor, amounts: Amounts) -> "_Counted":
        """Return those after one more stage for the images that are chosen, `(B,)` bool."""
        counts, nothing = stage.degradation.counts(amounts), torch.zeros_like(self.blur)
        blur, noise = (
            torch.where(chosen, counts.get(name, nothing).square(), 0.0)
            for name in ("blur_sigma_px", "noise_sigma_255")
        )
        quality = torch.where(chosen, counts.get("jpeg_quality", self.quality), self.quality)
        return _Counted(self.blur + blur, self.noise + noise, quality)

    def amounts(self) -> Degradations:
        """Return them as amounts."""
        return Degradations(self.blur.sqrt(), self.noise.sqrt(), self.quality)
