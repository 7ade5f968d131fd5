"""The wheel: everything is in it, under one name, and it works away from the source tree."""

import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from rlrestore import __version__
from rlrestore.toolbox.specs import TOOL_NAMES

SOURCES = {
    "rlrestore": "rlrestore",
    "toolbox": "rlrestore/toolbox",
    "envs": "rlrestore/envs",
    "agent": "rlrestore/agent",
}


def run(arguments: list[str], folder: Path, **environment: str) -> str:
    """Run a command and return what it printed; a failure shows all of it."""
    completed = subprocess.run(
        arguments, cwd=folder, env=os.environ | environment, capture_output=True, text=True, check=False
    )
    assert completed.returncode == 0, completed.stdout + completed.stderr
    return completed.stdout


@pytest.fixture(scope="module")
def wheel(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy: in the tree itself, a build folder of earlier days could add to it."""
    copy = tmp_path_factory.mktemp("source")
    for folder in SOURCES:
        shutil.copytree(root / folder, copy / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(root / name, copy / name)
    out = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    run([*pip, "--wheel-dir", str(out), str(copy)], copy)
    (built,) = out.iterdir()
    return built


@pytest.fixture(scope="module")
def names(wheel: Path) -> set[str]:
    """The files in the wheel."""
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel installed into it and nothing else."""
    target = tmp_path_factory.mktemp("installed")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"]
    run([*pip, "--target", str(target), str(wheel)], target)
    return target


def run_installed(installed: Path, folder: Path, *arguments: str) -> str:
    """Run Python on the installed copy, with the dependencies but without this tree.

    -S leaves out the .pth files, and so the editable install, which would stand in for a module that the
    wheel lacks.
    """
    libraries = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    path = os.pathsep.join([str(installed), *sorted(libraries)])
    return run([sys.executable, "-S", *arguments], folder, PYTHONPATH=path)


def test_every_module_of_the_tree_is_in_the_wheel(root: Path, names: set[str]) -> None:
    modules = {
        f"{place}/{path.relative_to(root / folder).as_posix()}"
        for folder, place in SOURCES.items()
        for path in (root / folder).rglob("*.py")
    }
    assert modules - names == set()
    assert {name for name in names if name.endswith(".py")} - modules == set()


def test_its_only_top_level_name_is_rlrestore(names: set[str]) -> None:
    tops = {name.split("/", maxsplit=1)[0] for name in names}
    assert tops == {"rlrestore", f"rlrestore-{__version__}.dist-info"}


def test_the_marker_and_the_weights_of_one_model_are_in_it(root: Path, names: set[str]) -> None:
    weights = root / "rlrestore" / "weights"
    wanted = {
        path.relative_to(root).as_posix()
        for path in weights.rglob("*")
        if path.suffix in (".safetensors", ".json")
    }
    assert {"rlrestore/py.typed", "rlrestore/weights/default/card.json", *wanted} <= names
    # Every copy of a model stays in the history for good: one ships.
    assert {name.split("/")[2] for name in names if name.startswith("rlrestore/weights/")} == {"default"}


def test_the_page_is_in_it(root: Path, names: set[str]) -> None:
    page = {path.relative_to(root).as_posix() for path in (root / "rlrestore" / "serve" / "page").iterdir()}
    assert {"rlrestore/serve/page/index.html", *page} <= names


def test_installed_away_from_the_source_it_is_whole(installed: Path, tmp_path: Path) -> None:
    code = "import rlrestore, rlrestore.toolbox.specs as t; print(rlrestore.__file__, t.__file__)"
    for file in run_installed(installed, tmp_path, "-c", code).split():
        assert Path(file).is_relative_to(installed)


def test_installed_away_from_the_source_it_lists_the_tools(installed: Path, tmp_path: Path) -> None:
    listing = run_installed(installed, tmp_path, "-m", "rlrestore", "tools")
    assert [name for name in TOOL_NAMES if name not in listing] == []


def test_installed_away_from_the_source_it_restores(
    installed: Path, tmp_path: Path, photograph: npt.NDArray[np.uint8]
) -> None:
    Image.fromarray(photograph).save(tmp_path / "scene.png")

    run_installed(installed, tmp_path, "-m", "rlrestore", "restore", "scene.png", "--trace")

    with Image.open(tmp_path / "scene_restored.png") as restored:
        assert restored.size == (photograph.shape[1], photograph.shape[0])


@pytest.mark.parametrize(
    "arguments",
    [
        ["-c", "import rlrestore; print(rlrestore.restore('examples/street.jpg').trace.table())"],
        ["-m", "rlrestore", "tools"],
    ],
    ids=["restore", "tools"],
)
def test_a_checkout_runs_from_its_root_though_nothing_is_installed(root: Path, arguments: list[str]) -> None:
    # -S leaves the editable install out: there is this folder alone, and the dependencies.
    libraries = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    printed = run([sys.executable, "-S", *arguments], root, PYTHONPATH=os.pathsep.join(sorted(libraries)))
    assert any(name in printed for name in TOOL_NAMES)


def test_the_readme_and_the_checks_agree(root: Path) -> None:
    readme = (root / "README.md").read_text("utf-8")
    assert "\n## Test\n" in readme, ".ci/run takes its test command from the block under this heading"
    block = readme.split("\n## Test\n", maxsplit=1)[1].split("```")[1]
    assert "-e '.[test]'" in block
    assert "-m pytest" in block
