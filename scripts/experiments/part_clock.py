"""How long each part of a loop takes, on a GPU by the GPU's own clock."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import ParamSpec, TypeVar

import torch

REST = "rest"
P = ParamSpec("P")
R = TypeVar("R")


def now(device: torch.device) -> float:
    """Return the time in seconds; on one thread of a processor its own time, whatever else it does."""
    if device.type == "cpu" and torch.get_num_threads() == 1:
        return time.process_time()
    return time.perf_counter()


class PartClock:
    """Divides the time among parts; what lies inside another part counts for the inner one alone."""

    def __init__(self, device: torch.device) -> None:
        """Begin in no part."""
        self.device = device
        self._inside = [REST]
        self._marks: list[tuple[float | torch.Event, str]] = []

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Count the time within for a part."""
        self._inside.append(name)
        self._mark()
        try:
            yield
        finally:
            self._inside.pop()
            self._mark()

    def clocked(self, name: str, function: Callable[P, R]) -> Callable[P, R]:
        """Return a function whose time counts for a part."""

        def run(*args: P.args, **kwargs: P.kwargs) -> R:
            with self.part(name):
                return function(*args, **kwargs)

        return run

    def start(self) -> None:
        """Forget what was before; the device must have come to the end of its work."""
        self._marks.clear()
        self._mark()

    def read(self) -> dict[str, float]:
        """Return the seconds of each part since the start; waits for the device."""
        self._mark()
        if self.device.type != "cpu":
            torch.accelerator.synchronize(self.device)
        spent: dict[str, float] = {}
        for (begin, name), (end, _) in pairwise(self._marks):
            spent[name] = spent.get(name, 0.0) + _between(begin, end)
        return spent

    def _mark(self) -> None:
        """Count from here on for the innermost part."""
        stamp: float | torch.Event = now(self.device)
        if self.device.type != "cpu":
            stamp = torch.Event(self.device, enable_timing=True)
            stamp.record()
        self._marks.append((stamp, self._inside[-1]))


def _between(begin: float | torch.Event, end: float | torch.Event) -> float:
    """Return the seconds between two marks."""
    if isinstance(begin, torch.Event) and isinstance(end, torch.Event):
        return float(begin.elapsed_time(end)) / 1000
    assert isinstance(begin, float) and isinstance(end, float)  # noqa: S101, PT018  # marks of one device are alike
    return end - begin
