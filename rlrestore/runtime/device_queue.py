"""Calls from many threads, computed on one device in few batches.

A GPU is kept busy by batches, not by images. Threads that restore a photograph each, and tiles of one, ask
for the same few networks; what waits for one network in one size is computed together. While a batch is
computed, the next is put together and uploaded, and the one before it downloaded.
"""

import logging
import math
from collections import deque
from collections.abc import Callable, Hashable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from threading import Lock
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rlrestore.errors import RlrestoreError
from rlrestore.runtime.transfers import Wait, is_out_of_memory, transfers_of
from rlrestore.toolbox.toolbox import rounded_up

Array = NDArray[Any]
Arrays = tuple[Array, ...]
Function = Callable[..., tuple[Tensor, ...]]
"""From tensors on the device, a row for each item of a batch, to others with as many rows."""

BATCH_PIXELS = 1 << 22
"""Of a batch: 16 tiles of 512×512, 64 photographs of 256×256. It bounds the memory of the device."""
IN_FLIGHT = 2
"""Batches that are on the device at a time: one that is computed and one that is copied."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Call:
    """What one thread asked for: arrays of as many rows each, the first of them images `(B, C, h, w)`."""

    key: Hashable
    function: Function
    arrays: Arrays
    result: "Future[Arrays]" = field(default_factory=Future)

    @property
    def rows(self) -> int:
        return len(self.arrays[0])

    @property
    def pixels(self) -> int:
        return self.rows * math.prod(self.arrays[0].shape[2:])


@dataclass(frozen=True)
class _Batch:
    """Calls that were computed together, and their results on the way to the host, in parts."""

    calls: Sequence[_Call]
    parts: Sequence[tuple[Wait, ...]]

    def deliver(self) -> None:
        """Wait for the results, and hand each call its rows."""
        arrived = [tuple(wait().numpy() for wait in part) for part in self.parts]
        columns = zip(*arrived, strict=True)
        whole = [parts[0] if len(parts) == 1 else np.concatenate(parts) for parts in columns]
        for call, (first, last) in zip(self.calls, _spans(self.calls), strict=True):
            call.result.set_result(tuple(column[first:last] for column in whole))


class DeviceQueue:
    """Computes on a device what any number of threads ask for.

    Attributes:
        batch_pixels: Pixels of a batch at most, where a single call has no more. It is halved when the device
            runs out of memory, which loses nothing.
    """

    def __init__(self, device: torch.device, batch_pixels: int = BATCH_PIXELS) -> None:
        """Begin with nothing to do.

        Args:
            device: Where to compute.
            batch_pixels: Pixels of a batch at most.
        """
        self.batch_pixels = batch_pixels
        self._device, self._transfers = device, transfers_of(device)
        self._waiting: deque[_Call] = deque()
        self._guard = Lock()
        self._in_flight: deque[_Batch] = deque()
        self._thread = ThreadPoolExecutor(1, "device")

    def submit(self, key: Hashable, function: Function, *arrays: Array) -> "Future[Arrays]":
        """Ask for a function of some arrays.

        Args:
            key: What is computed together: calls of one key have one function and shapes that differ in
                their rows alone.
            function: What to compute; no row may depend on another.
            arrays: As many rows each, the first `(B, C, h, w)`; they stay as they are until the result is
                there.

        Returns:
            What the function returns, on the host; or its error. A device with too little memory for one row
            is a `RlrestoreError`.
        """
        call = _Call(key, function, arrays)
        with self._guard:
            self._waiting.append(call)
        self._thread.submit(self._advance)
        return call.result

    @torch.inference_mode()
    def _advance(self) -> None:
        """Launch one batch, and deliver what need not wait for further ones."""
        calls = self._gather()
        if calls:
            self._launch(calls)
        while self._in_flight and (len(self._in_flight) >= IN_FLIGHT or not self._waiting):
            batch = self._in_flight.popleft()
            try:
                batch.deliver()
            except Exception as error:  # noqa: BLE001  # whoever asked is told
                _fail(batch.calls, error)

    def _gather(self) -> list[_Call]:
        """Take the call that waits longest, and others that go with it."""
        with self._guard:
            together: list[_Call] = []
            others: deque[_Call] = deque()
            pixels = 0
            for call in self._waiting:
                fits = not together or (
                    call.key == together[0].key and pixels + call.pixels <= self.batch_pixels
                )
                (together if fits else others).append(call)
                pixels += call.pixels if fits else 0
            self._waiting = others
            return together

    def _launch(self, calls: Sequence[_Call]) -> None:
        """Begin to compute a batch; where that fails, but for memory, each call for itself."""
        try:
            columns = zip(*(call.arrays for call in calls), strict=True)
            batch = [self._joined(column) for column in columns]
            parts = list(self._compute(calls[0].function, batch))
        except RlrestoreError as error:
            _fail(calls, error)
        except Exception as error:  # noqa: BLE001  # whoever asked is told
            if len(calls) == 1:
                _fail(calls, error)
            else:
                for call in calls:
                    self._launch([call])
        else:
            self._in_flight.append(_Batch(calls, parts))

    def _joined(self, arrays: Sequence[Array]) -> Tensor:
        """Return arrays one below the other, images in the order in which convolutions run fastest."""
        rows, first = sum(map(len, arrays)), arrays[0]
        room = rows if self._device.type == "cpu" else rounded_up(rows)
        dtype = torch.from_numpy(first[:0]).dtype
        if first.ndim == 4:
            channels, height, width = first.shape[1:]
            joined = self._transfers.room((room, height, width, channels), dtype).permute(0, 3, 1, 2)
        else:
            joined = self._transfers.room((room, *first.shape[1:]), dtype)
        np.concatenate(arrays, out=joined.numpy()[:rows])
        joined[rows:] = 0  # computed as well, and handed to nobody
        return joined

    def _compute(self, function: Function, batch: Sequence[Tensor]) -> Iterator[tuple[Wait, ...]]:
        """Compute a batch, in halves where the device has too little memory.

        Raises:
            RlrestoreError: It has too little for one row.
        """
        try:
            whole = self._attempt(function, batch)
        except RuntimeError as error:
            rows, _, height, width = batch[0].shape
            if not is_out_of_memory(error):
                raise
            if rows == 1:
                raise RlrestoreError(
                    f"the device {self._device} has too little memory for {width}×{height} pixels: "
                    "end what else computes there, or leave out --device"
                ) from error
        else:
            yield whole
            return
        self._shrink()
        for half in zip(*(part.chunk(2) for part in batch), strict=True):
            yield from self._compute(function, half)

    def _attempt(self, function: Function, batch: Sequence[Tensor]) -> tuple[Wait, ...]:
        results = function(*map(self._transfers.upload, batch))
        return tuple(map(self._transfers.download, results))

    def _shrink(self) -> None:
        """Make smaller batches from now on."""
        self.batch_pixels = max(1, self.batch_pixels // 2)
        self._transfers.free()
        log.warning("%s: out of memory; half as much at a time from now on", self._device)


def _spans(calls: Sequence[_Call]) -> Iterator[tuple[int, int]]:
    """Yield the first and the last row of each call in their batch."""
    first = 0
    for call in calls:
        yield first, first + call.rows
        first += call.rows


def _fail(calls: Sequence[_Call], error: Exception) -> None:
    for call in calls:
        if not call.result.done():
            call.result.set_exception(error)
