"""What an agent is rewarded with, and the error that trains its tools: by PSNR, salient PSNR, or SSIM.

All are in dB, so that an agent's margins mean the same.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from rlrestore.imaging.metrics import psnr_db, salient_psnr_db, ssim
from rlrestore.imaging.psnr import SMALLEST_MSE
from rlrestore.imaging.saliency import salient_mse

Reward = Literal["psnr", "salient-psnr", "ssim"]
REWARDS: tuple[Reward, ...] = get_args(Reward)

Measure = Callable[[Tensor, Tensor], Tensor]
"""From restored and clean images `(B, 3, H, W)` to `(B,)`."""


def mse(restored: Tensor, clean: Tensor) -> Tensor:
    """Return the mean squared error `(B,)` of `(B, 3, H, W)`."""
    return F.mse_loss(restored, clean, reduction="none").mean(dim=(1, 2, 3))


def half_salient_mse(restored: Tensor, clean: Tensor) -> Tensor:
    """Return half the plain and half the salient mean squared error, `(B,)`: what is not salient counts, too.

    Source: the form of the loss in saliency-guided super-resolution, there of absolute errors.
    """
    return 0.5 * mse(restored, clean) + 0.5 * salient_mse(restored, clean)


def dissimilarity(restored: Tensor, clean: Tensor) -> Tensor:
    """Return 1 − SSIM, `(B,)`."""
    return 1 - ssim(restored, clean)


def ssim_in_db(restored: Tensor, clean: Tensor) -> Tensor:
    """Return the SSIM as −10·log10(1 − SSIM), `(B,)`: 0.5 is 3 dB, 0.9 is 10 dB."""
    return -10 * torch.log10(dissimilarity(restored, clean).clamp(min=SMALLEST_MSE))


QUALITIES_DB: Mapping[Reward, Measure] = MappingProxyType(
    {"psnr": psnr_db, "salient-psnr": salient_psnr_db, "ssim": ssim_in_db}
)
"""By reward: the measure, in dB, of which a step's gain is the reward."""
ERRORS: Mapping[Reward, Measure] = MappingProxyType(
    {"psnr": mse, "salient-psnr": half_salient_mse, "ssim": dissimilarity}
)
"""By reward: the error at the end of a chain that joint training lessens."""


def gain_db(reward: Reward, after: Tensor, before: Tensor, clean: Tensor) -> Tensor:
    """Return what a reward says that images gained, `(B,)` in dB.

    Args:
        reward: By what.
        after: `(B, 3, H, W)`.
        before: The same shape.
        clean: The same shape.
    """
    quality_db = QUALITIES_DB[reward]
    return quality_db(after, clean) - quality_db(before, clean)


def checked_reward(name: str) -> Reward:
    """Return a reward by its name.

    Raises:
        ValueError: There is none of this name.
    """
    for reward in REWARDS:
        if name == reward:
            return reward
    raise ValueError(f"expected a reward of {', '.join(REWARDS)}, got {name!r}")
