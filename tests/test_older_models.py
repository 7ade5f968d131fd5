"""Models of format version 2, whose cards leave sizes unsaid, restore as they did."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import Tensor

from rlrestore.agent.policy import Policy, PolicySizes
from rlrestore.agent.storage import save_model
from rlrestore.cli.main import main
from rlrestore.model_folder import CARD
from rlrestore.restorer import Restorer
from rlrestore.runtime.torch_runtime import TorchRuntime
from rlrestore.toolbox.specs import TOOLS
from rlrestore.toolbox.toolbox import Toolbox

SIZES = PolicySizes(hidden=64, features=32, memory=50)
"""Of every agent of that version."""


def random_model() -> tuple[Toolbox, Policy]:
    """Two narrow tools of family `fast`, and an agent that takes one at every step."""
    toolbox = Toolbox(TOOLS[5:7], "fast", widths={3: (6,), 8: (4,)})
    policy, generator = Policy(2, sizes=SIZES), torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in (*toolbox.parameters(), *policy.parameters()):
            parameter.copy_(0.1 * torch.randn(parameter.shape, generator=generator))
        policy.level.bias.fill_(5)
    return toolbox, policy


def write(folder: Path, part: str, tensors: dict[str, Tensor]) -> str:
    """Write a part as that version did, in float32; return its checksum."""
    data = safetensors.torch.save({name: tensor.contiguous() for name, tensor in tensors.items()})
    (folder / f"{part}.safetensors").write_bytes(data)
    return hashlib.sha256(data).hexdigest()


@pytest.fixture
def older(tmp_path: Path) -> Path:
    """A model as version 2 wrote it, spelled out here."""
    toolbox, policy = random_model()
    names = ["denoise-2", "denoise-3"]
    tools = [
        {"name": names[0], "distortion": "noise", "low": 12.5, "high": 25.0, "depth": 3},
        {"name": names[1], "distortion": "noise", "low": 25.0, "high": 37.5, "depth": 8},
    ]
    agent = {"family": "spectral", "tools": names, "patch_size": 63, "max_steps": 3, "caution_db": 0.0}
    card = {
        "training": [],
        "toolbox": {
            "family": "fast",
            "widths": {"3": 6, "8": 4},
            "tools": tools,
            "sha256": write(tmp_path, "toolbox", toolbox.networks.state_dict()),
        },
        "agent": {**agent, "sha256": write(tmp_path, "agent", policy.state_dict())},
        "format_version": 2,
    }
    (tmp_path / CARD).write_text(json.dumps(card))
    return tmp_path


def test_an_older_model_restores_to_the_same_pixels(older: Path, tmp_path: Path) -> None:
    photo = np.random.default_rng(0).integers(0, 256, (90, 101, 3), np.uint8)
    expected = Restorer(TorchRuntime(*random_model())).restore(photo)
    loaded = Restorer.from_pretrained(older, precision="float32")
    restored = loaded.restore(photo)
    assert [step.tool for step in restored.trace.steps] == [step.tool for step in expected.trace.steps]
    assert restored.trace.steps[0].tool != "stop"
    assert not np.array_equal(restored.image, photo)
    assert np.array_equal(restored.image, expected.image)

    loaded.save_pretrained(tmp_path / "again")  # in today's format, in the precision that it had
    assert json.loads((tmp_path / "again" / CARD).read_text())["format_version"] == 3
    again = Restorer.from_pretrained(tmp_path / "again", precision="float32")
    assert np.array_equal(again.restore(photo).image, restored.image)


def test_float16_on_disk_costs_less_than_a_hundredth_of_a_db(older: Path, tmp_path: Path) -> None:
    toolbox, policy = random_model()
    save_model(tmp_path / "half", toolbox, policy)
    sizes = [
        sum(path.stat().st_size for path in folder.glob("*.safetensors"))
        for folder in (older, tmp_path / "half")
    ]
    assert sizes[1] < 0.6 * sizes[0]
    clean = np.random.default_rng(1).random((80, 80, 3), np.float32)
    before, after = (
        Restorer.from_pretrained(folder, precision="float32").restore(clean, clean).trace.steps[-1].psnr_db
        for folder in (older, tmp_path / "half")
    )
    assert before is not None
    assert after == pytest.approx(before, abs=0.01)


def test_tools_that_are_only_read_are_not_trained(
    older: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--data", str(older), "--out", str(tmp_path / "out"), "--steps", "1", "--family", "fast"]
    assert main(["train-tools", *options]) == 2
    assert (
        "fast is only read, no longer trained: expected family hourglass or paper" in capsys.readouterr().err
    )
