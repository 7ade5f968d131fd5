"""Training variants: the patches and their maps, equal data, equal time, going on; it learns."""

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor, nn

from experiments.tool_variants import ConditionedHourglass
from experiments.variant_training import (
    BLIND,
    CONDITIONED,
    DRAWN_STEPS,
    MAP_FACTOR,
    MAP_OFFSET_255,
    MIXTURE,
    NETWORKS,
    SIBLINGS,
    WHOLE,
    NoiseStream,
    Variant,
    VariantTraining,
    noisy_patches,
    ramps,
    step_seconds,
    train_variant,
    with_errors,
)
from rlrestore.errors import ModelError
from rlrestore.imaging import PATCH
from rlrestore.imaging.metrics import psnr_db
from rlrestore.imaging.patches import PhotoBank
from rlrestore.toolbox.checkpoint import Checkpoint
from rlrestore.toolbox.networks import Hourglass
from rlrestore.toolbox.trainer import Moment, Trainer

Painter = Callable[..., npt.NDArray[np.uint8]]


@pytest.fixture
def bank(make_photograph: Painter) -> PhotoBank:
    return PhotoBank([make_photograph(130, 140, seed) for seed in range(2)])


def small(name: str, stream: object = WHOLE, seed: int = 0) -> Variant:
    return Variant(name, lambda: ConditionedHourglass(8, 8), stream, seed=seed)  # type: ignore[arg-type]  # one


def weights(network: nn.Module) -> Tensor:
    return torch.cat([parameter.flatten() for parameter in network.parameters()])


def test_ramps_lead_from_one_end_to_the_other_in_a_straight_line() -> None:
    maps = ramps(40, 9, torch.Generator().manual_seed(0))
    assert maps.shape == (40, 1, 9, 9)
    assert maps.amin(dim=(1, 2, 3)).abs().max() == 0
    assert maps.amax(dim=(1, 2, 3)) == pytest.approx(torch.ones(40))
    for axis in (2, 3):
        assert maps.diff(n=2, dim=axis).abs().max() < 1e-6
    assert (maps.diff(dim=3).mean(dim=(1, 2, 3)) > 0).double().mean() == pytest.approx(0.5, abs=0.3)


def test_the_noise_of_a_patch_is_as_strong_as_its_map_says() -> None:
    grey = PhotoBank([np.full((130, 130, 3), 128, np.uint8)])
    count, half = 200, torch.zeros(200, 1, 32, 32)
    half[..., 16:] = 1
    here, there = torch.full((count,), 5.0), torch.full((count,), 20.0)
    batch = noisy_patches(grey, here, there, half, torch.Generator().manual_seed(0))
    assert batch.strength_255[0, 0, 0, [0, 15, 16, 31]].tolist() == [5, 5, 20, 20]
    error_255 = 255 * (batch.degraded - batch.target)
    deviations = error_255.std(dim=(1, 2))
    # Every second patch is a JPEG, which smooths the noise a little; the others have all of it.
    raw = deviations[deviations[:, :16].mean(dim=1) > 4.8]
    assert 60 < len(raw) < 140
    assert raw[:, :16].mean() == pytest.approx(5, rel=0.03)
    assert raw[:, 16:].mean() == pytest.approx(20, rel=0.03)


def test_a_stream_keeps_to_its_range_and_half_of_its_patches_vary(bank: PhotoBank) -> None:
    degraded, target, maps_255 = NoiseStream(12.5, 25.0).draw(bank, 100, torch.Generator().manual_seed(0))
    assert degraded.shape == target.shape == (100, 3, PATCH, PATCH)
    assert maps_255 is not None
    varies = maps_255.amax(dim=(1, 2, 3)) - maps_255.amin(dim=(1, 2, 3)) > 1e-3
    assert 35 <= int(varies.sum()) <= 65
    steps = torch.tensor([len(each.unique()) == 2 for each in maps_255])
    assert 10 <= int(steps.sum()) <= 40
    assert float(maps_255.mean()) == pytest.approx(18.75, abs=1.5)
    middle_255 = maps_255.mean(dim=(1, 2, 3))
    assert float(middle_255.min()) > 12.5 * (1 - 4 * MAP_FACTOR) - 4 * MAP_OFFSET_255


