"""What a version says of itself agrees: numbers, changelog, citation, constraints, licences."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from rlrestore import __version__
from rlrestore.cli.about import DEVELOPERS

SEMANTIC = r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)"
HEADINGS = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
"""Of Keep a Changelog."""


@pytest.fixture(scope="module")
def project(root: Path) -> dict[str, Any]:
    """The metadata in pyproject.toml."""
    return dict(tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["project"])


def names(requirements: list[str]) -> set[str]:
    """The canonical names of what is required, without the package itself."""
    found = {re.split(r"[\[>=<~! ]", each)[0].lower().replace("_", "-") for each in requirements}
    return found - {"rlrestore"}


def test_the_version_is_semantic_and_the_same_everywhere(root: Path) -> None:
    assert re.fullmatch(SEMANTIC, __version__)
    citation = (root / "CITATION.cff").read_text("utf-8")
    assert f"\nversion: {__version__}\n" in citation
    assert "\nlicense: MIT\n" in citation


def test_the_changelog_has_its_form(root: Path) -> None:
    text = (root / "CHANGELOG.md").read_text("utf-8")
    first, *released = re.findall(r"^## \[(.*)", text, re.MULTILINE)
    assert first == "Unreleased]"
    assert all(re.fullmatch(rf"{SEMANTIC}\] - \d{{4}}-\d\d-\d\d", each) for each in released)
    assert not released or released[0].startswith(f"{__version__}]")
    for section in text.split("\n## ")[1:]:
        headings = re.findall(r"^### (.*)", section, re.MULTILINE)
        assert set(headings) <= HEADINGS
        assert len(set(headings)) == len(headings)


def test_every_dependency_is_constrained(root: Path, project: dict[str, Any]) -> None:
    extras = project["optional-dependencies"].values()
    wanted = names([*project["dependencies"], *(each for extra in extras for each in extra)])
    lines = [line for line in (root / "constraints.txt").read_text("utf-8").splitlines() if line[0] != "#"]
    pinned = {line.split("==")[0] for line in lines}
    assert wanted - pinned - {"pre-commit"} == set()  # a contributor's own, which no test runs with
    assert lines == sorted(lines, key=lambda line: line.split("==")[0])


def test_the_licence_of_every_dependency_is_listed(root: Path, project: dict[str, Any]) -> None:
    # Where this fails: python scripts/list_licences.py > docs/dependencies.md
    extras = project["optional-dependencies"]
    users = (each for extra in extras.keys() - DEVELOPERS for each in extras[extra])
    wanted = [*project["dependencies"], *users]
    page = (root / "docs/dependencies.md").read_text("utf-8")
    rows = dict(re.findall(r"^\| ([\w.-]+) \| [\d.]+[\w.]* \| (.+) \|$", page, re.MULTILINE))
    assert names(wanted) <= rows.keys()
    assert not any("see its files" in licence for licence in rows.values())
