"""JPEG with full chroma, and JPEG twice, against libjpeg."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor

from rlrestore.imaging.degradation.batches import apply_where, take_windows
from rlrestore.imaging.degradation.camera_files import compress_pixels
from rlrestore.imaging.degradation.compression import Compression, CompressionRecipe, compress
from rlrestore.imaging.degradation.jpeg import jpeg
from rlrestore.imaging.degradation.libjpeg import jpeg_pixels, jpeg_round_trip
from rlrestore.imaging.metrics import psnr_db

Pixels = npt.NDArray[np.uint8]


def to_images(pixels: Pixels) -> Tensor:
    return torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None].float() / 255


def colourful(pixels: Pixels) -> Pixels:
    """Shift the colours against each other, so that halved chroma is plainly another."""
    return np.stack([np.roll(pixels[..., channel], 3 * channel, axis=1) for channel in range(3)], axis=-1)


@pytest.mark.parametrize(("height", "width"), [(128, 160), (63, 63), (41, 57)])
@pytest.mark.parametrize("quality", [20, 50, 75, 95])
def test_full_chroma_is_libjpegs(
    make_photograph: Callable[..., Pixels], height: int, width: int, quality: int
) -> None:
    pixels = colourful(make_photograph(height, width))
    real = to_images(jpeg_round_trip(pixels, quality, full_chroma=True))
    ours = jpeg(to_images(pixels), torch.tensor([float(quality)]), torch.tensor([True]))
    assert psnr_db(ours, real).item() >= (44 if quality == 95 else 45)
    before = to_images(pixels)
    assert psnr_db(ours, before).item() == pytest.approx(psnr_db(real, before).item(), abs=0.05)
    # Were chroma halved all the same, it would show.
    halved = to_images(jpeg_round_trip(pixels, quality))
    if quality >= 50:
        assert psnr_db(halved, real).item() < 40


def test_every_image_of_a_batch_has_its_own_chroma(photograph: Pixels) -> None:
    image = to_images(colourful(photograph))
    quality, full = torch.tensor([70.0, 70.0, 0.0]), torch.tensor([True, False, True])
    together = jpeg(image.expand(3, -1, -1, -1), quality, full)
    torch.testing.assert_close(together[1:2], jpeg(image, quality[:1]), atol=1e-6, rtol=0)
    torch.testing.assert_close(together[:1], jpeg(image, quality[:1], full[:1]), atol=1e-6, rtol=0)
    assert torch.equal(together[2:], image)
    assert psnr_db(together[:1], together[1:2]).item() < 40


def compression(quality: float, full: bool, earlier: float = 0.0, top: int = 0, left: int = 0) -> Compression:
    return Compression(
        torch.tensor([quality]),
        torch.tensor([full]),
        torch.tensor([earlier]),
        torch.tensor([top]),
        torch.tensor([left]),
    )


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize(("top", "left"), [(0, 0), (5, 11), (15, 1)])
def test_twice_is_what_two_files_do(
    make_photograph: Callable[..., Pixels], full: bool, top: int, left: int
) -> None:
    pixels = colourful(make_photograph(80, 100))
    settings = compression(85, full, 60, top, left)
    # By hand: the first file holds some rows and columns more, which are cut off before the second.
    shifted = np.pad(pixels, ((top, 0), (left, 0), (0, 0)), mode="edge")
    first = jpeg_round_trip(shifted, 60, full)[top:, left:]
    by_hand = jpeg_round_trip(np.ascontiguousarray(first), 85, full)
    np.testing.assert_array_equal(jpeg_pixels(compress_pixels(pixels, settings)), by_hand)
    ours = compress(to_images(pixels), settings)
    assert psnr_db(ours, to_images(by_hand)).item() > 42
    once = compress(to_images(pixels), compression(85, full))
    assert psnr_db(once, to_images(by_hand)).item() < psnr_db(ours, to_images(by_hand)).item() - 3


def test_recipes_have_their_shares() -> None:
    count = 20_000
    drawn = CompressionRecipe(0.8, 50.0, 100.0, 0.3, 0.25).sample(count, torch.Generator().manual_seed(0))
    compressed, twice = drawn.quality > 0, drawn.earlier_quality > 0
    assert compressed.float().mean().item() == pytest.approx(0.8, abs=0.015)
    assert drawn.full_chroma.float().mean().item() == pytest.approx(0.3, abs=0.015)
    assert twice[compressed].float().mean().item() == pytest.approx(0.25, abs=0.015)
    assert not twice[~compressed].any()
    assert drawn.quality[compressed].min() >= 50
    assert drawn.quality[compressed].mean().item() == pytest.approx(75, abs=0.5)
    for phase in (drawn.earlier_top, drawn.earlier_left):
        assert phase.unique().tolist() == list(range(16))


def test_a_stage_is_for_the_chosen_alone() -> None:
    images, factors = torch.ones(4, 1, 2, 2), torch.tensor([2.0, 3.0, 4.0, 5.0])
    for chosen in ([False, True, False, True], [True] * 4, [False] * 4):
        done = apply_where(
            torch.tensor(chosen), images, lambda some, rows: some * factors[rows].view(-1, 1, 1, 1)
        )
        expected = torch.where(torch.tensor(chosen), factors, 1.0)
        assert torch.equal(done[:, 0, 0, 0], expected)
    assert images.eq(1).all()


def test_windows_are_cut_each_at_its_own_place() -> None:
    images = torch.arange(2 * 6 * 7.0).view(2, 1, 6, 7)
    cut = take_windows(images, torch.tensor([0, 3]), torch.tensor([2, 1]), 3, 4)
    assert torch.equal(cut[0], images[0, :, 0:3, 2:6])
    assert torch.equal(cut[1], images[1, :, 3:6, 1:5])
