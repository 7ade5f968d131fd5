import pytest
import torch

from rlrestore.agent import pretraining
from rlrestore.agent.policy import Policy
from rlrestore.agent.pretraining import pretrain_trunk
from rlrestore.agent.teacher import strengths
from rlrestore.envs.leaves import dead_leaves
from rlrestore.imaging.degradation.protocol import Degradations
from rlrestore.imaging.recipes import SingleDistortions
from rlrestore.toolbox.specs import TOOLS


def test_strengths_are_counted_in_tools() -> None:
    """Blur 1 px lies 0.8 into the first tool's range, noise 45 0.6 into the fourth's, quality 50 0.4 into
    the second's."""
    amounts = Degradations(*(torch.tensor([amount, 0.0]) for amount in (1.0, 45.0, 50.0)))
    assert strengths(TOOLS, amounts).flatten().tolist() == pytest.approx([0.8, 3.6, 1.4, 0, 0, 0], abs=1e-5)
    assert strengths(TOOLS[:4], amounts)[0].tolist() == pytest.approx([0.8, 0, 0], abs=1e-5)


def test_a_trunk_learns_to_measure_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    """On noise alone: guessing the mean errs by 2/3 of a tool on average over the kinds, 1 tool for noise."""
    monkeypatch.setattr(pretraining, "PATCHES", 64)
    policy, recipe = Policy(12), SingleDistortions(TOOLS[4:8])
    before = {name: weight.clone() for name, weight in policy.state_dict().items()}
    assert not policy.trunk.is_standardised
    error = pretrain_trunk(policy, dead_leaves(), recipe, rounds=8, seed=0)
    assert error < 0.15
    assert policy.trunk.is_standardised
    changed = {name for name, weight in policy.state_dict().items() if not torch.equal(weight, before[name])}
    assert changed
    assert all(name.startswith("trunk.") for name in changed)


def test_the_same_seed_teaches_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pretraining, "PATCHES", 8)
    trunks = []
    for _ in range(2):
        torch.manual_seed(3)
        policy = Policy(12)
        pretrain_trunk(policy, dead_leaves(), SingleDistortions(TOOLS), rounds=2, seed=1)
        trunks.append(policy.trunk.hidden.weight)
    assert torch.equal(*trunks)
