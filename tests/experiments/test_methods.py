"""The compared methods: their results on patches and photographs, their costs, and which are left out."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch

from experiments.methods import (
    AUTHORS,
    NLM,
    PAPER,
    Method,
    agent_method,
    load_methods,
    network_method,
    non_local_means,
    training_lines,
)
from rlrestore.agent.policy import Policy, PolicySizes
from rlrestore.agent.storage import save_model
from rlrestore.errors import UsageError
from rlrestore.evaluation.scores import STOPPED
from rlrestore.model_folder.card import ModelCard
from tests.toys import SHIFTS, make_model, make_single, make_toolbox, save_single, save_toy

TOY = 64 * 64 * 12_672
"""Multiply-adds of a toy's tool on a patch: a `fast` network of 3 layers on 64×64 pixels."""


def test_a_model_follows_its_chain_on_patches_and_photographs() -> None:
    toy = agent_method(make_model([0, 1]), "toy")
    rollout = toy.restore_patches(torch.full((2, 3, 63, 63), 0.5))
    assert rollout.images.mean(dim=(2, 3, 4))[:, 0].tolist() == pytest.approx([0.5, 0.625, 0.5625, 0.5625])
    assert rollout.actions.tolist() == [[0, 1, 3]] * 2
    steps = [
        (float(image.mean()), action) for image, action in toy.photo_chain(torch.full((1, 3, 80, 90), 0.5))
    ]
    assert steps == [(pytest.approx(0.625), 0), (pytest.approx(0.5625), 1), (pytest.approx(0.5625), 3)]
    assert (toy.steps, toy.profile.action_names) == (3, ("brighten", "darken", "keep", "stop"))


def test_a_single_network_is_applied_once() -> None:
    single = network_method(make_single(), "single", ModelCard())
    rollout = single.restore_patches(torch.full((2, 3, 63, 63), 0.5))
    assert rollout.images.mean(dim=(2, 3, 4))[:, 0].tolist() == pytest.approx([0.5, 0.625])
    assert rollout.actions.tolist() == [[0], [0]]
    ((image, action),) = single.photo_chain(torch.full((1, 3, 80, 90), 0.5))
    assert (float(image.mean()), action) == (pytest.approx(0.625), 0)
    assert (single.steps, single.profile.has_agent) == (1, False)


def test_non_local_means_smooths_noise_and_keeps_colours() -> None:
    clean = torch.tensor([0.8, 0.4, 0.2]).view(1, 3, 1, 1).expand(1, 3, 63, 63)
    noise = 0.05 * torch.randn(clean.shape, generator=torch.Generator().manual_seed(0))
    noisy = ((clean + noise) * 255).round() / 255
    nlm = non_local_means(torch.device("cpu"))
    rollout = nlm.restore_patches(noisy)
    ((image, action),) = nlm.photo_chain(noisy)
    assert torch.equal(rollout.images[0], noisy)
    assert torch.equal(rollout.images[1], image)
    assert (rollout.actions.tolist(), action) == ([[0]], 0)
    assert float((image - clean).std()) < 0.3 * float(noise.std())


@pytest.mark.parametrize(
    "method",
    [
        agent_method(make_model([0]), "toy"),
        network_method(make_single(), "single", ModelCard()),
        non_local_means(torch.device("cpu")),
    ],
    ids=lambda method: method.name,
)
def test_a_photograph_is_restored_in_memory(method: Method) -> None:
    assert method.restore_photo(np.full((70, 80, 3), 100, np.uint8)) is not None


SCALES = ((63, 5), (31, 2), (15, 1))
"""Sides of a patch at the agent's scales, and the strides of its blocks."""


def products(side: int, lines: int) -> int:
    """Multiply-adds of a matrix applied to the rows and to the columns of a plane."""
    return side * side * lines + lines * 8 * lines


