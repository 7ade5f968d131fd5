from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import Tensor

from rlrestore.envs.leaves import dead_leaves
from rlrestore.envs.sources import (
    LIMIT_DB,
    CleanSource,
    MixedSource,
    MixtureSource,
    PairSource,
    SingleDistortions,
    SingleSource,
)
from rlrestore.errors import DataError
from rlrestore.imaging.degradations import Degradations
from rlrestore.imaging.metrics import psnr_db
from rlrestore.imaging.mixtures import MODERATE
from rlrestore.imaging.patches import PhotoBank
from rlrestore.toolbox.specs import TOOLS


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def bank() -> PhotoBank:
    return dead_leaves()


@dataclass(frozen=True)
class SometimesNoise:
    """A mixture that leaves half of the images as they are."""

    def sample(self, count: int, generator: torch.Generator) -> Degradations:
        noisy = torch.rand(count, generator=generator) < 0.5
        return Degradations(torch.zeros(count), 25.0 * noisy, torch.zeros(count))


@dataclass(frozen=True)
class Nothing:
    """A mixture of no distortion at all."""

    def sample(self, count: int, _: torch.Generator) -> Degradations:
        return Degradations(*(torch.zeros(count) for _ in range(3)))


def constant(value: float) -> PairSource:
    def source(count: int, _: torch.Generator) -> tuple[Tensor, Tensor]:
        return torch.full((count, 3, 2, 2), value), torch.full((count, 3, 2, 2), value + 1)

    return source


@pytest.mark.parametrize("kind", ["mixture", "single", "clean"])
def test_pairs_have_the_protocols_shape_and_range(bank: PhotoBank, kind: str) -> None:
    sources: dict[str, PairSource] = {
        "mixture": MixtureSource(bank, MODERATE),
        "single": SingleSource(bank),
        "clean": CleanSource(bank),
    }
    for image in sources[kind](5, seeded()):
        assert image.shape == (5, 3, 63, 63)
        assert image.dtype == torch.float32
        assert 0 <= image.min() < image.max() <= 1


def test_the_same_seed_gives_the_same_pairs(source: PairSource) -> None:
    once, again, other = source(3, seeded(1)), source(3, seeded(1)), source(3, seeded(2))
    assert torch.equal(once[0], again[0])
    assert torch.equal(once[1], again[1])
    assert not torch.equal(once[1], other[1])


def test_the_degraded_patch_is_its_clean_patch_degraded(source: PairSource) -> None:
    degraded, clean = source(16, seeded())
    own_db = psnr_db(degraded, clean)
    others_db = psnr_db(degraded, clean.roll(1, dims=0))
    assert (own_db > others_db + 3).all()


def test_pairs_above_the_limit_are_drawn_again(bank: PhotoBank) -> None:
    degraded, clean = MixtureSource(bank, SometimesNoise())(32, seeded())
    assert len(degraded) == 32
    assert psnr_db(degraded, clean).max() < LIMIT_DB


def test_a_source_that_never_degrades_is_refused(bank: PhotoBank) -> None:
    with pytest.raises(DataError, match="expected 2 pairs below 50 dB, got 0 in 100 rounds"):
        MixtureSource(bank, Nothing())(2, seeded())


def test_single_distortions_are_single_and_within_the_tools_ranges() -> None:
    drawn = SingleDistortions().sample(3000, seeded())
    amounts = torch.stack((drawn.blur_sigma_px, drawn.noise_sigma_255, drawn.jpeg_quality))
    assert ((amounts > 0).sum(dim=0) <= 1).all()
    for row, highest in zip(amounts, (5.0, 50.0, 100.0), strict=True):
        used = row[row > 0]
        assert used.max() <= highest
        assert len(used) == pytest.approx(1000, abs=100)  # a third of the tools each, σ = 26
    assert amounts[2][amounts[2] > 0].min() >= 10


def test_single_distortions_can_be_those_of_some_tools_only() -> None:
    drawn = SingleDistortions(TOOLS[5:6]).sample(50, seeded())
    assert drawn.noise_sigma_255.min() >= 12.5
    assert drawn.noise_sigma_255.max() <= 25
    assert drawn.blur_sigma_px.abs().max() == 0


def test_clean_pairs_are_equal(bank: PhotoBank) -> None:
    degraded, clean = CleanSource(bank)(2, seeded())
    assert torch.equal(degraded, clean)


def test_a_mixed_source_keeps_the_weights_and_shuffles() -> None:
    degraded, clean = MixedSource([(1, constant(0.0)), (3, constant(5.0))])(4000, seeded())
    values = degraded[:, 0, 0, 0]
    assert torch.equal(clean, degraded + 1)
    assert (values == 5).float().mean().item() == pytest.approx(0.75, abs=0.03)
    assert (values[:1000] == 5).float().mean().item() == pytest.approx(0.75, abs=0.06)


@pytest.mark.parametrize("parts", [[], [(0.0, constant(0.0))]])
def test_a_mixed_source_needs_weights(parts: list[tuple[float, PairSource]]) -> None:
    with pytest.raises(ValueError, match="expected one or more sources with weights above zero"):
        MixedSource(parts)


def test_dead_leaves_are_always_the_same_and_full_of_edges() -> None:
    first, second = (dead_leaves().crops(4, 96, seeded()) for _ in range(2))
    assert torch.equal(first, second)
    steps = (first[..., 1:] - first[..., :-1]).abs().sum(dim=1)
    assert 0.02 < (steps > 0.1).float().mean().item() < 0.5
    assert np.isfinite(first.numpy()).all()
