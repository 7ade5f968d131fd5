import math
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from rlrestore.errors import ModelError, UsageError
from rlrestore.imaging.chains import Chain, Stage
from rlrestore.imaging.degradation.mixtures import MODERATE
from rlrestore.imaging.degradation.registry import DEGRADATIONS
from rlrestore.imaging.patches import PhotoBank
from rlrestore.imaging.recipes import NamedRecipe
from rlrestore.toolbox import trainer
from rlrestore.toolbox.checkpoint import Checkpoint
from rlrestore.toolbox.distortions import own_distortion, training_distortion
from rlrestore.toolbox.optimisation import ERROR_FLOOR, average_weights, rate_factor, restoration_losses
from rlrestore.toolbox.specs import TOOLS
from rlrestore.toolbox.storage import save_toolbox
from rlrestore.toolbox.toolbox import Toolbox
from rlrestore.toolbox.trainer import Budget, Moment, Trainer
from rlrestore.toolbox.training import DRAWN_STEPS, ToolSettings, ToolTraining, train_tools
from tests.patience import comes

DENOISE_3 = TOOLS[6]
TWO_STEPS, TINY = Budget(steps=2), ToolSettings(batch=2, patch=16)


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
    assert restoration_losses(restored, clean).tolist() == pytest.approx(floored, abs=1e-4)
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


def test_every_step_has_data_of_its_own(bank: PhotoBank) -> None:
    """Untrained, with a rate of 0, the mean PSNR of a step is that of its data: no two are alike."""
    training = ToolTraining(DENOISE_3, ToolSettings(batch=1, patch=16, learning_rate=0.0), bank)
    values = [float(training.step(Moment(0.5))["psnr_db"]) for _ in range(3 * DRAWN_STEPS)]
    assert len(set(values)) == 3 * DRAWN_STEPS
    other = ToolTraining(DENOISE_3, ToolSettings(batch=1, patch=16, learning_rate=0.0), bank)
    assert float(other.step(Moment(0.5, attempt=1))["psnr_db"]) not in values


def test_a_tool_begins_with_its_milder_sibling_or_with_the_start(bank: PhotoBank, tmp_path: Path) -> None:
    """A training at a rate of nothing shows what it began with."""
    still, one = ToolSettings(batch=1, patch=16, learning_rate=0.0), Budget(steps=1)
    trained, _ = train_tools(bank, bank, tmp_path / "a", TOOLS[6:8], one, still)
    mild, severe = (trained.networks[index].parameters() for index in (6, 7))
    assert all(map(torch.equal, mild, severe))
    start = Toolbox()
    trained, _ = train_tools(bank, bank, tmp_path / "b", TOOLS[6:8], one, still, begin_with=start)
    assert all(map(torch.equal, trained.networks[7].parameters(), start.networks[7].parameters()))
    assert not all(map(torch.equal, trained.networks[6].parameters(), trained.networks[7].parameters()))


def test_tools_to_begin_with_must_fit(bank: PhotoBank, tmp_path: Path) -> None:
    narrow = Toolbox(widths={3: [8], 8: [8, 8]})
    with pytest.raises(ModelError, match=r"tool denoise-3 to begin with: tensor down.bias: expected"):
        train_tools(bank, bank, tmp_path, [DENOISE_3], TWO_STEPS, TINY, begin_with=narrow)


