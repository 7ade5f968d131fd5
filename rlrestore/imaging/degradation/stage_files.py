"""The degradations of the registry as one photograph's file undergoes them: OpenCV, NumPy, Pillow.

All take and return `(H, W, 3)` float32 RGB in [0, 1]; their batched forms are tested against them. OpenCV is
imported where it is used, for trainings read the registry and do without it.
"""

import numpy as np
from PIL import Image

from rlrestore.imaging.degradation.blur import RADIUS_PX
from rlrestore.imaging.degradation.film import GRAIN_AT_ENDS
from rlrestore.imaging.degradation.libjpeg import KERNEL_PX, jpeg_round_trip
from rlrestore.imaging.io.samples import Floats, to_floats, to_integers


def gaussian_blur(pixels: Floats, sigma_px: float) -> Floats:
    """Blur by a Gaussian of 21×21 pixels, replicated border; σ 0 leaves the photograph as it is."""
    if sigma_px == 0:  # OpenCV takes 0 for "choose one that suits the kernel"
        return pixels
    import cv2

    kernel = (KERNEL_PX, KERNEL_PX)
    blurred = cv2.GaussianBlur(pixels, kernel, sigma_px, borderType=cv2.BORDER_REPLICATE)
    return blurred.astype(np.float32, copy=False)


def ellipse_blur(pixels: Floats, sigma_px: float, ratio: float, angle_degrees: float) -> Floats:
    """Blur by a Gaussian of σ along an axis and of ratio·σ across it; the angle is from right to down."""
    rows, columns = np.mgrid[-RADIUS_PX : RADIUS_PX + 1, -RADIUS_PX : RADIUS_PX + 1]
    angle, sigma = np.deg2rad(angle_degrees), max(sigma_px, 1e-3)
    along = np.cos(angle) * columns + np.sin(angle) * rows
    across = np.cos(angle) * rows - np.sin(angle) * columns
    return _filter(pixels, np.exp(-0.5 * ((along / sigma) ** 2 + (across / (ratio * sigma)) ** 2)))


def disc_blur(pixels: Floats, radius_px: float) -> Floats:
    """Blur by a disc whose edge is one pixel soft."""
    rows, columns = np.mgrid[-RADIUS_PX : RADIUS_PX + 1, -RADIUS_PX : RADIUS_PX + 1]
    return _filter(pixels, (radius_px + 0.5 - np.hypot(rows, columns)).clip(0, 1))


def _filter(pixels: Floats, kernel: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> Floats:
    import cv2

    taps = (kernel / kernel.sum()).astype(np.float32)
    filtered: Floats = cv2.filter2D(pixels, -1, taps, borderType=cv2.BORDER_REPLICATE).clip(0, 1)
    return filtered


def scale_down_and_back(pixels: Floats, scale: float) -> Floats:
    """Scale down and back by Pillow's bicubic interpolation."""
    height, width = pixels.shape[:2]
    small = (max(1, round(width / scale)), max(1, round(height / scale)))
    planes = []
    for plane in np.moveaxis(pixels, 2, 0):
        for size in (small, (width, height)):
            image = Image.fromarray(np.ascontiguousarray(plane)).resize(size, Image.Resampling.BICUBIC)
            plane = np.asarray(image).clip(0, 1)  # noqa: PLW2901  # the next step's input
        planes.append(plane)
    return np.stack(planes, axis=2)


def gaussian_noise(pixels: Floats, sigma_255: float, rng: np.random.Generator) -> Floats:
    """Add white noise, independent in each colour."""
    return _add(pixels, rng.standard_normal(pixels.shape, np.float32), sigma_255)


def grey_noise(pixels: Floats, sigma_255: float, rng: np.random.Generator) -> Floats:
    """Add white noise that is the same in the three colours."""
    return _add(pixels, rng.standard_normal((*pixels.shape[:2], 1), np.float32), sigma_255)


def shot_noise(pixels: Floats, sigma_255: float, rng: np.random.Generator) -> Floats:
    """Count photons: Poisson noise whose standard deviation is σ in white."""
    white = (255 / sigma_255) ** 2
    return (rng.poisson(pixels * white) / white).clip(0, 1).astype(np.float32)


def grain(
    pixels: Floats, sigma_255: float, size_px: float, common: float, rng: np.random.Generator
) -> Floats:
    """Add film's grain; the amounts as in `rlrestore.imaging.degradation.film.grain`."""
    import cv2

    height, width = pixels.shape[:2]
    white = rng.standard_normal((height + 2 * RADIUS_PX, width + 2 * RADIUS_PX, 4), np.float32)
    inside = slice(RADIUS_PX, -RADIUS_PX)
    left = float(np.square(cv2.getGaussianKernel(KERNEL_PX, size_px)).sum())
    fields = gaussian_blur(white, size_px)[inside, inside] / np.float32(left)
    noise = np.sqrt(common) * fields[..., 3:] + np.sqrt(1 - common) * fields[..., :3]
    profile = GRAIN_AT_ENDS + (1 - GRAIN_AT_ENDS) * 4 * pixels * (1 - pixels)
    return _add(pixels, profile * noise, sigma_255)


def _add(pixels: Floats, noise: Floats, sigma_255: float) -> Floats:
    noisy: Floats = (pixels + np.float32(sigma_255 / 255) * noise).clip(0, 1).astype(np.float32, copy=False)
    return noisy


def jpeg(pixels: Floats, quality: float) -> Floats:
    """Write an 8-bit JPEG file, 4:2:0, of the nearest whole quality, and read it."""
    integers = np.ascontiguousarray(to_integers(pixels, 8).astype(np.uint8, copy=False))
    return to_floats(jpeg_round_trip(integers, round(quality)))
