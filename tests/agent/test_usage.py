"""That every tool stays in use, and how much each is used."""

import json
from pathlib import Path

import pytest
import torch

from rlrestore.agent import learn
from rlrestore.agent.joint import JointSettings, JointTraining
from rlrestore.agent.learn import (
    JOINT_EPISODES,
    USAGE,
    UsageLog,
    measure_usage,
    train_joint,
)
from rlrestore.agent.qlearning import TriedActions
from rlrestore.agent.teacher import teacher_chains
from rlrestore.agent.training import AgentTraining
from rlrestore.envs.leaves import dead_leaves
from rlrestore.envs.sources import MixtureSource
from rlrestore.imaging.degradation.mixtures import MODERATE
from rlrestore.imaging.mixture_files import read_mixture
from rlrestore.imaging.patches import PhotoBank
from rlrestore.imaging.recipes import draw_pairs
from rlrestore.toolbox.specs import TOOLS
from rlrestore.toolbox.trainer import Budget, Moment
from tests.toys import make_policy, make_toolbox

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def bank() -> PhotoBank:
    return dead_leaves()


@pytest.mark.parametrize("mixture", ["paper", "any"])
def test_no_tool_withers_for_want_of_chains(bank: PhotoBank, mixture: str) -> None:
    """Teacher chains alone take each of the twelve tools, 2 % of the chains at least."""
    generator = torch.Generator().manual_seed(0)
    drawn = draw_pairs(bank, read_mixture(mixture).recipe, 512, 63, generator)
    chains = teacher_chains(TOOLS, drawn.amounts, 3)
    shares = [(chains == tool).any(dim=1).float().mean().item() for tool in range(len(TOOLS))]
    assert min(shares) > 0.02


def test_an_agent_that_knows_one_tool_leaves_the_others_in_training(bank: PhotoBank) -> None:
    """Exploration takes every tool; with patches of its own range, each has a gradient in every step."""
    follower = AgentTraining(
        make_policy([0]), make_toolbox(), MixtureSource(bank, MODERATE), TriedActions(), JOINT_EPISODES, CPU
    )
    explored, owned = (
        JointTraining(
            make_toolbox(),
            follower,
            bank,
            MODERATE,
            JointSettings(batch=batch, planned=0.0, own=own, agent_every=0, precision=torch.float32),
        )
        for batch, own in ((64, 0), (1, 1))
    )
    for training in (explored, owned):
        training.step(Moment(0.5))
    assert min(explored.uses) == 1
    assert owned.uses == [1, 1, 1]


def test_usage_is_the_share_of_chains_that_take_a_tool(
    bank: PhotoBank, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The toy takes brighten, then keep; it is logged by mixture."""
    for few in ("USAGE_PATCHES", "VALIDATION_EPISODES"):
        monkeypatch.setattr(learn, few, 16)
    toolbox, policy = make_toolbox(), make_policy([0, 2])
    shares = {"brighten": 1.0, "darken": 0.0, "keep": 1.0}
    expected = dict.fromkeys(("mild", "moderate", "severe", "single"), shares)
    assert measure_usage(toolbox, policy, bank, 0) == expected
    settings = JointSettings(batch=2, agent_every=0)
    train_joint(toolbox, policy, bank, bank, tmp_path, Budget(steps=2), settings)
    lines = (tmp_path / "training" / "joint" / "log" / USAGE).read_text("utf-8").splitlines()
    assert [json.loads(line) for line in lines] == [{"steps": 2, **expected}]


def test_the_log_of_usage_has_every_tenth_measurement_and_no_step_twice(tmp_path: Path) -> None:
    """Resumed from 30 steps it loses what came after, and a line that is cut; a new training, all."""
    path = tmp_path / "log" / USAGE
    log = UsageLog(path, 0)
    for number in range(41):
        if log.is_due():
            log.write(number, {"mild": {"keep": 0.5}})
    assert [json.loads(line)["steps"] for line in path.read_text("utf-8").splitlines()] == [0, 10, 20, 30, 40]
    path.write_text(path.read_text("utf-8") + '{"steps": 5', "utf-8")
    UsageLog(path, 30)
    assert [json.loads(line)["steps"] for line in path.read_text("utf-8").splitlines()] == [0, 10, 20, 30]
    UsageLog(path, 0)
    assert path.read_text("utf-8") == ""
