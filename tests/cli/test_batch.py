"""Many images in one call: what waits, in which order it is told, what is skipped and how it is written."""

import json
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from rlrestore.cli import batch
from rlrestore.cli.batch import InOrder
from rlrestore.cli.main import main
from rlrestore.cli.planning import Job
from rlrestore.errors import ImageError, UsageError
from rlrestore.imaging.files import read_photo
from rlrestore.restore import Restorer

Write = Callable[..., Path]


@pytest.fixture
def restore(toy_model: Path) -> Callable[..., int]:
    return lambda *arguments: main(["restore", *map(str, arguments), "--model", str(toy_model)])


def jobs_of(*sources: Path) -> list[Job]:
    return [Job(source, source.with_name(f"{source.stem}_restored.png")) for source in sources]


@pytest.mark.parametrize(("small", "beside"), [(1200, True), (1199, False)])
def test_small_images_are_restored_side_by_side(
    restore: Callable[..., int],
    write_image: Write,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    small: int,
    beside: bool,
) -> None:
    """The first two of 1200 pixels wait for each other, each with half of the cores; larger ones cannot."""
    monkeypatch.setattr(batch, "SMALL_PIXELS", small)
    for number in range(2):
        write_image(f"in/{number}.png")
    real, both = Restorer.restore, threading.Barrier(2)
    here, cores = threading.get_ident(), torch.get_num_threads()

    def watched(self: Restorer, *args: Any, **options: Any) -> object:
        assert (threading.get_ident() != here) == beside
        assert torch.get_num_threads() == (max(1, cores // 2) if beside else cores)
        if beside:
            both.wait(timeout=20)
        return real(self, *args, **options)

    monkeypatch.setattr(Restorer, "restore", watched)
    assert restore(tmp_path / "in", "--workers", 2) == 0
    assert torch.get_num_threads() == cores


def test_one_image_alone_has_all_cores(
    restore: Callable[..., int], write_image: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: list[int] = []
    real = Restorer.restore

    def watched(self: Restorer, *args: Any, **options: Any) -> object:
        threads.append(threading.get_ident())
        return real(self, *args, **options)

    monkeypatch.setattr(Restorer, "restore", watched)
    assert restore(write_image("photo.png")) == 0
    assert threads == [threading.get_ident()]


def test_what_is_small_and_what_is_large_is_told_in_one_order(
    restore: Callable[..., int],
    write_image: Write,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Seven images, of which two are larger than small and one is none."""
    monkeypatch.setattr(batch, "SMALL_PIXELS", 1200)
    for number in range(7):
        write_image(f"in/{number}.png", width=80 if number in (2, 5) else 40)
    (tmp_path / "in" / "4.png").write_text("no image")
    assert restore(tmp_path / "in", "--json") == 1
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [Path(line["input"]).name for line in lines] == [f"{number}.png" for number in range(7)]
    assert ["error" in line for line in lines] == [number == 4 for number in range(7)]


def test_work_is_told_in_its_order_and_waited_for_where_it_holds_too_much(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(batch, "PIXELS_HELD", 10)
    told: list[str] = []
    gate = threading.Event()

    def tell(job: Job, done: Future[int]) -> None:
        told.append(f"{job.source}: {done.exception() or done.result()}")

    def slowly() -> int:
        gate.wait()
        return 1

    def fail() -> int:
        raise ImageError("no")

    with ThreadPoolExecutor(2) as executor:
        works = InOrder(tell)
        one, two, three = jobs_of(Path("one"), Path("two"), Path("three"))
        works.add(one, 6, executor.submit(slowly))
        works.add(two, 4, executor.submit(fail))
        assert told == []  # the second is done, but the first is not
        gate.set()
        works.add(three, 11, executor.submit(lambda: 3))
        assert told == ["one: 1", "two: no", "three: 3"]


def test_work_whose_wait_is_interrupted_is_told_all_the_same() -> None:
    told: list[str] = []

    class Interrupted(Future[int]):
        waits = 0

        def exception(self, timeout: float | None = None) -> BaseException | None:
            self.waits += 1
            if self.waits == 1:
                raise KeyboardInterrupt("by Ctrl-C")
            return super().exception(timeout)

    done = Interrupted()
    done.set_result(1)
    works: InOrder[int] = InOrder(lambda job, _: told.append(str(job.source)))
    with pytest.raises(KeyboardInterrupt, match="by Ctrl-C"):
        works.add(jobs_of(Path("one"))[0], 1, done)
    works.finish()
    assert told == ["one"]


def test_work_that_was_cancelled_is_not_told() -> None:
    told: list[str] = []
    works: InOrder[int] = InOrder(lambda job, _: told.append(str(job.source)))
    cancelled: Future[int] = Future()
    works.add(jobs_of(Path("one"))[0], 1, cancelled)
    assert cancelled.cancel()
    works.finish()
    assert told == []


def test_the_number_of_workers_changes_no_result(
    restore: Callable[..., int], write_image: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(7):
        write_image(f"in/{number}.png", level=20 * number)
    (tmp_path / "in" / "3.png").write_text("no image")
    said = []
    for workers in (1, 4):
        assert restore(tmp_path / "in", "-o", tmp_path / f"{workers}/", "--workers", workers, "--json") == 1
        lines = map(json.loads, capsys.readouterr().out.splitlines())
        said.append([(Path(line["input"]).name, line.get("tools"), "error" in line) for line in lines])
    assert said[0] == said[1]
    assert [name for name, _, _ in said[0]] == [f"{number}.png" for number in range(7)]
    one, four = (sorted((tmp_path / folder).iterdir()) for folder in "14")
    assert [path.read_bytes() for path in one] == [path.read_bytes() for path in four]
    assert len(one) == 6


def test_an_interrupted_run_goes_on(
    restore: Callable[..., int],
    write_image: Write,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Ctrl-C at the third of five images; the same command with --skip-existing does the others alone."""
    for number in range(5):
        write_image(f"in/{number}.png")
    command = (tmp_path / "in", "-o", tmp_path / "out", "--trace", "--skip-existing")
    restored: list[object] = []
    real = Restorer.restore

    def interrupted(self: Restorer, *args: object, **options: object) -> object:
        if len(restored) == 2:
            raise KeyboardInterrupt
        restored.append(args)
        return real(self, *args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(Restorer, "restore", interrupted)
    assert restore(*command) == 130
    monkeypatch.setattr(Restorer, "restore", real)
    done = {path.name for path in (tmp_path / "out").iterdir()}
    assert not any(name.endswith(".tmp") for name in done)
    capsys.readouterr()
    assert restore(*command, "--json") == 0
    out, err = capsys.readouterr()
    skipped = [json.loads(line) for line in out.splitlines() if "skipped" in line]
    assert len(skipped) == 2
    assert "3 of 5 images restored, 2 skipped" in err
    assert len(list((tmp_path / "out").iterdir())) == 15


def test_an_image_is_let_go_before_the_next_is_restored(
    restore: Callable[..., int], write_image: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Images too large to be held beside others: of the last one nothing is in memory any more."""
    monkeypatch.setattr(batch, "PIXELS_HELD", 0)
    monkeypatch.setattr(batch, "SMALL_PIXELS", 0)
    for number in range(3):
        write_image(f"in/{number}.png")
    real = Restorer.restore
    last: list[weakref.ref[Any]] = []

    def watched(self: Restorer, *args: Any, **options: Any) -> object:
        assert all(earlier() is None for earlier in last)
        restoration = real(self, *args, **options)
        last.append(weakref.ref(restoration.photo))
        return restoration

    monkeypatch.setattr(Restorer, "restore", watched)
    assert restore(tmp_path / "in") == 0
    assert len(last) == 3


def test_transparency_that_cannot_be_kept_is_told_before_the_work(
    restore: Callable[..., int],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    Image.new("RGBA", (40, 30)).save(tmp_path / "photo.png")
    monkeypatch.delattr(Restorer, "restore")
    assert restore(tmp_path / "photo.png", "--format", "jpg") == 1
    assert "expected a format that keeps the photo's transparency" in capsys.readouterr().err


def test_what_was_restored_before_wrong_usage_shows_is_written(
    restore: Callable[..., int], write_image: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(3):
        write_image(f"in/{number}.png")
    real, calls = Restorer.restore, []

    def once(self: Restorer, *args: Any, **options: Any) -> object:
        calls.append(args)
        if len(calls) == 3:
            raise UsageError("no")
        return real(self, *args, **options)

    monkeypatch.setattr(Restorer, "restore", once)
    assert restore(tmp_path / "in", "-o", tmp_path / "out/") == 2
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["0_restored.png", "1_restored.png"]


def test_the_summary_says_what_was_done(
    restore: Callable[..., int], write_image: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_image("in/a.png")
    write_image("in/b.png")
    (tmp_path / "in" / "c.png").write_text("no image")
    write_image("in/a_restored.png")

    assert restore(tmp_path / "in", "--skip-existing", "--max-steps", 2) == 1
    summary = capsys.readouterr().err.splitlines()[-1]
    assert summary == (
        "rlrestore: 1 of 3 images restored, 1 skipped, 1 failed; mean expected gain +2.00 dB; deblur-1 2×"
    )


@pytest.mark.parametrize("name", ["png", "tif", "webp", "bmp", "ppm", "jpg", "avif"])
def test_the_format_of_the_results_can_be_chosen(
    restore: Callable[..., int], write_image: Write, tmp_path: Path, name: str
) -> None:
    assert restore(write_image("photo.png"), "--format", name) == 0
    pixels = read_photo(tmp_path / f"photo_restored.{name}").pixels * 255
    np.testing.assert_allclose(pixels, 176.5, atol=0.51 if name not in ("jpg", "avif") else 2)


@pytest.mark.parametrize("name", ["jpg", "webp", "avif"])
def test_less_quality_makes_a_smaller_file(restore: Callable[..., int], tmp_path: Path, name: str) -> None:
    grain = np.random.default_rng(0).integers(0, 100, (64, 64, 3), np.uint8)
    Image.fromarray(grain).save(tmp_path / "photo.png")
    sizes = []
    for quality in (20, 80):
        out = tmp_path / f"{quality}.{name}"
        assert restore(tmp_path / "photo.png", "-o", out, "--quality", quality) == 0
        sizes.append(out.stat().st_size)
    assert sizes[0] < sizes[1]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--quality", "50"], "--quality goes with jpg, avif and webp, but the result photo_restored.png"),
        (["--quality", "0", "--format", "jpg"], "expected a whole number from 1 to 100, got '0'"),
        (["--format", "gif"], "invalid choice: 'gif'"),
        (["--format", "jpg", "-o", "x.png"], "--format jpg does not go with -o x.png: leave one of them out"),
        (["--workers", "0"], "expected a whole number above 0, got '0'"),
    ],
)
def test_what_does_not_go_together_is_wrong_usage(
    restore: Callable[..., int],
    write_image: Write,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    words: str,
) -> None:
    photo = write_image("photo.png")
    try:
        code = restore(photo, *options)
    except SystemExit as end:
        code = int(str(end))
    assert code == 2
    assert words in capsys.readouterr().err
