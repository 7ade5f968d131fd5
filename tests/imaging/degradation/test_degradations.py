"""The batched torch degradations against OpenCV, Pillow and numpy, which degrade files."""

import itertools
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor

from rlrestore.imaging.degradation.blur import gaussian_blur
from rlrestore.imaging.degradation.jpeg import jpeg
from rlrestore.imaging.degradation.libjpeg import degrade_pixels, jpeg_round_trip
from rlrestore.imaging.degradation.mixtures import JPEG_ENDS, MIXTURES
from rlrestore.imaging.degradation.noise import gaussian_noise
from rlrestore.imaging.degradation.protocol import Degradations, degrade
from rlrestore.imaging.io.files import read_rgb8
from rlrestore.imaging.metrics import psnr_db

Pixels = npt.NDArray[np.uint8]

QUALITIES = (10, 20, 35, 60, 90)
PHOTOGRAPHS = ("street", "coffee", "chelsea")
"""In `examples/clean`: greyish sky and snow, full of halves; flat colours; fur."""


def _tensor(pixels: Pixels) -> Tensor:
    return torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None].float() / 255


def _generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _check_jpeg(pixels: Pixels, quality: int) -> None:
    clean, real = _tensor(pixels), _tensor(jpeg_round_trip(pixels, quality))
    ours = jpeg(clean, torch.tensor([float(quality)]))
    assert psnr_db(ours, real).item() >= (44 if quality == 90 else 45)
    assert psnr_db(ours, clean).item() == pytest.approx(psnr_db(real, clean).item(), abs=0.05)


@pytest.mark.parametrize("sigma_px", [0.2, 0.5, 1.25, 2.5, 3.75, 5.0])
def test_blur_is_opencvs(photograph: Pixels, sigma_px: float) -> None:
    image = photograph.astype(np.float32) / 255
    expected = cv2.GaussianBlur(image, (21, 21), sigma_px, borderType=cv2.BORDER_REPLICATE)
    ours = gaussian_blur(_tensor(photograph), torch.tensor([sigma_px]))
    np.testing.assert_allclose(ours[0].permute(1, 2, 0).numpy(), expected, atol=2e-6)


def test_blur_of_an_image_smaller_than_the_kernel_is_opencvs(make_photograph: Callable[..., Pixels]) -> None:
    pixels = make_photograph(9, 13)
    image = pixels.astype(np.float32) / 255
    expected = cv2.GaussianBlur(image, (21, 21), 3.0, borderType=cv2.BORDER_REPLICATE)
    ours = gaussian_blur(_tensor(pixels), torch.tensor([3.0]))
    np.testing.assert_allclose(ours[0].permute(1, 2, 0).numpy(), expected, atol=2e-6)


def test_the_inside_is_degraded_as_the_whole(make_photograph: Callable[..., Pixels]) -> None:
    """Blur as in the middle of the whole; noise and JPEG as of what the blur left."""
    images = _tensor(make_photograph(84, 68))
    sigma = torch.tensor([3.0])
    inside = gaussian_blur(images, sigma, margin=10)
    assert inside.shape == (1, 3, 64, 48)
    assert torch.allclose(inside, gaussian_blur(images, sigma)[..., 10:-10, 10:-10], atol=1e-6)
    none = torch.zeros(1)
    noise_and_jpeg = Degradations(none, torch.tensor([20.0]), torch.tensor([30.0]))
    everything = Degradations(sigma, torch.tensor([20.0]), torch.tensor([30.0]))
    degraded = degrade(images, everything, _generator(), margin=10)
    assert torch.equal(degraded, degrade(inside, noise_and_jpeg, _generator()))


