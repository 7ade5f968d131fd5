"""`rlrestore evaluate`: the sources it takes, the file it writes, what it refuses."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from rlrestore.cli.main import main
from rlrestore.evaluation.policy import compare_with_oracles
from rlrestore.evaluation.testsets import generate, read_photos
from rlrestore.imaging.degradation.mixtures import MILD
from rlrestore.model_folder import weights_label
from rlrestore.runtime.torch_runtime import TorchRuntime
from rlrestore.toolbox.storage import save_toolbox
from tests.toys import make_toolbox, save_toy


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(save_toy(tmp_path_factory.mktemp("model"), [0, 1]))


def test_one_mixture_is_measured_and_written(
    model: str, photos: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "scores.json"
    options = [
        "--split",
        "moderate",
        "--patches",
        "6",
        "--seed",
        "5",
        "--grid",
        "aligned",
        "--json",
        str(file),
    ]
    assert main(["evaluate", "--data", photos, "--model", model, *options]) == 0
    assert capsys.readouterr().out.startswith("moderate, 6 images\n")
    content = json.loads(file.read_text("utf-8"))
    assert content["n"] == 6
    assert len(content["psnr_db"]) == len(content["ssim"]) == 4
    assert 10 < content["psnr_db"][0] < 40
    assert 0 < content["ssim"][0] < 1
    assert 0 < content["gmsd"][0] < 0.5
    assert content["shift_psnr_db"][0] > content["psnr_db"][0]
    assert content["actions"] == {"brighten": 6, "darken": 6, "keep": 0, "stop": 6}
    assert (content["patches"], content["seed"], content["grid"]) == (6, 5, "aligned")
    assert content["sets"]["moderate"]["psnr_db"] == content["psnr_db"]
    assert [path.name for path in tmp_path.iterdir()] == ["scores.json"]


def test_without_a_split_all_three_are_measured(
    model: str, photos: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "scores.json"
    assert main(["evaluate", "--data", photos, "--model", model, "--patches", "2", "--json", str(file)]) == 0
    content = json.loads(file.read_text("utf-8"))
    assert list(content["sets"]) == ["mild", "moderate", "severe"]
    assert content["n"] == 6
    means = [part["psnr_db"][0] for part in content["sets"].values()]
    assert content["psnr_db"][0] == pytest.approx(sum(means) / 3)
    tables = capsys.readouterr().out
    assert tables.index("mild, 2") < tables.index("moderate, 2") < tables.index("severe, 2")


def test_an_array_file_is_measured(model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.savez(
        tmp_path / "set.npz",
        input=np.full((3, 63, 63, 3), 51, np.uint8),
        gt=np.full((3, 63, 63, 3), 102, np.uint8),
    )
    file = tmp_path / "scores.json"
    assert main(["evaluate", "--npz", str(tmp_path / "set.npz"), "--model", model, "--json", str(file)]) == 0
    content = json.loads(file.read_text("utf-8"))
    assert content["n"] == 3
    expected = [-20 * np.log10(distance) for distance in (0.2, 0.075, 0.1375, 0.1375)]
    assert content["psnr_db"] == pytest.approx(expected, abs=1e-3)
    assert "set, 3 images" in capsys.readouterr().out


def test_tools_are_measured_beside_those_of_another_model(
    model: str,
    photos: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("rlrestore.evaluation.costs.ROUNDS", 1)
    monkeypatch.setattr("rlrestore.evaluation.costs.PHOTO_SIDE", 100)
    save_toolbox(tmp_path / "other", make_toolbox())  # tools without an agent
    options = ["--patches", "3", "--against", str(tmp_path / "other"), "--json", str(tmp_path / "x.json")]
    assert main(["evaluate", "--tools", "--data", photos, "--model", model, *options]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("gain in dB on 3 patches of each tool's own distortion alone")
    content = json.loads((tmp_path / "x.json").read_text("utf-8"))
    assert (content["model"], content["against"]) == (model, [str(tmp_path / "other")])
    assert (content["weights"], content["precision"]) == (weights_label(Path(model)), "float32")
    assert (content["patches"], content["seed"], content["grid"]) == (3, 0, "any")
    assert [job["name"] for job in content["own"]] == ["brighten", "darken", "keep"]
    assert set(content["own"][0]) == {"name", "spec", "n", "psnr_db", "gains"}
    assert content["own"][0]["gains"][1]["lead_db"] == 0
    assert (content["mean"]["name"], content["others"]) == ("mean", [])
    costs = content["costs"][1]
    assert set(costs) == {"model", "tools", "mean", "speedup"}
    assert list(costs["tools"]) == ["brighten", "darken", "keep"]
    network = make_toolbox().networks[0]
    assert costs["tools"]["keep"]["parameters"] == sum(part.numel() for part in network.parameters())


def test_the_agents_choices_are_measured_beside_oracles(
    model: str, photos: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = ["--patches", "5", "--seed", "3", "--grid", "aligned", "--subset", "2"]
    options = [*made, "--json", str(tmp_path / "x.json"), "--model", model]
    assert main(["evaluate", "--oracle", "--data", photos, *options]) == 0
    printed = capsys.readouterr().out
    assert printed.index("mild, 5 patches") < printed.index("moderate, 5 patches")
    assert "the first 2 patches, all 40 chains run on each" in printed
    content = json.loads((tmp_path / "x.json").read_text("utf-8"))
    settings = {name: content[name] for name in ("model", "data", "patches", "seed", "grid", "subset")}
    assert list(settings.values()) == [model, photos, 5, 3, "aligned", 2]
    assert list(content["sets"]) == ["mild", "moderate", "severe"]
    mild = content["sets"]["mild"]
    assert (mild["n"], mild["exhaustive"]["n"], mild["exhaustive"]["chains"]) == (5, 2, 40)
    assert mild["first"]["names"] == ["brighten", "darken", "keep", "stop"]
    assert [sum(column) for column in zip(*mild["first"]["confusion"], strict=True)] == [5, 0, 0, 0]
    pairs = generate(read_photos(Path(photos)), MILD, 5, 3, "aligned")
    report = compare_with_oracles(TorchRuntime.load(model), pairs, subset=2, seed=3)
    assert mild == json.loads(json.dumps(report.to_json()))
    names = [line["name"] for line in mild["policies"]]
    assert names == [
        *("agent", "agent, memory emptied", "agent without margin", "agent without stop", "random"),
        *("best fixed chain", "greedy oracle"),
    ]


def test_the_agents_choices_are_measured_on_an_array_file(
    model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Too dark by 0.2: +0.125 leaves 0.075, where the agent darkens and the oracle brightens again."""
    file = tmp_path / "set.npz"
    np.savez(file, input=np.full((3, 63, 63, 3), 51, np.uint8), gt=np.full((3, 63, 63, 3), 102, np.uint8))
    options = ["--subset", "0", "--json", str(tmp_path / "x.json"), "--model", model]
    assert main(["evaluate", "--oracle", "--npz", str(file), *options]) == 0
    assert "chains run" not in capsys.readouterr().out
    content = json.loads((tmp_path / "x.json").read_text("utf-8"))
    assert (content["npz"], content["subset"], "patches" in content) == (str(file), 0, False)
    scores = {line["name"]: line for line in content["sets"]["set"]["policies"]}
    assert scores["agent"]["gain_db"] == pytest.approx(20 * np.log10(0.2 / 0.1375), abs=1e-3)
    assert scores["greedy oracle"]["gain_db"] == pytest.approx(20 * np.log10(0.2 / 0.0125), abs=1e-2)
    assert content["sets"]["set"]["exhaustive"] is None


