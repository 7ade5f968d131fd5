"""The quality measures of the project, per image: PSNR, SSIM, GMSD, PSNR tolerant of shifts, salient PSNR."""

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from rlrestore.imaging.io.samples import LUMA_WEIGHTS
from rlrestore.imaging.psnr import SMALLEST_MSE
from rlrestore.imaging.saliency import salient_mse

WINDOW = 11
WINDOW_SIGMA_PX = 1.5
K1 = 0.01
K2 = 0.03
GMSD_FLOOR = 170 / 255**2
"""What keeps a similarity of gradients finite where there are none."""
LARGEST_SHIFT = 2
"""Pixels by which `shift_psnr_db` lets the surroundings of a pixel be displaced, in every direction."""
SHIFTED_SIDE = 7
"""Side in pixels of the surroundings that are displaced together."""


def psnr_db(restored: Tensor, clean: Tensor) -> Tensor:
    """Return the peak signal-to-noise ratio of each image, over all its pixels and channels.

    Defined as −10·log10(MSE + 1e-10): equal images give 100 dB, not infinity, and no image gives more.

    Args:
        restored: `(B, 3, H, W)` RGB in units where white is 1; not clipped here.
        clean: `(B, 3, H, W)`, the reference.

    Returns:
        `(B,)` in dB.

    Raises:
        ValueError: The shapes differ or are not those of a batch of images.
    """
    _check_shapes(restored, clean)
    return -10 * torch.log10((restored - clean).square().mean(dim=(1, 2, 3)) + SMALLEST_MSE)


