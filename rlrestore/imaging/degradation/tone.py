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
    # The straight part and the curve, each constant where the other holds: a `where` takes ten times as long.
    curved = _power_(linear.clamp(min=TOE), 1 / 2.4).mul_(1.055)
    return curved.add_(linear.clamp(max=TOE), alpha=12.92).sub_(0.055 + 12.92 * TOE)


def to_linear(encoded: Tensor) -> Tensor:
    """Decode sRGB values in [0, 1] to linear light."""
    curved = _power_(encoded.clamp(min=12.92 * TOE).add_(0.055).div_(1.055), 2.4)
    return curved.add_(encoded.clamp(max=12.92 * TOE), alpha=1 / 12.92).sub_(TOE)


def _power_(values: Tensor, exponent: float) -> Tensor:
    """Raise values above 0 to a power, in place: on a processor in a third of the time of `pow_`."""
    return values.log_().mul_(exponent).exp_()


def tone_curve(images: Tensor, strength: Tensor) -> Tensor:
    """Raise the contrast by a curve of the shape of an S.

    Args:
        images: `(B, C, H, W)` in [0, 1].
        strength: `(B,)` from 0, which changes nothing, to 1: 3y² − 2y³.

    Returns:
        `(B, C, H, W)` in [0, 1].
    """
    full = torch.rsub(images, 3, alpha=2).mul_(images).mul_(images)
    return torch.lerp(images, full, _column(strength))


def undo_tone_curve(images: Tensor, strength: Tensor) -> Tensor:
    """Undo `tone_curve`.

    With z = y − 1/2 and the strength t, the curve is (1 + t/2)·z − 2t·z³: a cubic with three real roots, of
    which the middle one is sought. By sin 3θ = 3 sin θ − 4 sin³ θ it is an arc sine's third.
    """
    t = _column(strength.clamp(min=LEAST_STRENGTH))
    amplitude = ((4 + 2 * t) / (6 * t)).sqrt()
    third = torch.asin((2 * (images - 0.5) / (t * amplitude**3)).clamp(-1, 1)) / 3
    return 0.5 + amplitude * torch.sin(third)
