"""Fixtures that every test may ask for."""

import os
import runpy
import sys
import zlib
from collections.abc import Callable, Generator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import numpy as np
import numpy.typing as npt
import pytest

from tests.releases import Release, make_release

if TYPE_CHECKING:
    import torch

ROOT = Path(__file__).resolve().parents[1]


def pytest_configure(config: pytest.Config) -> None:
    """Make a run depend on the source alone: not on the machine's cores, its load, or chance."""
    # Two xdist workers with two threads each slow one another down; commands that tests start inherit this.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    hypothesis.settings.register_profile("rlrestore", deadline=None, derandomize=True)
    hypothesis.settings.load_profile("rlrestore")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """Let what a test draws from torch's own generator not depend on the tests that ran before it."""
    import torch

    torch.manual_seed(0)


@pytest.hookimpl(wrapper=True)
def pytest_fixture_setup(fixturedef: pytest.FixtureDef[object]) -> Generator[None, object, object]:
    """The same for what is made once for several tests, whichever of them comes first."""
    import torch

    if fixturedef.scope == "function":
        return (yield)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(zlib.crc32(fixturedef.argname.encode()))
        return (yield)


@pytest.fixture(autouse=True, scope="session")
def _one_torch_thread() -> None:
    import torch

    torch.set_num_threads(1)


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=pytest.mark.cuda), "mps"])
def device(request: pytest.FixtureRequest) -> "torch.device":
    """Every kind of device in turn; those that this machine lacks are skipped."""
    import torch

    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not there[request.param]:
        pytest.skip(f"this machine has no device {request.param}")
    return torch.device(request.param)


@pytest.fixture(scope="session")
def root() -> Path:
    """The top of the source tree."""
    return ROOT


@pytest.fixture(scope="session")
def release(tmp_path_factory: pytest.TempPathFactory) -> Release:
    """A release of the authors' kind with random weights, on disk; not to be changed."""
    return make_release(tmp_path_factory.mktemp("releases") / "random")


@pytest.fixture(scope="session")
def reference() -> Path:
    """The authors' released checkpoints, where they stand beside the source tree."""
    return _beside("reference/rl-restore")


@pytest.fixture(scope="session")
def samples() -> Path:
    """The authors' twelve sample pairs and four whole images, likewise."""
    return _beside("data/test/rl-restore-samples")


@pytest.fixture(scope="session")
def test_sets() -> Path:
    """The folder of the sets that the figures are measured on, likewise."""
    return _beside("data/test")


def _beside(place: str) -> Path:
    folder = ROOT.parent / "shared" / place
    if not folder.is_dir():
        pytest.skip(f"needs the files in {folder}")
    return folder


@pytest.fixture
def small_trainings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trainings of few episodes that are measured on few patches, in float32 on any processor."""
    import torch

    from rlrestore.agent import learn, ppo, training
    from rlrestore.agent.ppo import PpoSettings
    from rlrestore.agent.training import AgentSettings
    from rlrestore.toolbox import training as tool_training

    monkeypatch.setattr(torch.cpu, "get_capabilities", dict, raising=False)
    monkeypatch.setattr(tool_training, "VALIDATION_PATCHES", 2)
    monkeypatch.setattr(learn, "VALIDATION_EPISODES", 4)
    monkeypatch.setattr(learn, "USAGE_PATCHES", 4)
    monkeypatch.setattr(learn, "PRETRAINING_ROUNDS", 1)
    monkeypatch.setattr(training, "AgentSettings", partial(AgentSettings, episodes=2, fits=1, batch=2))
    monkeypatch.setattr(ppo, "PpoSettings", partial(PpoSettings, episodes=2, rollout=2, batch=4, epochs=1))


@pytest.fixture(scope="session")
def make_photograph() -> Callable[..., npt.NDArray[np.uint8]]:
    """A painter: `make_photograph(height, width, seed=0)` gives uint8 pixels `(height, width, 3)`."""
    return _photograph


@pytest.fixture
def photograph() -> npt.NDArray[np.uint8]:
    """A painted photograph, uint8 `(128, 160, 3)`: smooth light, edges, texture; always the same."""
    return _photograph(128, 160)


def _photograph(height: int, width: int, seed: int = 0) -> npt.NDArray[np.uint8]:
    """Paint a scene that degrades like a photograph: a sky, shaded discs, a striped wall, grain.

    Edges are one pixel soft, colours are muted and neighbouring grains agree, so that as in a photograph most
    of the energy lies in low frequencies and little of it in the colour differences.
    """
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    scene = np.stack([0.75 - 0.3 * y / height, 0.6 + 0.2 * x / width, 0.5 + 0.3 * y / height], axis=-1)
    for _ in range(12):
        centre_y, centre_x = rng.uniform(0, height), rng.uniform(0, width)
        radius = rng.uniform(0.06, 0.22) * min(height, width)
        cover = np.clip(radius + 0.5 - np.hypot(y - centre_y, x - centre_x), 0.0, 1.0)[..., None]
        shade = (1.0 - 0.3 * (y - centre_y) / radius)[..., None]
        colour = rng.uniform(0.15, 0.8) + rng.uniform(-0.1, 0.1, 3)
        scene = (1.0 - cover) * scene + cover * colour * shade
    stripes = 0.5 + 0.15 * np.clip(3 * np.sin(2 * np.pi * (x + 0.3 * y) / 14), -1.0, 1.0)
    wall = ((y > 0.6 * height) & (x > 0.45 * width))[..., None]
    scene = np.where(wall, stripes[..., None] * np.array([1.0, 0.9, 0.8]), scene)
    grain = rng.normal(0.0, 0.06, (height + 2, width + 2))
    scene += np.lib.stride_tricks.sliding_window_view(grain, (3, 3)).mean(axis=(2, 3))[..., None]
    pixels: npt.NDArray[np.uint8] = np.rint(255 * np.clip(scene, 0.0, 1.0)).astype(np.uint8)
    return pixels


@pytest.fixture
def run_script(root: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """Runs a script by its name with arguments, and returns its exit code."""

    def run(script: str, *arguments: str) -> int:
        monkeypatch.setattr(sys, "argv", [script, *arguments])
        try:
            runpy.run_path(str(root / "scripts" / script), run_name="__main__")
        except SystemExit as end:
            return int(end.code or 0)
        return 0

    return run
