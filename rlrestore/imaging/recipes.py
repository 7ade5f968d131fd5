"""Recipes: distributions of degradations, and the pairs of patches that are drawn from them.

A recipe of the protocol's degradations draws amounts (`sample`), which are then applied; one of cameras or
film draws pairs (`pairs`), for its target is not the photograph. A blend of both kinds draws pairs.
"""

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from rlrestore.imaging.degradation.camera import CameraRecipe
from rlrestore.imaging.degradation.film import FilmRecipe
from rlrestore.imaging.degradation.mixtures import MODERATE, Mixture, Ranged, light_amounts, mixture_of
from rlrestore.imaging.degradation.protocol import Degradations, where
from rlrestore.imaging.pairs import (
    PatchBatch,
    camera_context_side,
    camera_pairs,
    context_side,
    degraded_pairs,
    film_pairs,
    join,
    split_count,
)
from rlrestore.imaging.patches import PhotoBank

if TYPE_CHECKING:
    from rlrestore.imaging.file_draws import FileDraw


class Recipe(Protocol):
    """A distribution of the protocol's degradations, such as `imaging.degradation.mixtures.Mixture`."""

    def sample(self, count: int, generator: torch.Generator) -> Degradations:
        """Draw the degradations of `count` images, on the generator's device."""
        ...


@runtime_checkable
class PairRecipe(Protocol):
    """A distribution of pairs of patches, and of what is done to files."""

    def context_side(self, size: int) -> int:
        """Return the smallest side of photographs for patches of `size`; see `smallest_side`."""
        ...

    def pairs(self, bank: PhotoBank, count: int, size: int, generator: torch.Generator) -> PatchBatch:
        """Draw pairs; see `draw_pairs`."""
        ...

    def draw_file(self, generator: torch.Generator, rng: np.random.Generator) -> "FileDraw":
        """Draw what is done to one photograph's file; see `draw_file`."""
        ...


AnyRecipe = Recipe | PairRecipe


def smallest_side(recipe: AnyRecipe, size: int) -> int:
    """Return the smallest side in pixels of photographs from which a recipe's patches can be made."""
    return recipe.context_side(size) if isinstance(recipe, PairRecipe) else context_side(size)


def draw_pairs(
    bank: PhotoBank, recipe: AnyRecipe, count: int, size: int, generator: torch.Generator
) -> PatchBatch:
    """Draw pairs of patches from a recipe of either kind.

    Args:
        bank: The photographs, of at least `smallest_side(recipe, size)` pixels.
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


def draw_file(recipe: AnyRecipe, generator: torch.Generator, rng: np.random.Generator) -> "FileDraw":
    """Draw what a recipe of either kind does to one photograph's file.

    Args:
        recipe: The recipe.
        generator: Source of the amounts, and of a sensor's noise; on the CPU.
        rng: Source of all other noise.
    """
    if isinstance(recipe, PairRecipe):
        return recipe.draw_file(generator, rng)
    from rlrestore.imaging.file_draws import protocol_draw  # needs what files do, which trainings do not

    return protocol_draw(recipe.sample(1, generator), rng)


@dataclass(frozen=True)
class SingleDistortions:
    """A recipe: one distortion alone, in one of several ranges; range and amount are drawn uniformly.

    Attributes:
        specs: The ranges, such as those of tools.
        light_share: Share of the samples to which light noise and a light JPEG are added (`light_amounts`),
            as in real files.
    """

    specs: tuple[Ranged, ...]
    light_share: float = 0.0

    def sample(self, count: int, generator: torch.Generator) -> Degradations:
        """Draw the degradations of `count` images, on the generator's device."""
        device = generator.device
        ends = _ends(self.specs, device)
        which = torch.randint(len(self.specs), (count,), generator=generator, device=device)
        low, high, own = ends.low[which], ends.high[which], ends.kinds[:, which]
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
                drawn = where(which == index, mixture_of(spec).sample(count, generator), drawn)
        return drawn


class _Ends(NamedTuple):
    """N ranges: `(N,)` their ends, `(3, N)` bool whether their kind is blur, noise, JPEG."""

    low: Tensor
    high: Tensor
    kinds: Tensor


@functools.cache
def _ends(specs: tuple[Ranged, ...], device: torch.device) -> _Ends:
    """Return the ranges on the device; cached, because sending them there waits."""
    kinds = [[spec.distortion == kind for spec in specs] for kind in ("blur", "noise", "jpeg")]
    return _Ends(
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

    def context_side(self, size: int) -> int:
        """Return the smallest side of photographs; see `smallest_side`."""
        return camera_context_side(size)

    def draw_file(self, generator: torch.Generator, _: np.random.Generator) -> "FileDraw":
        """Draw a camera, and by how much its photograph is scaled down; see `draw_file`."""
        from rlrestore.imaging.file_draws import camera_draw

        return camera_draw(self.recipe.draw(generator), generator)


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

    def context_side(self, size: int) -> int:
        """Return the smallest side of photographs; see `smallest_side`."""
        return context_side(size)

    def draw_file(self, generator: torch.Generator, rng: np.random.Generator) -> "FileDraw":
        """Draw a film; see `draw_file`."""
        from rlrestore.imaging.file_draws import film_draw

        return film_draw(self.recipe.sample(1, generator), rng)


@dataclass(frozen=True)
class Blend:
    """A recipe: each pair comes from one of several recipes, chosen at random.

    Attributes:
        parts: Weights above zero and their recipes; a recipe's probability is its share of the weights' sum.
    """

    parts: tuple[tuple[float, AnyRecipe], ...]

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

    def context_side(self, size: int) -> int:
        """Return the smallest side of photographs; see `smallest_side`."""
        return max(smallest_side(recipe, size) for _, recipe in self.parts)

    def draw_file(self, generator: torch.Generator, rng: np.random.Generator) -> "FileDraw":
        """Draw a part, and what it does to a photograph's file; see `draw_file`."""
        weights = torch.tensor([weight for weight, _ in self.parts])
        _, recipe = self.parts[int(torch.multinomial(weights, 1, generator=generator))]
        return draw_file(recipe, generator, rng)


@dataclass(frozen=True)
class NamedRecipe:
    """A mixture.

    Attributes:
        name: Of one that ships, or of its file without suffix.
        identity: The same; of a file with a checksum of its content, by which a checkpoint knows it again.
        recipe: What is drawn.
        about: In one line, as the file says.
    """

    name: str
    identity: str
    recipe: AnyRecipe
    about: str = ""

    @property
    def levels(self) -> Mixture:
        """The part drawn by levels, on which base networks begin; without one, the moderate mixture."""
        parts = self.recipe.parts if isinstance(self.recipe, Blend) else ((1.0, self.recipe),)
        return next((part for _, part in parts if isinstance(part, Mixture)), MODERATE)
