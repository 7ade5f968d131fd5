"""Tools of your own: the contract, both kinds on disk, joint training, and the page that explains them."""

import copy
import importlib.metadata
import re
import shlex
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from rlrestore.agent import joint
from rlrestore.agent.joint import JointSettings, JointTraining
from rlrestore.cli.main import main
from rlrestore.errors import ModelError, UsageError
from rlrestore.imaging.degradation.mixtures import MODERATE
from rlrestore.imaging.patches import PhotoBank
from rlrestore.inference.chains import apply_locally_, apply_tool_
from rlrestore.runtime.torch_runtime import TorchTools
from rlrestore.toolbox import custom
from rlrestore.toolbox.checkpoint import Checkpoint
from rlrestore.toolbox.custom import add_onnx_tool, add_tool, custom_spec, register
from rlrestore.toolbox.specs import LARGEST_RADIUS
from rlrestore.toolbox.storage import load_toolbox, save_toolbox
from rlrestore.toolbox.toolbox import Toolbox
from rlrestore.toolbox.trainer import Budget, Trainer
from tests.toys import make_toolbox, save_toy


class Halve(nn.Module):
    def __init__(self, share: float = 0.5) -> None:
        super().__init__()
        self.share = nn.Parameter(torch.tensor(share))

    def forward(self, images: Tensor) -> Tensor:
        return self.share * images


class Blur(nn.Module):
    """The mean over 7×7 pixels: it looks three pixels far."""

    def forward(self, images: Tensor) -> Tensor:
        return nn.functional.avg_pool2d(images, 7, stride=1, padding=3)