def test_costs_are_counted_as_worked_out_by_hand() -> None:
    profile = agent_method(make_model([0, 1]), "toy").profile
    actions = torch.tensor([[0, 1, 3], [0, 3, STOPPED], [0, 1, 2]])
    assert profile.tool_multiply_adds == (TOY,) * 3
    assert profile.tool_costs(actions).tolist() == [[TOY, TOY, 0], [TOY, 0, 0], [TOY] * 3]
    assert profile.agent_costs(actions).tolist() == [
        steps * profile.agent_multiply_adds for steps in (3, 2, 3)
    ]
    tool = 3 * 3 * 12 * 64 + 64 + 3 * 3 * 64 * 64 + 64 + 3 * 3 * 64 * 12 + 12
    assert profile.tool_parameters == len(SHIFTS) * tool
    # Halving takes sums alone.
    spectrum = sum(products(side, ((side - 8) // stride + 1) * 8) for side, stride in SCALES)
    sizes = PolicySizes()
    trunk = 3 * 3 * 3 * 64 * sizes.hidden + sizes.hidden * sizes.features
    memory = 4 * sizes.memory * (sizes.features + 4 + sizes.memory)
    once = 3 * spectrum + trunk + memory + sizes.memory * (3 + 1)
    assert profile.agent_multiply_adds == pytest.approx(once + 3 * 3 * 63 * 63)  # colours
    assert non_local_means(torch.device("cpu")).profile.tool_multiply_adds == ()


def test_all_methods_come_in_the_order_of_the_tables(tmp_path: Path) -> None:
    folders = {name: str(save_toy(tmp_path / name, [0])) for name in ("a", "b", "c", "theirs", "paper")}
    singles = [str(save_single(tmp_path / name)) for name in ("one", "two")]
    ours = [folders[name] for name in "abc"]
    methods = load_methods(ours, folders["theirs"], folders["paper"], singles)
    names = [method.name for method in methods.methods]
    assert names == [AUTHORS, PAPER, "a", "b", "c", "one", "two", NLM]
    assert methods.left_out == ()
    assert methods.singles == {"a": "one", "b": "two", "c": "two"}


def test_a_method_that_is_missing_or_does_not_fit_is_left_out_by_name_and_reason(tmp_path: Path) -> None:
    toolbox = make_toolbox()
    save_model(tmp_path / "small", toolbox, Policy(3))
    card = tmp_path / "small" / "card.json"
    card.write_text(card.read_text("utf-8").replace('"patch_size": 63', '"patch_size": 32'), "utf-8")
    toy, apart = str(save_toy(tmp_path / "toy", [0])), str(save_single(tmp_path / "apart"))
    (tmp_path / "empty").mkdir()
    methods = load_methods(
        [toy, str(tmp_path / "gone"), str(tmp_path / "small"), apart],
        authors=str(tmp_path / "empty"),
        singles=[str(save_toy(tmp_path / "three", [0])), str(tmp_path / "none")],
    )
    assert [method.name for method in methods.methods] == ["toy", NLM]
    assert methods.singles == {}
    reasons = dict(sentence.split(": ", maxsplit=1) for sentence in methods.left_out)
    assert list(reasons) == [AUTHORS, PAPER, "gone", "small", "apart", "three", "none"]
    assert reasons[AUTHORS].startswith("no model in empty: expected card.json there")
    assert reasons[PAPER] == "no --paper was given"
    assert reasons["gone"].startswith("no model 'gone': expected a model's folder")
    assert "expected an agent for patches of 63 pixels, got 32" in reasons["small"]
    assert "has no agent" in reasons["apart"]
    assert reasons["three"] == "expected a toolbox of one tool, got brighten, darken, keep"


def test_without_any_model_there_is_nothing_to_compare(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"at least one model in --models that can be read; .*'gone'"):
        load_methods([str(tmp_path / "gone")])
    toy = str(save_toy(tmp_path / "toy", [0]))
    with pytest.raises(UsageError, match="nowhere"):
        load_methods([toy], device="nowhere")
    with pytest.raises(UsageError, match="expected other folders in --singles than in --models"):
        load_methods([toy], singles=[toy])


def test_a_toolbox_of_several_tools_is_no_single_network() -> None:
    with pytest.raises(UsageError, match="a toolbox of one tool, got brighten, darken, keep"):
        network_method(make_toolbox(), "three", ModelCard())


def test_a_card_lists_data_trainings_and_their_time() -> None:
    command = "python scripts/train_release.py --data /some/where/photos/ --out ../runs/model --hours 2"
    card = ModelCard(
        training=(
            {"stage": "tools", "part": "base-3", "minutes": 9.6, "command": command},
            {"stage": "agent", "command": command},
            {"stage": "tools", "networks": [{"seconds": 90}, {"seconds": 150}], "command": "other"},
        ),
        pieces=({"device": "cuda"}, {"device": "cpu"}),
        facts={"data": "415 photographs"},
    )
    assert training_lines(card) == (
        "415 photographs",
        "base-3 10 minutes, agent: `python scripts/train_release.py --data photos/ --out model --hours 2`",
        "tools 4 minutes: `other`",
        "run in 2 pieces, on cuda, cpu",
    )
    assert training_lines(ModelCard()) == ()


def test_photographs_of_any_size_pass(make_photograph: Callable[..., npt.NDArray[np.uint8]]) -> None:
    smoothed = non_local_means(torch.device("cpu")).restore_photo(make_photograph(70, 91))
    assert isinstance(smoothed, np.ndarray)
    assert (smoothed.shape, smoothed.dtype) == ((70, 91, 3), np.uint8)
