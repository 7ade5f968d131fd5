"""What a photographer asks for: strength, an own chain, the format that came in, pipes, a watched folder."""

import io
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, JpegImagePlugin

from rlrestore.cli import restore as restore_command
from rlrestore.cli import watching
from rlrestore.cli.main import main
from rlrestore.cli.planning import Job
from tests.rules import dark_only, restorer


class Stream(io.TextIOWrapper):
    """A stdin or stdout of bytes."""

    def __init__(self, content: bytes = b"") -> None:
        self.bytes = io.BytesIO(content)
        super().__init__(self.bytes, "utf-8")


@pytest.fixture
def restore(toy_model: Path) -> Callable[..., int]:
    def run(*arguments: object) -> int:
        return main(["restore", *map(str, arguments), "--model", str(toy_model)])

    return run


def write(path: Path, level: int = 100, **options: int) -> Path:
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(np.full((70, 80, 3), level, np.uint8)).save(path, None, **options)
    return path


def level(path: Path | io.BytesIO) -> int:
    with Image.open(path) as image:
        return int(np.asarray(image.convert("RGB"))[35, 40, 0])


def test_strength_and_chain(restore: Callable[..., int], tmp_path: Path) -> None:
    photo = write(tmp_path / "a.png")

    assert restore(photo, "--strength", 0) == 0
    assert level(tmp_path / "a_restored.png") == 100
    assert restore(photo, "--strength", 0.5, "--chain", "deblur-2,deblur-1") == 0
    assert level(tmp_path / "a_restored.png") in (106, 107)  # half of 255 · (0.1 - 0.05)
    assert restore(photo, "--never", "deblur-1", "--max-steps", 1) == 0
    assert level(tmp_path / "a_restored.png") in (87, 88)


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (("--strength", "1.5"), "expected a number from 0 to 1, got '1.5'"),
        (("--chain", "deblur-1,sharpen"), "unknown tool 'sharpen' in the chain"),
        (("--chain", "deblur-1,"), "expected names with commas between them"),
        (("--never", "blur"), "none is left"),
        (("--watch",), "--watch goes with one folder"),
        (("-", "-o", "-"), "- goes with one image, got 2 inputs"),
        (("--try", "--trace"), "--trace does not go with --try"),
        (("--try", "--skip-existing"), "--skip-existing does not go with --try"),
    ],
)
def test_wrong_usage_is_one_line(
    restore: Callable[..., int],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    options: tuple[str, ...],
    line: str,
) -> None:
    try:
        code = restore(write(tmp_path / "a.png"), *options)
    except SystemExit as error:  # argparse's own
        code = int(error.code or 0)
    assert code == 2
    (told,) = capsys.readouterr().err.splitlines()
    assert line in told


