from dataclasses import dataclass

import numpy as np
import pytest
import torch

from rlrestore.envs.leaves import dead_leaves
from rlrestore.envs.sources import MixtureSource, PairSource
from rlrestore.errors import DataError
from rlrestore.imaging.degradation.camera import CameraRecipe
from rlrestore.imaging.degradation.film import FILM
from rlrestore.imaging.degradation.mixtures import MODERATE
from rlrestore.imaging.degradation.protocol import Degradations
from rlrestore.imaging.metrics import psnr_db
from rlrestore.imaging.mixture_files import read_mixture
from rlrestore.imaging.patches import LIMIT_DB, PhotoBank
from rlrestore.imaging.recipes import (
    AnyRecipe,
    Blend,
    Cameras,
    Films,
    Recipe,
    SingleDistortions,
    Untouched,
    draw_pairs,
)
from rlrestore.toolbox.specs import TOOLS, ToolSpec
from tests.envs.waits import Waits


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def bank() -> PhotoBank:
    return dead_leaves()


@dataclass(frozen=True)
class SometimesNoise:
    """A mixture that leaves half of the images all but as they are."""

    def sample(self, count: int, generator: torch.Generator) -> Degradations:
        noisy = torch.rand(count, generator=generator) < 0.5
        return Degradations(torch.zeros(count), 25.0 * noisy + 0.1, torch.zeros(count))


@dataclass(frozen=True)
class Noise:
    """A mixture of noise of one strength."""

    sigma_255: float

    def sample(self, count: int, _: torch.Generator) -> Degradations:
        return Degradations(torch.zeros(count), torch.full((count,), self.sigma_255), torch.zeros(count))


@pytest.mark.parametrize("recipe", [MODERATE, SingleDistortions(TOOLS), Untouched()])
def test_pairs_have_the_protocols_shape_and_range(bank: PhotoBank, recipe: Recipe) -> None:
    for image in MixtureSource(bank, recipe)(5, seeded()):
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


def test_a_source_that_hardly_degrades_is_refused(bank: PhotoBank) -> None:
    with pytest.raises(DataError, match="expected 2 pairs below 50 dB, got 0 in 100 rounds"):
        MixtureSource(bank, Noise(0.1))(2, seeded())


def test_single_distortions_are_single_and_within_the_tools_ranges() -> None:
    drawn = SingleDistortions(TOOLS).sample(3000, seeded())
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


def test_single_distortions_can_come_with_a_little_of_the_others() -> None:
    drawn = SingleDistortions(TOOLS[:4], light_share=0.5).sample(2000, seeded())
    light = (drawn.noise_sigma_255 > 0) | (drawn.jpeg_quality > 0)
    assert light.float().mean().item() == pytest.approx(0.5 * 3 / 4, abs=0.05)  # each comes to every second
    assert drawn.noise_sigma_255.max() <= 5
    assert drawn.jpeg_quality[drawn.jpeg_quality > 0].min() >= 60
    assert drawn.blur_sigma_px.min() > 0


def test_single_distortions_of_a_tool_for_a_mixture_are_that_mixture() -> None:
    mixed = ToolSpec("any-1", "mixture", MODERATE.lowest, MODERATE.highest)
    drawn = SingleDistortions((mixed, TOOLS[0]), light_share=1.0).sample(2000, seeded())
    of_mixture = drawn.blur_sigma_px > 1.25  # where the blur is too strong for the other tool
    assert of_mixture.float().mean().item() == pytest.approx(0.4, abs=0.08)
    assert (drawn.jpeg_quality[of_mixture] > 0).all()
    assert drawn.noise_sigma_255.max() > 30


@pytest.mark.parametrize(
    "recipe", [SingleDistortions(TOOLS, light_share=0.5), read_mixture("second-order").recipe]
)
def test_sampling_waits_for_the_device_only_the_first_time(bank: PhotoBank, recipe: AnyRecipe) -> None:
    source = MixtureSource(bank, recipe)
    source.candidates(4, seeded())  # constants are sent to the device once
    with Waits() as waits:
        source.candidates(4, seeded())
    assert waits.found == []


def test_clean_pairs_are_equal_and_above_no_limit(bank: PhotoBank) -> None:
    degraded, clean = MixtureSource(bank, Untouched())(2, seeded())
    assert torch.equal(degraded, clean)


def test_a_blend_keeps_the_weights(bank: PhotoBank) -> None:
    drawn = draw_pairs(bank, Blend(((1, Noise(10.0)), (3, Noise(20.0)))), 1000, 9, seeded())
    noise, seen_255 = drawn.amounts.noise_sigma_255, 255 * (drawn.degraded - drawn.target).std(dim=(1, 2, 3))
    assert (noise == 20).float().mean().item() == pytest.approx(0.75, abs=0.05)
    assert (noise == 10).float().mean().item() == pytest.approx(0.25, abs=0.05)
    assert float(seen_255[noise == 20].mean()) > 1.5 * float(seen_255[noise == 10].mean())


def test_cameras_and_films_are_recipes_too(bank: PhotoBank) -> None:
    """The target of a camera is what it would have made without noise; of a film, the photograph."""
    cameras, films = Cameras(CameraRecipe(clean_share=0.0)), Films(FILM)
    for recipe in (cameras, films, Blend(((1, cameras), (1, films), (1, MODERATE)))):
        drawn = draw_pairs(bank, recipe, 24, 16, seeded())
        assert drawn.degraded.shape == drawn.target.shape == (24, 3, 16, 16)
        assert len(drawn.amounts) == 24
        again = draw_pairs(bank, recipe, 24, 16, seeded())
        assert torch.equal(drawn.degraded, again.degraded)
        noisy = (drawn.degraded - drawn.target).std(dim=(1, 2, 3)) * 255
        assert float(torch.corrcoef(torch.stack((noisy, drawn.amounts.noise_sigma_255)))[0, 1]) > 0.5


@pytest.mark.parametrize("parts", [(), ((0.0, Untouched()),)])
def test_a_blend_needs_weights(parts: tuple[tuple[float, Recipe], ...]) -> None:
    with pytest.raises(ValueError, match="expected one or more recipes with weights above zero"):
        Blend(parts)


def test_dead_leaves_are_always_the_same_and_full_of_edges() -> None:
    first, second = (dead_leaves().crops(4, 96, seeded()) for _ in range(2))
    assert torch.equal(first, second)
    steps = (first[..., 1:] - first[..., :-1]).abs().sum(dim=1)
    assert 0.02 < (steps > 0.1).float().mean().item() < 0.5
    assert np.isfinite(first.numpy()).all()
