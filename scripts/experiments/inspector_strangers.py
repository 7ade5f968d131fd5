"""Pictures that no inspector was trained on: drawings, text, motion blur, negatives."""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from rlrestore.imaging.patches import PhotoBank

LENGTHS_PX = (25.0, 45.0)
"""Of the motion that blurs."""
LETTERS = "abcdefghij klmno pqrst uvwxyz ABCDE. ,"

Pixels = NDArray[np.uint8]


def drawing(side: int, rng: np.random.Generator) -> Pixels:
    """Draw lines, discs and triangles in flat colours on a light ground: `(side, side, 3)`."""
    ground = tuple(rng.integers(200, 256, 3).tolist())
    canvas = Image.new("RGB", (2 * side, 2 * side), ground)
    pen = ImageDraw.Draw(canvas)
    for _ in range(max(8, side // 10)):
        x, y = rng.integers(0, 2 * side, (2, 3)).tolist()
        colour = tuple(rng.integers(0, 256, 3).tolist())
        kind = rng.integers(3)
        if kind == 0:
            pen.line([x[0], y[0], x[1], y[1]], fill=colour, width=int(rng.integers(2, 9)))
        elif kind == 1:
            box = [min(x[:2]), min(y[:2]), max(x[:2]) + 1, max(y[:2]) + 1]
            pen.ellipse(box, outline=colour, fill=colour if rng.random() < 0.5 else None, width=4)
        else:
            pen.polygon(list(zip(x, y, strict=True)), fill=colour, outline=(0, 0, 0))
    return np.asarray(canvas.resize((side, side), Image.Resampling.LANCZOS))


def page(side: int, rng: np.random.Generator) -> Pixels:
    """Set a page of text, dark on white or light on black: `(side, side, 3)`."""
    ground, ink = ((255,) * 3, (0,) * 3) if rng.random() < 0.7 else ((20,) * 3, (230,) * 3)
    canvas = Image.new("RGB", (side, side), ground)
    pen, size = ImageDraw.Draw(canvas), int(rng.integers(10, 22))
    font = ImageFont.load_default(size)
    for top in range(2, side, round(1.3 * size)):
        line = "".join(rng.choice(list(LETTERS), side // 4))
        pen.text((3, top), line, fill=ink, font=font)
    return np.asarray(canvas)


def moved(images: Tensor, lengths_px: Tensor, angles: Tensor, margin: int) -> Tensor:
    """Blur images by a motion along a line, and cut the margin off: `(B, 3, H, W)` in [0, 1].

    Args:
        images: With a margin of at least half of the longest motion.
        lengths_px: `(B,)` of the motions.
        angles: `(B,)` of the motions, in radians.
        margin: Pixels that are cut off on each side.
    """
    height, width = (side - 2 * margin for side in images.shape[-2:])
    results = []
    for image, length, angle in zip(images, lengths_px, angles, strict=True):
        steps = torch.linspace(-0.5, 0.5, 2 * int(length)) * length
        places = zip((steps * angle.sin()).tolist(), (steps * angle.cos()).tolist(), strict=True)
        corners = [(margin + round(down), margin + round(across)) for down, across in places]
        shifted = [image[:, top : top + height, left : left + width] for top, left in corners]
        results.append(torch.stack(shifted).mean(dim=0))
    return torch.stack(results)


def strangers(bank: PhotoBank, side: int, generator: torch.Generator) -> dict[str, Callable[[int], Tensor]]:
    """Return what makes so many pictures `(N, 3, side, side)` of each kind, and photographs; all of 8 bits.

    Args:
        bank: Photographs of at least `side` plus twice 24 pixels.
        side: In pixels.
        generator: Source of all draws.
    """
    rng = np.random.default_rng(generator.initial_seed())
    margin = -(-int(LENGTHS_PX[1]) // 2) + 1

    def painted(paint: Callable[[int, np.random.Generator], Pixels], count: int) -> Tensor:
        pictures = np.stack([paint(side, rng) for _ in range(count)])
        return torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 255

    def motion(count: int) -> Tensor:
        low, high = LENGTHS_PX
        lengths = low + (high - low) * torch.rand(count, generator=generator)
        angles = torch.pi * torch.rand(count, generator=generator)
        return _rounded(moved(bank.crops(count, side + 2 * margin, generator), lengths, angles, margin))

    return {
        "drawings": lambda count: painted(drawing, count),
        "text": lambda count: painted(page, count),
        "motion blur, 25 to 45 px": motion,
        "negatives": lambda count: 1 - _rounded(bank.crops(count, side, generator)),
        "photographs as they are": lambda count: _rounded(bank.crops(count, side, generator)),
    }


def _rounded(images: Tensor) -> Tensor:
    return (images * 255).round() / 255
