"""`rlrestore explain`: what it writes, what it says, and one line for what it refuses."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from rlrestore.cli.main import main
from tests.toys import save_toy


@pytest.fixture
def photo(make_photograph: Callable[..., npt.NDArray[np.uint8]], tmp_path: Path) -> str:
    path = tmp_path / "photo.png"
    Image.fromarray(make_photograph(100, 120, 0)).save(path)
    return str(path)


@pytest.fixture
def toy(tmp_path: Path) -> str:
    return str(save_toy(tmp_path / "toy", [1]))


def test_a_tool_is_explained(
    photo: str, toy: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "deep" / "out"
    command = ["explain", photo, "--at", "40,30,16,12", "--tool", "brighten", "-o", str(out), "--model", toy]
    assert main([*command, "--detector", "brightness", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed == json.loads((out / "photo_brighten_brightness_explain.json").read_text())
    assert printed["window"] == {"x": 40, "y": 30, "width": 16, "height": 12}
    assert printed["map_sum"] == pytest.approx(printed["sharp"] - printed["blurred"], abs=1e-6)
    assert printed["inside_share"] == 1
    with Image.open(out / "photo_brighten_brightness_explain.png") as picture:
        assert picture.width > 900


def test_the_agents_choice_is_explained(
    photo: str, toy: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["explain", photo, "--at", "0,0,63,63", "-o", str(tmp_path), "--model", toy]) == 0
    said = capsys.readouterr().out
    assert said.startswith(
        "the agent chooses darken; gain that the agent expects of darken, dB: 1 when blurred"
    )


def test_each_explanation_has_a_name_of_its_own(photo: str, toy: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    for options in ([], ["--tool", "keep"], ["--tool", "keep", "--detector", "brightness"]):
        assert main(["explain", photo, "--at", "0,0,63,63", *options, "-o", str(out), "--model", toy]) == 0
    names = "photo_explain", "photo_keep_brightness_explain", "photo_keep_explain"
    files = [f"{name}.{ending}" for name in names for ending in ("json", "png")]
    assert sorted(path.name for path in out.iterdir()) == files


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--at", "100,0,40,40"], "inside the picture of 120×100 pixels, got 100,0,40,40"),
        (["--at", "1,2,3"], "expected four whole numbers X,Y,W,H, got '1,2,3'"),
        (["--at", "0,0,9,9", "--tool", "sharpen"], "unknown tool 'sharpen': expected one of brighten"),
        (["--at", "0,0,9,9", "--tool", "keep", "--detector", "hue"], "unknown detector 'hue'"),
        (["--at", "0,0,9,9", "--detector", "brightness"], "give --tool with it"),
    ],
)
def test_bad_usage_is_one_line(
    photo: str, toy: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    out = tmp_path / "out"
    try:
        code = main(["explain", photo, *options, "-o", str(out), "--model", toy])
    except SystemExit as end:
        code = int(end.code or 0)
    assert code == 2
    said = capsys.readouterr().err
    assert message in said
    assert len(said.splitlines()) == 1
    assert not out.exists()


def test_a_file_is_no_folder(photo: str, toy: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", photo, "--at", "0,0,9,9", "-o", photo, "--model", toy]) == 2
    assert "expected -o to name a folder" in capsys.readouterr().err


def test_paths_that_cannot_be_are_wrong_usage(
    photo: str, toy: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rest = ["--at", "0,0,9,9", "--model", toy]
    assert main(["explain", str(tmp_path / "none.png"), *rest, "-o", str(tmp_path)]) == 2
    assert "does not exist" in capsys.readouterr().err
    assert main(["explain", photo, *rest, "--tool", "keep", "-o", f"{photo}/deep"]) == 2
    assert "cannot be made" in capsys.readouterr().err
