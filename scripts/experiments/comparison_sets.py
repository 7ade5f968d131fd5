"""The comparison's sets beside the protocol's patches: whole photographs and clean patches."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from rlrestore.errors import DataError
from rlrestore.evaluation.costs import PHOTO_SIDE
from rlrestore.evaluation.testsets import DRAWS_PER_PATCH, PatchPairs
from rlrestore.imaging import PATCH
from rlrestore.imaging.degradation.libjpeg import degrade_pixels
from rlrestore.imaging.degradation.mixtures import MIXTURES, Mixture
from rlrestore.imaging.io.samples import LUMA_WEIGHTS

TEXTURE = 0.02
"""Smallest standard deviation of the luma, white being 1, of a clean patch with texture."""

Pixels = NDArray[np.uint8]
PhotoPairs = list[tuple[Pixels, Pixels]]
"""Degraded and clean pixels `(H, W, 3)` of photographs of any sizes."""


@dataclass(frozen=True)
class Degradation:
    """The degradation of one photograph, the same everywhere in it.

    Attributes:
        blur_sigma_px: Blur in pixels.
        noise_sigma_255: Noise in units of 1/255.
        jpeg_quality: Quality of the file, 1 to 100.
        noise_seed: Seed of the noise.
    """

    blur_sigma_px: float
    noise_sigma_255: float
    jpeg_quality: int
    noise_seed: int

    def __str__(self) -> str:
        blur, noise = f"blur {self.blur_sigma_px:.1f} px", f"noise {self.noise_sigma_255:.0f} of 255"
        return f"{blur}, {noise}, JPEG quality {self.jpeg_quality}"


def draw_degradation(mixture: Mixture, seed: int, index: int) -> Degradation:
    """Draw the degradation of one photograph of a set: it depends only on mixture, seed and index."""
    rng = np.random.default_rng((seed, mixture.lowest, mixture.highest, index))
    draws, noise = (int(number) for number in rng.integers(2**63, size=2))
    amounts = mixture.sample(1, torch.Generator().manual_seed(draws))
    quality = round(amounts.jpeg_quality.item())
    return Degradation(amounts.blur_sigma_px.item(), amounts.noise_sigma_255.item(), quality, noise)


def apply_degradation(photo: Pixels, degradation: Degradation) -> Pixels:
    """Degrade a photograph `(H, W, 3)` by the file implementation."""
    amounts = degradation.blur_sigma_px, degradation.noise_sigma_255, degradation.jpeg_quality
    return degrade_pixels(photo, *amounts, np.random.default_rng(degradation.noise_seed))


def degraded_photos(photos: Sequence[Pixels], mixture: Mixture, seed: int) -> PhotoPairs:
    """Degrade every photograph once, by amounts of its own and a JPEG of the whole.

    Args:
        photos: Clean, `(H, W, 3)`.
        mixture: What the amounts are drawn from.
        seed: The same seed gives the same pairs.

    Returns:
        Of each photograph; all may be written to, which torch insists on.
    """
    return [
        (apply_degradation(photo, draw_degradation(mixture, seed, index)).copy(), photo)
        for index, photo in enumerate(photos)
    ]


def clean_patches(photos: Sequence[Pixels], count: int, seed: int) -> PatchPairs:
    """Cut clean patches with texture out of photographs in turn, each pair the same patch twice.

    A patch whose luma has a standard deviation below `TEXTURE` is drawn again elsewhere.

    Args:
        photos: Clean, `(H, W, 3)`, each at least 63 pixels high and wide.
        count: How many patches.
        seed: The same seed gives the same patches.

    Raises:
        DataError: Nearly every patch is plain.
    """
    rng = np.random.default_rng(seed)
    patches: list[Pixels] = []
    for photo in itertools.islice(itertools.cycle(photos), DRAWS_PER_PATCH * count):
        top, left = (int(rng.integers(side - PATCH + 1)) for side in photo.shape[:2])
        patch = photo[top : top + PATCH, left : left + PATCH]
        if (patch @ LUMA_WEIGHTS).std() >= TEXTURE * 255:
            patches.append(patch)
        if len(patches) == count:
            return PatchPairs("clean", np.stack(patches), np.stack(patches))
    raise DataError(
        f"expected {count} patches with texture, got {len(patches)} in {DRAWS_PER_PATCH * count} draws: "
        "the photographs are nearly empty, give others"
    )


def timed_photos(photos: Sequence[Pixels], seed: int) -> list[Pixels]:
    """Return a degraded megapixel for each mixture: a photograph, mirrored at its ends if it is small."""
    large = [
        np.pad(photo, [(0, max(0, PHOTO_SIDE - side)) for side in photo.shape[:2]] + [(0, 0)], "symmetric")
        for photo in itertools.islice(itertools.cycle(photos), len(MIXTURES))
    ]
    return [
        degraded_photos([photo[:PHOTO_SIDE, :PHOTO_SIDE]], mixture, seed)[0][0]
        for photo, mixture in zip(large, MIXTURES.values(), strict=True)
    ]