def test_maps_err_as_estimates_do() -> None:
    exact = torch.full((4000, 1, 2, 2), 20.0)
    found = with_errors(exact, torch.Generator().manual_seed(0))
    assert (found == found[:, :, :1, :1]).all()
    errors = found[:, 0, 0, 0] - 20
    assert float(errors.mean()) == pytest.approx(0, abs=0.15)
    assert float(errors.std()) == pytest.approx(np.hypot(20 * MAP_FACTOR, MAP_OFFSET_255), rel=0.05)
    assert float(with_errors(torch.zeros(1000, 1, 1, 1), torch.Generator().manual_seed(0)).min()) == 0


def test_all_variants_of_one_comparison_train_on_the_same_patches(bank: PhotoBank) -> None:
    for variants in ([CONDITIONED, BLIND], [each for each in NETWORKS if each.seed == 0]):
        assert len({each.stream for each in variants}) == 1
        assert {each.share for each in variants} == {1.0}
    assert sum(each.share for each in SIBLINGS) == 1
    assert [each.name for each in SIBLINGS] == ["denoise-1", "denoise-2", "denoise-3", "denoise-4"]
    ends = [(each.stream.low_255, each.stream.high_255) for each in SIBLINGS]  # type: ignore[attr-defined]  # noise
    assert ends == [(0, 12.5), (12.5, 25), (25, 37.5), (37.5, 50)]
    first, second, other = (
        VariantTraining(small(name, WHOLE, seed), bank, 9)._batch(0)
        for name, seed in (("a", 0), ("b", 0), ("c", 1))
    )
    torch.testing.assert_close(first[0], second[0])
    assert not torch.equal(first[0], other[0])


def test_a_training_that_was_cut_goes_on_as_if_it_had_not_been(bank: PhotoBank, tmp_path: Path) -> None:
    whole = train_variant(small("whole"), bank, DRAWN_STEPS + 2, tmp_path)

    cut = VariantTraining(small("whole"), bank, DRAWN_STEPS + 2)
    folder = tmp_path / "again"
    for _ in range(3):
        cut.step(Moment(cut.steps / (DRAWN_STEPS + 2)))
    Trainer(cut, Checkpoint(folder / "whole"), "either").save()
    again = train_variant(small("whole"), bank, DRAWN_STEPS + 2, folder)
    torch.testing.assert_close(weights(again), weights(whole))
    same = train_variant(small("whole"), bank, DRAWN_STEPS + 2, folder)
    torch.testing.assert_close(weights(same), weights(whole), rtol=0, atol=0)
    with pytest.raises(ModelError, match="steps: expected 11, got 10"):
        train_variant(small("whole"), bank, DRAWN_STEPS + 3, folder)


def test_it_learns_to_take_noise_away(bank: PhotoBank, tmp_path: Path) -> None:
    network = train_variant(small("any"), bank, 150, tmp_path)
    degraded, target, _ = WHOLE.draw(bank, 40, torch.Generator().manual_seed(5))
    strong = torch.full((40, 1, PATCH, PATCH), 25.0)
    gain_db = psnr_db(network(degraded, strong), target) - psnr_db(degraded, target)
    assert float(gain_db.mean()) > 1.0, gain_db.mean()


def test_a_dropout_draws_the_same_in_every_run_and_leaves_the_global_state_alone(bank: PhotoBank) -> None:
    (variant,) = [each for each in NETWORKS if each.name == "dropout-0.5"]
    before = torch.random.get_rng_state()
    losses = [VariantTraining(variant, bank, 2).step(Moment(0.5))["psnr_db"] for _ in range(2)]
    assert losses[0] == losses[1]
    assert torch.equal(torch.random.get_rng_state(), before)


def test_time_is_taken_in_turn_and_alike_networks_cost_the_same(
    bank: PhotoBank, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter([0.0, 8.0, 8.0, 24.0, 24.0, 28.0, 28.0, 52.0])  # a, c, a, c
    monkeypatch.setattr(time, "process_time", lambda: next(clock))
    variants = [small("a"), small("b", seed=1), Variant("c", lambda: Hourglass(8, 8), MIXTURE)]
    seconds = step_seconds(variants, bank, rounds=2)
    assert seconds == {"a": 4 / DRAWN_STEPS, "b": 4 / DRAWN_STEPS, "c": 16 / DRAWN_STEPS}
