"""The comparison of both modes: its numbers, its table, its script."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image

from experiments.modes import ModeScores, compare_modes, modes_table
from experiments.varying import vary
from rlrestore.imaging.metrics import psnr_db
from tests.toys import make_restorer, save_toy


def images(pixels: npt.NDArray[np.uint8]) -> torch.Tensor:
    return torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None] / 255


def test_every_photograph_is_degraded_and_restored_in_both_modes(
    make_photograph: Callable[..., npt.NDArray[np.uint8]],
) -> None:
    photos = [make_photograph(70, 90, seed) for seed in range(2)]
    scores = compare_modes(make_restorer([0], max_steps=1), photos, "halves", seed=4)

    for index, (photo, row) in enumerate(zip(photos, scores.psnr_db.tolist(), strict=True)):
        degraded, clean = images(vary(photo, "halves", (4, index))), images(photo)
        written = torch.round(255 * (degraded + 0.125).clip(max=1)) / 255  # of 8 bits, as in a file
        brighter = float(psnr_db(written, clean))
        assert row == pytest.approx([float(psnr_db(degraded, clean)), brighter, brighter], abs=1e-4)
    assert (scores.ms_per_megapixel > 0).all()


def test_means_are_over_photographs() -> None:
    psnr = torch.tensor([[20.0, 21.0, 23.0], [30.0, 33.0, 34.0]], dtype=torch.float64)
    scores = ModeScores("halves", psnr, torch.tensor([[100.0, 200.0], [300.0, 400.0]]))

    assert scores.to_json() == {
        "n": 2,
        "input_psnr_db": 25.0,
        "global_db": 2.0,
        "local_db": 3.5,
        "difference_db": 1.5,
        "global_standard_error_db": pytest.approx(1.0),
        "local_standard_error_db": pytest.approx(0.5),
        "difference_standard_error_db": pytest.approx(0.5),
        "smallest_difference_db": 1.0,
        "same": 0.0,
        "global_ms_per_megapixel": 200.0,
        "local_ms_per_megapixel": 300.0,
    }
    head, row = modes_table([scores]).splitlines()
    assert "local - global, dB" in head
    assert " ".join(row.split()) == "halves 2 25.00 +2.00 +3.50 +1.50 ± 0.50 +1.00 0% 200 / 300"


def test_scores_of_nothing_are_refused() -> None:
    with pytest.raises(ValueError, match=r"of N > 0 photographs, got \(0, 3\) and \(0, 2\)"):
        ModeScores("halves", torch.zeros(0, 3), torch.zeros(0, 2))


def test_the_script_prints_the_table_and_writes_the_numbers(
    run_script: Callable[..., int],
    make_photograph: Callable[..., npt.NDArray[np.uint8]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "photos").mkdir()
    for seed in range(3):
        Image.fromarray(make_photograph(70, 80, seed)).save(tmp_path / "photos" / f"{seed}.png")
    model, file = save_toy(tmp_path / "toy", [0]), tmp_path / "modes.json"
    common = ["--data", str(tmp_path / "photos"), "--model", str(model), "--json", str(file)]

    assert run_script("compare_modes.py", *common) == 0
    assert [line.split()[:2] for line in capsys.readouterr().out.splitlines()[1:]] == [
        ["left-right", "3"],
        ["halves", "3"],
        ["noise-gradient", "3"],
        ["background", "3"],
        ["uniform", "3"],
        ["uniform-noise", "3"],
    ]
    assert run_script("compare_modes.py", *common, "--part", "validation", "--kinds", "uniform") == 0
    content = json.loads(file.read_text("utf-8"))
    assert content.keys() == {"uniform"}
    assert content["uniform"]["n"] == content["uniform"]["same"] == 1
