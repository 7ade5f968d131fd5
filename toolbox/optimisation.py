"""What trainings of tools share: the loss, the course of the learning rate, a step, averages of weights."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rlrestore.toolbox.functional import FunctionalTools
from rlrestore.toolbox.ranks import sum_gradients

ERROR_FLOOR = 1e-4
"""Mean squared error at which an image begins to count less: that of 40 dB."""
WARM_UP = 0.05
"""Part of a training over which the learning rate rises: at full rate from the start a tool may die."""
AVERAGE_DECAY = 0.999
"""Of the average over the weights of all steps, which is what becomes the tool."""
CLIP_NORM = 5.0
"""Largest norm of a tool's gradient."""


def restoration_losses(restored: Tensor, clean: Tensor) -> Tensor:
    """Return the negative PSNR `(B,)` in dB of `(B, 3, H, W)`: the number by which a result is judged.

    The error is bounded from below (40 dB), where its logarithm would outweigh every other image.
    """
    errors = F.mse_loss(restored, clean, reduction="none").mean(dim=(1, 2, 3))
    return 10 * torch.log10(errors + ERROR_FLOOR)


def rate_factor(done: float) -> float:
    """Return what the learning rate is multiplied by when `done` of a training, 0 to 1, is over."""
    if done < WARM_UP:
        return done / WARM_UP
    return 0.5 * (1 + math.cos(math.pi * (done - WARM_UP) / (1 - WARM_UP)))


@torch.no_grad()
def average_weights(average: nn.Module, trained: nn.Module, steps: int) -> None:
    """Move the exponential moving average of weights towards the weights after one more step.

    Args:
        average: The average over `steps` steps; changed in place.
        trained: The same network as it is now.
        steps: How many came before. The average reaches back over a ninth of them, at most over 1000.
    """
    pull = max(9 / (steps + 9), 1 - AVERAGE_DECAY)
    for mean, weight in zip(average.parameters(), trained.parameters(), strict=True):
        mean.lerp_(weight, pull)


def move_weights(tools: FunctionalTools, optimizer: torch.optim.Optimizer, rate: float) -> Tensor:
    """Take one step with the gradients of all ranks, each tool's clipped by itself.

    Args:
        tools: After `backward`; their masters move, and their copies follow.
        optimizer: Of the masters.
        rate: Its learning rate.

    Returns:
        The mean norm of the gradients of the tools that were used, before clipping: a scalar on the device.
    """
    sum_gradients(tools.toolbox.parameters())
    norms = []
    for network in tools.toolbox.networks:
        moving = [weight for weight in network.parameters() if weight.grad is not None]
        if moving:
            norms.append(nn.utils.clip_grad_norm_(moving, CLIP_NORM))
    for group in optimizer.param_groups:
        group["lr"] = rate
    optimizer.step()
    tools.refresh()
    return torch.stack(norms).mean() if norms else torch.zeros((), device=tools.toolbox.device)
