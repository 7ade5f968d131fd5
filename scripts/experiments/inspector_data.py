"""What the inspector is trained, calibrated and measured on: pictures whose degradation is known."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rlrestore.agent.spectrum import Spectrum
from rlrestore.imaging import PATCH
from rlrestore.imaging.degradation.blur import RADIUS_PX
from rlrestore.imaging.degradation.camera import SCALE_SHARES, Camera, CameraRecipe
from rlrestore.imaging.degradation.compression import compress
from rlrestore.imaging.degradation.development import context_px, expose
from rlrestore.imaging.degradation.film import FILM, OLD_PRINT, FilmRecipe
from rlrestore.imaging.degradation.jpeg import MCU
from rlrestore.imaging.degradation.mixtures import ANY, MILD, MODERATE, SEVERE
from rlrestore.imaging.pairs import context_side, degraded_pairs, film_pairs, split_count, take_patches
from rlrestore.imaging.patches import PhotoBank
from rlrestore.imaging.recipes import Recipe, SingleDistortions, Untouched
from rlrestore.toolbox.specs import TOOLS

Drawn = CameraRecipe | FilmRecipe | Recipe
PIECE_PX = 1 << 19
"""Pixels that are made at once; bounds the memory."""
LOSSLESS_QUALITY = 100.0
"""What stands for a picture that was not compressed: the two cannot be told apart."""


def _singles(kind: str, light_share: float = 0.0) -> SingleDistortions:
    return SingleDistortions(tuple(spec for spec in TOOLS if spec.distortion == kind), light_share)


TRAINED: tuple[tuple[float, Drawn], ...] = (
    (0.32, ANY),
    (0.10, _singles("blur", 0.3)),
    (0.10, _singles("noise", 0.3)),
    (0.10, _singles("jpeg")),
    (0.06, Untouched()),
    (0.24, CameraRecipe()),
    (0.05, FILM),
    (0.03, OLD_PRINT),
)
"""What is trained and calibrated on, each with its share."""
GROUPS: dict[str, Drawn] = {
    "mild": MILD,
    "moderate": MODERATE,
    "severe": SEVERE,
    "blur alone": _singles("blur"),
    "noise alone": _singles("noise"),
    "JPEG alone": _singles("jpeg"),
    "camera": CameraRecipe(),
    "clean": Untouched(),
}
"""What is measured, each by itself."""


@dataclass(frozen=True)
class Labelled:
    """Pictures and what was done to them.

    Attributes:
        images: `(N, 3, size, size)` RGB in [0, 1], rounded to 8 bits.
        truth: `(N, 3)` blur σ in pixels, noise σ of 255, JPEG quality.
    """

    images: Tensor
    truth: Tensor


def draw(bank: PhotoBank, recipe: Drawn, count: int, size: int, generator: torch.Generator) -> Labelled:
    """Draw pictures from a recipe.

    The blur of a camera is that of its lens, in pixels of the picture; its noise is what it added to this
    very picture, root mean square.

    Args:
        bank: Photographs of at least `camera_context_side(size)` pixels.
        recipe: What is done to them.
        count: How many.
        size: Side in pixels.
        generator: Source of all draws.
    """
    if isinstance(recipe, CameraRecipe):
        return _draw_cameras(bank, recipe, count, size, generator)
    if isinstance(recipe, FilmRecipe):
        film = film_pairs(bank, recipe, count, size, generator)
        images, amounts = film.degraded, film.amounts
    else:
        amounts = recipe.sample(count, generator)
        images, _ = degraded_pairs(bank, amounts, size, generator)
    return _labelled(images, amounts.blur_sigma_px, amounts.noise_sigma_255, amounts.jpeg_quality)


def draw_trained(bank: PhotoBank, count: int, size: int, generator: torch.Generator) -> Labelled:
    """Draw pictures from `TRAINED`, in no particular order but part after part."""
    counts = split_count(count, [share for share, _ in TRAINED], generator)
    parts = [
        draw(bank, recipe, part, size, generator)
        for part, (_, recipe) in zip(counts, TRAINED, strict=True)
        if part
    ]
    return Labelled(torch.cat([one.images for one in parts]), torch.cat([one.truth for one in parts]))


def _draw_cameras(
    bank: PhotoBank, recipe: CameraRecipe, count: int, size: int, generator: torch.Generator
) -> Labelled:
    counts = split_count(count, list(SCALE_SHARES.values()), generator)
    parts = []
    for part, scale in zip(counts, SCALE_SHARES, strict=True):
        side = context_side(size) - 2 * RADIUS_PX + 2 * context_px(scale)
        largest = max(1, int(PIECE_PX / (side * scale) ** 2))
        for start in range(0, part, largest):
            cameras = recipe.sample(min(largest, part - start), generator, scale)
            parts.append(_take(bank, cameras, side, size, generator))
    return Labelled(torch.cat([one.images for one in parts]), torch.cat([one.truth for one in parts]))


def _take(bank: PhotoBank, cameras: Camera, side: int, size: int, generator: torch.Generator) -> Labelled:
    noisy, target = expose(
        bank.crops(len(cameras), side, generator), cameras, generator, context_px(cameras.scale)
    )
    place = torch.randint(MCU, (2, len(cameras)), generator=generator)
    noise = take_patches(noisy - target, place[0], place[1], size)
    images = take_patches(compress(noisy, cameras.compression), place[0], place[1], size)
    # A disc of radius r spreads light as a Gaussian of r/2 along each axis.
    disc, gauss = cameras.disc_radius_px, cameras.blur_sigma_px
    blur = torch.where(disc > 0, disc / 2, gauss) / cameras.scale
    return _labelled(
        images, blur, 255 * noise.square().mean(dim=(1, 2, 3)).sqrt(), cameras.compression.quality
    )


def _labelled(images: Tensor, blur: Tensor, noise: Tensor, quality: Tensor) -> Labelled:
    quality = torch.where(quality == 0, LOSSLESS_QUALITY, quality)
    return Labelled((images * 255).round() / 255, torch.stack((blur, noise, quality), dim=1))


@torch.no_grad()
def spectra_of(images: Tensor) -> NDArray[np.float16]:
    """Return the spectra of patches `(N, 3, PATCH, PATCH)`, flat: `(N, F)`."""
    spectrum = Spectrum()
    parts = [spectrum(part).flatten(1).half().numpy() for part in images.split(256)]
    return np.concatenate(parts)


def draw_spectra(
    bank: PhotoBank, count: int, generator: torch.Generator
) -> tuple[NDArray[np.float16], NDArray[np.float32]]:
    """Draw patches from `TRAINED`; return their spectra `(N, F)` and what was done to them `(N, 3)`.

    Args:
        bank: The photographs.
        count: How many.
        generator: Source of all draws.
    """
    spectra, truths = [], []
    for start in range(0, count, 512):
        drawn = draw_trained(bank, min(512, count - start), PATCH, generator)
        spectra.append(spectra_of(drawn.images))
        truths.append(drawn.truth.numpy())
    return np.concatenate(spectra), np.concatenate(truths).astype(np.float32)
