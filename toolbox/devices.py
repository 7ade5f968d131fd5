"""Choosing where to compute."""

import torch

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
