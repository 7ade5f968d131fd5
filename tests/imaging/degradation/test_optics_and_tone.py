"""The lens against OpenCV and a disc drawn by hand; the curves against their definitions and inverses."""

from collections.abc import Callable

import cv2
import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rlrestore.imaging.degradation.blur import gaussian_blur
from rlrestore.imaging.degradation.optics import disc_kernel, lens_blur
from rlrestore.imaging.degradation.tone import to_linear, to_srgb, tone_curve, undo_tone_curve

Pixels = npt.NDArray[np.uint8]


def images_of(pixels: Pixels) -> torch.Tensor:
    return torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None].float() / 255


def test_a_sharp_scene_is_blurred_by_the_gaussian(photograph: Pixels) -> None:
    images, sigma = images_of(photograph).expand(2, -1, -1, -1), torch.tensor([0.7, 4.5])
    for margin in (0, 4, 12):
        ours = lens_blur(images, sigma, torch.zeros(2), margin)
        torch.testing.assert_close(ours, gaussian_blur(images, sigma, margin), atol=2e-6, rtol=0)


@pytest.mark.parametrize("shape", [(9, 13), (64, 90)])
@pytest.mark.parametrize("radius_px", [1.0, 3.4, 9.5])
def test_a_scene_out_of_focus_is_filtered_by_the_disc(
    make_photograph: Callable[..., Pixels], shape: tuple[int, int], radius_px: float
) -> None:
    pixels = make_photograph(*shape)
    kernel = np.array(
        [
            [max(0.0, min(1.0, radius_px + 0.5 - (y * y + x * x) ** 0.5)) for x in range(-10, 11)]
            for y in range(-10, 11)
        ]
    )
    image = pixels.astype(np.float32) / 255
    expected = cv2.filter2D(image, -1, kernel / kernel.sum(), borderType=cv2.BORDER_REPLICATE)
    ours = lens_blur(images_of(pixels), torch.ones(1), torch.tensor([radius_px]))
    np.testing.assert_allclose(ours[0].permute(1, 2, 0), expected, atol=3e-6)


@given(st.floats(0, 9.5))
def test_a_disc_passes_all_light_and_spreads_it_as_its_area(radius_px: float) -> None:
    kernel = disc_kernel(torch.tensor([radius_px]))[0].double()
    assert kernel.sum().item() == pytest.approx(1, abs=1e-6)
    line = torch.arange(-10.0, 11.0, dtype=torch.float64)
    variance = (kernel * line**2).sum().item()
    # A disc's variance along an axis is r²/4; the soft edge of a pixel adds less than 1/4.
    assert radius_px**2 / 4 - 0.1 <= variance <= radius_px**2 / 4 + 0.35


@pytest.mark.parametrize(
    ("linear", "encoded"), [(0.0, 0.0), (0.001, 0.01292), (0.0031308, 0.04045), (0.214041, 0.5), (1.0, 1.0)]
)
def test_the_srgb_curve_has_its_published_values(linear: float, encoded: float) -> None:
    assert to_srgb(torch.tensor(linear)).item() == pytest.approx(encoded, abs=2e-5)
    assert to_linear(torch.tensor(encoded)).item() == pytest.approx(linear, abs=2e-5)


def test_the_tone_curve_has_its_definition() -> None:
    values = torch.linspace(0, 1, 9)
    images = values.expand(3, 1, 1, -1)
    curved = tone_curve(images, torch.tensor([0.0, 0.5, 1.0]))
    full = 3 * values**2 - 2 * values**3
    torch.testing.assert_close(curved[:, 0, 0], torch.stack((values, (values + full) / 2, full)))


@given(st.floats(0, 1), st.floats(0, 1))
def test_the_curves_are_undone(value: float, strength: float) -> None:
    image, strengths = torch.full((1, 1, 1, 1), value), torch.tensor([strength])
    assert to_srgb(to_linear(image)).item() == pytest.approx(value, abs=1e-5)
    assert tone_curve(undo_tone_curve(image, strengths), strengths).item() == pytest.approx(value, abs=1e-5)
    assert 0 <= undo_tone_curve(image, strengths).item() + 1e-6 <= 1 + 2e-6
