"""The statistics of noise, on noise whose statistics are known."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from experiments.noise_statistics import LEVELS_255, measure_noise, measure_pairs, quantiles
from rlrestore.errors import DataError

Floats = npt.NDArray[np.float64]
Pixels = npt.NDArray[np.uint8]


def rounded(image: Floats) -> Pixels:
    return np.rint(image).clip(0, 255).astype(np.uint8)


def flat(level: float = 120.0, side: int = 256) -> Pixels:
    return rounded(np.full((side, side, 3), level))


def white(shape: tuple[int, ...], sigma: float, seed: int = 0) -> Floats:
    return np.random.default_rng(seed).normal(0, sigma, shape)


def test_white_noise_is_white() -> None:
    statistics = measure_noise(rounded(flat() + white((256, 256, 3), 6)), flat())
    assert statistics is not None
    # The lowest ring holds the constant, which was taken out, and what the window let leak from it.
    np.testing.assert_allclose(statistics.luma_spectrum[2:], 1, atol=0.15)
    np.testing.assert_allclose(statistics.chroma_spectrum[2:], 1, atol=0.15)
    for correlations in (statistics.luma_neighbours, statistics.chroma_neighbours, statistics.colours):
        np.testing.assert_allclose(correlations, 0, atol=0.03)
    level = LEVELS_255.index(120)
    assert statistics.sigma_255[level] == pytest.approx(6.0, rel=0.02)
    assert np.isnan(np.delete(statistics.sigma_255, level)).all()
    # Var(Y) = Σw², Var(R − Y) = 1 − 2·w + Σw²; the mean of red's and blue's.
    luma = 0.299**2 + 0.587**2 + 0.114**2
    chroma = 1 - 0.299 - 0.114 + luma
    assert statistics.chroma_ratio == pytest.approx((chroma / luma) ** 0.5, rel=0.02)


def test_blurred_and_correlated_noise_is_measured() -> None:
    """A Gaussian of σ makes neighbours agree by exp(−d²/(4σ²))."""
    common = cv2.GaussianBlur(white((512, 512), 40), (0, 0), 1.2)
    noisy = rounded(flat(side=512) + common[..., None] + white((512, 512, 3), 4, seed=1))
    statistics = measure_noise(noisy, flat(side=512))
    assert statistics is not None
    blurred, own = float(common.var()), 16.0
    assert statistics.colours == pytest.approx([blurred / (blurred + own)] * 3, abs=0.03)
    luma_own = own * (0.299**2 + 0.587**2 + 0.114**2)
    for index, distance in enumerate((1, 1, 2**0.5, 2, 2)):
        expected = np.exp(-(distance**2) / (4 * 1.2**2)) * blurred / (blurred + luma_own)
        assert statistics.luma_neighbours[index] == pytest.approx(expected, abs=0.04)
    np.testing.assert_allclose(statistics.chroma_neighbours, 0, atol=0.03)
    assert statistics.luma_spectrum[2] > 2
    assert statistics.luma_spectrum[-1] < 0.3


def test_strength_is_measured_by_brightness() -> None:
    reference = np.concatenate([flat(level, 128) for level in (24, 136, 248)])
    sigmas = np.repeat([2.0, 5.0, 1.0], 128)[:, None, None]
    statistics = measure_noise(rounded(reference + sigmas * white(reference.shape, 1)), reference)
    assert statistics is not None
    found = {level: statistics.sigma_255[LEVELS_255.index(level)] for level in (24, 136, 248)}
    for level, sigma in zip(found, (2.0, 5.0, 1.0), strict=True):
        assert found[level] == pytest.approx((sigma**2 + 1 / 12) ** 0.5, rel=0.05)  # rounding adds 1/12
    assert np.isnan(statistics.sigma_255[LEVELS_255.index(72)])


def test_a_slope_is_flat_and_texture_is_not() -> None:
    slope = rounded(np.linspace(40, 200, 256)[:, None, None] + np.zeros((256, 256, 3)))
    noise = white((256, 256, 3), 3)
    assert measure_noise(rounded(slope + noise), slope) is not None
    stripes = rounded(np.tile([90.0, 110.0], 128)[:, None, None] + np.zeros((256, 256, 3)))
    assert measure_noise(rounded(stripes + noise), stripes) is None
    assert measure_noise(slope, slope) is None  # no noise, no statistics


def test_quantiles_leave_out_what_a_photograph_does_not_have() -> None:
    parts = [
        measure_noise(rounded(flat(level) + white((256, 256, 3), 3)), flat(level)) for level in (24, 24, 136)
    ]
    middle = quantiles([part for part in parts if part is not None], 0.5)
    assert middle.sigma_255[LEVELS_255.index(136)] == pytest.approx(3, rel=0.05)
    assert np.isnan(middle.sigma_255[LEVELS_255.index(72)])


def test_pairs_are_asked_for(tmp_path: Path, make_photograph: Callable[..., Pixels]) -> None:
    Image.fromarray(make_photograph(40, 40)).save(tmp_path / "a.png")
    with pytest.raises(DataError, match=r"expected pairs of files named \.\.\._real and \.\.\._mean"):
        measure_pairs(tmp_path)
