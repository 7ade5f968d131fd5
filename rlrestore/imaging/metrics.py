"""The two quality measures of the project: PSNR and SSIM, per image."""

import torch
import torch.nn.functional as F
from torch import Tensor

from rlrestore.imaging.psnr import SMALLEST_MSE

WINDOW = 11
WINDOW_SIGMA_PX = 1.5
K1 = 0.01
K2 = 0.03


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


def _window_mean(images: Tensor) -> Tensor:
    """Average `(B, C, H, W)` with the Gaussian window, without padding, one axis at a time."""
    offsets = torch.arange(WINDOW, device=images.device, dtype=images.dtype) - WINDOW // 2
    taps = torch.exp(-0.5 * (offsets / WINDOW_SIGMA_PX) ** 2)
    taps = taps / taps.sum()
    batch, channels, height, width = images.shape
    planes = images.reshape(batch * channels, 1, height, width)
    planes = F.conv2d(F.conv2d(planes, taps.view(1, 1, -1, 1)), taps.view(1, 1, 1, -1))
    return planes.view(batch, channels, height - WINDOW + 1, width - WINDOW + 1)


def _check_shapes(restored: Tensor, clean: Tensor) -> None:
    if restored.shape != clean.shape or clean.ndim != 4:
        raise ValueError(
            f"expected two batches of images of one shape (B, 3, H, W), "
            f"got {tuple(restored.shape)} and {tuple(clean.shape)}"
        )
