"""Pairs of patches for training: cameras, film and old prints."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from rlrestore.errors import DataError
from rlrestore.imaging.degradation.camera import SCALE_SHARES, CameraRecipe
from rlrestore.imaging.degradation.compression import CompressionRecipe
from rlrestore.imaging.degradation.film import FILM, OLD_PRINT
from rlrestore.imaging.metrics import psnr_db
from rlrestore.imaging.pairs import PatchBatch, camera_context_side, camera_pairs, film_pairs
from rlrestore.imaging.patches import PhotoBank


@pytest.fixture(scope="module")
def bank(make_photograph: Callable[..., NDArray[np.uint8]]) -> PhotoBank:
    return PhotoBank([make_photograph(140, 160, seed) for seed in range(2)])


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def draw(kind: str, bank: PhotoBank, count: int = 24, seed: int = 0) -> PatchBatch:
    if kind == "camera":
        return camera_pairs(bank, CameraRecipe(), count, 63, seeded(seed))
    return film_pairs(bank, FILM if kind == "film" else OLD_PRINT, count, 63, seeded(seed))


@pytest.mark.parametrize("kind", ["camera", "film", "print"])
def test_pairs_have_their_shape_and_range(bank: PhotoBank, kind: str) -> None:
    pairs = draw(kind, bank)
    assert pairs.degraded.shape == pairs.target.shape == (24, 3, 63, 63)
    assert len(pairs) == len(pairs.amounts) == 24
    for side in (pairs.degraded, pairs.target):
        assert side.isfinite().all()
        assert (side.min() >= 0, side.max() <= 1) == (True, True)
    again = draw(kind, bank)
    assert torch.equal(again.degraded, pairs.degraded)
    assert not torch.equal(draw(kind, bank, seed=1).degraded, pairs.degraded)


@pytest.mark.parametrize("kind", ["camera", "film", "print"])
def test_the_amounts_say_what_was_done(bank: PhotoBank, kind: str) -> None:
    pairs = draw(kind, bank, 48)
    amounts = pairs.amounts
    untouched = amounts.untouched
    assert torch.equal(pairs.degraded[untouched], pairs.target[untouched])
    assert untouched.any() == (kind == "camera")
    assert (amounts.blur_sigma_px > 0).all() == (kind == "print")
    # Where nothing but noise was added, its root mean square over the crop is nearly that of the patch.
    only_noise = (amounts.jpeg_quality == 0) & (amounts.blur_sigma_px == 0) & ~untouched
    measured = 255 * (pairs.degraded - pairs.target).square().mean(dim=(1, 2, 3)).sqrt()[only_noise]
    torch.testing.assert_close(measured, amounts.noise_sigma_255[only_noise], rtol=0.35, atol=0.3)
    assert only_noise.any() == (kind != "print")


def test_clean_pictures_alone(bank: PhotoBank) -> None:
    pairs = camera_pairs(bank, CameraRecipe(clean_share=1), 12, 48, seeded())
    assert torch.equal(pairs.degraded, pairs.target)
    assert pairs.amounts.untouched.all()


def test_the_jpeg_grid_lies_at_any_phase(bank: PhotoBank) -> None:
    """At the lowest quality blocks are flat: the columns where neighbours differ most give the grid away."""
    worst = CompressionRecipe(
        share=1, lowest_quality=1, highest_quality=1, full_chroma_share=1, twice_share=0
    )
    recipe = CameraRecipe(clean_share=0, compression=worst)
    pairs = camera_pairs(bank, recipe, 48, 63, seeded(), {1.0: 1.0})
    jumps = pairs.degraded.mean(dim=1).diff(dim=2).abs().mean(dim=1)[:, :56].view(-1, 7, 8).mean(dim=1)
    assert set(jumps.argmax(dim=1).tolist()) == set(range(8))


def test_scales_come_by_their_shares(bank: PhotoBank, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: dict[float, int] = dict.fromkeys(SCALE_SHARES, 0)
    sample = CameraRecipe.sample

    def counted(self: CameraRecipe, count: int, generator: torch.Generator, scale: float = 1.0) -> object:
        drawn[scale] += count
        return sample(self, count, generator, scale)

    monkeypatch.setattr(CameraRecipe, "sample", counted)
    generator = seeded()
    for _ in range(25):  # small batches too have all of them in the long run
        assert len(camera_pairs(bank, CameraRecipe(), 4, 8, generator)) == 4
    for scale, share in SCALE_SHARES.items():
        assert drawn[scale] / 100 == pytest.approx(share, abs=4 * (share * (1 - share) / 100) ** 0.5)


def test_the_context_must_fit(bank: PhotoBank) -> None:
    assert camera_context_side(63) == 132
    with pytest.raises(DataError, match="expected photographs of at least 148 pixels, the smallest has 140"):
        camera_pairs(bank, CameraRecipe(), 1, 80, seeded(), {1.0: 1.0})


def test_noise_costs_what_its_strength_says(bank: PhotoBank) -> None:
    """Stronger noise by the amounts is a lower PSNR."""
    pairs = camera_pairs(bank, CameraRecipe(clean_share=0), 64, 48, seeded(), {1.0: 1.0})
    strength, quality_db = pairs.amounts.noise_sigma_255, psnr_db(pairs.degraded, pairs.target)
    assert torch.corrcoef(torch.stack((strength.log(), quality_db)))[0, 1].item() < -0.8
