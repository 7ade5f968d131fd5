"""Renders a chain as one image: the input, every step, and the clean patch in a row."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

GAP_PX = 2
BLANK = 255


def to_bytes(image: Tensor) -> NDArray[np.uint8]:
    """Return an image `(3, H, W)` in about [0, 1] as clipped `(H, W, 3)` uint8."""
    levels = (image.clamp(0, 1) * 255).round().to(torch.uint8)
    pixels: NDArray[np.uint8] = levels.permute(1, 2, 0).cpu().numpy()
    return pixels


def draw_chain(chain: Sequence[Tensor], clean: Tensor, slots: int) -> NDArray[np.uint8]:
    """Render a chain from the left, and the clean patch at the right end.

    Args:
        chain: The input and the output of each tool, each `(3, H, W)`.
        clean: `(3, H, W)`.
        slots: Places for the chain; unused ones stay blank, so that all frames have one size.

    Returns:
        `(H, (slots + 1) · W + slots · GAP_PX, 3)` uint8.
    """
    height, width = clean.shape[1:]
    strip = np.full((height, (slots + 1) * (width + GAP_PX) - GAP_PX, 3), BLANK, np.uint8)
    for slot, image in [*enumerate(chain), (slots, clean)]:
        left = slot * (width + GAP_PX)
        strip[:, left : left + width] = to_bytes(image)
    return strip
