"""A model run by torch behind the interface of NumPy arrays."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import safetensors.numpy
import torch
from torch import nn

from rlrestore.agent.policy import Policy
from rlrestore.errors import ModelError, UsageError
from rlrestore.model_folder import find_model
from rlrestore.model_folder.card import ModelCard
from rlrestore.model_folder.inspector import FILE
from rlrestore.model_folder.upscaler import UPSCALER, find_upscaler, read_upscaler
from rlrestore.restorer import Restorer
from rlrestore.runtime import Runtime, load_tools
from rlrestore.runtime.torch_runtime import TorchRuntime
from rlrestore.toolbox.specs import NO_ACTION, TOOLS
from rlrestore.toolbox.toolbox import Toolbox
from tests.toys import make_model, save_single

Floats = npt.NDArray[np.float32]


def channels_last(images: Floats) -> Floats:
    """The same images in the order in which a photograph lies in memory."""
    return np.ascontiguousarray(images.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)


def test_the_agent_is_the_policy_window_by_window() -> None:
    """Two steps, the memory handed back, whatever the order of the pixels in memory."""
    torch.manual_seed(0)
    policy = Policy(2)
    model: Runtime = TorchRuntime(Toolbox(TOOLS[:2]), policy)
    windows = np.random.default_rng(0).random((2, 5, 3, 63, 63), np.float32)
    memory, hidden = model.agent.empty_memory(5), policy.initial_state(5)
    for step, last in enumerate((NO_ACTION, 1)):
        last_actions, before = np.full(5, last, np.int64), [part.copy() for part in memory]
        values, after = model.agent.values(channels_last(windows[step]), last_actions, memory)
        with torch.no_grad():
            expected, hidden = policy(torch.from_numpy(windows[step]), torch.from_numpy(last_actions), hidden)
        np.testing.assert_allclose(values, expected.numpy(), atol=1e-5)
        for part, old in zip(memory, before, strict=True):
            np.testing.assert_array_equal(part, old)
        memory = after

    assert values.shape == (5, model.agent.actions)


def test_tools_keep_their_input_and_say_their_radius(tmp_path: Path) -> None:
    model = make_model([0])
    images = channels_last(np.random.default_rng(0).random((2, 3, 20, 30), np.float32))
    before = images.copy()

    np.testing.assert_allclose(model.tools.apply(0, images), before + 0.125, atol=1e-6)
    np.testing.assert_array_equal(images, before)
    assert model.tools.names == ("brighten", "darken", "keep")
    assert model.tools.radii == tuple(map(model.toolbox.radius, range(3)))
    assert load_tools(save_single(tmp_path)).names == ("single",)


def test_an_agent_of_other_tools_is_refused() -> None:
    with pytest.raises(ModelError, match="expected an agent and a toolbox that fit, got an agent of 3 tools"):
        TorchRuntime(Toolbox(TOOLS[:2]), Policy(3))


def random_model() -> Restorer:
    torch.manual_seed(1)
    toolbox, policy = Toolbox(TOOLS[:3]), Policy(3)
    for parameter in toolbox.parameters():
        nn.init.normal_(parameter, std=0.05)
    nn.init.constant_(policy.level.bias, 5.0)
    card = ModelCard(precision="float32", facts={"about": "a test"})
    return Restorer(TorchRuntime(toolbox, policy, "random", card))


def test_a_saved_model_restores_alike(photograph: npt.NDArray[np.uint8], tmp_path: Path) -> None:
    model = random_model()
    model.save_pretrained(tmp_path / "model")
    again = Restorer.from_pretrained(tmp_path / "model", precision="float32")
    first, second = model.restore(photograph), again.restore(photograph)

    assert again.card.facts["about"] == "a test"
    assert first.trace.tools == second.trace.tools
    assert first.trace.tools != ()
    np.testing.assert_allclose(first.photo.pixels, second.photo.pixels, atol=1e-5)


def test_what_stands_beside_the_card_is_saved_too(tmp_path: Path) -> None:
    """A copy has the inspector and the upscaler of its model; one of a model without them has none."""
    copy = tmp_path / "copy"
    Restorer.from_pretrained().save_pretrained(copy)
    for name in (FILE, UPSCALER):
        ours, theirs = (safetensors.numpy.load_file(each / name) for each in (copy, find_model("default")))
        assert ours.keys() == theirs.keys()
        assert all(np.array_equal(ours[key], theirs[key]) for key in theirs)
    assert read_upscaler(copy / UPSCALER).training == read_upscaler(find_upscaler(tmp_path)).training

    random_model().save_pretrained(copy)
    assert not (copy / FILE).exists()
    assert not (copy / UPSCALER).exists()


def test_a_model_that_cannot_be_used_is_refused(tmp_path: Path) -> None:
    random_model().save_pretrained(tmp_path / "model")
    with pytest.raises(ModelError, match="no model 'nowhere': expected a model's folder or the name"):
        Restorer.from_pretrained("nowhere")
    with pytest.raises(UsageError, match="'tpu' is not available: expected one of cpu"):
        Restorer.from_pretrained(tmp_path / "model", device="tpu")
    (tmp_path / "model" / "agent.safetensors").unlink()
    with pytest.raises(ModelError, match=r"agent\.safetensors: No such file.*copy the model again"):
        Restorer.from_pretrained(tmp_path / "model")
