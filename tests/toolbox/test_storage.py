import errno
import json
import os
import pickle  # noqa: TID251  # to show that it is not looked at
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from rlrestore.errors import ModelError, RlrestoreError
from rlrestore.imaging.io.atomic import write_atomically
from rlrestore.model_folder import CARD, read_card
from rlrestore.model_folder.card import ModelCard
from rlrestore.toolbox.networks import WIDTHS
from rlrestore.toolbox.specs import TOOLS
from rlrestore.toolbox.storage import load_toolbox, load_weights, save_toolbox
from rlrestore.toolbox.toolbox import Toolbox


@pytest.fixture
def toolbox() -> Toolbox:
    return Toolbox(TOOLS[:2])


@pytest.fixture
def folder(tmp_path: Path, toolbox: Toolbox) -> Path:
    save_toolbox(tmp_path / "model", toolbox, ModelCard(precision="float32"))
    return tmp_path / "model"


def rewrite_card(folder: Path, **changes: object) -> None:
    card = json.loads((folder / CARD).read_text())
    (folder / CARD).write_text(json.dumps(card | changes))


def test_a_toolbox_comes_back_as_it_was(folder: Path, toolbox: Toolbox) -> None:
    loaded = load_toolbox(folder)
    images = torch.rand(1, 3, 20, 20)
    assert loaded.names == ("deblur-1", "deblur-2")
    assert torch.equal(loaded.apply_tool(1, images), toolbox.apply_tool(1, images))
    assert not any(parameter.requires_grad for parameter in loaded.parameters())


def test_nothing_but_the_model_is_left_in_the_folder(folder: Path) -> None:
    assert sorted(path.name for path in folder.iterdir()) == [CARD, "toolbox.safetensors"]


def test_a_missing_model(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"no model in .*: expected card.json there"):
        load_toolbox(tmp_path)


def test_a_missing_part(folder: Path) -> None:
    (folder / "toolbox.safetensors").unlink()
    with pytest.raises(ModelError, match=r"cannot read .*toolbox.safetensors: No such file"):
        load_toolbox(folder)


def test_an_altered_part(folder: Path) -> None:
    data = bytearray((folder / "toolbox.safetensors").read_bytes())
    data[-1] ^= 1
    (folder / "toolbox.safetensors").write_bytes(data)
    with pytest.raises(ModelError, match="sha256 differs"):
        load_toolbox(folder)


