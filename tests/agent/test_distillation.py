"""Distillation: who teaches a patch, what is collected, what one step does."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from rlrestore.agent.distillation import (
    OWN,
    DistillationSettings,
    DistillationTraining,
    Teacher,
)
from rlrestore.agent.replay import ReplayBuffer
from rlrestore.agent.views import VIEWS, on_views, turned, turned_back
from rlrestore.envs.leaves import dead_leaves
from rlrestore.errors import ModelError
from rlrestore.imaging.mixture_files import read_mixture
from rlrestore.runtime.torch_runtime import TorchTools
from rlrestore.runtime.views import Views
from rlrestore.toolbox.checkpoint import Checkpoint
from rlrestore.toolbox.specs import ToolSpec
from rlrestore.toolbox.toolbox import Toolbox, widened
from rlrestore.toolbox.trainer import Budget, Moment, Trainer
from tests.toys import make_policy

EXACT = torch.float32
TINY = DistillationSettings(batch=6, chains=4, reuse=2, first=8, piece=4, precision=EXACT)
DEEP = ToolSpec("deep", "noise", 10.0, 30.0, depth=8)
SPECS = (DEEP, ToolSpec("mild", "noise", 0.0, 10.0, depth=3), ToolSpec("blurred", "blur", 1.0, 2.0, depth=3))
WIDTHS = {3: (8,), 8: (4, 8)}


class Shift(nn.Module):
    """A tool that adds a number, its one weight."""

    def __init__(self, shift: float) -> None:
        super().__init__()
        self.shift = nn.Parameter(torch.tensor([shift]))

    def forward(self, images: Tensor) -> Tensor:
        """Return the images with the number added."""
        return images + self.shift


def adding(*shifts: float, depth: int = 8) -> Toolbox:
    """Tools that add constants."""
    specs = [replace(DEEP, name=f"add-{number}", depth=depth) for number, _ in enumerate(shifts)]
    return Toolbox(specs, networks=[Shift(shift) for shift in shifts]).requires_grad_(False)


def random_tools(seed: int = 0) -> Toolbox:
    """Small tools of which none does the same on every view."""
    torch.manual_seed(seed)
    toolbox = Toolbox(SPECS, widths=WIDTHS)
    with torch.no_grad():
        for weight in toolbox.parameters():
            weight.add_(0.05 * torch.randn_like(weight))
    return toolbox.eval().requires_grad_(False)


def patches(count: int) -> Tensor:
    return torch.rand(count, 3, 63, 63, generator=torch.Generator().manual_seed(0))


def make_training(
    toolbox: Toolbox, students: Toolbox, settings: DistillationSettings = TINY, names: tuple[str, ...] = ()
) -> DistillationTraining:
    teacher, policy = Teacher(toolbox, precision=EXACT), make_policy([0, 1])
    recipe = read_mixture("mild").recipe
    return DistillationTraining(
        students, teacher, policy, dead_leaves(), recipe, settings, "mild", frozenset(names)
    )


def test_views_are_eight_and_turn_back() -> None:
    images = patches(1)
    views = [turned(images, *view) for view in VIEWS]
    assert all(torch.equal(turned_back(view, *how), images) for view, how in zip(views, VIEWS, strict=True))
    assert torch.equal(views[0], images)
    assert len({each.numpy().tobytes() for each in views}) == 8


def test_the_teacher_is_the_mean_of_eight_views() -> None:
    """The same as `restore --views 8` computes by another way."""
    toolbox, images = random_tools(), patches(3)
    actions = torch.tensor([0, 0, 0])
    wanted = Teacher(toolbox, precision=EXACT)(actions, images, images)
    expected = torch.from_numpy(Views(TorchTools(toolbox), 8).apply(0, images.numpy()))
    assert torch.allclose(wanted, expected, atol=1e-5)
    assert not torch.allclose(on_views(toolbox, actions, images, VIEWS)[0], wanted, atol=1e-3)


@pytest.mark.parametrize(
    ("tool", "single", "expected"),
    [
        (0.2, -0.05, 0.075),  # together they come nearer
        (0.1, -0.5, 0.1),  # hopeless
        (0.1, 0.105, 0.1),  # hopeful, but together they are worse
        (0.0, 0.0, 0.0),
    ],
)
def test_who_teaches(tool: float, single: float, expected: float) -> None:
    """The clean image is the patch itself, so that a shift is the error. A patch of another tool is alone."""
    clean = patches(2)
    targets = Teacher(adding(1.0, tool), adding(single), EXACT)(torch.tensor([1, 0]), clean, clean)
    assert torch.allclose(targets[0], clean[0] + expected, atol=1e-6)
    assert torch.allclose(targets[1], clean[1] + (1 + single) / 2, atol=1e-6)


def test_a_single_network_teaches_no_shallow_tool() -> None:
    clean = patches(1)
    targets = Teacher(adding(0.2, depth=3), adding(0.0), EXACT)(torch.tensor([0]), clean, clean)
    assert torch.allclose(targets, clean + 0.2, atol=1e-6)


def test_what_is_collected() -> None:
    """Patches of the tools that learn, from chains and from each one's own range, and what is wanted."""
    toolbox = random_tools()
    training = make_training(toolbox, random_tools(), replace(TINY, chains=32), ("deep", "blurred"))
    examples = training.collect(torch.Generator().manual_seed(0))
    counts = torch.bincount(examples["actions"], minlength=3)
    assert counts[0] > OWN  # the agent's first choice
    assert counts[1] == 0  # is not taught
    assert counts[2] >= OWN
    images, clean = examples["images"].float(), examples["clean"].float()
    again = training.teacher(examples["actions"], images, clean)
    assert torch.allclose(examples["targets"].float(), again, atol=4e-3)
    assert all(examples[name].dtype == torch.float16 for name in ("images", "targets", "clean"))


