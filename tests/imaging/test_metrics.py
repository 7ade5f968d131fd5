"""PSNR and SSIM against values computed by hand or by scikit-image, and their laws."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from rlrestore.imaging.metrics import psnr_db, ssim
from rlrestore.imaging.psnr import photo_psnr_db

SKIMAGE_SSIM = {0.02: 0.9975249829801937, 0.1: 0.9432916047630281, 0.5: 0.40064729950107303}
"""Computed once, with scikit-image 0.26.0, on the arrays of `_noisy_pair`, by

structural_similarity(clean, noisy, gaussian_weights=True, sigma=1.5, use_sample_covariance=False,
                      data_range=1.0, channel_axis=2)
"""

SKIMAGE_SSIM_SMOOTH = 0.9794179952966701
"""The same call on the arrays of `_smooth_pair`."""


def _tensor(array: np.ndarray) -> Tensor:
    return torch.from_numpy(array.astype(np.float32)).permute(2, 0, 1)[None]


def _noisy_pair(strength: float) -> tuple[Tensor, Tensor]:
    rng = np.random.default_rng(0)
    clean = rng.random((40, 48, 3))
    for other in SKIMAGE_SSIM:  # the strengths drew their noise one after the other
        noisy = clean + other * rng.standard_normal(clean.shape)
        if other == strength:
            break
    return _tensor(clean), _tensor(noisy)


def _smooth_pair() -> tuple[Tensor, Tensor]:
    y, x = np.mgrid[0:40, 0:48]
    smooth = np.stack([(x + y) / 86, x / 47, y / 39], axis=-1)
    return _tensor(smooth), _tensor(smooth**1.2)


@pytest.mark.parametrize(("difference", "expected_db"), [(0.1, 20.0), (0.01, 40.0), (1.0, 0.0)])
def test_psnr_of_a_constant_difference(difference: float, expected_db: float) -> None:
    clean = torch.zeros(1, 3, 8, 8)
    assert psnr_db(clean + difference, clean).item() == pytest.approx(expected_db, abs=1e-4)


def test_psnr_counts_all_pixels_and_channels() -> None:
    clean = torch.zeros(1, 3, 2, 2)
    restored = clean.clone()
    restored[0, 1, 0, 1] = 0.6  # MSE 0.36 / 12 = 0.03
    assert psnr_db(restored, clean).item() == pytest.approx(-10 * math.log10(0.03), abs=1e-5)


def test_psnr_of_equal_images_is_100_db() -> None:
    images = torch.rand(3, 3, 9, 7, generator=torch.Generator().manual_seed(0))
    assert psnr_db(images, images).tolist() == pytest.approx([100.0] * 3, abs=1e-4)


def test_psnr_is_taken_per_image() -> None:
    clean = torch.zeros(2, 3, 4, 4)
    restored = torch.stack((clean[0] + 0.1, clean[1] + 0.01))
    assert psnr_db(restored, clean).tolist() == pytest.approx([20.0, 40.0], abs=1e-3)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), factor=st.floats(1.1, 10))
def test_psnr_falls_by_twenty_log_of_the_error(seed: int, factor: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    clean = torch.rand(1, 3, 12, 12, generator=generator)
    error = 0.05 * torch.randn(1, 3, 12, 12, generator=generator)
    fall = psnr_db(clean + error, clean) - psnr_db(clean + factor * error, clean)
    assert fall.item() == pytest.approx(20 * math.log10(factor), abs=1e-3)


@pytest.mark.parametrize("strength", list(SKIMAGE_SSIM))
def test_ssim_agrees_with_scikit_image(strength: float) -> None:
    clean, noisy = _noisy_pair(strength)
    assert ssim(noisy, clean).item() == pytest.approx(SKIMAGE_SSIM[strength], abs=2e-6)


def test_ssim_of_smooth_images_agrees_with_scikit_image() -> None:
    clean, other = _smooth_pair()
    assert ssim(other, clean).item() == pytest.approx(SKIMAGE_SSIM_SMOOTH, abs=2e-5)


def test_ssim_of_two_flat_images_is_the_luminance_term() -> None:
    dark, light = torch.full((1, 3, 16, 16), 0.2), torch.full((1, 3, 16, 16), 0.6)
    expected = (2 * 0.2 * 0.6 + 1e-4) / (0.2**2 + 0.6**2 + 1e-4)
    assert ssim(dark, light).item() == pytest.approx(expected, abs=1e-4)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), height=st.integers(11, 24), width=st.integers(11, 24))
def test_ssim_is_symmetric_bounded_and_one_for_equal_images(seed: int, height: int, width: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    one, other = torch.rand(2, 1, 3, height, width, generator=generator)
    value = ssim(one, other).item()
    assert -1 <= value < 1
    assert ssim(other, one).item() == pytest.approx(value, abs=1e-6)
    assert ssim(one, one).item() == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize("measure", [psnr_db, ssim])
def test_shapes_must_agree(measure: object) -> None:
    assert callable(measure)
    with pytest.raises(
        ValueError, match=r"one shape \(B, 3, H, W\), got \(1, 3, 16, 16\) and \(1, 3, 16, 17\)"
    ):
        measure(torch.zeros(1, 3, 16, 16), torch.zeros(1, 3, 16, 17))
    with pytest.raises(ValueError, match="expected two batches of images"):
        measure(torch.zeros(3, 16, 16), torch.zeros(3, 16, 16))


def test_ssim_needs_a_whole_window() -> None:
    with pytest.raises(ValueError, match="at least 11×11 pixels, got"):
        ssim(torch.zeros(1, 3, 10, 30), torch.zeros(1, 3, 10, 30))


@pytest.mark.parametrize("height", [5, 300])
def test_a_photograph_has_the_psnr_of_its_tensor(height: int) -> None:
    rng = np.random.default_rng(0)
    clean, restored = rng.random((2, 1, 3, height, 40), np.float32)
    expected = psnr_db(torch.from_numpy(restored), torch.from_numpy(clean)).item()

    assert photo_psnr_db(restored, clean) == pytest.approx(expected, abs=1e-4)
    assert photo_psnr_db(clean, clean) == pytest.approx(100)
    with pytest.raises(ValueError, match="expected two photographs of one size"):
        photo_psnr_db(restored, clean[..., 1:])
