"""Statistics of noise on flat parts of a photograph: spectrum, correlations, strength by brightness."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import numpy.typing as npt

from rlrestore.errors import DataError
from rlrestore.imaging.io.files import list_photos, read_rgb8
from rlrestore.imaging.io.samples import LUMA_WEIGHTS

BLOCK_PX = 32
FLAT_255 = 3.0
"""Largest standard deviation of a flat block's brightness, once its slope is taken out."""
DARKEST_255, BRIGHTEST_255 = 12.0, 243.0
"""Blocks whose mean of any colour lies beyond count for the strengths alone: noise is clipped there."""
LEAST_BLOCKS = 4
LAGS = ((0, 1), (1, 0), (1, 1), (0, 2), (2, 0))
"""Rows and columns between the neighbours that are compared."""
COLOURS = (("R", "G"), ("R", "B"), ("G", "B"))
LEVELS_255 = tuple(range(8, 256, 16))
"""Middles of the brightness bins, each 16 wide."""
FREQUENCIES = tuple((index + 0.5) / BLOCK_PX for index in range(BLOCK_PX // 2))
"""Middles of the rings of the spectrum, in cycles per pixel."""

Floats = npt.NDArray[np.float64]
Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class NoiseStatistics:
    """The noise of one photograph.

    Attributes:
        luma_spectrum: `(16,)` power of the luma's noise by `FREQUENCIES`; white noise has 1 everywhere.
        chroma_spectrum: The same of the colour differences R − Y and B − Y.
        luma_neighbours: `(5,)` correlation of the luma's noise with that of the pixel at each of `LAGS`.
        chroma_neighbours: The same of the colour differences.
        colours: `(3,)` correlation of the noise of each two of `COLOURS` at the same pixel.
        chroma_ratio: `()` standard deviation of the colour differences over that of the luma.
        relative_sigma: `(16,)` standard deviation at each of `LEVELS_255` over that of all of them, NaN where
            nothing is flat.
        sigma_255: `(16,)` standard deviation at each of `LEVELS_255`, over all colours, NaN where nothing is
            flat.
    """

    luma_spectrum: Floats
    chroma_spectrum: Floats
    luma_neighbours: Floats
    chroma_neighbours: Floats
    colours: Floats
    chroma_ratio: Floats
    relative_sigma: Floats
    sigma_255: Floats


def quantiles(parts: Sequence[NoiseStatistics], at: float) -> NoiseStatistics:
    """Return a quantile of every statistic over several photographs, over those that have it."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "All-NaN slice")  # a brightness that none of them has
        return NoiseStatistics(
            *(
                np.nanquantile([getattr(part, field.name) for part in parts], at, axis=0)
                for field in fields(NoiseStatistics)
            )
        )


def measure_noise(noisy: Pixels, reference: Pixels) -> NoiseStatistics | None:
    """Measure the noise of a photograph on its flat parts.

    Args:
        noisy: `(H, W, 3)` the photograph.
        reference: The same without noise.

    Returns:
        The statistics, or None where too few blocks are flat, or a colour has no noise.
    """
    clean = _blocks(reference.astype(np.float64))  # (N, 32, 32, 3)
    noise = _blocks(noisy.astype(np.float64)) - clean
    flat = _is_flat(clean)
    clean, noise = clean[flat], noise[flat]
    means = clean.mean(axis=(1, 2))  # (N, 3)
    inside = ((means > DARKEST_255) & (means < BRIGHTEST_255)).all(axis=1)
    sigma_255 = _strength_by_level(means, noise)
    noise = noise[inside] - noise[inside].mean(axis=(1, 2), keepdims=True)
    if len(noise) < LEAST_BLOCKS or not noise.any(axis=(0, 1, 2)).all():
        return None
    luma = noise @ LUMA_WEIGHTS  # (N, 32, 32)
    chroma = np.concatenate((noise[..., 0] - luma, noise[..., 2] - luma))
    return NoiseStatistics(
        luma_spectrum=_ring_spectrum(luma),
        chroma_spectrum=_ring_spectrum(chroma),
        luma_neighbours=_neighbours(luma),
        chroma_neighbours=_neighbours(chroma),
        colours=np.corrcoef(noise.reshape(-1, 3).T)[(0, 0, 1), (1, 2, 2)],
        chroma_ratio=np.asarray(chroma.std() / luma.std()),
        relative_sigma=sigma_255 / np.nanmean(sigma_255),
        sigma_255=sigma_255,
    )


def measure_pairs(folder: Path) -> dict[str, list[NoiseStatistics]]:
    """Measure pairs of files `CAMERA_..._real` and `CAMERA_..._mean`, by camera.

    Raises:
        DataError: There is no such pair, or none has flat parts.
    """
    found: dict[str, list[NoiseStatistics]] = {}
    for path in list_photos(folder):
        if not path.stem.endswith("_real"):
            continue
        reference = path.with_stem(path.stem.removesuffix("_real") + "_mean")
        statistics = measure_noise(read_rgb8(path), read_rgb8(reference))
        if statistics is not None:
            found.setdefault(path.stem.split("_", maxsplit=1)[0], []).append(statistics)
    if not found:
        raise DataError(f"expected pairs of files named ..._real and ..._mean with flat parts in {folder}")
    return found


def _blocks(image: Floats) -> Floats:
    """Cut an image into blocks side by side: `(H, W, 3)` to `(N, 32, 32, 3)`."""
    rows, columns = image.shape[0] // BLOCK_PX, image.shape[1] // BLOCK_PX
    whole = image[: rows * BLOCK_PX, : columns * BLOCK_PX]
    return (
        whole.reshape(rows, BLOCK_PX, columns, BLOCK_PX, 3).swapaxes(1, 2).reshape(-1, BLOCK_PX, BLOCK_PX, 3)
    )


def _is_flat(blocks: Floats) -> npt.NDArray[np.bool_]:
    """Return which blocks are flat but for a slope."""
    line = np.linspace(-1, 1, BLOCK_PX)
    luma = (blocks @ LUMA_WEIGHTS).reshape(len(blocks), -1)
    plane = np.stack(np.broadcast_arrays(np.ones((BLOCK_PX, BLOCK_PX)), line, line[:, None])).reshape(3, -1)
    plane /= np.linalg.norm(plane, axis=1, keepdims=True)  # orthonormal: the three are orthogonal
    rest = luma - luma @ plane.T @ plane
    flat: npt.NDArray[np.bool_] = rest.std(axis=1) < FLAT_255
    return flat


def _ring_spectrum(noise: Floats) -> Floats:
    """Return the power of blocks `(N, 32, 32)` by frequency, the mean over all frequencies being 1."""
    window = np.hanning(BLOCK_PX)
    power = (np.abs(np.fft.fft2(noise * window[:, None] * window)) ** 2).mean(axis=0)
    line = np.fft.fftfreq(BLOCK_PX)
    ring = (np.hypot(line[:, None], line) * BLOCK_PX).astype(int).ravel()
    counts = np.bincount(ring, minlength=len(FREQUENCIES))
    rings = np.bincount(ring, power.ravel()) / counts
    spectrum: Floats = rings[: len(FREQUENCIES)] / power.mean()
    return spectrum


def _neighbours(noise: Floats) -> Floats:
    """Return the correlations of blocks `(N, 32, 32)` with themselves at `LAGS`."""
    variance = (noise**2).mean()
    products = [
        noise[:, down:, right:] * noise[:, : BLOCK_PX - down, : BLOCK_PX - right] for down, right in LAGS
    ]
    correlations: Floats = np.array([product.mean() for product in products]) / variance
    return correlations


def _strength_by_level(means: Floats, noise: Floats) -> Floats:
    """Return the root mean square of blocks `(N, 32, 32, 3)` about their means, by brightness `(N, 3)`."""
    variances = noise.var(axis=(1, 2))
    distances = np.abs(means[..., None] - np.array(LEVELS_255))  # (N, 3, levels)
    inside = distances <= 8
    with np.errstate(invalid="ignore"):
        strengths: Floats = np.sqrt(
            (variances[..., None] * inside).sum(axis=(0, 1)) / inside.sum(axis=(0, 1))
        )
    return strengths