class By(nn.Module):
    """Whatever a function does."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, images: Tensor) -> Tensor:
        return self.function(images)


@pytest.fixture(autouse=True)
def kinds(monkeypatch: pytest.MonkeyPatch) -> None:
    for kind, network in {"halve": Halve, "blur": Blur, "by": Halve}.items():
        monkeypatch.setitem(custom.KINDS, kind, network)


def block_mean(images: Tensor, side: int) -> Tensor:
    """The mean over square blocks of pixels, which lie elsewhere in a tile that begins elsewhere."""
    height, width = images.shape[-2:]
    padded = nn.functional.pad(images, (0, -width % side, 0, -height % side), mode="replicate")
    means = nn.functional.interpolate(nn.functional.avg_pool2d(padded, side), scale_factor=side)
    return means[..., :height, :width]


def with_halve(share: float = 0.25) -> Toolbox:
    return add_tool(make_toolbox(), custom_spec("halve-1", "halve", 0), Halve(share))


def write_smoothing(path: Path, **changes: Any) -> Path:
    """Write the mean over 3×3 pixels as ONNX."""
    weight = np.full((3, 1, 3, 3), 1 / 9, np.float32)
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    node = helper.make_node("Conv", ["x", "w"], ["y"], group=3, pads=changes.get("pads", [1] * 4))
    image = partial(helper.make_tensor_value_info, elem_type=kind, shape=["b", 3, "h", "w"])
    graph = helper.make_graph(
        [node], "smooth", [image("x")], [image("y")], [onnx.numpy_helper.from_array(weight, "w")]
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, path)
    return path


def test_a_module_is_a_tool_like_the_others_and_comes_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    toolbox = with_halve()
    save_toolbox(tmp_path, toolbox)
    loaded = load_toolbox(tmp_path)
    images = torch.rand(2, 3, 9, 10)

    assert loaded.names == (*make_toolbox().names, "halve-1")
    assert loaded.specs == toolbox.specs
    torch.testing.assert_close(loaded.apply_tool(3, images), images / 4)
    monkeypatch.delitem(custom.KINDS, "halve")
    with pytest.raises(ModelError, match=r"a network of kind 'halve', which is not known here: install"):
        load_toolbox(tmp_path)


def test_an_installed_package_makes_its_kinds_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_toolbox(tmp_path, with_halve())
    monkeypatch.delitem(custom.KINDS, "halve")
    points = importlib.metadata.EntryPoints(
        [importlib.metadata.EntryPoint("halve", f"{__name__}:Halve", custom.ENTRY_POINTS)]
    )
    monkeypatch.setattr(importlib.metadata.EntryPoint, "load", lambda _: Halve)
    monkeypatch.setattr(custom, "entry_points", points.select)
    assert load_toolbox(tmp_path).names[-1] == "halve-1"


def test_an_onnx_file_is_a_tool_like_the_others_and_comes_back(tmp_path: Path) -> None:
    path = write_smoothing(tmp_path / "smooth.onnx")
    toolbox = add_onnx_tool(make_toolbox(), custom_spec("smooth-1", "", 1), path)
    save_toolbox(tmp_path / "model", toolbox)
    path.unlink()
    loaded = load_toolbox(tmp_path / "model")
    images = torch.rand(2, 3, 9, 10)

    expected = nn.functional.avg_pool2d(images, 3, stride=1, padding=1)
    torch.testing.assert_close(loaded.apply_tool(3, images), expected, atol=1e-6, rtol=0)
    assert loaded.radius(3) == 1
    assert [path.name for path in (tmp_path / "model").iterdir() if path.suffix == ".onnx"] == []


@pytest.mark.parametrize(
    ("function", "radius", "words"),
    [
        (lambda images: images[..., 1:], 0, r"to keep shape and type, got \(1, 3, 8, 7\)"),
        (lambda images: images.double(), 0, "got .* torch.float64"),
        (lambda images: images / 0, 0, "expected finite values"),
        (torch.sqrt, 0, "expected finite values"),
        (lambda images: (images,), 0, "expected a network that returns a tensor, got tuple"),
        (lambda images: torch.roll(images, 30, dims=3), 1, "farther than its radius of 1 pixels"),
        (lambda images: images.clamp_(0, 1), 0, "leaves its input as it is"),
        (lambda images: block_mean(images, 8), 16, "and wherever it is cut out"),
        (lambda images: images + torch.rand(()), 0, "expected the same result every time, got one"),
        (lambda images: images - images.mean(dim=0), 0, "the same result of an image alone as among others"),
        (lambda images: images.view(1, 3, 8, 8), 0, r"takes \(2, 3, 63, 63\), but it fails"),
        (Blur(), 2, "whatever is farther than its radius of 2 pixels"),
        (lambda images: images - images.mean(dim=(2, 3), keepdim=True), 20, "farther than its radius of 20"),
    ],
)
def test_what_is_no_tool_is_refused(function: Callable[[Tensor], Tensor], radius: int, words: str) -> None:
    with pytest.raises(UsageError, match=f"by-1: .*{words}"):
        add_tool(make_toolbox(), custom_spec("by-1", "by", radius), By(function))


def test_a_network_may_fold_blocks_of_4_pixels() -> None:
    by = By(lambda images: block_mean(images, 4))
    assert add_tool(make_toolbox(), custom_spec("by-1", "by", 8), by).names[-1] == "by-1"


def test_a_radius_that_is_large_enough_is_believed() -> None:
    for radius in (3, 4, 9):
        toolbox = add_tool(make_toolbox(), custom_spec("blur-1", "blur", radius))
        assert toolbox.specs[-1].radius == radius


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: register("onnx", Halve), "expected a kind of network that is neither empty"),
        (lambda: custom_spec("a/b", "halve", 0), "expected a tool's name of letters"),
        (
            lambda: add_tool(make_toolbox(), custom_spec("a", "by", 0), len),  # type: ignore[arg-type]
            "expected a torch.nn.Module",
        ),
        (lambda: custom_spec("a", "halve", 65), "expected a radius from 0 to 64 pixels, got 65"),
        (lambda: custom_spec("stop", "halve", 0), "neither stop nor unchanged, got 'stop'"),
        (
            lambda: add_tool(with_halve(), custom_spec("halve-1", "halve", 0)),
            "expected a new name",
        ),
        (
            lambda: add_tool(make_toolbox(), custom_spec("a", "", 0)),
            "expected the kind of network of a",
        ),
        (
            lambda: add_tool(make_toolbox(), custom_spec("a", "odd", 0)),
            "kind 'odd', which is not known",
        ),
        (
            lambda: add_tool(make_toolbox(), custom_spec("a", "onnx", 0)),
            "expected an ONNX file among",
        ),
        (lambda: custom.OnnxTool(b"no network"), "got what onnxruntime refuses"),
    ],
)
def test_what_cannot_be_added_is_refused(make: Callable[[], object], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        make()


def test_an_onnx_file_with_data_elsewhere_is_refused(tmp_path: Path) -> None:
    """A file from somebody else cannot make rlrestore read other files."""
    model = onnx.load(write_smoothing(tmp_path / "smooth.onnx"))
    path = tmp_path / "split.onnx"
    onnx.save(model, path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    assert (tmp_path / "weights.bin").exists()
    with pytest.raises(UsageError, match="all in one file, got what onnxruntime refuses: ") as refused:
        add_onnx_tool(make_toolbox(), custom_spec("smooth-1", "", 1), path)
    assert "\n" not in str(refused.value)


def test_a_kind_that_cannot_be_made_is_said_so() -> None:
    def broken() -> nn.Module:
        raise ImportError("no module")

    register("broken", broken)
    with pytest.raises(UsageError, match="the kind of network 'broken' cannot be made: no module"):
        add_tool(make_toolbox(), custom_spec("a", "broken", 0))


@pytest.mark.parametrize("mode", ["global", "local"])
def test_a_tool_of_the_largest_radius_restores_in_tiles(mode: str) -> None:
    """An average over 129×129 pixels, on a photograph of several tiles, is what it is on the whole."""
    side = 2 * LARGEST_RADIUS + 1

    class Far(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            rows = nn.functional.avg_pool2d(images, (side, 1), stride=1, padding=(side // 2, 0))
            return nn.functional.avg_pool2d(rows, (1, side), stride=1, padding=(0, side // 2))

    register("far", Far)
    toolbox = add_tool(make_toolbox(), custom_spec("far-1", "far", LARGEST_RADIUS))
    tools = TorchTools(toolbox)
    image = np.random.default_rng(0).random((1, 3, 300, 560), np.float32)
    whole = tools.apply(3, image)
    if mode == "global":
        tiled = apply_tool_(tools, 3, image.copy())
    else:
        actions = np.array([[3, 2]])  # on the left the average, on the right what changes nothing
        down = np.ones((300, 1), np.float32)
        across = np.repeat([[1.0, 0.0], [0.0, 1.0]], [250, 310], axis=0).astype(np.float32)
        tiled = apply_locally_(tools, actions, image.copy(), down, across)
        whole[..., 250:] = image[..., 250:]
    np.testing.assert_allclose(tiled, whole, atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    "changes", [{"own": 3}, {"radius": -1}, {"radius": "1"}, {"own": "onnx", "radius": 1}]
)
def test_a_damaged_entry_is_refused(tmp_path: Path, changes: dict[str, Any]) -> None:
    save_toolbox(tmp_path, with_halve())
    card = (tmp_path / "card.json").read_text("utf-8")
    for key, value in changes.items():
        card = re.sub(f'"{key}": [^,\n]+', f'"{key}": {value!r}'.replace("'", '"'), card)
    (tmp_path / "card.json").write_text(card, "utf-8")
    with pytest.raises(ModelError, match="the toolbox entry cannot be understood"):
        load_toolbox(tmp_path)


def test_joint_training_leaves_custom_tools_as_they_are(
    make_photograph: Callable[..., npt.NDArray[np.uint8]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A module and an ONNX file among chains of tools that are trained, and a checkpoint of all."""
    path = write_smoothing(tmp_path / "smooth.onnx")
    toolbox = add_onnx_tool(with_halve(), custom_spec("smooth-1", "", 1), path)
    bank = PhotoBank([make_photograph(128, 128, 0)])
    chains = torch.tensor([[0, 3, 1], [3, 0, 4], [4, 0, 3], [0, 4, 1]])
    monkeypatch.setattr(joint, "prescription", lambda *_: chains)
    settings = JointSettings(batch=4, planned=1.0, own=1, learning_rate=1e-2)

    again = JointTraining(copy.deepcopy(toolbox), None, bank, MODERATE, settings)
    made = JointTraining(toolbox, None, bank, MODERATE, settings)
    before = [weight.clone() for weight in toolbox.state_dict().values()]
    Trainer(made, Checkpoint(tmp_path / "joint")).run(Budget(steps=4))
    changed = {
        name.split(".")[1]
        for (name, weight), old in zip(toolbox.state_dict().items(), before, strict=True)
        if not torch.equal(weight, old)
    }
    assert changed == {"0", "1", "2"}
    Trainer(again, Checkpoint(tmp_path / "joint"), "resume")
    assert again.steps == 4
    assert all(map(torch.equal, again.toolbox.state_dict().values(), toolbox.state_dict().values()))


