"""Pairs of a degraded patch and its reference, made on the device from a bank of photographs."""

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from rlrestore.imaging.degradation.batches import take_windows
from rlrestore.imaging.degradation.blur import RADIUS_PX, gaussian_blur
from rlrestore.imaging.degradation.camera import SCALE_SHARES, Camera, CameraRecipe
from rlrestore.imaging.degradation.compression import Compression, compress
from rlrestore.imaging.degradation.development import context_px, expose
from rlrestore.imaging.degradation.film import FilmRecipe, add_grain
from rlrestore.imaging.degradation.jpeg import MCU
from rlrestore.imaging.degradation.protocol import Degradations, degrade
from rlrestore.imaging.patches import PhotoBank

PIECE_PX = 250_000
"""Sensor pixels that a processor handles at once: more no longer fit its caches, and take twice the time."""


@dataclass(frozen=True)
class PatchBatch:
    """Patches, their references, and what a chain that undoes the degradation has to undo.

    Attributes:
        degraded: `(B, 3, size, size)` RGB in [0, 1].
        target: The same shape: the photograph, or what the camera would have made of it without noise.
        amounts: The protocol's amounts that come closest: the blur that the target has not, the root mean
            square of the noise, the quality of the last JPEG. Nothing where the patch is its own target.
    """

    degraded: Tensor
    target: Tensor
    amounts: Degradations

    def __len__(self) -> int:
        return len(self.target)


def coded_side(size: int) -> int:
    """Return the side that is compressed to make a patch: one that can begin at any phase of the coder."""
    return -(-(size + MCU - 1) // MCU) * MCU


def context_side(size: int) -> int:
    """Return the side of the crop that is degraded to make a patch of `size` pixels.

    It is what is compressed, and around it the blur's radius.
    """
    return coded_side(size) + 2 * RADIUS_PX


def take_patches(images: Tensor, top: Tensor, left: Tensor, size: int) -> Tensor:
    """Cut one square out of each image, at its own place: `(B, C, H, W)` to `(B, C, size, size)`."""
    return take_windows(images, top, left, size, size)


def degraded_pairs(
    bank: PhotoBank, degradations: Degradations, size: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Draw clean patches and their degraded versions.

    Each is cut out of a larger crop after that was degraded, so the blur saw real surroundings and the
    coder's 16-pixel grid lies at any phase in the patch.

    Args:
        bank: The photographs.
        degradations: What is done to each of the B crops.
        size: Side of the patches in pixels.
        generator: Source of all draws, on the bank's device.

    Returns:
        Degraded and clean patches, each `(B, 3, size, size)` in [0, 1].
    """
    count = len(degradations)
    clean = bank.crops(count, context_side(size), generator)
    degraded = degrade(clean, degradations, generator, margin=RADIUS_PX)
    top, left = torch.randint(MCU, (2, count), generator=generator, device=clean.device)
    inside = clean[..., RADIUS_PX:-RADIUS_PX, RADIUS_PX:-RADIUS_PX]
    return take_patches(degraded, top, left, size), take_patches(inside, top, left, size)


def camera_pairs(
    bank: PhotoBank,
    recipe: CameraRecipe,
    count: int,
    size: int,
    generator: torch.Generator,
    scale_shares: Mapping[float, float] = SCALE_SHARES,
) -> PatchBatch:
    """Draw patches as cameras take them, and what the cameras would have made of them without noise and JPEG.

    The crops have room for a camera's reach, and the coder's grid lies at any phase in the patch.

    Args:
        bank: The photographs, of at least `camera_context_side(size)` pixels.
        recipe: How the cameras are drawn.
        count: How many pairs.
        size: Side of the patches in pixels.
        generator: Source of all draws, on the bank's device.
        scale_shares: By how much photographs were scaled down after the camera, each with its share; in the
            batch they come in this order.
    """
    counts = split_count(count, list(scale_shares.values()), generator)
    parts = []
    for part, scale in zip(counts, scale_shares, strict=True):
        sensor_side = (coded_side(size) + 2 * context_px(scale)) * scale
        largest = max(1, round(PIECE_PX / sensor_side**2)) if bank.device.type == "cpu" else part
        for start in range(0, part, largest):
            cameras = recipe.sample(min(largest, part - start), generator, scale)
            parts.append(_camera_piece(bank, cameras, size, generator))
    return join(parts)


def _camera_piece(bank: PhotoBank, cameras: Camera, size: int, generator: torch.Generator) -> PatchBatch:
    """Draw the patches of some cameras."""
    margin = context_px(cameras.scale)
    images = bank.crops(len(cameras), coded_side(size) + 2 * margin, generator)
    noisy, target = expose(images, cameras, generator, margin)
    blur = torch.zeros_like(cameras.shot)
    return _compressed_pairs(noisy, target, target, blur, cameras.compression, size, generator)


def camera_context_side(size: int) -> int:
    """Return the side of the largest crop that a camera takes to make a patch of `size` pixels."""
    return coded_side(size) + 2 * context_px(1.0)


def film_pairs(
    bank: PhotoBank, recipe: FilmRecipe, count: int, size: int, generator: torch.Generator
) -> PatchBatch:
    """Draw patches as on film or on old prints, and the photographs; arguments as in `camera_pairs`."""
    film = recipe.sample(count, generator)
    images = bank.crops(count, context_side(size), generator)
    blurred = gaussian_blur(images, film.blur_sigma_px, RADIUS_PX)
    grainy = add_grain(blurred, film, generator)
    clean = images[..., RADIUS_PX:-RADIUS_PX, RADIUS_PX:-RADIUS_PX]
    return _compressed_pairs(grainy, blurred, clean, film.blur_sigma_px, film.compression, size, generator)


def _compressed_pairs(
    noisy: Tensor,
    noiseless: Tensor,
    target: Tensor,
    blur_sigma_px: Tensor,
    compression: Compression,
    size: int,
    generator: torch.Generator,
) -> PatchBatch:
    """Compress what is to be compressed, and cut a patch out of it at any phase of the coder's grid."""
    noise_255 = 255 * (noisy - noiseless).square().mean(dim=(1, 2, 3)).sqrt()
    amounts = Degradations(blur_sigma_px, noise_255, compression.quality)
    degraded = compress(noisy, compression)
    top, left = torch.randint(MCU, (2, len(noisy)), generator=generator, device=noisy.device)
    return PatchBatch(take_patches(degraded, top, left, size), take_patches(target, top, left, size), amounts)


def join(parts: Sequence[PatchBatch]) -> PatchBatch:
    """Return several batches as one."""
    if len(parts) == 1:
        return parts[0]
    amounts = (
        torch.cat([getattr(part.amounts, name) for part in parts])
        for name in ("blur_sigma_px", "noise_sigma_255", "jpeg_quality")
    )
    degraded, target = (torch.cat([getattr(part, name) for part in parts]) for name in ("degraded", "target"))
    return PatchBatch(degraded, target, Degradations(*amounts))


def split_count(count: int, shares: Sequence[float], generator: torch.Generator) -> list[int]:
    """Divide a count at random, each of it going to a part by its share.

    The host must know the numbers, and to draw them on a GPU would cost a wait. A generator's state lies on
    the host on every device: a second one is seeded with it.
    """
    seed = zlib.crc32(generator.get_state().numpy().tobytes())
    weights, host = torch.tensor(shares, dtype=torch.float32), torch.Generator().manual_seed(seed)
    drawn = torch.multinomial(weights, count, replacement=True, generator=host)
    counts: list[int] = torch.bincount(drawn, minlength=len(shares)).tolist()
    return counts
