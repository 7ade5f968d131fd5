"""From linear light to the values of a file and back: the sRGB curve, and a tone curve on top of it."""

import torch
from torch import Tensor

TOE = 0.0031308
"""Linear light up to which the sRGB curve is straight (IEC 61966-2-1)."""
LEAST_STRENGTH = 1e-6
"""Weaker tone curves are inverted as if they had this strength: no float tells them apart."""


def _column(values: Tensor) -> Tensor:
    return values[:, None, None, None]


def to_srgb(linear: Tensor) -> Tensor:
    """Encode linear light in [0, 1] by the sRGB curve."""
    curved = linear.clamp(min=TOE).pow_(1 / 2.4).mul_(1.055).sub_(0.055)
    return torch.where(linear <= TOE, 12.92 * linear, curved)


def to_linear(encoded: Tensor) -> Tensor:
    """Decode sRGB values in [0, 1] to linear light."""
    curved = encoded.clamp(min=0).add_(0.055).div_(1.055).pow_(2.4)
    return torch.where(encoded <= 12.92 * TOE, encoded / 12.92, curved)


def tone_curve(images: Tensor, strength: Tensor) -> Tensor:
    """Raise the contrast by a curve of the shape of an S.

    Args:
        images: `(B, C, H, W)` in [0, 1].
        strength: `(B,)` from 0, which changes nothing, to 1: 3y² − 2y³.

    Returns:
        `(B, C, H, W)` in [0, 1].
    """
    return torch.lerp(images, images * images * (3 - 2 * images), _column(strength))


def undo_tone_curve(images: Tensor, strength: Tensor) -> Tensor:
    """Undo `tone_curve`.

    With z = y − 1/2 and the strength t, the curve is (1 + t/2)·z − 2t·z³: a cubic with three real roots, of
    which the middle one is sought. By sin 3θ = 3 sin θ − 4 sin³ θ it is an arc sine's third.
    """
    t = _column(strength.clamp(min=LEAST_STRENGTH))
    amplitude = ((4 + 2 * t) / (6 * t)).sqrt()
    third = torch.asin((2 * (images - 0.5) / (t * amplitude**3)).clamp(-1, 1)) / 3
    return 0.5 + amplitude * torch.sin(third)
