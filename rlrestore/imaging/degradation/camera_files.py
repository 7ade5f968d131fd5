"""A camera as one photograph's file undergoes it: of any size, in tiles, with libjpeg's JPEG.

The batched form of the same definition, for training, is `rlrestore.imaging.degradation.development`.
"""

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from rlrestore.imaging.degradation.camera import Camera
from rlrestore.imaging.degradation.compression import Compression
from rlrestore.imaging.degradation.development import (
    CELL,
    SIDE_MULTIPLE,
    context_px,
    record_and_develop,
    see_through_lens,
    sensor_noise,
)
from rlrestore.imaging.degradation.libjpeg import jpeg_file, jpeg_pixels, jpeg_round_trip
from rlrestore.imaging.io.samples import to_integers
from rlrestore.imaging.tiling import Tile, tiles

TILE_PX = 512

Floats = npt.NDArray[np.float32]
Pixels = npt.NDArray[np.uint8]


def take_pixels(pixels: Floats, camera: Camera, generator: torch.Generator) -> tuple[Pixels, Pixels]:
    """Take a picture of a photograph, JPEG included.

    Args:
        pixels: `(H, W, 3)` clean sRGB in [0, 1], of any size from 8×8.
        camera: The settings of one camera.
        generator: Source of the noise, on the CPU.

    Returns:
        The picture as its file shows it, and its reference without noise and JPEG, `(H, W, 3)` each.

    Raises:
        ValueError: The camera is not one.
    """
    noisy, target = expose_pixels(pixels, camera, generator)
    return compression_round_trip(noisy, camera.compression), target


def expose_pixels(pixels: Floats, camera: Camera, generator: torch.Generator) -> tuple[Pixels, Pixels]:
    """Take a picture of a photograph, without the JPEG.

    Args:
        pixels: `(H, W, 3)` clean sRGB in [0, 1], of any size from 8×8.
        camera: The settings of one camera.
        generator: Source of the noise, on the CPU.

    Returns:
        The noisy picture and its reference, `(H, W, 3)` each.

    Raises:
        ValueError: The camera is not one.
    """
    if len(camera) != 1:
        raise ValueError(f"expected the settings of one camera, got {len(camera)}")
    image = torch.from_numpy(pixels).permute(2, 0, 1)[None]
    height, width = image.shape[-2:]
    image = F.pad(image, (0, -width % SIDE_MULTIPLE, 0, -height % SIDE_MULTIPLE), mode="replicate")
    # Drawn for the whole picture: where tiles overlap, both must see the same noise.
    noise = sensor_noise(image.shape, camera.scale, generator)
    noisy, target = torch.empty_like(image), torch.empty_like(image)
    context = context_px(camera.scale)
    for tile in tiles(image.shape[-2], image.shape[-1], TILE_PX, context, SIDE_MULTIPLE):
        scene = see_through_lens(image[tile.read], camera)
        developed = record_and_develop(scene, camera, _noise_of(tile, noise, camera.scale))
        noisy[tile.kept], target[tile.kept] = (one[tile.inner] for one in developed)
    return _to_pixels(noisy, height, width), _to_pixels(target, height, width)


def _noise_of(tile: Tile, noise: Tensor, scale: float) -> Tensor:
    """Return the part of the sensor's noise that belongs to what a tile reads."""
    rows, columns = (
        slice(round(scale * line.start), round(scale * line.stop) + CELL) for line in tile.read[1:]
    )
    return noise[..., rows, columns]


def _to_pixels(image: Tensor, height: int, width: int) -> Pixels:
    floats = image[0, :, :height, :width].permute(1, 2, 0).numpy()
    return to_integers(floats, 8).astype(np.uint8, copy=False)


def compress_pixels(pixels: Pixels, compression: Compression) -> bytes:
    """Return a picture `(H, W, 3)` as the JPEG file that the camera writes of it.

    Args:
        pixels: The picture.
        compression: Of one image, with a quality above zero; a quality is rounded to a whole number.
    """
    full_chroma = bool(compression.full_chroma)
    earlier = round(compression.earlier_quality.item())
    if earlier:
        top, left = int(compression.earlier_top), int(compression.earlier_left)
        shifted = np.pad(pixels, ((top, 0), (left, 0), (0, 0)), mode="edge")
        pixels = jpeg_round_trip(shifted, earlier, full_chroma)[top:, left:]
    return jpeg_file(np.ascontiguousarray(pixels), round(compression.quality.item()), full_chroma)


def compression_round_trip(pixels: Pixels, compression: Compression) -> Pixels:
    """Return a picture `(H, W, 3)` as the file of `compress_pixels` shows it; unchanged at a quality of 0."""
    return jpeg_pixels(compress_pixels(pixels, compression)) if compression.quality.item() else pixels
