"""Choosing where to compute."""

import functools
import time

import numpy as np
import torch
import torch.nn.functional as F

from rlrestore.errors import UsageError


def resolve_device(name: str) -> torch.device:
    """Return the device of this name, after checking that it is there.

    Args:
        name: Any name torch knows, such as `cpu`, `cuda`, `cuda:1` or `mps`.

    Raises:
        UsageError: The name is unknown, or this machine has no such device.
    """
    there = ["cpu", *(f"cuda:{index}" for index in range(torch.cuda.device_count()))]
    if torch.backends.mps.is_available():
        there.append("mps")
    try:
        device = torch.device(name)
    except RuntimeError:
        device = torch.device("meta")
    full = f"cuda:{device.index or 0}" if device.type == "cuda" else device.type
    if full not in there:
        raise UsageError(f"device {name!r} is not available: expected one of {', '.join(there)}")
    return device


def numbered_generator(device: torch.device, seed: int, number: int) -> torch.Generator:
    """Return the random stream of a step or a round, which depends on nothing but the seed and its number.

    The two are mixed into 32 bits, for torch's generator on the CPU ignores all others of its seed.
    """
    mixed = np.random.SeedSequence((seed, number)).generate_state(1)[0]
    return torch.Generator(device).manual_seed(int(mixed))


@functools.cache
def bfloat16_pays(device: torch.device) -> bool:
    """Return whether convolutions are trained faster in bfloat16 on this device than in float32.

    A GPU is asked; a processor is measured, once, in a fifth of a second: with the instructions for it (AMX,
    AVX-512 BF16) bfloat16 takes half the time of float32, without them ten times.
    """
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return device.type == "cpu" and _convolution_seconds(torch.bfloat16) < _convolution_seconds(torch.float32)


@torch.enable_grad()
def _convolution_seconds(dtype: torch.dtype) -> float:
    """Return the shortest time of a tool's layer, forward and backward, on the CPU."""
    images = torch.zeros(4, 48, 32, 32, dtype=dtype).contiguous(memory_format=torch.channels_last)
    weight = torch.zeros(48, 48, 3, 3, dtype=dtype, requires_grad=True)
    seconds = []
    for _ in range(5):
        began = time.perf_counter()
        F.conv2d(images, weight, padding=1).sum().backward()
        seconds.append(time.perf_counter() - began)
    return min(seconds)
