"""Recipes: distributions of degradations, and the pairs of patches that are drawn from them.

A recipe of the protocol's degradations draws amounts (`sample`), which are then applied; one of cameras or
film draws pairs (`pairs`), for its target is not the photograph. A blend of both kinds draws pairs.
"""

import functools
from dataclasses import dataclass
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor

from rlrestore.imaging.degradation.camera import CameraRecipe
from rlrestore.imaging.degradation.film import FilmRecipe
from rlrestore.imaging.degradation.protocol import Degradations, where
from rlrestore.imaging.pairs import (
    PatchBatch,
    camera_pairs,
    degraded_pairs,
    film_pairs,
    join,
    split_count,
)
from rlrestore.imaging.patches import PhotoBank
from rlrestore.toolbox.distortions import light_amounts, own_mixture
from rlrestore.toolbox.specs import TOOLS, ToolSpec


class Recipe(Protocol):
    """A distribution of the protocol's degradations, such as `imaging.degradation.mixtures.Mixture`."""

    def sample(self, count: int, generator: torch.Generator) -> Degradations:
        """Draw the degradations of `count` images, on the generator's device."""
        ...


@runtime_checkable
class PairRecipe(Protocol):
    """A distribution of pairs of patches."""

    def pairs(self, bank: PhotoBank, count: int, size: int, generator: torch.Generator) -> PatchBatch:
        """Draw pairs; see `draw_pairs`."""
        ...


def draw_pairs(
    bank: PhotoBank, recipe: Recipe | PairRecipe, count: int, size: int, generator: torch.Generator
) -> PatchBatch:
    """Draw pairs of patches from a recipe of either kind.

    Args:
        bank: The photographs, of at least `camera_context_side(size)` pixels where there are cameras, else of
            `context_side(size)`.
        recipe: What is done to them.
        count: How many pairs.
        size: Side of the patches in pixels.
        generator: Source of all draws, on the bank's device.

    Returns:
        The pairs, in no particular order, but alike by the parts of a `Blend`.
    """
    if isinstance(recipe, PairRecipe):
        return recipe.pairs(bank, count, size, generator)
    amounts = recipe.sample(count, generator)
    return PatchBatch(*degraded_pairs(bank, amounts, size, generator), amounts)


@dataclass(frozen=True)
class SingleDistortions:
    """A recipe: the distortion of one tool, tool and amount drawn uniformly.

    Attributes:
        specs: The tools whose distortions and ranges are used.
        light_share: Share of the samples to which light noise and a light JPEG are added (`light_amounts`),
            as in real files.
    """

    specs: tuple[ToolSpec, ...] = TOOLS
    light_share: float = 0.0

    def sample(self, count: int, generator: torch.Generator) -> Degradations:
        """Draw the degradations of `count` images, on the generator's device."""
        device = generator.device
        ranges = _tool_ranges(self.specs, device)
        which = torch.randint(len(self.specs), (count,), generator=generator, device=device)
        low, high, own = ranges.low[which], ranges.high[which], ranges.kinds[:, which]
        amount = low + (high - low) * torch.rand(count, generator=generator, device=device)
        amounts = torch.where(own, amount, 0.0)
        if self.light_share:
            draws = torch.rand(5, count, generator=generator, device=device)
            noise, quality = light_amounts(draws[1:])
            light = (draws[0] < self.light_share) & ~own
            amounts = torch.where(light, torch.stack((torch.zeros_like(noise), noise, quality)), amounts)
        drawn = Degradations(*amounts)
        for index, spec in enumerate(self.specs):
            if spec.distortion == "mixture":
                drawn = where(which == index, own_mixture(spec).sample(count, generator), drawn)
        return drawn


class _ToolRanges(NamedTuple):
    """Ranges of N tools: `(N,)` their ends, `(3, N)` bool whether their kind is blur, noise, JPEG."""

    low: Tensor
    high: Tensor
    kinds: Tensor


@functools.cache
def _tool_ranges(specs: tuple[ToolSpec, ...], device: torch.device) -> _ToolRanges:
    """Return the ranges on the device; cached, because sending them there waits."""
    kinds = [[spec.distortion == kind for spec in specs] for kind in ("blur", "noise", "jpeg")]
    return _ToolRanges(
        torch.tensor([spec.low for spec in specs], device=device),
        torch.tensor([spec.high for spec in specs], device=device),
        torch.tensor(kinds, device=device),
    )


@dataclass(frozen=True)
class Untouched:
    """A recipe: no degradation, so that the best first action is stop."""

    def sample(self, count: int, generator: torch.Generator) -> Degradations:
        """Return no degradations of `count` images, on the generator's device."""
        return Degradations(*torch.zeros(3, count, device=generator.device))


@dataclass(frozen=True)
class Cameras:
    """A recipe: photographs as cameras take them.

    Attributes:
        recipe: How the cameras are drawn.
    """

    recipe: CameraRecipe

    def pairs(self, bank: PhotoBank, count: int, size: int, generator: torch.Generator) -> PatchBatch:
        """Draw pairs; see `draw_pairs`."""
        return camera_pairs(bank, self.recipe, count, size, generator)


@dataclass(frozen=True)
class Films:
    """A recipe: photographs on film or on old prints.

    Attributes:
        recipe: How their grain is drawn.
    """

    recipe: FilmRecipe

    def pairs(self, bank: PhotoBank, count: int, size: int, generator: torch.Generator) -> PatchBatch:
        """Draw pairs; see `draw_pairs`."""
        return film_pairs(bank, self.recipe, count, size, generator)


@dataclass(frozen=True)
class Blend:
    """A recipe: each pair comes from one of several recipes, chosen at random.

    Attributes:
        parts: Weights above zero and their recipes; a recipe's probability is its share of the weights' sum.
    """

    parts: tuple[tuple[float, Recipe | PairRecipe], ...]

    def __post_init__(self) -> None:
        weights = [weight for weight, _ in self.parts]
        if not weights or min(weights) <= 0:
            raise ValueError(f"expected one or more recipes with weights above zero, got weights {weights}")

    def pairs(self, bank: PhotoBank, count: int, size: int, generator: torch.Generator) -> PatchBatch:
        """Draw pairs, part after part; see `draw_pairs`."""
        counts = split_count(count, [weight for weight, _ in self.parts], generator)
        drawn = [
            draw_pairs(bank, recipe, part, size, generator)
            for part, (_, recipe) in zip(counts, self.parts, strict=True)
            if part
        ]
        return join(drawn)
