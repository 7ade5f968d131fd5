"""Bicubic resizing as two matrix products, batched on any device."""

import functools

import torch
import torch.nn.functional as F
from torch import Tensor


def resize(images: Tensor, height: int, width: int, margin: int = 0) -> Tensor:
    """Resize images `(B, C, H, W)` by bicubic interpolation, with antialiasing where they become smaller.

    The same as `torch.nn.functional.interpolate`, which takes several times as long on a processor.

    Args:
        images: What to resize.
        height: Of the result.
        width: Of the result.
        margin: Pixels of the result that are left out on each side.

    Returns:
        `(B, C, height − 2·margin, width − 2·margin)`.
    """
    rows, columns = (
        _line_matrix(before, after, images.device)[margin : after - margin]
        for before, after in zip(images.shape[-2:], (height, width), strict=True)
    )
    resized: Tensor = rows @ (images @ columns.mT)
    return resized


@functools.lru_cache(maxsize=16)  # of pictures of any size there is no end
def _line_matrix(before: int, after: int, device: torch.device) -> Tensor:
    """Return the matrix `(after, before)` that resizes a line of pixels."""
    impulses = torch.eye(before)[None, None]
    return F.interpolate(impulses, size=(after, before), mode="bicubic", antialias=after < before)[0, 0].to(
        device
    )


def scale_down_and_back(images: Tensor, scale: Tensor) -> Tensor:
    """Scale every image down by its own factor and back to its size, by bicubic interpolation.

    With Pillow's kernel, which is not that of `resize`: that is what tools for photographs use.

    Args:
        images: `(B, C, H, W)` in [0, 1].
        scale: `(B,)` factors from 1.

    Returns:
        `(B, C, H, W)` in [0, 1].
    """
    down, back = [], []
    for side in images.shape[-2:]:
        whole = torch.full_like(scale, side)
        small = (whole / scale).round().clamp(min=1)
        down.append(_lines_matrix(whole, small, side, side))
        back.append(_lines_matrix(small, whole, side, side))
    reduced = (down[0][:, None] @ images @ down[1].mT[:, None]).clamp_(0, 1)
    enlarged: Tensor = (back[0][:, None] @ reduced @ back[1].mT[:, None]).clamp_(0, 1)
    return enlarged


def _lines_matrix(before: Tensor, after: Tensor, most_before: int, most_after: int) -> Tensor:
    """Return the matrices `(B, most_after, most_before)` that resize lines of `before` to `after` pixels.

    Rows and columns beyond these numbers, `(B,)` each, are zero.
    """
    target = torch.arange(most_after, device=before.device)[:, None]
    source = torch.arange(most_before, device=before.device)
    ratio = (before / after)[:, None, None]
    distance = ((source + 0.5 - (target + 0.5) * ratio) / ratio.clamp(min=1)).abs()
    near = 1.5 * distance**3 - 2.5 * distance**2 + 1
    far = -0.5 * distance**3 + 2.5 * distance**2 - 4 * distance + 2
    weights = torch.where(distance < 1, near, torch.where(distance < 2, far, 0.0))
    weights = weights * (target < after[:, None, None]) * (source < before[:, None, None])
    return weights / weights.sum(dim=2, keepdim=True).masked_fill(target >= after[:, None, None], 1.0)
