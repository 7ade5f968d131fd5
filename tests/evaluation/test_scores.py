"""Measuring: the numbers against those computed by hand for a model whose every step is known."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image

from rlrestore.errors import ImageError, UsageError
from rlrestore.evaluation.file_pairs import FilePair, pair_files
from rlrestore.evaluation.scores import (
    STOPPED,
    Scores,
    measure_files,
    measure_patches,
    merge,
    summarise,
    to_images,
)
from rlrestore.evaluation.testsets import PatchPairs
from tests.toys import distance_db, make_model

Pixels = npt.NDArray[np.uint8]


def uniform(*values: int) -> Pixels:
    """Patches of one colour each."""
    return np.stack([np.full((63, 63, 3), value, np.uint8) for value in values])


@pytest.fixture
def pairs() -> PatchPairs:
    """Three patches that are 51/255 = 0.2 too dark, and one that is 0.2 too bright."""
    return PatchPairs("uniform", uniform(51, 102, 0, 153), uniform(102, 153, 51, 102))


def test_psnr_is_the_mean_over_patches_at_every_step(pairs: PatchPairs) -> None:
    scores = measure_patches(make_model([0, 1]), pairs)  # +0.125, then -0.0625, then stop
    too_dark = [distance_db(distance) for distance in (0.2, 0.075, 0.1375, 0.1375)]
    too_bright = [distance_db(distance) for distance in (0.2, 0.325, 0.2625, 0.2625)]
    torch.testing.assert_close(
        scores.psnr_db, torch.tensor([too_dark] * 3 + [too_bright]).double(), atol=1e-3, rtol=0
    )
    assert scores.actions.tolist() == [[0, 1, 3]] * 4
    report = summarise(scores)
    assert report.n == 4
    assert report.psnr_db == pytest.approx(
        [(3 * dark + bright) / 4 for dark, bright in zip(too_dark, too_bright, strict=True)], abs=1e-3
    )
    gains = np.array([too_dark[-1] - too_dark[0]] * 3 + [too_bright[-1] - too_bright[0]])
    assert report.gain_db == pytest.approx(gains.mean(), abs=1e-3)
    assert report.gain_standard_error_db == pytest.approx(gains.std(ddof=1) / 2, abs=1e-3)
    assert report.worse_share == 0.25


def test_ssim_is_measured_at_every_step(pairs: PatchPairs) -> None:
    report = summarise(
        measure_patches(make_model([2, 0]), PatchPairs("", pairs.degraded[:1], pairs.clean[:1]))
    )
    before, after = (  # uniform patches: only the luminance term is left
        (2 * x * y + 1e-4) / (x**2 + y**2 + 1e-4) for x, y in ((0.2, 0.4), (0.325, 0.4))
    )
    assert report.ssim == pytest.approx([before, before, after, after], abs=1e-4)


def test_actions_and_stops_are_counted(pairs: PatchPairs) -> None:
    report = summarise(measure_patches(make_model([2]), pairs))
    assert report.actions == {"brighten": 0, "darken": 0, "keep": 4, "stop": 4}
    assert report.actions_by_step[0] == {"brighten": 0, "darken": 0, "keep": 4, "stop": 0}
    assert report.actions_by_step[2] == {"brighten": 0, "darken": 0, "keep": 0, "stop": 0}
    assert list(report.stop_shares) == [0, 1, 0]
    assert report.worse_share == 0


def test_the_batch_size_changes_no_number(pairs: PatchPairs) -> None:
    restorer = make_model([0, 2, 1])
    whole, parts = (measure_patches(restorer, pairs, batch=batch) for batch in (64, 3))
    torch.testing.assert_close(whole.psnr_db, parts.psnr_db)
    torch.testing.assert_close(whole.ssim, parts.ssim)
    assert torch.equal(whole.actions, parts.actions)


def test_results_are_not_rounded_to_bytes() -> None:
    degraded, clean = uniform(100), uniform(131)
    scores = measure_patches(make_model([0]), PatchPairs("", degraded, clean))  # 0.125 is 31.875 bytes
    assert scores.psnr_db[0, 1].item() == pytest.approx(distance_db(0.875 / 255), abs=1e-3)


def test_patches_of_another_size_are_refused() -> None:
    pixels = np.zeros((1, 32, 40, 3), np.uint8)
    with pytest.raises(UsageError, match="expected patches of 63×63 for model toy, got 40×32"):
        measure_patches(make_model([0]), PatchPairs("", pixels, pixels))


def test_files_of_any_size_are_measured_like_patches(
    make_photograph: Callable[..., Pixels], tmp_path: Path
) -> None:
    for name, (height, width) in {"a": (63, 63), "b": (80, 131), "c": (20, 63)}.items():
        clean = make_photograph(height, width) // 2 + 60
        for folder, pixels in (("gt", clean), ("in", clean - 51)):
            (tmp_path / folder).mkdir(exist_ok=True)
            Image.fromarray(pixels).save(tmp_path / folder / f"{name}.png")
    scores = measure_files(make_model([0, 1]), pair_files(tmp_path / "in", tmp_path / "gt"), "three")
    expected = [distance_db(distance) for distance in (0.2, 0.075, 0.1375, 0.1375)]
    torch.testing.assert_close(scores.psnr_db, torch.tensor([expected] * 3).double(), atol=1e-3, rtol=0)
    assert scores.actions.tolist() == [[0, 1, 3]] * 3
    assert (scores.ssim[:, 1] > scores.ssim[:, 0]).all()


def test_a_photograph_that_stops_keeps_its_values(photograph: Pixels, tmp_path: Path) -> None:
    Image.fromarray(photograph).save(tmp_path / "clean.png")
    Image.fromarray(photograph).save(tmp_path / "degraded.jpg", quality=30)
    pair = FilePair("x", tmp_path / "degraded.jpg", tmp_path / "clean.png")
    scores = measure_files(make_model([2]), [pair], "one")
    assert scores.actions.tolist() == [[2, 3, STOPPED]]
    assert len(set(scores.psnr_db[0].tolist())) == len(set(scores.ssim[0].tolist())) == 1


def test_an_image_below_the_window_of_ssim_is_refused(tmp_path: Path) -> None:
    Image.new("RGB", (10, 40)).save(tmp_path / "x.png")
    with pytest.raises(ImageError, match=r"at least 11×11 pixels, .*x\.png is 10×40"):
        measure_files(make_model([0]), [FilePair("x", tmp_path / "x.png", tmp_path / "x.png")], "small")


def scores_of(name: str, psnr_db: list[list[float]]) -> Scores:
    values = torch.tensor(psnr_db, dtype=torch.float64)
    metrics = {"psnr_db": values, "ssim": values / 100}
    return Scores(name, ("tool", "stop"), metrics, torch.zeros(len(values), 1, dtype=torch.int64))


def test_merged_sets_count_each_image_once() -> None:
    merged = summarise(merge([scores_of("a", [[20, 22]]), scores_of("b", [[30, 31], [10, 9]])], "all"))
    assert (merged.name, merged.n) == ("all", 3)
    assert merged.psnr_db == pytest.approx((20, 62 / 3))
    assert merged.worse_share == pytest.approx(1 / 3)
    assert merged.actions == {"tool": 3, "stop": 0}


def test_one_image_has_no_standard_error() -> None:
    assert summarise(scores_of("a", [[20, 22]])).gain_standard_error_db == 0


def test_scores_of_unequal_lengths_are_refused() -> None:
    values = {"psnr_db": torch.zeros(2, 4), "ssim": torch.zeros(2, 3)}
    with pytest.raises(ValueError, match=r"expected ssim of shape \(2, 4\) .* got \(2, 3\)"):
        Scores("", ("stop",), values, torch.zeros(2, 3, dtype=torch.int64))


def test_the_table_shows_the_numbers() -> None:
    table = summarise(scores_of("moderate", [[20, 22], [30, 31.5], [10, 9.5], [20, 23]])).table()
    lines = [line.split() for line in table.splitlines()]
    assert lines[0] == ["moderate,", "4", "images"]
    assert lines[1] == ["input", "step", "1", "gain"]
    assert lines[2] == ["PSNR,", "dB", "20.00", "21.50", "+1.50", "±", "0.74"]
    assert lines[3] == ["SSIM", "0.2000", "0.2150", "+0.0150"]
    assert lines[4] == ["stop", "here", "0.0%"]
    assert table.endswith("worse than the input: 25.0%, worst -0.50 dB\n  actions: tool 100.0%")


def test_arrays_that_cannot_be_written_to_or_run_backwards_are_measured() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 3), np.uint8)
    locked = pixels.copy()
    locked.setflags(write=False)
    expected = pixels.transpose(0, 3, 1, 2) / np.float32(255)
    np.testing.assert_allclose(to_images(locked).numpy(), expected)  # a warning would fail the test
    np.testing.assert_allclose(to_images(pixels[:, ::-1]).numpy(), expected[:, :, ::-1])
