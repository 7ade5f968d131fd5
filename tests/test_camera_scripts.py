"""The script that compares on pairs of real cameras runs, on toys."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.toys import save_toy


@pytest.fixture
def real_pairs(tmp_path: Path) -> Path:
    """Three pairs of two cameras: a little too dark, right, and darker."""
    folder = tmp_path / "pairs"
    folder.mkdir()
    for name, level in (("A_1", 88), ("A_2", 120), ("B_1", 72)):
        Image.new("RGB", (72, 64), (120, 120, 120)).save(folder / f"{name}_mean.png")
        Image.new("RGB", (72, 64), (level, level, level)).save(folder / f"{name}_real.png")
    return folder


def test_real_cameras_are_compared_with_rivals(
    run_script: Callable[..., int], real_pairs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """+1/8 and then -1/16, whatever the picture; the oracle adds 1/8 where that helps, and stops."""
    toy, file = save_toy(tmp_path / "toy", [0, 1]), tmp_path / "scores.json"
    options = ["--data", str(real_pairs), "--model", str(toy), "--json", str(file)]
    assert run_script("compare_cameras.py", *options) == 0
    rivals, agent, chains = capsys.readouterr().out.strip().split("\n\n")
    assert [line.split(" | ")[:2] for line in rivals.splitlines()[2:]] == [
        ["| A", "2"],
        ["| B", "1"],
        ["| all", "3"],
    ]
    by_name = {picture["name"]: picture for picture in json.loads(file.read_text())["pictures"]}
    assert by_name["A_1"]["oracle_chain"] == ["brighten"]
    assert by_name["A_2"]["oracle_chain"] == []
    error = -32 / 255 + 1 / 8 - 1 / 16
    assert by_name["A_1"]["agent_db"] == pytest.approx(-10 * np.log10(error**2), abs=1e-3)
    # Non-local means leave an even picture as it is.
    assert by_name["B_1"]["nlm_db"]["6"] == pytest.approx(by_name["B_1"]["input_db"], abs=0.2)
    line = next(line for line in agent.splitlines() if line.startswith("| A |"))
    assert "| 1 of 2 | -75.92 | 1 of 2 |" in line
    assert "| brighten → darken | 3 |" in chains

    content = json.loads(file.read_text())
    content["pictures"][0]["nlm_db"]["3"] = 99.0
    file.write_text(json.dumps(content))
    assert run_script("compare_cameras.py", *options, "--nlm-from", str(file), "--without", "oracle") == 0
    again = {picture["name"]: picture for picture in json.loads(file.read_text())["pictures"]}
    assert (again["A_1"]["nlm_db"]["3"], again["A_1"]["oracle_db"]) == (99.0, None)
    assert run_script("compare_cameras.py", *options, "--nlm-from", str(real_pairs)) == 2
    assert "expected a file that --json wrote" in capsys.readouterr().err
