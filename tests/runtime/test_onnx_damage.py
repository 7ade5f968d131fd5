"""An exported model whose networks are others than its card says: one line, and nothing restored wrongly."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper
from PIL import Image

from rlrestore.agent.policy import Policy
from rlrestore.cli.main import main
from rlrestore.export.agent_graphs import agent_graph
from rlrestore.export.writing import export_model
from rlrestore.model_folder.exported import AGENT
from tests.toys import make_model

TOOL = "00-brighten.onnx"
SHAPE: list[str | int | None] = ["batch", 3, "height", "width"]


@pytest.fixture
def toy(tmp_path: Path) -> Path:
    """The toy model, exported."""
    export_model(make_model([0, 1]), tmp_path / "toy")
    return tmp_path / "toy"


@pytest.fixture
def refused(
    toy: Path, write_png: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> Callable[[str, bytes], str]:
    """Replace a network, let the card say that it belongs there, restore; return the line that says no."""

    def run(name: str, network: bytes) -> str:
        (toy / name).write_bytes(network)
        card = json.loads((toy / "card.json").read_text())
        digests = [hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(toy.glob("*.onnx"))]
        card["onnx"]["sha256"] = digests
        (toy / "card.json").write_text(json.dumps(card))
        code = main(["restore", str(write_png), "-o", str(tmp_path / "out.png"), "--model", str(toy)])
        assert code == 2
        assert not (tmp_path / "out.png").exists()
        (line,) = capsys.readouterr().err.splitlines()
        return line

    return run


@pytest.fixture
def write_png(tmp_path: Path) -> Path:
    """An image to restore."""
    Image.new("RGB", (40, 30), (90, 90, 90)).save(tmp_path / "in.png")
    return tmp_path / "in.png"


def network(
    node: Any, inputs: int = 1, outputs: int = 1, kinds: tuple[int, int] = (TensorProto.FLOAT,) * 2
) -> bytes:
    """A network of one node; the kinds are those of what goes in and of what comes out."""
    given = [helper.make_tensor_value_info(name, kinds[0], SHAPE) for name in "xz"[:inputs]]
    made = [helper.make_tensor_value_info(name, kinds[1], None) for name in "yw"[:outputs]]
    graph = helper.make_graph([node], "graph", given, made)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(model.SerializeToString())


HALVING = helper.make_node("AveragePool", ["x"], ["y"], kernel_shape=[2, 2], strides=[2, 2])
GREYING = helper.make_node("ReduceMean", ["x"], ["y"], axes=[1])
TO_INT = TensorProto.FLOAT, TensorProto.INT32
WHOLE = helper.make_node("Cast", ["x"], ["y"], to=TensorProto.INT32)
ADDING = helper.make_node("Add", ["x", "z"], ["y"])
SPLITTING = helper.make_node("Split", ["x"], ["y", "w"], axis=3)
SAME = helper.make_node("Identity", ["x"], ["y"])


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (network(HALVING), "expected (1, 3, 30, 40) float32 to keep shape and type, got (1, 3, 15, 20)"),
        (network(GREYING), "expected (1, 3, 30, 40) float32 to keep shape and type, got (1, 1, 30, 40)"),
        (network(WHOLE, kinds=TO_INT), "to keep shape and type, got (1, 3, 30, 40) int32"),
        (network(ADDING, inputs=2), "expected 1 arrays in and 1 out, got 2 in and 1 out"),
        (network(SPLITTING, outputs=2), "1 arrays in and 1 out, got 1 in and 2 out"),
        (network(SAME, kinds=(TensorProto.DOUBLE,) * 2), "that takes (1, 3, 30, 40) float32, but it fails: "),
    ],
    ids=["halves", "greys", "whole numbers", "two in", "two out", "doubles"],
)
def test_a_network_that_is_no_tool_is_refused_in_a_line(
    made: bytes, words: str, refused: Callable[[str, bytes], str]
) -> None:
    line = refused(TOOL, made)
    assert line.startswith("rlrestore: error: the tool brighten of ")
    assert words in line
    assert line.endswith("; export the model again")


def test_an_agent_of_other_tools_is_refused(refused: Callable[[str, bytes], str]) -> None:
    line = refused(AGENT, agent_graph(Policy(2), "float32"))
    assert "the agent of " in line
    assert "expected a network of 4 values and a memory, got shapes ['batch', 3]" in line


def test_a_tool_in_the_agents_place_is_refused(toy: Path, refused: Callable[[str, bytes], str]) -> None:
    assert "expected 4 arrays in and 3 out, got 1 in and 1 out" in refused(AGENT, (toy / TOOL).read_bytes())


def test_the_right_networks_still_restore(toy: Path, write_png: Path, tmp_path: Path) -> None:
    """Brightened by 1/8 and darkened by 1/16: 90 becomes 106, within the rounding of two steps."""
    assert main(["restore", str(write_png), "-o", str(tmp_path / "out.png"), "--model", str(toy)]) == 0
    pixels = np.asarray(Image.open(tmp_path / "out.png"))
    assert set(np.unique(pixels)) == {106}
