"""What the agent sees of a patch, beside the definition written out."""

import math

import pytest
import torch

from rlrestore.agent.spectrum import FAINT, PLANES, STRIDES, TOGETHER, Spectrum
from rlrestore.imaging.degradation.jpeg import RGB_TO_YCBCR


def coefficient(block: torch.Tensor, row: int, column: int) -> float:
    """One coefficient of the orthonormal DCT-II of a block of 8×8."""
    waves = [
        [math.cos((2 * place + 1) * frequency * math.pi / 16) * (0.5 if frequency else math.sqrt(1 / 8))]
        for frequency in (row, column)
        for place in range(8)
    ]
    down, across = torch.tensor(waves[:8]), torch.tensor(waves[8:])
    return float((block * (down @ across.T)).sum())


@pytest.mark.parametrize(
    ("size", "half", "plane", "row", "column"),
    [
        (63, 0, 0, 0, 0),
        (63, 1, 1, 3, 0),
        (63, 2, 2, 7, 7),
        (40, 0, 0, 2, 5),
        (40, 1, 2, 0, 1),
        (32, 2, 1, 4, 4),
        (100, 0, 0, 5, 1),
    ],
)
def test_a_spectrum_holds_three_means_of_each_coefficient(
    size: int, half: int, plane: int, row: int, column: int
) -> None:
    """At sides with more blocks in a column than factors in a product, with fewer, and with one."""
    image = torch.rand(3, size, size, generator=torch.Generator().manual_seed(0)) * 1.4 - 0.2
    colours = torch.einsum("ij,jhw->ihw", torch.tensor(RGB_TO_YCBCR), image.clamp(0, 1))
    plane_values = colours[plane] + (0.5 if plane else 0)
    for _ in range(half):
        even = plane_values[: len(plane_values) // 2 * 2, : len(plane_values) // 2 * 2]
        plane_values = (even[::2, ::2] + even[1::2, ::2] + even[::2, 1::2] + even[1::2, 1::2]) / 4
    starts = range(0, len(plane_values) - 7, STRIDES[half])
    sizes = [
        abs(coefficient(plane_values[top : top + 8, left : left + 8], row, column))
        for top in starts
        for left in starts
    ]
    expected = (
        math.log(sum(sizes) / len(sizes) + FAINT[1]),
        math.log(math.sqrt(sum(size**2 for size in sizes) / len(sizes)) + FAINT[1]),
        sum(math.log(size + FAINT[0]) for size in sizes) / len(sizes),
    )
    statistics = Spectrum()(image[None])[0].unflatten(0, (-1, 3, 3))[half, plane, :, row, column]
    assert statistics.tolist() == pytest.approx(expected, abs=1e-4)


def test_patches_that_are_taken_in_parts_have_the_spectra_that_each_has_alone() -> None:
    patches = torch.rand(TOGETHER + 3, 3, 40, 33, generator=torch.Generator().manual_seed(0))
    spectrum = Spectrum()
    alone = torch.cat([spectrum(patch[None]) for patch in patches])
    torch.testing.assert_close(spectrum(patches), alone, rtol=0, atol=1e-4)


def test_no_patches_have_no_spectra() -> None:
    assert Spectrum()(torch.zeros(0, 3, 63, 63)).shape == (0, PLANES, 8, 8)


def test_a_flat_patch_is_finite() -> None:
    assert bool(Spectrum()(torch.zeros(1, 3, 63, 63)).isfinite().all())


def test_gradients_flow_even_after_a_call_in_inference_mode() -> None:
    """The matrices that are kept from the first call on must be fit for gradients; checked by differences."""
    spectrum = Spectrum()
    images = torch.rand(1, 3, 33, 35, generator=torch.Generator().manual_seed(0)) * 0.8 + 0.1
    with torch.inference_mode():
        plain = spectrum(images)
    asked = images.clone().requires_grad_()
    values = spectrum(asked)
    torch.testing.assert_close(values.detach(), plain)
    (gradient,) = torch.autograd.grad(values[0, :, 1:3, 1:3].sum(), asked)
    direction = torch.randn(images.shape, generator=torch.Generator().manual_seed(1))
    step, exact = 1e-3, float((gradient * direction).sum())
    ends = [spectrum(images + sign * step * direction)[0, :, 1:3, 1:3].sum() for sign in (1, -1)]
    assert exact == pytest.approx(float(ends[0] - ends[1]) / (2 * step), rel=0.02)
