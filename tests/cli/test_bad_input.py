"""Bad input: one clear line, the right exit code, no traceback, no half-written file."""

import os
import shutil
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from rlrestore.cli.main import main
from rlrestore.model_folder import read_agent, read_card, read_toolbox, write_model

Write = Callable[..., Path]


@pytest.fixture
def refused(toy_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Run `rlrestore restore`, expect failure and nothing new on disk; return the one line it prints."""

    def run(code: int, *arguments: object, model: Path = toy_model) -> str:
        before = sorted(tmp_path.rglob("*"))
        assert main(["restore", *map(str, arguments), "--model", str(model)]) == code
        out, err = capsys.readouterr()
        assert out == ""
        assert sorted(tmp_path.rglob("*")) == before
        (line,) = err.splitlines()
        assert line.startswith("rlrestore: error: ")
        assert "Traceback" not in err
        return line

    return run


def gigantic_png() -> bytes:
    """A PNG of a few bytes that claims 25000×20000 pixels."""
    header = struct.pack(">II5B", 25000, 20000, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(b"\0" * 100)), (b"IEND", b""))
    body = (
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(body)


def test_a_missing_file(refused: Callable[..., str], tmp_path: Path) -> None:
    line = refused(2, tmp_path / "missing.png")
    assert "expected an image, a folder or a pattern" in line
    assert "missing.png' does not exist; check the path" in line


def test_a_pattern_without_a_match(refused: Callable[..., str], tmp_path: Path) -> None:
    assert "no image matches" in refused(2, tmp_path / "*.png")


def test_a_folder_without_images(refused: Callable[..., str], tmp_path: Path, write_image: Write) -> None:
    (tmp_path / "notes.txt").write_text("nothing")
    assert "expected photographs" in refused(2, tmp_path)
    write_image("results/a_restored.png")
    write_image("results/a_denoise-3.png")  # of `rlrestore tools`
    assert "holds only results of earlier runs" in refused(2, tmp_path / "results")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"this is text", "text.png"),
        (b"", "zero bytes"),
        (gigantic_png(), "megapixel"),
    ],
    ids=["text", "empty", "gigantic"],
)
def test_what_is_no_image(refused: Callable[..., str], tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "text.png"
    path.write_bytes(content)
    assert words in refused(1, path)


def test_a_truncated_jpeg(refused: Callable[..., str], tmp_path: Path, write_image: Write) -> None:
    path = write_image("cut.jpg", width=200, height=200)
    path.write_bytes(path.read_bytes()[:-200])
    assert "cut.jpg" in refused(1, path)


def test_a_tiny_image(refused: Callable[..., str], write_image: Write) -> None:
    assert "8×8" in refused(1, write_image("tiny.png", width=7, height=20))


def test_an_output_that_cannot_be_written(
    refused: Callable[..., str], tmp_path: Path, write_image: Write
) -> None:
    photo = write_image("photo.png")
    (tmp_path / "file").write_text("in the way")
    assert "cannot be written (File exists); choose another -o" in refused(
        2, photo, "-o", f"{tmp_path}/file/"
    )
    assert "cannot be made" in refused(2, photo, "-o", "/proc/none/result.png")
    assert "ends in one of .png, .jpg" in refused(2, photo, "-o", tmp_path / "result.xyz")
    line = refused(2, photo, "-o", tmp_path / "result")
    assert f"or end it in a slash, '{tmp_path}/result/', for a folder" in line
    write_image("in/a.png")
    write_image("in/b.png")
    assert "cannot be written" in refused(2, tmp_path / "in", "-o", tmp_path / "file")


def test_what_ails_a_folder_is_said_once_and_each_image_counts(
    toy_model: Path, tmp_path: Path, write_image: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    write_image("in/a.png")
    write_image("in/sub/b.png")
    write_image("in/sub/c.png")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "sub").write_text("in the way")

    arguments = ["restore", str(tmp_path / "in"), "-o", f"{tmp_path}/out/", "--model", str(toy_model)]
    assert main([*arguments, "--json"]) == 1
    out, err = capsys.readouterr()
    error, summary = err.splitlines()
    assert "sub' cannot be made (File exists)" in error
    assert summary.startswith("rlrestore: 1 of 3 images restored, 2 failed; ")
    assert out.count('"error": ') == 2


def test_the_input_is_never_overwritten(
    refused: Callable[..., str], tmp_path: Path, write_image: Write
) -> None:
    photo = write_image("photo.png")
    (tmp_path / "link.png").symlink_to(photo)
    assert "would be written over the input" in refused(2, photo, "-o", photo)
    assert "would be written over the input" in refused(2, photo, "-o", tmp_path / "link.png")


def test_the_reference_is_never_overwritten(
    refused: Callable[..., str], tmp_path: Path, write_image: Write
) -> None:
    photo, reference = write_image("photo.png"), write_image("truth.png")
    line = refused(2, photo, "--reference", reference, "-o", reference)
    assert "truth.png' would be written over the input" in line
    (tmp_path / "link.png").symlink_to(reference)
    line = refused(2, photo, "--reference", tmp_path / "link.png", "-o", reference)
    assert "would be written over the input" in line


def test_an_empty_name_is_not_the_working_folder(
    refused: Callable[..., str], tmp_path: Path, write_image: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_image("photo.png")
    monkeypatch.chdir(tmp_path)
    assert "expected an image, a folder or a pattern, got an empty name" in refused(2, "")
    assert "after -o, got an empty name" in refused(2, "photo.png", "-o", "")


def test_a_name_that_is_too_long(refused: Callable[..., str], tmp_path: Path, write_image: Write) -> None:
    photo, name = write_image("photo.png"), "y" * 300
    assert "(File name too long)" in refused(2, tmp_path / name)
    assert "cannot be one (File name too long)" in refused(2, photo, "-o", tmp_path / f"{name}.png")
    assert "expected a model's folder" in refused(2, photo, model=Path(name))


def test_a_loop_of_links(refused: Callable[..., str], tmp_path: Path, write_image: Write) -> None:
    photo = write_image("photo.png")
    (tmp_path / "loop").symlink_to("loop")
    assert "Too many levels of symbolic links" in refused(2, tmp_path / "loop")
    assert "loop' cannot be made" in refused(2, photo, "-o", tmp_path / "loop" / "a.png")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_is_not_replaced_by_the_result(
    refused: Callable[..., str], tmp_path: Path, write_image: Write
) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    assert "is not a regular file" in refused(2, tmp_path / "pipe.png")
    assert "is a device or pipe" in refused(2, write_image("photo.png"), "-o", tmp_path / "pipe.png")


def test_a_reference_goes_with_one_image_of_its_size(
    refused: Callable[..., str], tmp_path: Path, write_image: Write
) -> None:
    photo, other = write_image("photo.png"), write_image("other.png", width=41)
    line = refused(2, photo, other, "--reference", other)
    assert "--reference goes with one image, got 2" in line
    line = refused(2, photo, "--reference", other)
    assert "expected a reference of the image's size, 40×30 pixels, got 41×30" in line
    assert "missing.png' does not exist" in refused(2, photo, "--reference", tmp_path / "missing.png")


def test_an_unknown_model_or_device(refused: Callable[..., str], write_image: Write) -> None:
    photo = write_image("photo.png")
    assert "no model 'nowhere'" in refused(2, photo, model=Path("nowhere"))
    line = refused(2, photo, "--device", "gpu")
    assert "device 'gpu' is not available: expected one of cpu" in line
    assert line.endswith("; a GPU of NVIDIA is called cuda, Apple's mps")
    if not torch.cuda.is_available():
        assert refused(2, photo, "--device", "cuda").endswith("expected one of cpu")


@pytest.mark.parametrize("name", ["card.json", "toolbox.safetensors", "agent.safetensors"])
def test_a_model_with_a_missing_or_altered_file(
    refused: Callable[..., str], toy_model: Path, tmp_path: Path, write_image: Write, name: str
) -> None:
    photo, model = write_image("photo.png"), tmp_path / "model"
    shutil.copytree(toy_model, model)
    content = (model / name).read_bytes()
    (model / name).write_bytes(content[:-9] + b"\xff" + content[-8:])
    assert name in refused(2, photo, model=model)
    (model / name).unlink()
    assert name in refused(2, photo, model=model)


def test_a_nan_in_the_weights(
    refused: Callable[..., str], toy_model: Path, tmp_path: Path, write_image: Write
) -> None:
    photo, model = write_image("photo.png"), tmp_path / "model"
    entry, weights = read_toolbox(toy_model)
    next(iter(weights.values())).flat[0] = np.nan
    write_model(model, read_card(toy_model), (entry, weights), read_agent(toy_model))
    assert "holds a NaN or an infinity" in refused(2, photo, model=model)


def test_one_bad_image_does_not_stop_the_others(
    toy_model: Path, tmp_path: Path, write_image: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    write_image("in/a.png")
    (tmp_path / "in" / "b.png").write_text("no image")
    write_image("in/c.png")

    assert (
        main(["restore", str(tmp_path / "in"), "-o", str(tmp_path / "out"), "--model", str(toy_model)]) == 1
    )
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a_restored.png", "c_restored.png"]
    error, summary = capsys.readouterr().err.splitlines()
    assert "b.png" in error
    assert summary.startswith("rlrestore: 2 of 3 images restored, 1 failed; ")


def test_a_dead_link_or_too_long_a_result_does_not_stop_the_others(
    toy_model: Path, tmp_path: Path, write_image: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    write_image("in/a.png")
    write_image(f"in/{'x' * 250}.png")
    (tmp_path / "in" / "dead.png").symlink_to("nowhere.png")

    assert main(["restore", str(tmp_path / "in"), "--model", str(toy_model)]) == 1
    assert (tmp_path / "in" / "a_restored.png").exists()
    *errors, summary = capsys.readouterr().err.splitlines()
    assert [words in error for words, error in zip(("dead.png", "too long"), errors, strict=True)] == [
        True
    ] * 2
    assert summary.startswith("rlrestore: 1 of 3 images restored, 2 failed; ")


def test_weights_that_are_finite_and_lead_to_no_number(
    refused: Callable[..., str], toy_model: Path, tmp_path: Path, write_image: Write
) -> None:
    photo, model = write_image("photo.png"), tmp_path / "model"
    entry, weights = read_toolbox(toy_model)
    large = {name: np.float32(1e30) * array for name, array in weights.items()}
    write_model(model, read_card(toy_model), (entry, large), read_agent(toy_model))
    assert "got a NaN or an infinity; use another model" in refused(2, photo, model=model)


def test_an_error_nobody_foresaw_names_the_file_and_the_cure(
    toy_model: Path,
    write_image: Write,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail(*arguments: object, **options: object) -> None:
        raise RuntimeError("out of\nluck")

    monkeypatch.setattr("rlrestore.restorer.Restorer.restore", fail)
    arguments = ["restore", str(write_image("photo.png")), "--model", str(toy_model)]

    assert main(arguments) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "photo.png': unexpected RuntimeError: out of luck (run again with --debug to see where)" in line
    assert main([*arguments, "--debug"]) == 1
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["missing.png"], 2, "'missing.png' does not exist"),
        (["empty.png"], 1, "zero bytes"),
        (["photo.png", "--mode", "both"], 2, "invalid choice: 'both'"),
        (["photo.png", "--max-steps", "0"], 2, "expected a whole number above 0, got '0'"),
    ],
)
def test_as_a_process(
    toy_model: Path, tmp_path: Path, write_image: Write, arguments: list[str], code: int, words: str
) -> None:
    write_image("photo.png")
    (tmp_path / "empty.png").touch()
    command = [sys.executable, "-m", "rlrestore", "restore", *arguments, "--model", str(toy_model)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    assert done.returncode == code
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty.png", "photo.png"]


@pytest.mark.skipif(os.name == "nt", reason="needs a POSIX shell")
def test_closed_streams(toy_model: Path, tmp_path: Path, write_image: Write) -> None:
    command = f"'{sys.executable}' -m rlrestore restore photo.png --model '{toy_model}' >&- 2>&-"
    write_image("photo.png")
    done = subprocess.run(command, shell=True, cwd=tmp_path, check=False)  # noqa: S602  # what is tested

    assert done.returncode == 0
    assert (tmp_path / "photo_restored.png").exists()


@pytest.mark.skipif(os.name == "nt", reason="needs a POSIX shell")
@pytest.mark.parametrize(
    ("pipe", "words"),
    [
        ("photo.png -o - >&-", "-o - writes a picture to stdout, which is closed: add > FILE"),
        ("- -o out.png <&-", "expected an image on stdin, but stdin is closed: add < FILE"),
    ],
)
def test_a_picture_is_not_lost_in_a_closed_stream(
    toy_model: Path, tmp_path: Path, write_image: Write, pipe: str, words: str
) -> None:
    write_image("photo.png")
    command = f"'{sys.executable}' -m rlrestore restore --model '{toy_model}' {pipe}"
    done = subprocess.run(  # noqa: S602  # what is tested
        command, shell=True, cwd=tmp_path, check=False, stderr=subprocess.PIPE, text=True
    )
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert words in line
    assert not (tmp_path / "out.png").exists()


def test_a_missing_library_is_said_in_one_line(tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    arguments = [sys.executable, "-S", "-E", "-m", "rlrestore", "restore", str(tmp_path / "a.png")]
    done = subprocess.run(arguments, check=False, cwd=root, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("rlrestore: error: restore needs ")
    assert ", which is not installed: " in done.stderr
    assert done.stderr.count("\n") == 1
