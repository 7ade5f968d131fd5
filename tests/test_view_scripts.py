"""The script by which tools learn from their own views runs, on toys."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image

from rlrestore.agent.storage import save_model
from rlrestore.model_folder import read_card
from rlrestore.model_folder.card import ModelCard
from rlrestore.runtime.torch_runtime import TorchTools
from rlrestore.runtime.views import Views
from rlrestore.toolbox.storage import load_toolbox
from tests.toys import make_policy, make_toolbox, save_single


@pytest.fixture
def photos(make_photograph: Callable[..., npt.NDArray[np.uint8]], tmp_path: Path) -> Path:
    """Two photographs to train on."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for seed in range(2):
        Image.fromarray(make_photograph(136, 140, seed)).save(folder / f"{seed}.png")
    return folder


def test_tools_learn_from_their_own_views(
    run_script: Callable[..., int], photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What a result on one view differs by from the mean of eight shrinks; the agent stays."""
    torch.manual_seed(0)
    toolbox = make_toolbox()
    for weight in toolbox.parameters():
        weight.add_(0.02 * torch.randn_like(weight))
    start, out = tmp_path / "start", tmp_path / "out"
    save_model(start, toolbox, make_policy([0, 1]), ModelCard("toy", precision="float32"))
    options = ["--data", str(photos), "--start", str(start), "--mixture", "mild", "--batch", "4"]
    learning = ["--steps", "40", "--rate", "3e-3", "--clean", "0"]
    assert run_script("learn_from_views.py", *options, *learning, "--out", str(out)) == 0

    patches = torch.rand(8, 3, 63, 63, generator=torch.Generator().manual_seed(0))
    apart = []
    for folder in (start, out):
        tools = Views(TorchTools(load_toolbox(folder)), 8)
        one = load_toolbox(folder).apply_tool(0, patches).numpy()
        apart.append(np.square(one - tools.apply(0, patches.numpy())).mean())
    assert apart[1] < 0.8 * apart[0]
    assert (start / "agent.safetensors").read_bytes() == (out / "agent.safetensors").read_bytes()
    record = read_card(out).training[-1]
    assert (record["part"], record["steps"], record["mixture"]) == ("views", 40, "mild")
    further = ["--start", str(out), "--teacher", str(start), "--steps", "1", "--out", str(tmp_path / "more")]
    assert run_script("learn_from_views.py", *options, *further) == 0
    single = save_single(tmp_path / "single")
    assert run_script("learn_from_views.py", *options, *further, "--teacher", str(single)) == 2
    assert "expected a teacher with the same tools, got single" in capsys.readouterr().err
    assert run_script("learn_from_views.py", *options, *learning, "--out", str(start)) == 2
    assert "is the model to begin with: choose another --out" in capsys.readouterr().err
