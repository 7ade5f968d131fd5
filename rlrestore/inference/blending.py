"""How much of a restoration is kept, and fine detail that it took away brought back: after the chain.

The detail is what stands out of the removed residual. Its finest octaves (an undecimated wavelet transform)
are each shrunk towards zero by the noise that was removed there, estimated from the residual itself, so that
weak noise goes and edges, texture and coarse grain stay; and where the chain has sharpened instead, by what
it added, so that this is not taken back.

Source: Starck, Fadili, Murtagh: The undecimated wavelet decomposition and its reconstruction, IEEE TIP 2007
(the transform); Donoho, Johnstone: Ideal spatial adaptation by wavelet shrinkage, Biometrika 1994 (noise).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from rlrestore.errors import UsageError
from rlrestore.imaging.io.photo import Photo
from rlrestore.imaging.io.samples import BAND_ROWS, Floats, Integers, to_floats, to_integers
from rlrestore.imaging.tiling import tiles

SPLINE = np.array([1, 4, 6, 4, 1], np.float32) / 16
"""The B3 spline that the wavelet transform smooths by."""
MAD = 0.6745
"""The median of the absolute value of a normal variable of standard deviation 1."""
TILE = 512
SAMPLES, SAMPLE_SIDE = 8, 128
"""The noise level is estimated on so many squares down and across at most, of this side."""

Originals = Integers | Floats


@dataclass(frozen=True)
class Shrinkage:
    """How detail is told from noise; `scripts/measure_detail.py --choose` prints what was chosen among.

    Attributes:
        octaves: How many are looked at: the finest is above a quarter of the sampling rate.
        side_px: Side of the square in which the energy of a coefficient is averaged, odd.
        noise_share: A coefficient is detail as far as the energy around it is more than this times the
            noise's.
    """

    octaves: int = 2
    side_px: int = 5
    noise_share: float = 1.0

    @property
    def radius_px(self) -> int:
        """How far the detail of a pixel depends on others."""
        return 2 * ((1 << self.octaves) - 1) + self.side_px // 2


SHRINKAGE = Shrinkage()


@dataclass(frozen=True, eq=False)
class Parts:
    """What a restoration is blended from.

    Attributes:
        original: `(H, W, 3)` the pixels as they came: whole samples where these say it exactly, else floats.
        restored: `(H, W, 3)` what the chain made of them, in [0, 1].
    """

    original: Originals
    restored: Floats

    @cached_property
    def detail(self) -> Floats:
        """`(H, W, 3)` the fine detail in what the chain took away; computed once, 12 bytes a pixel."""
        return lost_detail(self.original, self.restored)

    def blend(self, strength: float, detail: float) -> Floats:
        """Return the blend at a strength and a detail, as `blend`."""
        check_blend(strength, detail)
        lost = self.detail if strength and detail else None
        return blend(self.original, self.restored, lost, strength, detail)


def blend(
    original: Originals,
    restored: Floats,
    lost: NDArray[np.floating[Any]] | None,
    strength: float,
    detail: float,
) -> Floats:
    """Return original + strength · (restored + detail · lost - original): `(H, W, 3)` in [0, 1].

    Args:
        original: `(H, W, 3)`, whole samples or floats in [0, 1].
        restored: `(H, W, 3)`; it is the result itself where nothing of it changes.
        lost: `(H, W, 3)` what `lost_detail` returns; None where no detail is wanted.
        strength: From 0, which returns the original exactly, to 1.
        detail: From 0 to 1.
    """
    if strength == 1 and lost is None:
        return restored
    blended = np.empty_like(restored)
    for top in range(0, len(blended), BAND_ROWS):
        band, rows = blended[top : top + BAND_ROWS], slice(top, top + BAND_ROWS)
        came = as_floats(original[rows])
        if lost is None:
            np.subtract(restored[rows], came, out=band)
        else:
            np.multiply(lost[rows], np.float32(detail), out=band)
            band += restored[rows]
            band -= came
        band *= np.float32(strength)
        band += came
        np.clip(band, 0, 1, out=band)
    return blended


def check_blend(strength: float, detail: float) -> None:
    """Make sure that strength and detail are from 0 to 1.

    Raises:
        UsageError: One is not.
    """
    for name, value in (("strength", strength), ("detail", detail)):
        if not 0 <= value <= 1:
            raise UsageError(f"expected a {name} from 0 to 1, got {value!r}")


def keep_original(photo: Photo) -> Originals:
    """Return a copy of the pixels, as whole samples of the photo's depth where these say them exactly."""
    samples = to_integers(photo.pixels[:1], photo.depth_bits)
    kept = np.empty(photo.pixels.shape, samples.dtype)
    for top in range(0, photo.height, BAND_ROWS):
        band = photo.pixels[top : top + BAND_ROWS]
        kept[top : top + BAND_ROWS] = to_integers(band, photo.depth_bits)
        if not np.array_equal(to_floats(kept[top : top + BAND_ROWS]), band):
            return photo.pixels.copy()
    return kept


