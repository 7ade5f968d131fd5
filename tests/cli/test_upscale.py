"""`rlrestore restore --upscale`."""

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from rlrestore.cli.main import main
from rlrestore.export.writing import export_model
from tests.clips import grey, write_clip
from tests.toys import make_model


@pytest.fixture
def restore(toy_model: Path) -> Callable[..., int]:
    def run(*arguments: object) -> int:
        return main(["restore", *map(str, arguments), "--model", str(toy_model), "--max-steps", "1"])

    return run


def size(path: Path) -> tuple[int, int]:
    with Image.open(path) as image:
        return image.size


@pytest.mark.parametrize("scale", [2, 3])
def test_the_restored_image_is_enlarged(
    restore: Callable[..., int],
    tmp_path: Path,
    write_image: Callable[..., Path],
    levels: Callable[[Path], set[int]],
    capsys: pytest.CaptureFixture[str],
    scale: int,
) -> None:
    photos = [write_image("a.png"), write_image("b.png", width=64, height=64)]

    assert restore(*photos, "--upscale", scale, "-o", f"{tmp_path}/out/", "--json") == 0

    assert size(tmp_path / "out" / "a_restored.png") == (40 * scale, 30 * scale)
    assert size(tmp_path / "out" / "b_restored.png") == (64 * scale, 64 * scale)
    assert levels(tmp_path / "out" / "b_restored.png") <= set(range(124, 128))  # 100 + 25.5: restored before
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(line["upscale"], line["width"]) for line in lines] == [(scale, 40), (scale, 64)]


def test_it_goes_with_formats_and_pipes(
    restore: Callable[..., int],
    write_image: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    photo = write_image("a.jpg")
    assert restore(photo, "--upscale", 2, "--format", "keep", "--trace") == 0
    assert ", enlarged to 80×60\n" in capsys.readouterr().out
    assert size(photo.with_name("a_restored.jpg")) == (80, 60)
    out = io.TextIOWrapper(io.BytesIO(), "utf-8")
    monkeypatch.setattr(sys, "stdout", out)
    assert restore(photo, "--upscale", 2, "-o", "-") == 0

    with Image.open(io.BytesIO(out.buffer.getvalue())) as image:
        assert image.size == (80, 60)


def test_what_does_not_go_with_it_is_said(
    restore: Callable[..., int],
    tmp_path: Path,
    write_image: Callable[..., Path],
    capsys: pytest.CaptureFixture[str],
) -> None:
    photo, clip = write_image("a.png"), write_clip(tmp_path / "a.mp4", [grey(100)] * 2)

    assert restore(photo, "--upscale", 2, "--try") == 2
    assert "--upscale does not go with --try" in capsys.readouterr().err
    assert restore(clip, "--upscale", 2) == 2
    assert "--upscale does not go with a video" in capsys.readouterr().err
    wide = write_image("wide.png", width=9000)
    assert restore(wide, "--upscale", 2, "-o", tmp_path / "wide.webp") == 1
    assert "can be 16383 a side at most" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        restore(photo, "--upscale", 4)
    assert "--upscale" in capsys.readouterr().err


def test_without_torch_it_is_refused_before_anything_is_restored(
    tmp_path: Path,
    write_image: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """An exported model restores without torch, and cannot enlarge."""
    photos = [write_image("a.png"), write_image("b.png")]
    export_model(make_model([0, 1]), tmp_path / "exported")
    monkeypatch.setitem(sys.modules, "torch", None)
    options = ["-o", f"{tmp_path}/out/", "--model", str(tmp_path / "exported")]

    assert main(["restore", *map(str, photos), *options, "--upscale", "2"]) == 2

    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("rlrestore: error: enlarging needs torch, which is not installed: pip install ")
    assert not (tmp_path / "out").exists()
