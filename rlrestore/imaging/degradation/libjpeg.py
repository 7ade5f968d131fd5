"""The degradation of one photograph as files undergo it: OpenCV's blur, numpy's noise, Pillow's JPEG.

The batched form of the same definition, for training, is `rlrestore.imaging.degradation.protocol`.
"""

import io

import numpy as np
import numpy.typing as npt
from PIL import Image

KERNEL_PX = 21


def degrade_pixels(
    pixels: npt.NDArray[np.uint8],
    blur_sigma_px: float,
    noise_sigma_255: float,
    jpeg_quality: int | None,
    rng: np.random.Generator,
) -> npt.NDArray[np.uint8]:
    """Blur, add noise, clip, round to 8 bits, and compress.

    Args:
        pixels: `(H, W, 3)` clean RGB.
        blur_sigma_px: Standard deviation of the Gaussian blur in pixels, 0 for none.
        noise_sigma_255: Standard deviation of the noise in units of 1/255, 0 for none.
        jpeg_quality: Quality from 1 to 100, None for no compression.
        rng: Source of the noise.

    Returns:
        `(H, W, 3)` degraded RGB.

    Raises:
        ValueError: The pixels are no 8-bit RGB image, or an amount is out of its range.

    Source: paper, section 3.1: 21×21 kernel, replicated border, noise clipped to [0, 1], JPEG 4:2:0.
    """
    if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype != np.uint8:
        raise ValueError(f"expected uint8 pixels of shape (H, W, 3), got {pixels.dtype} of {pixels.shape}")
    if not (0 <= blur_sigma_px < np.inf and 0 <= noise_sigma_255 < np.inf):
        raise ValueError(f"expected blur and noise of 0 or more, got {blur_sigma_px} and {noise_sigma_255}")
    degraded = blur_and_noise(pixels, blur_sigma_px, noise_sigma_255, rng)
    return degraded if jpeg_quality is None else jpeg_round_trip(degraded, jpeg_quality)


def blur_and_noise(
    pixels: npt.NDArray[np.uint8], blur_sigma_px: float, noise_sigma_255: float, rng: np.random.Generator
) -> npt.NDArray[np.uint8]:
    """Blur 8-bit pixels `(H, W, 3)`, add noise, clip to [0, 1] and round to 8 bits again."""
    image: npt.NDArray[np.float32] = pixels.astype(np.float32) / np.float32(255)
    if blur_sigma_px > 0:  # OpenCV takes 0 for "choose one that suits the kernel"
        import cv2

        kernel = (KERNEL_PX, KERNEL_PX)
        blurred = cv2.GaussianBlur(image, kernel, blur_sigma_px, borderType=cv2.BORDER_REPLICATE)
        image = blurred.astype(np.float32, copy=False)
    if noise_sigma_255 > 0:
        image += rng.standard_normal(image.shape, np.float32) * np.float32(noise_sigma_255 / 255)
    rounded: npt.NDArray[np.uint8] = np.rint(image.clip(0, 1) * 255).astype(np.uint8)
    return rounded


def jpeg_file(pixels: npt.NDArray[np.uint8], quality: int, full_chroma: bool = False) -> bytes:
    """Return 8-bit pixels `(H, W, 3)` as a baseline JPEG file, 4:4:4 or 4:2:0.

    Raises:
        ValueError: The quality is not a whole number from 1 to 100.
    """
    if not 1 <= quality <= 100 or quality != int(quality):
        raise ValueError(f"expected a JPEG quality from 1 to 100, got {quality}")
    stream = io.BytesIO()
    subsampling = "4:4:4" if full_chroma else "4:2:0"
    Image.fromarray(pixels).save(stream, "JPEG", quality=int(quality), subsampling=subsampling)
    return stream.getvalue()


def jpeg_round_trip(
    pixels: npt.NDArray[np.uint8], quality: int, full_chroma: bool = False
) -> npt.NDArray[np.uint8]:
    """Write 8-bit pixels `(H, W, 3)` as a JPEG file in memory, as `jpeg_file` does, and read them back."""
    return jpeg_pixels(jpeg_file(pixels, quality, full_chroma))


def jpeg_pixels(content: bytes) -> npt.NDArray[np.uint8]:
    """Return the pixels `(H, W, 3)` of a JPEG file."""
    with Image.open(io.BytesIO(content)) as image:
        decoded: npt.NDArray[np.uint8] = np.asarray(image)
    return decoded