class Trap:
    """Leaves a file behind where it is unpickled."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.place,)


def test_a_pickle_in_a_models_folder_is_not_looked_at(folder: Path, toolbox: Toolbox, tmp_path: Path) -> None:
    for name in ("toolbox.pt", "toolbox.pth", "toolbox.pkl", "agent.pt", "pytorch_model.bin"):
        (folder / name).write_bytes(pickle.dumps(Trap(tmp_path / "sprung")))
    assert load_toolbox(folder).names == toolbox.names
    assert not (tmp_path / "sprung").exists()
    (folder / "toolbox.safetensors").write_bytes((folder / "toolbox.pt").read_bytes())
    with pytest.raises(ModelError, match="sha256 differs"):
        load_toolbox(folder)
    assert not (tmp_path / "sprung").exists()


def test_a_damaged_card(folder: Path) -> None:
    (folder / CARD).write_text("{")
    with pytest.raises(ModelError, match="is damaged: expected JSON"):
        read_card(folder)


@pytest.mark.parametrize("version", [1, None, "1", [2]])
def test_a_card_of_another_format(folder: Path, version: object) -> None:
    rewrite_card(folder, format_version=version)
    with pytest.raises(ModelError, match=r"expected format_version 2 to 3, got .* of another version of"):
        read_card(folder)


def test_a_card_of_a_newer_format(folder: Path) -> None:
    rewrite_card(folder, format_version=4)
    with pytest.raises(ModelError, match="got 4: this model is of a newer version of rlrestore: update it"):
        load_toolbox(folder)


@pytest.mark.parametrize("changes", [{"training": 3}, {"training": ["x"]}, {"pieces": {"device": "cpu"}}])
def test_a_card_whose_trainings_are_no_records(folder: Path, changes: dict[str, Any]) -> None:
    rewrite_card(folder, **changes)
    with pytest.raises(ModelError, match="expected a list of records under"):
        read_card(folder)


def test_a_card_that_describes_no_tools(folder: Path) -> None:
    entry = json.loads((folder / CARD).read_text())["toolbox"]
    rewrite_card(folder, toolbox={**entry, "tools": [{"name": "x"}]})
    with pytest.raises(ModelError, match="the toolbox entry cannot be understood"):
        load_toolbox(folder)


def test_a_card_without_tools(folder: Path) -> None:
    rewrite_card(folder, toolbox=None)
    with pytest.raises(ModelError, match="has no toolbox"):
        load_toolbox(folder)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_weight_that_is_no_number(tmp_path: Path, toolbox: Toolbox, value: float) -> None:
    with torch.no_grad():
        next(toolbox.networks[1].parameters())[0, 0, 0, 0] = value
    save_toolbox(tmp_path, toolbox)
    with pytest.raises(ModelError, match=r"the weight 1\.head\.weight holds a NaN or an infinity"):
        load_toolbox(tmp_path)


def test_a_wrong_tensor_is_named_with_both_shapes() -> None:
    with pytest.raises(ModelError, match=r"here: tensor weight: expected \(3, 2\), got \(1, 2\)"):
        load_weights(torch.nn.Linear(2, 3), {"weight": torch.zeros(1, 2), "bias": torch.zeros(3)}, "here")
    with pytest.raises(ModelError, match=r"tensor bias: expected \(3,\), got none"):
        load_weights(torch.nn.Linear(2, 3), {"weight": torch.zeros(3, 2)}, "here")
    with pytest.raises(ModelError, match=r"tensor extra: expected no such tensor, got \(1,\)"):
        load_weights(
            torch.nn.Linear(1, 1, bias=False), {"weight": torch.zeros(1, 1), "extra": torch.zeros(1)}, "here"
        )


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def full_disk(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full_disk)
    with pytest.raises(OSError, match="No space left"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_weights_are_plain_safetensors(folder: Path) -> None:
    tensors = safetensors.torch.load_file(folder / "toolbox.safetensors")
    assert tensors["0.head.weight"].shape == (*WIDTHS["hourglass"][3], 12, 3, 3)


def test_a_card_nested_without_end(folder: Path) -> None:
    (folder / CARD).write_text("[" * 100_000)
    with pytest.raises(ModelError, match="is damaged: expected JSON"):
        read_card(folder)


@pytest.mark.parametrize(
    "change",
    [
        {"name": "../x"},
        {"name": "a\nb"},
        {"name": 5},
        {"distortion": "rain"},
        {"distortion": []},
        {"low": "0"},
        {"low": -1.0},
        {"high": 444},
    ],
)
def test_absurd_tools(folder: Path, change: dict[str, object]) -> None:
    entry = json.loads((folder / CARD).read_text())["toolbox"]
    entry["tools"][0] |= change
    rewrite_card(folder, toolbox=entry)
    with pytest.raises(ModelError, match=r"the toolbox entry cannot be understood \(expected a "):
        load_toolbox(folder)


def test_a_command_with_a_name_that_is_no_text(tmp_path: Path, toolbox: Toolbox) -> None:
    command = "rlrestore train-tools --data " + b"\xff".decode(errors="surrogateescape")
    save_toolbox(tmp_path / "model", toolbox, ModelCard(training=({"command": command},)))
    assert read_card(tmp_path / "model").training[0]["command"] == command


def test_what_a_killed_process_left_behind_is_cleared(tmp_path: Path) -> None:
    abandoned, fresh = tmp_path / ".rlrestore-1.tmp", tmp_path / ".rlrestore-2.tmp"
    for path in (abandoned, fresh):
        path.write_bytes(b"half")
    os.utime(abandoned, (0, 0))
    write_atomically(tmp_path / "x.json", b"whole")
    assert {path.name for path in tmp_path.iterdir()} == {"x.json", fresh.name}


def test_a_model_is_replaced_whole_or_not_at_all(
    folder: Path, toolbox: Toolbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk is full after the weights, before the card: the old pair must still belong together."""
    before, write = {path: path.read_bytes() for path in folder.iterdir()}, Path.write_bytes

    def write_no_card(self: Path, data: bytes) -> int:
        if data.startswith(b"{"):  # the card
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(self, data)

    monkeypatch.setattr(Path, "write_bytes", write_no_card)
    with torch.no_grad():
        next(toolbox.parameters()).add_(1)
    with pytest.raises(RlrestoreError, match=r"cannot write the model into .*No space left"):
        save_toolbox(folder, toolbox)
    assert {path: path.read_bytes() for path in folder.iterdir()} == before
