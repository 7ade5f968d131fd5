"""Film grain and old prints: strength by brightness, size, what the colours share."""

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor

from rlrestore.imaging.degradation.blur import gaussian_blur
from rlrestore.imaging.degradation.compression import CompressionRecipe
from rlrestore.imaging.degradation.film import FILM, OLD_PRINT, Film, add_grain, simulate_film
from rlrestore.imaging.degradation.noise import correlated_noise

Pixels = npt.NDArray[np.uint8]


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def film(sigma_255: float, size_px: float = 0.5, common: float = 0.5, blur_px: float = 0.0) -> Film:
    blur, sigma, size, shared = torch.tensor([[blur_px], [sigma_255], [size_px], [common]])
    return Film(blur, sigma, size, shared, CompressionRecipe(share=0).sample(1, seeded()))


def grain_of(level: float, made: Film) -> Tensor:
    flat = torch.full((1, 3, 300, 300), level)
    return (add_grain(flat, made, seeded()) - flat)[0]


def correlation(one: Tensor, other: Tensor) -> float:
    return float(torch.corrcoef(torch.stack((one.flatten(), other.flatten())))[0, 1])


@pytest.mark.parametrize(("level", "share"), [(0.5, 1.0), (0.25, 0.825), (0.9, 0.552), (0.1, 0.552)])
def test_grain_is_strongest_in_mid_tones(level: float, share: float) -> None:
    """0.3 + 0.7·4x(1 − x), by hand: 1 − 0.7·(2x − 1)²."""
    assert grain_of(level, film(6.0)).std().item() * 255 == pytest.approx(6.0 * share, rel=0.02)


@pytest.mark.parametrize("common", [0.0, 0.4, 1.0])
def test_colours_share_a_part_of_the_grain(common: float) -> None:
    red, green, blue = grain_of(0.5, film(6.0, common=common))
    for one, other in ((red, green), (red, blue), (green, blue)):
        assert correlation(one, other) == pytest.approx(common, abs=0.02)


@pytest.mark.parametrize("size_px", [0.8, 1.5, 3.0])
def test_neighbours_agree_as_a_gaussians_autocorrelation(size_px: float) -> None:
    noise = correlated_noise((4, 1, 300, 300), torch.full((4,), size_px), seeded())
    assert noise.std().item() == pytest.approx(1, rel=0.02)
    for lag in (1, 2):
        expected = float(np.exp(-(lag**2) / (4 * size_px**2)))
        assert correlation(noise[..., lag:], noise[..., :-lag]) == pytest.approx(expected, abs=0.03)


def test_noise_of_no_size_is_white() -> None:
    noise = correlated_noise((1, 2, 200, 200), torch.zeros(1), seeded())
    assert noise.std().item() == pytest.approx(1, rel=0.02)
    assert abs(correlation(noise[..., 1:], noise[..., :-1])) < 0.02
    assert abs(correlation(noise[:, 0], noise[:, 1])) < 0.02


def test_without_grain_blur_and_jpeg_the_photograph_comes_back(photograph: Pixels) -> None:
    images = torch.from_numpy(photograph.copy()).permute(2, 0, 1)[None].float() / 255
    degraded, target = simulate_film(images, film(0.0), seeded())
    torch.testing.assert_close(degraded, images, atol=1e-6, rtol=0)
    assert torch.equal(target, images)


def test_a_prints_reference_is_sharp(photograph: Pixels) -> None:
    images = torch.from_numpy(photograph.copy()).permute(2, 0, 1)[None].float() / 255
    degraded, target = simulate_film(images, film(0.0, blur_px=2.0), seeded(), margin=10)
    assert torch.equal(target, images[..., 10:-10, 10:-10])
    torch.testing.assert_close(degraded, gaussian_blur(images, torch.tensor([2.0]), 10), atol=1e-6, rtol=0)


def test_films_are_drawn_between_their_ends() -> None:
    drawn, prints = FILM.sample(4000, seeded()), OLD_PRINT.sample(4000, seeded())
    assert not drawn.blur_sigma_px.any()
    assert (drawn.grain_sigma_255.min() >= 2, drawn.grain_sigma_255.max() <= 30) == (True, True)
    assert drawn.grain_sigma_255.mean().item() == pytest.approx(16, abs=0.5)
    assert (prints.blur_sigma_px.min() >= 0.5, prints.blur_sigma_px.max() <= 2.5) == (True, True)
    assert prints.compression.quality.min() >= 40
    assert len(drawn) == 4000
