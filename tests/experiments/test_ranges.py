"""All tools on every tool's own range: the gains, the verdict, the table, the script."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image

from experiments.ranges import RangeGains, measure_ranges, ranges_table
from rlrestore.evaluation.testsets import MixedDistortion, generate
from rlrestore.toolbox.specs import TOOLS
from tests.toys import make_toolbox, save_toy

Pixels = npt.NDArray[np.uint8]
NAMES = ("deblur", "denoise", "dejpeg")


def gains(own: int, *rows: list[float], mixed: bool = False) -> RangeGains:
    return RangeGains(own, NAMES, mixed, torch.tensor(rows, dtype=torch.float64))


def test_the_own_tool_holds_its_range_if_it_is_the_best_or_nearly() -> None:
    best, near, beaten = (
        gains(1, [0.0, 2.0, 1.0], [0.0, 4.0, 1.0]),
        gains(1, [0.0, 2.0, 1.0], [0.0, 2.0, 3.1]),
        gains(1, [0.0, 2.0, 1.0], [0.0, 2.0, 3.3]),
    )
    assert [each.best for each in (best, near, beaten)] == [1, 2, 2]
    assert [each.behind_db for each in (best, near, beaten)] == pytest.approx([0, 0.05, 0.15])
    assert [each.holds for each in (best, near, beaten)] == [True, True, False]


def test_gains_are_those_of_the_generated_patches(make_photograph: Callable[..., Pixels]) -> None:
    photos, toolbox = [make_photograph(100, 120, seed) for seed in range(2)], make_toolbox()
    found = measure_ranges(toolbox, photos, 3, seed=5)
    assert [(each.mixed, each.own) for each in found] == [
        (mixed, own) for mixed in (False, True) for own in range(3)
    ]
    for each, source in ((found[1], toolbox.specs[1]), (found[4], MixedDistortion(toolbox.specs[1]))):
        pairs = generate(photos, source, 3, seed=5)
        error = (pairs.degraded.astype(float) - pairs.clean) / 255
        before, after = (-10 * np.log10(np.mean(e**2, axis=(1, 2, 3))) for e in (error, error + 0.125))
        np.testing.assert_allclose(each.gains_db[:, 0], after - before, atol=1e-3)


def test_among_others_is_the_own_distortion_and_a_little_of_the_rest() -> None:
    amounts = MixedDistortion(TOOLS[2]).sample(2000, torch.Generator().manual_seed(0))
    assert ((amounts.blur_sigma_px >= 2.5) & (amounts.blur_sigma_px <= 3.75)).all()
    for amount, low, high in (
        (amounts.noise_sigma_255, 0.0, 5.0),
        (amounts.jpeg_quality, 60.0, 100.0),
    ):
        has = amount > 0
        assert float(has.float().mean()) == pytest.approx(0.5, abs=0.05)
        assert low <= float(amount[has].min()) <= float(amount[has].max()) <= high


def test_the_table_says_whose_range_is_lost() -> None:
    rows = [gains(own, [0.0, 2.0, 1.0], [0.0, 2.0, 1.0]) for own in range(3)]
    rows += [gains(own, [3.0, 2.0, 2.95], mixed=True) for own in range(3)]
    printed = ranges_table(rows)
    alone, others = printed.split("\n\n")
    assert "alone, 2 patches each" in alone
    assert alone.splitlines()[3].split() == [
        "denoise",
        "+0.00",
        "[+2.00]",
        "+1.00",
        "denoise",
        "0.00",
        "±",
        "0.00",
    ]
    assert alone.splitlines()[4].split()[4:] == ["denoise", "1.00", "±", "0.00", "not", "its", "own"]
    assert alone.splitlines()[-1].endswith("on 1 of 3 ranges")
    assert others.splitlines()[-1].endswith("on 2 of 3 ranges")


def test_the_script_measures_the_photographs_that_trainings_hold_out(
    run_script: Callable[..., int],
    make_photograph: Callable[..., Pixels],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "photos").mkdir()
    for seed in range(3):
        Image.fromarray(make_photograph(70, 90, seed)).save(tmp_path / "photos" / f"{seed}.png")
    model, file = save_toy(tmp_path / "toy", [0]), tmp_path / "ranges.json"
    options = ["--data", str(tmp_path / "photos"), "--part", "validation", "--patches", "2"]
    assert run_script("tool_ranges.py", *options, "--model", str(model), "--json", str(file)) == 0
    content = json.loads(file.read_text("utf-8"))
    assert [(row["tool"], row["n"]) for row in content] == [
        (n, 2) for n in ("brighten", "darken", "keep")
    ] * 2
    assert all(row["gains_db"]["keep"] == pytest.approx(0, abs=1e-5) for row in content)
    assert "among others, 2 patches each" in capsys.readouterr().out

    assert run_script("tool_ranges.py", "--data", str(tmp_path / "nothing")) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
