"""Many images in one call: worked on side by side, reported in their order."""

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Generic, TypeVar

from rlrestore.runtime import Runtime

PIXELS_HELD = 32_000_000
"""Of the images that are being read, restored or written: it bounds the memory. A larger one is alone."""
PIXELS_HELD_BESIDE = 4 * PIXELS_HELD
"""The same where another device than the cores computes: enough images are read and written meanwhile to keep
it busy."""
HELD_PER_WORKER = 4
"""Images at most: enough that no thread waits, few enough that an interrupted run soon ends."""

J = TypeVar("J")
T = TypeVar("T")


class Batch(Generic[J, T]):
    """Work on many images, reported in the order in which it was submitted."""

    def __init__(
        self,
        report: Callable[[J, Future[T]], None],
        beside: Executor,
        writers: Executor,
        most: int,
        pixels: int = PIXELS_HELD,
    ) -> None:
        """Begin with nothing.

        Args:
            report: Called with every job when its work is done, or has failed.
            beside: Threads for the whole work on an image.
            writers: Threads for the last part of it.
            most: Images that are in hand at a time.
            pixels: Of these images, all together, unless one alone has more.
        """
        self._report, self._beside, self._writers = report, beside, writers
        self._most, self._most_pixels = most, pixels
        self._waiting: deque[tuple[J, int, Future[T]]] = deque()

    def submit(self, job: J, pixels: int, work: Callable[[], T]) -> None:
        """Have another thread do the work on an image of so many pixels."""
        self._make_room(pixels)
        self._waiting.append((job, pixels, self._beside.submit(work)))

    def do_here(self, job: J, pixels: int, work: Callable[[], Callable[[], T]]) -> None:
        """Do the work on an image here, but for its last part, which is what it returns."""
        self._make_room(pixels)
        try:
            done = self._writers.submit(work())
        except Exception as error:  # noqa: BLE001  # it is reported in its turn
            done = Future()
            done.set_exception(error)
        self._waiting.append((job, pixels, done))

    def finish(self) -> None:
        """Wait until all is done and reported; work that was cancelled is not reported."""
        while self._waiting:
            self._report_first()

    def _make_room(self, pixels: int) -> None:
        """Report what is done, and wait while an image of so many pixels would be too much."""
        while self._waiting and (
            self._waiting[0][2].done()
            or len(self._waiting) >= self._most
            or sum(held for _, held, _ in self._waiting) + pixels > self._most_pixels
        ):
            self._report_first()

    def _report_first(self) -> None:
        job, _, work = self._waiting[0]
        if not work.cancelled():
            work.exception()  # which waits, and may be interrupted
        self._waiting.popleft()
        if not work.cancelled():
            self._report(job, work)


def usual_workers(runtime: Runtime) -> int:
    """Return how many images are worked on at a time: a core each, two where it waits for another device."""
    cores = max(2, runtime.threads)
    return cores if runtime.device == "cpu" else 2 * cores


@contextmanager
def batch(report: Callable[[J, Future[T]], None], workers: int, runtime: Runtime) -> Iterator[Batch[J, T]]:
    """Work with so many threads, a core each, and at the end wait for all that was submitted.

    After an error or an interruption nothing is begun any more, but what was begun is finished and reported.

    Args:
        report: Called with every job when its work is done, or has failed.
        workers: How many threads do whole images, and as many the last part of one.
        runtime: The model that they share.
    """
    cores, on_cores = runtime.threads, runtime.device == "cpu"
    one_core = ThreadPoolExecutor(workers, "beside", initializer=runtime.set_threads, initargs=(1,))
    with one_core as beside, ThreadPoolExecutor(workers, "writer") as writers:
        pixels = PIXELS_HELD if on_cores else PIXELS_HELD_BESIDE
        work = Batch(report, beside, writers, HELD_PER_WORKER * workers, pixels)
        try:
            yield work
            work.finish()
        finally:
            beside.shutdown(cancel_futures=True)
            work.finish()
            runtime.set_threads(cores)  # for threads to come: what a thread sets, they begin with
