"""`rlrestore restore`: where results go, what is said, and what is written beside them."""

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from rlrestore.cli.main import main
from rlrestore.imaging import progress

Write = Callable[..., Path]
Levels = Callable[[Path], set[int]]


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


@pytest.fixture
def restore(toy_model: Path) -> Callable[..., int]:
    def run(*arguments: object) -> int:
        return main(["restore", *map(str, arguments), "--model", str(toy_model)])

    return run


def test_the_result_stands_beside_the_input(
    restore: Callable[..., int],
    write_image: Write,
    levels: Levels,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    photo = write_image("photo.jpg")
    before = photo.read_bytes()

    assert restore(photo) == 0
    assert files(tmp_path) == ["photo.jpg", "photo_restored.png"]
    assert photo.read_bytes() == before
    assert levels(tmp_path / "photo_restored.png") <= {176, 177}
    out, err = capsys.readouterr()
    assert "deblur-1 > deblur-1 > deblur-1 (expected +3.00 dB)" in out
    assert err == ""


def test_the_trace_is_written_beside_the_result(
    restore: Callable[..., int], write_image: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photo, reference = write_image("photo.png"), write_image("other/reference.png", level=151)

    assert restore(photo, "--trace", "--reference", reference, "--max-steps", 1) == 0
    assert files(tmp_path)[1:] == [
        "photo.png",
        "photo_restored.json",
        "photo_restored.png",
        "photo_restored_trace.png",
    ]
    record = json.loads((tmp_path / "photo_restored.json").read_text("utf-8"))
    assert record["input"] == str(photo)
    assert record["tools"] == ["deblur-1"]
    assert record["input_psnr_db"] == pytest.approx(13.98, abs=0.01)  # 51 of 255 off: 20·log10(5)
    assert record["psnr_db"] == pytest.approx(20.0, abs=0.01)  # half of it is left
    out = capsys.readouterr().out
    assert "1     deblur-1  +1.00 dB       deblur-2 +0.50 dB  stop +0.00 dB" in out
    assert "PSNR 13.98 to 20.00 dB (+6.02)" in out
    with Image.open(tmp_path / "photo_restored_trace.png") as picture:
        assert picture.width > 600


def test_json_is_one_line_per_image_and_nothing_else(
    restore: Callable[..., int], write_image: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_image("a.png")
    (tmp_path / "b.png").write_text("no image")
    write_image("c.png")

    assert restore(tmp_path, "--json", "--trace") == 1
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [Path(line["input"]).name for line in lines] == ["a.png", "b.png", "c.png"]
    assert lines[0]["output"] == str(tmp_path / "a_restored.png")
    assert lines[0]["trace_json"] == str(tmp_path / "a_restored.json")
    assert lines[0]["steps"][0]["runners_up"][0] == {"tool": "deblur-2", "expected_gain_db": 0.5}
    assert "b.png" in lines[1]["error"]


def test_an_output_file_is_named_for_one_image(
    restore: Callable[..., int], write_image: Write, levels: Levels, tmp_path: Path
) -> None:
    photo = write_image("photo.png")

    assert restore(photo, "-o", tmp_path / "new" / "result.tif", "--trace") == 0
    assert files(tmp_path / "new") == ["result.json", "result.tif", "result_trace.png"]
    assert levels(tmp_path / "new" / "result.tif") <= {176, 177}


@pytest.mark.parametrize("out", ["there", "new/"])
def test_a_folder_is_meant_if_it_exists_or_by_its_slash(
    restore: Callable[..., int], write_image: Write, tmp_path: Path, out: str
) -> None:
    (tmp_path / "there").mkdir()

    assert restore(write_image("photo.png"), "-o", f"{tmp_path}/{out}") == 0
    assert files(tmp_path / out) == ["photo_restored.png"]


def test_a_folder_is_mirrored_and_the_second_run_skips_the_results_of_the_first(
    restore: Callable[..., int], write_image: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_image("in/a.png")
    write_image("in/deep/er/b.jpg")

    for _ in range(2):
        assert restore(tmp_path / "in", "-o", tmp_path / "in" / "out", "--trace") == 0
        assert "2 of 2 images restored" in capsys.readouterr().err
    results = [path for path in files(tmp_path / "in" / "out") if path.endswith("_restored.png")]
    assert results == ["a_restored.png", "deep/er/b_restored.png"]


def test_patterns_the_shell_left_alone_are_expanded(
    restore: Callable[..., int], write_image: Write, tmp_path: Path
) -> None:
    for name in ("a.png", "b.png", "sub/c.png", "b_restored.png", "d.jpg"):
        write_image(name)

    assert restore(tmp_path / "**" / "*.png", "-o", tmp_path / "out") == 0
    assert files(tmp_path / "out") == ["a_restored.png", "b_restored.png", "c_restored.png"]


def test_an_image_is_restored_once_however_often_it_is_named(
    restore: Callable[..., int], write_image: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photo = write_image("in/a.png")

    assert restore(photo, tmp_path / "in", photo.parent / ".." / "in" / "a.png", "--json") == 0
    assert len(capsys.readouterr().out.splitlines()) == 1


def test_a_result_named_on_its_own_is_restored_again(
    restore: Callable[..., int], write_image: Write, tmp_path: Path
) -> None:
    assert restore(write_image("a_restored.png")) == 0
    assert files(tmp_path) == ["a_restored.png", "a_restored_restored.png"]


def test_two_images_with_one_result_are_not_mixed_up(
    restore: Callable[..., int],
    write_image: Write,
    levels: Levels,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write_image("a.jpg", level=100)
    write_image("a.png", level=20)
    write_image("b.png")

    assert restore(tmp_path, "--skip-existing") == 0
    assert levels(tmp_path / "a_jpg_restored.png") <= {176, 177}
    assert levels(tmp_path / "a_png_restored.png") <= {96, 97}
    assert (tmp_path / "b_restored.png").exists()
    assert restore(tmp_path, "--skip-existing") == 0
    assert "0 of 3 images restored, 3 skipped" in capsys.readouterr().err


def test_a_result_that_another_would_overwrite_is_left_out(
    restore: Callable[..., int], write_image: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = write_image("in/a.png"), write_image("also/a.png")
    assert restore(first, second, write_image("b.png"), "-o", tmp_path / "out/") == 1
    assert files(tmp_path / "out") == ["a_png_restored.png", "b_restored.png"]
    err = capsys.readouterr().err
    assert "a.png' is left out: its result" in err
    assert "would overwrite that of" in err
    assert "2 of 3 images restored, 1 failed" in err


@pytest.mark.parametrize("mode", ["global", "local"])
def test_both_modes_run(
    restore: Callable[..., int],
    write_image: Write,
    levels: Levels,
    tmp_path: Path,
    mode: str,
) -> None:
    assert restore(write_image("photo.png", width=150), "--mode", mode, "--json") == 0
    assert levels(tmp_path / "photo_restored.png") <= {176, 177}


class Terminal(io.StringIO):
    """What is written to a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("mode", ["global", "local"])
@pytest.mark.parametrize("images", [1, 2])
def test_a_photograph_that_takes_long_has_a_bar_below_that_of_the_folder(
    restore: Callable[..., int],
    write_image: Write,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    mode: str,
    images: int,
) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr(progress, "PATIENCE_S", 0.0)
    monkeypatch.setattr("rlrestore.cli.restore.SMALL_PIXELS", 0)  # those have no bars of their own
    for number in range(images):
        write_image(f"in/{number}.png", width=600)

    assert restore(tmp_path / "in", "--mode", mode, "-o", tmp_path / "out/") == 0
    seen = terminal.getvalue()
    for title in ("step 1 of 3", "step 3 of 3"):
        assert title in seen
    assert "batch of windows" in seen
    assert "tile/s" in seen
    assert "/2 [" in seen or "/3 [" in seen
    assert ("image/s" in seen) == (images == 2)
