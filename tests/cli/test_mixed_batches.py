"""Calls in which something is missing, cut off, or cannot be kept: each part is told of, the rest is done."""

import io
import json
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rlrestore.cli import restore as restore_command
from rlrestore.cli.main import main
from tests.rules import dark_only, restorer

Write = Callable[..., Path]
Restore = Callable[..., int]


@pytest.fixture
def restore(toy_model: Path) -> Restore:
    return lambda *arguments: main(["restore", *map(str, arguments), "--model", str(toy_model)])


@pytest.fixture
def noted(tmp_path: Path) -> Path:
    """A JPEG with IPTC."""
    block = b"8BIM\x04\x04\0\0\0\0\0\x0a\x1c\x02x\0\x05quiet"
    segment = struct.pack(">HH", 0xFFED, len(block) + 16) + b"Photoshop 3.0\0" + block
    stream = io.BytesIO()
    Image.new("RGB", (40, 30), (90, 90, 90)).save(stream, "JPEG", extra=segment)
    (tmp_path / "noted.jpg").write_bytes(stream.getvalue())
    return tmp_path / "noted.jpg"


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("missing", ["none.png", "none*.png", "empty/"])
def test_what_is_missing_does_not_stop_the_rest(
    restore: Restore, write_image: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str], missing: str
) -> None:
    (tmp_path / "empty").mkdir()
    first, last = write_image("a.png"), write_image("b.png")
    assert restore(first, tmp_path / missing, last, "-o", tmp_path / "out", "--json") == 1
    assert names(tmp_path / "out") == ["a_restored.png", "b_restored.png"]
    out, err = capsys.readouterr()
    (failed,) = [json.loads(line) for line in out.splitlines() if "error" in json.loads(line)]
    assert missing.rstrip("/") in failed["input"]
    assert "2 of 3 images restored, 1 failed" in err


def test_nothing_that_is_there_is_wrong_usage(
    restore: Restore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert restore(tmp_path / "none.png", tmp_path / "none2.png") == 2
    assert "none.png' does not exist; check the path" in capsys.readouterr().err


@pytest.mark.parametrize("many", [True, False])
@pytest.mark.parametrize("name", ["one.png", "one.HIF", "one.tiff"])
def test_one_pictures_name_for_several_is_wrong_usage(
    restore: Restore,
    write_image: Write,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    many: bool,
    name: str,
) -> None:
    inputs = [write_image("in/a.png"), write_image("in/b.png")] if many else [write_image("in/a.png").parent]
    assert restore(*inputs, "-o", tmp_path / name) == 2
    assert "expected a folder after -o for a folder or several images" in capsys.readouterr().err
    assert names(tmp_path) == ["in"]
    assert restore(*inputs, "-o", f"{tmp_path / name}/") == 0  # a trailing slash means a folder


@pytest.mark.parametrize("half", [b"", b"\x89PNG\r\n\x1a\n", None])
def test_a_result_that_is_not_whole_is_made_again(
    restore: Restore,
    write_image: Write,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    half: bytes | None,
) -> None:
    photo, result = write_image("in/a.png"), tmp_path / "out" / "a_restored.png"
    command = (photo, "-o", f"{result.parent}/", "--trace", "--skip-existing")
    assert restore(*command) == 0
    whole = result.read_bytes()
    result.write_bytes(whole[: len(whole) // 2] if half is None else half)
    assert restore(*command) == 0
    assert result.read_bytes() == whole
    (tmp_path / "out" / "a_restored.json").write_text("{")
    assert restore(*command) == 0
    assert json.loads((tmp_path / "out" / "a_restored.json").read_text())["tools"]
    capsys.readouterr()
    assert restore(*command) == 0
    assert "1 skipped" in capsys.readouterr().err


def test_every_command_says_what_a_result_cannot_hold(
    restore: Restore,
    noted: Path,
    toy_model: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    commands = {
        "restore": ["restore", str(noted), "-o", str(tmp_path / "a.png"), "--model", str(toy_model)],
        "tools": ["tools", "deblur-1", str(noted), "-o", str(tmp_path / "b.png"), "--model", str(toy_model)],
        "degrade": ["degrade", str(noted), "--blur", "1", "-o", str(tmp_path / "c.png")],
    }
    for name, command in commands.items():
        assert main(command) == 0
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith(f"rlrestore: note: {str(noted)!r}: "), name
        assert line.endswith("cannot hold all of it, left out: IPTC"), name
    assert restore(noted, "-o", tmp_path / "a.png", "--json") == 0
    assert json.loads(capsys.readouterr().out)["notes"] == ["PNG cannot hold all of it, left out: IPTC"]
    assert restore(noted, "-o", tmp_path / "a.jpg") == 0
    assert capsys.readouterr().err == ""


def test_what_cannot_be_written_is_known_before_the_work(
    restore: Restore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.fromarray(np.zeros((8, 16400, 3), np.uint8)).save(tmp_path / "wide.png")
    monkeypatch.setattr(
        "rlrestore.restorer.Restorer.restore", lambda *_, **__: pytest.fail("it was restored")
    )
    assert restore(tmp_path / "wide.png", "--format", "webp") == 1
    assert "can be 16383 a side at most; write .png" in capsys.readouterr().err


def test_a_jpeg_without_its_last_bytes_is_restored_with_a_note(
    restore: Restore, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (200, 300, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.jpg", quality=80)
    content = (tmp_path / "a.jpg").read_bytes()
    (tmp_path / "a.jpg").write_bytes(content[:-20])
    assert restore(tmp_path / "a.jpg") == 0
    assert "the end of the file is missing: its last 9 rows are incomplete" in capsys.readouterr().err
    (tmp_path / "a.jpg").write_bytes(content[: -len(content) // 8])
    assert restore(tmp_path / "a.jpg") == 1
    assert "is truncated or damaged" in capsys.readouterr().err


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no disk that is always full")
def test_a_full_disk_behind_stdout_is_named() -> None:
    with Path("/dev/full").open("w") as full:
        command = [sys.executable, "-m", "rlrestore", "tools"]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line == "rlrestore: error: expected to write to stdout, but that failed (No space left on device)"


def test_an_odd_shape_is_traced_and_restored(restore: Restore, tmp_path: Path) -> None:
    for size in ((60, 900), (9, 9000), (9000, 9)):
        Image.effect_noise(size, 50).convert("RGB").save(tmp_path / "a.png")
        assert restore(tmp_path / "a.png", "--trace", "--max-steps", 1) == 0
        with Image.open(tmp_path / "a_restored_trace.png") as picture:
            assert picture.width > 600


def test_what_is_left_as_it_was_is_not_restored(
    write_image: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_image("in/a.png", level=50, width=90, height=70)
    write_image("in/b.png", level=200, width=90, height=70)
    monkeypatch.setattr(restore_command, "_restorer", lambda _: restorer([0.2], dark_only, 1))

    assert main(["restore", str(tmp_path / "in")]) == 0
    told = capsys.readouterr()
    assert "b_restored.png': unchanged, no tool was expected to gain enough\n" in told.out
    summary = told.err.splitlines()[-1]
    assert summary.startswith("rlrestore: 1 of 2 images restored, 1 left as it was; mean expected gain +")
    assert summary.endswith("; deblur-1 1×")
