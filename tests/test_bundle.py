"""The bundle for a lent machine: it trains there, in a fresh interpreter, with few libraries."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from rlrestore.model_folder import read_card
from tests.toys import save_toy

Run = Callable[..., int]
DRIVER = """
import runpy, sys

MISSING = "cv2", "tqdm", "stable_baselines3", "sb3_contrib", "tensorboard"

sys.modules |= dict.fromkeys(MISSING)  # which makes them unimportable
import torch
torch.set_num_threads(1)
torch.cpu.get_capabilities = dict
from functools import partial
import rlrestore
assert rlrestore.__file__.startswith(sys.argv[1].removesuffix("scripts/train_release.py"))
from rlrestore.agent import learn, training
from rlrestore.toolbox import training as tool_training
tool_training.VALIDATION_PATCHES = 2
learn.VALIDATION_EPISODES = learn.USAGE_PATCHES = 4
learn.PRETRAINING_ROUNDS = 1
training.AgentSettings = partial(training.AgentSettings, episodes=2, fits=1, batch=2)
sys.argv = sys.argv[1:]
sys.path.insert(0, sys.argv[0].removesuffix("/train_release.py"))
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.fixture
def photos(make_photograph: Callable[..., npt.NDArray[np.uint8]], tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for seed in range(2):
        Image.fromarray(make_photograph(136, 140, seed)).save(folder / f"{seed}.png")
    return folder


def train(bundle: Path, tmp_path: Path, out: Path) -> "subprocess.CompletedProcess[str]":
    """Train for a moment on a machine that lacks most libraries, in a fresh interpreter."""
    driver, python = tmp_path / "driver.py", tmp_path / "python"
    driver.write_text(DRIVER)
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{driver}" "$@"\n')
    python.chmod(0o755)
    options = ["--batch", "4", "--own", "1", "--mixture", "paper"]
    return subprocess.run(
        ["bash", str(bundle / "train_bundle.sh"), str(out), "0.004", *options],
        env={**os.environ, "PYTHON": str(python), "WORK": str(tmp_path / "work")},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_bundle_trains_with_few_libraries(run_script: Run, photos: Path, tmp_path: Path) -> None:
    bundle, out, model = tmp_path / "bundle", tmp_path / "out", save_toy(tmp_path / "toy", [0])
    options = ["--data", str(photos), "--out", str(bundle)]
    assert run_script("prepare_bundle.py", *options, "--start", str(model)) == 0
    assert sorted(path.name for path in (bundle / "photos").iterdir()) == ["0.png", "1.png"]
    with Image.open(bundle / "photos/0.png") as packed, Image.open(photos / "0.png") as photo:
        assert packed.format == "WEBP"
        error = np.asarray(packed, float) - np.asarray(photo, float)
        assert 0 < np.sqrt(np.square(error).mean()) < 4
    assert not list(bundle.rglob("*.pyc"))

    done = train(bundle, tmp_path, out)
    assert done.returncode == 0, done.stdout + done.stderr
    files = [path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()]
    assert sorted(files) == ["log.txt", *(f"model/{name}" for name in MODEL)]
    card = read_card(out / "model")
    assert [record["part"] for record in card.training] == ["joint", "agent-again"]
    assert all(record.keys() >= {"device", "minutes", "steps", "usage"} for record in card.training)


MODEL = ("agent.safetensors", "card.json", "toolbox.safetensors")


def test_what_is_senseless_is_refused(
    run_script: Run,
    photos: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bundle = tmp_path / "bundle"
    options = ["--data", str(photos), "--out", str(bundle)]
    assert run_script("prepare_bundle.py", *options, "--state", str(photos)) == 2
    assert "expected a state that --pack wrote" in capsys.readouterr().err
    assert run_script("prepare_bundle.py", *options, "--start", "nowhere") == 2
    assert "no model 'nowhere'" in capsys.readouterr().err
    state = tmp_path / "state"
    state.mkdir()
    (state / "release.json").write_text("{}")
    both = ["--start", str(save_toy(tmp_path / "toy", [0])), "--state", str(state)]
    assert run_script("prepare_bundle.py", *options, *both) == 0
    assert (bundle / "state/release.json").read_text() == "{}"
    assert (bundle / "start/card.json").exists()
    assert run_script("prepare_bundle.py", *options) == 2
    assert "exists already" in capsys.readouterr().err
