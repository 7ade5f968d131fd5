"""The loop of all trainings, on a training small enough to follow by hand, and its checkpoints."""

import errno
import math
import os
import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import Tensor, nn

from rlrestore.errors import ModelError, RlrestoreError, UsageError
from rlrestore.toolbox import trainer as trainer_module
from rlrestore.toolbox.checkpoint import Checkpoint, TrainingState
from rlrestore.toolbox.trainer import WARM_UP_STEPS, Budget, Moment, Trainer, deferred_interrupt

RATE = 0.1


class Descent:
    """Adam goes down x²; every step draws a number, and the replay buffer holds them all."""

    name = "descent"

    def __init__(self, seed: int = 0) -> None:
        self.network = nn.Linear(1, 1, bias=False)
        nn.init.constant_(self.network.weight, 2.0)
        self.optimizer = torch.optim.Adam(self.network.parameters(), lr=RATE)
        self.steps, self.piece, self.drawn = 0, 8, torch.zeros(0)
        self.about: dict[str, Any] = {"seed": seed, "start": 2.0}
        self.moments: list[Moment] = []
        self.disturb: Callable[[int], None] = lambda _: None
        self.gain_db = 1.0

    def step(self, moment: Moment) -> Mapping[str, Tensor]:
        self.disturb(self.steps)
        generator = torch.Generator().manual_seed(100 * self.steps + moment.attempt)
        self.drawn = torch.cat((self.drawn, torch.rand(1, generator=generator)))
        for group in self.optimizer.param_groups:
            group["lr"] = RATE * moment.rate_factor
        self.optimizer.zero_grad()
        loss = (self.network.weight * self.drawn[-1]).square().sum()
        loss.backward()
        self.optimizer.step()
        self.steps += 1
        self.moments.append(moment)
        return {"loss": loss.detach(), "gain_db": torch.tensor(self.gain_db)}

    def state(self) -> TrainingState:
        return TrainingState(
            self.network, {"it": self.optimizer}, {"piece": self.piece}, {"drawn": self.drawn}
        )

    def restore(self, progress: Mapping[str, Any], replay: Mapping[str, Tensor]) -> None:
        self.steps, self.piece = progress["steps"], progress["counters"]["piece"]
        self.drawn = replay.get("drawn", torch.zeros(0))

    def shrink(self) -> bool:
        self.piece //= 2
        return self.piece > 0


@pytest.fixture
def checkpoint(tmp_path: Path) -> Checkpoint:
    return Checkpoint(tmp_path / "training" / "descent")


