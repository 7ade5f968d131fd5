"""The Bayer mosaic and its interpolations against loops over pixels."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from rlrestore.imaging.degradation.demosaic import demosaic, mosaic

Floats = npt.NDArray[np.float64]

PATTERN = ("RG", "GB")
Tap = tuple[int, int, float]
"""Row, column, eighths."""
# Malvar, He and Cutler, figure 2, written out anew.
GREEN: list[Tap] = [(0, 0, 4), *((r, c, 2) for r, c in ((0, 1), (0, -1), (1, 0), (-1, 0)))]
GREEN += [(r, c, -1) for r, c in ((0, 2), (0, -2), (2, 0), (-2, 0))]
IN_ROW: list[Tap] = [(0, 0, 5), (0, 1, 4), (0, -1, 4), (0, 2, -1), (0, -2, -1), (2, 0, 0.5), (-2, 0, 0.5)]
IN_ROW += [(r, c, -1) for r in (-1, 1) for c in (-1, 1)]
OPPOSITE: list[Tap] = [(0, 0, 6), *((r, c, 2) for r in (-1, 1) for c in (-1, 1))]
OPPOSITE += [(r, c, -1.5) for r, c in ((0, 2), (0, -2), (2, 0), (-2, 0))]


def mirrored(index: int, length: int) -> int:
    return length - 1 - abs(length - 1 - abs(index))


def malvar_pixel(recorded: Floats, colour: str, row: int, column: int) -> float:
    here = PATTERN[row % 2][column % 2]
    if colour == here:
        return float(recorded[row, column])
    if colour == "G":
        taps = GREEN
    elif here != "G":
        taps = OPPOSITE
    elif colour in PATTERN[row % 2]:
        taps = IN_ROW
    else:
        taps = [(down, right, weight) for right, down, weight in IN_ROW]
    height, width = recorded.shape
    return float(
        sum(
            weight / 8 * recorded[mirrored(row + down, height), mirrored(column + right, width)]
            for down, right, weight in taps
        )
    )


def bilinear_pixel(recorded: Floats, colour: str, row: int, column: int) -> float:
    """The mean of the nearest pixels that hold the colour, within a square of 3×3."""
    if PATTERN[row % 2][column % 2] == colour:
        return float(recorded[row, column])
    height, width = recorded.shape
    near = [
        recorded[mirrored(row + r, height), mirrored(column + c, width)]
        for r in (-1, 0, 1)
        for c in (-1, 0, 1)
        if PATTERN[(row + r) % 2][(column + c) % 2] == colour
    ]
    return float(np.mean(near))


@pytest.mark.parametrize("method", [malvar_pixel, bilinear_pixel])
def test_every_pixel_is_that_of_the_loop(method: Callable[[Floats, str, int, int], float]) -> None:
    recorded = np.random.default_rng(0).uniform(size=(8, 10))
    expected = [[[method(recorded, colour, r, c) for c in range(10)] for r in range(8)] for colour in "RGB"]
    batch = torch.from_numpy(recorded).float()[None, None]
    ours = demosaic(batch, torch.tensor([method is malvar_pixel]))
    np.testing.assert_allclose(ours[0], expected, atol=1e-6)


def test_every_image_of_a_batch_has_its_own_method() -> None:
    recorded = torch.rand(2, 1, 6, 8, generator=torch.Generator().manual_seed(0))
    both = demosaic(recorded, torch.tensor([True, False]))
    for index, malvar in enumerate((True, False)):
        alone = demosaic(recorded[index : index + 1], torch.tensor([malvar]))
        torch.testing.assert_close(both[index : index + 1], alone)
    assert not torch.allclose(both[:1], demosaic(recorded[:1], torch.tensor([False])))


def test_the_mosaic_holds_one_colour_a_pixel() -> None:
    colours = torch.tensor([1.0, 2.0, 3.0]).view(1, 3, 1, 1).expand(1, 3, 4, 6)
    assert mosaic(colours)[0, 0].tolist() == [[1, 2] * 3, [2, 3] * 3] * 2


@settings(max_examples=20)
@given(st.tuples(*[st.floats(0, 1)] * 3), st.booleans())
def test_a_flat_colour_comes_back(colour: tuple[float, float, float], malvar: bool) -> None:
    flat = torch.tensor(colour, dtype=torch.float32).view(1, 3, 1, 1).expand(1, 3, 6, 8)
    torch.testing.assert_close(demosaic(mosaic(flat), torch.tensor([malvar])), flat, atol=1e-6, rtol=0)


@pytest.mark.parametrize("malvar", [True, False])
def test_a_grey_slope_comes_back_inside(malvar: bool) -> None:
    slope = (torch.arange(12.0)[:, None] * 0.03 + torch.arange(14.0) * 0.02).expand(1, 3, -1, -1)
    ours = demosaic(mosaic(slope), torch.tensor([malvar]))
    torch.testing.assert_close(ours[..., 2:-2, 2:-2], slope[..., 2:-2, 2:-2], atol=1e-6, rtol=0)


def test_what_is_recorded_is_kept() -> None:
    image = torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    recorded: Tensor = mosaic(image)
    assert torch.equal(mosaic(demosaic(recorded, torch.tensor([True]))), recorded)


def test_odd_sides_are_refused() -> None:
    with pytest.raises(ValueError, match=r"expected a mosaic of even sides, got \(7, 8\)"):
        demosaic(torch.zeros(1, 1, 7, 8), torch.tensor([True]))
