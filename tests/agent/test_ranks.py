"""Trainings of two processes: the same weights on both, and those of one process with twice the batch."""

import math
import os
import signal
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import Tensor
from torch.distributed import TCPStore  # type: ignore[attr-defined]  # it lists none of its stores
from torch.multiprocessing.spawn import spawn

from rlrestore.agent import joint
from rlrestore.agent import training as agent_training
from rlrestore.agent.joint import JointSettings, JointTraining
from rlrestore.agent.policy import Policy
from rlrestore.agent.qlearning import TriedActions
from rlrestore.agent.replay import ReplayBuffer
from rlrestore.agent.training import AgentSettings, AgentTraining
from rlrestore.devices import numbered_generator
from rlrestore.envs.leaves import dead_leaves
from rlrestore.envs.sources import MixtureSource
from rlrestore.errors import UsageError
from rlrestore.imaging.degradation.mixtures import MODERATE
from rlrestore.imaging.degradation.protocol import Degradations
from rlrestore.imaging.pairs import PatchBatch, degraded_pairs
from rlrestore.imaging.recipes import draw_pairs
from rlrestore.toolbox import ranks, trainer
from rlrestore.toolbox import training as tool_training
from rlrestore.toolbox.checkpoint import Checkpoint
from rlrestore.toolbox.distortions import training_distortion
from rlrestore.toolbox.specs import TOOLS
from rlrestore.toolbox.toolbox import Toolbox
from rlrestore.toolbox.trainer import Budget, Moment, Trainer, Training
from rlrestore.toolbox.training import ToolSettings, ToolTraining

CPU, EXACT, RANKS, STEPS = torch.device("cpu"), torch.float32, 2, 2
CAPACITY = 12
"""Of the replay buffers of all ranks: three rounds of two ranks' two episodes overflow it."""
TOLD = {
    "WORLD_SIZE": "64",
    "RANK": "32",
    "LOCAL_RANK": "0",
    "MASTER_ADDR": "127.0.0.1",
    "MASTER_PORT": "29500",
    "TORCHELASTIC_USE_AGENT_STORE": "True",
    "TORCHELASTIC_RESTART_COUNT": "0",
}
"""What torchrun tells a process."""


def make_tool(batch: int) -> ToolTraining:
    return ToolTraining(TOOLS[4], ToolSettings(batch=batch, patch=32, precision=EXACT), dead_leaves())


def make_agent(batch: int, toolbox: Toolbox | None = None) -> AgentTraining:
    """The training of an agent; its rounds are of as many episodes as its batch."""
    torch.manual_seed(1)
    toolbox = toolbox or Toolbox(TOOLS[::4]).eval().requires_grad_(False)
    policy = Policy(toolbox.stop)
    policy.trunk.mean += 0.1  # as if it were standardised, which one rank does for both
    settings = AgentSettings(episodes=batch, fits=2, batch=batch, capacity=CAPACITY, precision=EXACT)
    source = MixtureSource(dead_leaves(), MODERATE)
    return AgentTraining(policy, toolbox, source, TriedActions(), settings, CPU)


def make_joint(batch: int) -> JointTraining:
    torch.manual_seed(2)
    toolbox = Toolbox(TOOLS[::4]).eval().requires_grad_(False)
    settings = JointSettings(
        batch=batch, piece=1, planned=0.5, exploration=0.3, own=batch // 2, agent_every=2
    )
    follower, exact = make_agent(batch, toolbox), replace(settings, precision=EXACT)
    training = JointTraining(toolbox, follower, dead_leaves(), MODERATE, exact)
    del training.about["own"]  # of a rank; one process that does what two do has twice as many
    return training


MAKERS: dict[str, Callable[[int], Training]] = {"tool": make_tool, "agent": make_agent, "joint": make_joint}


def advance(training: Training, first: int) -> None:
    """Take so many steps of twice as many, beginning with the one of that number."""
    for number in range(first, first + STEPS):
        training.step(Moment(0.1 + number / (4 * STEPS)))


def weights(training: Training) -> dict[str, Tensor]:
    return {
        name: tensor.clone(memory_format=torch.contiguous_format)
        for name, tensor in training.state().weights.state_dict().items()
    }


def work(rank: int, folder: Path, port: int) -> None:
    """Run as one of two processes: train, write a checkpoint half-way, and note the weights at the end."""
    told = {"WORLD_SIZE": RANKS, "RANK": rank, "LOCAL_RANK": rank, "MASTER_PORT": port}
    os.environ |= {**TOLD, **{name: str(value) for name, value in told.items()}}
    torch.set_num_threads(1)
    with ranks.joined_ranks("cpu") as device:
        assert device == "cpu"
        for name, make in MAKERS.items():
            training = make(2)
            half = Trainer(training, Checkpoint(folder / name / "half"))
            advance(training, 0)
            half.save()
            advance(training, STEPS)
            safetensors.torch.save_file(weights(training), folder / name / f"{rank}.safetensors")
            resumed = make(2)
            Trainer(resumed, Checkpoint(folder / "alone" / name), "resume")
            advance(resumed, STEPS)
            safetensors.torch.save_file(weights(resumed), folder / name / f"resumed-{rank}.safetensors")
        interrupted_run(rank, folder)


