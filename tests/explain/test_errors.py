"""Error maps: against the project's own metrics, and harm that was put in by hand."""

import math

import numpy as np
import numpy.typing as npt
import pytest
import torch

from rlrestore.explain.errors import Box, error_map, find_harm
from rlrestore.imaging.metrics import psnr_db, ssim

Pixels = npt.NDArray[np.uint8]


def noisy_pair(height: int, width: int) -> tuple[Pixels, Pixels]:
    rng = np.random.default_rng(0)
    clean = rng.integers(60, 200, (height, width, 3))
    noisy = clean + rng.integers(-30, 31, clean.shape)
    return noisy.astype(np.uint8), clean.astype(np.uint8)


def planes(pixels: Pixels) -> torch.Tensor:
    return torch.from_numpy(pixels.transpose(2, 0, 1)[None] / 255)


@pytest.mark.parametrize(("height", "width"), [(11, 13), (40, 53), (530, 20)])
def test_the_means_over_the_cells_are_the_metrics(height: int, width: int) -> None:
    noisy, clean = noisy_pair(height, width)
    found = error_map(noisy, clean)

    assert found.mse.shape == (math.ceil(height / 8), math.ceil(width / 8))
    assert found.areas.sum() == height * width
    mean = (found.mse * found.areas).sum() / found.areas.sum()
    assert -10 * math.log10(mean) == pytest.approx(psnr_db(planes(noisy), planes(clean)).item(), abs=1e-4)
    assert found.mean_ssim == pytest.approx(ssim(planes(noisy), planes(clean)).item(), abs=1e-5)


def test_a_cell_has_the_psnr_and_ssim_of_its_own_pixels() -> None:
    noisy, clean = noisy_pair(60, 60)
    found = error_map(noisy, clean)
    cell = np.s_[16:24, 32:40]

    assert found.psnr_db[2, 4] == pytest.approx(
        psnr_db(planes(noisy[cell]), planes(clean[cell])).item(), abs=1e-4
    )
    around = np.s_[11:29, 27:45]  # the windows of 11×11 of which the middles lie in the cell
    expected = ssim(planes(noisy[around]), planes(clean[around])).item()
    assert found.ssim[2, 4] == pytest.approx(expected, abs=1e-5)


def test_equal_photographs_are_right_everywhere() -> None:
    _, clean = noisy_pair(20, 20)
    found = error_map(clean, clean)
    assert found.psnr_db == pytest.approx(np.full((3, 3), 100.0))
    assert found.ssim == pytest.approx(np.ones((3, 3)))


def test_a_photograph_below_the_window_has_no_ssim_of_its_own() -> None:
    noisy, clean = noisy_pair(10, 30)
    assert error_map(noisy, clean).mean_ssim is None
    assert error_map(noisy, clean).ssim.shape == (2, 4)


def test_harm_is_found_where_it_was_done() -> None:
    before, clean = noisy_pair(64, 96)
    after = clean.copy()  # all is mended, but for a square that gets worse
    after[16:32, 40:56] = np.clip(before[16:32, 40:56].astype(int) + 50, 0, 255)
    harm = find_harm(error_map(before, clean), error_map(after, clean))

    assert harm.share == pytest.approx(16 * 16 / (64 * 96))
    assert 0.04 < harm.ssim_share < 0.3  # its windows reach 5 pixels further
    assert harm.worst is not None
    assert 56 - 32 <= harm.worst.x <= 40
    assert 0 <= harm.worst.y <= 16
    square = np.s_[16:32, 40:56]
    errors = [((one[square] / 255 - clean[square] / 255) ** 2).sum() for one in (before, after)]
    spared_db = -10 * math.log10(errors[0] / clean.size) + 10 * math.log10(errors[1] / clean.size)
    assert harm.spared_db == pytest.approx(spared_db, abs=0.01)
    assert harm.to_json()["worst"]["x"] == harm.worst.x


def test_the_box_of_most_harm_ends_with_the_photograph() -> None:
    clean = np.full((20, 37, 3), 100, np.uint8)
    after = clean.copy()
    after[16:, 32:] = 120
    harm = find_harm(error_map(clean, clean), error_map(after, clean))
    assert harm.worst == Box(8, 0, 29, 20)
    mse = (20 / 255) ** 2 * 4 * 5 / (29 * 20)
    assert harm.worst_db == pytest.approx(-10 * math.log10(mse) - 100, abs=1e-3)


def test_a_step_that_helps_everywhere_does_no_harm() -> None:
    before, clean = noisy_pair(30, 30)
    harm = find_harm(error_map(before, clean), error_map(clean, clean))
    assert (harm.share, harm.ssim_share, harm.spared_db, harm.worst) == (0, 0, 0, None)
    assert harm.to_json()["worst"] is None


def test_another_size_is_refused() -> None:
    one, other = np.zeros((10, 12, 3), np.uint8), np.zeros((12, 10, 3), np.uint8)
    with pytest.raises(ValueError, match="expected two photographs of one size"):
        error_map(one, other)
