"""The script by which tools learn from a slower teacher runs, on toys."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image

from rlrestore.agent import distillation
from rlrestore.agent.storage import load_agent, save_model
from rlrestore.model_folder import read_card
from rlrestore.model_folder.card import ModelCard
from rlrestore.toolbox.specs import ToolSpec
from rlrestore.toolbox.storage import load_toolbox
from rlrestore.toolbox.toolbox import Toolbox
from tests.toys import make_policy, save_single, save_toy


@pytest.fixture
def options(
    make_photograph: Callable[..., npt.NDArray[np.uint8]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> list[str]:
    """Two photographs to train on, and little of everything."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for seed in range(2):
        Image.fromarray(make_photograph(136, 140, seed)).save(folder / f"{seed}.png")
    usual = distillation.DistillationSettings.__init__
    monkeypatch.setattr(
        distillation.DistillationSettings,
        "__init__",
        lambda self, **more: usual(self, chains=4, first=8, **more),
    )
    return ["--data", str(folder), "--mixture", "mild", "--batch", "6"]


def test_tools_are_distilled(run_script: Callable[..., int], options: list[str], tmp_path: Path) -> None:
    """Wider, with a single network, from a start; the same command goes on, the agent stays."""
    torch.manual_seed(0)
    specs = [ToolSpec(name, "noise", 0.0, 30.0, depth=8) for name in ("one", "two", "three")]
    start, out = tmp_path / "start", tmp_path / "out"
    toolbox = Toolbox(specs, widths={8: (4, 8)}).requires_grad_(False)
    for weight in toolbox.parameters():
        weight.add_(0.05 * torch.randn_like(weight))
    save_model(start, toolbox, make_policy([0, 1]), ModelCard("toy", precision="float32"))
    options += ["--start", str(start), "--out", str(out), "--single", str(save_single(tmp_path / "single"))]
    options += ["--widths", "4", "12", "--tools", "one", "two"]
    assert run_script("distil_tools.py", *options, "--steps", "2") == 0
    assert run_script("distil_tools.py", *options, "--steps", "3") == 0

    begun, made = load_toolbox(start), load_toolbox(out)
    assert made.widths[8] == (4, 12)
    patches = torch.rand(2, 3, 63, 63, generator=torch.Generator().manual_seed(0))
    apart = [
        float((made.apply_tool(tool, patches) - begun.apply_tool(tool, patches)).abs().max())
        for tool in range(3)
    ]
    assert min(apart[:2]) > 1e-4 > apart[2]
    for given, kept in zip(
        load_agent(start, begun).parameters(), load_agent(out, made).parameters(), strict=True
    ):
        assert torch.equal(given, kept)
    record = read_card(out).training[-1]
    assert (record["part"], record["steps"], record["mixture"]) == ("distillation", 3, "mild")


def test_what_cannot_be_distilled(
    run_script: Callable[..., int], options: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    start = str(save_toy(tmp_path / "start", [0, 1]))
    options += ["--start", start, "--steps", "1"]
    refused = {
        ("--out", start): "is the model to begin with: choose another --out",
        ("--out", str(tmp_path / "a"), "--tools", "keep", "sharpen"): "darken, keep, got sharpen",
        ("--out", str(tmp_path / "b"), "--single", start): "expected a model of one tool to teach",
        ("--out", str(tmp_path / "c"), "--single", "nowhere"): "no model 'nowhere'",
        ("--out", str(tmp_path / "d"), "--widths", "2", "4"): "expected widths of at least [32, 104]",
        ("--out", str(tmp_path / "e"), "--widths", "32", "513"): "widths of at most 512, got [32, 513]",
    }
    for more, message in refused.items():
        assert run_script("distil_tools.py", *options, *more) == 2
        assert message in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["photos", "start"]
