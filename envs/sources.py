"""Sources of the pairs with which episodes begin: patches of photographs and recipes of degradations.

The pairs are made by `rlrestore.imaging.pairs`; those above 50 dB are dropped here and replaced by others.
For that the host must read their number, which waits for the device; `candidates` returns them marked
instead.

Source: paper, section 4.1: patches of 63×63, those above 50 dB at the input dropped.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from rlrestore.errors import DataError
from rlrestore.imaging import PATCH
from rlrestore.imaging.metrics import psnr_db
from rlrestore.imaging.patches import LIMIT_DB, PhotoBank
from rlrestore.imaging.recipes import AnyRecipe, draw_pairs

MAX_ROUNDS = 100

PairSource = Callable[[int, torch.Generator], tuple[Tensor, Tensor]]
"""`source(count, generator)` returns degraded and clean `(count, 3, 63, 63)` RGB in [0, 1]."""


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
    mixture: AnyRecipe

    def __call__(self, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Draw pairs; see `PairSource`."""
        return _draw_until(count, self, generator)

    def candidates(self, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """Draw pairs and whether each is usable: below the limit, or untouched; see `CandidateSource`."""
        drawn = draw_pairs(self.bank, self.mixture, count, PATCH, generator)
        usable = drawn.amounts.untouched | (psnr_db(drawn.degraded, drawn.target) <= LIMIT_DB)
        return drawn.degraded, drawn.target, usable
