"""The command line as a whole: help, version, and how it ends."""

import argparse
import io
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from rlrestore import __version__
from rlrestore.cli.main import build_parser, main
from rlrestore.cli.reporting import print_whole

WITHOUT = """
import importlib.abc, sys


class Missing(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == sys.argv[1]:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


sys.meta_path.insert(0, Missing())
from rlrestore.cli.main import main

sys.exit(main(sys.argv[2:]))
"""
"""Runs a command as if a module were not installed."""
COMMANDS = ("restore", "train-tools", "train-agent", "evaluate", "degrade", "tools", "import-paper")


def test_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["--version"])
    assert capsys.readouterr().out == f"rlrestore {__version__}\n"


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_and_can_be_debugged(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main([command, "--help"])
    out = capsys.readouterr().out
    assert out.startswith(f"usage: rlrestore {command}")
    assert "--debug" in out


def test_a_command_is_needed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main([])
    assert "COMMAND" in capsys.readouterr().err


def test_debug_may_stand_before_or_behind_the_command() -> None:
    parser = build_parser()
    asked = [
        parser.parse_args(arguments).debug
        for arguments in (["--debug", "tools"], ["tools", "--debug"], ["tools"])
    ]
    assert asked == [True, True, False]


def test_an_interruption_is_no_failure_of_ours(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(args: argparse.Namespace) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr("rlrestore.cli.tools.run", interrupt)

    assert main(["tools"]) == 130
    assert capsys.readouterr().err == "rlrestore: interrupted\n"


def test_a_reader_that_left_is_no_reason_for_a_traceback(
    toy_model: Path, tmp_path: Path, write_image: Callable[..., Path]
) -> None:
    for index in range(3):
        write_image(f"{index}.png")
    command = [
        sys.executable,
        "-m",
        "rlrestore",
        "restore",
        str(tmp_path),
        "--json",
        "--model",
        str(toy_model),
    ]
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, check=False)
    os.close(writing)

    assert done.returncode == 1
    assert done.stderr == b""


@pytest.mark.parametrize("seed", ["-1", "x", "4294967296", "9" * 5000])
def test_a_seed_that_no_generator_takes(seed: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["train-tools", "--data", "d", "--out", "o", "--steps", "1", f"--seed={seed}"])
    assert "expected a whole number from 0 to 4294967295" in capsys.readouterr().err


def test_the_help_of_restore_knows_the_margins_of_the_shipped_model(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """It repeats them, so that `--help` need not read the model."""
    from rlrestore.model_folder import find_model, read_agent

    with pytest.raises(SystemExit, match="0"):
        main(["restore", "--help"])
    told = " ".join(capsys.readouterr().out.split())
    entry = read_agent(find_model("default"))[0]
    lightest, usual = max(entry.start_margins_db), min(entry.start_margins_db)
    assert (
        f"{usual:g} dB for the first tool, {lightest:g} dB if that is the lightest of its kind, "
        f"{entry.stop_margin_db:g} dB for further ones" in told
    )


class Interrupted(io.StringIO):
    """A stream at whose every write comes a signal, once it is done."""

    def write(self, text: str) -> int:
        super().write(text)
        raise KeyboardInterrupt("a signal")


def test_a_signal_does_not_part_a_message_from_the_end_of_its_line() -> None:
    """What is told after it begins a line of its own."""
    stream = Interrupted()
    with pytest.raises(KeyboardInterrupt, match="a signal"):
        print_whole("{}", stream)
    assert stream.getvalue() == "{}\n"


@pytest.mark.parametrize("module", ["PIL", "cv2", "numpy", "safetensors", "tqdm"])
def test_a_library_that_is_missing_is_named_with_its_cure(
    module: str, toy_model: Path, write_image: Callable[..., Path], tmp_path: Path
) -> None:
    """Of what the distribution itself depends on, as after an install that was cut short."""
    command = ["restore", str(write_image("a.png")), "-o", str(tmp_path / "b.png"), "--model", str(toy_model)]
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT, module, *command], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert f" needs {module}" in line
    assert "pip install -c constraints.txt . in the folder of rlrestore's source" in line
    assert not (tmp_path / "b.png").exists()


@pytest.mark.parametrize(
    ("command", "line"),
    [
        (
            ["tools", "a", "b", "--nothing"],
            "rlrestore tools: error: unrecognized arguments: --nothing; see rlrestore tools",
        ),
        (
            ["restore", "a.png", "--threads", "5000"],
            "argument --threads: expected a whole number from 1 to 1024, got '5000'",
        ),
        (
            ["restore", "a.png", "--max-steps", "9" * 5000],
            f"argument --max-steps: expected a whole number above 0, got '{'9' * 20}'; see",
        ),
        (["restore", "a.png", "--quality", "0"], "expected a whole number from 1 to 100, got '0'"),
    ],
    ids=["unknown", "threads", "digits", "quality"],
)
def test_what_no_command_takes_is_said_by_its_own_parser(
    command: list[str], line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(command)
    (told,) = capsys.readouterr().err.splitlines()
    assert line in told


def test_a_name_that_no_file_can_have_is_wrong_usage(
    toy_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = "x" * 300
    assert main(["export", str(toy_model), "--out", name]) == 2
    (told,) = capsys.readouterr().err.splitlines()
    assert told.startswith("rlrestore: error: expected a name that a file can have, but 'xxx")
    assert told.endswith("' is too long: shorten it")
