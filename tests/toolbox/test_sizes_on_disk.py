"""What a card says of its networks' widths and of the precision of its weights, held to the weights."""

import json
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import nn

from rlrestore.errors import ModelError
from rlrestore.model_folder import CARD, read_card
from rlrestore.model_folder.card import ModelCard
from rlrestore.toolbox.specs import TOOLS
from rlrestore.toolbox.storage import load_toolbox, save_toolbox
from rlrestore.toolbox.toolbox import Toolbox


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_toolbox(tmp_path / "model", Toolbox(TOOLS[:2]))
    return tmp_path / "model"


def rewrite_card(folder: Path, **changes: object) -> None:
    card = json.loads((folder / CARD).read_text())
    (folder / CARD).write_text(json.dumps(card | changes))


@pytest.mark.parametrize("precision", ["float8", 16, ["float16"], None])
def test_a_card_of_an_unknown_precision(folder: Path, precision: object) -> None:
    rewrite_card(folder, precision=precision)
    with pytest.raises(ModelError, match="expected precision float16 or float32, got"):
        read_card(folder)


def test_widths_are_the_cards(tmp_path: Path) -> None:
    """A model made before the default widths changed still loads."""
    widths = {3: (20,), 8: (24, 40)}
    save_toolbox(tmp_path, Toolbox(TOOLS[1:3], widths=widths))
    loaded = load_toolbox(tmp_path)
    assert (loaded.family, loaded.widths) == ("hourglass", widths)
    assert loaded.networks[1].state_dict()["down.weight"].shape == (40, 24, 3, 3)


@pytest.mark.parametrize("widths", [{"3": [63]}, {"3": []}, {"3": [64, 64]}, {}])
def test_widths_that_do_not_fit_the_weights_are_refused(folder: Path, widths: dict[str, list[int]]) -> None:
    entry = json.loads((folder / CARD).read_text())["toolbox"]
    rewrite_card(folder, toolbox={**entry, "widths": widths})
    wrong = r"expected 1 widths of a hourglass network of 3 layers, got \["
    shape = (
        r"toolbox.safetensors does not fit the sizes in its card.json: tensor 0.head.bias: expected \(63,\)"
    )
    with pytest.raises(ModelError, match=shape if widths == {"3": [63]} else wrong):
        load_toolbox(folder)


def test_weights_lie_on_disk_in_float16(tmp_path: Path) -> None:
    """They come back as float32, rounded to float16; what float16 cannot hold is written as it is."""
    toolbox = Toolbox(TOOLS[2:4])
    with torch.no_grad():
        for parameter in toolbox.parameters():
            nn.init.normal_(parameter)
        large = toolbox.networks[1].get_parameter("tail.bias")
        large[0] = 1e6
    save_toolbox(tmp_path, toolbox)
    written = safetensors.torch.load_file(tmp_path / "toolbox.safetensors")
    assert read_card(tmp_path).precision == "float16"
    assert {name for name, each in written.items() if each.dtype != torch.float16} == {"1.tail.bias"}
    loaded = load_toolbox(tmp_path)
    for name, weight in toolbox.networks.state_dict().items():
        expected = weight if name == "1.tail.bias" else weight.half().float()
        assert torch.equal(loaded.networks.state_dict()[name], expected)
        assert loaded.networks.state_dict()[name].dtype == torch.float32
    save_toolbox(tmp_path, toolbox, ModelCard(precision="float32"))
    assert all(
        each.dtype == torch.float32
        for each in safetensors.torch.load_file(tmp_path / "toolbox.safetensors").values()
    )


@pytest.mark.parametrize("width", [0, -4, 20_000, float("inf")])
def test_absurd_widths(folder: Path, width: float) -> None:
    entry = json.loads((folder / CARD).read_text())["toolbox"]
    rewrite_card(folder, toolbox={**entry, "widths": {"3": [width]}})
    with pytest.raises(ModelError, match="the toolbox entry cannot be understood"):
        load_toolbox(folder)
