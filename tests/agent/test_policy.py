import json
from pathlib import Path

import pytest
import torch

from rlrestore.agent.policy import USUAL_SIZES, Policy, PolicySizes, best_action
from rlrestore.agent.rollout import greedy, roll_out
from rlrestore.agent.storage import load_agent, save_model
from rlrestore.errors import ModelError
from rlrestore.model_folder import CARD
from rlrestore.model_folder.card import ModelCard
from rlrestore.toolbox.specs import TOOLS
from rlrestore.toolbox.storage import load_toolbox, save_toolbox
from rlrestore.toolbox.toolbox import Toolbox
from tests.toys import make_policy, make_toolbox


@pytest.fixture
def toolbox() -> Toolbox:
    return Toolbox(TOOLS[4:6])


@pytest.fixture
def folder(tmp_path: Path, toolbox: Toolbox) -> Path:
    save_model(tmp_path / "model", toolbox, Policy(2))
    return tmp_path / "model"


def test_stop_is_worth_nothing() -> None:
    policy = Policy(5)
    values, hidden = policy(torch.rand(3, 3, 63, 63), torch.tensor([-1, 4, 5]), policy.initial_state(3))
    assert values.shape == (3, 6)
    assert hidden[0].shape == hidden[1].shape == (3, USUAL_SIZES.memory)
    assert values[:, -1].tolist() == [0, 0, 0]
    assert bool(values[:, :-1].any())


def test_the_last_action_and_the_memory_matter() -> None:
    torch.manual_seed(0)
    policy = Policy(5)
    image, empty = torch.rand(1, 3, 63, 63), policy.initial_state(1)
    first, hidden = policy(image, torch.tensor([-1]), empty)
    assert not torch.equal(policy(image, torch.tensor([2]), empty)[0], first)
    assert not torch.equal(policy(image, torch.tensor([-1]), hidden)[0], first)


def test_spectra_are_standardised_once() -> None:
    """A second time would pull the ground from under trained weights."""
    policy = Policy(2)
    observations = policy.observe(torch.rand(64, 3, 63, 63, generator=torch.Generator().manual_seed(0)))
    policy.trunk.standardise(observations)
    standard = (observations.flatten(1) - policy.trunk.mean) / policy.trunk.deviation
    assert standard.mean(dim=0).abs().max() < 1e-3
    assert standard.std(dim=0).max() < 1.001
    mean = policy.trunk.mean.clone()
    policy.trunk.standardise(observations + 1)
    assert torch.equal(policy.trunk.mean, mean)


def test_the_policy_learns_few_weights() -> None:
    """The authors' agent has 87,863 parameters, ours a few times as many, nearly all on the spectrum."""

    def count(policy: Policy) -> int:
        return sum(parameter.numel() for parameter in policy.parameters())

    assert count(Policy(12)) == pytest.approx(496_500, rel=0.01)
    assert count(Policy(12, sizes=PolicySizes(64, 32, 50))) == pytest.approx(132_000, rel=0.01)


def test_a_tool_must_exceed_the_stop_margin() -> None:
    values = torch.tensor([[0.3, 0.1, 0.0], [0.05, 0.1, 0.0], [-1.0, -2.0, 0.0]])
    assert best_action(values, 0.0).tolist() == [0, 1, 2]
    assert best_action(values, 0.1).tolist() == [0, 2, 2]
    assert best_action(values, torch.tensor([0.4, 0.05])).tolist() == [2, 1, 2]


def test_the_first_tool_must_exceed_the_start_margin() -> None:
    """The toy expects 1 dB of the tools 0 and 2 in turn; a patch that is left alone stays so."""
    images, chains = torch.zeros(2, 3, 63, 63), []
    for start_db, stop_db in ((0.5, 0.5), (0.5, 1.5), (1.5, 0.5)):
        policy = make_policy([0, 2])
        policy.start_margins_db, policy.stop_margin_db = (start_db, 9.0, 9.0), stop_db
        chains.append(roll_out(make_toolbox(), images, greedy(policy), 3).actions[0].tolist())
    assert chains == [[0, 2, 3], [0, 3, 3], [3, 3, 3]]


@pytest.mark.parametrize("margin", [-0.1, "much", None, float("inf")])
def test_a_stop_margin_that_is_none_is_refused(folder: Path, toolbox: Toolbox, margin: object) -> None:
    card = json.loads((folder / CARD).read_text())
    card["agent"]["stop_margin_db"] = margin
    (folder / CARD).write_text(json.dumps(card))
    with pytest.raises(ModelError, match="expected stop_margin_db as a number from 0"):
        load_agent(folder, toolbox)


