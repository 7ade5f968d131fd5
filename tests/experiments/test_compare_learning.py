"""The comparison of learners: its records, its numbers by hand, and the script on toys."""

import itertools
import json
import logging
import math
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import compare_learning
import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from experiments.learning_curves import LEARNERS, Point, Run, learning_table, on_grid, read_runs, seconds_to
from rlrestore.agent import learn, ppo
from rlrestore.agent.ppo import PpoSettings
from rlrestore.agent.training import AgentSettings
from rlrestore.errors import DataError, RlrestoreError
from rlrestore.toolbox import trainer
from tests.toys import SHIFTS, save_toy

SETUP: dict[str, Any] = {"minutes": 2.0, "toolbox": "default"}


def a_run(learner: str, seed: int, *curve: tuple[int, float, float], **other: Any) -> Run:
    """A run through points of steps, seconds and dB."""
    points = tuple(Point(*point, first_action_entropy=1.5) for point in curve)
    content: dict[str, Any] = {"setup": SETUP, "oracle_db": 3.5, "fixed_db": 2.0, "fixed_chain": ("a", "b")}
    return Run(learner, seed, curve=points, **content | other)


RUNS = (
    a_run("q", 0, (10, 30, 1.0), (20, 60, 2.0), (40, 120, 3.0)),
    a_run("q", 1, (10, 30, 1.0), (20, 60, 3.0), (60, 120, 3.2)),
    a_run("dqn", 0, (1000, 60, 0.0), (2000, 120, 3.0)),
    a_run("dqn", 1, (1000, 60, 0.5), (3000, 120, 2.0)),
    a_run("ppo", 0, (500, 90, 2.945)),
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with `RUNS`."""
    for run in RUNS:
        run.write(tmp_path / f"{run.learner}-{run.seed}.json")
    return tmp_path


def test_runs_are_read_as_they_were_written(folder: Path) -> None:
    found = read_runs(folder, SETUP)
    assert list(found) == ["q", "dqn", "ppo"]
    assert [run for of_one in found.values() for run in of_one] == list(RUNS)


def test_the_table_by_hand(folder: Path) -> None:
    """q comes to 3.1 dB; 95 % of that, 2.945, is reached at 116.7 s and 59.2 s: 1.94 and 0.99 minutes."""
    rows = [
        [cell.strip() for cell in line.split("|")[1:-1]]
        for line in learning_table(read_runs(folder, SETUP)).splitlines()
        if line.startswith("|")
    ]
    assert rows[2:] == [
        ["q", "2", "3.10 ± 0.10", "+1.10", "0.40", "50", "1.5 ± 0.5", "1.50"],
        ["dqn", "2", "2.50 ± 0.50", "+0.50", "1.00", "2,500", "reached by 1 of 2", "1.50"],
        ["ppo", "1", "2.94", "+0.94", "0.56", "500", "1.5", "1.50"],
    ]
    assert {len(row) for row in rows} == {8}


def test_without_q_nothing_is_said_of_its_return() -> None:
    table = learning_table({"dqn": [RUNS[2]]})
    assert "| dqn | 1 | 3.00 | +1.00 | 0.50 | 2,000 | – | 1.50 |" in table
    assert "Greedy oracle 3.50 dB; best fixed chain 2.00 dB (a → b). Setup: minutes 2.0" in table


@pytest.mark.parametrize(("level_db", "seconds"), [(0.5, 30.0), (1.5, 45.0), (2.0, 60.0), (3.1, math.inf)])
def test_when_a_return_is_reached(level_db: float, seconds: float) -> None:
    assert seconds_to(RUNS[0].curve, level_db) == pytest.approx(seconds)


def test_curves_are_compared_where_all_have_been_measured() -> None:
    """Halfway between 60 s and 120 s by the logarithm, at 84.9 s, the second run is at 3.1 dB."""
    late = a_run("q", 0, (20, 60, 1.0), (40, 240, 2.0))
    places, returns = on_grid([late, RUNS[1]], lambda point: point.seconds)
    assert places[[0, -1]] == pytest.approx([60, 120])
    assert returns[:, 0] == pytest.approx([1.0, 3.0])
    assert returns[:, -1] == pytest.approx([1.5, 3.2])
    assert np.interp(60 * math.sqrt(2), places, returns[1]) == pytest.approx(3.1, abs=1e-3)


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"setup": SETUP | {"minutes": 3.0}}, r"runs with minutes 2.0, got dqn of seed 9 with 3.0; give"),
        ({"oracle_db": 3.6}, r"greedy oracles of 3.50 and 3.60 dB; give this comparison another --out"),
    ],
)
def test_what_cannot_be_compared_is_refused(folder: Path, other: dict[str, Any], message: str) -> None:
    a_run("dqn", 9, (1, 1.0, 1.0), **other).write(folder / "another.json")
    with pytest.raises(DataError, match=message):
        read_runs(folder, SETUP)


@pytest.mark.parametrize(
    "content",
    ["", "[]", "{}", '{"fixed_chain": [], "curve": []}', json.dumps({"fixed_chain": [], "curve": [{}]})],
)
def test_another_file_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "x.json").write_text(content)
    with pytest.raises(
        DataError, match=r"x.json: expected a run of compare_learning.py, got .*move the file"
    ):
        read_runs(tmp_path, SETUP)


@pytest.mark.parametrize(
    ("learner", "times", "message"),
    [("sarsa", [1.0], "got 'sarsa'"), ("q", [], "growing times"), ("q", [2.0, 2.0], "growing times")],
)
def test_a_run_is_checked(learner: str, times: list[float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        a_run(learner, 0, *((1, time, 1.0) for time in times))


@pytest.fixture
def compare(
    make_photograph: Callable[..., npt.NDArray[np.uint8]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., int]:
    """The script on tiny photographs and toy tools, in small rounds; every look at the clock takes 1 s."""
    looks = itertools.count()
    clock = SimpleNamespace(monotonic=lambda: float(next(looks)))
    for module in (trainer, ppo):
        monkeypatch.setattr(module, "time", clock)
    photos = tmp_path / "photos"
    photos.mkdir()
    for seed in range(2):
        Image.fromarray(make_photograph(128, 130, seed)).save(photos / f"{seed}.png")
    tools = save_toy(tmp_path / "toy", [0])
    small = partial(AgentSettings, episodes=6, fits=2, batch=4)
    monkeypatch.setattr(compare_learning, "AgentSettings", small)
    small_ppo = partial(PpoSettings, episodes=2, rollout=3, batch=6, epochs=1)
    monkeypatch.setattr(compare_learning, "PpoSettings", small_ppo)
    monkeypatch.setattr(learn, "VALIDATION_EPISODES", 6)

    def compare(*arguments: str) -> int:
        fixed = ["--data", str(photos), "--toolbox", str(tools), "--minutes", "0.25"]
        fixed += ["--out", str(tmp_path / "runs")]
        monkeypatch.setattr(sys, "argv", ["compare_learning.py", *fixed, *arguments])
        return compare_learning.main()

    return compare


def test_all_learners_on_toys(
    compare: Callable[..., int],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    plot = tmp_path / "figures" / "learning.png"
    assert compare("--seeds", "0", "1", "--plot", str(plot)) == 0
    table = capsys.readouterr().out
    files = sorted((tmp_path / "runs").iterdir())
    assert [file.name for file in files] == sorted(
        f"{key}-{seed}.json" for key in LEARNERS for seed in (0, 1)
    )
    runs = [json.loads(file.read_text()) for file in files]
    for run in runs:
        seconds, steps = ([point[name] for point in run["curve"]] for name in ("seconds", "steps"))
        assert steps == sorted(set(steps))
        assert 0 < seconds[0] < seconds[-1] <= 15
        assert all(point["return_db"] <= run["oracle_db"] + 1e-4 for point in run["curve"])
        assert all(0 <= point["first_action_entropy"] <= math.log(4) for point in run["curve"])
        assert set(run["fixed_chain"]) <= SHIFTS.keys()
    assert len({(run["oracle_db"], run["fixed_db"]) for run in runs}) == 1
    assert all(f"| {learner.label} | 2 |" in table for learner in LEARNERS.values())
    with Image.open(plot) as picture:
        assert picture.width > 1000
        assert len(picture.convert("RGB").getcolors(2**24) or ()) > 100

    def no_run(*_: object) -> Run:
        raise AssertionError("a finished run was done again")

    monkeypatch.setattr(compare_learning.Experiment, "run", no_run)
    assert compare("--seeds", "0", "1") == 0
    assert capsys.readouterr().out == table


def test_a_run_that_fails_does_not_end_the_others(
    compare: Callable[..., int],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    def run(experiment: compare_learning.Experiment, key: str, seed: int) -> Run:
        if key == "q":
            raise RlrestoreError("the loss became nan")
        return a_run(key, seed, (1, 1.0, 1.0), setup=experiment.setup)

    monkeypatch.setattr(compare_learning.Experiment, "run", run)
    with caplog.at_level(logging.ERROR):
        assert compare("--learners", "q", "dqn", "--seeds", "0") == 1
    assert caplog.messages == ["the loss became nan"]
    assert "| dqn | 1 | 1.00 |" in capsys.readouterr().out


def test_runs_of_another_setup_are_refused_before_training(
    compare: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "runs").mkdir()
    RUNS[0].write(tmp_path / "runs" / "q-0.json")
    with pytest.raises(SystemExit, match="2"):
        compare()
    assert "give this comparison another --out" in capsys.readouterr().err


def test_matplotlib_is_asked_for_before_training(
    compare: Callable[..., int], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(SystemExit, match="2"):
        compare("--plot", "learning.png")
    assert "pip install -c constraints.txt '.[research]' in" in capsys.readouterr().err
