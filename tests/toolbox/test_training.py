import math
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from rlrestore.errors import ModelError, RlrestoreError, UsageError
from rlrestore.imaging.mixtures import MODERATE
from rlrestore.imaging.patches import PhotoBank
from rlrestore.toolbox.checkpoint import load_checkpoint
from rlrestore.toolbox.distortions import own_distortion, training_distortion
from rlrestore.toolbox.networks import build_network
from rlrestore.toolbox.specs import TOOLS
from rlrestore.toolbox.storage import save_toolbox
from rlrestore.toolbox.toolbox import Toolbox
from rlrestore.toolbox.training import (
    StageTrainer,
    TrainingSettings,
    plan_stages,
    restoration_loss,
    train_tools,
)

DENOISE_3 = TOOLS[6]
TINY = TrainingSettings(steps=2, batch=2, patch=16)


@pytest.fixture
def bank(make_photograph: Callable[..., NDArray[np.uint8]]) -> PhotoBank:
    return PhotoBank([make_photograph(128, 160, seed) for seed in range(4)])


def weights(toolbox: Toolbox) -> list[torch.Tensor]:
    """Of the tool that these tests train."""
    return list(toolbox.networks[6].state_dict().values())


def test_the_common_start_comes_first() -> None:
    assert [stage.name for stage in plan_stages(TOOLS)][:3] == ["base-3", "base-8", "deblur-1"]
    assert [stage.name for stage in plan_stages([DENOISE_3])] == ["base-8", "denoise-3"]


def test_the_loss_is_the_negative_psnr() -> None:
    """An error of 0.1 everywhere is 20 dB, one of 0.01 is 40 dB less a hair."""
    clean = torch.zeros(2, 3, 4, 4)
    restored = clean + torch.tensor([0.1, 0.01])[:, None, None, None]
    assert float(restoration_loss(restored, clean)) == pytest.approx(-30, abs=0.05)


def test_a_resumed_training_is_the_uninterrupted_one(bank: PhotoBank, tmp_path: Path) -> None:
    settings = TrainingSettings(steps=6, batch=2, patch=16)
    whole, _ = train_tools(bank, bank, tmp_path / "whole", [DENOISE_3], settings)

    class KilledError(Exception):
        pass

    step = StageTrainer._step

    def step_or_die(self: StageTrainer, bank: PhotoBank, done: float) -> torch.Tensor:
        if self.steps == 3 and self.stage.name == "denoise-3":
            self._save()
            raise KilledError("in the middle")
        return step(self, bank, done)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(StageTrainer, "_step", step_or_die)
        with pytest.raises(KilledError, match="in the middle"):
            train_tools(bank, bank, tmp_path / "cut", [DENOISE_3], settings)
    resumed, reports = train_tools(bank, bank, tmp_path / "cut", [DENOISE_3], settings, resume=True)
    assert [report.steps for report in reports] == [6, 6]
    assert all(torch.equal(a, b) for a, b in zip(weights(whole), weights(resumed), strict=True))


def test_a_finished_training_is_not_trained_again(bank: PhotoBank, tmp_path: Path) -> None:
    first, _ = train_tools(bank, bank, tmp_path, [DENOISE_3], TINY)
    again, _ = train_tools(bank, bank, tmp_path, [DENOISE_3], TINY, resume=True)
    assert all(torch.equal(a, b) for a, b in zip(weights(first), weights(again), strict=True))


def test_training_stops_at_the_minute(bank: PhotoBank, tmp_path: Path) -> None:
    began = time.monotonic()
    settings = TrainingSettings(minutes=0.1, batch=2, patch=16)
    _, reports = train_tools(bank, bank, tmp_path, [DENOISE_3], settings)
    assert time.monotonic() - began < 15  # 6 s, the measuring of two networks, a noisy machine
    assert sum(report.seconds for report in reports) <= 6
    assert all(report.steps >= 1 for report in reports)


def test_a_tool_learns_its_distortion(bank: PhotoBank, tmp_path: Path) -> None:
    """From a network that changes nothing to most of a dB over the input, in seconds."""
    settings = TrainingSettings(steps=120, batch=4, patch=32)
    _, reports = train_tools(bank, bank, tmp_path, [DENOISE_3], settings)
    before, after = reports[-1].mixed_db
    assert after > before + 0.7


