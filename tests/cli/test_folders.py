"""Many images in one call: side by side or not, told in their order, interrupted, skipped, counted."""

import json
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch
from PIL import Image

from rlrestore.cli.main import main
from rlrestore.cli.restore import largest_beside
from rlrestore.errors import UsageError
from rlrestore.imaging.io.files import read_photo
from rlrestore.imaging.io.photo import Photo
from rlrestore.inference import batch
from rlrestore.restorer import Restorer
from rlrestore.runtime.torch_runtime import TorchRuntime
from rlrestore.toolbox.toolbox import Toolbox
from tests.patience import PATIENCE_S, comes

Write = Callable[..., Path]


@pytest.fixture
def restore(toy_model: Path) -> Callable[..., int]:
    return lambda *arguments: main(["restore", *map(str, arguments), "--model", str(toy_model)])


@pytest.fixture
def cores() -> Iterator[int]:
    """Torch has several threads, as outside the tests."""
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    yield 4
    torch.set_num_threads(before)


def watch(monkeypatch: pytest.MonkeyPatch, begun: Callable[[Photo], object]) -> None:
    """Have something done with every image that is about to be restored."""
    real = Restorer.restore

    def watched(self: Restorer, photo: Photo, *args: Any, **options: Any) -> object:
        begun(photo)
        return real(self, photo, *args, **options)

    monkeypatch.setattr(Restorer, "restore", watched)


@pytest.mark.parametrize(("small", "beside"), [(1200, True), (1199, False)])
def test_small_images_are_restored_side_by_side(
    restore: Callable[..., int],
    write_image: Write,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    cores: int,
    small: int,
    beside: bool,
) -> None:
    """The first two of 1200 pixels wait for each other, a core each; larger ones take all cores in turn."""
    monkeypatch.setattr("rlrestore.cli.restore.SMALL_PIXELS", small)
    for number in range(2):
        write_image(f"in/{number}.png")
    both, threads = threading.Barrier(2), []

    def begun(_: Photo) -> None:
        threads.append(threading.get_ident())
        assert torch.get_num_threads() == (1 if beside else cores)
        if beside:
            both.wait(PATIENCE_S)

    watch(monkeypatch, begun)
    assert restore(tmp_path / "in", "--workers", 2) == 0
    assert len(set(threads)) == (2 if beside else 1)
    assert (threading.get_ident() in threads) != beside
    with ThreadPoolExecutor(1) as new:
        assert [torch.get_num_threads(), new.submit(torch.get_num_threads).result()] == [cores, cores]


def test_one_image_alone_has_all_cores(
    restore: Callable[..., int], write_image: Write, monkeypatch: pytest.MonkeyPatch, cores: int
) -> None:
    seen: list[tuple[int, int]] = []
    watch(monkeypatch, lambda _: seen.append((threading.get_ident(), torch.get_num_threads())))
    assert restore(write_image("photo.png")) == 0
    assert seen == [(threading.get_ident(), cores)]


def test_tools_that_remember_something_are_not_shared_by_threads(toy_model: Path) -> None:
    """A tool of one's own that keeps its input for a while gets no other's image meanwhile."""

    class Remembers(torch.nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            self.kept = images
            time.sleep(0.01)
            return self.kept + 0.1

    model = TorchRuntime.load(toy_model)
    toolbox = Toolbox(
        [replace(spec, custom="module") for spec in model.toolbox.specs],
        networks=[Remembers() for _ in model.toolbox.specs],
    )
    own = Restorer(TorchRuntime(toolbox, model.policy))
    assert model.concurrent
    assert not own.runtime.concurrent
    photos = [np.full((16, 16, 3), level, np.uint8) for level in range(0, 120, 15)]
    with ThreadPoolExecutor(4) as executor:
        restored = list(executor.map(lambda photo: own.restore(photo).image, photos))
    for photo, image in zip(photos, restored, strict=True):
        np.testing.assert_array_equal(image, own.restore(photo).image)


@pytest.mark.parametrize(
    ("device", "concurrent", "largest"),
    [("cpu", True, 1_000_000), ("cpu", False, 0), ("cuda", True, 32_000_000), ("mps", True, 32_000_000)],
)
def test_only_what_cannot_be_shared_is_restored_here(device: str, concurrent: bool, largest: int) -> None:
    """On the cores what is large and what a tool of one's own works on; on a GPU what is held alone."""
    restorer = SimpleNamespace(runtime=SimpleNamespace(device=device, concurrent=concurrent))
    assert largest_beside(cast("Restorer", restorer)) == largest


def test_what_is_small_and_what_is_large_is_told_in_one_order(
    restore: Callable[..., int],
    write_image: Write,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Seven images, of which two are larger than small and one is none; the first is done last."""
    monkeypatch.setattr("rlrestore.cli.restore.SMALL_PIXELS", 1200)
    for number in range(7):
        write_image(f"in/{number}.png", width={0: 39, 2: 80, 5: 80}.get(number, 40))
    (tmp_path / "in" / "4.png").write_text("no image")
    others: list[int] = []

    def begun(photo: Photo) -> None:
        if photo.width == 39:
            assert comes(lambda: len(others) == 5)
        else:
            others.append(photo.width)

    watch(monkeypatch, begun)
    assert restore(tmp_path / "in", "--json", "--workers", 4) == 1
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [Path(line["input"]).name for line in lines] == [f"{number}.png" for number in range(7)]
    assert ["error" in line for line in lines] == [number == 4 for number in range(7)]


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
    monkeypatch.setattr("rlrestore.cli.restore.SMALL_PIXELS", 0)
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
