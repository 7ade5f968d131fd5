import math
import signal
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from rlrestore.agent import joint
from rlrestore.agent.joint import JointSettings, JointTraining, chain_losses
from rlrestore.agent.learn import JOINT_EPISODES, train_joint
from rlrestore.agent.policy import Policy
from rlrestore.agent.qlearning import TriedActions
from rlrestore.agent.rollout import fixed, greedy, roll_out
from rlrestore.agent.teacher import prescribed, teacher_chains
from rlrestore.agent.training import AgentTraining
from rlrestore.envs.leaves import dead_leaves
from rlrestore.envs.sources import MixtureSource
from rlrestore.errors import ModelError, UsageError
from rlrestore.imaging.degradation.mixtures import MODERATE
from rlrestore.imaging.degradation.protocol import Degradations
from rlrestore.imaging.file_draws import FileDraw
from rlrestore.imaging.metrics import psnr_db
from rlrestore.imaging.pairs import PatchBatch
from rlrestore.imaging.patches import PhotoBank
from rlrestore.toolbox import optimisation, trainer
from rlrestore.toolbox.checkpoint import Checkpoint
from rlrestore.toolbox.optimisation import ERROR_FLOOR, WARM_UP
from rlrestore.toolbox.specs import NO_ACTION, TOOLS, ToolSpec
from rlrestore.toolbox.toolbox import Toolbox
from rlrestore.toolbox.trainer import Budget, Moment, Trainer
from tests.toys import make_policy, make_toolbox

CPU = torch.device("cpu")
EXACT = torch.float32
TINY = JointSettings(batch=4, planned=1.0, precision=EXACT)


class Scale(nn.Module):
    """A tool that multiplies every pixel by one trained number."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.tensor(factor))

    def forward(self, images: Tensor) -> Tensor:
        """Return the images multiplied."""
        return images * self.factor


@dataclass(frozen=True)
class Amounts:
    """A recipe of the same degradations every time."""

    blur: tuple[float, ...]
    noise: tuple[float, ...]
    jpeg: tuple[float, ...]

    def sample(self, count: int, _: torch.Generator) -> Degradations:
        """Return as many as there are."""
        assert count == len(self.blur)
        return Degradations(*map(torch.tensor, (self.blur, self.noise, self.jpeg)))


@dataclass(frozen=True)
class Fixed:
    """A recipe of the same pairs every time."""

    batch: PatchBatch

    def pairs(self, *_: object) -> PatchBatch:
        """Return them."""
        return self.batch

    def context_side(self, size: int) -> int:
        """Return the side itself: no crop is degraded."""
        return size

    def draw_file(self, *_: object) -> FileDraw:
        """Refuse: it is for no files."""
        raise NotImplementedError


@pytest.fixture(scope="module")
def bank() -> PhotoBank:
    return dead_leaves()


def scales() -> Toolbox:
    """One tool for each distortion."""
    specs = [
        ToolSpec("deblur", "blur", 0, 5, 3),
        ToolSpec("denoise", "noise", 0, 50, 3),
        ToolSpec("dejpeg", "jpeg", 10, 100, 3),
    ]
    toolbox = Toolbox(specs, "scales", [Scale(factor) for factor in (1.5, 0.75, 0.5)])
    return toolbox.eval().requires_grad_(False)


def factors(toolbox: Toolbox) -> list[float]:
    return [network.state_dict()["factor"].item() for network in toolbox.networks]


def slope(images: float, clean: float) -> float:
    """Of the loss in dB by the result, for constant patches: 20 e / (e² + floor) / ln 10."""
    error = images - clean
    return 20 * error / (error**2 + ERROR_FLOOR) / math.log(10)


def test_a_tools_gradient_is_that_of_the_unrolled_chain_averaged_over_its_chains(
    bank: PhotoBank, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Chains: deblur then denoise on a patch of 0.5, denoise alone on one of 0.25; the truth is 0.3."""
    degraded = torch.tensor([0.5, 0.25])[:, None, None, None].expand(2, 3, 63, 63)
    monkeypatch.setattr(optimisation, "CLIP_NORM", math.inf)
    amounts = Degradations(*map(torch.tensor, ([4.0, 0.0], [5.0, 5.0], [0.0, 0.0])))
    recipe = Fixed(PatchBatch(degraded, torch.full_like(degraded, 0.3), amounts))
    settings = replace(TINY, batch=2, learning_rate=1e-3, earlier_weight=0.25)
    training = JointTraining(scales(), None, bank, recipe, settings)
    training.optimizer = torch.optim.SGD(training.trained.parameters())  # type: ignore[assignment]  # of Muon
    training.step(Moment(WARM_UP))  # when the rate is at its highest
    first, both, alone = slope(0.5 * 1.5, 0.3), slope(0.5 * 1.5 * 0.75, 0.3), slope(0.25 * 0.75, 0.3)
    deblur = both * 0.75 * 0.5 + 0.25 * first * 0.5  # one chain
    denoise = (both * 0.5 * 1.5 + alone * 0.25) / 2  # two chains
    moved = [1.5 - 1e-3 * deblur, 0.75 - 1e-3 * denoise, 0.5]
    assert factors(training.trained) == pytest.approx(moved, abs=1e-5)
    assert abs(deblur) > 1
    assert abs(denoise) > 1


