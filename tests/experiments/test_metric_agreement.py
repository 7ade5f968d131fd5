"""Agreement of metrics: rank correlations by hand, and a quarrel that was put in."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image

from experiments.metric_agreement import (
    Outputs,
    agreement,
    measure_outputs,
    quarrels,
    rank_correlation,
    ranks,
)
from rlrestore.evaluation.testsets import PatchPairs
from rlrestore.imaging.metrics import METRICS, psnr_db, ssim
from tests.toys import make_model, save_toy

NOTHING = PatchPairs("", np.zeros((2, 63, 63, 3), np.uint8), np.zeros((2, 63, 63, 3), np.uint8))


def test_equal_values_share_their_ranks() -> None:
    assert ranks(torch.tensor([3.0, 1.0, 3.0, 7.0])).tolist() == [1.5, 0, 1.5, 3]


def test_the_rank_correlation_is_spearmans() -> None:
    # By 1 - 6 Σd² / n(n² - 1), d being 0, 1, 1, 0 and 3, 1, 1, 3.
    first = torch.tensor([1.0, 2.0, 3.0, 4.0])
    others = torch.tensor([[10.0, 30.0, 20.0, 40.0], [9.0, 8.0, 7.0, 6.0]])
    assert rank_correlation(first, others).tolist() == pytest.approx([0.8, -1.0])
    assert rank_correlation(first, torch.ones(4)).item() == 0


def outputs() -> Outputs:
    """Of two patches three outputs each, by two metrics that disagree about the second patch alone."""
    first = [[1.0, 2.0, 3.0], [1.0, 2.0, 4.0]]
    second = [[10.0, 20.0, 30.0], [10.0, 40.0, 20.0]]
    values = torch.tensor([first, second]).double().movedim(0, 2)
    return Outputs(NOTHING, ("input", "tool", "agent"), values, (1.0, 2.0))


def test_agreement_is_a_mean_over_patches() -> None:
    within, gains, same = agreement(outputs())
    assert within[0, 1].item() == pytest.approx((1 + 0.5) / 2)
    assert gains[0, 1].item() == pytest.approx(-1)  # gains of 2 and 3, and of 20 and 10
    assert same[0, 1].item() == 0.5
    assert within.diagonal().tolist() == pytest.approx([1, 1])


def test_the_strongest_quarrel_is_found() -> None:
    (quarrel,) = quarrels(outputs(), 0, 1, 1)
    assert (quarrel.patch, quarrel.first, quarrel.second) == (1, 2, 1)
    gaps = np.array([a - b for row in ([1, 2, 3], [1, 2, 4]) for a in row for b in row])
    others = np.array([a - b for row in ([10, 20, 30], [10, 40, 20]) for a in row for b in row])
    assert quarrel.strength == pytest.approx(min(2 / gaps.std(ddof=1), 20 / others.std(ddof=1)))


def test_the_outputs_of_a_model_are_measured() -> None:
    pixels = np.random.default_rng(0).integers(40, 90, (3, 63, 63, 3)).astype(np.uint8)
    pairs = PatchPairs("toy", pixels, pixels + np.uint8(32))  # which the toy's +1/8 mends
    found = measure_outputs(make_model([0]), pairs)
    assert found.names[0] == "input"
    assert found.names[-1] == "agent"
    assert found.values.shape == (3, len(found.names), len(METRICS))
    clean = torch.from_numpy(pixels.transpose(0, 3, 1, 2) / 255 + 32 / 255)
    ranked = torch.stack([psnr_db(clean - 32 / 255, clean), ssim(clean - 32 / 255, clean)], dim=1)
    torch.testing.assert_close(found.values[:, 0, :2], ranked, atol=1e-4, rtol=0)
    assert min(found.seconds) > 0
    mended_db, _, gmsd, *_ = found.values[0, -1].tolist()
    assert mended_db > 50
    assert -1e-2 < gmsd <= 0
    assert (found.values[:, 0, 0] < found.values[:, -1, 0]).all()


def test_the_script_prints_and_draws(
    run_script: Callable[..., int],
    make_photograph: Callable[..., npt.NDArray[np.uint8]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "photos").mkdir()
    Image.fromarray(make_photograph(136, 140, 0)).save(tmp_path / "photos" / "0.png")
    toy, out, picture = save_toy(tmp_path / "toy", [0]), tmp_path / "out.json", tmp_path / "pairs.png"
    files = ["--data", str(tmp_path / "photos"), "--model", str(toy), "--json", str(out)]
    assert run_script("compare_metrics.py", *files, "--picture", str(picture), "--patches", "4") == 0
    found = json.loads(out.read_text())
    assert found["metrics"] == [metric.name for metric in METRICS]
    assert [row[index] for index, row in enumerate(found["within"])] == pytest.approx([1] * len(METRICS))
    assert f"| SSIM | {found['within'][1][0]:.2f} | 1.00 |" in capsys.readouterr().out
    with Image.open(picture) as drawn:
        assert drawn.height > 3 * 63 * 4
