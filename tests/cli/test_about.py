"""The report for faults names what matters, and what is broken in its place."""

import hashlib
import importlib.metadata
import re
import sys
from pathlib import Path

import pytest
import torch

from rlrestore import __version__, find_model
from rlrestore.cli.main import main


def report(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, str]:
    """The lines of the report by what stands before their colons."""
    assert main(["about", *arguments]) == 0
    return dict(line.split(": ", 1) for line in capsys.readouterr().out.splitlines())


def test_versions_threads_and_the_model_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    said = report(capsys)
    assert said["rlrestore"] == __version__
    assert said["torch"] == torch.__version__
    assert f"torch {importlib.metadata.version('torch')}" in said["libraries"].split(", ")
    assert f"{torch.get_num_threads()} threads" in said["processor"]
    weights = {
        part: (find_model("default") / f"{part}.safetensors").read_bytes() for part in ("toolbox", "agent")
    }
    sums = ", ".join(f"{part} {hashlib.sha256(data).hexdigest()}" for part, data in weights.items())
    assert said["model"] == f"default, sha256 {sums}"


def test_what_the_package_and_the_extras_of_its_users_need_is_listed(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def requires(name: str) -> list[str]:
        return ["numpy>=1.26", 'nowhere[all]>=1; extra == "serve"', 'pytest>=8.2; extra == "test"']

    monkeypatch.setattr(importlib.metadata, "requires", requires)
    assert report(capsys)["libraries"] == f"numpy {importlib.metadata.version('numpy')}, nowhere missing"


def test_what_the_distribution_without_torch_needs_is_listed(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def requires(name: str) -> list[str]:
        if name == "rlrestore":
            raise importlib.metadata.PackageNotFoundError(name)
        return {"rlrestore-onnx": ["numpy>=1.26"]}[name]

    monkeypatch.setattr(importlib.metadata, "requires", requires)
    assert report(capsys)["libraries"] == f"numpy {importlib.metadata.version('numpy')}"


def test_the_files_of_an_exported_model_are_named(
    toy_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As checked against its card: a damaged one is named."""
    assert main(["export", str(toy_model), "--out", str(tmp_path / "exported")]) == 0
    capsys.readouterr()
    files = {path.stem: path.read_bytes() for path in sorted((tmp_path / "exported").glob("*.onnx"))}
    sums = ", ".join(
        f"{name.lstrip('0123456789-')} {hashlib.sha256(data).hexdigest()}" for name, data in files.items()
    )
    said = report(capsys, "--model", str(tmp_path / "exported"))["model"]
    assert said == f"exported, exported to ONNX, sha256 {sums}"
    (tmp_path / "exported" / "agent.onnx").write_bytes(b"")
    assert "agent.onnx is not the file that" in report(capsys, "--model", str(tmp_path / "exported"))["model"]


def test_a_checkout_that_is_not_installed_says_so(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def requires(name: str) -> list[str]:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "requires", requires)
    assert report(capsys)["libraries"] == "not installed by pip"


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
