"""`rlrestore train-tools`, `train-agent` and `train-joint`: what they write, and what they refuse."""

import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from rlrestore.agent import joint
from rlrestore.agent.joint import JointSettings
from rlrestore.cli.main import main
from rlrestore.cli.training_records import tool_records, without_superseded
from rlrestore.model_folder import read_card
from rlrestore.model_folder.card import ModelCard
from rlrestore.restorer import Restorer
from rlrestore.runtime.torch_runtime import TorchRuntime
from rlrestore.toolbox.checkpoint import Checkpoint
from rlrestore.toolbox.report import ToolReport
from rlrestore.toolbox.specs import TOOL_NAMES
from rlrestore.toolbox.storage import load_toolbox
from tests.toys import save_toy

pytestmark = pytest.mark.usefixtures("small_trainings")


def spent(record: Mapping[str, Any]) -> tuple[str, str, int]:
    """The device, the precision and the steps that a card says of a training."""
    assert isinstance(record["minutes"], float)
    assert record["minutes"] >= 0
    return record["device"], record["precision"], record["steps"]


def test_tools_are_trained_and_recorded_in_the_card(
    photos: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "model"
    command = ["train-tools", "--data", photos, "--out", str(out), "--tools", "denoise-1,denoise-2"]
    assert main([*command, "--steps", "2"]) == 0
    assert load_toolbox(out).names == TOOL_NAMES
    (record,) = read_card(out).training
    assert spent(record) == ("cpu", "float32", 4)
    assert (record["stage"], record["seed"]) == ("tools", 0)
    assert [network["network"] for network in record["networks"]] == ["denoise-1", "denoise-2"]
    assert [network["steps"] for network in record["networks"]] == [2, 2]
    assert "denoise-1  alone" in capsys.readouterr().err


def test_tools_move_as_far_as_the_rate_says(photos: str, tmp_path: Path) -> None:
    """The last layer begins at zero, so in one step it comes to be a multiple of the rate."""
    layers = {}
    for rate in ("1e-3", "2e-3", None):
        out = tmp_path / str(rate)
        options = [] if rate is None else ["--rate", rate]
        command = ["train-tools", "--data", photos, "--tools", "denoise-1", "--out", str(out)]
        assert main([*command, "--steps", "2", *options]) == 0  # of which the first warms up, at 0
        toolbox = load_toolbox(out)
        layers[rate] = list(toolbox.networks[toolbox.names.index("denoise-1")].parameters())[-2]
    unit = layers["1e-3"]
    assert unit.abs().max() > 0
    for rate, times in (("2e-3", 2), (None, 3)):
        torch.testing.assert_close(layers[rate], times * unit, atol=1e-6, rtol=2e-3)  # float16 on disk


def test_tools_that_gain_too_little_are_said_to(
    photos: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """By what an agent asks of a tool, 0.1 dB, alone or among others; whatever the steps were."""
    command = ["train-tools", "--data", photos, "--steps", "1", "--out", str(tmp_path)]
    assert main([*command, "--tools", "denoise-1,denoise-2"]) == 0  # the first step is taken at a rate of 0
    (note,) = (line for line in capsys.readouterr().err.splitlines() if "note" in line)
    assert "denoise-1, denoise-2: a gain below 0.1 dB after step 1, too little" in note
    assert "--resume with --steps above 1 trains on" in note
    monkeypatch.setattr(
        ToolReport, "gain_db", property(lambda report: 0.11 - 0.02 * (report.name[-1] == "2"))
    )
    assert main([*command, "--restart", "--tools", "denoise-1,denoise-2"]) == 0
    (note,) = (line for line in capsys.readouterr().err.splitlines() if "note" in line)
    assert "note: denoise-2: a gain" in note


def test_the_gain_of_a_tool_is_the_greater_of_alone_and_among_others() -> None:
    assert ToolReport("it", 1, 1.0, (30.0, 29.0), (20.0, 20.5)).gain_db == 0.5
    assert ToolReport("it", 1, 1.0, (30.0, 31.0), (20.0, 20.5)).gain_db == 1.0


def test_a_card_has_the_trainings_of_the_tools_that_it_began_with(photos: str, tmp_path: Path) -> None:
    command = ["train-tools", "--data", photos, "--steps", "1", "--tools"]
    assert main([*command, "denoise-2,denoise-1", "--out", str(tmp_path / "a")]) == 0
    assert main([*command, "denoise-1", "--start", str(tmp_path / "a"), "--out", str(tmp_path / "b")]) == 0
    first, second = read_card(tmp_path / "b").training
    assert [network["network"] for network in first["networks"]] == ["denoise-1", "denoise-2"]
    assert [network["network"] for network in second["networks"]] == ["denoise-1"]


@pytest.mark.parametrize(("algo", "steps"), [("q", {6}), ("dqn", {2, 3, 4, 5, 6}), ("ppo", {4})])
def test_an_agent_is_trained_into_a_model_that_restores(
    photos: str, tmp_path: Path, algo: str, steps: set[int]
) -> None:
    tools, out = save_toy(tmp_path / "tools", [0, 1]), tmp_path / "model"
    change_card(tools, "", scores="of another agent", training=[{"stage": "tools"}, {"stage": "agent"}])
    command = ["train-agent", "--data", photos, "--toolbox", str(tools), "--out", str(out), "--steps", "1"]
    assert main([*command, "--algo", algo]) == 0
    card = read_card(out)
    assert [record["stage"] for record in card.training] == ["tools", "agent"]
    device, precision, done = spent(card.training[1])
    assert (device, precision) == ("cpu", "float32")
    assert done in steps  # of two episodes, which dqn may end early
    assert "policy_db" in card.training[1]["validation"]
    assert "scores" not in card.facts
    assert card.values_in_db == (algo != "ppo")
    pixels = np.full((70, 80, 3), 0.5, np.float32)
    taken = Restorer.from_pretrained(out).restore(pixels).trace.steps
    assert [step.expected_gain_db is None for step in taken] == [algo == "ppo"] * len(taken)
    assert taken


def test_an_agent_begins_where_another_stands(photos: str, tmp_path: Path) -> None:
    tools, out = save_toy(tmp_path / "tools", [0, 1]), tmp_path / "model"
    change_card(tools, "", training=[{"stage": "tools"}, {"stage": "agent", "seed": 7}])
    command = ["train-agent", "--data", photos, "--toolbox", str(tools), "--out", str(out), "--steps", "1"]
    assert main([*command, "--start", str(tools), "--rate", "1e-9"]) == 0
    assert [record.get("seed") for record in read_card(out).training] == [None, 7, 0]
    before, after = (dict(TorchRuntime.load(folder).policy.named_parameters()) for folder in (tools, out))
    assert all(torch.allclose(before[name], after[name], atol=1e-6) for name in before)


def test_tools_and_agent_are_trained_together_into_a_model_that_restores(
    photos: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, out = save_toy(tmp_path / "toy", [0, 1]), tmp_path / "model"
    command = ["train-joint", "--data", photos, "--model", str(model), "--out", str(out), "--steps", "2"]
    assert main([*command, "--batch", "3", "--piece", "2", "--rate", "1e-2"]) == 0
    assert "return" in capsys.readouterr().err
    (record,) = read_card(out).training
    assert record["stage"] == "joint"
    assert spent(record) == ("cpu", "float32", 2)
    before, after = (load_toolbox(folder).state_dict() for folder in (model, out))
    assert not all(torch.equal(before[name], after[name]) for name in before)
    pixels = np.full((70, 80, 3), 0.5, np.float32)
    assert len(Restorer.from_pretrained(out).restore(pixels).trace.steps) > 0


def test_the_tools_can_be_blended_and_the_agent_left_as_it_is(
    photos: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(joint, "JointSettings", partial(JointSettings, agent_every=2))  # but at the end
    model = save_toy(tmp_path / "toy", [0, 1])
    command = ["train-joint", "--data", photos, "--model", str(model), "--steps", "2", "--batch", "2"]
    assert main([*command, "--rate", "1e-2", "--out", str(tmp_path / "trained")]) == 0
    options = ["--rate", "1e-2", "--blend", "0.25", "--keep-agent"]
    assert main([*command, *options, "--out", str(tmp_path / "blended")]) == 0
    before, trained, blended = (
        load_toolbox(folder).state_dict() for folder in (model, tmp_path / "trained", tmp_path / "blended")
    )
    for name, weight in blended.items():
        expected = 0.75 * before[name] + 0.25 * trained[name]
        torch.testing.assert_close(weight, expected, atol=1e-4, rtol=1e-3)  # as float16 on disk
    begun, followed, frozen = (
        TorchRuntime.load(folder).policy.state_dict().values()
        for folder in (model, tmp_path / "trained", tmp_path / "blended")
    )
    assert all(map(torch.equal, begun, frozen))
    assert not all(map(torch.equal, begun, followed))


@pytest.mark.parametrize("own", ["0", "2"])
def test_patches_of_their_own_range_train_tools_that_no_chain_uses(
    photos: str, tmp_path: Path, own: str
) -> None:
    """The agent stops at once: a tool changes where it restores patches of its own, and only there."""
    model, out = save_toy(tmp_path / "toy", []), tmp_path / "model"
    command = ["train-joint", "--data", photos, "--model", str(model), "--out", str(out), "--steps", "3"]
    options = ["--planned", "0", "--exploration", "0", "--keep-agent", "--batch", "2", "--rate", "1e-2"]
    assert main([*command, *options, "--own", own]) == 0
    assert Checkpoint(out / "training" / "joint").progress()["about"]["own"] == int(own)
    before, after = (load_toolbox(folder) for folder in (model, out))
    for old, new in zip(before.networks, after.networks, strict=True):
        assert all(map(torch.equal, old.parameters(), new.parameters())) == (own == "0")


@pytest.mark.parametrize("algo", ["q", "dqn", "ppo"])
def test_an_agent_is_rewarded_by_the_measure_that_is_asked_for(
    photos: str, tmp_path: Path, algo: str, capsys: pytest.CaptureFixture[str]
) -> None:
    tools, out = save_toy(tmp_path / "tools", [0, 1]), tmp_path / "model"
    command = ["train-agent", "--data", photos, "--toolbox", str(tools), "--out", str(out), "--algo", algo]
    assert main([*command, "--steps", "1", "--reward", "salient-psnr"]) == 0
    assert read_card(out).training[-1]["reward"] == "salient-psnr"
    if algo != "ppo":  # which writes no checkpoints
        about = Checkpoint(out / "training" / "agent").progress()["about"]
        assert about["reward"] == "salient-psnr"
        capsys.readouterr()
        assert main([*command, "--steps", "9", "--resume"]) == 2
        assert "reward" in capsys.readouterr().err


@pytest.mark.parametrize("reward", ["psnr", "salient-psnr", "ssim"])
def test_tools_are_trained_by_the_error_of_the_reward(photos: str, tmp_path: Path, reward: str) -> None:
    """The same patches and chains move the tools elsewhere."""
    model = save_toy(tmp_path / "toy", [0, 1])
    options = ["--steps", "3", "--batch", "2", "--rate", "1e-2", "--keep-agent"]
    weights = []
    for name in ("psnr", reward):
        out = tmp_path / f"by-{name}"
        command = ["train-joint", "--data", photos, "--model", str(model), "--out", str(out), *options]
        assert main([*command, "--restart", "--reward", name]) == 0
        assert read_card(out).training[-1]["reward"] == name
        weights.append(load_toolbox(out).state_dict())
    same = all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    assert same == (reward == "psnr")


def change_card(folder: Path, part: str, **changes: object) -> None:
    card = json.loads((folder / "card.json").read_text("utf-8"))
    (card[part] if part else card).update(changes)
    (folder / "card.json").write_text(json.dumps(card), "utf-8")


@pytest.mark.parametrize(
    ("part", "change", "words"),
    [
        ("", {"format_version": 1}, "expected format_version 2 to 3, got 1"),
        (
            "agent",
            {"tools": ["brighten"], "start_margins_db": [0.0]},
            "the agent chooses among ['brighten'], the toolbox holds",
        ),
        ("agent", {"patch_size": 32}, "expected an agent for patches of 63 pixels, got 32"),
    ],
)
def test_tools_and_agent_that_do_not_fit_are_not_trained_together(
    photos: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    part: str,
    change: dict[str, object],
    words: str,
) -> None:
    model, out = save_toy(tmp_path / "toy", [0, 1]), tmp_path / "model"
    change_card(model, part, **change)
    command = ["train-joint", "--data", photos, "--model", str(model), "--out", str(out), "--steps", "1"]
    assert main(command) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert words in line
    assert not (out / "card.json").exists()


def test_a_card_without_trainings_is_no_obstacle() -> None:
    assert tool_records(ModelCard()) == ()


def test_the_record_of_a_training_that_goes_on_is_replaced() -> None:
    def trained(**seconds: int) -> dict[str, Any]:
        networks = [{"network": name, "steps": each, "seconds": each} for name, each in seconds.items()]
        total = sum(seconds.values())
        return {"stage": "tools", "minutes": total / 60, "steps": total, "networks": networks}

    joint = {"stage": "joint", "minutes": 3}
    first, both, other = trained(a=60), trained(a=120, b=60), trained(b=60)
    assert without_superseded([first, joint, both], {"a"}, anew=False) == (first, joint, other)
    assert without_superseded([first, joint, both], {"a"}, anew=True) == (joint, other)
    assert without_superseded([first, joint, both], {"a", "b"}, anew=False) == (first, joint)
    assert without_superseded([first, both], {"c"}, anew=True) == (first, both)


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["train-tools", "--tools", "sharpen"], 2, "unknown tool 'sharpen': expected one of deblur-1"),
        (["train-tools", "--device", "tpu"], 2, "device 'tpu' is not available"),
        (["train-tools", "--out", "file/model"], 2, "expected a folder to write the model into"),
        (["train-agent", "--toolbox", "nowhere"], 2, "no model 'nowhere': expected a model's folder"),
        (["train-agent", "--toolbox", "tools", "--out", "file"], 2, "cannot be written (File exists)"),
        (["train-agent", "--toolbox", "tools", "--algo", "ppo", "--resume"], 2, "--resume does not go with"),
        (["train-agent", "--toolbox", "tools", "--algo", "ppo", "--rate", "1"], 2, "--rate does not go with"),
        (
            ["train-agent", "--toolbox", "tools", "--algo", "ppo", "--start", "x"],
            2,
            "--start does not go with --algo ppo",
        ),
        (["train-agent", "--toolbox", "tools", "--start", "nowhere"], 2, "expected a model"),
        (["train-agent", "--toolbox", "tools", "--start", "default"], 2, "train the agent on this toolbox"),
        (["train-tools", "--start", "tools", "--tools", "denoise-1"], 2, "no tool denoise-1"),
        (["train-joint", "--model", "nowhere"], 2, "no model 'nowhere': expected a model's folder"),
        (["train-joint", "--model", "tools", "--device", "tpu"], 2, "device 'tpu' is not available"),
        (["train-joint", "--model", "tools", "--out", "file"], 2, "cannot be written (File exists)"),
    ],
)
def test_what_cannot_be_trained(
    photos: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    code: int,
    words: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("in the way")
    save_toy(tmp_path / "tools", [0, 1])
    before = sorted(tmp_path.rglob("*"))

    command, *options = arguments
    assert main([command, "--data", photos, "--steps", "1", "--out", "model", *options]) == code
    (line,) = capsys.readouterr().err.splitlines()
    assert words in line
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("command", ["train-tools", "train-agent", "train-joint"])
def test_a_folder_without_photographs_is_refused(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    option = {"train-tools": [], "train-agent": ["--toolbox"], "train-joint": ["--model"]}[command]
    tools = [*option, str(save_toy(tmp_path / "tools", [0, 1]))] if option else []
    (tmp_path / "empty").mkdir()
    arguments = ["--data", str(tmp_path / "empty"), "--out", str(tmp_path / "model"), "--steps", "1"]
    assert main([command, *arguments, *tools]) == 2
    assert "expected photographs" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["train-agent", "--tools", "default"], "--tools is called --toolbox now"),
        (["train-agent", "--damage", "any"], "--damage is called --mixture now"),
        (["train-joint", "--damage", "any"], "--damage is called --mixture now"),
    ],
)
def test_a_renamed_option_says_what_it_is_called_now(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(arguments)
    assert words in capsys.readouterr().err
