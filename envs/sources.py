"""Where the pairs of an episode come from: photographs, degraded in ways that differ in the mixture.

The pairs are `rlrestore.imaging.pairs`; those above 50 dB are dropped here, and others drawn instead. To drop
them the host must know how many there are, which costs a wait for the device; who can drop them later asks
for `candidates`.

Source: paper, section 4.1: patches of 63×63, those above 50 dB at the input dropped.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from rlrestore.errors import DataError
from rlrestore.imaging.degradation.protocol import Degradations, where
from rlrestore.imaging.metrics import psnr_db
from rlrestore.imaging.pairs import degraded_pairs
from rlrestore.imaging.patches import PhotoBank
from rlrestore.toolbox.distortions import own_distortion, training_distortion
from rlrestore.toolbox.specs import TOOLS, ToolSpec

PATCH = 63
"""Side of a patch in pixels."""
LIMIT_DB = 50.0
"""Pairs that are already better than this teach nothing."""
MAX_ROUNDS = 100

PairSource = Callable[[int, torch.Generator], tuple[Tensor, Tensor]]
"""`source(count, generator)` returns degraded and clean `(count, 3, 63, 63)` RGB in [0, 1]."""


class Recipe(Protocol):
    """Anything that samples degradations; `rlrestore.imaging.degradation.mixtures.Mixture` is one."""

    def sample(self, count: int, generator: torch.Generator) -> Degradations:
        """Draw the degradations of `count` images, on the generator's device."""
        ...


@runtime_checkable
class CandidateSource(Protocol):
    """A source that can also draw without waiting for the device."""

    def candidates(self, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """Draw pairs, each `(count, 3, 63, 63)`, and `(count,)` bool: whether each is below the limit."""
        ...


def too_few(count: int, came: int) -> DataError:
    """Return the error of a source nearly all of whose pairs are above the limit."""
    return DataError(
        f"expected {count} pairs below {LIMIT_DB:g} dB, got {came} in {MAX_ROUNDS} rounds: "
        "the photographs are blank, or the degradations too weak; give others"
    )


def _draw_until(count: int, source: CandidateSource, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Draw pairs until `count` of them are below the limit; those above it are dropped.

    Raises:
        DataError: Nearly every pair is above the limit.
    """
    parts, missing = [], count
    for _ in range(MAX_ROUNDS):
        degraded, clean, usable = source.candidates(missing, generator)
        kept = usable.nonzero().squeeze(1)  # the wait
        parts.append((degraded, clean) if len(kept) == missing else (degraded[kept], clean[kept]))
        missing -= len(kept)
        if missing == 0:
            degraded, clean = parts[0] if len(parts) == 1 else map(torch.cat, zip(*parts, strict=True))
            return degraded, clean
    raise too_few(count, count - missing)


@dataclass(frozen=True)
class MixtureSource:
    """Pairs of a mixture of distortions.

    Attributes:
        bank: The photographs.
        mixture: One of `rlrestore.imaging.degradation.mixtures`, or anything that samples degradations.
    """

    bank: PhotoBank
    mixture: Recipe

    def __call__(self, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Draw pairs; see `PairSource`."""
        return _draw_until(count, self, generator)

    def candidates(self, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """Draw pairs and whether each is below the limit, or clean on purpose; see `CandidateSource`."""
        amounts = self.mixture.sample(count, generator)
        degraded, clean = degraded_pairs(self.bank, amounts, PATCH, generator)
        return degraded, clean, amounts.untouched | (psnr_db(degraded, clean) <= LIMIT_DB)


@dataclass(frozen=True)
class SingleDistortions:
    """A recipe: the distortion of one tool, tool and amount drawn uniformly.

    Attributes:
        specs: The tools whose distortions and ranges are meant.
        light_share: Share of the samples to which a little noise and a light JPEG are added, as real files
            have them.
    """

    specs: tuple[ToolSpec, ...] = TOOLS
    light_share: float = 0.0

    def sample(self, count: int, generator: torch.Generator) -> Degradations:
        """Draw the degradations of `count` images, on the generator's device."""
        drawn = torch.randint(len(self.specs), (count,), generator=generator, device=generator.device)
        specs = [self.specs[index] for index in drawn.tolist()]
        alone = own_distortion(specs, generator)
        if not self.light_share:
            return alone
        light = torch.rand(count, generator=generator, device=generator.device) < self.light_share
        return where(light, training_distortion(specs, generator, mixed_share=0.0), alone)


@dataclass(frozen=True)
class Untouched:
    """A recipe: nothing is done to a photograph, and the right first action is stop."""

    def sample(self, count: int, generator: torch.Generator) -> Degradations:
        """Return no degradations of `count` images, on the generator's device."""
        return Degradations(*torch.zeros(3, count, device=generator.device))


@dataclass(frozen=True)
class Blend:
    """A recipe: each sample is one of several recipes'.

    Attributes:
        parts: Weights above zero, not necessarily of sum 1, and their recipes.
    """

    parts: tuple[tuple[float, Recipe], ...]

    def __post_init__(self) -> None:
        weights = [weight for weight, _ in self.parts]
        if not weights or min(weights) <= 0:
            raise ValueError(f"expected one or more recipes with weights above zero, got weights {weights}")

    def sample(self, count: int, generator: torch.Generator) -> Degradations:
        """Draw the degradations of `count` images, on the generator's device."""
        weights = torch.tensor([float(weight) for weight, _ in self.parts], device=generator.device)
        which = torch.multinomial(weights, count, replacement=True, generator=generator)
        drawn = self.parts[0][1].sample(count, generator)
        for number, (_, recipe) in enumerate(self.parts[1:], start=1):
            drawn = where(which == number, recipe.sample(count, generator), drawn)
        return drawn
