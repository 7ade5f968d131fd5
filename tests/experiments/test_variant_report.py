"""Measuring variants: maps as `inspect` sees them, which sibling, the tables, the script."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from experiments.tool_variants import ConditionedHourglass
from experiments.variant_report import (
    BLIND_USE,
    NOISE_REFERENCE,
    NOISY_SIDE,
    PIXEL_USE,
    Result,
    gains_db,
    inspected_maps,
    measure_noise,
    mixture_sets,
    noise_map,
    noise_sets,
    read_result,
    sibling_of,
    table,
)
from experiments.variant_training import CONDITIONED, NETWORKS, SIBLINGS, ConditionedBatch
from rlrestore.errors import DataError
from rlrestore.explain.inspection import Estimate, Inspection, Unfamiliarity, WindowEstimates
from rlrestore.explain.inspector import Inspector
from rlrestore.imaging import PATCH
from rlrestore.imaging.patches import PhotoBank
from rlrestore.inference.windows import WindowGrid

Painter = Callable[..., npt.NDArray[np.uint8]]
SETUP = {"minutes": 1.0}


class Add(nn.Module):
    """Adds a number to images."""

    def __init__(self, amount: float) -> None:
        super().__init__()
        self.amount = amount

    def forward(self, images: Tensor) -> Tensor:
        return images + self.amount


class Follow(ConditionedHourglass):
    """Adds the map, in units of white."""

    def forward(self, images: Tensor, strength_255: Tensor) -> Tensor:
        return images + strength_255 / 255


def inspection(varies: bool) -> Inspection:
    amounts = np.zeros((2, 3, 3), np.float32)
    amounts[..., 1] = np.array([[10, 10, 40], [10, 10, 40]])
    grid = WindowGrid(63, (0, 32), (0, 32, 64))
    windows = WindowEstimates(amounts, np.ones_like(amounts), (False, varies, False), grid)
    found = Estimate(20.0, 15.0, 25.0)
    return Inspection(found, found, found, Unfamiliarity(0.5, 1.0), 0.9, windows)


def test_gains_are_of_results_as_they_are_written() -> None:
    target, degraded = torch.full((1, 3, 4, 4), 0.95), torch.full((1, 3, 4, 4), 0.85)
    # Clipped to white the error is 0.05 and no longer 0.1: twice as near.
    assert gains_db(target + 0.1, degraded, target) == pytest.approx([20 * np.log10(2)], abs=1e-3)


def test_the_map_of_an_inspection_is_its_estimate_where_nothing_varies() -> None:
    assert (noise_map(inspection(varies=False), 95, 127) == 20).all()


def test_the_map_of_an_inspection_is_linear_between_the_middles_of_windows() -> None:
    found = noise_map(inspection(varies=True), 95, 127)  # windows begin at columns 0, 32 and 64
    assert found.shape == (95, 127)
    # Each window counts with its neighbours: 10, (10 + 10 + 40) / 3 and (10 + 40) / 2.
    assert found[0, [0, 31, 47, 63, 79, 95, 126]] == pytest.approx([10, 10, 15, 20, 22.5, 25, 25])
    assert (found == found[:1]).all()


def test_the_inspector_sees_how_strong_constant_noise_is(make_photograph: Painter) -> None:
    bank = PhotoBank([make_photograph(256, 256, seed) for seed in range(2)])
    batch = noise_sets(bank, 6, seed=1)["constant"]
    found = inspected_maps(Inspector.from_pretrained(), batch.degraded)
    assert found.shape == batch.strength_255.shape
    errors = (found - batch.strength_255).abs().mean(dim=(1, 2, 3))
    assert float(errors.median()) < 5


def test_noise_is_constant_or_leads_from_faint_to_strong(make_photograph: Painter) -> None:
    sets = noise_sets(PhotoBank([make_photograph(220, 230)]), 8, seed=0)
    ends = {
        name: (batch.strength_255.amin(dim=(1, 2, 3)), batch.strength_255.amax(dim=(1, 2, 3)))
        for name, batch in sets.items()
    }
    torch.testing.assert_close(*ends["constant"])
    for name in ("gradient", "step"):
        low, high = ends[name]
        assert 0 <= float(low.min()) <= float(low.max()) <= 5
        assert 25 <= float(high.min()) <= float(high.max()) <= 50
    assert all(len(each.unique()) == 2 for each in sets["step"].strength_255)
    assert all(len(each.unique()) > NOISY_SIDE for each in sets["gradient"].strength_255)
    assert {batch.target.shape for batch in sets.values()} == {(8, 3, NOISY_SIDE, NOISY_SIDE)}


def test_mixtures_are_those_of_the_training_and_two_others(make_photograph: Painter) -> None:
    sets = mixture_sets(PhotoBank([make_photograph(150, 160)]), 20, seed=0)
    assert list(sets) == ["moderate", "camera noise", "double JPEG"]
    for degraded, target in sets.values():
        assert degraded.shape == target.shape == (20, 3, PATCH, PATCH)
        assert ((degraded - target).square().mean(dim=(1, 2, 3)) > 0).all()


def test_every_strength_has_its_sibling() -> None:
    assert sibling_of(torch.tensor([0.0, 12.0, 13.0, 30.0, 38.0, 90.0])).tolist() == [0, 0, 1, 2, 3, 3]


def test_siblings_are_chosen_for_the_picture_or_for_each_pixel_by_either_map() -> None:
    target = torch.full((1, 3, 2, 4), 0.5)
    strength_255 = torch.tensor([5.0, 5.0, 45.0, 45.0]).expand(1, 1, 2, 4)  # in the mean 25: the second
    batch = ConditionedBatch(target + 0.1, target, strength_255)
    siblings = [Add(-0.1), Add(0.0), Add(0.3), Add(-0.09)]
    found = measure_noise(siblings, {"step": batch}, {"step": torch.full((1, 1, 2, 4), 45.0)})
    gains = {use: sets["step"] for use, sets in found.items()}
    assert gains["siblings, one for the picture, true map"] == pytest.approx([0], abs=1e-3)
    assert gains["siblings, one for the picture, map of `inspect`"] == pytest.approx([20], abs=0.01)
    assert gains["siblings, one for each pixel, true map"] == pytest.approx([23.01], abs=0.01)
    assert gains["siblings, one for each pixel, map of `inspect`"] == pytest.approx([20], abs=0.01)


def test_one_network_takes_either_map_or_none() -> None:
    target = torch.full((1, 3, 4, 4), 0.5)
    batch = ConditionedBatch(target - 0.1, target, torch.full((1, 1, 4, 4), 0.09 * 255))
    maps = {"constant": torch.zeros(1, 1, 4, 4)}
    found = measure_noise([Follow()], {"constant": batch}, maps)
    assert found["`denoise-any`, true map"]["constant"] == pytest.approx([20], abs=0.01)
    assert found["`denoise-any`, map of `inspect`"]["constant"] == pytest.approx([0], abs=1e-3)
    assert list(measure_noise([Add(0.0)], {"constant": batch}, maps)) == [BLIND_USE]


def result(row: str, gains: dict[str, dict[str, list[float]]], networks: int = 1) -> Result:
    return Result(row, SETUP, [100 // networks] * networks, 35424.0, 546740, gains)


def test_the_table_pairs_every_use_with_one() -> None:
    siblings = {NOISE_REFERENCE: {"constant": [1.0, 3.0]}, f"{PIXEL_USE}, true map": {"constant": [2.0, 4.0]}}
    printed = table(
        [result("siblings", siblings, 4), result("blind", {BLIND_USE: {"constant": [2.0, 3.0]}})],
        NOISE_REFERENCE,
    )
    head, _, *rows = printed.splitlines()
    assert head.endswith("| steps | constant, dB |")
    assert [row.split(" | ")[1:] for row in rows] == [
        ["35.4", "2187 k", "4 × 25", "+2.00 ± 1.00 |"],
        ["141.7", "2187 k", "4 × 25", "+3.00 ± 1.00 (+1.00 ± 0.00) |"],
        ["35.4", "547 k", "100", "+2.50 ± 0.50 (+0.50 ± 0.50) |"],
    ]


def test_a_result_is_read_back_and_one_of_another_comparison_refused(tmp_path: Path) -> None:
    kept = result("hourglass", {"hourglass": {"moderate": [1.0]}})
    assert read_result(tmp_path, "hourglass", SETUP) is None
    kept.save(tmp_path)
    assert read_result(tmp_path, "hourglass", SETUP) == kept
    replace(kept, setup={"minutes": 2.0}).save(tmp_path)
    with pytest.raises(DataError, match="choose another --out"):
        read_result(tmp_path, "hourglass", SETUP)
    (tmp_path / "hourglass.json").write_text('{"row": 1}', "utf-8")
    with pytest.raises(DataError, match="expected the result of a row"):
        read_result(tmp_path, "hourglass", SETUP)


def test_the_script_trains_measures_and_repeats_nothing(
    run_script: Callable[..., int],
    make_photograph: Painter,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    photos, out = tmp_path / "photos", tmp_path / "out"
    photos.mkdir()
    out.mkdir()
    for seed in range(2):
        Image.fromarray(make_photograph(220, 230, seed)).save(photos / f"{seed}.png")
    seconds = {variant.name: 60.0 for variant in (*SIBLINGS, CONDITIONED, *NETWORKS)}
    (out / "step_seconds.json").write_text(json.dumps(seconds | {"denoise-any": 30.0}), "utf-8")
    options = ["--data", str(photos), "--test", str(photos), "--minutes", "1", "--patches", "1"]
    options += ["--out", str(out), "--only"]
    assert run_script("compare_variants.py", *options, "siblings", "denoise-any") == 0
    printed = capsys.readouterr().out
    assert sum(line.startswith("| ") for line in printed.splitlines()) == 1 + 4 + 2
    assert json.loads((out / "denoise-any.json").read_text("utf-8"))["steps"] == [2]

    changed = json.loads((out / "siblings.json").read_text("utf-8"))
    changed["steps"] = [7, 7, 7, 7]
    (out / "siblings.json").write_text(json.dumps(changed), "utf-8")
    assert run_script("compare_variants.py", *options, "siblings", "dropout-0.5") == 0
    printed = capsys.readouterr().out
    assert "4 × 7" in printed
    assert "| dropout-0.5 | 35.4 | 547 k | 1 | " in printed

    assert run_script("compare_variants.py", *options, "dropout-0.4") == 2
    assert "invalid choice: 'dropout-0.4'" in capsys.readouterr().err