def test_pairs_of_files_are_measured(
    model: str, photos: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    degraded = tmp_path / "degraded"
    shutil.copytree(photos, degraded)
    assert main(["evaluate", "--pairs", str(degraded), photos, "--model", model]) == 0
    out = capsys.readouterr().out
    assert out.startswith("degraded, 2 images\n")
    assert "PSNR, dB          100.00     18.06     24.08     24.08" in out  # wrong by nothing, 1/8, 1/16
    assert "worse than the input: 100.0%, worst -75.92 dB\n" in out


def test_several_sets_of_pairs_are_measured_alone_and_together(
    model: str, photos: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for index in range(2):
        for end in ("in", "gt"):
            shutil.copy(Path(photos) / f"{index}.png", tmp_path / f"{index}_{end}.png")
    pairs = [["--pairs", str(tmp_path / f"{name}*_in"), str(tmp_path / f"{name}*_gt")] for name in ("0", "")]
    file = tmp_path / "scores.json"
    assert main(["evaluate", *pairs[0], *pairs[1], "--model", model, "--json", str(file)]) == 0
    assert [line for line in capsys.readouterr().out.splitlines() if line.endswith(("image", "images"))] == [
        "0*_in, 1 image",
        "*_in, 2 images",
    ]
    assert json.loads(file.read_text("utf-8"))["n"] == 3


def test_sets_of_pairs_have_names_of_their_own(
    model: str, photos: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for folder in ("a/in", "b/in"):
        shutil.copytree(photos, tmp_path / folder)
    pairs = [part for folder in ("a/in", "b/in") for part in ("--pairs", str(tmp_path / folder), photos)]
    assert main(["evaluate", *pairs, "--model", model]) == 2
    assert "expected pairs of different names, got 'in' twice" in capsys.readouterr().err


def test_cameras_are_a_set_that_oracles_are_measured_on(
    model: str, photos: str, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--mixture", "camera", "--patches", "4", "--subset", "0", "--model", model]
    assert main(["evaluate", "--oracle", "--data", photos, *options]) == 0
    out = capsys.readouterr().out
    assert out.startswith("camera, 4 patches of ")
    assert "greedy oracle" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "expected one of --data DIR, --pairs IN_DIR GT_DIR and --npz FILE, got none of them"),
        (["--data", "a", "--npz", "b"], "got --data and --npz"),
        (
            ["--npz", "b", "--mixture", "mild"],
            "--mixture says how test sets are made from --data; leave it out with --npz",
        ),
        (["--pairs", "a", "b", "--seed", "0"], "--seed says how"),
        (["--data", "a", "--patches", "0"], "expected --patches to be at least 1, got 0"),
        (["--data", "a", "--seed", "-1"], "expected --seed to be at least 0, got -1"),
        (
            ["--npz", "a", "--json", "no/such/folder.json"],
            "expected --json to name a file in an existing folder",
        ),
        (["--data", "no/such/folder"], "no/such/folder"),
        (["--npz", "no/such.npz"], "expected an .npz file, there is no no/such.npz"),
        (["--npz", "a", "--model", "no/such/model"], "no/such/model"),
        (["--data", "a", "--against", "b"], "--against compares tools; give --tools with it"),
        (["--tools"], "--tools makes its patches from photographs: expected --data DIR, got no source"),
        (["--tools", "--npz", "a"], "expected --data DIR, got --npz"),
        (["--tools", "--data", "a", "--pairs", "b", "c"], "expected --data DIR, got --data and --pairs"),
        (["--tools", "--data", "a", "--split", "mild"], "leave out --mixture"),
        (["--tools", "--data", "a", "--patches", "0"], "expected --patches to be at least 1, got 0"),
        (["--tools", "--data", "a", "--against", "default", "no/such/model"], "no model 'no/such/model'"),
        (["--tools", "--data", "no/such/folder"], "no/such/folder"),
        (["--oracle"], "expected one of --data DIR, --pairs IN_DIR GT_DIR and --npz FILE, got none of them"),
        (["--oracle", "--tools", "--data", "a"], "--oracle measures the agent and --tools the tools"),
        (
            ["--oracle", "--pairs", "a", "b"],
            "--oracle measures on patches: expected --data DIR or --npz FILE, got --pairs",
        ),
        (["--oracle", "--npz", "a", "--split", "mild"], "leave it out with --npz"),
        (["--oracle", "--data", "a", "--subset", "-1"], "expected --subset to be at least 0, got -1"),
        (["--oracle", "--data", "a", "--against", "b"], "--against compares tools; give --tools with it"),
        (["--data", "a", "--subset", "5"], "give --oracle with it"),
        (["--oracle", "--data", "no/such/folder"], "no/such/folder"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_2(
    arguments: list[str], message: str, model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", "--model", model, *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_an_unreadable_photograph_is_an_error_and_not_left_out(
    model: str, photos: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "photos"
    shutil.copytree(photos, folder)
    (folder / "x.png").write_text("no image")
    assert (
        main(["evaluate", "--data", str(folder), "--model", model, "--json", str(tmp_path / "scores.json")])
        == 1
    )
    assert "x.png" in capsys.readouterr().err
    assert not (tmp_path / "scores.json").exists()


def test_the_json_file_never_replaces_what_is_measured(
    model: str, photos: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    patches = np.zeros((1, 63, 63, 3), np.uint8)
    np.savez(tmp_path / "set.npz", input=patches, gt=patches)
    before = (tmp_path / "set.npz").read_bytes()
    source = str(tmp_path / "set.npz")

    assert main(["evaluate", "--npz", source, "--model", model, "--json", source]) == 2
    assert "is the input itself" in capsys.readouterr().err
    assert (tmp_path / "set.npz").read_bytes() == before
    assert main(["evaluate", "--data", photos, "--model", model, "--json", f"{photos}/0.png"]) == 2
    assert "got the name of an image" in capsys.readouterr().err
