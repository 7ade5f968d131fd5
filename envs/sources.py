"""Where the pairs of an episode come from: photographs, degraded in ways that differ in the mixture.

The pairs are `rlrestore.imaging.pairs`; those above 50 dB are dropped here, and others drawn instead.

Source: paper, section 4.1: patches of 63×63, those above 50 dB at the input dropped.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from rlrestore.errors import DataError
from rlrestore.imaging.degradations import Degradations
from rlrestore.imaging.metrics import psnr_db
from rlrestore.imaging.pairs import degraded_pairs
from rlrestore.imaging.patches import PhotoBank
from rlrestore.toolbox.distortions import own_distortion
from rlrestore.toolbox.specs import TOOLS, ToolSpec

PATCH = 63
"""Side of a patch in pixels."""
LIMIT_DB = 50.0
"""Pairs that are already better than this teach nothing."""
MAX_ROUNDS = 100

PairSource = Callable[[int, torch.Generator], tuple[Tensor, Tensor]]
"""`source(count, generator)` returns degraded and clean `(count, 3, 63, 63)` RGB in [0, 1]."""


class Recipe(Protocol):
    """Anything that samples degradations; `rlrestore.imaging.mixtures.Mixture` is one."""

    def sample(self, count: int, generator: torch.Generator) -> Degradations:
        """Draw the degradations of `count` images, on the generator's device."""
        ...


def _draw_until(
    count: int, draw: Callable[[int], tuple[Tensor, Tensor]], device: torch.device
) -> tuple[Tensor, Tensor]:
    """Draw pairs until `count` of them are below the limit; those above it are dropped.

    Raises:
        DataError: Nearly every pair is above the limit.
    """
    degraded, clean = (torch.empty(0, 3, PATCH, PATCH, device=device) for _ in range(2))
    for _ in range(MAX_ROUNDS):
        missing = count - len(degraded)
        if missing == 0:
            return degraded, clean
        more, target = draw(missing)
        kept = psnr_db(more, target) <= LIMIT_DB
        degraded, clean = torch.cat((degraded, more[kept])), torch.cat((clean, target[kept]))
    raise DataError(
        f"expected {count} pairs below {LIMIT_DB:g} dB, got {len(degraded)} in {MAX_ROUNDS} rounds: "
        "the photographs are blank, or the degradations too weak; give others"
    )


@dataclass(frozen=True)
class MixtureSource:
    """Pairs of a mixture of distortions.

    Attributes:
        bank: The photographs.
        mixture: One of `rlrestore.imaging.mixtures`, or anything that samples degradations.
    """

    bank: PhotoBank
    mixture: Recipe

    def __call__(self, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Draw pairs; see `PairSource`."""

        def draw(missing: int) -> tuple[Tensor, Tensor]:
            return degraded_pairs(self.bank, self.mixture.sample(missing, generator), PATCH, generator)

        return _draw_until(count, draw, generator.device)


@dataclass(frozen=True)
class SingleDistortions:
    """A recipe: the distortion of one tool alone, tool and amount drawn uniformly.

    Attributes:
        specs: The tools whose distortions and ranges are meant.
    """

    specs: tuple[ToolSpec, ...] = TOOLS

    def sample(self, count: int, generator: torch.Generator) -> Degradations:
        """Draw the degradations of `count` images, on the generator's device."""
        drawn = torch.randint(len(self.specs), (count,), generator=generator, device=generator.device)
        return own_distortion([self.specs[index] for index in drawn.tolist()], generator)


@dataclass(frozen=True)
class SingleSource:
    """Pairs with the tools' own single distortions, which the authors mix into the agent's training.

    Attributes:
        bank: The photographs.
        specs: The tools whose distortions are meant.
    """

    bank: PhotoBank
    specs: tuple[ToolSpec, ...] = TOOLS

    def __call__(self, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Draw pairs; see `PairSource`."""
        return MixtureSource(self.bank, SingleDistortions(self.specs))(count, generator)


@dataclass(frozen=True)
class CleanSource:
    """Clean patches as their own inputs: the right first action is stop, and the 50 dB limit does not apply.

    Attributes:
        bank: The photographs.
    """

    bank: PhotoBank

    def __call__(self, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Draw pairs; see `PairSource`."""
        clean = self.bank.crops(count, PATCH, generator)
        return clean, clean


@dataclass(frozen=True)
class MixedSource:
    """Each pair from one of several sources, in a random order.

    Attributes:
        parts: Weights above zero, not necessarily of sum 1, and their sources.
    """

    parts: Sequence[tuple[float, PairSource]]

    def __post_init__(self) -> None:
        weights = [weight for weight, _ in self.parts]
        if not weights or min(weights) <= 0:
            raise ValueError(f"expected one or more sources with weights above zero, got weights {weights}")

    def __call__(self, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Draw pairs; see `PairSource`."""
        weights = torch.tensor([float(weight) for weight, _ in self.parts], device=generator.device)
        which = torch.multinomial(weights, count, replacement=True, generator=generator)
        sizes = torch.bincount(which, minlength=len(self.parts)).tolist()
        drawn = [source(n, generator) for n, (_, source) in zip(sizes, self.parts, strict=True) if n]
        # `which` holds each part's number as often as that part was drawn: undoing its sort is the shuffle.
        place = which.argsort(stable=True).argsort()
        degraded, clean = (torch.cat(side)[place] for side in zip(*drawn, strict=True))
        return degraded, clean
