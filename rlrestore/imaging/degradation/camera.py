"""A camera: its lens, its sensor's mosaic and noise, and what it makes of them before it writes a JPEG.

From a clean photograph the light on the sensor is estimated (`rlrestore.imaging.degradation.development`
undoes the camera's own processing), recorded through Bayer filters with shot and read noise, and developed
again. The reference is the same development without the noise and without the JPEG: what the camera would
have written of a scene that it showed perfectly. What the lens did not show is not in it.

Source: the order of the stages and the levels of noise follow Brooks et al., *Unprocessing Images for Learned
Raw Denoising*, CVPR 2019; softness, leftovers of denoising, sharpening, scaling and JPEG are ours.
"""

import math
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from rlrestore.imaging.degradation.compression import Compression, CompressionRecipe
from rlrestore.imaging.degradation.optics import LARGEST_DISC_PX

GREATEST_SHOT, LEAST_SHOT = 0.02, 1e-4
READ_SLOPE, READ_OFFSET, READ_SPREAD = 2.18, 1.2, 0.26
"""ln read = 2.18·ln shot + 1.2 ± 0.26, of photographs' metadata (Brooks et al., section 3.1)."""
GAIN_ENDS = (1.2, 2.4)
SCALE_SHARES = {1.0: 0.7, 1.5: 0.15, 2.0: 0.1, 3.0: 0.05}
"""By how much photographs were scaled down after the camera: the share of each, of sum 1."""
MATRIX_ENDS = (
    ((-0.9, -0.3), (-0.3, 0.1)),
    ((-0.4, -0.1), (-0.5, -0.1)),
    ((-0.1, 0.1), (-0.7, -0.2)),
)
"""Ranges of a colour matrix off its diagonal, row by row: what a camera's filters let through of others."""

DEFAULT_COMPRESSION = CompressionRecipe()


@dataclass(frozen=True)
class Camera:
    """How each image of a batch was taken.

    Attributes:
        blur_sigma_px: `(B,)` standard deviation of the lens's Gaussian in pixels of the sensor, up to 5.
        disc_radius_px: `(B,)` radius of a scene's disc out of focus, in the same pixels; 0 for the Gaussian.
        red_gain: `(B,)` factor of the white balance, 1 or more.
        blue_gain: `(B,)` likewise.
        mosaic_top: `(B,)` int64, 0 or 1: rows by which the red pixel lies above the image.
        mosaic_left: `(B,)` int64, columns likewise.
        shot: `(B,)` variance of the noise for each unit of light, the sensor's range being [0, 1].
        read: `(B,)` variance of the noise in the dark.
        malvar: `(B,)` bool: demosaicked by the filters of Malvar, He and Cutler, else bilinearly.
        colour_matrix: `(B, 3, 3)` from the sensor's colours to linear sRGB, rows of sum 1.
        tone: `(B,)` strength of the tone curve, 0 to 1.
        luma_sigma_px: `(B,)` standard deviation in pixels of the Gaussian by which the camera's own denoising
            smoothed the luma of the noise.
        chroma_sigma_px: `(B,)` the same for its chroma, of which blotches are left; 0 for cameras that do not
            denoise.
        sharpen_sigma_px: `(B,)` standard deviation in pixels of the unsharp mask.
        sharpen: `(B,)` its amount, 0 for none, 1 for 100%.
        compression: The JPEG files.
        scale: By how much all images are scaled down after that and before JPEG; one of `SCALE_SHARES`. The
            scene is scaled up by as much before, so that the photograph keeps its size.
    """

    blur_sigma_px: Tensor
    disc_radius_px: Tensor
    red_gain: Tensor
    blue_gain: Tensor
    mosaic_top: Tensor
    mosaic_left: Tensor
    shot: Tensor
    read: Tensor
    malvar: Tensor
    colour_matrix: Tensor
    tone: Tensor
    luma_sigma_px: Tensor
    chroma_sigma_px: Tensor
    sharpen_sigma_px: Tensor
    sharpen: Tensor
    compression: Compression
    scale: float = 1.0

    def __post_init__(self) -> None:
        count = len(self)
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        shapes = {name: tuple(value.shape) for name, value in values.items() if isinstance(value, Tensor)}
        wanted = {name: (count, 3, 3) if name == "colour_matrix" else (count,) for name in shapes}
        wrong = {name: shape for name, shape in shapes.items() if shape != wanted[name]}
        if wrong:
            raise ValueError(f"expected settings of {count} images, got the shapes {wrong}")
        if self.scale not in SCALE_SHARES:
            raise ValueError(f"expected a scale of {', '.join(map(str, SCALE_SHARES))}, got {self.scale}")

    def __len__(self) -> int:
        return len(self.shot)


