"""Gaussian noise, white or correlated, batched on any device."""

import torch
from torch import Tensor

from rlrestore.imaging.degradation.blur import RADIUS_PX, gaussian_blur, gaussian_taps


def gaussian_noise(images: Tensor, sigma_255: Tensor, generator: torch.Generator) -> Tensor:
    """Add Gaussian noise of each image's own strength, and clip to [0, 1].

    Args:
        images: `(B, C, H, W)` in [0, 1].
        sigma_255: `(B,)` standard deviations in units of 1/255.
        generator: Source of the noise, on the device of the images.

    Returns:
        `(B, C, H, W)` in [0, 1].

    Source: paper, section 3.1.
    """
    noise = torch.empty_like(images).normal_(generator=generator)
    return torch.addcmul(images, noise, sigma_255[:, None, None, None] / 255).clamp_(0, 1)


def grey_noise(images: Tensor, sigma_255: Tensor, generator: torch.Generator) -> Tensor:
    """Add Gaussian noise that is the same in all channels; the rest as in `gaussian_noise`."""
    noise = torch.empty_like(images[:, :1]).normal_(generator=generator)
    return torch.addcmul(images, noise, sigma_255[:, None, None, None] / 255).clamp_(0, 1)


def shot_noise(images: Tensor, sigma_255: Tensor, generator: torch.Generator) -> Tensor:
    """Count photons: Poisson noise, whose variance grows with the light.

    Args:
        images: `(B, C, H, W)` in [0, 1].
        sigma_255: `(B,)` standard deviations in white, above 0, in units of 1/255.
        generator: Source of the noise, on the device of the images.

    Returns:
        `(B, C, H, W)` in [0, 1].
    """
    white = (255 / sigma_255[:, None, None, None]).square()
    return (torch.poisson(images * white, generator=generator) / white).clamp_(0, 1)


def correlated_noise(shape: tuple[int, int, int, int], size_px: Tensor, generator: torch.Generator) -> Tensor:
    """Draw noise of standard deviation 1 whose neighbouring pixels agree.

    Args:
        shape: `(B, C, H, W)`.
        size_px: `(B,)` standard deviations in pixels of the Gaussian that white noise is blurred by, up to 5.
        generator: Source of the noise, on the device of the sizes.

    Returns:
        `(B, C, H, W)`, the channels independent.
    """
    batch, channels, height, width = shape
    padded = (batch, channels, height + 2 * RADIUS_PX, width + 2 * RADIUS_PX)
    white = torch.randn(padded, generator=generator, device=size_px.device)
    # Blurring by taps t both ways leaves Σt² of the standard deviation.
    left = gaussian_taps(size_px).square().sum(dim=1)
    return gaussian_blur(white, size_px, RADIUS_PX) / left[:, None, None, None]
