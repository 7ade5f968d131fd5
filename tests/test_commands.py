"""Every command line of the README and of the pages is one that the program and the scripts take."""

import argparse
import re
import runpy
import shlex
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from rlrestore.cli.main import build_parser

PAGES = ("README.md", "CONTRIBUTING.md", "docs/*.md", "examples/README.md")
LETTERS = {"M": "1", "N": "2", "I/N": "1/2", "σ": "1", "Q": "50"}
"""What stands for numbers."""
PROGRAM = re.compile(r"(?:^|[/\s])rlrestore$")
LINE_END = frozenset({"&&", "|", ";", ">", "#", "2>&1"})


def lines_of(page: str) -> Iterator[str]:
    """The command lines of a page: those of its blocks, and those in backticks that begin with a program."""
    for block in re.findall(r"^ *```sh\n(.*?)^ *```", page, re.DOTALL | re.MULTILINE):
        yield from block.replace("\\\n", " ").splitlines()
    prose = re.sub(r"^ *```.*?^ *```", "", page, flags=re.DOTALL | re.MULTILINE)
    yield from re.findall(r"`((?:rlrestore|python scripts/|torchrun|docker run)[^`]*)`", prose)


def commands_of(line: str) -> Iterator[list[str]]:
    """The words of each call of the program or of a script in a line, the program's name first."""
    words = shlex.split(line.replace("…", " "), comments=True)
    begin = 0
    for place, word in enumerate([*words, "&&"]):
        if word in LINE_END:
            call = words[begin:place]
            begin = place + 1
            for start, name in enumerate(call):
                if PROGRAM.search(name) and call[start - 1 : start] not in (["-t"], ["install"]):
                    if call[start + 1 :]:
                        yield ["rlrestore", *call[start + 1 :]]
                    break
                if name.startswith("scripts/") and name.endswith(".py"):
                    yield call[start:]
                    break


def calls(root: Path) -> list[tuple[str, ...]]:
    """All of them, each once."""
    paths = [path for pattern in PAGES for path in sorted(root.glob(pattern))]
    found = [
        tuple(LETTERS.get(word, word) for word in call)
        for path in paths
        for line in lines_of(path.read_text("utf-8"))
        for call in commands_of(line)
    ]
    return list(dict.fromkeys(found))


ROOT = Path(__file__).parents[1]
CALLS = calls(ROOT)


def shown(call: Sequence[str]) -> str:
    return " ".join(call)


@pytest.mark.parametrize("call", [call for call in CALLS if call[0] == "rlrestore"], ids=shown)
def test_the_program_takes_it(call: tuple[str, ...]) -> None:
    arguments = list(call[1:])
    if len(arguments) == 1 and not arguments[0].startswith("-"):  # a command that is only named
        arguments.append("--help")
    if "--help" in arguments:
        with pytest.raises(SystemExit, match=r"^0$"):
            build_parser().parse_args(arguments)
    else:
        assert build_parser().parse_args(arguments).command == arguments[0]


@pytest.mark.parametrize("call", [call for call in CALLS if call[0] != "rlrestore"], ids=shown)
def test_the_script_takes_it(call: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    """The script is begun, and ended once it has read its command line."""
    read = argparse.ArgumentParser.parse_args

    def parse(parser: argparse.ArgumentParser, *given: object) -> argparse.Namespace:
        read(parser)
        parser.exit(0)

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parse)
    monkeypatch.setattr(sys, "argv", list(call))
    with pytest.raises(SystemExit, match=r"^0$"):
        runpy.run_path(str(ROOT / call[0]), run_name="__main__")


def test_the_lines_are_found() -> None:
    """A changed way of writing them would leave the tests above without a subject."""
    block = "A=1 time rlrestore restore a.jpg \\\n  -o b/ && python scripts/x.py --n 1 # c"
    page = f"`rlrestore` `rlrestore about`\n```sh\n{block}\n```\n"
    assert [call for line in lines_of(page) for call in commands_of(line)] == [
        ["rlrestore", "restore", "a.jpg", "-o", "b/"],
        ["scripts/x.py", "--n", "1"],
        ["rlrestore", "about"],
    ]
    assert len(CALLS) > 80
