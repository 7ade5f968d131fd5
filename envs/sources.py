"""Sources of the pairs with which episodes begin: patches of photographs and recipes of degradations.

The pairs are made by `rlrestore.imaging.pairs`; those above 50 dB are dropped here and replaced by others.
For that the host must read their number, which waits for the device; `candidates` returns them marked
instead.

Source: paper, section 4.1: patches of 63×63, those above 50 dB at the input dropped.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor

from rlrestore.errors import DataError
from rlrestore.imaging.degradation.protocol import Degradations, where
from rlrestore.imaging.metrics import psnr_db
from rlrestore.imaging.pairs import degraded_pairs
from rlrestore.imaging.patches import LIMIT_DB, PATCH, PhotoBank
from rlrestore.toolbox.distortions import light_amounts, own_mixture
from rlrestore.toolbox.specs import TOOLS, ToolSpec

MAX_ROUNDS = 100

PairSource = Callable[[int, torch.Generator], tuple[Tensor, Tensor]]
"""`source(count, generator)` returns degraded and clean `(count, 3, 63, 63)` RGB in [0, 1]."""


class Recipe(Protocol):
    """A distribution of degradations, such as `rlrestore.imaging.degradation.mixtures.Mixture`."""

    def sample(self, count: int, generator: torch.Generator) -> Degradations:
        """Draw the degradations of `count` images, on the generator's device."""
        ...


@runtime_checkable
class CandidateSource(Protocol):
    """A source that can also be sampled without waiting for the device."""

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
        places = usable.nonzero().squeeze(1)  # waits for the device
        parts.append((degraded, clean) if len(places) == missing else (degraded[places], clean[places]))
        missing -= len(places)
        if missing == 0:
            degraded, clean = parts[0] if len(parts) == 1 else map(torch.cat, zip(*parts, strict=True))
            return degraded, clean
    raise too_few(count, count - missing)


@dataclass(frozen=True)
class MixtureSource:
    """Pairs of random patches and a recipe of degradations.

    Attributes:
        bank: The photographs.
        mixture: One of `rlrestore.imaging.degradation.mixtures`, or another recipe.
    """

    bank: PhotoBank
    mixture: Recipe

    def __call__(self, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Draw pairs; see `PairSource`."""
        return _draw_until(count, self, generator)

    def candidates(self, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """Draw pairs and whether each is usable: below the limit, or untouched; see `CandidateSource`."""
        amounts = self.mixture.sample(count, generator)
        degraded, clean = degraded_pairs(self.bank, amounts, PATCH, generator)
        return degraded, clean, amounts.untouched | (psnr_db(degraded, clean) <= LIMIT_DB)


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
class Blend:
    """A recipe: each sample comes from one of several recipes, chosen at random.

    Attributes:
        parts: Weights above zero and their recipes; a recipe's probability is its share of the weights' sum.
    """

    parts: tuple[tuple[float, Recipe], ...]

    def __post_init__(self) -> None:
        weights = [weight for weight, _ in self.parts]
        if not weights or min(weights) <= 0:
            raise ValueError(f"expected one or more recipes with weights above zero, got weights {weights}")

    def sample(self, count: int, generator: torch.Generator) -> Degradations:
        """Draw the degradations of `count` images, on the generator's device."""
        weights = _on_device(tuple(float(weight) for weight, _ in self.parts), generator.device)
        which = torch.multinomial(weights, count, replacement=True, generator=generator)
        drawn = self.parts[0][1].sample(count, generator)
        for number, (_, recipe) in enumerate(self.parts[1:], start=1):
            drawn = where(which == number, recipe.sample(count, generator), drawn)
        return drawn


@functools.cache
def _on_device(weights: tuple[float, ...], device: torch.device) -> Tensor:
    return torch.tensor(weights, device=device)
