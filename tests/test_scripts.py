"""The scripts behind the numbers in the docs run, on toys."""

import itertools
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import safetensors.numpy
import torch
from PIL import Image

from rlrestore.agent import learn
from rlrestore.agent.training import AgentSettings, AgentTraining
from rlrestore.model_folder import read_card
from rlrestore.restorer import Restorer
from rlrestore.toolbox.checkpoint import Checkpoint
from rlrestore.toolbox.storage import load_toolbox
from rlrestore.toolbox.trainer import Budget, Trainer, Watch
from tests.toys import save_toy


@pytest.fixture(scope="module")
def photos(
    make_photograph: Callable[..., npt.NDArray[np.uint8]], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    for seed in range(2):
        Image.fromarray(make_photograph(136, 140, seed)).save(folder / f"{seed}.png")
    return folder


PARTS = ["base-3", "base-8", "planned", "agent", "joint", "agent-again"]
"""Of a release."""
SPENT = {"device", "minutes", "steps", "precision"}
"""What a card says of every training."""
Run = Callable[..., int]


@pytest.fixture
def run(run_script: Run) -> Run:
    """The fixture of the same kind for all tests, by a short name."""
    return run_script


def test_rollouts_are_measured_with_an_agent_and_shared_patches(
    run: Run, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The toy's agent applies its first tool, and stops in every second step."""
    toy, out = save_toy(tmp_path / "toy", [0]), tmp_path / "out.json"
    options = ["--sizes=40", "--seconds=0.01", "--threads=1", "--agent", "--episodes-per-pair=8"]
    files = ["--data", str(photos), "--model", str(toy), "--json", str(out)]
    assert run("bench_rollouts.py", "--device=cpu", *options, *files) == 0
    (report,) = json.loads(out.read_text())
    for row in report["rows"]:
        assert 0.3 < row["multiply_adds_per_s"] / row["steps_per_s"] / (12_672 * 63 * 63) < 0.7
    assert "the agent chooses; 8 episodes a degraded patch" in capsys.readouterr().out


def test_rollouts_are_measured_beside_a_loop_and_a_matrix_product(
    run: Run,
    photos: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """By a clock of which every look takes 1 s, so that as many steps are taken on any machine."""
    looks = itertools.count()
    monkeypatch.setattr("experiments.part_clock.now", lambda _: float(next(looks)))
    toy, out = save_toy(tmp_path / "toy", [0]), tmp_path / "out.json"
    options = ["--sizes", "1,40", "--seconds", "40", "--threads", "1", "--device", "cpu"]
    files = ["--data", str(photos), "--model", str(toy), "--json", str(out)]
    assert run("bench_rollouts.py", *options, *files) == 0
    (report,) = json.loads(out.read_text())
    rates, rows = report["matrix_rates_per_s"], report["rows"]
    assert {(row["episodes"], row["precision"]) for row in rows} == set(itertools.product((1, 40), rates))
    for row in rows:
        assert row["times_the_loop"] == pytest.approx(row["steps_per_s"] / report["loop_steps_per_s"])
        assert set(row["shares"]) == {"tools", "agent", "new episodes", "patches", "rest"}
        assert all(0 < share < 1 for share in row["shares"].values())
        assert sum(row["shares"].values()) == pytest.approx(1, abs=0.05)
        # Every fourth action stops; a toy tool is a `fast` one of 3 layers, 12,672 multiply-adds a pixel.
        per_step = row["multiply_adds_per_s"] / row["steps_per_s"]
        assert per_step == pytest.approx(0.75 * 12_672 * 63 * 63, rel=0.8 if row["episodes"] == 1 else 0.2)
        ratio = row["multiply_adds_per_s"] / rates[row["precision"]]
        assert row["roofline_ratio"] == pytest.approx(ratio)
    printed = capsys.readouterr().out
    assert all(f"{row['episodes']:8d} {row['precision']}" in printed for row in rows)


def test_a_folder_is_timed_beside_the_bare_networks(
    run: Run, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_toy(tmp_path / "toy", [0, 1])
    arguments = ["--data", str(photos), "--model", str(tmp_path / "toy"), "--count", "3", "--rounds", "1"]
    assert run("bench_folder.py", *arguments, "--threads", "1") == 0
    said = capsys.readouterr().out
    assert said.startswith("3 photographs of 256×256, 2.00 tools each, a second:\n")
    (whole,) = map(float, re.findall(r"([\d.]+) by the command", said))
    bare = re.findall(r"([\d.]+) by (.*) alone, one photograph after another: (\d+)%", said)
    assert [what for _, what, _ in bare] == ["the tools", "tools and agent"]
    shares = dict(re.findall(r"(\w+) (\d+)%", said.splitlines()[-1]))
    assert [*shares] == ["tools", "agent", "reading", "writing", "rest"]
    assert sum(map(int, shares.values())) == pytest.approx(100, abs=3)
    for rate, _, share in bare:
        rounded = 0.5 + int(share) * 0.006 * (1 / whole + 1 / float(rate))  # from 0.005 and less
        assert int(share) == pytest.approx(100 * whole / float(rate), abs=rounded)


def test_joint_training_is_timed_beside_a_matrix_product(
    run: Run, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(learn, "JOINT_EPISODES", AgentSettings(episodes=2, fits=1, batch=2))
    toy, out = save_toy(tmp_path / "toy", [0, 1]), tmp_path / "out.json"
    options = ["--batch", "2", "--own", "1", "--agent-every", "1", "--seconds", "0.01", "--threads", "1"]
    files = ["--data", str(photos), "--model", str(toy), "--json", str(out)]
    assert run("bench_training.py", *options, *files) == 0
    report = json.loads(out.read_text())
    assert report["steps"] >= 1
    assert report["chains_per_s"] > 0
    assert report["share_of_matrix_rate"] > 0
    assert sum(report["shares_of_a_step"].values()) == pytest.approx(1)
    assert report["shares_of_a_step"]["convolution"] > 0


def test_the_single_network_is_a_toolbox_of_one_that_goes_on(
    run: Run, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two steps, the second one resumed; another one begins with it and is trained on all mixtures."""
    first, second = str(tmp_path / "first"), str(tmp_path / "second")
    for steps in ("1", "2"):
        assert run("train_single.py", "--data", str(photos), "--out", first, "--steps", steps) == 0
        assert f" {steps} steps" in capsys.readouterr().out
    (spec,) = load_toolbox(Path(first)).specs
    assert (spec.name, spec.distortion, spec.low, spec.high, spec.depth) == ("single", "mixture", 12, 17, 8)
    options = ["--start", first, "--mixture", "any", "--steps", "1"]
    assert run("train_single.py", "--data", str(photos), "--out", second, *options) == 0
    records = read_card(Path(second)).training
    assert [(record["mixture"], record["steps"]) for record in records] == [("paper", 2), ("any", 1)]
    assert all(record.keys() >= SPENT for record in records)


def test_runtimes_are_compared(
    run: Run, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, other = save_toy(tmp_path / "one", [0, 1]), save_toy(tmp_path / "other", [1])
    quick = ["--count=1", "--rounds=1", "--threads=1", "--side=64", f"--model={model}", f"--beside={other}"]
    assert run("bench_runtimes.py", "--image", str(photos / "0.png"), "--data", str(photos), *quick) == 0
    rows = {line.split(" | ")[0]: line.split(" | ")[1:] for line in capsys.readouterr().out.splitlines()}
    assert {"| torch float32", "| torch bfloat16", "| onnxruntime", f"| {other}"} <= rows.keys()
    for name in ("| torch bfloat16", "| onnxruntime"):
        tools, seconds, _, levels, others = rows[name]
        assert (tools, float(seconds) > 0) == ("2", True)
        assert (int(levels) <= 1, others) == (True, "0 of 3 |")
    assert run("bench_runtimes.py", "--image", str(photos / "0.png"), *quick[1:], "--torch") == 0
    assert "onnxruntime" not in capsys.readouterr().out


@pytest.mark.usefixtures("small_trainings")
def test_a_release_is_trained_part_by_part_and_goes_on(
    run: Run, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """All parts from nothing; the same once more, which has nothing left to do; then on from the result."""
    first, second = tmp_path / "first", tmp_path / "second"
    common = ["--data", str(photos), "--minutes", "0.006", "--batch", "4", "--own", "1"]
    cards = []
    for _ in range(2):
        assert run("train_release.py", *common, "--out", str(first), "--mixture", "paper") == 0
        cards.append(read_card(first))
    assert [record["part"] for record in cards[0].training] == PARTS
    assert {record["mixture"] for record in cards[0].training} == {"paper"}
    assert all(record.keys() >= SPENT for record in cards[0].training)
    for done, again in zip(*(card.training for card in cards), strict=True):
        assert done["steps"] == again["steps"] > 0
    assert [len(card.pieces) for card in cards] == [1, 2]

    assert run("train_release.py", *common, "--out", str(first), "--start", str(first)) == 2
    assert "is the model to begin with: choose another --out" in capsys.readouterr().err
    common += ["--start", str(first), "--widths", "33", "106"]
    assert run("train_release.py", *common, "--out", str(second)) == 0
    again = read_card(second)
    assert load_toolbox(second).widths == {3: (64,), 8: (33, 106)}
    assert [record["part"] for record in again.training] == [*PARTS, "joint", "agent-again"]
    assert again.training[-1]["mixture"] == "any"
    assert again.name == "second"
    assert len(Restorer.from_pretrained(second).restore(str(photos / "0.png")).trace.steps) > 0


@pytest.mark.usefixtures("small_trainings")
@pytest.mark.parametrize("cut", ["planned", "agent"])
def test_a_release_that_is_cut_goes_on_from_what_travels(
    run: Run,
    photos: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    cut: str,
) -> None:
    """Cut within a part, packed, and taken to another machine, where the parts before are not repeated."""
    here, there, packed = tmp_path / "here", tmp_path / "there", tmp_path / "packed"
    options = [
        "--data",
        str(photos),
        "--minutes",
        "0.006",
        "--batch",
        "4",
        "--own",
        "1",
        "--pack",
        str(packed),
    ]
    trained: list[str] = []
    run_whole = Trainer.run

    def run_or_cut(trainer: Trainer, budget: Budget, watch: Watch | None = None) -> None:
        trained.append(trainer.checkpoint.folder.relative_to(here.parent).parts[2])
        run_whole(trainer, budget, watch)
        if trained[-1] == cut and trainer.checkpoint.folder.is_relative_to(here):
            raise KeyboardInterrupt

    monkeypatch.setattr(Trainer, "run", run_or_cut)
    assert run("train_release.py", *options, "--out", str(here)) == 130
    assert trained == {"planned": PARTS[:3], "agent": PARTS[:4]}[cut]
    files = [path for path in packed.rglob("*") if path.is_file()]
    assert len(files) <= 7
    assert sum(path.stat().st_size for path in files) <= 20_000_000

    assert run("train_release.py", *options, "--out", str(here), "--start", "default") == 2
    assert "is of a training that began without --start" in capsys.readouterr().err
    steps = read_steps(packed, cut)
    trained.clear()
    shutil.copytree(packed, there / "training")
    assert run("train_release.py", *options, "--out", str(there)) == 0
    assert trained == PARTS[PARTS.index(cut) :]
    card = read_card(there)
    assert [record["part"] for record in card.training] == PARTS
    assert len(card.pieces) == 2
    assert card.training[PARTS.index(cut)]["steps"] >= steps > 0


@pytest.mark.parametrize("place", ["out/training", "out", "notes"])
def test_a_pack_deletes_nothing_but_an_earlier_pack(
    run: Run, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], place: str
) -> None:
    kept = tmp_path / place / "kept.txt"
    kept.parent.mkdir(parents=True)
    kept.write_text("mine")
    options = ["--data", str(photos), "--minutes", "1", "--out", str(tmp_path / "out")]
    assert run("train_release.py", *options, "--pack", str(tmp_path / place)) == 2
    assert "as --pack" in (err := capsys.readouterr().err) or "expected --pack outside of" in err
    assert kept.read_text() == "mine"


def read_steps(packed: Path, part: str) -> int:
    """How far the packed checkpoint of a part had come."""
    (weights,) = (packed / part).rglob("weights.safetensors")
    return int(Checkpoint(weights.parent).progress()["steps"])


def test_real_noise_is_set_beside_simulated_noise(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pairs, photos, out = (tmp_path / name for name in ("pairs", "photos", "docs"))
    for folder in (pairs, photos):
        folder.mkdir()
    rng, grey = np.random.default_rng(0), np.full((128, 128, 3), 120, np.uint8)
    for number in range(2):
        Image.fromarray(grey).save(pairs / f"Toy_{number}_mean.png")
        noisy = (grey + rng.normal(0, 5, grey.shape)).astype(np.uint8)
        Image.fromarray(noisy).save(pairs / f"Toy_{number}_real.png")
        Image.fromarray(grey).save(photos / f"{number}.png")
    arguments = ["--data", str(pairs), "--photos", str(photos), "--out", str(out)]
    assert run("camera_noise.py", *arguments) == 0
    rows = [line.split(" | ")[:2] for line in capsys.readouterr().out.splitlines()]
    assert [row for row in rows if row[-1] == "2"] == [
        ["| Toy", "2"],
        ["| camera", "2"],
        ["| white noise", "2"],
    ]
    with Image.open(out / "camera_noise.png") as picture:
        assert picture.width > 500


def test_pairs_of_every_kind_are_timed(run: Run, photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--data", str(photos), "--size", "16", "--batch", "2", "--rounds", "1"]
    assert run("bench_pairs.py", *arguments) == 0
    found = re.findall(r"^(.*): ([\d.]+) ms a patch of 16×16$", capsys.readouterr().out, re.MULTILINE)
    times = {name: float(milliseconds) for name, milliseconds in found}
    assert list(times)[:4] == ["protocol", "film", "old print", "camera, all scales"]
    assert list(times)[-4:] == [f"camera, scaled down by {scale}" for scale in ("1", "1.5", "2", "3")]
    assert min(times.values()) > 0


def test_contact_sheets_show_before_and_after(
    run: Run, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    toys = [str(save_toy(tmp_path / name, chain)) for name, chain in (("one", [0]), ("none", []))]
    sheets = tmp_path / "sheets"
    options = ["--data", str(photos), "--out", str(sheets), "--side", "100", "--rows", "1"]
    assert run("contact_sheet.py", *options, "--models", *toys) == 0
    rows = [line.split(" | ") for line in capsys.readouterr().out.splitlines()[2:]]
    assert [(row[0], row[1].split()[0], row[2]) for row in rows] == [
        ("| 0", "brighten", "left alone"),
        ("| 1", "brighten", "left alone"),
    ]
    assert sorted(path.name for path in sheets.iterdir()) == ["sheet_01.png", "sheet_02.png"]
    with Image.open(sheets / "sheet_01.png") as sheet:
        pixels = np.asarray(sheet).astype(int)
    middle, (first, second, third) = pixels.shape[0] - 24 - 50, (24 + 50, 140 + 50, 256 + 50)
    assert (pixels[middle, third] == pixels[middle, first]).all()
    assert pixels[middle, second].mean() - pixels[middle, first].mean() == pytest.approx(32, abs=1)


def test_an_agent_becomes_the_mean_of_its_rounds(
    run: Run,
    photos: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A round that adds 1 to every weight: after three of them the mean is 2 more; the tools stay."""
    filled = list[int]()

    def step(training: AgentTraining, moment: object) -> dict[str, torch.Tensor]:
        assert training.buffer is not None
        filled.append(len(training.buffer))
        with torch.no_grad():
            for weight in training.policy.parameters():
                weight.add_(1)
        return {}

    monkeypatch.setattr(AgentTraining, "step", step)
    toy, out = save_toy(tmp_path / "toy", [0]), tmp_path / "out"
    options = ["--data", str(photos), "--start", str(toy), "--rounds", "3", "--mixture", "mild"]
    assert run("average_agent.py", *options, "--out", str(out)) == 0
    before, after = (safetensors.numpy.load_file(folder / "agent.safetensors") for folder in (toy, out))
    for name in ("level.weight", "memory.bias_hh", "trunk.hidden.bias"):
        np.testing.assert_allclose(after[name], before[name] + 2, atol=1e-2)  # float16 on disk
    assert (toy / "toolbox.safetensors").read_bytes() == (out / "toolbox.safetensors").read_bytes()
    assert filled == [12 * 128] * 3
    record = read_card(out).training[-1]
    assert (record["part"], record["mixture"]) == ("agent-averaged", "mild")
    assert run("average_agent.py", *options, "--out", str(toy)) == 2
    assert "is the model to begin with: choose another --out" in capsys.readouterr().err
