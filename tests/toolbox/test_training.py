import math
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from rlrestore.errors import ModelError, RlrestoreError, UsageError
from rlrestore.imaging.degradation.mixtures import MODERATE
from rlrestore.imaging.patches import PhotoBank
from rlrestore.toolbox.checkpoint import load_checkpoint
from rlrestore.toolbox.distortions import own_distortion, training_distortion
from rlrestore.toolbox.networks import build_network
from rlrestore.toolbox.specs import TOOLS
from rlrestore.toolbox.storage import save_toolbox
from rlrestore.toolbox.toolbox import Toolbox
from rlrestore.toolbox.training import (
    DRAWN_STEPS,
    ERROR_FLOOR,
    ToolTrainer,
    TrainingSettings,
    average_weights,
    rate_factor,
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


def test_the_loss_is_the_negative_psnr() -> None:
    """An error of 0.3 everywhere is 10.5 dB, one of 0.1 is 20 dB, less what the floor takes."""
    clean = torch.zeros(2, 3, 4, 4)
    restored = clean + torch.tensor([0.3, 0.1])[:, None, None, None]
    floored = [10 * math.log10(error + ERROR_FLOOR) for error in (0.09, 0.01)]
    assert float(restoration_loss(restored, clean)) == pytest.approx(sum(floored) / 2, abs=1e-4)
    assert sum(floored) / 2 == pytest.approx(-15.23, abs=0.3)


def test_the_average_forgets_the_beginning_and_settles() -> None:
    """At first it follows within tens of steps; in the end one step has a thousandth of the pull."""
    for steps, pull in ((0, 1.0), (2, 9 / 11), (10**6, 1e-3)):
        average, trained = torch.nn.Linear(1, 1), torch.nn.Linear(1, 1)
        torch.nn.init.zeros_(average.weight)
        torch.nn.init.ones_(trained.weight)
        average_weights(average, trained, steps)
        assert average.weight.item() == pytest.approx(pull)


def test_the_rate_rises_for_a_twentieth_and_falls_to_nothing() -> None:
    assert [rate_factor(done) for done in (0.0, 0.025, 0.05, 1.0)] == pytest.approx([0, 0.5, 1, 0])
    assert rate_factor(0.525) == pytest.approx(0.5)


def test_every_step_has_data_of_its_own_whenever_it_is_drawn(bank: PhotoBank, tmp_path: Path) -> None:
    """Within a turn of drawing, in the next one, and after a restart in its middle."""
    settings = TrainingSettings(steps=1, batch=1, patch=16)
    trainer, drawn = ToolTrainer(DENOISE_3, settings, tmp_path, bank.device), []
    for trainer.steps in range(3 * DRAWN_STEPS):
        drawn.append(trainer._batch(bank)[1])
    assert len({tuple(clean.flatten().tolist()) for clean in drawn}) == 3 * DRAWN_STEPS
    again = ToolTrainer(DENOISE_3, settings, tmp_path, bank.device)
    again.steps = DRAWN_STEPS + 3
    assert torch.equal(again._batch(bank)[1], drawn[DRAWN_STEPS + 3])


def test_a_tool_begins_with_its_milder_sibling_or_with_the_start(bank: PhotoBank, tmp_path: Path) -> None:
    """A training at a rate of nothing shows what it began with."""
    still = TrainingSettings(steps=1, batch=1, patch=16, learning_rate=0.0)
    trained, _ = train_tools(bank, bank, tmp_path / "a", TOOLS[6:8], still)
    mild, severe = (trained.networks[index].parameters() for index in (6, 7))
    assert all(map(torch.equal, mild, severe))
    start = Toolbox()
    trained, _ = train_tools(bank, bank, tmp_path / "b", TOOLS[6:8], still, start=start)
    assert all(map(torch.equal, trained.networks[7].parameters(), start.networks[7].parameters()))
    assert not all(map(torch.equal, trained.networks[6].parameters(), trained.networks[7].parameters()))


def test_tools_to_begin_with_must_fit(bank: PhotoBank, tmp_path: Path) -> None:
    narrow = Toolbox(widths={3: [8], 8: [8, 8]})
    with pytest.raises(ModelError, match=r"tool denoise-3 to begin with: tensor down.bias: expected"):
        train_tools(bank, bank, tmp_path, [DENOISE_3], TINY, start=narrow)


def test_a_resumed_training_is_the_uninterrupted_one(bank: PhotoBank, tmp_path: Path) -> None:
    settings = TrainingSettings(steps=12, batch=1, patch=16)
    whole, _ = train_tools(bank, bank, tmp_path / "whole", [DENOISE_3], settings)

    class KilledError(Exception):
        pass

    step = ToolTrainer._step

    def step_or_die(self: ToolTrainer, bank: PhotoBank, done: float) -> torch.Tensor:
        if self.steps == 9:
            self._save()
            raise KilledError("in the middle")
        return step(self, bank, done)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ToolTrainer, "_step", step_or_die)
        with pytest.raises(KilledError, match="in the middle"):
            train_tools(bank, bank, tmp_path / "cut", [DENOISE_3], settings)
    resumed, reports = train_tools(bank, bank, tmp_path / "cut", [DENOISE_3], settings, resume=True)
    assert [report.steps for report in reports] == [12]
    assert all(torch.equal(a, b) for a, b in zip(weights(whole), weights(resumed), strict=True))


def test_a_finished_training_is_not_trained_again(bank: PhotoBank, tmp_path: Path) -> None:
    first, _ = train_tools(bank, bank, tmp_path, [DENOISE_3], TINY)
    again, _ = train_tools(bank, bank, tmp_path, [DENOISE_3], TINY, resume=True)
    assert all(torch.equal(a, b) for a, b in zip(weights(first), weights(again), strict=True))