@pytest.fixture
def each_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look at the metrics, and write a checkpoint, after every step."""
    monkeypatch.setattr(trainer_module, "CHECK_SECONDS", -1.0)  # be the clock as coarse as it may
    monkeypatch.setattr(trainer_module, "CHECKPOINT_SECONDS", -1.0)


def numbers(training: Descent) -> list[float]:
    return [float(training.network.weight.detach()), *training.drawn.tolist()]


def test_a_resumed_training_is_the_uninterrupted_one(checkpoint: Checkpoint, tmp_path: Path) -> None:
    whole, first, second = Descent(), Descent(), Descent()
    Trainer(whole, Checkpoint(tmp_path / "whole")).run(Budget(steps=6))
    Trainer(first, checkpoint).run(Budget(steps=4))
    trainer = Trainer(second, checkpoint, "resume")
    assert second.steps == 4
    trainer.run(Budget(steps=6))
    assert numbers(second) == numbers(whole)


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="asks Linux which files are mapped")
def test_no_file_of_a_checkpoint_stays_mapped(checkpoint: Checkpoint) -> None:
    # On Windows the next checkpoint could not replace it.
    Trainer(Descent(), checkpoint).run(Budget(steps=2))
    resumed = Descent()
    Trainer(resumed, checkpoint, "resume")
    assert resumed.drawn.shape == (2,)
    assert str(checkpoint.folder) not in Path("/proc/self/maps").read_text("utf-8")


def test_nothing_is_overwritten_or_invented(checkpoint: Checkpoint) -> None:
    with pytest.raises(UsageError, match=r"nothing to resume in .*leave out --resume"):
        Trainer(Descent(), checkpoint, "resume")
    Trainer(Descent(), checkpoint, "either").run(Budget(steps=2))
    with pytest.raises(UsageError, match=r"holds a training of 2 steps: --resume .* --restart"):
        Trainer(Descent(), checkpoint)
    again = Descent()
    Trainer(again, checkpoint, "either")
    assert again.steps == 2
    anew = Descent()
    Trainer(anew, checkpoint, "restart")
    assert anew.steps == 0
    assert not checkpoint.exists()


def test_only_what_differs_from_another_training_is_named(checkpoint: Checkpoint) -> None:
    Trainer(Descent(), checkpoint).run(Budget(steps=1))
    with pytest.raises(ModelError, match="is of another training") as refused:
        Trainer(Descent(seed=5), checkpoint, "resume")
    assert "seed: expected 5, got 0" in str(refused.value)
    assert "start: expected" not in str(refused.value)


@pytest.mark.usefixtures("each_step")
@pytest.mark.parametrize("collapse", [False, True])
def test_a_training_that_diverges_goes_back_and_on_at_half_the_rate(
    checkpoint: Checkpoint, collapse: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """The weight becomes no number in the third step; or what is gained falls by 7 dB."""
    training, left = Descent(), [2]

    def disturb(step: int) -> None:
        training.gain_db = 1.0
        if left and step == left[0]:
            left.pop()
            if collapse:
                training.gain_db = -6.0
            else:
                nn.init.constant_(training.network.weight, math.nan)

    training.disturb = disturb
    trainer = Trainer(training, checkpoint)
    trainer.run(Budget(steps=4))
    assert trainer.rollbacks == 1
    assert [moment.rate_factor for moment in training.moments] == [1, 1, 1, 0.5, 0.5]
    assert training.moments[-1].attempt == 1
    assert math.isfinite(numbers(training)[0])
    assert "diverged after 3 steps" in caplog.text
    assert "back to step 2, and on at half the learning rate" in caplog.text
    again = Trainer(Descent(), checkpoint, "resume")
    assert again.rollbacks == 1


@pytest.mark.usefixtures("each_step")
def test_a_training_that_diverges_again_and_again_stops(checkpoint: Checkpoint) -> None:
    training = Descent()

    def disturb(step: int) -> None:
        if step == 2:
            nn.init.constant_(training.network.weight, math.nan)

    training.disturb = disturb
    with pytest.raises(RlrestoreError, match=r"diverged after 3 steps .*4 times in all; .* of step 2"):
        Trainer(training, checkpoint).run(Budget(steps=9))
    assert checkpoint.progress()["steps"] == 2


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_waits_for_the_step(
    checkpoint: Checkpoint, number: signal.Signals, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    training, whole = Descent(), Descent()
    training.disturb = lambda step: signal.raise_signal(number) if step == 2 else None
    with pytest.raises(KeyboardInterrupt, match="interrupted after 3 steps"):
        Trainer(training, checkpoint).run(Budget(steps=5))
    assert "interrupted after 3 steps; --resume goes on from there" in caplog.text
    resumed = Descent()
    Trainer(resumed, checkpoint, "resume").run(Budget(steps=5))
    Trainer(whole, Checkpoint(tmp_path / "whole")).run(Budget(steps=5))
    assert numbers(resumed) == numbers(whole)


def test_a_second_interruption_does_not_wait() -> None:
    handler = signal.getsignal(signal.SIGINT)
    with deferred_interrupt() as interrupted:
        signal.raise_signal(signal.SIGINT)
        assert interrupted()
        with pytest.raises(KeyboardInterrupt, match="interrupted twice"):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is handler


def test_out_of_memory_halves_what_is_in_it(checkpoint: Checkpoint, caplog: pytest.LogCaptureFixture) -> None:
    training = Descent()

    def full(_: int) -> None:
        if training.piece > 2:
            raise torch.OutOfMemoryError("full")

    training.disturb = full
    Trainer(training, checkpoint).run(Budget(steps=2))
    assert (training.piece, training.steps) == (2, 2)
    assert caplog.text.count("out of memory") == 2
    training.disturb = lambda _: (_ for _ in ()).throw(torch.OutOfMemoryError("full"))
    with pytest.raises(RlrestoreError, match="too little memory for a single patch"):
        Trainer(training, Checkpoint(checkpoint.folder / "other")).run(Budget(steps=9))


def test_parts_that_were_left_behind_are_done_without(checkpoint: Checkpoint) -> None:
    """Only the weights came along: the moments start anew, at a rate that rises again."""
    Trainer(Descent(), checkpoint).run(Budget(steps=3))
    for part in ("optimizer", "replay"):
        (checkpoint.folder / f"{part}.safetensors").unlink()
    training = Descent()
    trainer = Trainer(training, checkpoint, "resume")
    assert (training.steps, len(training.drawn)) == (3, 0)
    trainer.run(Budget(steps=5))
    assert [moment.rate_factor for moment in training.moments] == pytest.approx([0, 1 / WARM_UP_STEPS])


def test_a_part_of_another_checkpoint_is_left_out(
    checkpoint: Checkpoint, caplog: pytest.LogCaptureFixture
) -> None:
    Trainer(Descent(), checkpoint).run(Budget(steps=3))
    earlier = (checkpoint.folder / "replay.safetensors").read_bytes()
    Trainer(Descent(), checkpoint, "resume").run(Budget(steps=4))
    (checkpoint.folder / "replay.safetensors").write_bytes(earlier)
    training = Descent()
    Trainer(training, checkpoint, "resume")
    assert len(training.drawn) == 0
    assert "replay.safetensors is of another checkpoint and left out" in caplog.text


def rewrite(path: Path, tensors: Mapping[str, Tensor | None], progress: str | None = None) -> None:
    """Change tensors of a part, None taking one away, and its progress."""
    with safetensors.safe_open(path, framework="pt") as file:
        metadata = dict(file.metadata())
        whole = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    if progress is not None:
        metadata["progress"] = progress
    present = {name: tensor for name, tensor in {**whole, **tensors}.items() if tensor is not None}
    safetensors.torch.save_file(present, path, metadata)


@pytest.mark.parametrize(
    ("part", "change", "words"),
    [
        ("weights", {"weight": None}, r"tensor weight: expected \(1, 1\), got none"),
        ("weights", {"weight": torch.zeros(3)}, r"tensor weight: expected \(1, 1\), got \(3,\)"),
        ("weights", {"more": torch.zeros(3)}, r"tensor more: expected no such tensor, got \(3,\)"),
        ("weights", {"weight": torch.full((1, 1), math.nan)}, "tensor weight: expected finite floats"),
        ("optimizer", {"it.0.exp_avg": None}, r"tensor 0.exp_avg: expected \(1, 1\), got none"),
        ("optimizer", {"it.0.exp_avg_sq": torch.zeros(5)}, r"0.exp_avg_sq: expected \(1, 1\), got \(5,\)"),
        ("optimizer", {"it.7.step": torch.zeros(())}, r"tensor 7.step: expected no such tensor, got \(\)"),
    ],
)
def test_a_part_that_does_not_fit_names_the_tensor(
    checkpoint: Checkpoint, part: str, change: dict[str, Tensor | None], words: str
) -> None:
    Trainer(Descent(), checkpoint).run(Budget(steps=1))
    rewrite(checkpoint.folder / f"{part}.safetensors", change)
    with pytest.raises(ModelError, match=words):
        Trainer(Descent(), checkpoint, "resume")


@pytest.mark.parametrize("progress", ["3", "[1]", "{}", '{"steps": -3, "seconds": 1}', '{"steps": 3}'])
def test_a_checkpoint_without_progress(checkpoint: Checkpoint, progress: str) -> None:
    Trainer(Descent(), checkpoint).run(Budget(steps=1))
    rewrite(checkpoint.folder / "weights.safetensors", {}, progress)
    with pytest.raises(ModelError, match="expected steps and seconds in its progress"):
        Trainer(Descent(), checkpoint, "resume")


def test_a_damaged_checkpoint_is_refused(checkpoint: Checkpoint) -> None:
    Trainer(Descent(), checkpoint).run(Budget(steps=1))
    path = checkpoint.folder / "weights.safetensors"
    path.write_bytes(path.read_bytes()[:20])
    with pytest.raises(ModelError, match="is not a checkpoint of this version"):
        Trainer(Descent(), checkpoint, "resume")


def test_a_full_disk_leaves_the_checkpoint_before(
    checkpoint: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    Trainer(Descent(), checkpoint).run(Budget(steps=1))
    whole, write = {path: path.read_bytes() for path in checkpoint.folder.iterdir()}, Path.write_bytes

    def write_half(self: Path, data: bytes) -> int:
        write(self, data[: len(data) // 2])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_bytes", write_half)
    with pytest.raises(RlrestoreError, match=r"cannot write .*No space left.*go on with --resume"):
        Trainer(Descent(), checkpoint, "resume").run(Budget(steps=2))
    assert {path: path.read_bytes() for path in checkpoint.folder.iterdir()} == whole