def test_a_resumed_training_is_the_uninterrupted_one(
    bank: PhotoBank, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Interrupted in the second turn of drawing data."""
    monkeypatch.setattr(trainer, "CHECK_SECONDS", -1.0)
    budget, settings = Budget(steps=DRAWN_STEPS + 4), ToolSettings(batch=1, patch=16)

    def interrupt(steps: int, *_: object) -> None:
        if steps == DRAWN_STEPS + 1:
            signal.raise_signal(signal.SIGINT)

    whole, cut, resumed = (ToolTraining(DENOISE_3, settings, bank) for _ in range(3))
    Trainer(whole, Checkpoint(tmp_path / "whole")).run(budget)
    with pytest.raises(KeyboardInterrupt, match=f"after {DRAWN_STEPS + 1} steps"):
        Trainer(cut, Checkpoint(tmp_path / "cut")).run(budget, interrupt)
    Trainer(resumed, Checkpoint(tmp_path / "cut"), "resume").run(budget)
    for name in ("trained", "average"):
        pairs = zip(getattr(whole, name).parameters(), getattr(resumed, name).parameters(), strict=True)
        assert all(torch.equal(*pair) for pair in pairs)


def test_a_finished_training_is_not_trained_again(bank: PhotoBank, tmp_path: Path) -> None:
    first, _ = train_tools(bank, bank, tmp_path, [DENOISE_3], TWO_STEPS, TINY)
    again, _ = train_tools(bank, bank, tmp_path, [DENOISE_3], TWO_STEPS, TINY, "resume")
    assert all(torch.equal(a, b) for a, b in zip(weights(first), weights(again), strict=True))


def test_a_tool_learns_its_distortion(bank: PhotoBank, tmp_path: Path) -> None:
    """From a network that changes nothing to most of a dB over the input, in seconds."""
    settings = ToolSettings(batch=4, patch=32)
    _, reports = train_tools(bank, bank, tmp_path, [DENOISE_3], Budget(steps=120), settings)
    before, after = reports[-1].mixed_db
    assert after > before + 0.7


def test_a_resumed_training_goes_on_to_more_steps(bank: PhotoBank, tmp_path: Path) -> None:
    train_tools(bank, bank, tmp_path, [DENOISE_3], TWO_STEPS, TINY)
    _, reports = train_tools(bank, bank, tmp_path, [DENOISE_3], Budget(steps=4), TINY, "resume")
    assert [report.steps for report in reports] == [4]
    _, reports = train_tools(bank, bank, tmp_path, [DENOISE_3], TWO_STEPS, TINY, "resume")
    assert [report.steps for report in reports] == [4]


def test_the_other_tools_of_a_model_stay_as_they_are(bank: PhotoBank, tmp_path: Path) -> None:
    model = Toolbox()
    for parameter in model.networks[0].parameters():
        torch.nn.init.constant_(parameter, 0.5)
    save_toolbox(tmp_path, model)
    toolbox, _ = train_tools(bank, bank, tmp_path, [DENOISE_3], TWO_STEPS, TINY)
    assert all(bool((tensor == 0.5).all()) for tensor in toolbox.networks[0].state_dict().values())
    assert not all(map(torch.equal, weights(toolbox), weights(model)))


def test_a_model_of_another_family_is_refused_before_training(bank: PhotoBank, tmp_path: Path) -> None:
    save_toolbox(tmp_path, Toolbox(family="paper"))
    with pytest.raises(
        UsageError, match=r"holds paper tools .*: expected the twelve of the table, family hourglass"
    ):
        train_tools(bank, bank, tmp_path, [DENOISE_3], TWO_STEPS, TINY)


def test_a_model_of_other_widths_is_refused_before_training(bank: PhotoBank, tmp_path: Path) -> None:
    save_toolbox(tmp_path, Toolbox(widths={3: [8], 8: [8, 8]}))
    with pytest.raises(UsageError, match=r"of widths \{3: \(8,\), 8: \(8, 8\)\}: expected"):
        train_tools(bank, bank, tmp_path, [DENOISE_3], TWO_STEPS, TINY)


def test_a_refused_training_deletes_no_checkpoint(bank: PhotoBank, tmp_path: Path) -> None:
    train_tools(bank, bank, tmp_path, [DENOISE_3], TWO_STEPS, TINY)
    with pytest.raises(ModelError, match="the paper tool denoise-3 to begin with"):
        train_tools(bank, bank, tmp_path, [DENOISE_3], TWO_STEPS, TINY, "restart", Toolbox(family="paper"))
    assert Checkpoint(tmp_path / "training" / "denoise-3").exists()


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
from rlrestore.toolbox import trainer, training
import numpy as np
trainer.CHECK_SECONDS = trainer.CHECKPOINT_SECONDS = -1.0
pixels = np.random.default_rng(0).integers(0, 256, (120, 120, 3), np.uint8)
bank = PhotoBank([pixels])
budget, settings = trainer.Budget(steps=10**6), training.ToolSettings(batch=1, patch=16)
training.train_tools(bank, bank, Path(sys.argv[1]), [training.TOOLS[4]], budget, settings, "either")
"""


def test_a_killed_training_leaves_a_whole_checkpoint(tmp_path: Path, bank: PhotoBank) -> None:
    """Killed as by `kill -9` while it writes a checkpoint after every step, it goes on from the last one."""
    checkpoint, steps = Checkpoint(tmp_path / "training" / "denoise-1"), 0

    def is_further() -> bool:
        assert process.poll() is None
        return checkpoint.exists() and checkpoint.progress()["steps"] > steps

    for delay in (0.0, 0.291):  # whatever it is doing by then
        with subprocess.Popen([sys.executable, "-c", KILLED_TRAINING, str(tmp_path)]) as process:
            assert comes(is_further)
            time.sleep(delay)
            process.kill()
        training = ToolTraining(TOOLS[4], TINY, bank)
        Trainer(training, checkpoint, "resume")
        assert training.steps > steps
        steps = training.steps
        assert all(bool(weight.isfinite().all()) for weight in training.average.state_dict().values())


def test_half_of_what_a_tool_against_noise_meets_are_patches_of_a_mixture_in_its_range() -> None:
    """Those of this mixture are known by their noise, the same in all colours, from 10 to 50 of 255."""
    noise = DEGRADATIONS["grey-noise"]
    mixture = NamedRecipe("grey", "grey", Chain((Stage("grey-noise", noise, {"sigma_255": (10, 50)}),)))
    grey = PhotoBank([np.full((128, 128, 3), 128, np.uint8)])
    training = ToolTraining(DENOISE_3, ToolSettings(batch=8), grey, mixture)
    pairs = [training._batch(0), *training._drawn[1:]]
    noises = torch.cat([255 * (degraded - clean) for degraded, clean in pairs])
    of_mixture = (noises[:, 0] - noises[:, 2]).abs().amax(dim=(1, 2)) < 1e-3
    assert of_mixture.sum() == len(noises) // 2
    assert not of_mixture[: len(noises) // 2].all()  # they come at any place
    sigma_255 = noises[of_mixture].std(dim=(1, 2, 3))
    assert sigma_255.min() > DENOISE_3.low - 1.5
    assert sigma_255.max() < DENOISE_3.high + 1.5
