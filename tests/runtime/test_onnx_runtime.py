"""A model that was exported to ONNX: the same as torch's, and without torch."""

import hashlib
import json
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
import torch
from PIL import Image
from torch import nn

from rlrestore.agent.policy import PaperPolicy, Policy
from rlrestore.cli.main import main
from rlrestore.errors import ModelError, RlrestoreError, UsageError
from rlrestore.export import writing
from rlrestore.export.agent_graphs import agent_graph
from rlrestore.export.writing import export_model
from rlrestore.model_folder.card import ModelCard
from rlrestore.restorer import Restorer
from rlrestore.runtime import Runtime, load_runtime, load_tools
from rlrestore.runtime.onnx_runtime import OnnxRuntime
from rlrestore.runtime.torch_runtime import TorchRuntime
from rlrestore.toolbox.custom import OnnxTool, add_tool, custom_spec, register
from rlrestore.toolbox.specs import TOOLS
from rlrestore.toolbox.toolbox import Toolbox
from tests.serve.live import live
from tests.toolbox.test_custom import write_smoothing
from tests.toys import make_model, make_policy, make_toolbox, save_toy

Pixels = npt.NDArray[np.uint8]
SOME = (TOOLS[0], TOOLS[2])
"""One tool of each depth."""
WITHOUT_TORCH = """
import sys
sys.modules["torch"] = None  # importing it fails from now on
from rlrestore.cli.main import main
code = main(sys.argv[1:])
missing = {"torch", "gymnasium", "stable_baselines3"}
assert not [name for name in sys.modules if name.split(".")[0] in missing and sys.modules[name]]
sys.exit(code)
"""


