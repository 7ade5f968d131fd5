"""Batches whose images differ: a stage for some of them only, a window of each at its own place."""

from collections.abc import Callable
from typing import TypeAlias

import torch
from torch import Tensor

Rows: TypeAlias = Tensor | slice
"""An index of the images of a batch, for their parameters: `sigma_px[rows]`."""


def apply_where(chosen: Tensor, images: Tensor, stage: Callable[[Tensor, Rows], Tensor]) -> Tensor:
    """Apply a stage to the images that are chosen, and leave the others as they are.

    On the CPU the others are not computed. Elsewhere all are: to learn how many were chosen would cost a wait
    for the device.

    Args:
        chosen: `(B,)` bool.
        images: `(B, ...)`.
        stage: Called with the images and with the index of their parameters; keeps the shape.

    Returns:
        `(B, ...)`.
    """
    if waits_to_count(images.device):
        mask = chosen.view(-1, *[1] * (images.ndim - 1))
        return torch.where(mask, stage(images, slice(None)), images)
    rows = chosen.nonzero().squeeze(1)
    if len(rows) == len(images):
        return stage(images, slice(None))
    return images.index_copy(0, rows, stage(images[rows], rows)) if len(rows) else images


def waits_to_count(device: torch.device) -> bool:
    """Return whether the host must wait for this device to learn a number that was computed there."""
    return device.type != "cpu"


def take_windows(images: Tensor, top: Tensor, left: Tensor, height: int, width: int) -> Tensor:
    """Cut one window out of each image, at its own place: `(B, C, H, W)` to `(B, C, height, width)`."""
    if not waits_to_count(images.device):
        corners = zip(top.tolist(), left.tolist(), strict=True)
        windows = zip(images, corners, strict=True)
        return torch.stack([image[:, y : y + height, x : x + width] for image, (y, x) in windows])
    every = images.unfold(2, height, 1).unfold(3, width, 1)  # (B, C, tops, lefts, height, width), a view
    return every[torch.arange(len(images), device=images.device), :, top, left]
