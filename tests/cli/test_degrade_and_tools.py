"""`rlrestore degrade` and `rlrestore tools`."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from rlrestore.cli.main import main
from rlrestore.imaging.degradation.libjpeg import degrade_pixels
from rlrestore.toolbox.networks import WIDTHS

Pixels = npt.NDArray[np.uint8]


def pixels_of(path: Path) -> Pixels:
    with Image.open(path) as image:
        return np.asarray(image)


@pytest.mark.parametrize("name", ["bad.png", "bad.jpg"])
def test_the_protocol_is_applied(photo: Path, photograph: Pixels, tmp_path: Path, name: str) -> None:
    out = tmp_path / "new" / name
    options = ["--blur", "1.2", "--noise", "15", "--jpeg", "30", "--seed", "7"]

    assert main(["degrade", str(photo), *options, "-o", str(out)]) == 0
    expected = degrade_pixels(photograph, 1.2, 15, 30, np.random.default_rng(7))
    np.testing.assert_array_equal(pixels_of(out), expected)
    with Image.open(out) as image:
        assert image.format == ("JPEG" if name.endswith("jpg") else "PNG")


def test_what_was_done_is_said_in_a_line(
    photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "bad.jpg"
    arguments = ["degrade", str(photo), "--blur", "1.5", "--noise", "20", "--jpeg", "40", "-o", str(out)]
    assert main([*arguments, "--seed", "7"]) == 0
    done = "blur σ 1.5 px, noise σ 20 of 255, JPEG 40, seed 7"
    assert capsys.readouterr().out == f"'{photo}' -> '{out}': {done}\n"


def test_the_seed_decides_the_noise(photo: Path, tmp_path: Path) -> None:
    for name, seed in (("a.png", "1"), ("b.png", "1"), ("c.png", "2")):
        assert main(["degrade", str(photo), "--noise", "9", "--seed", seed, "-o", str(tmp_path / name)]) == 0
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert (tmp_path / "a.png").read_bytes() != (tmp_path / "c.png").read_bytes()


@pytest.mark.parametrize(
    ("options", "name", "code", "words"),
    [
        (["--blur", "-1"], "out.png", 2, "expected --blur from 0 to 5, got -1"),
        (["--blur", "5.5"], "out.png", 2, "expected --blur from 0 to 5, got 5.5"),
        (["--noise", "nan"], "out.png", 2, "expected --noise from 0 to 255, got nan"),
        (["--jpeg", "0"], "out.png", 2, "expected --jpeg from 1 (worst) to 100 (best), got 0"),
        (["--jpeg", "101"], "out.png", 2, "expected --jpeg from 1 (worst) to 100 (best), got 101"),
        (["--noise", "1", "--seed", "-1"], "out.png", 2, "expected --seed from 0, got -1"),
        ([], "out.png", 2, "give at least one of --blur, --noise, --jpeg, or --camera, or --mixture"),
        (["--noise", "5"], "out.jpg", 2, "would be compressed, which was not asked for"),
        (["--noise", "5"], "photo.png", 2, "is the input itself"),
        (["--noise", "5"], "out.xyz", 2, "ends in one of .png"),
    ],
)
def test_what_cannot_be_degraded(
    photo: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    name: str,
    code: int,
    words: str,
) -> None:
    before = photo.read_bytes()

    assert main(["degrade", str(photo), *options, "-o", str(tmp_path / name)]) == code
    (line,) = capsys.readouterr().err.splitlines()
    assert words in line
    assert [path.name for path in tmp_path.iterdir()] == ["photo.png"]
    assert photo.read_bytes() == before


def test_the_tools_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tools"]) == 0
    lines = capsys.readouterr().out.splitlines()

    assert len(lines) == 14
    assert lines[0].split() == ["tool", "undoes", "range", "layers"]
    assert lines[3] == "deblur-2   Gaussian blur   σ 1.25 to 2.5 px     3"
    assert lines[8] == "denoise-3  Gaussian noise  σ 25 to 37.5 of 255  8"
    assert lines[13] == "dejpeg-4   JPEG            quality 10 to 20     8"


def test_the_tools_of_a_model_are_listed_with_their_parameters(
    toy_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["tools", "--model", str(toy_model)]) == 0
    lines = capsys.readouterr().out.splitlines()
    width = WIDTHS["hourglass"][3][0]
    # 3×3 convolutions from 12 channels to the width, to the width, to 12, with biases.
    parameters = 12 * width * 9 + width + width * width * 9 + width + width * 12 * 9 + 12

    assert [line.split()[0] for line in lines[2:]] == ["deblur-1", "deblur-2"]
    assert lines[2].endswith(f" {parameters:,}")


def test_a_tool_is_applied_by_hand(
    toy_model: Path,
    tmp_path: Path,
    write_image: Callable[..., Path],
    levels: Callable[[Path], set[int]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    photo = write_image("grey.png", level=100)
    arguments = ["tools", "deblur-2", str(photo), "--model", str(toy_model)]

    assert main(arguments) == 0
    assert main([*arguments, "-o", str(tmp_path / "out.png")]) == 0
    assert levels(tmp_path / "grey_deblur-2.png") == levels(tmp_path / "out.png")
    assert levels(tmp_path / "out.png") == {87}  # 100 - 0.05 · 255 = 87.25
    assert "grey_deblur-2.png': deblur-2" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["sharpen", "photo.png"], 2, "unknown tool 'sharpen': expected one of deblur-1, deblur-2"),
        (["deblur-1"], 2, "expected an image to apply deblur-1 to"),
        (["deblur-1", "photo.png", "--device", "tpu"], 2, "device 'tpu' is not available"),
        (["deblur-1", "photo.png", "-o", "photo.png"], 2, "is the input itself"),
        (["deblur-1", "missing.png"], 2, "'missing.png' does not exist"),
    ],
)
def test_what_cannot_be_done_by_hand(
    toy_model: Path,
    photo: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    code: int,
    words: str,
) -> None:
    monkeypatch.chdir(photo.parent)

    assert main(["tools", *arguments, "--model", str(toy_model)]) == code
    (line,) = capsys.readouterr().err.splitlines()
    assert words in line
    assert [path.name for path in photo.parent.iterdir()] == ["photo.png"]


def test_an_image_that_no_jpeg_can_hold(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Image.new("RGB", (65_501, 8)).save(tmp_path / "wide.png")
    arguments = ["degrade", str(tmp_path / "wide.png"), "--jpeg", "50", "-o", str(tmp_path / "out.png")]

    assert main(arguments) == 1
    assert "expected an image of at most 65500 pixels a side for JPEG" in capsys.readouterr().err
    assert not (tmp_path / "out.png").exists()


@pytest.mark.parametrize(
    ("tool", "image", "code", "words"),
    [
        ("../x", "photo.png", 2, "unknown tool '../x'"),
        ("deblur-1", "", 2, "is a folder; name a file in it"),
        ("deblur-1", "/", 2, "is a folder; name a file in it"),
    ],
)
def test_a_tool_or_image_that_makes_no_name(
    photo: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tool: str,
    image: str,
    code: int,
    words: str,
) -> None:
    monkeypatch.chdir(photo.parent)

    assert main(["tools", tool, image]) == code
    assert words in capsys.readouterr().err
