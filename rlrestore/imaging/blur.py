"""Gaussian blur as two banded matrix products, batched on any device."""

import torch
from torch import Tensor

RADIUS_PX = 10
"""Half the 21-tap kernel of the protocol (paper, section 3.1)."""


def gaussian_taps(sigma_px: Tensor) -> Tensor:
    """Return the normalised 21-tap Gaussian of each image.

    Args:
        sigma_px: `(B,)` standard deviations in pixels; 0 gives the unit impulse.

    Returns:
        `(B, 21)` taps that sum to 1.
    """
    offsets = torch.arange(-RADIUS_PX, RADIUS_PX + 1, device=sigma_px.device, dtype=sigma_px.dtype)
    taps = torch.exp(-0.5 * (offsets / sigma_px.clamp(min=1e-3)[:, None]) ** 2)
    return taps / taps.sum(dim=1, keepdim=True)


def blur_matrix(sigma_px: Tensor, size: int) -> Tensor:
    """Return the matrix that blurs a line of `size` pixels whose border is replicated.

    A matrix instead of a convolution: the sigma differs from image to image, and batched products run near
    the speed of the machine where a grouped convolution of 21 taps does not.

    Args:
        sigma_px: `(B,)` standard deviations in pixels.
        size: Length of the line.

    Returns:
        `(B, size, size)`; row i holds the weights of output pixel i, and sums to 1.
    """
    taps = gaussian_taps(sigma_px)
    rows = torch.arange(size, device=taps.device)
    columns = (rows[:, None] + torch.arange(-RADIUS_PX, RADIUS_PX + 1, device=taps.device)).clamp(0, size - 1)
    matrix = taps.new_zeros(len(taps), size, size)
    return matrix.scatter_add_(2, columns.expand(len(taps), -1, -1), taps[:, None, :].expand(-1, size, -1))


def gaussian_blur(images: Tensor, sigma_px: Tensor) -> Tensor:
    """Blur every image with its own Gaussian, 21×21 kernel, replicated border.

    Args:
        images: `(B, C, H, W)`.
        sigma_px: `(B,)` standard deviations in pixels; 0 leaves the image as it is.

    Returns:
        `(B, C, H, W)`.

    Source: paper, section 3.1; checked against OpenCV's `GaussianBlur` in the tests.
    """
    height, width = images.shape[-2:]
    vertical = blur_matrix(sigma_px, height)[:, None]  # (B, 1, H, H)
    horizontal = blur_matrix(sigma_px, width)[:, None]  # (B, 1, W, W)
    return vertical @ images @ horizontal.mT


def gaussian_blur_inside(images: Tensor, sigma_px: Tensor) -> Tensor:
    """Blur likewise, and keep only what no border has touched: 10 pixels less on each side.

    Args:
        images: `(B, C, H, W)`, each side above 20 pixels.
        sigma_px: `(B,)` standard deviations in pixels.

    Returns:
        `(B, C, H − 20, W − 20)`.
    """
    height, width = images.shape[-2:]
    vertical = blur_matrix(sigma_px, height)[:, None, RADIUS_PX:-RADIUS_PX]  # (B, 1, H − 20, H)
    horizontal = blur_matrix(sigma_px, width)[:, None, RADIUS_PX:-RADIUS_PX]  # (B, 1, W − 20, W)
    return vertical @ images @ horizontal.mT
