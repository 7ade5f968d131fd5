"""The authors' agent as a policy of ours: padding, stop, the last action, and how it is kept on disk."""

import json
from pathlib import Path

import pytest
import torch

from rlrestore.agent.policy import PAPER_MEMORY, PaperPolicy, pad_same
from rlrestore.agent.storage import load_agent, save_model
from rlrestore.errors import ModelError
from rlrestore.model_folder import CARD
from rlrestore.model_folder.card import ModelCard
from rlrestore.toolbox.specs import TOOLS
from rlrestore.toolbox.toolbox import Toolbox


@pytest.fixture
def policy() -> PaperPolicy:
    torch.manual_seed(0)
    return PaperPolicy(2, max_steps=4)


@pytest.fixture
def toolbox() -> Toolbox:
    return Toolbox(TOOLS[4:6])


@pytest.fixture
def folder(tmp_path: Path, toolbox: Toolbox, policy: PaperPolicy) -> Path:
    save_model(tmp_path, toolbox, policy, ModelCard(precision="float32"))
    return tmp_path


def rewrite_agent(folder: Path, family: object) -> None:
    card = json.loads((folder / CARD).read_text())
    card["agent"].pop("family")
    if family is not None:
        card["agent"]["family"] = family
    (folder / CARD).write_text(json.dumps(card))


@pytest.mark.parametrize(
    ("side", "kernel", "before", "after"),
    [(63, 9, 4, 4), (32, 5, 1, 2), (16, 5, 1, 2), (8, 5, 1, 2), (64, 9, 3, 4), (5, 5, 2, 2), (3, 1, 0, 0)],
)
def test_padding_is_tensorflows(side: int, kernel: int, before: int, after: int) -> None:
    padded = pad_same(torch.ones(1, 1, side, side + 16), kernel, 2)
    assert padded.shape[2] == before + side + after
    assert padded[0, 0, :, padded.shape[3] // 2].tolist() == [0] * before + [1] * side + [0] * after
    assert padded[0, 0, padded.shape[2] // 2].tolist() == [0] * before + [1] * (side + 16) + [0] * after


def test_stop_is_worth_nothing_and_the_order_is_the_networks(policy: PaperPolicy) -> None:
    values, hidden = policy(torch.rand(3, 3, 63, 63), torch.tensor([-1, 0, 1]), policy.initial_state(3))
    own = policy.values(hidden[0])
    assert values.shape == (3, 3)
    assert hidden[0].shape == hidden[1].shape == (3, PAPER_MEMORY)
    assert values[:, -1].tolist() == [0, 0, 0]
    assert bool(own[:, -1].all())
    assert torch.equal(values.argsort(dim=1), own.argsort(dim=1))


def test_the_last_tool_matters_and_stop_is_no_last_action(policy: PaperPolicy) -> None:
    image, empty = torch.rand(1, 3, 63, 63), policy.initial_state(1)
    none, first, second, stop = (policy(image, torch.tensor([last]), empty)[0] for last in (-1, 0, 1, 2))
    assert len({tuple(values.flatten().tolist()) for values in (none, first, second)}) == 3
    assert torch.equal(none, stop)


def test_the_agent_comes_back_as_it_was(folder: Path, toolbox: Toolbox, policy: PaperPolicy) -> None:
    loaded = load_agent(folder, toolbox)
    images, last = torch.rand(2, 3, 63, 63), torch.tensor([-1, 1])
    assert isinstance(loaded, PaperPolicy)
    assert loaded.max_steps == 4
    torch.testing.assert_close(
        loaded(images, last, loaded.initial_state(2))[0], policy(images, last, policy.initial_state(2))[0]
    )


@pytest.mark.parametrize("family", ["transformer", "dueling", 5, ["paper"], "", None])
def test_an_unknown_family_is_refused(folder: Path, toolbox: Toolbox, family: object) -> None:
    rewrite_agent(folder, family)
    with pytest.raises(ModelError, match="expected an agent of family spectral or paper, got"):
        load_agent(folder, toolbox)


def test_weights_of_the_other_family_are_refused(folder: Path, toolbox: Toolbox) -> None:
    rewrite_agent(folder, "spectral")
    with pytest.raises(
        ModelError, match=r"expected the agent's sizes, hidden, features, memory, .* got None"
    ):
        load_agent(folder, toolbox)
    card = json.loads((folder / CARD).read_text())
    card["agent"]["sizes"] = {"hidden": 64, "features": 32, "memory": 50}
    (folder / CARD).write_text(json.dumps(card))
    with pytest.raises(ModelError, match=r"tensor advantage\.bias: expected \(2,\), got none"):
        load_agent(folder, toolbox)