def test_every_image_of_a_batch_has_its_own_blur(photograph: Pixels) -> None:
    image, sigmas = _tensor(photograph), torch.tensor([0.0, 0.7, 4.0])
    together = gaussian_blur(image.expand(3, -1, -1, -1), sigmas)
    apart = torch.cat([gaussian_blur(image, sigma[None]) for sigma in sigmas])
    torch.testing.assert_close(together, apart, atol=1e-6, rtol=0)
    torch.testing.assert_close(together[:1], image, atol=1e-6, rtol=0)


@pytest.mark.parametrize("quality", QUALITIES)
def test_jpeg_is_pillows(make_photograph: Callable[..., Pixels], quality: int) -> None:
    _check_jpeg(make_photograph(192, 256), quality)


@pytest.mark.parametrize(("height", "width"), [(63, 63), (95, 129), (16, 17), (130, 98)])
def test_jpeg_is_pillows_at_sizes_that_fill_no_block(
    make_photograph: Callable[..., Pixels], height: int, width: int
) -> None:
    _check_jpeg(make_photograph(height, width), 35)


@pytest.mark.parametrize("quality", QUALITIES)
@pytest.mark.parametrize("name", PHOTOGRAPHS)
def test_jpeg_is_pillows_on_photographs(root: Path, name: str, quality: int) -> None:
    _check_jpeg(read_rgb8(root / "examples" / "clean" / f"{name}.png"), quality)


@pytest.mark.parametrize("level", [(7, 7, 7), (200, 200, 30), (100, 100, 101), (255, 0, 0), (3, 250, 128)])
def test_jpeg_of_a_flat_colour_is_pillows_within_one_level(level: tuple[int, int, int]) -> None:
    pixels = np.full((32, 32, 3), level, np.uint8)
    for quality in QUALITIES:
        ours = jpeg(_tensor(pixels), torch.tensor([float(quality)]))
        np.testing.assert_allclose(255 * ours, 255 * _tensor(jpeg_round_trip(pixels, quality)), atol=1.01)


def test_every_image_of_a_batch_has_its_own_quality(photograph: Pixels) -> None:
    image, qualities = _tensor(photograph) + 1e-4, torch.tensor([0.0, 10.0, 55.0])
    together = jpeg(image.expand(3, -1, -1, -1), qualities)
    apart = torch.cat([jpeg(image, quality[None]) for quality in qualities])
    torch.testing.assert_close(together, apart, atol=1e-6, rtol=0)
    assert torch.equal(together[:1], image)  # quality 0: not even rounded


def test_noise_has_its_moments() -> None:
    images = torch.full((2, 3, 300, 300), 0.5)
    noise = 255 * (gaussian_noise(images, torch.tensor([10.0, 30.0]), _generator()) - images)
    count = noise[0].numel()
    for sample, sigma in zip(noise, (10.0, 30.0), strict=True):
        assert abs(sample.mean().item()) < 5 * sigma / count**0.5
        assert sample.std().item() == pytest.approx(sigma, rel=0.01)
        assert (sample**4).mean().item() == pytest.approx(
            3 * sigma**4, rel=0.03
        )  # the kurtosis of a Gaussian


def test_noise_is_clipped() -> None:
    noisy = gaussian_noise(torch.full((1, 3, 64, 64), 0.98), torch.tensor([50.0]), _generator())
    assert noisy.max() == 1.0
    assert (noisy == 1).float().mean() > 0.3
    assert noisy.min() >= 0


def test_noise_of_zero_strength_changes_nothing(photograph: Pixels) -> None:
    assert torch.equal(gaussian_noise(_tensor(photograph), torch.zeros(1), _generator()), _tensor(photograph))


