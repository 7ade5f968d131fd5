"""How batches reach a device, and their results the host: all that is CUDA's alone in restoring."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

Wait = Callable[[], Tensor]
"""Waits until a result is on the host, and returns it."""


class Transfers:
    """Copies that wait until they are made; for every device but CUDA's."""

    def __init__(self, device: torch.device) -> None:
        """Copy to and from a device."""
        self.device = device

    def room(self, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
        """Return uninitialised memory of the host from which to upload."""
        return torch.empty(tuple(shape), dtype=dtype)

    def upload(self, batch: Tensor) -> Tensor:
        """Return a batch on the device."""
        return batch.to(self.device)

    def download(self, result: Tensor) -> Wait:
        """Begin to copy a result to the host."""
        there = result.cpu()
        return lambda: there

    def free(self) -> None:
        """Give back what the device holds for later use, before less is asked of it."""


class CudaTransfers(Transfers):
    """Copies through pinned memory, on two streams of their own: the device computes meanwhile.

    What is computed is on the stream that is current where it is called.
    """

    def __init__(self, device: torch.device) -> None:
        """Make the streams."""
        super().__init__(device)
        self._up, self._down = torch.cuda.Stream(device), torch.cuda.Stream(device)

    def room(self, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
        """Return pinned memory, which torch gives out again only after copies from it have ended."""
        return torch.empty(tuple(shape), dtype=dtype, pin_memory=True)

    def upload(self, batch: Tensor) -> Tensor:
        """Return a batch on the device, before it is there: what is computed next waits for it there."""
        computing = torch.cuda.current_stream(self.device)
        with torch.cuda.stream(self._up):
            there = batch.to(self.device, non_blocking=True)
        computing.wait_stream(self._up)
        there.record_stream(computing)  # its memory belongs to the other stream
        return there

    def download(self, result: Tensor) -> Wait:
        """Begin to copy a result to the host once it is computed."""
        host = torch.empty_like(result, device="cpu", pin_memory=True)
        self._down.wait_stream(torch.cuda.current_stream(self.device))
        with torch.cuda.stream(self._down):
            host.copy_(result, non_blocking=True)
            result.record_stream(self._down)
            copied = torch.cuda.Event()
            copied.record(self._down)

        def wait() -> Tensor:
            copied.synchronize()
            return host

        return wait

    def free(self) -> None:
        """Give back what torch holds of the device's memory."""
        torch.cuda.empty_cache()


def transfers_of(device: torch.device) -> Transfers:
    """Return how batches reach a device."""
    return CudaTransfers(device) if device.type == "cuda" else Transfers(device)


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether a device had too little memory; Apple's says so only in words."""
    return isinstance(error, torch.OutOfMemoryError) or (
        isinstance(error, RuntimeError) and "out of memory" in str(error)
    )
