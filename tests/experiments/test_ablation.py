"""Ablations: every variant of a toy by hand, and the page."""

import logging
import sys
from collections.abc import Callable
from pathlib import Path

import ablate as script
import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image

from experiments.ablation import SEPARATE, Row, ablate, ablation_page, parts, variants
from experiments.comparison import Estimate
from rlrestore.evaluation.scores import STOPPED
from rlrestore.evaluation.testsets import PatchPairs
from rlrestore.model_folder import weights_label
from rlrestore.toolbox.specs import TOOLS
from tests.toys import distance_db, make_model, save_toy

TOY = 64 * 64 * 12_672
"""Multiply-adds of a toy's tool on a patch."""
BRIGHTEN, DARKEN, KEEP, STOP = range(4)


@pytest.fixture
def pairs() -> PatchPairs:
    """Two patches that are 51/255 = 0.2 too dark."""
    degraded, clean = (
        np.stack([np.full((63, 63, 3), value, np.uint8) for value in values])
        for values in ((51, 102), (102, 153))
    )
    return PatchPairs("dark", degraded, clean)


def test_half_of_each_kind_and_each_depth_of_the_toolbox_are_tried() -> None:
    tried = {
        name: [spec.name for spec, keep in zip(TOOLS, allowed, strict=True) if keep]
        for name, allowed in parts(TOOLS).items()
    }
    assert tried == {
        "half the toolbox: the first and third of each kind": [
            *("deblur-1", "deblur-3", "denoise-1", "denoise-3", "dejpeg-1", "dejpeg-3")
        ],
        "half the toolbox: the second and fourth": [
            *("deblur-2", "deblur-4", "denoise-2", "denoise-4", "dejpeg-2", "dejpeg-4")
        ],
        "shallow tools only": [*("deblur-1", "deblur-2", "denoise-1", "denoise-2", "dejpeg-1", "dejpeg-2")],
        "deep tools only": [*("deblur-3", "deblur-4", "denoise-3", "denoise-4", "dejpeg-3", "dejpeg-4")],
    }
    assert list(parts(TOOLS[:1])) == []


def test_every_variant_does_what_its_name_says(pairs: PatchPairs) -> None:
    toy = make_model([BRIGHTEN, DARKEN], max_steps=3)  # and then stops
    found = {variant.name: variant.measure(pairs).actions[0].tolist() for variant in variants(toy)}
    assert STOP not in found.pop("without stop")
    assert found == {
        "the model, 3 steps": [BRIGHTEN, DARKEN, STOP],
        "1 step": [BRIGHTEN],
        "2 steps": [BRIGHTEN, DARKEN],
        "4 steps": [BRIGHTEN, DARKEN, STOP, STOPPED],
        "5 steps": [BRIGHTEN, DARKEN, STOP, STOPPED, STOPPED],
        "half the toolbox: the first and third of each kind": [BRIGHTEN, STOP, STOPPED],
        "half the toolbox: the second and fourth": [STOP, STOPPED, STOPPED],  # it expects -1 dB of darkening
        "greedy oracle, all tools": [BRIGHTEN, BRIGHTEN, DARKEN],  # 0.2, 0.075, 0.05, 0.0125 away
        "greedy oracle, half the toolbox: the first and third of each kind": [BRIGHTEN, BRIGHTEN, 2],
        "greedy oracle, half the toolbox: the second and fourth": [1, STOPPED, STOPPED],  # of one tool
    }


