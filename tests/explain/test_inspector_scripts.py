"""The scripts behind docs/inspect.md run, on toys."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from experiments import inspector_training
from rlrestore.model_folder.inspector import read_inspector
from tests.toys import save_toy

Run = Callable[..., int]


@pytest.fixture(scope="module")
def photos(
    make_photograph: Callable[..., npt.NDArray[np.uint8]], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    for seed, name in enumerate(("held out 1", "trained on")):  # as their checksums say
        Image.fromarray(make_photograph(240, 260, seed)).save(folder / f"{name}.png")
    return folder


def test_an_inspector_is_trained_calibrated_and_measured(
    run_script: Run,
    photos: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(inspector_training, "CALIBRATED_ON", {1: 40, 3: 12})
    options = ["--out", str(tmp_path), "--patches", "64", "--steps", "9"]
    measured = ["--measure", "--test", str(photos), "--windows", "4"]
    assert run_script("train_inspector.py", "--data", str(photos), *options, *measured) == 0

    entry, _ = read_inspector(tmp_path)
    assert entry.windows == (1, 9)
    assert "--patches 64" in entry.facts["command"]
    printed = capsys.readouterr().out
    assert "| camera | 4 |" in printed
    assert "| taken for unfamiliar | drawings | text |" in printed


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--measure"], "--measure needs something to measure on"),
        ([], "expected --data to train on, or --measure"),
        (["--measure", "--test", "."], "has no inspector"),
    ],
)
def test_bad_usage_is_one_line(
    run_script: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], words: str
) -> None:
    assert run_script("train_inspector.py", "--out", str(tmp_path), *options) == 2
    err = capsys.readouterr().err
    assert len(err.splitlines()) == 1
    assert words in err


def test_features_are_projected(
    run_script: Run, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "figure.png"
    assert run_script("project_features.py", "--data", str(photos), "--out", str(out), "--patches", "2") == 0

    assert out.exists()
    assert "| denoise-3: middle |" in capsys.readouterr().out


def test_a_model_without_those_tools_is_refused(
    run_script: Run, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    toy = save_toy(tmp_path / "toy", [0])
    arguments = ["--data", str(photos), "--out", str(tmp_path / "x.png"), "--model", str(toy)]
    assert run_script("project_features.py", *arguments) == 2
    assert "expected a model with the tools deblur-3, denoise-3, dejpeg-3" in capsys.readouterr().err