@pytest.mark.parametrize("margins", [[0.5], [0.5, -0.1], [0.5, "much"], 0.5, None])
def test_start_margins_that_are_none_are_refused(folder: Path, toolbox: Toolbox, margins: object) -> None:
    card = json.loads((folder / CARD).read_text())
    card["agent"]["start_margins_db"] = margins
    (folder / CARD).write_text(json.dumps(card))
    with pytest.raises(ModelError, match="expected start_margins_db as a number from 0 for each of 2 tools"):
        load_agent(folder, toolbox)


def test_there_is_a_start_margin_for_each_tool() -> None:
    with pytest.raises(ValueError, match="expected a start margin for each of 3 tools"):
        Policy(3, start_margins_db=(0.5, 0.5))


def test_a_card_of_one_margin_is_read(folder: Path, toolbox: Toolbox) -> None:
    """Cards that were written before the first tool had a margin of its own."""
    card = json.loads((folder / CARD).read_text())
    del card["agent"]["start_margins_db"]
    card["agent"]["stop_margin_db"] = 0.25
    (folder / CARD).write_text(json.dumps(card))
    policy = load_agent(folder, toolbox)
    assert (policy.start_margins_db, policy.stop_margin_db) == ((0.25, 0.25), 0.25)


def test_a_model_comes_back_as_it_was(tmp_path: Path, toolbox: Toolbox) -> None:
    sizes = PolicySizes(hidden=20, features=7, memory=9)
    policy = Policy(2, 4, stop_margin_db=0.25, sizes=sizes, start_margins_db=(0.75, 0.5))
    save_model(tmp_path, toolbox, policy, ModelCard(precision="float32"))
    loaded = load_agent(tmp_path, load_toolbox(tmp_path))
    images, last = torch.rand(2, 3, 63, 63), torch.tensor([-1, 1])
    assert isinstance(loaded, Policy)
    assert (loaded.max_steps, loaded.sizes) == (4, sizes)
    assert (loaded.start_margins_db, loaded.stop_margin_db) == ((0.75, 0.5), 0.25)
    torch.testing.assert_close(
        loaded(images, last, loaded.initial_state(2))[0], policy(images, last, policy.initial_state(2))[0]
    )


@pytest.mark.parametrize(
    "sizes",
    [
        {"hidden": 256, "features": 64},
        {"hidden": 256, "features": 64, "memory": 64, "eyes": 2},
        {"hidden": 256, "features": 64, "memory": 0},
        {"hidden": 256, "features": "64", "memory": 64},
        {"hidden": 10**9, "features": 64, "memory": 64},
        [256, 64, 64],
        None,
    ],
)
def test_senseless_sizes_are_refused(folder: Path, toolbox: Toolbox, sizes: object) -> None:
    card = json.loads((folder / CARD).read_text())
    card["agent"]["sizes"] = sizes
    (folder / CARD).write_text(json.dumps(card))
    with pytest.raises(ModelError, match="expected the agent's sizes, hidden, features, memory, as whole"):
        load_agent(folder, toolbox)


def test_sizes_that_do_not_fit_the_weights_are_refused(folder: Path, toolbox: Toolbox) -> None:
    card = json.loads((folder / CARD).read_text())
    card["agent"]["sizes"] |= {"memory": 65}
    (folder / CARD).write_text(json.dumps(card))
    with pytest.raises(
        ModelError,
        match=r"agent.safetensors does not fit the sizes in its card.json: "
        r"tensor advantage.weight: expected \(2, 65\), got \(2, 64\)",
    ):
        load_agent(folder, toolbox)


def test_an_agent_for_other_tools_is_refused(folder: Path) -> None:
    with pytest.raises(
        ModelError, match=r"the agent chooses among \['denoise-1', 'denoise-2'\].*\['deblur-1'\]"
    ):
        load_agent(folder, Toolbox(TOOLS[:1]))


def test_a_model_without_an_agent(tmp_path: Path, toolbox: Toolbox) -> None:
    save_toolbox(tmp_path, toolbox)
    with pytest.raises(ModelError, match="has no agent"):
        load_agent(tmp_path, toolbox)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"patch_size": 32}, "expected an agent for patches of 63 pixels, got 32; train the agent anew"),
        ({"patch_size": "63"}, "expected an agent for patches of 63 pixels, got '63'"),
        ({"max_steps": None}, "expected max_steps as a whole number, got None"),
        ({"max_steps": 0}, "expected max_steps as a whole number, got 0"),
    ],
)
def test_an_agent_of_another_size(
    folder: Path, toolbox: Toolbox, change: dict[str, object], words: str
) -> None:
    card = json.loads((folder / CARD).read_text())
    card["agent"] |= change
    (folder / CARD).write_text(json.dumps(card))
    with pytest.raises(ModelError, match=words):
        load_agent(folder, toolbox)