def test_losses_count_the_end_fully_the_way_less_and_nothing_after_a_stop() -> None:
    values = torch.tensor([[0.9, 0.5, 0.2, 0.1], [0.9, 0.5, 0.5, 0.5], [0.9, 0.9, 0.9, 0.9]])
    images = values.T[:, :, None, None, None].expand(4, 3, 3, 2, 2)
    actions = torch.tensor([[0, 1, 2], [1, 3, 3], [3, 3, 3]])
    losses = chain_losses(images, torch.zeros(3, 3, 2, 2), actions, stop=3, earlier_weight=0.5)

    def loss(value: float) -> float:
        return 10 * math.log10(value**2 + ERROR_FLOOR)

    expected = [loss(0.1) + 0.5 * (loss(0.5) + loss(0.2)), loss(0.5), 0.0]
    assert losses.tolist() == pytest.approx(expected, abs=1e-4)


def test_tools_that_no_chain_uses_do_not_change(bank: PhotoBank) -> None:
    toolbox = Toolbox(TOOLS).eval().requires_grad_(False)
    recipe = Amounts(blur=(0.0,) * 4, noise=(40.0, 45.0, 40.0, 30.0), jpeg=(0.0,) * 4)
    training = JointTraining(toolbox, None, bank, recipe, TINY)
    before = [[weight.clone() for weight in network.parameters()] for network in toolbox.networks]
    for done in (0.2, 0.4):
        training.step(Moment(done))
    for spec, old, average, trained, uses in zip(
        TOOLS, before, toolbox.networks, training.trained.networks, training.uses, strict=True
    ):
        changed = spec.name in ("denoise-3", "denoise-4")
        assert uses == 2 * changed
        for network in (average, trained):
            same = all(map(torch.equal, old, network.parameters()))
            assert same != changed


def test_a_frozen_agent_with_toy_tools_comes_to_gain_more(bank: PhotoBank, tmp_path: Path) -> None:
    """It plays brighten, then darken: tools that at first only add a constant."""
    toolbox, policy = make_toolbox(), make_policy((0, 1))
    source = MixtureSource(bank, MODERATE)
    pairs = source(32, torch.Generator().manual_seed(5))
    follower = AgentTraining(policy, toolbox, source, TriedActions(), JOINT_EPISODES, bank.device)
    settings = JointSettings(batch=8, planned=0.0, exploration=0.0, agent_every=0, learning_rate=2e-3)
    training = JointTraining(toolbox, follower, bank, MODERATE, settings)
    frozen = [weight.clone() for weight in policy.parameters()]

    def gain_db() -> float:
        with torch.no_grad():
            restored = roll_out(toolbox, pairs[0], greedy(policy), 3).images[-1]
        return float((psnr_db(restored, pairs[1]) - psnr_db(*pairs)).mean())

    before = gain_db()
    Trainer(training, Checkpoint(tmp_path / "joint")).run(Budget(steps=60))
    assert training.uses == [60, 60, 0]
    assert before < -0.5
    assert gain_db() > max(0.0, before + 1.0)
    assert all(map(torch.equal, frozen, policy.parameters()))


