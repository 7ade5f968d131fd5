"""The distribution rlrestore-onnx: its wheel, installed into a fresh environment, restores without torch."""

import email
import json
import os
import subprocess
import sys
import venv
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

REFUSED = {
    "train-tools --data . --out o --steps 1": "train-tools needs torch, which is not installed",
    "export --out o": "export needs onnx",
    "restore scene.png --device cuda": "expected device cpu, got 'cuda'",
}
"""What it cannot do, and how that is said."""
API = """
import importlib.util, sys
import numpy as np
import rlrestore
missing = ("torch", "gymnasium", "stable_baselines3", "sb3_contrib", "onnx")
assert not [name for name in missing if importlib.util.find_spec(name)]
pixels = np.asarray(__import__("PIL.Image").Image.open(sys.argv[1]))
restored = rlrestore.restore(pixels)
np.save(sys.argv[2], restored.image)
print(",".join(restored.trace.tools))
"""


def run(*command: str | Path, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a command that sees nothing of this tree."""
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    arguments = list(map(str, command))
    return subprocess.run(arguments, cwd=folder, env=clean, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def wheel(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built by the script."""
    out = tmp_path_factory.mktemp("wheel")
    script = root / "scripts" / "build_onnx_wheel.py"
    command = [sys.executable, str(script), "--out", str(out), "--no-isolation"]
    subprocess.run(command, cwd=root, capture_output=True, check=True)
    (path,) = out.iterdir()
    return path


@pytest.fixture(scope="module")
def installed(root: Path, wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the programs of a fresh environment with this wheel and what it requires."""
    folder = tmp_path_factory.mktemp("environment") / "venv"
    venv.create(folder, with_pip=True)
    pip: list[str | Path] = [folder / "bin" / "python", "-m", "pip", "install", "--quiet", "--no-compile"]
    done = run(*pip, "-c", root / "constraints.txt", wheel, folder=folder)
    assert done.returncode == 0, done.stderr
    return folder / "bin"


def test_without_onnx_the_script_says_so_in_a_line(
    run_script: Callable[..., int], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    assert run_script("build_onnx_wheel.py") == 2
    assert "the wheel needs onnx: pip install" in capsys.readouterr().err


def test_it_requires_onnxruntime_and_nothing_that_trains(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        (place,) = (name for name in names if name.endswith(".dist-info/METADATA"))
        metadata = email.message_from_string(archive.read(place).decode())
        card = json.loads(archive.read("rlrestore/weights/default/card.json"))
    required = [each for each in metadata.get_all("Requires-Dist", []) if "extra ==" not in each]
    bare = {each.split(">")[0] for each in required}
    assert metadata["Name"] == "rlrestore-onnx"
    assert bare == {
        "numpy",
        "onnxruntime",
        "opencv-python-headless",
        "pillow",
        "safetensors",
        "tqdm",
    }
    assert set(metadata.get_all("Provides-Extra", [])) == {"heic", "raw", "serve", "video"}
    assert sum(name.endswith(".onnx") for name in names) == 13
    read_by_numpy = ["rlrestore/weights/default/inspector.safetensors"]
    assert [name for name in names if name.endswith(".safetensors")] == read_by_numpy
    assert card["precision"] == "float16"


def test_installed_afresh_it_restores_as_torch_does(
    installed: Path, tmp_path: Path, make_photograph: Callable[..., npt.NDArray[np.uint8]]
) -> None:
    from rlrestore.restorer import Restorer
    from rlrestore.runtime.torch_runtime import TorchRuntime

    noise = np.random.default_rng(0).normal(0, 20, (80, 90, 3))
    noisy = np.clip(make_photograph(80, 90) + noise, 0, 255).astype(np.uint8)
    Image.fromarray(noisy).save(tmp_path / "scene.png")
    done = run(installed / "python", "-c", API, "scene.png", "restored.npy", folder=tmp_path)
    expected = Restorer(TorchRuntime.load("default")).restore(noisy)

    assert done.returncode == 0, done.stderr
    assert tuple(done.stdout.strip().split(",")) == expected.trace.tools
    assert np.abs(np.load(tmp_path / "restored.npy").astype(int) - expected.image).max() <= 1
    command = run(installed / "rlrestore", "restore", "scene.png", "--trace", "--json", folder=tmp_path)
    assert command.returncode == 0, command.stderr
    assert tuple(json.loads(command.stdout)["tools"]) == expected.trace.tools
    for refused, line in REFUSED.items():  # in one test, for the environment takes longest
        done = run(installed / "rlrestore", *refused.split(), folder=tmp_path)
        assert done.returncode == 2, done.stderr
        assert line in done.stderr
        assert done.stderr.count("\n") == 1
