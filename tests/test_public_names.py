"""The public names: each package has what it lists, and the programs of the pages use nothing else."""

import ast
import importlib
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

import rlrestore

PACKAGES = (
    "rlrestore",
    "rlrestore.agent",
    "rlrestore.distributed",
    "rlrestore.envs",
    "rlrestore.evaluation",
    "rlrestore.imaging",
    "rlrestore.imaging.degradation",
    "rlrestore.imaging.io",
    "rlrestore.paper",
    "rlrestore.toolbox",
)
TOY = {
    "minutes=50": "steps=1",
    "minutes=25": "steps=1",
    "bank, held_out, out, TOOLS": "bank, held_out, out, TOOLS[:1]",
    "episodes=128, fits=128": "episodes=2, fits=1, batch=2",
    "batch=16": "batch=2",
}
"""What makes the programs of docs/python.md quick."""


def programs(page: str) -> list[str]:
    """Return the Python programs of a page in Markdown."""
    return re.findall(r"```python\n(.*?)```", page, re.DOTALL)


def not_public(program: str) -> Iterator[str]:
    """Yield what a program takes from rlrestore that no package lists as its own."""
    for node in ast.walk(ast.parse(program)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names if alias.name.split(".")[0] == "rlrestore"]
            yield from (name for name in names if name not in PACKAGES)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "rlrestore":
            public = importlib.import_module(str(node.module)).__all__ if node.module in PACKAGES else ()
            yield from (f"{node.module}.{alias.name}" for alias in node.names if alias.name not in public)
        elif isinstance(node, ast.Attribute) and ast.unparse(node.value) == "rlrestore":
            name = f"rlrestore.{node.attr}"
            yield from () if node.attr in rlrestore.__all__ or name in PACKAGES else (name,)


@pytest.mark.parametrize("name", PACKAGES)
def test_a_package_has_the_names_it_lists(name: str) -> None:
    package = importlib.import_module(name)
    assert [each for each in package.__all__ if not hasattr(package, each)] == []
    assert len(set(package.__all__)) == len(package.__all__)
    assert set(package.__all__) <= set(dir(package))
    assert not any(each.startswith("_") for each in package.__all__ if each != "__version__")
    with pytest.raises(AttributeError, match=f"module '{name}' has no attribute 'restorers'"):
        _ = package.restorers


def test_the_pages_use_public_names_alone(root: Path) -> None:
    paths = (root / "README.md", *sorted(root.glob("docs/*.md")))
    found = [(path.name, program) for path in paths for program in programs(path.read_text("utf-8"))]
    assert {page for page, _ in found} >= {"README.md", "custom-tools.md", "environment.md", "python.md"}
    wrong = [f"{page}: {name}" for page, program in found for name in not_public(program)]
    assert not wrong, wrong


def test_the_page_of_names_lists_them_all(root: Path) -> None:
    page = (root / "docs/python.md").read_text("utf-8")
    rows = re.findall(r"^\| `(rlrestore[\w.]*)` \| (.*) \|$", page, re.MULTILINE)
    assert {name for name, _ in rows} == set(PACKAGES)
    at_top = set(rlrestore.__all__)
    for name, words in rows:
        listed, public = set(re.findall(r"`(\w+)`", words)), set(importlib.import_module(name).__all__)
        assert listed <= public, listed - public
        assert public - listed <= ({"__version__", "ENV_ID"} | (at_top if name != "rlrestore" else set()))


@pytest.mark.parametrize(
    ("program", "found"),
    [
        ("import rlrestore.cli.main", "rlrestore.cli.main"),
        ("from rlrestore.toolbox.custom import register", "rlrestore.toolbox.custom.register"),
        ("from rlrestore.toolbox import networks", "rlrestore.toolbox.networks"),
        ("import rlrestore\nrlrestore._HOMES", "rlrestore._HOMES"),
    ],
)
def test_what_is_not_public_is_found(program: str, found: str) -> None:
    assert list(not_public(program)) == [found]


@pytest.mark.usefixtures("small_trainings")
def test_the_programs_of_the_page_of_names_run(
    root: Path,
    tmp_path: Path,
    make_photograph: Callable[..., npt.NDArray[np.uint8]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "photos").mkdir()
    for seed in range(2):
        Image.fromarray(make_photograph(128, 130, seed)).save(tmp_path / "photos" / f"{seed}.png")
    monkeypatch.chdir(tmp_path)
    page = (root / "docs/python.md").read_text("utf-8")
    train, degrade = programs(page)
    for whole, part in TOY.items():
        assert whole in train
        train = train.replace(whole, part)
    names: dict[str, Any] = {}
    exec(compile(train, "python.md", "exec"), names)  # noqa: S102  # our own
    assert rlrestore.Restorer.from_pretrained("model").card.name == "mine"
    assert capsys.readouterr().out.count(" dB") >= 3
    exec(compile(degrade, "python.md", "exec"), names)  # noqa: S102
    assert bool((names["degraded"] != names["clean"]).any())
