"""Pairs of a degraded patch and its clean original, made on the device from a bank of photographs."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from rlrestore.imaging.degradation.blur import RADIUS_PX
from rlrestore.imaging.degradation.jpeg import MCU
from rlrestore.imaging.degradation.protocol import Degradations, degrade

if TYPE_CHECKING:
    from rlrestore.imaging.patches import PhotoBank


def _coded_side(size: int) -> int:
    """Return the side that is compressed to make a patch: one that can begin at any phase of the coder."""
    return -(-(size + MCU - 1) // MCU) * MCU


def context_side(size: int) -> int:
    """Return the side of the crop that is degraded to make a patch of `size` pixels.

    It is what is compressed, and around it the blur's radius.
    """
    return _coded_side(size) + 2 * RADIUS_PX


def take_patches(images: Tensor, top: Tensor, left: Tensor, size: int) -> Tensor:
    """Cut one square out of each image, at its own place: `(B, C, H, W)` to `(B, C, size, size)`."""
    every = images.unfold(2, size, 1).unfold(3, size, 1)  # (B, C, tops, lefts, size, size), a view
    return every[torch.arange(len(images), device=images.device), :, top, left]


def degraded_pairs(
    bank: "PhotoBank", degradations: Degradations, size: int, generator: torch.Generator
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