def interrupted_run(rank: int, folder: Path) -> None:
    """Train by minutes, each rank by its own clock, until the second is interrupted."""
    trainer.CHECK_SECONDS, seen = -1.0, list[int]()

    def watch(steps: int, *_: object) -> None:
        seen.append(steps)
        if rank == 1 and len(seen) == 3:
            signal.raise_signal(signal.SIGINT)

    training = make_tool(2)
    with pytest.raises(KeyboardInterrupt, match="interrupted after"):
        Trainer(training, Checkpoint(folder / "interrupted")).run(Budget(minutes=60), watch)
    (folder / f"steps-{rank}").write_text(str(training.steps))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What two processes made; they went on, among others, from the checkpoints of one process in `alone`."""
    folder = tmp_path_factory.mktemp("ranks")
    for name, make in MAKERS.items():
        training = make(4)
        alone = Trainer(training, Checkpoint(folder / "alone" / name))
        advance(training, 0)
        alone.save()
    meeting = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    spawn(work, (folder, meeting.port), nprocs=RANKS)
    return folder


def noted(folder: Path, name: str, file: str) -> dict[str, Tensor]:
    return safetensors.torch.load_file(folder / name / f"{file}.safetensors")


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize("file", ["", "resumed-"])
def test_both_ranks_have_the_same_weights(folder: Path, name: str, file: str) -> None:
    first, second = (noted(folder, name, f"{file}{rank}") for rank in range(RANKS))
    assert first.keys() == second.keys()
    assert all(torch.equal(first[key], second[key]) for key in first)


def test_an_interruption_of_one_rank_ends_both_after_the_same_step(folder: Path) -> None:
    first, second = ((folder / f"steps-{rank}").read_text() for rank in range(RANKS))
    assert first == second
    assert Checkpoint(folder / "interrupted").progress()["steps"] == int(first) > 0


def use_both_streams(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let one process draw what two ranks draw, one after the other."""

    def streams(device: torch.device, seed: int, number: int) -> Any:
        return [numbered_generator(device, seed, number, rank) for rank in range(RANKS)]

    prescribe, collect, drawn_of = JointTraining._prescribe, TriedActions.collect, AgentTraining._draw

    def draw(bank: Any, recipe: Any, count: int, patch: int, generators: Any) -> PatchBatch:
        parts = [draw_pairs(bank, recipe, count // RANKS, patch, each) for each in generators]
        amounts = Degradations(
            *(
                torch.cat(column)
                for column in zip(*(vars(part.amounts).values() for part in parts), strict=True)
            )
        )
        degraded, target = (
            torch.cat([getattr(part, side) for part in parts]) for side in ("degraded", "target")
        )
        return PatchBatch(degraded, target, amounts)

    def prescribed(self: JointTraining, amounts: Degradations, generators: Any) -> Tensor:
        halves = zip(*(column.chunk(RANKS) for column in vars(amounts).values()), strict=True)
        parts = zip(halves, generators, strict=True)
        return torch.cat([prescribe(self, Degradations(*half), each) for half, each in parts])

    def distort(specs: Any, generators: Any, mixed_share: float) -> Any:
        return [training_distortion(specs[::RANKS], each, mixed_share=mixed_share) for each in generators]

    def own(bank: Any, amounts: Any, patch: int, generators: Any) -> Any:
        parts = [
            degraded_pairs(bank, half, patch, each) for half, each in zip(amounts, generators, strict=True)
        ]
        return [torch.stack(sides, dim=1).flatten(0, 1) for sides in zip(*parts, strict=True)]

    def collected(
        self: Any, policy: Any, tools: Any, source: Any, count: int, done: float, generators: Any
    ) -> tuple[ReplayBuffer, int]:
        parts = [collect(self, policy, tools, source, count // RANKS, done, each) for each in generators]
        columns = {
            name: torch.stack([buffer[name] for buffer, _ in parts], dim=1).flatten(0, 1)
            for name in parts[0][0].columns
        }
        return ReplayBuffer(columns), sum(steps for _, steps in parts)

    def drawn(self: AgentTraining, buffer: ReplayBuffer, generators: Any) -> ReplayBuffer:
        whole, self.settings = self.settings, replace(self.settings, batch=self.settings.batch // RANKS)
        own_buffers = [
            ReplayBuffer({name: column[rank::RANKS] for name, column in buffer.columns.items()})
            for rank in range(RANKS)
        ]
        parts = [drawn_of(self, rows, each) for rows, each in zip(own_buffers, generators, strict=True)]
        self.settings = whole
        return parts[0].joined(parts[1], CAPACITY)

    monkeypatch.setattr(joint, "rank_generator", streams)
    monkeypatch.setattr(joint, "draw_pairs", draw)
    monkeypatch.setattr(joint, "training_distortion", distort)
    monkeypatch.setattr(joint, "degraded_pairs", own)
    monkeypatch.setattr(JointTraining, "_prescribe", prescribed)
    monkeypatch.setattr(agent_training, "rank_generator", streams)
    monkeypatch.setattr(TriedActions, "collect", collected)
    monkeypatch.setattr(AgentTraining, "_draw", drawn)
    use_both_batches(monkeypatch)


def use_both_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same for a tool, whose batches are made several at a time."""
    ranked = [make_tool(2) for _ in range(RANKS)]
    batch = ToolTraining._batch

    def batches(self: ToolTraining, attempt: int) -> tuple[Tensor, Tensor]:
        parts = []
        for rank, training in enumerate(ranked):
            stream = partial(numbered_generator, rank=rank)
            monkeypatch.setattr(tool_training, "rank_generator", stream)
            training.steps = self.steps
            parts.append(batch(training, attempt))
        degraded, clean = (torch.cat(sides) for sides in zip(*parts, strict=True))
        return degraded, clean

    monkeypatch.setattr(ToolTraining, "_batch", batches)


def difference(given: dict[str, Tensor], expected: dict[str, Tensor], start: dict[str, Tensor]) -> float:
    """How far weights are from others, as a share of the way that these have come."""
    missed = sum(float((given[name] - expected[name]).square().sum()) for name in expected)
    come = sum(float((expected[name] - start[name]).square().sum()) for name in expected)
    return math.sqrt(missed / come)


@pytest.mark.parametrize("name", MAKERS)
def test_two_ranks_are_one_process_with_twice_the_batch(
    folder: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """But for the order in which floats are added. With one rank's patches alone it is another result."""
    start, one_rank = weights(MAKERS[name](4)), MAKERS[name](2)
    for first in (0, STEPS):
        advance(one_rank, first)
    use_both_streams(monkeypatch)
    doubled = MAKERS[name](4)
    for first in (0, STEPS):
        advance(doubled, first)
    given = noted(folder, name, "0")
    assert difference(given, weights(doubled), start) < 0.01
    assert difference(given, weights(one_rank), start) > 0.1


@pytest.mark.parametrize("name", MAKERS)
def test_a_checkpoint_of_two_ranks_goes_on_in_one(
    folder: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With weights, moments, counters and all episodes: it ends where two ranks end that go on themselves."""
    use_both_streams(monkeypatch)
    resumed = MAKERS[name](4)
    start = weights(resumed)
    Trainer(resumed, Checkpoint(folder / name / "half"), "resume")
    advance(resumed, STEPS)
    assert difference(weights(resumed), noted(folder, name, "0"), start) < 0.01


@pytest.mark.parametrize(
    ("count", "own"),
    [(1, [[0, 1, 2, 3, 4, 5, 6]]), (2, [[1, 3, 5], [2, 4, 6]]), (3, [[1, 4], [2, 5], [3, 6]])],
)
def test_ranks_divide_a_replay_buffer(
    monkeypatch: pytest.MonkeyPatch, count: int, own: list[list[int]]
) -> None:
    """Of seven episodes all take as many, the latest ones."""
    monkeypatch.setattr(ranks, "rank_count", lambda: count)
    for rank, expected in enumerate(own):
        monkeypatch.setattr(ranks, "rank", lambda number=rank: number)
        assert ranks.own_rows({"a": torch.arange(7)})["a"].tolist() == expected


def test_the_steps_of_all_ranks_are_counted(folder: Path) -> None:
    progress = Checkpoint(folder / "agent" / "half").progress()
    assert progress["steps"] == RANKS * STEPS * 2 * 3  # ranks, rounds, episodes, steps of each


@pytest.mark.parametrize(
    ("device", "message"),
    [
        ("cuda:1", "every process takes a GPU of its own, but got cuda:1: give --device cuda"),
        ("cuda", "expected a GPU for each process, but process 33 of this machine finds"),
    ],
)
def test_gpus_that_are_not_there_are_told(monkeypatch: pytest.MonkeyPatch, device: str, message: str) -> None:
    for name, value in {**TOLD, "LOCAL_RANK": "32"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UsageError, match=message), ranks.joined_ranks(device):
        pass


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("MASTER_ADDR", "", r"beside WORLD_SIZE=64, but MASTER_ADDR is None: start the training by torchrun"),
        ("RANK", "", "but RANK is None"),
        ("WORLD_SIZE", "all", "but WORLD_SIZE is 'all': .* or unset WORLD_SIZE"),
    ],
)
def test_what_torchrun_would_have_set_is_told(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, message: str
) -> None:
    """A scheduler sets WORLD_SIZE, too."""
    for each, usual in TOLD.items():
        monkeypatch.setenv(each, value if each == name else usual)
    with pytest.raises(UsageError, match=message), ranks.joined_ranks("cpu"):
        pass
