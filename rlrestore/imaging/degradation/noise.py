"""Additive white Gaussian noise, batched on any device."""

import torch
from torch import Tensor


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
