"""What a lens does to a scene: the small blur of a sharp one, the disc of one out of focus."""

import torch
import torch.nn.functional as F
from torch import Tensor

from rlrestore.imaging.degradation.batches import Rows, apply_where
from rlrestore.imaging.degradation.blur import RADIUS_PX, gaussian_blur

LARGEST_DISC_PX = RADIUS_PX - 0.5
"""A wider disc does not fit the kernel of 21×21 pixels."""


def disc_kernel(radius_px: Tensor) -> Tensor:
    """Return what a point out of focus becomes: a disc whose edge is one pixel soft.

    Args:
        radius_px: `(B,)` from 0 to `LARGEST_DISC_PX`; 0 gives the unit impulse.

    Returns:
        `(B, 21, 21)`, of sum 1.
    """
    line = torch.arange(-RADIUS_PX, RADIUS_PX + 1, device=radius_px.device, dtype=radius_px.dtype)
    distance = torch.hypot(line[:, None], line)
    kernel = (radius_px[:, None, None] + 0.5 - distance).clamp(0, 1)
    return kernel / kernel.sum(dim=(1, 2), keepdim=True)


def ellipse_kernel(sigma_px: Tensor, ratio: Tensor, angle_degrees: Tensor) -> Tensor:
    """Return Gaussians that are longer along one axis.

    Args:
        sigma_px: `(B,)` standard deviations in pixels along it, up to 5; 0 gives the unit impulse.
        ratio: `(B,)` of the standard deviation across it to that along it, above 0.
        angle_degrees: `(B,)` of that axis, from right to down.

    Returns:
        `(B, 21, 21)`, of sum 1.
    """
    line = torch.arange(-RADIUS_PX, RADIUS_PX + 1, device=sigma_px.device, dtype=sigma_px.dtype)
    angle = torch.deg2rad(angle_degrees)[:, None, None]
    sigma = sigma_px.clamp(min=1e-3)[:, None, None]
    along = angle.cos() * line + angle.sin() * line[:, None]
    across = angle.cos() * line[:, None] - angle.sin() * line
    kernel = torch.exp(-0.5 * ((along / sigma).square() + (across / (ratio[:, None, None] * sigma)).square()))
    return kernel / kernel.sum(dim=(1, 2), keepdim=True)


def lens_blur(images: Tensor, sigma_px: Tensor, disc_radius_px: Tensor, margin: int = 0) -> Tensor:
    """Blur every image with its own Gaussian, or with its own disc where it has one; replicated border.

    Args:
        images: `(B, C, H, W)`.
        sigma_px: `(B,)` standard deviations in pixels.
        disc_radius_px: `(B,)` radii in pixels, 0 for the Gaussian.
        margin: Pixels of the result that are left out on each side.

    Returns:
        `(B, C, H − 2·margin, W − 2·margin)`.
    """

    def discs(_: Tensor, rows: Rows) -> Tensor:
        return convolve(images[rows], disc_kernel(disc_radius_px[rows]), margin)

    return apply_where(disc_radius_px > 0, gaussian_blur(images, sigma_px, margin), discs)


def convolve(images: Tensor, kernels: Tensor, margin: int = 0) -> Tensor:
    """Filter every image with its own kernel `(B, 21, 21)`, replicated border; the rest as in `lens_blur`.

    By Fourier transforms, for a disc is not separable.
    """
    border = max(RADIUS_PX - margin, 0)
    padded = F.pad(images, (border,) * 4, mode="replicate") if border else images
    height, width = (_fast_length(side) for side in padded.shape[-2:])
    # Nothing wraps around into what is kept: it lies a kernel's radius away from every side.
    spectrum = torch.fft.rfft2(padded, s=(height, width))
    spectrum *= torch.fft.rfft2(kernels, s=(height, width))[:, None]
    filtered: Tensor = torch.fft.irfft2(spectrum, s=(height, width))
    # The kernel's centre stands at (RADIUS_PX, RADIUS_PX), so that the result is shifted by as much.
    first = RADIUS_PX + border + margin
    rows, columns = (side - 2 * margin for side in images.shape[-2:])
    return filtered[..., first : first + rows, first : first + columns]


def _fast_length(length: int) -> int:
    """Return the smallest length from this one on that has no prime factor above 5."""
    while True:
        rest = length
        for factor in (2, 3, 5):
            while rest % factor == 0:
                rest //= factor
        if rest == 1:
            return length
        length += 1