@pytest.mark.parametrize(("blur", "noise", "quality"), [(1.7, 22.0, 25), (4.2, 8.0, 70), (0.3, 45.0, 12)])
def test_both_implementations_degrade_by_the_same_amount(
    photograph: Pixels, blur: float, noise: float, quality: int
) -> None:
    count = 16
    amounts = Degradations(*(torch.full((count,), float(value)) for value in (blur, noise, quality)))
    clean = _tensor(photograph).expand(count, -1, -1, -1)
    rng = np.random.default_rng(0)
    files = torch.cat([_tensor(degrade_pixels(photograph, blur, noise, quality, rng)) for _ in range(count)])
    ours = degrade(clean, amounts, _generator())
    # One image varies by 0.1 dB with its noise; 0.1 is three standard errors of the difference of the means.
    assert psnr_db(ours, clean).mean().item() == pytest.approx(psnr_db(files, clean).mean().item(), abs=0.1)


def test_degradations_must_be_of_one_length() -> None:
    with pytest.raises(ValueError, match=r"expected three tensors of one shape \(B,\)"):
        Degradations(torch.zeros(2), torch.zeros(3), torch.zeros(2))


@pytest.mark.parametrize(
    ("name", "lowest", "highest"), [("mild", 9, 11), ("moderate", 12, 17), ("severe", 18, 20)]
)
def test_mixtures_hold_exactly_the_papers_triples(name: str, lowest: int, highest: int) -> None:
    levels = itertools.product(range(1, 11), repeat=3)
    expected = {(b, n, j) for b, n, j in levels if lowest <= b + n + j - 2 <= highest}
    triples = MIXTURES[name].triples()
    assert set(triples) == expected
    assert len(triples) == len(expected)


@pytest.mark.parametrize(("name", "count"), [("mild", 163), ("moderate", 434), ("severe", 163)])
def test_mixtures_have_as_many_triples_as_counted_by_hand(name: str, count: int) -> None:
    """Ordered triples of 1 to 10 with the sums 11 to 22: 45 55 63 | 69 73 75 75 73 69 | 63 55 45."""
    assert len(MIXTURES[name].triples()) == count


@pytest.mark.parametrize("name", list(MIXTURES))
def test_samples_fall_into_the_mixtures_triples_evenly(name: str) -> None:
    count = 60_000
    drawn = MIXTURES[name].sample(count, _generator())
    blur = (drawn.blur_sigma_px / 0.5).floor().long() + 1
    noise = (drawn.noise_sigma_255 / 5).floor().long() + 1
    ends = torch.tensor(JPEG_ENDS)
    level = (drawn.jpeg_quality[:, None] <= ends).sum(dim=1)  # 1 for (80, 100], ... 10 for (10, 15]
    triples, counts = torch.stack((blur, noise, level), dim=1).unique(dim=0, return_counts=True)
    found = {tuple(t): c for t, c in zip(triples.tolist(), counts.tolist(), strict=True)}
    expected = MIXTURES[name].triples()
    # A draw on the very end of an interval may count for the neighbour.
    inside = {triple: found.get(triple, 0) for triple in expected}
    assert count - sum(inside.values()) <= 2
    mean = count / len(expected)
    assert min(inside.values()) > mean - 6 * mean**0.5
    assert max(inside.values()) < mean + 6 * mean**0.5


def test_parameters_are_uniform_inside_their_interval() -> None:
    drawn = MIXTURES["moderate"].sample(40_000, _generator())
    for values, step in ((drawn.blur_sigma_px, 0.5), (drawn.noise_sigma_255, 5.0)):
        inside = (values / step).frac()
        assert inside.mean().item() == pytest.approx(0.5, abs=0.01)
        assert inside.var().item() == pytest.approx(1 / 12, rel=0.02)
    assert drawn.jpeg_quality.min() >= 10
    assert drawn.jpeg_quality.max() <= 100
    lowest = drawn.jpeg_quality[drawn.jpeg_quality < 15]
    assert lowest.mean().item() == pytest.approx(12.5, abs=0.1)


def test_the_same_seed_samples_the_same() -> None:
    first, second = (MIXTURES["mild"].sample(50, _generator(3)) for _ in range(2))
    assert torch.equal(first.jpeg_quality, second.jpeg_quality)
    assert torch.equal(first.blur_sigma_px, second.blur_sigma_px)