@pytest.mark.usefixtures("small_trainings")
def test_the_page_does_what_it_says(
    root: Path,
    make_photograph: Callable[..., npt.NDArray[np.uint8]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Its commands and its program, on a toy instead of the shipped model, and for steps, not minutes."""
    monkeypatch.chdir(tmp_path)
    toy = save_toy(tmp_path / "toy", [0])
    write_smoothing(tmp_path / "smooth.onnx")
    (tmp_path / "photos").mkdir()
    for seed in range(2):
        Image.fromarray(make_photograph(136, 136, seed)).save(tmp_path / "photos" / f"{seed}.png")
    Image.fromarray(make_photograph(70, 80, 2)).save(tmp_path / "img.jpg")
    page = (root / "docs/custom-tools.md").read_text("utf-8").replace("default", str(toy))
    onnx, module = re.findall(r"```sh\n(.*?)```", page.replace("--minutes 25", "--steps 6"), re.DOTALL)
    add, use = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    install, *rest = onnx.splitlines()
    assert install == "pip install -c constraints.txt '.[onnx]'"
    for command in rest:
        assert main(shlex.split(command)[1:]) == 0
    assert (
        main(["add-tool", "smooth.onnx", "--name", "b", "--radius", "1", "--model", "mine", "--out", "mine"])
        == 2
    )
    assert "whose agent would be lost: choose another --out" in capsys.readouterr().err
    exec(add, {})  # noqa: S102  # our own, and it registers the kind that the commands need
    for command in module.splitlines():
        assert main(shlex.split(command)[1:]) == 0
    exec(use, {})  # noqa: S102
    assert load_toolbox(tmp_path / "mine").names[-1] == "smooth-1"
    assert load_toolbox(tmp_path / "sharper").names[-1] == "sharpen-1"
    assert "step" in capsys.readouterr().out
