"""Build the distribution rlrestore-onnx: the same tree without torch, the shipped model in ONNX.

    python scripts/build_onnx_wheel.py --out dist/

It needs the extra onnx, and takes the model of the checkout that it lies in.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rlrestore.cli.export import check_onnx
from rlrestore.cli.main import FOR_TRAINING
from rlrestore.cli.reporting import run_script
from rlrestore.errors import RlrestoreError

ROOT = Path(__file__).resolve().parents[1]
SOURCES = ("rlrestore", "toolbox", "envs", "agent")
FILES = ("LICENSE", "README.md")
EXTRAS = ("heic", "raw", "serve", "video")
MODEL = Path("rlrestore/weights/default")


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("dist"), help="folder of the wheel (default: dist)")
    parser.add_argument(
        "--no-isolation", action="store_true", help="build with the setuptools that are installed"
    )
    return run_script(parser, build)


def build(args: argparse.Namespace) -> None:
    """Build the wheel from a copy of the tree.

    Raises:
        UsageError: onnx or onnxruntime is not installed.
        RlrestoreError: pip could not build it.
    """
    check_onnx("the wheel")
    from rlrestore.export.writing import export_model
    from rlrestore.model_folder.inspector import copy_inspector
    from rlrestore.runtime.torch_runtime import TorchRuntime

    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder)
        for name in SOURCES:
            leave_out = shutil.ignore_patterns("__pycache__", "*.safetensors")
            shutil.copytree(ROOT / name, copy / name, ignore=leave_out)
        for name in FILES:
            shutil.copy(ROOT / name, copy / name)
        place = copy / MODEL
        (place / "card.json").unlink()
        export_model(TorchRuntime.load(ROOT / MODEL), place, half=True)
        copy_inspector(ROOT / MODEL, place)
        project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
        (copy / "pyproject.toml").write_text(toml(without_torch(project)), "utf-8")
        command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps"]
        command += ["--no-build-isolation"] if args.no_isolation else []
        done = subprocess.run([*command, "--wheel-dir", str(args.out), str(copy)], check=False)
    if done.returncode:
        raise RlrestoreError("pip could not build the wheel; what it says stands above")
    print(*args.out.glob("rlrestore_onnx-*.whl"), sep="\n")


def without_torch(project: Mapping[str, Any]) -> dict[str, Any]:
    """Return the `pyproject.toml` of rlrestore-onnx, given that of rlrestore."""
    meta, setuptools = dict(project["project"]), dict(project["tool"]["setuptools"])
    extras = meta["optional-dependencies"]
    training = {name.replace("_", "-") for name in FOR_TRAINING}
    kept = [each for each in meta["dependencies"] if each.split(">")[0] not in training]
    runtime = [each for each in extras["onnx"] if each.startswith("onnxruntime")]
    meta |= {
        "name": "rlrestore-onnx",
        "description": f"{meta['description']} Without torch.",
        "dependencies": sorted([*kept, *runtime]),
        "optional-dependencies": {name: extras[name] for name in EXTRAS},
    }
    del meta["authors"]  # the one value that is no table, list or text
    patterns = setuptools["package-data"]["rlrestore"]
    setuptools["package-data"] = {"rlrestore": [*patterns, "weights/**/*.onnx"]}
    return {"build-system": project["build-system"], "project": meta, "tool": {"setuptools": setuptools}}


def toml(tables: Mapping[str, Any], above: tuple[str, ...] = ()) -> str:
    """Write tables of texts, lists and tables as TOML, in which JSON's texts and lists are understood."""
    return "\n".join(_lines(tables, above)) + "\n"


def _lines(tables: Mapping[str, Any], above: tuple[str, ...]) -> Iterator[str]:
    if above:
        yield f"[{'.'.join(map(json.dumps, above))}]"
    for name, value in tables.items():
        if not isinstance(value, Mapping):
            yield f"{json.dumps(name)} = {json.dumps(value)}"
    for name, value in tables.items():
        if isinstance(value, Mapping):
            yield from _lines(value, (*above, name))


if __name__ == "__main__":
    sys.exit(main())