@pytest.mark.parametrize("steps", [3, 60])
def test_a_loss_that_is_no_number_stops_the_training(bank: PhotoBank, tmp_path: Path, steps: int) -> None:
    settings = TrainingSettings(steps=steps, batch=1, patch=16)
    trainer = StageTrainer(plan_stages([DENOISE_3])[0], settings, tmp_path, bank.device)
    with torch.no_grad():
        next(trainer.network.parameters()).fill_(float("nan"))
    with pytest.raises(RlrestoreError, match=r"the loss of base-8 became nan after \d+ steps"):
        trainer.train(bank, math.inf)
    assert not trainer.path.exists()


def test_a_resumed_training_goes_on_to_more_steps(bank: PhotoBank, tmp_path: Path) -> None:
    train_tools(bank, bank, tmp_path, [DENOISE_3], TINY)
    more = TrainingSettings(steps=4, batch=2, patch=16)
    _, reports = train_tools(bank, bank, tmp_path, [DENOISE_3], more, resume=True)
    assert [report.steps for report in reports] == [4, 4]
    _, reports = train_tools(bank, bank, tmp_path, [DENOISE_3], TINY, resume=True)
    assert [report.steps for report in reports] == [4, 4]


def test_the_other_tools_of_a_model_stay_as_they_are(bank: PhotoBank, tmp_path: Path) -> None:
    model = Toolbox()
    for parameter in model.networks[0].parameters():
        torch.nn.init.constant_(parameter, 0.5)
    save_toolbox(tmp_path, model, {})
    toolbox, _ = train_tools(bank, bank, tmp_path, [DENOISE_3], TINY)
    assert all(bool((tensor == 0.5).all()) for tensor in toolbox.networks[0].state_dict().values())
    assert not all(map(torch.equal, weights(toolbox), weights(model)))


def test_a_model_of_another_family_is_refused_before_training(bank: PhotoBank, tmp_path: Path) -> None:
    save_toolbox(tmp_path, Toolbox(family="paper"), {})
    with pytest.raises(
        UsageError, match=r"holds paper tools .*: expected the twelve of the table, family fast"
    ):
        train_tools(bank, bank, tmp_path, [DENOISE_3], TINY)


def test_a_checkpoint_of_something_else_is_refused(tmp_path: Path, bank: PhotoBank) -> None:
    train_tools(bank, bank, tmp_path, [DENOISE_3], TINY)
    path = tmp_path / "training" / "denoise-3.safetensors"
    with pytest.raises(ModelError, match=r"denoise-3.safetensors: tensor .*: expected"):
        load_checkpoint(path, build_network("fast", 3))
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ModelError, match="is not a checkpoint of this version"):
        load_checkpoint(path, build_network("fast", 8))


def test_either_minutes_or_steps() -> None:
    with pytest.raises(ValueError, match="either minutes or steps"):
        TrainingSettings()


def test_a_tools_own_distortion_lies_in_its_range_and_is_alone() -> None:
    generator = torch.Generator().manual_seed(0)
    for spec in TOOLS:
        drawn = own_distortion([spec] * 200, generator)
        amounts = {"blur": drawn.blur_sigma_px, "noise": drawn.noise_sigma_255, "jpeg": drawn.jpeg_quality}
        own = amounts.pop(spec.distortion)
        assert spec.low <= float(own.min()) < float(own.max()) <= spec.high
        assert not any(bool(other.any()) for other in amounts.values())


def test_half_of_the_training_is_as_mixed_as_the_moderate_mixture() -> None:
    drawn = training_distortion([DENOISE_3] * 4000, torch.Generator().manual_seed(0))
    mixed = MODERATE.sample(4000, torch.Generator().manual_seed(1))
    blurred = drawn.blur_sigma_px > 0
    assert float(blurred.float().mean()) == pytest.approx(0.5, abs=0.03)
    assert float(drawn.blur_sigma_px[blurred].mean()) == pytest.approx(
        float(mixed.blur_sigma_px.mean()), abs=0.15
    )
    light = drawn.jpeg_quality[~blurred]
    assert float((light == 0).float().mean()) == pytest.approx(0.5, abs=0.04)
    assert float(light[light > 0].min()) >= 60
    assert float(drawn.noise_sigma_255.min()) >= 25
