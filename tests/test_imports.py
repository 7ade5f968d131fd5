"""What it costs to import the package and to ask for help: none of the heavy libraries."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = (
    *("torch", "cv2", "gymnasium", "stable_baselines3", "sb3_contrib"),
    *("fastapi", "uvicorn", "ray", "pyarrow"),
)
IMPORT = """
import rlrestore, rlrestore.agent, rlrestore.distributed, rlrestore.evaluation, rlrestore.imaging
import rlrestore.imaging.degradation, rlrestore.imaging.io, rlrestore.paper, rlrestore.toolbox
"""
VERSION = "import rlrestore; rlrestore.__version__"
HELP = """
import contextlib, io
from rlrestore.cli.main import main
commands = ("restore", "distribute", "serve", "inspect", "train-tools", "train-agent", "export")
commands += ("import-paper",)
for arguments in (["--help"], ["--version"], *([command, "--help"] for command in commands)):
    with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):
        main(arguments)
"""


def loaded_by(code: str, folder: Path) -> set[str]:
    """Run code in a fresh interpreter and return the heavy libraries that it has loaded by its end."""
    report = f"import sys; print(*sorted(set({HEAVY!r}) & set(sys.modules)))"
    completed = subprocess.run(
        [sys.executable, "-c", f"{code}\n{report}"], cwd=folder, capture_output=True, text=True, check=False
    )
    assert completed.returncode == 0, completed.stderr
    return set(completed.stdout.split())


@pytest.mark.parametrize("code", [IMPORT, VERSION, HELP], ids=["import", "version", "help"])
def test_nothing_heavy_is_loaded(code: str, tmp_path: Path) -> None:
    assert loaded_by(code, tmp_path) == set()


@pytest.mark.parametrize(("asked", "spins"), [({}, "0"), ({"OMP_WAIT_POLICY": "ACTIVE"}, None)])
def test_threads_that_wait_for_others_sleep(tmp_path: Path, asked: dict[str, str], spins: str | None) -> None:
    """What a program says itself stands."""
    others = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    completed = subprocess.run(
        [sys.executable, "-c", "import rlrestore, torch"],
        cwd=tmp_path,
        env=others | {"OMP_DISPLAY_ENV": "VERBOSE"} | asked,
        capture_output=True,
        text=True,
        check=True,
    )
    told = re.search(r"GOMP_SPINCOUNT = '(.*)'", completed.stderr)
    if told is None:
        pytest.skip("another OpenMP than GNU's, which does not tell")
    assert (told[1] == "0") == (spins == "0")


MODULES = """
import rlrestore.inference.batch, rlrestore.imaging.io.files, rlrestore.imaging.io.transparency
import rlrestore.inference.chains, rlrestore.inference.photos, rlrestore.inference.windows
import rlrestore.model_folder, rlrestore.picture, rlrestore.restorer, rlrestore.runtime, rlrestore.trace
rlrestore.model_folder.read_agent(rlrestore.find_model("default"))
"""
RESTORE = """
import numpy as np, rlrestore
restorer = rlrestore.Restorer.from_pretrained()
for mode in ("global", "local"):
    restored = restorer.restore(np.full((40, 50, 3), 99, np.uint8), mode=mode)
assert restored.image.shape == (40, 50, 3)
"""
TOOLS = """
from rlrestore.cli.main import main
assert main(["tools", "--model", "default"]) == 0
"""


def test_the_path_of_a_restoration_needs_no_torch(tmp_path: Path) -> None:
    assert not loaded_by(MODULES, tmp_path) & {"torch", "gymnasium"}
    assert "torch" not in loaded_by(TOOLS, tmp_path)


def test_a_restoration_needs_no_library_of_reinforcement_learning(tmp_path: Path) -> None:
    loaded = loaded_by(RESTORE, tmp_path)
    assert "torch" in loaded
    assert not loaded & {"gymnasium", "stable_baselines3", "sb3_contrib"}


def test_the_measurement_sees_a_heavy_library(tmp_path: Path) -> None:
    assert loaded_by("import cv2", tmp_path) == {"cv2"}


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["tools"]], ids=" ".join)
def test_the_command_answers_without_heavy_libraries(arguments: list[str], tmp_path: Path) -> None:
    # The whole command as a user runs it; the interpreter itself lists each module as it is imported.
    completed = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "rlrestore", *arguments],
        cwd=tmp_path,
        env=os.environ | {"COLUMNS": "100"},
        capture_output=True,
        text=True,
        check=False,
    )
    rows = [line for line in completed.stderr.splitlines() if line.startswith("import time:")]
    imported = {row.rsplit("|", maxsplit=1)[-1].strip() for row in rows}

    assert completed.returncode == 0, completed.stderr
    assert "rlrestore" in imported
    assert not imported & set(HEAVY)
    assert "rlrestore" in completed.stdout or "denoise-3" in completed.stdout