def test_several_chains_are_tried_side_by_side(
    restore: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert restore(write(tmp_path / "a.png"), "--try") == 0
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["a.png", "a_restored_try.png"]
    lines = [line.strip().split(":")[0] for line in capsys.readouterr().out.splitlines()[1:]]
    twice, thrice = (",".join(["deblur-1"] * count) for count in (2, 3))
    instead = "--chain deblur-2,deblur-2,deblur-2"
    assert lines == [f"--chain {thrice}", instead, f"--chain {twice}", "--strength 0"]


def test_several_images_are_tried_and_a_broken_one_is_reported(
    restore: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path / "a.png")
    write(tmp_path / "c.png")
    (tmp_path / "b.png").write_text("no image")

    assert restore(tmp_path, "--try", "--max-steps", 1, "--strength", 0.5) == 1
    told = capsys.readouterr()
    assert {path.name for path in tmp_path.glob("*_try.png")} == {"a_restored_try.png", "c_restored_try.png"}
    assert (
        told.out.count("  --chain deblur-1 --strength 0.5: the agent's choice, expected +1.00 dB at full")
        == 2
    )
    assert told.out.count("  --chain deblur-2 --strength 0.5: without deblur-1, expected +0.50 dB") == 2
    assert len([line for line in told.err.splitlines() if "b.png" in line]) == 1


def test_local_mode_that_divides_nothing_is_no_other_chain(
    restore: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert restore(write(tmp_path / "a.png"), "--try", "--mode", "local", "--never", "deblur-2") == 0
    agent, fewer, none = (line.strip() for line in capsys.readouterr().out.splitlines()[1:])
    assert agent.startswith("--chain deblur-1,deblur-1,deblur-1: the agent's choice, no regions differ, ")
    assert fewer.startswith("--chain deblur-1,deblur-1: ")
    assert none.startswith("--strength 0: ")


def test_local_mode_says_that_it_divided_nothing(
    restore: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photo = write(tmp_path / "a.png")
    assert restore(photo, "--mode", "local", "--max-steps", 1) == 0
    assert capsys.readouterr().out.endswith("deblur-1 (expected +1.00 dB), no regions differ\n")
    assert restore(photo, "--max-steps", 1) == 0
    assert capsys.readouterr().out.endswith("deblur-1 (expected +1.00 dB)\n")


def test_chains_that_differ_from_region_to_region_come_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pixels = np.full((128, 512, 3), 50, np.uint8)
    pixels[:, 256:] = 190
    Image.fromarray(pixels).save(tmp_path / "a.png")
    monkeypatch.setattr(restore_command, "_restorer", lambda _: restorer([0.2], dark_only, 1))
    assert main(["restore", str(tmp_path / "a.png"), "--try", "--mode", "local", "--only", "deblur"]) == 0
    lines = [line.strip().split(",")[0] for line in capsys.readouterr().out.splitlines()[1:]]
    assert lines[0] == "--mode local --only deblur: other chains for regions that differ"
    assert lines[1] == "--chain deblur-1: the agent's choice"


def test_the_format_is_kept(restore: Callable[..., int], tmp_path: Path) -> None:
    photo, gif = write(tmp_path / "a.jpeg", quality=60, subsampling=2), write(tmp_path / "b.gif")

    assert restore(photo, gif, "--format", "keep") == 0
    with Image.open(photo) as before, Image.open(tmp_path / "a_restored.jpeg") as after:
        assert isinstance(before, JpegImagePlugin.JpegImageFile)
        assert isinstance(after, JpegImagePlugin.JpegImageFile)
        assert after.quantization == before.quantization
        assert JpegImagePlugin.get_sampling(after) == 2
    assert level(tmp_path / "b_restored.png") > 100


def test_a_pipe(
    restore: Callable[..., int],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    content = write(tmp_path / "a.jpg").read_bytes()
    out = Stream()
    monkeypatch.setattr(sys, "stdin", Stream(content))
    monkeypatch.setattr(sys, "stdout", out)

    assert restore("-", "-o", "-", "--max-steps", 1) == 0
    with Image.open(io.BytesIO(out.bytes.getvalue())) as image:
        assert image.format == "PNG"
    assert level(io.BytesIO(out.bytes.getvalue())) in (125, 126)
    assert "'-' -> '-': deblur-1" in capsys.readouterr().err
    assert restore("-", "-o", "-", "--json") == 2
    assert restore("-") == 2
    assert "--json does not go with -" in capsys.readouterr().err


def test_a_broken_pipe_of_nothing(restore: Callable[..., int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", Stream())
    monkeypatch.setattr(sys, "stdout", Stream())
    assert restore("-", "-o", "-") == 1


def test_what_came_on_stdin_is_called_so(
    restore: Callable[..., int], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", Stream(b"no image"))
    assert restore("-", "-o", "out.png") == 1
    (told,) = capsys.readouterr().err.splitlines()
    assert "what came on stdin" in told
    assert "'-'" not in told


def test_a_dry_run_does_nothing(
    restore: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path / "in" / "a.png")
    assert restore(tmp_path / "in", "-o", f"{tmp_path}/out/", "--dry-run", "--json") == 0
    line = json.loads(capsys.readouterr().out)
    assert line == {
        "input": str(tmp_path / "in" / "a.png"),
        "output": str(tmp_path / "out" / "a_restored.png"),
        "dry_run": True,
    }
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [(["--chain", "foo-1"], "foo-1"), (["--only", "foo"], "foo"), (["--model", "nowhere"], "no model")],
)
def test_a_dry_run_refuses_what_the_run_would(
    tmp_path: Path, options: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path / "a.png")
    assert main(["restore", str(tmp_path / "a.png"), "--dry-run", *options]) == 2
    assert words in capsys.readouterr().err


def test_a_watched_folder(
    restore: Callable[..., int],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    whole = write(tmp_path / "made.png").read_bytes()
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    looks = iter(range(20))

    def arrive(_: float) -> None:
        look = next(looks)
        if look == 1:
            (folder / "a.png").write_bytes(whole[:60])
            (folder / "broken.png").write_bytes(whole[:50])
        if look == 4:
            assert list(out.iterdir()) == []  # a.png is not complete
            (folder / "a.png").write_bytes(whole)
        if look == 19:
            raise KeyboardInterrupt

    monkeypatch.setattr(watching, "sleep", arrive)
    assert restore(folder, "--watch", "-o", f"{out}/") == 1
    assert [path.name for path in out.iterdir()] == ["a_restored.png"]
    err = capsys.readouterr().err
    assert err.count("broken.png") == 1
    assert "1 of 2 images restored, 1 failed" in err


def test_nothing_is_due_twice(tmp_path: Path) -> None:
    job, arrivals = Job(write(tmp_path / "a.png"), tmp_path / "b.png", Path("a.png")), watching.Arrivals()
    assert [arrivals.due([job]) for _ in range(4)] == [[], [job], [], []]
    os.utime(write(tmp_path / "a.png", level=3), (1e9, 1e9))  # a size as before, and else perhaps a time
    assert [arrivals.due([job]) for _ in range(3)] == [[], [job], []]
