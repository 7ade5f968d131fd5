"""The metrics against values computed by hand, by other programs or pixel by pixel, and their laws."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from rlrestore.imaging.metrics import METRICS, gmsd, psnr_db, shift_psnr_db, ssim
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


def _gmsd_by_hand(restored: Tensor, clean: Tensor) -> float:
    """The authors' program in NumPy, in levels of 255, pixel by pixel: `conv2(…, 'same')`, then `std2`."""

    def gradients(image: Tensor) -> np.ndarray:
        red, green, blue = 255 * image[0].double().numpy()
        luma = 0.299 * red + 0.587 * green + 0.114 * blue
        height, width = luma.shape
        means = np.pad(luma, ((0, 1), (0, 1)))
        half = np.array(
            [
                [means[row : row + 2, column : column + 2].sum() / 4 for column in range(0, width, 2)]
                for row in range(0, height, 2)
            ]
        )
        padded = np.pad(half, 1)
        sizes = np.empty_like(half)
        for row, column in np.ndindex(*half.shape):
            part = padded[row : row + 3, column : column + 3]
            across, down = part[:, 2] - part[:, 0], part[2] - part[0]
            sizes[row, column] = math.hypot(across.sum() / 3, down.sum() / 3)
        return sizes

    first, second = gradients(restored), gradients(clean)
    similarity = (2 * first * second + 170) / (first**2 + second**2 + 170)
    return float(similarity.std(ddof=1))


@pytest.mark.parametrize("strength", [0.02, 0.1])
def test_gmsd_is_that_of_the_authors_program(strength: float) -> None:
    clean, noisy = (image[..., :23, :31] for image in _noisy_pair(strength))
    assert gmsd(noisy, clean).item() == pytest.approx(_gmsd_by_hand(noisy, clean), rel=1e-4)
    smooth, other = _smooth_pair()
    assert gmsd(other, smooth).item() == pytest.approx(_gmsd_by_hand(other, smooth), rel=1e-4)


def test_gmsd_is_zero_for_equal_images_and_taken_per_image() -> None:
    clean, noisy = _noisy_pair(0.1)
    both = gmsd(torch.cat((clean, noisy)), torch.cat((clean, clean)))
    assert both[0].item() == pytest.approx(0, abs=1e-6)
    assert both[1].item() == pytest.approx(gmsd(noisy, clean).item(), abs=1e-6)


def _shift_psnr_by_hand(restored: Tensor, clean: Tensor) -> float:
    """The definition, window by window."""
    first, second = (image[0].double().numpy() for image in (restored, clean))
    height, width = second.shape[1:]
    least = []
    for row in range(5, height - 5):
        for column in range(5, width - 5):
            window = second[:, row - 3 : row + 4, column - 3 : column + 4]
            errors = [
                np.square(
                    first[:, row + down - 3 : row + down + 4, column + across - 3 : column + across + 4]
                    - window
                ).mean()
                for down in range(-2, 3)
                for across in range(-2, 3)
            ]
            least.append(min(errors))
    return -10 * math.log10(float(np.mean(least)) + 1e-10)


def test_the_shift_tolerant_psnr_is_that_of_its_definition() -> None:
    for clean, other in (_noisy_pair(0.1), _smooth_pair()):
        small = [image[..., :17, :20] for image in (other, clean)]
        assert shift_psnr_db(*small).item() == pytest.approx(_shift_psnr_by_hand(*small), abs=1e-3)


@pytest.mark.parametrize(("shift", "expected_db"), [((1, -2), 100.0), ((2, 2), 100.0), ((3, 0), None)])
def test_a_shift_of_up_to_two_pixels_costs_nothing(shift: tuple[int, int], expected_db: float | None) -> None:
    clean, _ = _noisy_pair(0.02)
    moved = clean.roll(shift, dims=(2, 3))
    inner = [image[..., 3:-3, 3:-3] for image in (moved, clean)]
    assert psnr_db(*inner).item() < 10
    value_db = shift_psnr_db(*inner).item()
    assert value_db == pytest.approx(expected_db, abs=1e-3) if expected_db else value_db < 12


def test_a_constant_error_is_no_shift() -> None:
    clean = torch.full((1, 3, 16, 16), 0.3)
    assert shift_psnr_db(clean + 0.1, clean).item() == pytest.approx(20, abs=1e-3)


@pytest.mark.parametrize(("measure", "side"), [(gmsd, 2), (shift_psnr_db, 10)])
def test_metrics_need_room(measure: Callable[[Tensor, Tensor], Tensor], side: int) -> None:
    small = torch.zeros(1, 3, 30, side)
    with pytest.raises(ValueError, match=f"at least {side + 1}×{side + 1} pixels, got"):
        measure(small, small)


def test_every_metric_says_which_way_is_better() -> None:
    clean, noisy = _noisy_pair(0.1)
    _, noisier = _noisy_pair(0.5)
    for metric in METRICS:
        better = metric.measure(noisy, clean) - metric.measure(noisier, clean)
        assert bool(better > 0) is metric.larger_is_better, metric.name


@pytest.mark.parametrize("measure", [metric.measure for metric in METRICS])
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
