"""Fitting and calibrating an inspector: the loss, the shares, and the pictures that are strange to it."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
import torch

from experiments.inspector_data import GROUPS, LOSSLESS_QUALITY, draw, draw_trained, spectra_of
from experiments.inspector_report import gathered, groups_table, judge
from experiments.inspector_strangers import moved, strangers
from experiments.inspector_training import calibrated, fit_familiar, fit_network, pinball, windows_of
from rlrestore.explain.inspector import NONE, Inspector
from rlrestore.imaging import PATCH
from rlrestore.imaging.patches import PhotoBank


@pytest.fixture(scope="module")
def bank(make_photograph: Callable[..., npt.NDArray[np.uint8]]) -> PhotoBank:
    return PhotoBank([make_photograph(256, 256, seed) for seed in range(4)])


def test_the_loss_is_least_at_the_quantiles() -> None:
    """Of the numbers 0 to 20 these are 1, 10 and 19: as far above and below the middle."""
    wanted = torch.arange(21.0).view(-1, 1, 1).expand(-1, 3, 1)

    def loss(reach: float, middle: float) -> float:
        raw = torch.tensor(reach).expm1().log()  # whose softplus is the reach
        return float(pinball(torch.tensor([raw, middle, raw] * 3).expand(21, 9), wanted))

    best = loss(9, 10)
    assert all(loss(*other) > best for other in ((7, 10), (11, 10), (9, 8), (9, 12)))
    # By hand: 0.5 · 110 at the middle, and 0.05 · 190 + 0.95 · 1 … at both ends alike.
    assert best == pytest.approx((0.5 * 110 + 2 * (0.05 * 190 + 0.95 * 1)) / 63, rel=1e-4)


@pytest.mark.parametrize("kind", ["moderate", "blur alone", "camera", "clean"])
def test_what_is_drawn_is_labelled(bank: PhotoBank, kind: str) -> None:
    drawn = draw(bank, GROUPS[kind], 6, PATCH, torch.Generator().manual_seed(0))
    blur, noise, quality = drawn.truth.T

    assert drawn.images.shape == (6, 3, PATCH, PATCH)
    torch.testing.assert_close(drawn.images * 255, (drawn.images * 255).round())
    assert bool(((quality >= 10) & (quality <= LOSSLESS_QUALITY)).all())
    assert bool((blur == 0).all()) == (kind == "clean")
    assert bool((noise > 0).any()) == (kind in ("moderate", "camera"))


def test_a_small_training_learns_and_is_calibrated(bank: PhotoBank) -> None:
    """Noise alone is told within seconds; the calibrations hold on what they were made of."""
    generator = torch.Generator().manual_seed(0)
    parts = [
        draw(bank, GROUPS["noise alone"], 400, PATCH, generator),
        draw_trained(bank, 400, PATCH, generator),
    ]
    spectra = np.concatenate([spectra_of(part.images) for part in parts])
    truth = np.concatenate([part.truth.numpy() for part in parts]).astype(np.float32)
    weights = fit_network(spectra, truth, 400, 0)
    weights |= fit_familiar(spectra, weights)
    inspector = calibrated(weights, [(spectra[:, None], truth)])
    assert isinstance(inspector, Inspector)

    judged = gathered(list(judge(inspector, parts[1].images)), truth[400:].astype(np.float64))
    every = gathered(list(judge(inspector, torch.cat([part.images for part in parts]))), truth.astype(float))
    some = truth != NONE
    for index in range(3):
        assert every.held[some[:, index], index].mean() >= 0.89
        assert every.held[~some[:, index], index].mean() >= 0.89
    assert every.alarms == pytest.approx(0.02, abs=0.01)
    noisy = every.found[:400, 1, 1]
    assert np.corrcoef(noisy, truth[:400, 1])[0, 1] > 0.9
    assert "| some | 400 |" in groups_table({"some": judged})


def test_the_windows_of_a_picture_are_in_reading_order() -> None:
    images = torch.arange(95 * 95.0).view(1, 1, 95, 95).expand(1, 3, 95, 95)
    assert windows_of(images)[:, 0, 0, 0].tolist() == [0, 32, 32 * 95, 32 * 95 + 32]


def test_motion_blurs_along_its_line_alone() -> None:
    image = torch.zeros(1, 3, 61, 61)
    image[..., 30, 30] = 1
    across = moved(image, torch.tensor([11.0]), torch.tensor([0.0]), 20)[0, 0]

    assert across.shape == (21, 21)
    assert float(across.sum()) == pytest.approx(1)
    assert float(across[10].sum()) == pytest.approx(1)
    assert int((across[10] > 0).sum()) in (11, 12, 13)


def test_strangers_are_pictures_of_the_size(bank: PhotoBank) -> None:
    made = strangers(bank, 95, torch.Generator().manual_seed(0))
    for make in made.values():
        images = make(2)
        assert images.shape == (2, 3, 95, 95)
        assert 0 <= float(images.min()) <= float(images.max()) <= 1