def test_training_stops_at_the_minute(bank: PhotoBank, tmp_path: Path) -> None:
    began = time.monotonic()
    settings = TrainingSettings(minutes=0.1, batch=2, patch=16)
    _, reports = train_tools(bank, bank, tmp_path, [DENOISE_3], settings)
    assert time.monotonic() - began < 30  # 6 s, the measuring, a noisy machine
    assert 5 < sum(report.seconds for report in reports) < 12  # nothing but training; a step may take seconds
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
    trainer = ToolTrainer(DENOISE_3, settings, tmp_path, bank.device)
    with torch.no_grad():
        next(trainer.trained.parameters()).fill_(float("nan"))
    with pytest.raises(RlrestoreError, match=r"the loss of denoise-3 became nan after \d+ steps"):
        trainer.train(bank, math.inf)
    assert not trainer.path.exists()


def test_a_resumed_training_goes_on_to_more_steps(bank: PhotoBank, tmp_path: Path) -> None:
    train_tools(bank, bank, tmp_path, [DENOISE_3], TINY)
    more = TrainingSettings(steps=4, batch=2, patch=16)
    _, reports = train_tools(bank, bank, tmp_path, [DENOISE_3], more, resume=True)
    assert [report.steps for report in reports] == [4]
    _, reports = train_tools(bank, bank, tmp_path, [DENOISE_3], TINY, resume=True)
    assert [report.steps for report in reports] == [4]


def test_the_other_tools_of_a_model_stay_as_they_are(bank: PhotoBank, tmp_path: Path) -> None:
    model = Toolbox()
    for parameter in model.networks[0].parameters():
        torch.nn.init.constant_(parameter, 0.5)
    save_toolbox(tmp_path, model)
    toolbox, _ = train_tools(bank, bank, tmp_path, [DENOISE_3], TINY)
    assert all(bool((tensor == 0.5).all()) for tensor in toolbox.networks[0].state_dict().values())
    assert not all(map(torch.equal, weights(toolbox), weights(model)))


def test_a_model_of_another_family_is_refused_before_training(bank: PhotoBank, tmp_path: Path) -> None:
    save_toolbox(tmp_path, Toolbox(family="paper"))
    with pytest.raises(
        UsageError, match=r"holds paper tools .*: expected the twelve of the table, family hourglass"
    ):
        train_tools(bank, bank, tmp_path, [DENOISE_3], TINY)


def test_a_model_of_other_widths_is_refused_before_training(bank: PhotoBank, tmp_path: Path) -> None:
    save_toolbox(tmp_path, Toolbox(widths={3: [8], 8: [8, 8]}))
    with pytest.raises(UsageError, match=r"of widths \{3: \(8,\), 8: \(8, 8\)\}: expected"):
        train_tools(bank, bank, tmp_path, [DENOISE_3], TINY)


def test_a_refused_training_deletes_no_checkpoint(bank: PhotoBank, tmp_path: Path) -> None:
    train_tools(bank, bank, tmp_path, [DENOISE_3], TINY)
    with pytest.raises(ModelError, match="the paper tool denoise-3 to begin with"):
        train_tools(bank, bank, tmp_path, [DENOISE_3], TINY, start=Toolbox(family="paper"))
    assert (tmp_path / "training" / "denoise-3.safetensors").exists()


def test_a_checkpoint_of_something_else_is_refused(tmp_path: Path, bank: PhotoBank) -> None:
    train_tools(bank, bank, tmp_path, [DENOISE_3], TINY)
    path = tmp_path / "training" / "denoise-3.safetensors"
    with pytest.raises(ModelError, match=r"denoise-3.safetensors: tensor .*: expected"):
        load_checkpoint(path, build_network("hourglass", 3))
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ModelError, match="is not a checkpoint of this version"):
        load_checkpoint(path, build_network("hourglass", 8))


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


KILLED_TRAINING = """
import sys
from pathlib import Path
from rlrestore.imaging.patches import PhotoBank
from rlrestore.toolbox import training
import numpy as np
training.CHECKPOINT_SECONDS = 0.0
pixels = np.random.default_rng(0).integers(0, 256, (120, 120, 3), np.uint8)
bank = PhotoBank([pixels])
settings = training.TrainingSettings(steps=10**6, batch=1, patch=16)
training.train_tools(bank, bank, Path(sys.argv[1]), [training.TOOLS[4]], settings, resume=True)
"""


def test_a_killed_training_leaves_a_whole_checkpoint(tmp_path: Path, bank: PhotoBank) -> None:
    """Killed as by `kill -9` while it writes a checkpoint after every step, it goes on from the last one."""
    path, reached = tmp_path / "training" / "denoise-1.safetensors", 0
    steps = 0
    for delay in (0.0, 0.137, 0.291):
        with subprocess.Popen([sys.executable, "-c", KILLED_TRAINING, str(tmp_path)]) as process:
            deadline = time.monotonic() + 60
            while not path.exists() or path.stat().st_mtime_ns == reached:
                assert time.monotonic() < deadline
                assert process.poll() is None
                time.sleep(0.01)
            time.sleep(delay)
            process.kill()
        reached = path.stat().st_mtime_ns
        trainer = ToolTrainer(TOOLS[4], TINY, tmp_path / "training", bank.device)
        assert trainer.steps > steps
        steps = trainer.steps
        assert all(bool(weight.isfinite().all()) for weight in trainer.network.state_dict().values())
