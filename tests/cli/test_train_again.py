"""A training that is given once more: refused, resumed, or started anew."""

from pathlib import Path

import pytest

from rlrestore.cli.main import main
from rlrestore.model_folder import read_card
from rlrestore.toolbox.checkpoint import Checkpoint
from tests.toys import save_toy

OPTIONS = {
    "train-tools": ("denoise-1", ["--tools", "denoise-1"]),
    "train-agent": ("agent", ["--toolbox", "toy"]),
    "train-joint": ("joint", ["--model", "toy", "--batch", "2"]),
}
"""By command: the folder of the checkpoint, and what else is to be given."""
ROUND = 6
"""Steps of the environment in a round of the agent: two episodes of three."""


@pytest.mark.usefixtures("small_trainings")
@pytest.mark.parametrize("command", OPTIONS)
def test_a_repeated_training_is_refused_resumed_or_started_anew(
    command: str,
    photos: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    save_toy(tmp_path / "toy", [0, 1])
    name, options = OPTIONS[command]
    checkpoint = Checkpoint(tmp_path / "out" / "training" / name)

    def train(steps: int, *more: str) -> tuple[int, str]:
        """Return the exit code, and what was said."""
        budget = steps * ROUND if command == "train-agent" else steps
        arguments = ["--data", photos, "--out", "out", "--steps", str(budget), *options, *more]
        return main([command, *arguments]), capsys.readouterr().err

    def steps() -> int:
        done = int(checkpoint.progress()["steps"])
        return done // ROUND if command == "train-agent" else done

    code, said = train(1, "--resume")
    assert code == 2
    assert "nothing to resume in out/training" in said
    assert said.endswith("leave out --resume\n")
    assert not (tmp_path / "out").exists()

    assert train(2)[0] == 0
    assert steps() == 2
    card = (tmp_path / "out" / "card.json").read_bytes()
    code, said = train(3)
    assert code == 2
    (line,) = said.splitlines()
    assert f"out/training/{name} holds a training of " in line
    assert "--resume goes on with it, --restart deletes it and starts anew" in line
    assert steps() == 2
    assert (tmp_path / "out" / "card.json").read_bytes() == card

    code, said = train(3, "--resume")
    assert code == 0
    assert f"{name}: going on from step {2 * (ROUND if command == 'train-agent' else 1)}\n" in said
    assert steps() == 3
    (record,) = read_card(tmp_path / "out").training  # and none of the training that went on
    assert record["steps"] == checkpoint.progress()["steps"]

    code, said = train(1, "--restart")
    assert code == 0
    assert f"{name}: starting anew; its checkpoint is deleted\n" in said
    assert steps() == 1
    assert len(read_card(tmp_path / "out").training) == 1


@pytest.mark.usefixtures("small_trainings")
def test_a_finished_joint_training_over_its_own_model_is_not_resumed(
    photos: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = str(save_toy(tmp_path / "toy", [0, 1]))
    command = ["train-joint", "--data", photos, "--model", model, "--out", model, "--batch", "2"]
    assert main([*command, "--steps", "2", "--rate", "1e-2"]) == 0
    capsys.readouterr()
    assert main([*command, "--steps", "3", "--rate", "1e-2", "--resume"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "it is finished, and the tools that it began with are replaced; --restart" in line
    assert main([*command, "--steps", "1", "--restart"]) == 0
    assert len(read_card(Path(model)).training) == 2


@pytest.mark.parametrize("command", OPTIONS)
def test_to_resume_and_to_start_anew_exclude_each_other(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, options = OPTIONS[command]
    arguments = ["--data", "photos", "--out", str(tmp_path), "--steps", "1", *options]
    with pytest.raises(SystemExit, match="2"):
        main([command, *arguments, "--resume", "--restart"])
    assert "argument --restart: not allowed with argument --resume" in capsys.readouterr().err