def random_model(family: str) -> TorchRuntime:
    """A model of random weights, whose tools change an image visibly."""
    torch.manual_seed(2)
    toolbox = Toolbox(SOME, family, widths={3: (16,), 8: (8, 16)} if family == "hourglass" else None)
    for parameter in toolbox.parameters():
        nn.init.normal_(parameter, std=0.05)
    policy = PaperPolicy(2) if family == "paper" else Policy(2)
    if isinstance(policy, Policy):
        nn.init.constant_(policy.level.bias, 2.0)
    return TorchRuntime(toolbox, policy, family, ModelCard("random", facts={"about": "a test"}))


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped model, exported."""
    folder = tmp_path_factory.mktemp("exported") / "default"
    export_model(TorchRuntime.load("default"), folder)
    return folder


@pytest.fixture
def toy(tmp_path: Path) -> Path:
    """The toy model that brightens by 1/8 and then darkens by 1/16, exported."""
    export_model(make_model([0, 1]), tmp_path / "toy")
    return tmp_path / "toy"


def run_without_torch(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", WITHOUT_TORCH, *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("family", ["hourglass", "fast", "paper"])
@pytest.mark.parametrize("half", [False, True], ids=["float32", "float16"])
def test_every_network_computes_what_torch_computes(family: str, half: bool, tmp_path: Path) -> None:
    """Images of any size and number, windows over an episode with the memory handed back."""
    model, tolerance = random_model(family), 2e-3 if half else 1e-4
    written = export_model(model, tmp_path / "model", half)
    again = load_runtime(tmp_path / "model")
    rng = np.random.default_rng(1)

    assert [each.part for each in written] == [*model.tools.names, "agent"]
    assert again.tools.radii == model.tools.radii
    for shape in ((1, 3, 9, 8), (3, 3, 21, 34)):
        images = rng.random(shape, np.float32)
        for index in range(2):
            expected = model.tools.apply(index, images)
            assert np.abs(expected - images).max() > 0.01
            np.testing.assert_allclose(again.tools.apply(index, images), expected, atol=tolerance)
    ours, theirs = again.agent.empty_memory(4), model.agent.empty_memory(4)
    for last in ([-1] * 4, [0, 1, 2, 0], [1, 1, 0, 2]):
        windows = rng.random((4, 3, 63, 63), np.float32)
        values, ours = again.agent.values(windows, np.array(last), ours)
        expected, theirs = model.agent.values(windows, np.array(last), theirs)
        np.testing.assert_allclose(values, expected, atol=tolerance)


def test_half_is_half_as_large(tmp_path: Path) -> None:
    model = random_model("paper")
    sizes = []
    for half in (False, True):
        export_model(model, tmp_path / str(half), half)
        sizes.append(sum(path.stat().st_size for path in (tmp_path / str(half)).glob("*.onnx")))
    assert sizes[1] < 0.6 * sizes[0]
    assert load_runtime(tmp_path / "True").card.precision == "float16"


@pytest.mark.parametrize("mode", ["global", "local"])
def test_the_shipped_model_restores_within_one_of_255(shipped: Path, photograph: Pixels, mode: str) -> None:
    rng = np.random.default_rng(0)
    noisy = np.clip(photograph + rng.normal(0, 25, photograph.shape), 0, 255).astype(np.uint8)
    ours = Restorer.from_pretrained(shipped).restore(noisy, photograph, mode)
    theirs = Restorer(TorchRuntime.load("default")).restore(noisy, photograph, mode)

    assert ours.trace.tools == theirs.trace.tools != ()
    assert np.abs(ours.image.astype(int) - theirs.image).max() <= 1
    assert ours.trace.psnr_db == pytest.approx(theirs.trace.psnr_db, abs=0.01)
    assert [step.expected_gain_db for step in ours.trace.steps] == pytest.approx(
        [step.expected_gain_db for step in theirs.trace.steps], abs=1e-3
    )


def test_an_exported_model_needs_no_torch(
    tmp_path: Path, toy: Path, make_photograph: Callable[..., Pixels]
) -> None:
    """A folder with its traces, in both modes, a pipe, one tool by hand, the list of tools."""
    for seed in range(2):
        Image.fromarray(make_photograph(40, 50, seed)).save(tmp_path / f"{seed}.png")
    model = ["--model", str(toy)]
    for arguments in (
        ["restore", "0.png", "1.png", "-o", "out/", "--trace", *model],
        ["restore", "0.png", "-o", "local.png", "--mode", "local", *model],
        ["tools", "darken", "0.png", "-o", "darker.png", *model],
        ["tools", *model],
    ):
        completed = run_without_torch(tmp_path, *arguments)
        assert completed.returncode == 0, completed.stderr
    with Image.open(tmp_path / "0.png") as before, Image.open(tmp_path / "out/0_restored.png") as after:
        change = np.asarray(after).astype(int) - np.asarray(before)
    assert abs(np.median(change) - 255 / 16) <= 1
    trace = json.loads((tmp_path / "out/1_restored.json").read_text("utf-8"))
    assert trace["tools"] == ["brighten", "darken"]
    assert (tmp_path / "local.png").exists()
    assert "brighten" in completed.stdout


def test_a_model_for_torch_says_what_it_lacks(tmp_path: Path, photo_file: Path) -> None:
    completed = run_without_torch(tmp_path, "restore", str(photo_file))
    assert completed.returncode == 2
    assert (
        "needs torch: pip install -c constraints.txt . in the folder of rlrestore's source, or have"
        in completed.stderr
    )
    assert completed.stderr.count("\n") == 1


@pytest.fixture
def photo_file(tmp_path: Path, photograph: Pixels) -> Path:
    """A file of one photograph."""
    Image.fromarray(photograph).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


def test_it_is_served(toy: Path, photo_file: Path) -> None:
    with live(Restorer.from_pretrained(toy)) as server:
        kept = server.keep(photo_file.read_bytes()).json()
    assert kept["trace"]["tools"] == ["brighten", "darken"]


def test_threads_restore_side_by_side_on_their_own_number_of_cores(toy: Path, photograph: Pixels) -> None:
    model = load_runtime(toy)
    restorer, seen = Restorer(model), {}
    assert model.concurrent
    model.set_threads(2)

    def work(number: int) -> None:
        model.set_threads(1)
        seen[number] = model.threads, restorer.restore(photograph).image

    threads = [threading.Thread(target=work, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert model.threads == 2
    for cores, image in seen.values():
        assert cores == 1
        np.testing.assert_array_equal(image, restorer.restore(photograph).image)
    assert len(seen) == 2


def test_a_custom_tool_in_onnx_is_exported_as_it_is(tmp_path: Path) -> None:
    content = write_smoothing(tmp_path / "smooth.onnx").read_bytes()
    toolbox = add_tool(make_toolbox(), custom_spec("smooth-1", "onnx", 1), OnnxTool(content))
    export_model(TorchRuntime(toolbox, Policy(4)), tmp_path / "model")
    tools, images = load_tools(tmp_path / "model"), np.random.default_rng(0).random((2, 3, 9, 8), np.float32)

    assert (tmp_path / "model" / "03-smooth-1.onnx").read_bytes() == content
    assert tools.specs[3] == toolbox.specs[3]
    assert tools.radii[3] == 1
    inner = images[:, :, 2:5, 3:6].mean(axis=(2, 3))
    np.testing.assert_allclose(tools.apply(3, images)[:, :, 3, 4], inner, atol=1e-6)


def test_a_module_of_ones_own_cannot_be_exported(tmp_path: Path) -> None:
    register("same", nn.Identity)
    toolbox = add_tool(make_toolbox(), custom_spec("same-1", "same", 0))
    with pytest.raises(UsageError, match="but same-1 is a custom PyTorch module: write it as an ONNX file"):
        export_model(TorchRuntime(toolbox, Policy(4)), tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_what_differs_from_torch_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = agent_graph(make_policy([1]), "float32")
    monkeypatch.setattr(writing, "agent_graph", lambda *_: other)
    with pytest.raises(
        RlrestoreError, match=r"agent: expected the exported network within 0\.0001 of torch's"
    ):
        export_model(make_model([0]), tmp_path / "model")
    assert main(["export", str(save_toy(tmp_path / "toy", [0])), "--out", str(tmp_path / "model")]) == 1
    assert not (tmp_path / "model").exists()


def test_a_saved_model_is_the_same_again(toy: Path, tmp_path: Path) -> None:
    Restorer.from_pretrained(toy).save_pretrained(tmp_path / "copy")
    files = sorted(path.name for path in toy.iterdir())
    assert files == ["00-brighten.onnx", "01-darken.onnx", "02-keep.onnx", "agent.onnx", "card.json"]
    for name in files:
        assert (tmp_path / "copy" / name).read_bytes() == (toy / name).read_bytes()


def test_the_command_exports(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_toy(tmp_path / "model", [0])
    command = ["export", str(tmp_path / "model"), "--out", str(tmp_path / "exported"), "--half"]
    assert main(command) == 0
    assert "agent: within " in capsys.readouterr().out
    assert main(command) == 0  # over an earlier export
    assert main(["export", str(tmp_path / "exported"), "--out", str(tmp_path / "x")]) == 2
    assert (
        "is exported to ONNX, for restore, inspect, distribute, serve and tools alone"
        in capsys.readouterr().err
    )
    assert main(["export", "--out", str(tmp_path / "model")]) == 2
    assert "holds a model that is not exported, which would be lost" in capsys.readouterr().err
    assert (tmp_path / "model" / "agent.safetensors").exists()


def change_card(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    path = folder / "card.json"
    card = json.loads(path.read_text("utf-8"))
    change(card)
    path.write_text(json.dumps(card), "utf-8")


def of_another_opset(folder: Path) -> None:
    """Let the agent's file be of a later version of ONNX than there is."""
    path = folder / "agent.onnx"
    model = onnx.load(path)
    model.opset_import[0].version = 999
    onnx.save(model, path)

    def put(card: dict[str, Any]) -> None:
        card["onnx"]["sha256"][-1] = hashlib.sha256(path.read_bytes()).hexdigest()

    change_card(folder, put)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (
            lambda folder: (folder / "01-darken.onnx").unlink(),
            r"01-darken\.onnx: No such file.*copy the model",
        ),
        (
            lambda folder: (folder / "agent.onnx").write_bytes(b"\x08"),
            r"agent\.onnx is not the file that its card\.json describes",
        ),
        (
            lambda folder: change_card(folder, lambda card: card.update(onnx={"version": 2})),
            "expected a model in ONNX of version 1, got 2; export the model again",
        ),
        (
            lambda folder: change_card(folder, lambda card: card.update(onnx=None)),
            "expected a model in ONNX of version 1, got None",
        ),
        (
            lambda folder: change_card(folder, lambda card: card["onnx"].update(radii=[1, 2, "3"])),
            r"cannot be understood \(expected radii from 0 to 64",
        ),
        (
            lambda folder: change_card(folder, lambda card: card["onnx"].pop("sha256")),
            "its entries cannot be understood",
        ),
        (
            lambda folder: change_card(folder, lambda card: card.update(agent=[])),
            r"cannot be understood \(expected an agent\)",
        ),
        (
            lambda folder: change_card(folder, lambda card: card["agent"].update(tools=["a", "b", "c"])),
            r"the agent chooses among \['a', 'b', 'c'\]",
        ),
        (of_another_opset, "the agent of .* got what onnxruntime refuses.*update onnxruntime, or export"),
    ],
    ids=["missing", "cut off", "version", "none", "radii", "sums", "no agent", "agent", "opset"],
)
def test_a_damaged_model_is_refused(toy: Path, damage: Callable[[Path], object], words: str) -> None:
    damage(toy)
    with pytest.raises(ModelError, match=words) as refused:
        load_runtime(toy)
    assert "\n" not in str(refused.value)


def test_what_is_missing_is_named(toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="runs on the processor: expected device cpu, got 'cuda'"):
        Restorer.from_pretrained(toy, "cuda")
    with pytest.raises(UsageError, match="exported to ONNX and computes in float32: leave out the precision"):
        Restorer.from_pretrained(toy, precision="bfloat16")
    with pytest.raises(
        ModelError, match="is exported to ONNX, for restore, inspect, distribute, serve and tools alone"
    ):
        TorchRuntime.load(toy)
    monkeypatch.setitem(sys.modules, "onnx", None)
    assert main(["export", "--out", str(tmp_path / "new")]) == 2
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    cure = r"needs onnxruntime: pip install -c constraints.txt '.\[onnx\]'"
    with pytest.raises(UsageError, match=f"which is exported to ONNX, {cure}"):
        load_runtime(toy)
    with pytest.raises(UsageError, match=f"a custom tool in ONNX {cure}"):
        OnnxTool(b"")


def test_it_is_a_runtime(toy: Path) -> None:
    model: Runtime = OnnxRuntime.load(toy)
    assert (model.device, model.name, model.card.name) == ("cpu", str(toy), "")
    assert model.agent.max_steps == 3
