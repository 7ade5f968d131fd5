"""The script behind the memory that docs/serve.md states runs, on a toy."""

import runpy
import sys
from pathlib import Path

import pytest

from tests.toys import save_toy


@pytest.mark.skipif(sys.platform != "linux", reason="the memory is read where Linux tells it")
def test_the_memory_of_a_server(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fixed = ["--model", str(save_toy(tmp_path / "toy", [0])), "--side", "32"]
    arguments = ["bench_serve.py", *fixed, "--requests", "40", "--clients", "4"]
    monkeypatch.setattr(sys, "argv", arguments)
    with pytest.raises(SystemExit, match="0"):
        runpy.run_path(str(root / "scripts" / arguments[0]), run_name="__main__")
    said = capsys.readouterr()
    rows = [line.split() for line in said.out.splitlines()]
    assert [int(row[0]) for row in rows] == [*range(0, 41, 4)]
    assert all(50 < float(row[2]) < 2000 for row in rows)
    assert "40 × 200" in said.err