def test_the_size_of_a_piece_changes_no_gradient(bank: PhotoBank, monkeypatch: pytest.MonkeyPatch) -> None:
    """In float32, on any processor, own patches among them."""
    monkeypatch.setattr(optimisation, "CLIP_NORM", math.inf)
    after = []
    for piece in (2, 32):
        toolbox = Toolbox(TOOLS[:1] + TOOLS[4:5] + TOOLS[8:9]).eval().requires_grad_(False)
        torch.manual_seed(0)
        for weight in toolbox.parameters():
            weight.copy_(0.05 * torch.randn_like(weight))
        settings = replace(TINY, batch=6, piece=piece, own=3, learning_rate=1.0)
        training = JointTraining(toolbox, None, bank, MODERATE, settings)
        training.optimizer = torch.optim.SGD(training.trained.parameters())  # type: ignore[assignment]  # of Muon
        before = [weight.clone() for weight in training.trained.parameters()]
        training.step(Moment(WARM_UP))
        pairs = zip(training.trained.parameters(), before, strict=True)
        after.append([(new - old).detach() for new, old in pairs])
    for one, other in zip(*after, strict=True):
        scale = float(other.abs().max())
        assert scale > 1e-2
        torch.testing.assert_close(one, other, atol=1e-3 * scale, rtol=1e-3)


def test_patches_of_its_own_range_pull_every_tool(bank: PhotoBank, monkeypatch: pytest.MonkeyPatch) -> None:
    """No chain at all: what moves a tool is the mean slope on its own patches, by the weight it is given."""
    clean = torch.full((6, 3, 63, 63), 0.3)
    monkeypatch.setattr(joint, "degraded_pairs", lambda *_: (torch.full_like(clean, 0.5), clean))
    monkeypatch.setattr(optimisation, "CLIP_NORM", math.inf)
    recipe = Fixed(PatchBatch(clean[:1], clean[:1], Degradations(*torch.zeros(3, 1))))
    settings = replace(TINY, batch=1, own=2, own_weight=0.5, learning_rate=1e-3)
    training = JointTraining(scales(), None, bank, recipe, settings)
    training.optimizer = torch.optim.SGD(training.trained.parameters())  # type: ignore[assignment]  # of Muon
    training.step(Moment(WARM_UP))
    moved = [factor - 1e-3 * 0.5 * slope(0.5 * factor, 0.3) * 0.5 for factor in (1.5, 0.75, 0.5)]
    assert factors(training.trained) == pytest.approx(moved, abs=1e-5)
    assert training.uses == [1, 1, 1]


def test_planned_chains_undo_the_strongest_first() -> None:
    """Strengths: blur 1 px is 0.8 tools of 4, noise 45 is 3.6, quality 50 is 1.4."""
    amounts = Degradations(
        blur_sigma_px=torch.tensor([1.0, 0.0, 5.0, 0.0]),
        noise_sigma_255=torch.tensor([45.0, 0.0, 1.0, 0.0]),
        jpeg_quality=torch.tensor([50.0, 100.0, 9.0, 0.0]),
    )
    chains = teacher_chains(TOOLS, amounts, max_steps=3)
    names = [[(*(spec.name for spec in TOOLS), "stop")[tool] for tool in chain] for chain in chains.tolist()]
    assert names == [
        ["denoise-4", "dejpeg-2", "deblur-1"],
        ["dejpeg-1", "stop", "stop"],
        ["deblur-4", "dejpeg-4", "denoise-1"],
        ["stop", "stop", "stop"],
    ]
    assert teacher_chains(TOOLS, amounts, max_steps=1).tolist() == [[7], [8], [3], [12]]
    assert teacher_chains(TOOLS[4:8], amounts, 5).tolist() == [
        [3, 4, 4, 4, 4],
        [4] * 5,
        [0, 4, 4, 4, 4],
        [4] * 5,
    ]
    mixture = [ToolSpec("all", "mixture", 1, 20, 8)]
    assert teacher_chains(mixture, amounts, 2).tolist() == [[1, 1]] * 4


