"""The protocol's degradation of a batch: blur, then noise, then JPEG."""

from dataclasses import dataclass

import torch
from torch import Tensor

from rlrestore.imaging.degradation.batches import Rows, apply_where
from rlrestore.imaging.degradation.blur import gaussian_blur
from rlrestore.imaging.degradation.jpeg import jpeg
from rlrestore.imaging.degradation.noise import gaussian_noise


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

    @property
    def untouched(self) -> Tensor:
        """`(B,)` bool: to which images nothing is done."""
        return (self.blur_sigma_px == 0) & (self.noise_sigma_255 == 0) & (self.jpeg_quality == 0)


def where(chosen: Tensor, these: Degradations, others: Degradations) -> Degradations:
    """Return these degradations for the images that are chosen, `(B,)` bool, and the others for the rest."""
    return Degradations(
        torch.where(chosen, these.blur_sigma_px, others.blur_sigma_px),
        torch.where(chosen, these.noise_sigma_255, others.noise_sigma_255),
        torch.where(chosen, these.jpeg_quality, others.jpeg_quality),
    )


def degrade(
    images: Tensor, degradations: Degradations, generator: torch.Generator, margin: int = 0
) -> Tensor:
    """Blur, add noise, clip, and compress, each image by its own amounts.

    Args:
        images: `(B, 3, H, W)` clean RGB in [0, 1].
        degradations: The amounts, B of each.
        generator: Source of the noise, on the device of the images.
        margin: Pixels that are cut off on each side after the blur. From the blur's radius on, no border has
            reached what is left.

    Returns:
        `(B, 3, H − 2·margin, W − 2·margin)` in [0, 1]; the JPEG grid begins in its corner.

    Source: paper, section 3.1: blur by a 21×21 kernel with replicated border, noise clipped, JPEG 4:2:0.
    """
    rows, columns = (slice(margin, side - margin) for side in images.shape[-2:])

    def blur(_: Tensor, chosen: Rows) -> Tensor:
        return gaussian_blur(images[chosen], degradations.blur_sigma_px[chosen], margin)

    blurred = apply_where(degradations.blur_sigma_px > 0, images[..., rows, columns], blur)
    noisy = gaussian_noise(blurred, degradations.noise_sigma_255, generator)
    return jpeg(noisy, degradations.jpeg_quality)
