"""Tools on their own tasks: the numbers against those computed by hand for tools that add a constant."""

import json
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor, nn

from rlrestore.evaluation.costs import Cost
from rlrestore.evaluation.testsets import PatchPairs, generate
from rlrestore.evaluation.tools import ComparedToolbox, ToolsReport, compare_tools
from rlrestore.toolbox.specs import TOOLS, ToolSpec
from rlrestore.toolbox.toolbox import Toolbox
from tests.toys import distance_db

Pixels = npt.NDArray[np.uint8]
NOISE = ToolSpec("denoise", "noise", 10.0, 30.0, depth=3)
BLUR = ToolSpec("deblur", "blur", 1.0, 3.0, depth=3)
MIXTURE = ToolSpec("single", "mixture", 12.0, 17.0, depth=8)


class Adder(nn.Module):
    """A tool that adds a constant, and records its inputs."""

    def __init__(self, shift: float) -> None:
        super().__init__()
        self.shift = nn.Parameter(torch.tensor(shift))
        self.inputs: list[Tensor] = []

    def forward(self, images: Tensor) -> Tensor:
        """Return the images with the constant added."""
        self.inputs.append(images)
        return images + self.shift


def compared(name: str, shifts: dict[ToolSpec, float]) -> ComparedToolbox:
    return ComparedToolbox(name, Toolbox(list(shifts), "toy", [Adder(shift) for shift in shifts.values()]))


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nothing be timed: that has tests of its own."""

    def costs(toolboxes: list[Toolbox], progress: bool) -> tuple[tuple[Cost, ...], ...]:
        return tuple(
            tuple(Cost(1, 2, 3, 4.0 * (number + 1), 5) for _ in toolbox.specs)
            for number, toolbox in enumerate(toolboxes)
        )

    monkeypatch.setattr("rlrestore.evaluation.tools.measure_costs", costs)


@pytest.fixture(scope="module")
def photos(make_photograph: Callable[..., Pixels]) -> list[Pixels]:
    return [make_photograph(100, 120, seed) for seed in range(2)]


@pytest.fixture
def uniform(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every task: three patches that are 51/255 = 0.2 too dark, and one that is 0.2 too bright."""

    def patches(photos: list[Pixels], spec: ToolSpec, count: int, seed: int, grid: str) -> PatchPairs:
        degraded, clean = (
            np.stack([np.full((63, 63, 3), value, np.uint8) for value in values])
            for values in ((51, 102, 0, 153), (102, 153, 51, 102))
        )
        return PatchPairs(spec.name, degraded, clean)

    monkeypatch.setattr("rlrestore.evaluation.tools.generate", patches)


def gains_db(shift: float) -> npt.NDArray[np.float64]:
    """What a tool that adds `shift` gains on the four uniform patches."""
    dark, bright = (distance_db(abs(error + shift)) - distance_db(0.2) for error in (-0.2, 0.2))
    return np.array([dark, dark, dark, bright])


def standard_error(values: npt.NDArray[np.float64]) -> float:
    return float(values.std(ddof=1) / np.sqrt(len(values)))


@pytest.mark.usefixtures("uniform")
def test_gains_and_leads_are_those_worked_out_by_hand() -> None:
    report = compare_tools([], [compared("ours", {NOISE: 0.125}), compared("theirs", {NOISE: -0.0625})])
    (task,), ours, theirs = report.own, gains_db(0.125), gains_db(-0.0625)
    assert (task.name, task.spec, task.n) == ("denoise", NOISE, 4)
    assert task.psnr_db == pytest.approx(distance_db(0.2), abs=1e-4)
    for gain, expected in zip(task.gains, (ours, theirs), strict=True):
        assert gain.gain_db == pytest.approx(expected.mean(), abs=1e-4)
        assert gain.gain_standard_error_db == pytest.approx(standard_error(expected), abs=1e-4)
        assert gain.lead_db == pytest.approx((ours - expected).mean(), abs=1e-4)
        assert gain.lead_standard_error_db == pytest.approx(standard_error(ours - expected), abs=1e-4)
        assert not gain.oracle


@pytest.mark.usefixtures("uniform")
def test_without_a_tool_of_the_name_the_best_tool_of_each_patch_counts() -> None:
    others = {TOOLS[0]: 0.125, TOOLS[1]: -0.0625, TOOLS[2]: 0.5}
    report = compare_tools([], [compared("ours", {NOISE: 0.125}), compared("theirs", others)])
    theirs = report.own[0].gains[1]
    best = np.maximum(gains_db(0.125), gains_db(-0.0625))
    assert best[0] > best[3] > 0  # another tool for the dark patches than for the bright one
    assert theirs.gain_db == pytest.approx(best.mean(), abs=1e-4)
    assert theirs.oracle
    assert theirs.lead_db == pytest.approx((gains_db(0.125) - best).mean(), abs=1e-4)
    assert [gain.oracle for gain in report.others[0].gains] == [True, False]


def test_on_real_patches_the_gain_is_that_of_the_generated_set(photos: list[Pixels]) -> None:
    report = compare_tools(photos, [compared("ours", {NOISE: 0.05, BLUR: -0.02})], 5, seed=3, grid="aligned")
    for task, shift in zip(report.own, (0.05, -0.02), strict=True):
        assert task.spec is not None
        pairs = generate(photos, task.spec, 5, seed=3, grid="aligned")
        error = (pairs.degraded.astype(float) - pairs.clean) / 255
        before, after = (-10 * np.log10(np.mean(e**2, axis=(1, 2, 3))).mean() for e in (error, error + shift))
        assert task.psnr_db == pytest.approx(before, abs=1e-3)
        assert task.gains[0].gain_db == pytest.approx(after - before, abs=1e-3)


