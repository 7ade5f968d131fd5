"""`scripts/average_agent.py`: a finished agent trained on, on toys."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import safetensors.numpy
import torch
from PIL import Image

from rlrestore.agent.training import AgentTraining
from rlrestore.model_folder import read_card
from tests.toys import save_toy

Run = Callable[..., int]


@pytest.fixture
def photos(make_photograph: Callable[..., npt.NDArray[np.uint8]], tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for seed in range(2):
        Image.fromarray(make_photograph(136, 140, seed)).save(folder / f"{seed}.png")
    return folder


def test_an_agent_becomes_the_mean_of_its_rounds(
    run_script: Run,
    photos: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A round that adds 1 to every weight: after three of them the mean is 2 more; the tools stay."""
    filled = list[int]()

    def step(training: AgentTraining, moment: object) -> dict[str, torch.Tensor]:
        assert training.buffer is not None
        filled.append(len(training.buffer))
        with torch.no_grad():
            for weight in training.policy.parameters():
                weight.add_(1)
        return {}

    monkeypatch.setattr(AgentTraining, "step", step)
    toy, out = save_toy(tmp_path / "toy", [0]), tmp_path / "out"
    options = ["--data", str(photos), "--start", str(toy), "--rounds", "3", "--mixture", "mild"]
    assert run_script("average_agent.py", *options, "--out", str(out)) == 0
    before, after = (safetensors.numpy.load_file(folder / "agent.safetensors") for folder in (toy, out))
    for name in ("level.weight", "memory.bias_hh", "trunk.hidden.bias"):
        np.testing.assert_allclose(after[name], before[name] + 2, atol=1e-2)  # float16 on disk
    assert (toy / "toolbox.safetensors").read_bytes() == (out / "toolbox.safetensors").read_bytes()
    assert filled == [12 * 128] * 3
    record = read_card(out).training[-1]
    assert (record["part"], record["mixture"]) == ("agent-averaged", "mild")
    assert run_script("average_agent.py", *options, "--out", str(toy)) == 2
    assert "is the model to begin with: choose another --out" in capsys.readouterr().err