def as_floats(samples: Originals) -> Floats:
    """Return pixels in [0, 1], whole samples or floats."""
    return samples if samples.dtype == np.float32 else to_floats(samples)  # type: ignore[arg-type,return-value]


def lost_detail(original: Originals, restored: Floats, shrinkage: Shrinkage = SHRINKAGE) -> Floats:
    """Return the fine detail in what a restoration removed, without the noise.

    Args:
        original: `(H, W, 3)`, whole samples or floats in [0, 1].
        restored: `(H, W, 3)` in [0, 1].
        shrinkage: How detail is told from noise.

    Returns:
        `(H, W, 3)`, to be added to the restored pixels; 0 where they are the original's.
    """
    height, width = restored.shape[:2]

    def removed(rows: slice, columns: slice) -> Floats:
        return as_floats(original[rows, columns]) - restored[rows, columns]

    samples = [removed(*place) for place in _samples(height, width)]
    parts = [_octaves(sample, shrinkage.octaves) for sample in samples]
    levels = [_noise_energy(octave) for octave in zip(*parts, strict=True)]
    detail = np.empty_like(restored)
    for tile in tiles(height, width, TILE, shrinkage.radius_px):
        residual = removed(*tile.read[1:])
        found = np.zeros_like(residual)
        results = _octaves(restored[tile.read[1:]], shrinkage.octaves)
        for octave, result, level in zip(_octaves(residual, shrinkage.octaves), results, levels, strict=True):
            found += _shrunk(octave, result, level, shrinkage)
        found *= residual.any(axis=2, keepdims=True)  # hidden colours and regions without a tool stay
        detail[tile.kept[1:]] = found[tile.inner[1:]]
    return detail


def _samples(height: int, width: int) -> Iterator[tuple[slice, slice]]:
    """Yield squares spread evenly over an image."""
    rows, columns = (
        np.linspace(0, max(side - SAMPLE_SIDE, 0), min(SAMPLES, -(-side // SAMPLE_SIDE)), dtype=int)
        for side in (height, width)
    )
    for top in rows:
        for left in columns:
            yield slice(top, top + SAMPLE_SIDE), slice(left, left + SAMPLE_SIDE)


def _octaves(pixels: Floats, count: int) -> list[Floats]:
    """Return the finest octaves of `(H, W, 3)`, each of its shape."""
    found = []
    for octave in range(count):
        kernel = np.zeros((len(SPLINE) - 1) * 2**octave + 1, np.float32)
        kernel[:: 2**octave] = SPLINE
        smoothed = cv2.sepFilter2D(pixels, -1, kernel, kernel, borderType=cv2.BORDER_REFLECT_101)
        smoother = np.asarray(smoothed, np.float32)
        found.append(pixels - smoother)
        pixels = smoother
    return found


def _noise_energy(parts: tuple[Floats, ...]) -> Floats:
    """Return the noise's mean square in each channel: `(3,)`, from the median, which detail hardly moves."""
    sizes = np.concatenate([np.abs(part).reshape(-1, 3) for part in parts])
    changed = sizes[sizes.any(axis=1)]
    if not len(changed):
        return np.zeros(3, np.float32)
    level: Floats = np.square(np.median(changed, axis=0) / MAD).astype(np.float32)
    return level


def _shrunk(octave: Floats, result: Floats, level: Floats, shrinkage: Shrinkage) -> Floats:
    """Shrink every coefficient of the residual to what is detail, and was lost.

    Both shares are of the energy around it: what is left without a noise of a mean square `level`, and how
    much less energy the result has there than the original; of the residual w and the result r, the original
    being w + r, that is 2wr + w².

    Args:
        octave: `(H, W, 3)` of the residual.
        result: The same of the result.
        level: `(3,)` mean square of the noise.
        shrinkage: How detail is told from noise.
    """

    def around(energy: Floats) -> Floats:
        side = (shrinkage.side_px, shrinkage.side_px)
        return np.asarray(cv2.blur(energy, side, borderType=cv2.BORDER_REFLECT_101), np.float32)

    energy = np.maximum(around(octave * octave), np.float32(1e-12))
    kept: Floats = np.maximum(1 - shrinkage.noise_share * level / energy, 0)
    kept *= np.clip(1 + 2 * around(octave * result) / energy, 0, 1)
    kept *= octave
    return kept
