"""Progress of work on one image that may take minutes: a bar, a callback, and an early end."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from threading import Event
from typing import Any, TypeAlias, TypeVar

from rlrestore.errors import CancelledRestorationError

PATIENCE_S = 1.0
"""Work that is done before this shows no bar."""

Item = TypeVar("Item")


def progress_bar(items: Sequence[Item], title: str | None, unit: str) -> Iterable[Item]:
    """Pass items on one by one, with a bar for those that have been dealt with.

    The bar goes away with the last item; below the bar of a longer list of images it takes a line of its own.

    Args:
        items: What is worked on.
        title: What the bar is called; None for no bar. There is none either where stderr is no terminal.
        unit: What one item is called.
    """
    if title is None:
        return items
    from tqdm import tqdm  # a machine that only trains need not have it

    # disable=None: tqdm finds out whether stderr is a terminal
    return tqdm(items, title, unit=unit, leave=False, delay=PATIENCE_S, disable=None)


@dataclass(frozen=True)
class Progress:
    """How far a restoration is.

    Attributes:
        share: From 0 to 1; it leaps ahead where the agent stops before the last step.
        step: That it is at, from 1.
        steps: That it takes at most.
    """

    share: float
    step: int
    steps: int


Report: TypeAlias = Callable[[Progress], None]
Follow: TypeAlias = Callable[[Sequence[Any]], Iterable[Any]]
"""Passes on items one by one, and follows how many have been dealt with."""


class Monitor:
    """Follows a restoration, step by step."""

    def __init__(self, progress: bool | Report = False, cancel: Event | None = None) -> None:
        """Begin before the first step.

        Args:
            progress: Whether to show bars on stderr, or who is told.
            cancel: Ends the work once it is set.
        """
        self._bars = progress is True
        self._report: Report | None = progress if callable(progress) else None
        self._cancel = cancel
        self._step, self._steps = 1, 1

    def begin(self, step: int, steps: int) -> None:
        """Begin a step, from 1, of so many at most."""
        self._step, self._steps = step, steps

    def end(self) -> None:
        """Tell that all is done."""
        self._tell(self._steps - self._step + 1.0)

    def part(self, unit: str, begin: float, end: float) -> Follow:
        """Return what follows a part of a step.

        Args:
            unit: What one item is called.
            begin: Share of the step before the part.
            end: And after it.
        """
        return partial(self._follow, unit, begin, end)

    def _follow(self, unit: str, begin: float, end: float, items: Sequence[Item]) -> Iterator[Item]:
        title = f"step {self._step} of {self._steps}" if self._bars else None
        for number, item in enumerate(progress_bar(items, title, unit), 1):
            if self._cancel is not None and self._cancel.is_set():
                raise CancelledRestorationError("the restoration was cancelled")
            yield item
            self._tell(begin + (end - begin) * number / len(items))

    def _tell(self, share: float) -> None:
        if self._report is not None:
            self._report(Progress((self._step - 1 + share) / self._steps, self._step, self._steps))
