"""A real JPEG round trip in torch: what libjpeg does to the pixels, batched on any device, without the file.

The stages carry the codec's names: colour transform, chroma down-sampling, block DCT, quantisation, and
their inverses. Everything libjpeg rounds is rounded here (samples, coefficients, the decoded planes), so the
result agrees with Pillow to 45 dB and more, and lowers the PSNR of a photograph by the same amount.

Source: ITU-T T.81 (tables K.1 and K.2, the DCT), JFIF 1.02 (colour transform), libjpeg's documented quality
scaling and "fancy" triangle up-sampling.
"""

import functools
import math

import torch
import torch.nn.functional as F
from torch import Tensor

from rlrestore.imaging.degradation.batches import Rows, apply_where

BLOCK = 8
MCU = 16
"""Pixels per minimum coded unit at 4:2:0: two luma blocks, one chroma block. At 4:4:4 it is a block."""

LUMA_TABLE = (
    (16, 11, 10, 16, 24, 40, 51, 61),
    (12, 12, 14, 19, 26, 58, 60, 55),
    (14, 13, 16, 24, 40, 57, 69, 56),
    (14, 17, 22, 29, 51, 87, 80, 62),
    (18, 22, 37, 56, 68, 109, 103, 77),
    (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101),
    (72, 92, 95, 98, 112, 100, 103, 99),
)
"""Table K.1 of ITU-T T.81."""

CHROMA_TABLE = (
    (17, 18, 24, 47, 99, 99, 99, 99),
    (18, 21, 26, 66, 99, 99, 99, 99),
    (24, 26, 56, 99, 99, 99, 99, 99),
    (47, 66, 99, 99, 99, 99, 99, 99),
    (99, 99, 99, 99, 99, 99, 99, 99),
    (99, 99, 99, 99, 99, 99, 99, 99),
    (99, 99, 99, 99, 99, 99, 99, 99),
    (99, 99, 99, 99, 99, 99, 99, 99),
)
"""Table K.2 of ITU-T T.81."""

RGB_TO_YCBCR = (
    (19595 / 65536, 38470 / 65536, 7471 / 65536),
    (-11059 / 65536, -21709 / 65536, 32768 / 65536),
    (32768 / 65536, -27439 / 65536, -5329 / 65536),
)
"""libjpeg's 16-bit fixed-point coefficients: float32 holds their sums of 8-bit samples exactly."""

YCBCR_TO_RGB = ((1.0, 0.0, 1.402), (1.0, -0.344136286, -0.714136286), (1.0, 1.772, 0.0))


@functools.cache
def _constant(values: tuple[tuple[float, ...], ...], device: torch.device) -> Tensor:
    return torch.tensor(values, dtype=torch.float32, device=device)


@functools.cache
def dct_matrix(device: torch.device) -> Tensor:
    """Return the orthonormal DCT of a whole block as one matrix `(64, 64)`: row 8u + v is a coefficient.

    One product with 64 columns runs many times faster than two with 8 for every block.
    """
    return torch.kron(_cosines(), _cosines()).float().to(device)


def dct_basis() -> Tensor:
    """Return the orthonormal DCT of a line of a block, `(8, 8)`: row k is a coefficient."""
    return _cosines().float()


def _cosines() -> Tensor:
    cosines = [
        [
            math.sqrt((1 if k == 0 else 2) / BLOCK) * math.cos((2 * n + 1) * k * math.pi / (2 * BLOCK))
            for n in range(BLOCK)
        ]
        for k in range(BLOCK)
    ]
    return torch.tensor(cosines, dtype=torch.float64)


def quantisation_tables(quality: Tensor) -> tuple[Tensor, Tensor]:
    """Scale the standard tables to each image's quality, as libjpeg does.

    Args:
        quality: `(B,)` from 1 to 100, rounded to whole numbers.

    Returns:
        Luma and chroma steps, each `(B, 1, 8, 8)`, whole numbers from 1 to 255.
    """
    whole = quality.round().clamp(1, 100)
    percent = torch.where(whole < 50, (5000 / whole).floor(), 200 - 2 * whole)[:, None, None]
    luma, chroma = (
        ((_constant(table, quality.device) * percent + 50) / 100).floor().clamp(1, 255)[:, None]
        for table in (LUMA_TABLE, CHROMA_TABLE)
    )
    return luma, chroma


