"""Taking a picture with a `Camera`: scene to light, to mosaic, to picture; batched on any device.

`expose` is all of it up to the JPEG, and `simulate_camera` the whole.
"""

import math
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from rlrestore.imaging.degradation.batches import Rows, apply_where, take_windows
from rlrestore.imaging.degradation.blur import RADIUS_PX, gaussian_blur
from rlrestore.imaging.degradation.compression import compress
from rlrestore.imaging.degradation.demosaic import demosaic, mosaic
from rlrestore.imaging.degradation.optics import lens_blur
from rlrestore.imaging.degradation.resizing import resize
from rlrestore.imaging.degradation.tone import to_linear, to_srgb, tone_curve, undo_tone_curve
from rlrestore.imaging.io.samples import LUMA_WEIGHTS

if TYPE_CHECKING:
    from rlrestore.imaging.degradation.camera import Camera

CELL = 2
"""Side of the mosaic's cell in pixels, by which it is padded so that it can begin at any of its pixels."""
SIDE_MULTIPLE = 4
"""Sides of a scene are multiples of this: so the sensor's are even at every scale."""
DEVELOPMENT_PX = 16
"""The reach of development: 2 px to demosaic, 9 to denoise chroma, 5 to sharpen (three σ each)."""
SCALING_PX = 2
"""The reach of scaling down, in pixels of the result."""


def context_px(scale: float) -> int:
    """Return the reach of a camera in pixels of the photograph: a lens's kernel, then the development.

    It is even, so that with a margin of it the sides stay multiples of 4.
    """
    development = DEVELOPMENT_PX if scale == 1 else math.ceil(DEVELOPMENT_PX / scale) + SCALING_PX
    return RADIUS_PX + development + development % 2


def simulate_camera(
    images: Tensor, camera: "Camera", generator: torch.Generator, margin: int = 0
) -> tuple[Tensor, Tensor]:
    """Take a picture of every image, each by its own camera, up to the JPEG file.

    Args:
        images: `(B, 3, H, W)` clean sRGB in [0, 1]; H − 2·min(margin, 10) and W likewise are multiples of 4.
        camera: The settings of B cameras.
        generator: Source of the noise, on the device of the images.
        margin: Pixels that are cut off on each side before JPEG; from `CONTEXT_PX` on, no border has reached
            what is left.

    Returns:
        The degraded images and their references, each `(B, 3, H − 2·margin, W − 2·margin)` in [0, 1].
    """
    noisy, target = expose(images, camera, generator, margin)
    return compress(noisy, camera.compression), target


def expose(
    images: Tensor, camera: "Camera", generator: torch.Generator, margin: int = 0
) -> tuple[Tensor, Tensor]:
    """Take a picture of every image, without the JPEG; arguments and result as in `simulate_camera`."""
    early = min(margin, RADIUS_PX)
    scene = see_through_lens(images, camera, early)
    noise = sensor_noise(scene.shape, camera.scale, generator)
    return record_and_develop(scene, camera, noise, margin - early)


def see_through_lens(images: Tensor, camera: "Camera", margin: int = 0) -> Tensor:
    """Return the images as the lens shows them, less a margin: `(B, 3, H − 2·margin, W − 2·margin)`."""
    # The radii are in pixels of the sensor, of which an image's pixel will be several.
    radii = camera.blur_sigma_px / camera.scale, camera.disc_radius_px / camera.scale
    return lens_blur(images, *radii, margin).clamp_(0, 1)


def sensor_noise(scene: torch.Size, scale: float, generator: torch.Generator) -> Tensor:
    """Draw what `record_and_develop` takes for a scene `(B, 3, H, W)`: noise of standard deviation 1.

    Returns:
        `(B, 1, scale·H + 2, scale·W + 2)`: with a border for mosaics that begin outside of the image.
    """
    height, width = (round(scale * side) + CELL for side in scene[-2:])
    return torch.randn((scene[0], 1, height, width), generator=generator, device=generator.device)


