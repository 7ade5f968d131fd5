"""The report for faults names what matters, and what is broken in its place."""

import hashlib
import importlib.metadata
import re
import sys
import tomllib
from pathlib import Path

import pytest
import torch

from rlrestore import __version__, find_model
from rlrestore.cli.about import LIBRARIES
from rlrestore.cli.main import main


def report(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, str]:
    """The lines of the report by what stands before their colons."""
    assert main(["about", *arguments]) == 0
    return dict(line.split(": ", 1) for line in capsys.readouterr().out.splitlines())


def test_versions_threads_and_the_model_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    said = report(capsys)
    assert said["rlrestore"] == __version__
    assert f"torch {importlib.metadata.version('torch')}," in said["libraries"]
    assert f"{torch.get_num_threads()} threads" in said["processor"]
    weights = {
        part: (find_model("default") / f"{part}.safetensors").read_bytes() for part in ("toolbox", "agent")
    }
    sums = ", ".join(f"{part} {hashlib.sha256(data).hexdigest()}" for part, data in weights.items())
    assert said["model"] == f"default, sha256 {sums}"


def test_all_that_is_installed_with_it_is_listed(root: Path) -> None:
    project = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["project"]
    extras = (project["optional-dependencies"][extra] for extra in ("heic", "raw", "onnx", "serve"))
    wanted = [*project["dependencies"], *(name for extra in extras for name in extra)]
    assert {re.split(r"[>=]", name)[0] for name in wanted} == set(LIBRARIES)


def test_an_installation_without_torch_is_still_described(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    said = report(capsys)
    assert re.match(r"cannot be loaded \(.*torch", said["torch"])
    assert said["model"].startswith("default, sha256 toolbox ")


def test_a_damaged_model_is_named(
    toy_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for path in toy_model.iterdir():
        if path.is_file():
            (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "toolbox.safetensors").write_bytes(b"")
    assert "toolbox.safetensors is not the file that" in report(capsys, "--model", str(tmp_path))["model"]
    assert "no model 'nowhere'" in report(capsys, "--model", "nowhere")["model"]