def test_students_come_nearer_to_their_teacher() -> None:
    """The tools that are not named stay what they are, bit by bit, and so do the teacher's."""
    toolbox, students = random_tools(), random_tools()
    settings = replace(TINY, batch=12, first=60, learning_rate=2e-3, clean_weight=0.0)
    training = make_training(toolbox, students, settings, ("deep", "blurred"))
    behind_db = [float(training.step(Moment(step / 40))["behind_db"]) for step in range(40)]
    assert sum(behind_db[-10:]) < 0.6 * sum(behind_db[:10])
    same = [
        all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))
        for one, other in zip(toolbox.networks, students.networks, strict=True)
    ]
    assert same == [False, True, False]
    before = random_tools()
    assert all(torch.equal(a, b) for a, b in zip(toolbox.parameters(), before.parameters(), strict=True))


def test_the_gradient_is_the_mean_over_the_patches_of_a_tool(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the batch is cut into; by hand, with the plain networks, of the weighted errors in dB."""
    norms = []
    for piece in (6, 4, 2):
        training = make_training(random_tools(), random_tools(), replace(TINY, piece=piece, batch=6))
        drawn: list[ReplayBuffer] = []
        draw = training._draw

        def kept(generator: torch.Generator, draw: Any = draw, drawn: Any = drawn) -> ReplayBuffer:
            batch: ReplayBuffer = draw(generator)
            drawn.append(batch)
            return batch

        monkeypatch.setattr(training, "_draw", kept)
        norms.append(float(training.step(Moment(0.5))["gradient_norm"]))
    (batch,) = drawn
    expected = []
    for index, network in enumerate(random_tools().requires_grad_(True).networks):
        mine = batch.rows((batch["actions"] == index).nonzero().squeeze(1))
        if len(mine):
            restored, targets, clean = network(mine["images"]), mine["targets"], mine["clean"]
            apart, wrong, left = (
                (one - other).square().mean(dim=(1, 2, 3))
                for one, other in ((restored, targets), (restored, clean), (targets, clean))
            )
            (10 / math.log(10) * (apart + 0.25 * wrong) / (left + 1e-4)).mean().backward()
            gradients = [weight.grad.flatten() for weight in network.parameters() if weight.grad is not None]
            expected.append(float(torch.cat(gradients).norm()))
    assert norms == pytest.approx([sum(expected) / len(expected)] * 3, rel=1e-4)


def test_wider_students_begin_as_the_tools(tmp_path: Path) -> None:
    """They learn, and a training that was stopped goes on; one of another teacher does not."""
    toolbox = random_tools()
    students = widened(random_tools(), {8: (4, 12)}, seed=0)
    images = patches(1)
    assert torch.allclose(students.apply_tool(0, images), toolbox.apply_tool(0, images), atol=1e-5)
    checkpoint = Checkpoint(tmp_path / "distillation")
    Trainer(make_training(toolbox, students), checkpoint).run(Budget(steps=2))
    further = make_training(toolbox, widened(random_tools(), {8: (4, 12)}, seed=0))
    trainer = Trainer(further, checkpoint, "either")
    assert further.steps == 2
    assert all(
        torch.equal(a, b) for a, b in zip(students.parameters(), further.toolbox.parameters(), strict=True)
    )
    trainer.run(Budget(steps=3))
    assert further.steps == 3
    others = make_training(random_tools(1), random_tools(1))
    with pytest.raises(ModelError, match="is of another training"):
        Trainer(others, checkpoint, "either")


def test_memory_is_halved() -> None:
    training = make_training(random_tools(), random_tools())
    assert training.shrink()
    training.step(Moment(0.5))
    assert training.shrink()
    assert not training.shrink()


def test_the_oldest_patches_give_way() -> None:
    """Where there is room for nine patches, the newest nine are kept, each beside its target."""
    training = make_training(random_tools(), random_tools(), replace(TINY, capacity=9, first=20))
    training.step(Moment(0.5))
    kept = training._filled()
    assert len(kept["images"]) == 9
    again = training.teacher(kept["actions"], kept["images"].float(), kept["clean"].float())
    assert torch.allclose(kept["targets"].float(), again, atol=4e-3)


@pytest.mark.parametrize("name", ["batch", "chains", "reuse", "first", "capacity"])
def test_nothing_of_something(name: str) -> None:
    with pytest.raises(ValueError, match=f"expected {name} from 1, got 0"):
        DistillationSettings(**{name: 0})  # type: ignore[arg-type]  # all five are numbers


def test_what_cannot_be_distilled() -> None:
    some = r"expected some of the tools \['blurred', 'deep', 'mild'\] to learn, got \['sharper'\]"
    with pytest.raises(ValueError, match=some):
        make_training(random_tools(), random_tools(), TINY, ("sharper",))
    others = r"expected a teacher of \('add-0',\), got one of \('deep', 'mild', 'blurred'\)"
    with pytest.raises(ValueError, match=others):
        make_training(random_tools(), adding(0.0))
    toolbox = random_tools()
    with pytest.raises(ValueError, match="weights of their own, got some of the teacher's"):
        make_training(toolbox, widened(toolbox, {8: (4, 12)}, seed=0))
    with pytest.raises(ValueError, match="expected a single network, got deep, mild, blurred"):
        Teacher(toolbox, random_tools())