def record_and_develop(
    scene: Tensor, camera: "Camera", noise: Tensor, margin: int = 0
) -> tuple[Tensor, Tensor]:
    """Record a scene by a sensor and develop it, once with the sensor's noise and once without.

    Args:
        scene: `(B, 3, H, W)` sRGB in [0, 1], H and W multiples of 4.
        camera: The settings of B cameras.
        noise: Of `sensor_noise`.
        margin: Pixels of the result that are left out on each side.

    Returns:
        The noisy images and their references, `(B, 3, H − 2·margin, W − 2·margin)` in [0, 1].

    Raises:
        ValueError: A side is no multiple of 4.
    """
    height, width = scene_size = scene.shape[-2:]
    if height % SIDE_MULTIPLE or width % SIDE_MULTIPLE:
        raise ValueError(f"expected sides that are multiples of {SIDE_MULTIPLE}, got {height}×{width}; pad")
    if camera.scale != 1:
        scene = resize(scene, round(camera.scale * height), round(camera.scale * width)).clamp_(0, 1)
    light = F.pad(light_on_sensor(scene, camera), (CELL,) * 4, mode="replicate")
    top, left, (rows, columns) = camera.mosaic_top, camera.mosaic_left, scene.shape[-2:]
    recorded = mosaic(take_windows(light, CELL - top, CELL - left, rows + CELL, columns + CELL))
    recorded.clamp_(max=1)
    target, noisy = (
        take_windows(develop(one, camera), top, left, rows, columns)
        for one in (recorded, add_sensor_noise(recorded, camera, noise))
    )
    noisy = _denoise(noisy, target, camera)
    return _finish(noisy, camera, scene_size, margin), _finish(target, camera, scene_size, margin)


def light_on_sensor(scene: Tensor, camera: "Camera") -> Tensor:
    """Return the light behind each colour filter, of which `develop` makes the scene `(B, 3, H, W)` again."""
    linear = to_linear(undo_tone_curve(scene, camera.tone))
    inverse, _ = torch.linalg.inv_ex(camera.colour_matrix)  # inv itself would wait for the device
    gains = _gains(camera)
    light: Tensor = ((inverse / gains[:, :, None]) @ linear.flatten(2)).view_as(linear)
    return light


def add_sensor_noise(recorded: Tensor, camera: "Camera", noise: Tensor) -> Tensor:
    """Add noise of the variance shot·x + read to what the sensor recorded, x `(B, 1, H, W)`.

    A sensor saturates at 1; below its black level it goes on, for cameras record that with an offset.
    """
    shot, read = (variance[:, None, None, None] for variance in (camera.shot, camera.read))
    variance = torch.addcmul(read, shot, recorded.clamp(min=0))
    return torch.addcmul(recorded, variance.sqrt_(), noise).clamp_(max=1)


def develop(recorded: Tensor, camera: "Camera") -> Tensor:
    """Make a picture of a mosaic: white balance, demosaicking, colour matrix, sRGB curve, tone curve.

    Args:
        recorded: `(B, 1, H, W)` with red in its corner, H and W even.
        camera: The settings of B cameras.

    Returns:
        `(B, 3, H, W)` in [0, 1].
    """
    # Demosaicking before the gains and after them is not the same: they scale what green lends to the others.
    balanced = recorded.clone()
    gains = _gains(camera)[:, :, None, None, None]
    balanced[..., 0::2, 0::2] *= gains[:, 0]
    balanced[..., 1::2, 1::2] *= gains[:, 2]
    colours = demosaic(balanced, camera.malvar)
    linear: Tensor = (camera.colour_matrix @ colours.flatten(2)).view_as(colours)
    return tone_curve(to_srgb(linear.clamp_(0, 1)), camera.tone)


def _gains(camera: "Camera") -> Tensor:
    """Return the white balance `(B, 3)`."""
    return torch.stack((camera.red_gain, torch.ones_like(camera.red_gain), camera.blue_gain), dim=1)


def _denoise(noisy: Tensor, target: Tensor, camera: "Camera") -> Tensor:
    """Return what the camera's own denoising leaves: finer luma noise, and of the chroma noise blotches."""

    def leave(noise: Tensor, rows: Rows) -> Tensor:
        red, green, blue = noise.split(1, dim=1)
        luma = LUMA_WEIGHTS[0] * red + LUMA_WEIGHTS[1] * green + LUMA_WEIGHTS[2] * blue
        chroma = gaussian_blur(noise - luma, camera.chroma_sigma_px[rows])
        return gaussian_blur(luma, camera.luma_sigma_px[rows]) + chroma

    return target + apply_where(camera.chroma_sigma_px > 0, noisy - target, leave)


def _finish(images: Tensor, camera: "Camera", size: torch.Size, margin: int) -> Tensor:
    """Sharpen the images of the sensor's size, scale them down to another, and leave out the margin."""
    edge = margin if camera.scale == 1 else 0  # else it is not whole pixels of the sensor
    rows, columns = (slice(edge, side - edge) for side in images.shape[-2:])

    def sharpen(chosen: Tensor, which: Rows) -> Tensor:
        smooth = gaussian_blur(images[which], camera.sharpen_sigma_px[which], edge)
        return torch.lerp(smooth, chosen, 1 + camera.sharpen[which][:, None, None, None])

    finished = apply_where(camera.sharpen > 0, images[..., rows, columns], sharpen)
    if camera.scale != 1:
        finished = resize(finished, size[0], size[1], margin)
    return finished.clamp(0, 1)
