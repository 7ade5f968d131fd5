"""The paper's three mixtures of distortions.

A level triple (blur, noise, JPEG), each from 1 to 10, stands for an interval of each parameter. A mixture is
the set of triples whose levels add up to a given range; a triple is drawn uniformly, then each parameter
uniformly inside its interval.

Source: paper, section 4.1 (mild and severe are never trained on; moderate is the training mixture).
"""

import functools
import itertools
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from rlrestore.imaging.degradation.protocol import Degradations

LEVELS = 10
BLUR_STEP_PX = 0.5
NOISE_STEP_255 = 5.0
JPEG_ENDS = (100.0, 80.0, 60.0, 50.0, 40.0, 35.0, 30.0, 25.0, 20.0, 15.0, 10.0)
"""JPEG level j lies between `JPEG_ENDS[j]` and `JPEG_ENDS[j - 1]`."""
LIGHT_NOISE_255 = 5.0
LIGHT_JPEG_QUALITY = 60.0


class Ranged(Protocol):
    """A distortion and the range of its amount, such as `toolbox.specs.ToolSpec`."""

    @property
    def distortion(self) -> str:
        """`blur`, `noise`, `jpeg`, or `mixture` for all three at once."""
        ...

    @property
    def low(self) -> float:
        """Where the range begins: px, units of 1/255, quality, or `Mixture.lowest`."""
        ...

    @property
    def high(self) -> float:
        """Where it ends."""
        ...


@dataclass(frozen=True)
class Mixture:
    """The level triples (b, n, j) with b + n + j − 2 from `lowest` to `highest`."""

    name: str
    lowest: int
    highest: int

    def triples(self) -> list[tuple[int, int, int]]:
        """Return every level triple of the mixture, in lexicographic order."""
        levels = range(1, LEVELS + 1)
        every = itertools.product(levels, levels, levels)
        return [triple for triple in every if self.lowest <= sum(triple) - 2 <= self.highest]

    def sample(self, count: int, generator: torch.Generator) -> Degradations:
        """Draw the degradations of `count` images, on the generator's device."""
        device = generator.device
        triples = _on_device(self, device)
        drawn = triples[torch.randint(len(triples), (count,), generator=generator, device=device)]
        inside = torch.rand(count, 3, generator=generator, device=device)
        ends = _jpeg_ends(device)
        above, below = ends[drawn[:, 2] - 1], ends[drawn[:, 2]]
        return Degradations(
            blur_sigma_px=(drawn[:, 0] - inside[:, 0]) * BLUR_STEP_PX,
            noise_sigma_255=(drawn[:, 1] - inside[:, 1]) * NOISE_STEP_255,
            jpeg_quality=below + (above - below) * inside[:, 2],
        )


def mixture_of(ranged: Ranged) -> Mixture:
    """Return the mixture of a range whose distortion is `mixture`."""
    return Mixture("mixture", round(ranged.low), round(ranged.high))


def light_amounts(draws: Tensor) -> tuple[Tensor, Tensor]:
    """Turn `(4, B)` uniform draws into light noise up to 5 of 255 and JPEG from quality 60, 0 for none.

    Each comes to every second image, independently.
    """
    has_noise, has_jpeg = draws[:2] < 0.5
    noise = torch.where(has_noise, LIGHT_NOISE_255 * draws[2], 0.0)
    quality = torch.where(has_jpeg, LIGHT_JPEG_QUALITY + (100 - LIGHT_JPEG_QUALITY) * draws[3], 0.0)
    return noise, quality


@functools.cache
def _on_device(mixture: Mixture, device: torch.device) -> torch.Tensor:
    """Return the triples `(T, 3)` where they are drawn: kept there, for they are asked for in every step."""
    return torch.tensor(mixture.triples(), device=device)


@functools.cache
def _jpeg_ends(device: torch.device) -> torch.Tensor:
    return torch.tensor(JPEG_ENDS, device=device)


MILD = Mixture("mild", 9, 11)
MODERATE = Mixture("moderate", 12, 17)
SEVERE = Mixture("severe", 18, 20)
ANY = Mixture("any", 1, 20)
"""Everything from nearly clean to severe: not the paper's, for a model that people use."""
MIXTURES: dict[str, Mixture] = {mixture.name: mixture for mixture in (MILD, MODERATE, SEVERE)}