def test_prescribed_actions_leave_the_rest_to_another() -> None:
    """And do not ask it about a chain that is given to the end."""
    images, toolbox = torch.full((3, 3, 4, 4), 0.5), make_toolbox()
    given = torch.tensor([[1, NO_ACTION, 0], [0, 1, 0], [NO_ACTION, 3, 0]])
    twice, asked = fixed((2, 2, 2), 3), []

    def other(images: Tensor, last_action: Tensor) -> Tensor:
        asked.append(len(images))
        return twice(images, last_action)

    rollout = roll_out(toolbox, images, prescribed(given, other), 3)
    assert rollout.actions.tolist() == [[1, 2, 0], [0, 1, 0], [2, 3, 3]]
    assert asked == [2, 2, 2]


def joint_training(bank: PhotoBank) -> JointTraining:
    torch.manual_seed(0)
    toolbox, policy = make_toolbox(), Policy(3)
    source = MixtureSource(bank, MODERATE)
    tiny = replace(JOINT_EPISODES, episodes=2, fits=1, batch=2)
    follower = AgentTraining(policy, toolbox, source, TriedActions(), tiny, bank.device)
    settings = JointSettings(batch=2, agent_every=2, planned=0.5, own=1)
    return JointTraining(toolbox, follower, bank, MODERATE, settings)


def state(training: JointTraining) -> list[Tensor]:
    assert training.follower is not None
    modules = (training.trained, training.toolbox, training.follower.policy)
    return [tensor.clone() for module in modules for tensor in module.state_dict().values()]


def test_a_resumed_training_goes_on_as_if_never_stopped(
    bank: PhotoBank, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trainer, "CHECK_SECONDS", -1.0)
    whole, first, second = (joint_training(bank) for _ in range(3))
    Trainer(whole, Checkpoint(tmp_path / "whole")).run(Budget(steps=6))

    def interrupt(steps: int, *_: object) -> None:
        if steps == 4:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt, match="after 4 steps"):
        Trainer(first, Checkpoint(tmp_path / "cut")).run(Budget(steps=6), interrupt)
    Trainer(second, Checkpoint(tmp_path / "cut"), "resume").run(Budget(steps=6))
    assert whole.uses == second.uses
    assert whole.follower is not None
    assert whole.follower.steps > 0
    assert all(map(torch.equal, state(whole), state(second)))


def test_a_checkpoint_of_another_training_is_refused(bank: PhotoBank, tmp_path: Path) -> None:
    Trainer(joint_training(bank), Checkpoint(tmp_path)).save()
    for changes in ({"mixture": "any"}, {"begun": 1}, {"seed": 5}):
        other = joint_training(bank)
        other.about |= changes
        (name,) = changes
        with pytest.raises(ModelError, match=rf"is of another training \({name}: expected [^;]*\);"):
            Trainer(other, Checkpoint(tmp_path), "resume")


def test_an_agent_is_needed_where_not_all_is_planned(bank: PhotoBank) -> None:
    with pytest.raises(ValueError, match="expected an agent, or planned chains alone"):
        JointTraining(make_toolbox(), None, bank, MODERATE, JointSettings(planned=0.9))


def test_training_from_beginning_to_end(bank: PhotoBank, tmp_path: Path) -> None:
    budget, settings = Budget(steps=2), JointSettings(batch=2, planned=1.0)
    gain_db, done = train_joint(Toolbox(TOOLS), None, bank, bank, tmp_path, budget, settings)
    assert math.isfinite(gain_db)
    assert done.spent()["steps"] == 2
    assert Checkpoint(tmp_path / "training" / "joint").exists()
    with pytest.raises(UsageError, match="holds a training of 2 steps"):
        train_joint(Toolbox(TOOLS), None, bank, bank, tmp_path, budget, settings)
