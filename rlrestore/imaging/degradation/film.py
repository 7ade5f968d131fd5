"""Film and old prints: grain that is correlated, partly common to the colours, and strongest in mid-tones.

A photograph on film is sharp and grainy. A print of it that was scanned later is blurred as well, its grain
coarser, its JPEG worse. The reference of both is the photograph.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from rlrestore.imaging.degradation.blur import gaussian_blur
from rlrestore.imaging.degradation.compression import Compression, CompressionRecipe, compress
from rlrestore.imaging.degradation.noise import correlated_noise

GRAIN_AT_ENDS = 0.3
"""How strong grain is in black and in white, in the mid-tones being 1: dyes hide it in the one, there are few
grains in the other."""


@dataclass(frozen=True)
class Film:
    """What film and scanner did to each image of a batch.

    Attributes:
        blur_sigma_px: `(B,)` standard deviation of a Gaussian blur in pixels, 0 for none.
        grain_sigma_255: `(B,)` standard deviation of the grain in mid-tones, in units of 1/255.
        grain_size_px: `(B,)` standard deviation in pixels of the Gaussian that makes neighbours agree.
        grain_common: `(B,)` share of the grain's variance that is common to the three colours; 1 is that of
            black and white film.
        compression: The JPEG files.
    """

    blur_sigma_px: Tensor
    grain_sigma_255: Tensor
    grain_size_px: Tensor
    grain_common: Tensor
    compression: Compression

    def __len__(self) -> int:
        return len(self.grain_sigma_255)


@dataclass(frozen=True)
class FilmRecipe:
    """How films are drawn: each amount uniformly between two ends.

    Attributes:
        blur_sigma_px: Of the blur.
        grain_sigma_255: Of the grain's strength in mid-tones.
        grain_size_px: Of its size.
        compression: How the JPEG files are drawn.
    """

    blur_sigma_px: tuple[float, float]
    grain_sigma_255: tuple[float, float]
    grain_size_px: tuple[float, float]
    compression: CompressionRecipe

    def sample(self, count: int, generator: torch.Generator) -> Film:
        """Draw what is done to `count` images, on the generator's device."""
        draws = torch.rand(4, count, generator=generator, device=generator.device)
        ends = (self.blur_sigma_px, self.grain_sigma_255, self.grain_size_px)
        blur, strength, size = (
            low + (high - low) * draw for (low, high), draw in zip(ends, draws[:3], strict=True)
        )
        return Film(blur, strength, size, draws[3], self.compression.sample(count, generator))


FILM = FilmRecipe((0.0, 0.0), (2.0, 30.0), (0.3, 1.5), CompressionRecipe())
OLD_PRINT = FilmRecipe((0.5, 2.5), (4.0, 25.0), (0.6, 2.0), CompressionRecipe(share=1.0, lowest_quality=40.0))


def simulate_film(
    images: Tensor, film: Film, generator: torch.Generator, margin: int = 0
) -> tuple[Tensor, Tensor]:
    """Put every image on film, each on its own, up to the JPEG file.

    Args:
        images: `(B, 3, H, W)` clean RGB in [0, 1].
        film: What is done to each of them.
        generator: Source of the grain, on the device of the images.
        margin: Pixels that are cut off on each side before JPEG; from the blur's radius on, no border has
            reached what is left.

    Returns:
        The degraded images and their references, each `(B, 3, H − 2·margin, W − 2·margin)` in [0, 1].
    """
    grainy = add_grain(gaussian_blur(images, film.blur_sigma_px, margin), film, generator)
    rows, columns = (slice(margin, side - margin) for side in images.shape[-2:])
    return compress(grainy, film.compression), images[..., rows, columns]


def add_grain(images: Tensor, film: Film, generator: torch.Generator) -> Tensor:
    """Add a film's grain to images `(B, 3, H, W)` in [0, 1], and clip to that range again."""
    return grain(images, film.grain_sigma_255, film.grain_size_px, film.grain_common, generator)


def grain(
    images: Tensor, sigma_255: Tensor, size_px: Tensor, common: Tensor, generator: torch.Generator
) -> Tensor:
    """Add grain to images `(B, 3, H, W)` in [0, 1]; the amounts, `(B,)` each, as in `Film`."""
    batch, _, height, width = images.shape
    fields = correlated_noise((batch, 4, height, width), size_px, generator)
    common = common[:, None, None, None]
    noise = common.sqrt() * fields[:, 3:] + (1 - common).sqrt() * fields[:, :3]
    strength = sigma_255[:, None, None, None] / 255 * grain_profile(images)
    return torch.addcmul(images, strength, noise).clamp_(0, 1)


def grain_profile(images: Tensor) -> Tensor:
    """Return how strong grain is at each value in [0, 1]: 1 in the middle, least at the ends."""
    return GRAIN_AT_ENDS + (1 - GRAIN_AT_ENDS) * 4 * images * (1 - images)
