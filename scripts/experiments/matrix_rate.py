"""What a device multiplies and adds at most: the rate that others are compared with."""

from collections.abc import Callable

import torch
import torch.nn.functional as F

from experiments.part_clock import now
from rlrestore.evaluation.costs import synchronize

MATRIX_SIDE = {"cpu": 1024, "cuda": 8192}
CONVOLVED = {"cpu": 8, "cuda": 1024}
"""Images of 32×32 in the convolution of the matrix rate."""
MATRIX_REPEATS = 5


def matrix_rate(device: torch.device, dtype: torch.dtype) -> float:
    """Return the multiply-adds a second of a large matrix product.

    It is run as a product and as a 3×3 convolution of 256 channels, and the faster one counts: the libraries
    behind the two obey different settings, and on some processors one of them reaches half of the other.
    """
    side, images = MATRIX_SIDE.get(device.type, 1024), CONVOLVED.get(device.type, 8)
    square = torch.ones(side, side, device=device, dtype=dtype)
    features = torch.ones(images, 256, 32, 32, device=device, dtype=dtype)
    features = features.contiguous(memory_format=torch.channels_last)
    weight = torch.ones(256, 256, 3, 3, device=device, dtype=dtype)
    weight = weight.contiguous(memory_format=torch.channels_last)
    convolution_s = fastest(lambda: F.conv2d(features, weight, padding=1), device)
    return max(
        side**3 / fastest(lambda: square @ square, device),
        features.numel() * 256 * 9 / convolution_s,
    )


def fastest(call: Callable[[], object], device: torch.device) -> float:
    """Return the shortest time of a call, in seconds."""
    call()
    seconds = []
    for _ in range(MATRIX_REPEATS):
        synchronize(device)
        began = now(device)
        call()
        synchronize(device)
        seconds.append(now(device) - began)
    return min(seconds)
