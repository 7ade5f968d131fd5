"""What lies in a model's folder, as records and arrays."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from rlrestore.agent.policy import POLICIES
from rlrestore.errors import ModelError
from rlrestore.model_folder import (
    CARD,
    add_facts,
    find_model,
    has_model,
    read_agent,
    read_card,
    read_toolbox,
    shipped_models,
    weights_label,
)
from rlrestore.model_folder.card import AGENT_FAMILIES, AGENT_SIZES, ModelCard
from rlrestore.toolbox.custom import add_tool, custom_spec, register
from rlrestore.toolbox.storage import load_toolbox, save_toolbox
from tests.toys import make_toolbox, save_toy


def test_figures_name_weights_by_how_their_checksums_begin(tmp_path: Path) -> None:
    folder = save_toy(tmp_path / "toy", [0])
    digests = [hashlib.sha256((folder / f"{part}.safetensors").read_bytes()) for part in ("toolbox", "agent")]
    assert weights_label(folder) == "/".join(digest.hexdigest()[:7] for digest in digests)


def test_a_model_is_found_by_its_name_or_its_folder(tmp_path: Path) -> None:
    assert "default" in shipped_models()
    assert has_model(find_model("default"))
    assert find_model(tmp_path) == tmp_path
    assert not has_model(tmp_path)
    for name in ("nowhere", "", "a" * 5000):
        with pytest.raises(ModelError, match="expected a model's folder or the name of a shipped model"):
            find_model(name)


@pytest.mark.parametrize("name", shipped_models())
def test_the_shipped_models_are_records_and_arrays(name: str) -> None:
    (tools, weights), (agent, _) = read_toolbox(find_model(name)), read_agent(find_model(name))

    assert len(tools.tools) == 12
    assert agent.tools == tuple(spec.name for spec in tools.tools)
    assert agent.family in AGENT_FAMILIES
    assert tuple(agent.sizes) == AGENT_SIZES
    assert 0 < agent.stop_margin_db < 0.2
    assert agent.stop_margin_db <= min(agent.start_margins_db) <= max(agent.start_margins_db) < 2
    assert {array.dtype for array in weights.values()} == {np.dtype(np.float32)}  # float16 on disk
    assert read_card(find_model(name)).training


def test_the_families_of_agents_are_those_that_there_are() -> None:
    assert set(AGENT_FAMILIES) == set(POLICIES)


def test_a_card_without_a_stop_margin_is_refused(tmp_path: Path) -> None:
    folder = save_toy(tmp_path, [0])
    card = json.loads((folder / CARD).read_text("utf-8"))
    card["agent"]["caution_db"] = card["agent"].pop("stop_margin_db")  # as in version 2
    (folder / CARD).write_text(json.dumps(card), "utf-8")
    with pytest.raises(ModelError, match="expected stop_margin_db as a number from 0, got None"):
        read_agent(folder)


def test_a_card_comes_back_as_it_was_written(tmp_path: Path) -> None:
    card = ModelCard(
        "a name",
        "float32",
        training=({"stage": "tools"},),
        pieces=({"device": "cpu"},),
        values_in_db=False,
        facts={"about": "a test", "data": [1, 2]},
    )
    save_toolbox(tmp_path, make_toolbox(), card)
    assert read_card(tmp_path) == card
    before = {path.name: path.read_bytes() for path in tmp_path.glob("*.safetensors")}
    add_facts(tmp_path, {"scores": {"n": 3}})
    assert read_card(tmp_path).facts == {**card.facts, "scores": {"n": 3}}
    assert {path.name: path.read_bytes() for path in tmp_path.glob("*.safetensors")} == before


class Mixed(nn.Module):
    """A custom tool with weights of types that NumPy lacks or that have no dimension."""

    def __init__(self) -> None:
        super().__init__()
        self.amount = nn.Parameter(torch.tensor([0.3]).bfloat16())
        self.register_buffer("steps", torch.tensor(7))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images * self.amount.float()


def test_a_custom_tool_keeps_weights_of_any_type(tmp_path: Path) -> None:
    register("mixed", Mixed)
    save_toolbox(tmp_path, add_tool(make_toolbox(), custom_spec("mixed-1", "mixed", 0)))
    weights = load_toolbox(tmp_path).networks[3].state_dict()

    assert torch.equal(weights["amount"], torch.tensor([0.3]).bfloat16())
    assert torch.equal(weights["steps"], torch.tensor(7))