def _code_plane(plane: Tensor, table: Tensor) -> Tensor:
    """Return what a plane `(B, H, W)` of samples in 0–255 becomes by DCT, quantisation and back, rounded."""
    batch, height, width = plane.shape
    dct = dct_matrix(plane.device)
    blocks = (plane - 128).view(batch, height // BLOCK, BLOCK, width // BLOCK, BLOCK).transpose(2, 3)
    blocks = blocks.reshape(batch, -1, BLOCK * BLOCK)  # (B, blocks, 64)
    steps = table.view(batch, 1, BLOCK * BLOCK)
    # libjpeg's integer DCT gives eighths, and its quantiser rounds halves away from zero: ties are frequent,
    # and one that falls the other way shifts a whole block by a step.
    eighths = (8 * (blocks @ dct.T)).round_()
    levels = (eighths.abs() / (8 * steps) + 0.5).floor_()
    coefficients = levels.mul_(eighths.sign_()).mul_(steps)
    # Halves are rounded up, and flat blocks are full of them: 1/1024 outweighs the error of the float sums.
    samples = (coefficients @ dct).add_(128.5 + 1 / 1024).floor_().clamp_(0, 255)
    samples = samples.view(batch, height // BLOCK, width // BLOCK, BLOCK, BLOCK).transpose(2, 3)
    return samples.reshape(batch, height, width)


def _halve(chroma: Tensor) -> Tensor:
    """Average 2×2 samples of `(B, 2, H, W)`; libjpeg adds 1 and 2 in turn along a row before it shifts."""
    total = 4 * F.avg_pool2d(chroma, 2)
    bias = 1 + torch.arange(total.shape[-1], device=chroma.device) % 2
    return ((total + bias) / 4).floor_()


def _triangle_upsample(chroma: Tensor) -> Tensor:
    """Double `(B, 2, H, W)` with the triangle filter: 3/4 of the nearer sample, 1/4 of the farther."""
    rows = F.pad(chroma, (0, 0, 1, 1), mode="replicate")
    near = 3 * chroma
    tall = torch.stack((near + rows[:, :, :-2], near + rows[:, :, 2:]), dim=3).flatten(2, 3)  # (B, 2, 2H, W)
    columns = F.pad(tall, (1, 1, 0, 0), mode="replicate")
    near = 3 * tall
    left, right = near + columns[..., :-2], near + columns[..., 2:]
    return torch.stack(((left + 8) / 16, (right + 7) / 16), dim=4).flatten(3, 4).floor_()


def _code_chroma(chroma: Tensor, tables: Tensor, full_chroma: Tensor | None) -> Tensor:
    """Return what the chroma planes `(B, 2, H, W)` become by coding at half or at full resolution."""

    def code(planes: Tensor, rows: Rows) -> Tensor:
        coded = _code_plane(planes.flatten(0, 1), tables[rows].repeat_interleave(2, dim=0))
        return coded.view_as(planes)

    def halved(planes: Tensor, rows: Rows) -> Tensor:
        return _triangle_upsample(code(_halve(planes), rows))

    if full_chroma is None:
        return halved(chroma, slice(None))
    return apply_where(full_chroma, apply_where(~full_chroma, chroma, halved), code)


def jpeg(images: Tensor, quality: Tensor, full_chroma: Tensor | None = None) -> Tensor:
    """Compress every image with 8-bit baseline JPEG and decode it again.

    Args:
        images: `(B, 3, H, W)` RGB in [0, 1]; rounded to 8 bits first, as a file would be.
        quality: `(B,)` from 1 to 100; 0 leaves the image untouched, unrounded.
        full_chroma: `(B,)` bool: 4:4:4, else 4:2:0. All are 4:2:0 where it is not given.

    Returns:
        `(B, 3, H, W)` multiples of 1/255 in [0, 1].
    """

    def compressed(chosen: Tensor, rows: Rows) -> Tensor:
        return _round_trip(chosen, quality[rows], None if full_chroma is None else full_chroma[rows])

    return apply_where(quality > 0, images, compressed)


def _round_trip(images: Tensor, quality: Tensor, full_chroma: Tensor | None) -> Tensor:
    """Compress all images; see `jpeg`."""
    height, width = images.shape[-2:]
    bottom, right = -height % MCU, -width % MCU
    rgb = (images * 255).round_().clamp_(0, 255)
    padded = F.pad(rgb, (0, right, 0, bottom), mode="replicate") if bottom or right else rgb
    batch, _, tall, wide = padded.shape
    colours = _constant(RGB_TO_YCBCR, images.device) @ padded.flatten(2)  # (B, 3, H·W)
    colours = colours.view(batch, 3, tall, wide)
    luma_table, chroma_table = quantisation_tables(quality)
    luma = _code_plane((colours[:, 0] + 0.5).floor_(), luma_table)
    # libjpeg rounds halves of chroma down; every second pixel with R = G is such a half.
    chroma = (colours[:, 1:] + (128.5 - 1 / 65536)).floor_()
    chroma = _code_chroma(chroma, chroma_table, full_chroma) - 128
    planes = torch.cat((luma[:, None], chroma), dim=1).flatten(2)
    decoded = (_constant(YCBCR_TO_RGB, images.device) @ planes).round_().clamp_(0, 255).div_(255)
    return decoded.view(batch, 3, tall, wide)[..., :height, :width]
