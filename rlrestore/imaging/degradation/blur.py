"""Gaussian blur as two banded matrix products, batched on any device."""

import torch
from torch import Tensor

RADIUS_PX = 10
"""Half the 21-tap kernel of the protocol (paper, section 3.1)."""

LEAST_TAP = 1e-9
"""Beside the largest one of a kernel; smaller ones are 0."""


def gaussian_taps(sigma_px: Tensor) -> Tensor:
    """Return the normalised 21-tap Gaussian of each image.

    Args:
        sigma_px: `(B,)` standard deviations in pixels; 0 gives the unit impulse.

    Returns:
        `(B, 21)` taps that sum to 1.
    """
    offsets = torch.arange(-RADIUS_PX, RADIUS_PX + 1, device=sigma_px.device, dtype=sigma_px.dtype)
    taps = torch.exp(-0.5 * (offsets / sigma_px.clamp(min=1e-3)[:, None]) ** 2)
    # What no pixel shows would give denormal products, at which a processor is a hundred times slower.
    taps = taps * (taps > LEAST_TAP)
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


def gaussian_blur(images: Tensor, sigma_px: Tensor, margin: int = 0) -> Tensor:
    """Blur every image with its own Gaussian, 21×21 kernel, replicated border.

    Args:
        images: `(B, C, H, W)`.
        sigma_px: `(B,)` standard deviations in pixels; 0 leaves the image as it is.
        margin: Pixels of the result that are left out on each side, and not computed.

    Returns:
        `(B, C, H − 2·margin, W − 2·margin)`.

    Source: paper, section 3.1; checked against OpenCV's `GaussianBlur` in the tests.
    """
    height, width = images.shape[-2:]
    vertical = blur_matrix(sigma_px, height)[:, None, margin : height - margin]  # (B, 1, H − 2·margin, H)
    horizontal = blur_matrix(sigma_px, width)[:, margin : width - margin]
    # The rows of all channels are one matrix, so that this product repeats nothing for each channel.
    rows = images.flatten(1, 2) @ horizontal.mT  # (B, C·H, W − 2·margin)
    blurred: Tensor = vertical @ rows.unflatten(1, images.shape[1:3])
    return blurred
