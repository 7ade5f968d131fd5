"""The protocol's degradation of a batch: blur, then noise, then JPEG."""

from dataclasses import dataclass

import torch
from torch import Tensor

from rlrestore.imaging.blur import gaussian_blur, gaussian_blur_inside
from rlrestore.imaging.jpeg import jpeg
from rlrestore.imaging.noise import gaussian_noise


@dataclass(frozen=True)
class Degradations:
    """What is done to each image of a batch.

    Attributes:
        blur_sigma_px: `(B,)` standard deviation of the Gaussian blur in pixels, 0 for none.
        noise_sigma_255: `(B,)` standard deviation of the noise in units of 1/255, 0 for none.
        jpeg_quality: `(B,)` JPEG quality from 1 to 100, 0 for not compressed.
    """

    blur_sigma_px: Tensor
    noise_sigma_255: Tensor
    jpeg_quality: Tensor

    def __post_init__(self) -> None:
        shapes = {self.blur_sigma_px.shape, self.noise_sigma_255.shape, self.jpeg_quality.shape}
        if len(shapes) != 1 or self.blur_sigma_px.ndim != 1:
            raise ValueError(f"expected three tensors of one shape (B,), got {sorted(map(tuple, shapes))}")

    def __len__(self) -> int:
        return len(self.blur_sigma_px)


def degrade(images: Tensor, degradations: Degradations, generator: torch.Generator) -> Tensor:
    """Blur, add noise, clip, and compress, each image by its own amounts.

    Args:
        images: `(B, 3, H, W)` clean RGB in [0, 1].
        degradations: The amounts, B of each.
        generator: Source of the noise, on the device of the images.

    Returns:
        `(B, 3, H, W)` in [0, 1].

    Source: paper, section 3.1: blur by a 21×21 kernel with replicated border, noise clipped, JPEG 4:2:0.
    """
    return _add_noise_and_compress(gaussian_blur(images, degradations.blur_sigma_px), degradations, generator)


def degrade_inside(images: Tensor, degradations: Degradations, generator: torch.Generator) -> Tensor:
    """Do the same to the inside of larger images, which the blur's border does not reach.

    Args:
        images: `(B, 3, H, W)` clean RGB in [0, 1].
        degradations: The amounts, B of each.
        generator: Source of the noise, on the device of the images.

    Returns:
        `(B, 3, H − 20, W − 20)` in [0, 1]; the JPEG grid begins in its corner.
    """
    return _add_noise_and_compress(
        gaussian_blur_inside(images, degradations.blur_sigma_px), degradations, generator
    )


def _add_noise_and_compress(
    blurred: Tensor, degradations: Degradations, generator: torch.Generator
) -> Tensor:
    noisy = gaussian_noise(blurred, degradations.noise_sigma_255, generator)
    return jpeg(noisy, degradations.jpeg_quality)
