"""`rlrestore restore` on videos, alone and among photographs."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from rlrestore.cli.main import main
from tests.clips import brightness, frames_of, grey, write_clip


@pytest.fixture
def restore(toy_model: Path) -> Callable[..., int]:
    def run(*arguments: object) -> int:
        return main(["restore", *map(str, arguments), "--model", str(toy_model), "--max-steps", "1"])

    return run


def level(path: Path) -> int:
    return round(float(brightness(frames_of(path)[0]).mean()))


def test_a_video_becomes_one_beside_it(
    restore: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = write_clip(tmp_path / "a.mp4", [grey(100)] * 5)

    assert restore(source, "--quality", 100, "--trace") == 0

    assert level(tmp_path / "a_restored.mp4") == 122
    out = capsys.readouterr().out
    assert "5 frames, 1 scene: deblur-1" in out
    assert "scene at 0.00 s, 5 frames" in out
    trace = json.loads((tmp_path / "a_restored.json").read_text())
    assert trace["scenes"][0]["tools"] == ["deblur-1"]
    assert trace["scenes"][0]["still_difference_255"] == 0


def test_one_frame_is_not_several(
    restore: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert restore(write_clip(tmp_path / "a.mp4", [grey(100)]), "--trace") == 0

    out = capsys.readouterr().out
    assert "1 frame, 1 scene: deblur-1" in out
    assert "scene at 0.00 s, 1 frame\n" in out


def test_quality_makes_a_smaller_file(restore: Callable[..., int], tmp_path: Path) -> None:
    import numpy as np

    rng = np.random.default_rng(0)
    source = write_clip(tmp_path / "a.mp4", [rng.integers(0, 256, (96, 96)).astype(np.uint8)] * 5)
    sizes = []
    for quality in (20, 67, 90):
        assert restore(source, "--quality", quality, "-o", tmp_path / "out.mp4") == 0
        sizes.append((tmp_path / "out.mp4").stat().st_size)
    assert restore(source, "-o", tmp_path / "out.mp4") == 0

    assert sizes[0] < sizes[1] < sizes[2]
    assert (tmp_path / "out.mp4").stat().st_size == sizes[1]


def test_photographs_and_videos_in_one_call(
    restore: Callable[..., int],
    tmp_path: Path,
    write_image: Callable[..., Path],
    capsys: pytest.CaptureFixture[str],
) -> None:
    photo, clip = write_image("p.png"), write_clip(tmp_path / "a.avi", [grey(100)] * 3, codec="mpeg4")
    (tmp_path / "broken.mp4").write_bytes(b"no video")

    assert restore(photo, tmp_path / "broken.mp4", clip, "-o", f"{tmp_path}/out/", "--json") == 1

    captured = capsys.readouterr()
    lines = [json.loads(line) for line in captured.out.splitlines()]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a_restored.mkv", "p_restored.png"]
    assert [("frames" in line, "error" in line) for line in lines] == [
        (False, False),
        (False, True),
        (True, False),
    ]
    assert "2 of 3 files restored, 1 failed" in captured.err


def test_a_search_of_a_folder_leaves_videos_out(
    restore: Callable[..., int],
    tmp_path: Path,
    write_image: Callable[..., Path],
    caplog: pytest.LogCaptureFixture,
) -> None:
    write_image("in/p.png")
    write_clip(tmp_path / "in" / "a.mp4", [grey(100)] * 3)

    assert restore(tmp_path / "in", "-o", tmp_path / "out") == 0
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["p_restored.png"]
    assert "1 video in" in caplog.text
    assert restore(f"{tmp_path}/in/*.mp4", "-o", tmp_path / "out") == 0
    assert (tmp_path / "out" / "a_restored.mp4").exists()


def test_what_is_there_is_skipped(restore: Callable[..., int], tmp_path: Path) -> None:
    source = write_clip(tmp_path / "a.mp4", [grey(100)] * 3)
    assert restore(source) == 0
    first = (tmp_path / "a_restored.mp4").stat().st_mtime_ns

    assert restore(source, "--skip-existing") == 0
    assert (tmp_path / "a_restored.mp4").stat().st_mtime_ns == first


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (["--mode", "local"], "--mode local does not go with a video"),
        (["--try"], "--try does not go with a video"),
        (["--format", "jpg"], "--format does not go with a video"),
        (["--reference", "r.png"], "--reference does not go with a video"),
        (["-o", "-"], "a video does not go with -"),
        (["-o", "out.png"], "expected a video's name, which ends in one of .mp4"),
        (["--never", "sharpen"], "unknown tool or kind of tools 'sharpen'"),
    ],
)
def test_what_does_not_go_with_a_video_is_said(
    restore: Callable[..., int],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    line: str,
) -> None:
    source = write_clip(tmp_path / "a.mp4", [grey(100)] * 2)

    assert restore(source, *options) == 2
    captured = capsys.readouterr()
    assert line in captured.err
    assert len(captured.err.splitlines()) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]
