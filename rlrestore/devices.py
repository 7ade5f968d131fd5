"""Choosing where to compute."""

import ctypes
import sys
from collections.abc import Mapping

import numpy as np
import torch

from rlrestore.errors import UsageError

DEVICE_KINDS = frozenset({"cpu", "cuda", "mps"})
GPU_NAMES = "a GPU of NVIDIA is called cuda, Apple's mps"

MALLOPT_TRIM_THRESHOLD, MALLOPT_MMAP_MAX = -1, -4
"""Parameters of glibc's `mallopt`."""


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
        hint = "" if device.type in DEVICE_KINDS else f"; {GPU_NAMES}"
        raise UsageError(f"device {name!r} is not available: expected one of {', '.join(there)}{hint}")
    return device


def numbered_generator(device: torch.device, seed: int, number: int, rank: int = 0) -> torch.Generator:
    """Return the random stream of a step or a round, which depends on nothing but the seed and its number.

    Processes that train together have one each, by their rank. All are mixed into 32 bits, for torch's
    generator on the CPU ignores all others of its seed.
    """
    mixed = np.random.SeedSequence((seed, number, rank)).generate_state(1)[0]
    return torch.Generator(device).manual_seed(int(mixed))


def training_precision(device: torch.device) -> torch.dtype:
    """Return in which precision convolutions are trained fastest on a device: bfloat16 or float32.

    With the instructions for it bfloat16 takes half the time of float32, without them ten times.
    """
    if device.type == "cuda":
        pays = bool(torch.cuda.is_bf16_supported(including_emulation=False))
    else:
        pays = device.type == "cpu" and multiplies_bfloat16(processor_flags())
    return torch.bfloat16 if pays else torch.float32


def restoring_precision(device: torch.device) -> torch.dtype:
    """Return in which precision tools restore fastest on a device without a difference that is seen.

    Processors that multiply matrices of bfloat16 (AMX) take a third of the time of float32 for a tool.
    """
    pays = device.type == "cpu" and bool(processor_flags().get("amx_bf16"))
    return torch.bfloat16 if pays else torch.float32


def precision_name(precision: torch.dtype) -> str:
    """Return what a precision is called in cards and checkpoints, such as `bfloat16`."""
    return str(precision).removeprefix("torch.")


def multiplies_bfloat16(flags: Mapping[str, object]) -> bool:
    """Return whether a processor of these flags multiplies bfloat16 (AMX or AVX-512 BF16)."""
    return bool(flags.get("amx_bf16") or flags.get("avx512_bf16"))


def processor_flags() -> Mapping[str, object]:
    """Return the processor's capabilities by name; none where torch is too old to tell them."""
    capabilities = getattr(torch.cpu, "get_capabilities", None)
    return capabilities() if capabilities is not None else {}


def keep_freed_memory() -> None:
    """Let this process keep the memory that it frees, where its C library can be told (glibc).

    A training frees and asks for the same megabytes in every step, and the system clears every page that it
    gives: a tenth of a processor's time. It is a setting of the whole process: for commands alone.
    """
    tell = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if tell is not None:
        tell(MALLOPT_MMAP_MAX, 0)
        tell(MALLOPT_TRIM_THRESHOLD, 2**31 - 1)
