"""The degradation of files: each stage on its own, and what it refuses."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest

from rlrestore.imaging.degradation.libjpeg import degrade_pixels, jpeg_round_trip

Pixels = npt.NDArray[np.uint8]


def _rng() -> np.random.Generator:
    return np.random.default_rng(0)


def test_nothing_done_leaves_the_pixels(photograph: Pixels) -> None:
    np.testing.assert_array_equal(degrade_pixels(photograph, 0, 0, None, _rng()), photograph)


def test_a_point_is_blurred_into_the_gaussian() -> None:
    pixels = np.zeros((41, 41, 3), np.uint8)
    pixels[20, 20] = 255
    blurred = degrade_pixels(pixels, 2.0, 0, None, _rng())
    y, x = np.mgrid[-10:11, -10:11]
    kernel = np.exp(-(y**2 + x**2) / 8)
    expected = np.rint(255 * kernel / kernel.sum())
    np.testing.assert_array_equal(blurred[10:31, 10:31, 1], expected)
    assert blurred[:10].max() == 0  # nothing beyond 10 pixels: the kernel has 21


def test_the_border_is_replicated() -> None:
    pixels = np.full((24, 30, 3), 200, np.uint8)
    np.testing.assert_array_equal(degrade_pixels(pixels, 5.0, 0, None, _rng()), pixels)


def test_noise_has_its_moments() -> None:
    pixels = np.full((256, 256, 3), 128, np.uint8)
    noise = degrade_pixels(pixels, 0, 25.0, None, _rng()).astype(float) - 128
    assert abs(noise.mean()) < 0.3  # 5 standard errors
    assert noise.std() == pytest.approx(25.0, rel=0.01)


def test_noise_is_clipped_not_wrapped() -> None:
    noisy = degrade_pixels(np.full((64, 64, 3), 250, np.uint8), 0, 50.0, None, _rng())
    assert noisy.max() == 255
    assert (noisy == 255).mean() > 0.3
    assert noisy.min() > 20


def test_the_same_seed_gives_the_same_noise(photograph: Pixels) -> None:
    first, second = (degrade_pixels(photograph, 1.0, 20.0, 30, _rng()) for _ in range(2))
    other = degrade_pixels(photograph, 1.0, 20.0, 30, np.random.default_rng(1))
    np.testing.assert_array_equal(first, second)
    assert (first != other).any()


def test_the_stages_come_in_order(photograph: Pixels) -> None:
    at_once = degrade_pixels(photograph, 1.5, 20.0, 40, _rng())
    in_turn = jpeg_round_trip(degrade_pixels(photograph, 1.5, 20.0, None, _rng()), 40)
    np.testing.assert_array_equal(at_once, in_turn)


def test_a_lower_quality_costs_more(make_photograph: Callable[..., Pixels]) -> None:
    pixels = make_photograph(96, 128)
    errors = [
        float(((degrade_pixels(pixels, 0, 0, quality, _rng()).astype(float) - pixels) ** 2).mean())
        for quality in (90, 60, 35, 20, 10)
    ]
    assert errors == sorted(errors)
    assert errors[0] > 0


@pytest.mark.parametrize(
    "pixels", [np.zeros((9, 9, 3), np.float32), np.zeros((9, 9), np.uint8), np.zeros((9, 9, 4), np.uint8)]
)
def test_other_than_rgb_pixels_are_refused(pixels: Pixels) -> None:
    with pytest.raises(ValueError, match=r"expected uint8 pixels of shape \(H, W, 3\)"):
        degrade_pixels(pixels, 1.0, 0, None, _rng())


@pytest.mark.parametrize(("blur", "noise"), [(-0.1, 0), (0, -1), (float("nan"), 0), (0, float("inf"))])
def test_senseless_amounts_are_refused(photograph: Pixels, blur: float, noise: float) -> None:
    with pytest.raises(ValueError, match="expected blur and noise of 0 or more"):
        degrade_pixels(photograph, blur, noise, None, _rng())


@pytest.mark.parametrize("quality", [0, 101, -5, 30.5])
def test_senseless_qualities_are_refused(photograph: Pixels, quality: int) -> None:
    with pytest.raises(ValueError, match="expected a JPEG quality from 1 to 100"):
        degrade_pixels(photograph, 0, 0, quality, _rng())
