"""The Dockerfile, as far as it can be checked without building it."""

import json
import re
import tomllib
from fnmatch import fnmatch
from pathlib import Path

import pytest

from rlrestore.cli.main import build_parser
from tests.test_packaging import SOURCES

Steps = list[tuple[str, str]]


@pytest.fixture(scope="module")
def steps(root: Path) -> Steps:
    """Every instruction with its arguments."""
    text = (root / "Dockerfile").read_text("utf-8")
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ")
    return [(line.split()[0], line.split(maxsplit=1)[1]) for line in joined.splitlines()]


def copied(steps: Steps) -> list[str]:
    """What is copied from the source tree."""
    own = [text for kind, text in steps if kind == "COPY" and "--from" not in text]
    return [source for text in own for source in text.split()[:-1]]


def test_what_is_copied_exists_and_is_not_ignored(root: Path, steps: Steps) -> None:
    ignored = (root / ".dockerignore").read_text("utf-8").splitlines()
    let_through = {line[1:] for line in ignored if line.startswith("!")}
    assert "*" in ignored
    assert [name for name in copied(steps) if not (root / name).exists()] == []
    assert set(copied(steps)) == let_through
    patterns = [line.removeprefix("**/") for line in ignored if line.startswith("**/")]
    assert not any(fnmatch(name, pattern) for name in copied(steps) for pattern in patterns)


def test_all_that_the_wheel_is_built_from_is_copied(steps: Steps) -> None:
    # test_packaging builds the wheel from these, in a clean folder, and restores with it.
    assert {*SOURCES, "pyproject.toml", "README.md", "LICENSE"} <= set(copied(steps))


def test_the_extras_that_it_installs_are_there(root: Path, steps: Steps) -> None:
    project = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["project"]
    wanted = re.findall(r"'\.\[(.*?)\]'", "\n".join(text for kind, text in steps if kind == "RUN"))
    assert [extra for group in wanted for extra in group.split(",")] == ["serve"]  # heic's wheels are GPL 2
    assert "serve" in project["optional-dependencies"]


def test_it_serves_by_default_and_restores_by_argument(steps: Steps) -> None:
    last = dict(steps)  # of each kind the last instruction counts
    entry, default = json.loads(last["ENTRYPOINT"]), json.loads(last["CMD"])
    assert entry == ["rlrestore"]
    args = build_parser().parse_args(default)
    assert (args.command, args.host, args.port) == ("serve", "0.0.0.0", int(last["EXPOSE"]))  # noqa: S104
    assert build_parser().parse_args(["restore", "photo.jpg"]).command == "restore"


def test_it_does_not_run_as_root(steps: Steps) -> None:
    kinds = [kind for kind, _ in steps]
    assert dict(steps)["USER"] == "10001"
    assert kinds.index("USER") > len(kinds) - 1 - kinds[::-1].index("COPY")  # nothing is copied after it
