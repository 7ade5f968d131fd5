"""Many images, one device: other threads read what comes next and write what is done."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from functools import partial
from typing import Generic, TypeVar

from rlrestore.cli.planning import Job
from rlrestore.imaging.files import claimed_pixels, read_photo
from rlrestore.imaging.photo import Photo

PIXELS_WAITING = 32_000_000
"""Of the images that are read ahead together, and of those that are not yet written: it bounds the memory. A
larger image is read when its turn comes, and written before the next is begun."""

T = TypeVar("T")


def read_ahead(jobs: Iterable[Job], executor: Executor) -> Iterator[tuple[Job, Callable[[], Photo]]]:
    """Yield every job with what gives its photo or raises why not; those to come are being read meanwhile."""
    waiting: deque[tuple[Job, int, Future[Photo]]] = deque()
    for job in jobs:
        pixels = claimed_pixels(job.source)
        while waiting and sum(pixels for _, pixels, _ in waiting) + pixels > PIXELS_WAITING:
            earlier, _, photo = waiting.popleft()
            yield earlier, photo.result
        if pixels > PIXELS_WAITING:
            yield job, partial(read_photo, job.source)
        else:
            waiting.append((job, pixels, executor.submit(read_photo, job.source)))
    while waiting:
        earlier, _, photo = waiting.popleft()
        yield earlier, photo.result


class InOrder(Generic[T]):
    """Work that other threads do, told of in the order in which it was given out."""

    def __init__(self, tell: Callable[[Job, Future[T]], None], executor: Executor) -> None:
        """Begin with nothing.

        Args:
            tell: Told of every job when its work is done, or has failed.
            executor: Who works.
        """
        self._tell, self._executor = tell, executor
        self._waiting: deque[tuple[Job, int, Future[T]]] = deque()

    def give(self, job: Job, pixels: int, work: Callable[[], T]) -> None:
        """Give out work that keeps so many pixels in memory; wait while there is too much."""
        self._waiting.append((job, pixels, self._executor.submit(work)))
        while self._waiting and (
            self._waiting[0][2].done() or sum(held for _, held, _ in self._waiting) > PIXELS_WAITING
        ):
            self._tell_first()

    def finish(self) -> None:
        """Wait until all is done and told."""
        while self._waiting:
            self._tell_first()

    def _tell_first(self) -> None:
        job, _, done = self._waiting[0]
        done.exception()  # which waits, and may be interrupted
        self._waiting.popleft()
        self._tell(job, done)
