"""Tiles give what the whole image gives; windows cover it."""

import itertools
from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from rlrestore.imaging.tiling import Floats, apply_tiled_, windows

RADIUS = 3


def _plain_stack() -> nn.Module:
    """Three 3×3 convolutions: a receptive field of radius 3."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(4, 4, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(4, 3, 3, padding=1),
    )


class _Folded(nn.Module):
    """Two convolutions on the image folded 2×2, odd sides padded at the bottom and right."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.stack = nn.Sequential(nn.Conv2d(12, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 12, 3, padding=1))

    def forward(self, images: Tensor) -> Tensor:
        height, width = images.shape[-2:]
        padded = F.pad(images, (0, width % 2, 0, height % 2), mode="replicate")
        return F.pixel_shuffle(self.stack(F.pixel_unshuffle(padded, 2)), 2)[..., :height, :width]


def _image(height: int, width: int) -> Floats:
    return np.random.default_rng(height * 1000 + width).random((1, 3, height, width), np.float32)


def lazily(function: Callable[[Floats], Floats]) -> Callable[[Floats], Callable[[], Floats]]:
    """The function, computed as late as may be: only when its result is waited for."""
    return lambda part: partial(function, part)


def _on_arrays(network: nn.Module) -> Callable[[Floats], Floats]:
    @torch.inference_mode()
    def function(images: Floats) -> Floats:
        result: Floats = network(torch.from_numpy(images)).numpy()
        return result

    return function


@settings(max_examples=60, deadline=None)
@given(
    height=st.integers(1, 70),
    width=st.integers(1, 70),
    tile=st.integers(12, 40),
    overlap=st.integers(3, 5),
    ahead=st.sampled_from([0, 1, 5, 1000]),
)
def test_tiled_equals_untiled(height: int, width: int, tile: int, overlap: int, ahead: int) -> None:
    image, function = _image(height, width), _on_arrays(_plain_stack())
    tile = max(tile, 2 * overlap + 4)
    tiled = apply_tiled_(lazily(function), image.copy(), tile, overlap, align=2, ahead=ahead)
    np.testing.assert_allclose(tiled, function(image), atol=1e-5, rtol=0)


@settings(max_examples=60, deadline=None)
@given(
    height=st.integers(2, 70), width=st.integers(2, 70), tile=st.integers(14, 41), overlap=st.integers(5, 6)
)
def test_tiled_equals_untiled_for_a_folding_network(height: int, width: int, tile: int, overlap: int) -> None:
    image, function = _image(height, width), _on_arrays(_Folded())
    tiled = apply_tiled_(lazily(function), image.copy(), tile=tile, overlap=overlap, align=2)
    np.testing.assert_allclose(tiled, function(image), atol=1e-5, rtol=0)


def test_too_small_an_overlap_shows() -> None:
    """The laws above could not fail if nothing depended on the overlap."""
    image, function = _image(60, 60), _on_arrays(_plain_stack())
    tiled = apply_tiled_(lazily(function), image.copy(), tile=20, overlap=RADIUS - 1, align=1)
    difference = np.abs(tiled - function(image)).max()
    assert difference > 1e-4


def test_unaligned_tiles_would_show() -> None:
    image, function = _image(60, 60), _on_arrays(_Folded())
    tiled = apply_tiled_(lazily(function), image.copy(), tile=21, overlap=5, align=1)
    difference = np.abs(tiled - function(image)).max()
    assert difference > 1e-4


def test_no_tile_is_larger_than_asked_and_every_corner_is_aligned() -> None:
    rows, columns = np.mgrid[:101, :77].astype(np.float32)
    image = np.stack((rows, columns, rows))[None]  # every pixel carries its place
    seen: list[tuple[int, int, int, int]] = []

    def watch(part: Floats) -> Floats:
        seen.append((*part.shape[-2:], int(part[0, 0, 0, 0]), int(part[0, 1, 0, 0])))
        return part

    np.testing.assert_array_equal(
        apply_tiled_(lazily(watch), image.copy(), tile=33, overlap=5, align=4), image
    )
    assert len(seen) > 10
    assert max(max(height, width) for height, width, _, _ in seen) <= 33
    assert all(top % 4 == 0 and left % 4 == 0 for _, _, top, left in seen)


def test_an_image_within_one_tile_is_passed_on_whole() -> None:
    image = _image(20, 31)
    sizes: list[tuple[int, ...]] = []

    def watch(part: Floats) -> Floats:
        sizes.append(tuple(part.shape))
        return part

    apply_tiled_(lazily(watch), image, tile=31, overlap=8)
    assert sizes == [(1, 3, 20, 31)]


def test_a_batch_is_tiled_as_its_images_are() -> None:
    function, batch = _on_arrays(_plain_stack()), np.concatenate((_image(40, 50), 1 - _image(40, 50)))
    np.testing.assert_allclose(
        apply_tiled_(lazily(function), batch.copy(), 24, 4), function(batch), atol=1e-5, rtol=0
    )


def test_a_tile_without_a_middle_is_refused() -> None:
    with pytest.raises(
        ValueError, match="twice the overlap of 7 pixels and 4 more, got 16; take at least 20"
    ):
        apply_tiled_(lazily(lambda part: part), _image(40, 40), tile=16, overlap=7)


@pytest.mark.parametrize(("tile", "overlap", "align"), [(0, 1, 2), (16, -1, 2), (16, 1, 0)])
def test_senseless_sizes_are_refused(tile: int, overlap: int, align: int) -> None:
    with pytest.raises(ValueError, match="expected tile and align from 1 and overlap from 0"):
        apply_tiled_(lazily(lambda part: part), _image(40, 40), tile, overlap, align)


@pytest.mark.parametrize("tile", [16, 64])
def test_a_function_that_changes_the_shape_is_refused(tile: int) -> None:
    with pytest.raises(ValueError, match="expected a function that keeps the shape"):
        apply_tiled_(lazily(lambda part: part[..., 1:]), _image(40, 40), tile, overlap=2)


@settings(max_examples=100, deadline=None)
@given(
    height=st.integers(8, 200), width=st.integers(8, 200), size=st.integers(1, 63), share=st.floats(0.1, 1.0)
)
def test_windows_cover_the_image_evenly(height: int, width: int, size: int, share: float) -> None:
    size = min(size, height, width)
    stride = max(1, int(share * size))
    corners = windows(height, width, size, stride)
    covered = np.zeros((height, width), bool)
    for top, left in corners:
        assert 0 <= top <= height - size
        assert 0 <= left <= width - size
        covered[top : top + size, left : left + size] = True
    assert covered.all()
    assert corners == sorted(set(corners))
    for starts in (sorted({top for top, _ in corners}), sorted({left for _, left in corners})):
        gaps = [after - before for before, after in itertools.pairwise(starts)]
        assert max(gaps, default=0) <= stride
        assert not gaps or max(gaps) - min(gaps) <= 1


def test_windows_of_a_small_case() -> None:
    assert windows(63, 63, 63, 32) == [(0, 0)]
    assert windows(10, 16, 8, 4) == [(0, 0), (0, 4), (0, 8), (2, 0), (2, 4), (2, 8)]


def test_windows_need_an_image_of_their_size() -> None:
    with pytest.raises(ValueError, match="at least 63×63 pixels, got 40×80; pad it first"):
        windows(40, 80, 63, 32)


@pytest.mark.parametrize("stride", [0, 64])
def test_windows_must_not_leave_gaps(stride: int) -> None:
    with pytest.raises(ValueError, match="expected a stride from 1 to the window's 63 pixels"):
        windows(100, 100, 63, stride)
