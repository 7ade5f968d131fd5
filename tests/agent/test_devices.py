"""A few steps of every training, and rollouts, on every device that this machine has."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from rlrestore.agent.joint import JointSettings
from rlrestore.agent.learn import train_agent, train_joint
from rlrestore.agent.policy import Policy
from rlrestore.agent.ppo import PpoSettings, train_ppo
from rlrestore.agent.qlearning import TriedActions
from rlrestore.agent.rollout import greedy, roll_out
from rlrestore.agent.training import AgentSettings
from rlrestore.envs.leaves import dead_leaves
from rlrestore.imaging.metrics import psnr_db
from rlrestore.imaging.patches import PhotoBank
from rlrestore.toolbox.specs import TOOLS
from rlrestore.toolbox.toolbox import Toolbox
from rlrestore.toolbox.trainer import Budget
from rlrestore.toolbox.training import ToolSettings, train_tools
from tests.toys import make_policy, make_toolbox

AGENT = AgentSettings(episodes=8, fits=2, batch=4, capacity=24)


@pytest.fixture
def bank(device: torch.device) -> PhotoBank:
    return dead_leaves(device)


@pytest.fixture
def few_patches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Held-out patches are few."""
    monkeypatch.setattr("rlrestore.agent.learn.VALIDATION_EPISODES", 8)
    monkeypatch.setattr("rlrestore.agent.learn.PRETRAINING_ROUNDS", 2)


def moved(module: torch.nn.Module, before: dict[str, torch.Tensor], device: torch.device) -> bool:
    """Tell whether weights are on the device, finite, and others than before."""
    after = module.state_dict()
    assert {weight.device.type for weight in after.values()} == {device.type}
    assert all(bool(weight.isfinite().all()) for weight in after.values())
    return any(not torch.equal(weight.cpu(), before[name]) for name, weight in after.items())


def weights_of(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: weight.cpu().clone() for name, weight in module.state_dict().items()}


def test_rollouts_are_those_of_the_processor(device: torch.device) -> None:
    images = torch.rand(5, 3, 63, 63, generator=torch.Generator().manual_seed(0))
    policy = make_policy([0, 1]).to(device)
    rollout = roll_out(make_toolbox().to(device), images.to(device), greedy(policy), 3)
    assert rollout.actions.tolist() == [[0, 1, 3]] * 5
    torch.testing.assert_close(rollout.images[3].cpu(), images + 0.125 - 0.0625, rtol=0, atol=1e-3)
    assert psnr_db(rollout.images[0], images.to(device)).tolist() == [100.0] * 5


def test_tools_are_trained(device: torch.device, bank: PhotoBank, tmp_path: Path) -> None:
    settings = ToolSettings(batch=4, patch=32)
    toolbox, reports = train_tools(bank, bank, tmp_path, [TOOLS[4]], Budget(steps=3), settings)
    assert moved(toolbox.networks[4], weights_of(Toolbox().networks[4]), device)
    assert reports[0].name == "denoise-1"


@pytest.mark.usefixtures("few_patches")
def test_an_agent_is_trained(device: torch.device, bank: PhotoBank, tmp_path: Path) -> None:
    policy, toolbox = Policy(3).to(device), make_toolbox().to(device)
    before = weights_of(policy)
    train_agent(policy, TriedActions(), bank, bank, toolbox, tmp_path, Budget(steps=24), AGENT)
    assert moved(policy, before, device)


@pytest.mark.usefixtures("few_patches")
def test_tools_and_agent_are_trained_together(
    device: torch.device, bank: PhotoBank, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rlrestore.agent.learn.JOINT_EPISODES", replace(AGENT, fits=1))
    toolbox, policy = Toolbox(TOOLS[4:7]).to(device), Policy(3).to(device)
    before, agents = weights_of(toolbox), weights_of(policy)
    settings = JointSettings(batch=8, planned=0.5, agent_every=1)
    train_joint(toolbox, policy, bank, bank, tmp_path, Budget(steps=2), settings)
    assert moved(toolbox, before, device)
    assert moved(policy, agents, device)


@pytest.mark.usefixtures("few_patches")
def test_ppo_trains(device: torch.device, bank: PhotoBank, tmp_path: Path) -> None:
    policy, toolbox = Policy(3).to(device), make_toolbox().to(device)
    before = weights_of(policy)
    settings = PpoSettings(episodes=8, rollout=4, batch=16, epochs=1)
    train_ppo(policy, bank, bank, toolbox, tmp_path, Budget(steps=32), settings)
    assert moved(policy, before, device)
