"""Many images in one call: worked on side by side, told of in their order."""

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Generic, TypeVar

from rlrestore.cli.planning import Job

PIXELS_HELD = 32_000_000
"""Of all images that are read and not yet written: it bounds the memory. A larger image is held alone."""
SMALL_PIXELS = 1_000_000
"""Of a small image. On a processor, small images are restored side by side, each by its share of the cores; a
larger one takes them all."""

T = TypeVar("T")


class InOrder(Generic[T]):
    """Work that other threads do, told of in the order in which it was given out."""

    def __init__(self, tell: Callable[[Job, Future[T]], None]) -> None:
        """Begin with nothing.

        Args:
            tell: Told of every job when its work is done, or has failed.
        """
        self._tell = tell
        self._waiting: deque[tuple[Job, int, Future[T]]] = deque()

    def add(self, job: Job, pixels: int, work: Future[T]) -> None:
        """Take work that keeps so many pixels in memory; wait while there is too much."""
        self._waiting.append((job, pixels, work))
        while self._waiting and (
            self._waiting[0][2].done() or sum(held for _, held, _ in self._waiting) > PIXELS_HELD
        ):
            self._tell_first()

    def finish(self) -> None:
        """Wait until all is done and told; work that was cancelled is not told."""
        while self._waiting:
            self._tell_first()

    def _tell_first(self) -> None:
        job, _, work = self._waiting[0]
        if not work.cancelled():
            work.exception()  # which waits, and may be interrupted
        self._waiting.popleft()
        if not work.cancelled():
            self._tell(job, work)
