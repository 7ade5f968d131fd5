"""The scripts behind the numbers in the docs run, on toys."""

import json
import runpy
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from rlrestore.toolbox.storage import load_toolbox


@pytest.fixture(scope="module")
def photos(
    make_photograph: Callable[..., npt.NDArray[np.uint8]], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    for seed in range(2):
        Image.fromarray(make_photograph(128, 130, seed)).save(folder / f"{seed}.png")
    return folder


def run(root: Path, script: str, arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", [script, *arguments])
    runpy.run_path(str(root / "scripts" / script), run_name="__main__")


@pytest.mark.parametrize(
    "variation", [[], ["--dropout", "0.5", "--fold", "4"], ["--loss", "l1", "--start", "all"]]
)
def test_a_row_of_the_recipe(
    root: Path,
    photos: Path,
    variation: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    fixed = ["--data", str(photos), "--tool", "denoise-1", "--minutes", "0.005", "--start-minutes", "0.005"]
    run(root, "try_recipe.py", [*fixed, *variation], monkeypatch)
    row = json.loads(capsys.readouterr().out)
    assert row["steps"] >= 1
    assert {"alone_db", "light_db", "mixed_db"} <= row.keys()


def test_the_single_network_is_a_toolbox_of_one_that_goes_on(
    root: Path,
    photos: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for steps in ("1", "2"):
        arguments = ["--data", str(photos), "--out", str(tmp_path), "--steps", steps]
        run(root, "train_single.py", arguments, monkeypatch)
        assert f" {steps} steps" in capsys.readouterr().out
    (spec,) = load_toolbox(tmp_path).specs
    assert (spec.name, spec.distortion, spec.low, spec.high, spec.depth) == ("single", "mixture", 12, 17, 8)
