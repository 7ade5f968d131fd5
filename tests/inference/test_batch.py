"""The threads that work on many images: what they hold, in which order it is told, how it ends."""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from pathlib import Path

import pytest

from rlrestore.cli.planning import Job
from rlrestore.errors import ImageError
from rlrestore.inference import batch as module
from rlrestore.inference.batch import batch
from tests.patience import PATIENCE_S
from tests.toys import make_model


def jobs_of(*sources: Path) -> list[Job]:
    return [
        Job(source, source.with_name(f"{source.stem}_restored.png"), Path(source.name)) for source in sources
    ]


def test_a_large_image_waits_until_none_is_held_beside_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two of 6 and 4 pixels are held together; the one of 11 begins when both are told, here."""
    monkeypatch.setattr(module, "PIXELS_HELD", 10)
    told: list[str] = []
    gate = threading.Event()

    def tell(job: Job, done: Future[int]) -> None:
        told.append(f"{job.source}: {done.exception() or done.result()}")

    def slowly() -> int:
        gate.wait(PATIENCE_S)
        return 1

    def fail() -> int:
        raise ImageError("no")

    def largest() -> Callable[[], int]:
        assert told == ["one: 1", "two: no"]
        return lambda: 3

    one, two, three, four = jobs_of(Path("one"), Path("two"), Path("three"), Path("four"))
    with batch(tell, 2, make_model([])) as work:
        work.submit(one, 6, slowly)
        work.submit(two, 4, fail)
        assert told == []  # the second is done, but the first is not
        threading.Timer(0.1, gate.set).start()
        work.do_here(three, 11, largest)
        work.do_here(four, 1, fail)  # type: ignore[arg-type]  # it returns nothing
        assert told == ["one: 1", "two: no", "three: 3"]
    assert told[3:] == ["four: no"]


def test_no_more_images_are_held_than_keep_the_threads_busy() -> None:
    begun: list[int] = []
    told: list[int] = []

    def work_on(number: int) -> int:
        begun.append(number)
        return number

    def tell(_: Job, done: Future[int]) -> None:
        told.append(done.result())

    with batch(tell, 2, make_model([])) as work:
        for number, job in enumerate(jobs_of(*(Path(str(number)) for number in range(50)))):
            work.submit(job, 1, partial(work_on, number))
            assert number - len(told) < 4 * 2
    assert told == sorted(begun) == list(range(50))


def test_after_an_interruption_nothing_is_begun_and_what_was_begun_is_told() -> None:
    gate, begun = threading.Event(), threading.Barrier(3)
    told: list[str] = []

    def work_on(number: int) -> int:
        if number < 2:
            begun.wait(PATIENCE_S)
            gate.wait(PATIENCE_S)
        return number

    def tell(job: Job, done: Future[int]) -> None:
        told.append(f"{job.source}: {done.result()}")

    def run() -> None:
        with batch(tell, 2, make_model([])) as work:
            for number, job in enumerate(jobs_of(*(Path(str(number)) for number in range(6)))):
                work.submit(job, 1, partial(work_on, number))
            begun.wait(PATIENCE_S)
            last = work._waiting[-1][2]  # the two end once it is sure that it is never begun
            last.add_done_callback(lambda _: gate.set())
            raise KeyboardInterrupt("by Ctrl-C")

    with pytest.raises(KeyboardInterrupt, match="by Ctrl-C"):
        run()
    assert told == ["0: 0", "1: 1"]
