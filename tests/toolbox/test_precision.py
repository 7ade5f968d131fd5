"""Tools in bfloat16: faster where a processor multiplies it, and the same to the eye."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import nn

from rlrestore.cli.main import build_parser, main
from rlrestore.devices import restoring_precision
from rlrestore.errors import UsageError
from rlrestore.restorer import Restorer
from rlrestore.runtime import load_runtime
from rlrestore.runtime.torch_runtime import TorchRuntime
from rlrestore.toolbox.networks import receptive_radius
from rlrestore.toolbox.precision import in_bfloat16
from rlrestore.toolbox.specs import TOOLS
from rlrestore.toolbox.toolbox import Toolbox
from tests.toys import save_toy

SOME = (TOOLS[0], TOOLS[2])
"""One tool of each depth."""


@pytest.mark.parametrize("family", ["hourglass", "fast", "paper"])
def test_the_middle_layers_alone_compute_in_bfloat16(family: str) -> None:
    torch.manual_seed(0)
    toolbox = Toolbox(SOME, family)
    for parameter in toolbox.parameters():
        nn.init.normal_(parameter, std=0.03)
    quick, images = in_bfloat16(toolbox), torch.rand(2, 3, 21, 34)
    for index, network in enumerate(quick.networks):
        kinds = [layer.weight.dtype for layer in network.modules() if isinstance(layer, nn.Conv2d)]
        full = sum(kind == torch.float32 for kind in kinds)
        assert full == (len(kinds) if family == "paper" else 2)
        expected, restored = toolbox.apply_tool(index, images), quick.apply_tool(index, images)
        residual = (expected - images).abs().max()
        assert residual > 0.01
        assert restored.dtype == torch.float32
        assert (restored - expected).abs().max() < 0.01 * residual
        assert receptive_radius(network) == receptive_radius(toolbox.networks[index])
    assert {weight.dtype for weight in toolbox.parameters()} == {torch.float32}


@pytest.mark.parametrize("mode", ["global", "local"])
def test_the_shipped_model_stays_within_one_of_255(photograph: npt.NDArray[np.uint8], mode: str) -> None:
    rng = np.random.default_rng(0)
    noisy = np.clip(photograph + rng.normal(0, 25, photograph.shape), 0, 255).astype(np.uint8)
    quick = Restorer.from_pretrained(precision="bfloat16").restore(noisy, mode=mode)
    full = Restorer.from_pretrained(precision="float32").restore(noisy, mode=mode)
    assert (quick.trace.to_json()["precision"], full.trace.precision) == ("bfloat16", "float32")
    assert quick.trace.tools == full.trace.tools != ()
    assert 0 < np.abs(quick.photo.pixels - full.photo.pixels).max() < 1 / 255
    assert np.abs(quick.image.astype(int) - full.image).max() <= 1


@pytest.mark.parametrize(
    ("flags", "precision"),
    [({"amx_bf16": True}, "bfloat16"), ({"avx512_bf16": True}, "float32"), ({}, "float32")],
)
def test_it_is_taken_by_itself_where_matrices_of_it_are_multiplied(
    flags: dict[str, object], precision: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: flags, raising=False)
    folder, dtype = save_toy(tmp_path, [0]), getattr(torch, precision)
    assert restoring_precision(torch.device("cpu")) == dtype
    assert restoring_precision(torch.device("cuda")) == torch.float32
    for model, expected in (
        (load_runtime(folder), dtype),
        (load_runtime(folder, precision="float32"), torch.float32),
        (TorchRuntime.load(folder), torch.float32),
    ):
        assert isinstance(model, TorchRuntime)
        assert next(model.toolbox.networks[0].get_submodule("middle").parameters()).dtype == expected


def test_saving_keeps_every_weight(tmp_path: Path) -> None:
    save_toy(tmp_path / "toy", [0, 1])
    load_runtime(tmp_path / "toy", precision="bfloat16").save(tmp_path / "again")
    for name in ("toolbox.safetensors", "agent.safetensors"):
        assert (tmp_path / "again" / name).read_bytes() == (tmp_path / "toy" / name).read_bytes()


def test_measuring_stays_in_float32_unless_asked() -> None:
    parse = build_parser().parse_args
    assert parse(["evaluate", "--data", "x"]).precision == "float32"
    assert parse(["restore", "x.png"]).precision == "auto"
    assert parse(["serve"]).precision == "auto"


def test_an_unknown_precision_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = save_toy(tmp_path, [0])
    with pytest.raises(UsageError, match="expected a precision of auto, float32, bfloat16, got 'half'"):
        load_runtime(folder, precision="half")  # type: ignore[arg-type]  # that is what is tested
    assert main(["evaluate", "--tools", "--data", str(tmp_path), "--precision", "bfloat16"]) == 2
    assert "--tools measures in float32: leave out --precision" in capsys.readouterr().err