def test_all_models_are_given_the_same_patches(photos: list[Pixels]) -> None:
    models = [compared("a", {NOISE: 0.1}), compared("b", {NOISE: 0.2}), compared("c", {BLUR: 0.1})]
    compare_tools(photos, models, patches=70)  # more than one batch
    inputs = []
    for model in models:
        (network,) = model.toolbox.networks
        assert isinstance(network, Adder)
        inputs.append(torch.cat(network.inputs))
    assert inputs[0].shape == (140, 3, 63, 63)  # the tasks denoise and deblur
    assert all(torch.equal(inputs[0], other) for other in inputs[1:])


def test_the_same_seed_gives_the_same_numbers(photos: list[Pixels]) -> None:
    model = compared("a", {NOISE: 0.1})
    first, again, other = (compare_tools(photos, [model], 4, seed=seed) for seed in (1, 1, 2))
    assert first == again
    assert first.own != other.own


def test_jobs_are_our_tools_and_then_those_that_only_others_have(photos: list[Pixels]) -> None:
    ours = compared("ours", {NOISE: 0.1, BLUR: 0.0})
    other_range = ToolSpec("deblur", "blur", 3.0, 5.0, depth=3)
    theirs = [
        compared("a", {TOOLS[8]: 0.1, other_range: 0.2}),
        compared("b", {TOOLS[8]: 0.2, TOOLS[1]: 0.0}),
    ]
    report = compare_tools(photos, [ours, *theirs], 2)
    assert [task.spec for task in report.own] == [NOISE, BLUR]
    assert [task.spec for task in report.others] == [TOOLS[8], TOOLS[1]]
    assert [gain.oracle for gain in report.own[1].gains] == [False, False, True]


def test_the_mean_counts_each_of_our_jobs_once(photos: list[Pixels]) -> None:
    models = [compared("ours", {NOISE: 0.1, BLUR: 0.05}), compared("theirs", {NOISE: 0.0, TOOLS[8]: 0.3})]
    report = compare_tools(photos, models, 3)
    for index, mean in enumerate(report.mean.gains):
        each = [task.gains[index] for task in report.own]
        assert mean.gain_db == pytest.approx(sum(gain.gain_db for gain in each) / 2)
        assert mean.lead_db == pytest.approx(sum(gain.lead_db for gain in each) / 2)
        assert mean.lead_standard_error_db == pytest.approx(
            np.hypot(each[0].lead_standard_error_db, each[1].lead_standard_error_db) / 2
        )
    assert [gain.oracle for gain in report.mean.gains] == [False, True]
    assert report.mean.psnr_db == pytest.approx(sum(task.psnr_db for task in report.own) / 2)


def test_a_single_network_for_a_mixture_stands_beside_specialists(photos: list[Pixels]) -> None:
    specialists = compared("default", {NOISE: 0.0, BLUR: 0.01})
    report = compare_tools(photos, [specialists, compared("single", {MIXTURE: 0.0})], 4)
    assert [task.name for task in report.others] == ["single"]
    assert report.own[0].gains[1].gain_db == pytest.approx(0, abs=1e-5)
    assert 15 < report.others[0].psnr_db < 30
    mixture = next(line for line in report.table().splitlines() if "mixture 12–17" in line)
    assert mixture.split()[:2] == ["single", "mixture"]
    assert mixture.count("*") == 1


def report_of_two() -> ToolsReport:
    models = [compared("default", {NOISE: 0.125}), compared("runs/theirs", {NOISE: 0.125, BLUR: 0.125})]
    return compare_tools([], models)


@pytest.mark.usefixtures("uniform")
def test_the_table_shows_the_numbers() -> None:
    gain = f"{gains_db(0.125).mean():+.2f}"
    table = report_of_two().table()
    lines = [line.split() for line in table.splitlines()]
    assert lines[0][:6] == ["gain", "in", "dB", "on", "4", "patches"]
    assert lines[1] == ["tool", "its", "distortion", "input", "default", "theirs", "default", "−", "theirs"]
    assert lines[2] == ["denoise", "noise", "10–30", "13.98", gain, gain, "+0.00", "±", "0.00"]
    assert lines[3] == ["mean", "13.98", gain, gain, "+0.00", "±", "0.00"]
    assert lines[4] == ["deblur", "blur", "1–3", "13.98", f"{gain}*", gain, "+0.00", "±", "0.00"]
    assert lines[5][0] == "*"
    assert lines[9] == ["denoise", "1", "2", "3.000", "4.000", "5"]
    assert lines[12] == ["denoise", "1", "2", "3.000", "8.000", "5", "2.00"]
    assert lines[13] == ["deblur", "1", "2", "3.000", "8.000", "5"]
    assert table.endswith("at batch 64 default is 2.00 times as fast as theirs")


@pytest.mark.usefixtures("uniform")
def test_models_of_one_last_name_keep_their_paths() -> None:
    models = [compared(name, {NOISE: 0.1}) for name in ("a/model", "b/model")]
    assert "a/model − b/model" in compare_tools([], models).table()


@pytest.mark.usefixtures("uniform")
def test_the_report_is_plain_json() -> None:
    report = report_of_two()
    content = json.loads(json.dumps(report.to_json()))
    assert content["own"][0]["spec"]["name"] == "denoise"
    assert content["mean"]["spec"] is None
    assert content["others"][0]["gains"][0]["oracle"] is True
    assert content["costs"][1]["tools"]["deblur"]["batched_patch_ms"] == 8
    assert content["costs"][1]["speedup"] == 2
    assert content["device"] == "cpu"
