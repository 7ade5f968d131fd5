"""`rlrestore import-paper`: checkpoints in, a model out that every other command takes."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from rlrestore.cli.main import main
from rlrestore.model_folder import CARD, read_agent, read_card, read_toolbox
from rlrestore.paper.importing import import_paper
from rlrestore.runtime.torch_runtime import TorchRuntime
from rlrestore.toolbox.specs import TOOL_NAMES
from tests.releases import Release


@pytest.fixture(scope="module")
def model(release: Release, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("imports") / "deep" / "model"
    assert main(["import-paper", str(release.folder), "--out", str(out)]) == 0
    return out


def test_the_model_is_the_release(model: Path, release: Release) -> None:
    assert sorted(path.name for path in model.iterdir()) == ["agent.safetensors", CARD, "toolbox.safetensors"]
    loaded, direct = TorchRuntime.load(model), import_paper(release.folder)
    for ours, theirs in zip((loaded.toolbox, loaded.policy), direct, strict=True):
        assert type(ours) is type(theirs)
        weights = theirs.state_dict()
        assert ours.state_dict().keys() == weights.keys()
        assert all(torch.equal(tensor, weights[name]) for name, tensor in ours.state_dict().items())


def test_the_card_says_what_it_is(model: Path) -> None:
    card = read_card(model)
    assert "1804.03312" in card.facts["source"]
    assert "MIT" in card.facts["licence"]
    assert "transposed" in card.facts["orientation"]
    assert card.facts["actions"] == [*TOOL_NAMES, "stop"]
    assert (card.name, card.precision) == ("paper", "float32")
    assert (read_toolbox(model)[0].family, read_agent(model)[0].family) == ("paper", "paper")


def test_the_other_commands_take_it(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photo = tmp_path / "x.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (70, 90, 3), np.uint8)).save(photo)
    assert main(["restore", str(photo), "--model", str(model), "-o", str(tmp_path / "y.png")]) == 0
    assert main(["tools", "deblur-1", str(photo), "--model", str(model), "-o", str(tmp_path / "z.png")]) == 0
    assert main(["tools", "--model", str(model)]) == 0
    assert "21,827" in capsys.readouterr().out
    with Image.open(tmp_path / "y.png") as restored:
        assert restored.size == (90, 70)


@pytest.mark.parametrize(
    ("mixture", "input_db", "restored_db"),
    [("mild", 20.0257, 24.7102), ("moderate", 20.1003, 24.7579), ("severe", 19.9163, 23.4171)],
)
def test_evaluate_prints_the_authors_means(
    reference: Path, samples: Path, tmp_path: Path, mixture: str, input_db: float, restored_db: float
) -> None:
    model, patches, scores = tmp_path / "model", tmp_path / "set.npz", tmp_path / "scores.json"
    arrays = {}
    for key, suffix in (("input", "in"), ("gt", "gt")):
        paths = sorted((samples / f"{mixture}_{suffix}").iterdir())
        arrays[key] = np.stack([np.asarray(Image.open(path)) for path in paths])
    np.savez(patches, input=arrays["input"], gt=arrays["gt"])
    assert main(["import-paper", str(reference), "--out", str(model)]) == 0
    assert main(["evaluate", "--npz", str(patches), "--model", str(model), "--json", str(scores)]) == 0
    psnr_db = json.loads(scores.read_text("utf-8"))["psnr_db"]
    assert (psnr_db[0], psnr_db[-1]) == pytest.approx((input_db, restored_db), abs=6e-5)


def test_bad_checkpoints_are_one_line_and_leave_nothing(
    release: Release, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, out = release.copy(tmp_path / "release"), tmp_path / "model"
    data = folder / "models" / "model.data-00000-of-00001"
    data.write_bytes(data.read_bytes()[:-100])
    assert main(["import-paper", str(folder), "--out", str(out)]) == 2
    error = capsys.readouterr().err
    assert "model.data-00000-of-00001 is damaged: tensor prediction/q/" in error
    assert error.count("\n") == 1
    assert not out.exists()


def test_a_folder_that_cannot_be_written(
    release: Release, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full_disk(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full_disk)
    assert main(["import-paper", str(release.folder), "--out", str(tmp_path / "model")]) == 1
    assert "(No space left on device); make room" in capsys.readouterr().err
    a_file = release.folder / "models/model.index"
    assert main(["import-paper", str(release.folder), "--out", str(a_file)]) == 2
    assert "expected a folder to write the model into" in capsys.readouterr().err