@dataclass(frozen=True)
class CameraRecipe:
    """How cameras are drawn.

    How many cameras denoise, how much, and how strongly they sharpen, was fitted by hand to eleven pictures
    of one Canon 600D (docs/camera.md).

    Attributes:
        soft_share: Of the scenes that are out of focus: by a Gaussian or, every second one, a disc.
        matrix_share: Of the cameras with a colour matrix.
        denoised_share: Of the cameras that denoise, and leave low-frequency, blotchy chroma noise.
        sharpened_share: Of the cameras that sharpen.
        clean_share: Of the images without noise and JPEG, on which the right action is to stop.
        compression: How the JPEG files are drawn.
    """

    soft_share: float = 1 / 3
    matrix_share: float = 0.6
    denoised_share: float = 0.6
    sharpened_share: float = 0.4
    clean_share: float = 0.1
    compression: CompressionRecipe = DEFAULT_COMPRESSION

    def sample(self, count: int, generator: torch.Generator, scale: float = 1.0) -> Camera:
        """Draw the cameras of `count` images, on the generator's device."""
        device = generator.device

        def uniform(low: float, high: float) -> Tensor:
            return low + (high - low) * torch.rand(count, generator=generator, device=device)

        def happens(share: float) -> Tensor:
            return torch.rand(count, generator=generator, device=device) < share

        soft, disc = happens(self.soft_share), happens(0.5)
        defocus_px = 1 + 4 * uniform(0, 1) * uniform(0, 1)
        sharpened, denoised = happens(self.sharpened_share), happens(self.denoised_share)
        clean = happens(self.clean_share)
        shot, read = _sample_noise(count, generator)
        mosaic_top, mosaic_left = torch.randint(2, (2, count), generator=generator, device=device)
        compression = self.compression.sample(count, generator)
        quality, earlier = (
            torch.where(clean, 0.0, drawn) for drawn in (compression.quality, compression.earlier_quality)
        )
        return Camera(
            blur_sigma_px=torch.where(soft, defocus_px, uniform(0.5, 1.0)),
            # A disc of radius r spreads light as a Gaussian of r/2 along each axis.
            disc_radius_px=torch.where(soft & disc, (2 * defocus_px).clamp(max=LARGEST_DISC_PX), 0.0),
            red_gain=uniform(*GAIN_ENDS),
            blue_gain=uniform(*GAIN_ENDS),
            mosaic_top=mosaic_top,
            mosaic_left=mosaic_left,
            shot=torch.where(clean, 0.0, shot),
            read=torch.where(clean, 0.0, read),
            malvar=happens(0.75),
            colour_matrix=_sample_matrix(happens(self.matrix_share), generator),
            tone=uniform(0, 1),
            luma_sigma_px=torch.where(denoised, uniform(0.4, 1.2), 0.0),
            chroma_sigma_px=torch.where(denoised, uniform(1.5, 3), 0.0),
            sharpen_sigma_px=uniform(0.5, 1.5),
            sharpen=torch.where(sharpened, 1.5 * uniform(0, 1) * uniform(0, 1), 0.0),
            compression=replace(compression, quality=quality, earlier_quality=earlier),
            scale=scale,
        )

    def draw(self, generator: torch.Generator) -> Camera:
        """Draw one camera, and by how much its photograph is scaled down, on the CPU."""
        camera = self.sample(1, generator)
        shares = torch.tensor(list(SCALE_SHARES.values()))
        scale = list(SCALE_SHARES)[int(torch.multinomial(shares, 1, generator=generator))]
        return replace(camera, scale=scale)


def _sample_noise(count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Draw shot and read variances, `(B,)` each."""
    draw = torch.rand(count, generator=generator, device=generator.device)
    log_shot = math.log(LEAST_SHOT) + math.log(GREATEST_SHOT / LEAST_SHOT) * draw
    spread = torch.randn(count, generator=generator, device=generator.device)
    return log_shot.exp(), (READ_SLOPE * log_shot + READ_OFFSET + READ_SPREAD * spread).exp()


def _sample_matrix(wanted: Tensor, generator: torch.Generator) -> Tensor:
    """Draw colour matrices `(B, 3, 3)`, the identity where none is wanted."""
    draws = torch.rand(3, 2, len(wanted), generator=generator, device=wanted.device)
    rows = []
    for index, ends in enumerate(MATRIX_ENDS):
        row = [
            torch.where(wanted, low + (high - low) * draw, 0.0)
            for (low, high), draw in zip(ends, draws[index], strict=True)
        ]
        row.insert(index, 1 - row[0] - row[1])
        rows.append(torch.stack(row, dim=1))
    return torch.stack(rows, dim=1)


def describe(camera: Camera) -> str:
    """Return one line that says what a camera's settings are."""
    disc, sharpen, smoothed = (
        value.item() for value in (camera.disc_radius_px, camera.sharpen, camera.chroma_sigma_px)
    )
    earlier, quality = (
        round(value.item()) for value in (camera.compression.earlier_quality, camera.compression.quality)
    )
    words = [
        f"disc of radius {disc:.1f} px" if disc else f"blur {camera.blur_sigma_px.item():.2f} px",
        f"shot {camera.shot.item():.3g}",
        f"read {camera.read.item():.3g}",
        f"gains {camera.red_gain.item():.2f} {camera.blue_gain.item():.2f}",
        "malvar" if camera.malvar.item() else "bilinear",
        f"tone {camera.tone.item():.2f}",
        f"chroma denoised at {smoothed:.1f} px" if smoothed else "not denoised",
        f"sharpened by {sharpen:.0%}" if sharpen else "not sharpened",
        f"scaled down by {camera.scale:g}",
        f"JPEG {f'{earlier} and ' if earlier else ''}{quality} "
        f"{'4:4:4' if camera.compression.full_chroma.item() else '4:2:0'}",
    ]
    return ", ".join(words)
