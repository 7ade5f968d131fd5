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


def test_more_views_are_compared_with_one(
    run_script: Callable[..., int], real_pairs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The toy's tools add the same to every pixel, so that no view gains more than another."""
    toy = save_toy(tmp_path / "toy", [0])
    assert (
        run_script("compare_views.py", "--pairs", str(real_pairs), "--model", str(toy), "--views", "1", "3")
        == 0
    )
    _, _, one, three = capsys.readouterr().out.splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in (one, three)]
    assert [row[:2] for row in cells] == [["cameras, 3", "1"], ["cameras, 3", "3"]]
    gains = [-20 * np.log10(abs(1 / 8 - less / 255) * 255 / less) if less else None for less in (32, 0, 48)]
    lost = -10 * np.log10(1 / 64 + 1e-10) - 100  # of the one that was right, 100 dB being the most
    assert float(cells[0][2]) == pytest.approx((gains[0] + lost + gains[2]) / 3, abs=0.02)
    assert [row[3] for row in cells] == ["+0.00 ± 0.00"] * 2
    assert [row[5] for row in cells] == ["1", "1"]

    clean = tmp_path / "clean"
    clean.mkdir()
    Image.new("RGB", (72, 64), (120, 120, 120)).save(clean / "a.png")
    assert run_script("compare_views.py", "--data", str(clean), "--model", str(toy), "--views", "1", "2") == 0
    assert [line.split(" | ")[0] for line in capsys.readouterr().out.splitlines()[2::2]] == [
        f"| {name}, 1" for name in ("mild", "moderate", "severe")
    ]
    assert run_script("compare_views.py", "--data", str(clean), "--model", str(toy), "--views", "9") == 2
    assert "expected 1 to 8 views, got 9" in capsys.readouterr().err