def test_rows_hold_gains_and_costs_worked_out_by_hand(pairs: PatchPairs) -> None:
    few = PatchPairs("few", pairs.degraded[:1], pairs.clean[:1])
    apart = make_model([BRIGHTEN], max_steps=3)
    rows = {row.name: row for row in ablate(make_model([BRIGHTEN, DARKEN]), [pairs, few], apart)}
    full, separate, oracle = (
        rows[name] for name in ("the model, 3 steps", SEPARATE, "greedy oracle, all tools")
    )
    before_db, full_db, separate_db, oracle_db = map(distance_db, (0.2, 0.1375, 0.075, 0.0125))
    for name in ("dark", "few"):
        assert full.differences[name] == Estimate(0, 0)
        for found, expected_db in (
            (full.gains, full_db - before_db),
            (separate.differences, separate_db - full_db),
            (oracle.gains, oracle_db - before_db),
        ):
            assert found[name].mean == pytest.approx(expected_db, abs=2e-3)
            assert found[name].error == pytest.approx(0, abs=1e-3)  # both patches are alike
    assert (full.multiply_adds, full.tools) == (2 * TOY, 2)
    assert (separate.multiply_adds, separate.tools) == (TOY, 1)
    assert (rows["without stop"].multiply_adds, rows["without stop"].tools) == (3 * TOY, 3)


def row(name: str, lead_db: float) -> Row:
    gains = {"mild": Estimate(3 + lead_db, 0.1), "severe": Estimate(2.0, 0.1)}
    differences = {"mild": Estimate(lead_db, 0.02), "severe": Estimate(-0.15, 0.01)}
    return Row(name, gains, differences, 123.4e6, 1.5)


def test_the_page_holds_the_table_and_what_joint_training_is_worth() -> None:
    rows = [row("the model", 0), row(SEPARATE, -0.25)]
    page = ablation_page(rows, "python scripts/ablate.py", "2 patches", None, 3)
    assert "| the model | +3.00 ± 0.10 | +2.00 ± 0.10 | 123 | 1.50 |" in page
    separate = "| +2.75 ± 0.10 (-0.25 ± 0.02) | +2.00 ± 0.10 (-0.15 ± 0.01) | 123 | 1.50 |"
    assert f"| {SEPARATE} {separate}" in page
    assert "\nJoint training is worth: mild +0.25 ± 0.02, severe +0.15 ± 0.01 dB.\n" in page
    assert "after the 3 that it was trained for" in page


def test_without_a_model_trained_apart_the_page_says_so() -> None:
    page = ablation_page([row("the model", 0)], "", "", "no --separate was given", 3)
    assert "Left out: without joint training: no --separate was given." in page
    assert "is worth" not in page


def test_the_script_writes_the_page(
    make_photograph: Callable[..., npt.NDArray[np.uint8]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    (tmp_path / "photos").mkdir()
    Image.fromarray(make_photograph(63, 90)).save(tmp_path / "photos" / "0.png")
    model = save_toy(tmp_path / "toy", [BRIGHTEN])
    given = ["--data", str(tmp_path / "photos"), "--model", str(model), "--patches", "2", "--threads", "1"]
    given += ["--out", str(tmp_path / "docs"), "--separate"]

    monkeypatch.setattr(sys, "argv", ["scripts/ablate.py", *given, str(tmp_path / "gone")])
    with caplog.at_level(logging.WARNING):
        assert script.main() == 0
    assert caplog.messages[0].startswith("left out: without joint training: no model 'gone'")
    page = (tmp_path / "docs" / "ablations.md").read_text("utf-8")
    how = f"JPEG grid at any phase, seed 0; weights {weights_label(model)}; 1 thread of a cpu"
    assert f"2 patches of each mixture from photos, {how}" in page
    assert "python scripts/ablate.py --data photos/ --model toy/ --patches 2" in page
    assert "|  | mild: gain, dB | moderate: gain, dB | severe: gain, dB | M multiply-adds | tools |" in page
    assert str(tmp_path) not in page

    monkeypatch.setattr(sys, "argv", ["scripts/ablate.py", *given, str(model)])
    assert script.main() == 0
    page = (tmp_path / "docs" / "ablations.md").read_text("utf-8")
    assert "mild +0.00 ± 0.00, moderate +0.00 ± 0.00, severe +0.00 ± 0.00 dB." in page


def test_a_model_that_is_not_there_is_refused_in_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["--data", str(tmp_path), "--model", str(tmp_path / "gone"), "--threads", "1"]
    monkeypatch.setattr(sys, "argv", ["scripts/ablate.py", *given])
    assert script.main() == 2
    assert "no model" in capsys.readouterr().err
    assert torch.get_num_threads() == 1