def ssim(restored: Tensor, clean: Tensor) -> Tensor:
    """Return the structural similarity of each image, the mean over the valid region and the channels.

    Gaussian window of 11×11 and σ 1.5 px, K1 = 0.01, K2 = 0.03, data range 1.

    Args:
        restored: `(B, 3, H, W)` RGB in units where white is 1, at least 11×11 pixels.
        clean: `(B, 3, H, W)`, the reference.

    Returns:
        `(B,)` from −1 to 1; 1 for equal images.

    Raises:
        ValueError: The shapes differ, are not those of a batch of images, or are smaller than the window.

    Source: Wang, Bovik, Sheikh, Simoncelli: Image quality assessment, IEEE TIP 2004,
        equation 13 and section III.
    """
    _check_shapes(restored, clean)
    if min(clean.shape[-2:]) < WINDOW:
        raise ValueError(
            f"expected images of at least {WINDOW}×{WINDOW} pixels, got {tuple(clean.shape[-2:])}"
        )
    # Variances are differences of large numbers; centring around mid-grey keeps them exact enough in float32.
    x, y = restored - 0.5, clean - 0.5
    moments = _window_mean(torch.cat((x, y, x * x, y * y, x * y), dim=1))  # (B, 5·C, H - 10, W - 10)
    mean_x, mean_y, square_x, square_y, product = moments.chunk(5, dim=1)
    variance_x, variance_y = square_x - mean_x**2, square_y - mean_y**2
    covariance = product - mean_x * mean_y
    mean_x, mean_y = mean_x + 0.5, mean_y + 0.5
    c1, c2 = K1**2, K2**2
    luminance = (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
    structure = (2 * covariance + c2) / (variance_x + variance_y + c2)
    return (luminance * structure).mean(dim=(1, 2, 3))


def gmsd(restored: Tensor, clean: Tensor) -> Tensor:
    """Return the gradient magnitude similarity deviation of each image: 0 for equal ones, more is worse.

    Of the luma at half size, by means of 2×2: gradients by the Prewitt operator, zeros beyond the border, as
    in the authors' program. How similar the magnitudes are is a number in [0, 1] at every pixel; its standard
    deviation over the image is the result, for what is seen is that some places are worse than others.

    Args:
        restored: `(B, 3, H, W)` RGB in units where white is 1, at least 3×3 pixels.
        clean: `(B, 3, H, W)`, the reference.

    Returns:
        `(B,)`, in practice below about 0.4.

    Raises:
        ValueError: The shapes differ, are not those of a batch of images, or are too small.

    Source: Xue, Zhang, Mou, Bovik: Gradient magnitude similarity deviation, IEEE TIP 2014, equations 1 to 6.
    """
    _check_shapes(restored, clean)
    if min(clean.shape[-2:]) < 3:
        raise ValueError(f"expected images of at least 3×3 pixels, got {tuple(clean.shape[-2:])}")
    first, second = _squared_gradients(restored), _squared_gradients(clean)
    similarity = (2 * (first * second).sqrt() + GMSD_FLOOR) / (first + second + GMSD_FLOOR)
    return similarity.flatten(1).std(dim=1)


def _squared_gradients(images: Tensor) -> Tensor:
    """Return the squared gradient magnitudes of the luma at half size: `(B, ⌈H / 2⌉, ⌈W / 2⌉)`."""
    luma = torch.einsum("bchw,c->bhw", images, images.new_tensor(LUMA_WEIGHTS))[:, None]
    height, width = luma.shape[-2:]
    half = F.avg_pool2d(F.pad(luma, (0, width % 2, 0, height % 2)), 2)
    difference = images.new_tensor([1.0, 0.0, -1.0]).expand(3, 3) / 3
    gradients = F.conv2d(half, torch.stack((difference, difference.T))[:, None], padding=1)
    return gradients.square().sum(dim=1)


def shift_psnr_db(restored: Tensor, clean: Tensor) -> Tensor:
    """Return the PSNR of each image, its surroundings of every pixel displaced as fits the reference best.

    The error at a pixel is the mean squared error over the 7×7 pixels around it and all channels, of that
    displacement by −2 to 2 pixels each way for which it is smallest. Its mean over the pixels that have
    all of these around them is the MSE of −10·log10(MSE + 1e-10). Texture that is right but lies a pixel
    beside its place costs little, where PSNR takes it for wrong; never less than the PSNR of those 7×7 means.

    Args:
        restored: `(B, 3, H, W)` RGB in units where white is 1, at least 11×11 pixels.
        clean: `(B, 3, H, W)`, the reference.

    Returns:
        `(B,)` in dB.

    Raises:
        ValueError: The shapes differ, are not those of a batch of images, or are too small.

    Source: the idea of comparing with a small range around a position is that of the space warping
        difference in Gu et al.: Image quality assessment for perceptual image restoration, arXiv 2011.15002,
        there of learned features, here of pixels.
    """
    _check_shapes(restored, clean)
    height, width = (side - 2 * LARGEST_SHIFT for side in clean.shape[-2:])
    if min(height, width) < SHIFTED_SIDE:
        smallest = SHIFTED_SIDE + 2 * LARGEST_SHIFT
        raise ValueError(
            f"expected images of at least {smallest}×{smallest} pixels, got {tuple(clean.shape[-2:])}"
        )
    inner = clean[..., LARGEST_SHIFT : LARGEST_SHIFT + height, LARGEST_SHIFT : LARGEST_SHIFT + width]
    least = torch.full_like(inner[:, :1, SHIFTED_SIDE - 1 :, SHIFTED_SIDE - 1 :], torch.inf)
    for top, left in itertools.product(range(2 * LARGEST_SHIFT + 1), repeat=2):
        moved = restored[..., top : top + height, left : left + width]
        error = (moved - inner).square().mean(dim=1, keepdim=True)
        least = torch.minimum(least, _smoothed(error, [1 / SHIFTED_SIDE] * SHIFTED_SIDE))
    return -10 * torch.log10(least.mean(dim=(1, 2, 3)) + SMALLEST_MSE)


def salient_psnr_db(restored: Tensor, clean: Tensor) -> Tensor:
    """Return the PSNR of each image whose squared errors are weighted by the saliency of the reference.

    Defined as −10·log10(MSE + 1e-10), as `psnr_db` is.

    Args:
        restored: `(B, 3, H, W)` RGB in units where white is 1.
        clean: `(B, 3, H, W)`, the reference.

    Returns:
        `(B,)` in dB.

    Raises:
        ValueError: The shapes differ or are not those of a batch of images.
    """
    _check_shapes(restored, clean)
    return -10 * torch.log10(salient_mse(restored, clean) + SMALLEST_MSE)


def _window_mean(images: Tensor) -> Tensor:
    """Average `(B, C, H, W)` with the Gaussian window, without padding."""
    offsets = [tap - WINDOW // 2 for tap in range(WINDOW)]
    weights = [math.exp(-0.5 * (offset / WINDOW_SIGMA_PX) ** 2) for offset in offsets]
    return _smoothed(images, [weight / sum(weights) for weight in weights])


def _smoothed(images: Tensor, taps: Sequence[float]) -> Tensor:
    """Correlate `(B, C, H, W)` with taps down and across, without padding.

    By adding shifted images: a convolution of one channel takes torch ten times as long on a processor.
    """
    for dim in (2, 3):
        length = images.shape[dim] - len(taps) + 1
        total = images.narrow(dim, 0, length) * taps[0]
        for start, tap in enumerate(taps[1:], start=1):
            total.add_(images.narrow(dim, start, length), alpha=tap)
        images = total
    return images


def _check_shapes(restored: Tensor, clean: Tensor) -> None:
    if restored.shape != clean.shape or clean.ndim != 4:
        raise ValueError(
            f"expected two batches of images of one shape (B, 3, H, W), "
            f"got {tuple(restored.shape)} and {tuple(clean.shape)}"
        )


@dataclass(frozen=True)
class Metric:
    """A quality measure as evaluations report it.

    Attributes:
        name: Its key in records.
        title: Its name in tables, with the unit.
        decimals: As which it is printed.
        larger_is_better: Whether more of it is better.
        measure: From restored and clean images `(B, 3, H, W)` to `(B,)`.
    """

    name: str
    title: str
    decimals: int
    larger_is_better: bool
    measure: Callable[[Tensor, Tensor], Tensor]


METRICS = (
    Metric("psnr_db", "PSNR, dB", 2, True, psnr_db),
    Metric("ssim", "SSIM", 4, True, ssim),
    Metric("gmsd", "GMSD", 4, False, gmsd),
    Metric("shift_psnr_db", "shift PSNR, dB", 2, True, shift_psnr_db),
    Metric("salient_psnr_db", "salient, dB", 2, True, salient_psnr_db),
)
"""What `rlrestore evaluate` measures."""
