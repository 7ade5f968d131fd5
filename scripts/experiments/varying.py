"""Degradation that varies over a photograph: the test set for restoring regions by their own chains.

Two ends of degradation, each an amount of the protocol's blur and noise, and a map that leads from one to the
other; then one JPEG for the whole file, as a camera writes it.

Source: paper, section 5 (degradation that varies over the image is named as future work).
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from rlrestore.errors import UsageError
from rlrestore.imaging.degradation.libjpeg import blur_and_noise, jpeg_round_trip
from rlrestore.imaging.degradation.mixtures import MODERATE

KINDS = ("left-right", "halves", "noise-gradient", "background", "uniform", "uniform-noise")
"""Noise in the left half and blur in the right one; stronger noise and blur on two sides of any line; noise
that grows across the photograph; a sharp subject before a blurred background; and the same everywhere, a
moderate mixture or noise alone, where local mode has nothing to gain."""

SIDE_BLUR_PX = (1.5, 3.5)
SIDE_NOISE_255 = (20.0, 45.0)
SIDE_JPEG = 85
"""Of `left-right`."""

STRONG_BLUR_PX = (2.5, 5.0)
STRONG_NOISE_255 = (25.0, 50.0)
FAINT_NOISE_255 = (0.0, 5.0)
LIGHT_JPEG = (60, 100)
"""Ranges of the amounts: the upper half of the protocol's, the lowest of its intervals, and the upper two."""
SUBJECT_AXES = (0.2, 0.3)
"""Half axes of the subject's ellipse, as a share of the photograph's height and width; it stays inside."""
SOFT_EDGE = 0.15
"""Width of the subject's soft edge, as a share of its half axes."""


@dataclass(frozen=True)
class VaryingDegradation:
    """The varying degradation of one photograph.

    Attributes:
        here: Blur σ in px and noise σ in units of 1/255 where the map is 0.
        there: The same where it is 1; between them the two images blend.
        share: `(H, W)` float32 map in [0, 1].
        jpeg_quality: Quality of the file, 1 to 100.
        noise_seed: Seed of the noise.
    """

    here: tuple[float, float]
    there: tuple[float, float]
    share: NDArray[np.float32]
    jpeg_quality: int
    noise_seed: int


def draw_varying(kind: str, height: int, width: int, rng: np.random.Generator) -> VaryingDegradation:
    """Draw the degradation of one photograph.

    Args:
        kind: One of `KINDS`.
        height: Rows of the photograph.
        width: Its columns.
        rng: Source of the draws.

    Raises:
        UsageError: There is no such kind.
    """
    blur_px, noise_255 = rng.uniform(*STRONG_BLUR_PX), rng.uniform(*STRONG_NOISE_255)
    faint_255 = rng.uniform(*FAINT_NOISE_255)
    quality, seed = int(rng.integers(LIGHT_JPEG[0], LIGHT_JPEG[1] + 1)), int(rng.integers(2**32))
    if kind == "left-right":
        share = np.broadcast_to(np.arange(width) >= width // 2, (height, width)).astype(np.float32)
        left, right = (0.0, rng.uniform(*SIDE_NOISE_255)), (rng.uniform(*SIDE_BLUR_PX), 0.0)
        return VaryingDegradation(left, right, share, SIDE_JPEG, seed)
    if kind == "halves":
        share = (_ramp(height, width, rng) >= 0.5).astype(np.float32)
        return VaryingDegradation((0.0, noise_255), (blur_px, 0.0), share, quality, seed)
    if kind == "noise-gradient":
        return VaryingDegradation(
            (0.0, faint_255), (0.0, noise_255), _ramp(height, width, rng), quality, seed
        )
    if kind == "background":
        return VaryingDegradation((0.0, 0.0), (blur_px, 0.0), 1 - _ellipse(height, width, rng), quality, seed)
    nowhere = np.zeros((height, width), np.float32)
    if kind == "uniform":
        amounts = MODERATE.sample(1, torch.Generator().manual_seed(seed))
        everywhere = (amounts.blur_sigma_px.item(), amounts.noise_sigma_255.item())
        return VaryingDegradation(everywhere, everywhere, nowhere, round(amounts.jpeg_quality.item()), seed)
    if kind == "uniform-noise":
        return VaryingDegradation((0.0, noise_255), (0.0, noise_255), nowhere, quality, seed)
    raise UsageError(f"unknown kind of varying degradation {kind!r}: expected one of {', '.join(KINDS)}")


def _ramp(height: int, width: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """Return a map that rises in a straight line from 0 at one side or corner to 1 at the opposite one."""
    angle = rng.uniform(0, 2 * math.pi)
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    slope = math.sin(angle) * rows + math.cos(angle) * columns
    ramp: NDArray[np.float32] = ((slope - slope.min()) / (slope.max() - slope.min())).astype(np.float32)
    return ramp


def _ellipse(height: int, width: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """Return a map that is 1 inside an ellipse somewhere in the middle, 0 outside, with a soft edge."""
    axes = rng.uniform(*SUBJECT_AXES, 2)
    centre = rng.uniform(0.35, 0.65, 2)
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    distance = np.hypot(
        ((rows + 0.5) / height - centre[0]) / axes[0], ((columns + 0.5) / width - centre[1]) / axes[1]
    )
    inside: NDArray[np.float32] = ((1 - distance) / SOFT_EDGE + 0.5).clip(0, 1).astype(np.float32)
    return inside


def apply_varying(photo: NDArray[np.uint8], degradation: VaryingDegradation) -> NDArray[np.uint8]:
    """Degrade a photograph by an amount that varies over it.

    Both ends are degraded with the same draws of noise, so that between them its strength, too, follows the
    map.

    Args:
        photo: `(H, W, 3)` clean.
        degradation: With a map of the photograph's size.

    Returns:
        `(H, W, 3)`, as read back from the file.

    Raises:
        ValueError: The map is of another size.
    """
    if photo.shape[:2] != degradation.share.shape:
        raise ValueError(
            f"expected a map of the photograph's {photo.shape[:2]}, got {degradation.share.shape}"
        )
    here, there = (
        blur_and_noise(photo, *amounts, np.random.default_rng(degradation.noise_seed))
        for amounts in (degradation.here, degradation.there)
    )
    share = degradation.share[..., None]
    blended: NDArray[np.uint8] = np.rint((1 - share) * here + share * there).astype(np.uint8)
    return jpeg_round_trip(blended, degradation.jpeg_quality)


def vary(photo: NDArray[np.uint8], kind: str, seed: int | tuple[int, ...]) -> NDArray[np.uint8]:
    """Degrade a photograph by one kind of varying degradation; the same seed gives the same result.

    Args:
        photo: `(H, W, 3)` clean.
        kind: One of `KINDS`.
        seed: One number, or several.

    Raises:
        UsageError: There is no such kind.
    """
    height, width = photo.shape[:2]
    return apply_varying(photo, draw_varying(kind, height, width, np.random.default_rng(seed)))
