"""What the comparison measures on, beside the protocol's patches: whole photographs and clean patches."""

import itertools
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from rlrestore.errors import DataError
from rlrestore.imaging.libjpeg import degrade_pixels
from rlrestore.imaging.mixtures import MIXTURES, Mixture
from rlrestore.testsets import DRAWS_PER_PATCH, PATCH, PatchPairs
from rlrestore.tool_costs import PHOTO_SIDE

TEXTURE = 0.02
"""The least standard deviation of the luminance, white being 1, of a clean patch that shows something."""
LUMA = (0.299, 0.587, 0.114)
"""Weights of red, green and blue (ITU-R BT.601)."""

PhotoPairs = list[tuple[NDArray[np.uint8], NDArray[np.uint8]]]
"""Degraded and clean pixels `(H, W, 3)` of photographs of any sizes."""


def degraded_photos(photos: Sequence[NDArray[np.uint8]], mixture: Mixture, seed: int) -> PhotoPairs:
    """Degrade every photograph once, by amounts of its own and a JPEG of the whole, as files undergo it.

    Args:
        photos: Clean, `(H, W, 3)`.
        mixture: Which amounts are drawn.
        seed: The same seed gives the same pairs.

    Returns:
        Of each photograph; all may be written to, which torch insists on.
    """
    rng = np.random.default_rng((seed, mixture.lowest, mixture.highest))
    amounts = mixture.sample(len(photos), torch.Generator().manual_seed(int(rng.integers(2**63))))
    drawn = zip(
        amounts.blur_sigma_px.tolist(),
        amounts.noise_sigma_255.tolist(),
        amounts.jpeg_quality.tolist(),
        strict=True,
    )
    return [
        (degrade_pixels(photo, blur_sigma_px, noise_sigma_255, round(quality), rng).copy(), photo)
        for photo, (blur_sigma_px, noise_sigma_255, quality) in zip(photos, drawn, strict=True)
    ]


def clean_patches(photos: Sequence[NDArray[np.uint8]], count: int, seed: int) -> PatchPairs:
    """Cut clean patches with texture out of photographs in turn, each pair the same patch twice.

    A patch whose luminance has a standard deviation below `TEXTURE` is drawn again elsewhere.

    Args:
        photos: Clean, `(H, W, 3)`, each at least 63 pixels high and wide.
        count: How many patches.
        seed: The same seed gives the same patches.

    Raises:
        DataError: Nearly every patch is plain.
    """
    rng = np.random.default_rng(seed)
    patches: list[NDArray[np.uint8]] = []
    for photo in itertools.islice(itertools.cycle(photos), DRAWS_PER_PATCH * count):
        top, left = (int(rng.integers(side - PATCH + 1)) for side in photo.shape[:2])
        patch = photo[top : top + PATCH, left : left + PATCH]
        if (patch @ np.array(LUMA)).std() >= TEXTURE * 255:
            patches.append(patch)
        if len(patches) == count:
            return PatchPairs("clean", np.stack(patches), np.stack(patches))
    raise DataError(
        f"expected {count} patches with texture, got {len(patches)} in {DRAWS_PER_PATCH * count} draws: "
        "the photographs are nearly empty, give others"
    )


def timed_photos(photos: Sequence[NDArray[np.uint8]], seed: int) -> list[NDArray[np.uint8]]:
    """Return a degraded megapixel for each mixture: a photograph, mirrored at its ends if it is small."""
    large = [
        np.pad(photo, [(0, max(0, PHOTO_SIDE - side)) for side in photo.shape[:2]] + [(0, 0)], "symmetric")
        for photo in itertools.islice(itertools.cycle(photos), len(MIXTURES))
    ]
    return [
        degraded_photos([photo[:PHOTO_SIDE, :PHOTO_SIDE]], mixture, seed)[0][0]
        for photo, mixture in zip(large, MIXTURES.values(), strict=True)
    ]
