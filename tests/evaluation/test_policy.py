"""An agent beside oracles: every number against one worked out by hand on patches of one error each."""

import json
from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from math import log

import numpy as np
import pytest
import torch
from torch import Tensor

from rlrestore.agent.policy import Hidden, PaperPolicy
from rlrestore.errors import UsageError
from rlrestore.evaluation.oracle_report import OracleReport, PolicyScore
from rlrestore.evaluation.policy import compare_with_oracles
from rlrestore.evaluation.scores import measure_patches, summarise
from rlrestore.evaluation.testsets import PatchPairs
from rlrestore.runtime.torch_runtime import TorchRuntime
from rlrestore.toolbox.specs import NO_ACTION, TOOLS, ToolSpec
from rlrestore.toolbox.toolbox import Toolbox
from tests.toys import Adder, distance_db

SHIFT = 24 / 255 - 0.0005
"""Takes an error of 12/255 to one that is 0.09 dB better: too little to count as a stop too early."""
DOWN, UP, STOP = range(3)
PATCHES = {
    (153, 102): (DOWN, STOP),  # stops too early
    (102, 51): (DOWN, DOWN, DOWN),  # its third tool is too late
    (209, 204): (STOP,),  # right
    (158, 153): (UP, STOP),  # should have stopped at once, and then stops too early
    (37, 25): (STOP,),  # 0.09 dB forgone: right enough
}
"""Levels of each patch, degraded and clean, and what the agent does."""


class Planned(PaperPolicy):
    """Follows a plan for each level that it observes at its first step, and stops at any other."""

    def __init__(self, tools: int, plans: dict[int, tuple[int, ...]], max_steps: int) -> None:
        super().__init__(tools, max_steps=max_steps)
        self.plans = plans

    def forward(self, images: Tensor, last_action: Tensor, hidden: Hidden) -> tuple[Tensor, Hidden]:
        """Value the planned action at 1 or, if it is a tool, at least above stop, and the others at -1."""
        steps, level = hidden[0][:, 0], (images.mean(dim=(1, 2, 3)) * 255).round()
        level = torch.where(last_action == NO_ACTION, level, hidden[0][:, 1])
        values = torch.full((len(images), self.tools + 1), -1.0)
        values[:, -1] = 0
        for row, (step, first) in enumerate(zip(steps.tolist(), level.tolist(), strict=True)):
            action = (*self.plans.get(int(first), ()), *[self.tools] * self.max_steps)[int(step)]
            if action < self.tools:
                values[row, action] = 1
        return values, (torch.stack((steps + 1, level), dim=1), hidden[1])


def make_model(
    shifts: Sequence[float], plans: dict[int, tuple[int, ...]], max_steps: int = 3
) -> TorchRuntime:
    toolbox = Toolbox(TOOLS[: len(shifts)], "toy", [Adder(shift) for shift in shifts])
    return TorchRuntime(toolbox, Planned(len(shifts), plans, max_steps), "toy")


def patches(levels: Sequence[tuple[int, int]]) -> PatchPairs:
    degraded, clean = (
        np.stack([np.full((63, 63, 3), level, np.uint8) for level in side])
        for side in zip(*levels, strict=True)
    )
    return PatchPairs("levels", degraded, clean)


def planned() -> tuple[TorchRuntime, PatchPairs]:
    plans = {degraded: plan for (degraded, _), plan in PATCHES.items()}
    return make_model([-SHIFT, SHIFT], plans), patches(list(PATCHES))


@pytest.fixture(scope="module")
def report() -> OracleReport:
    return compare_with_oracles(*planned(), subset=5)


def lead_db(error: float, other: float) -> float:
    """By how much a patch of the other error is better."""
    return distance_db(other) - distance_db(error)


def score(scores: Sequence[PolicyScore], name: str) -> PolicyScore:
    return next(score for score in scores if score.name == name)


FIFTH = 51 / 255
SMALL = 5 / 255
MIDDLE = 12 / 255
AGENT_DB = (
    lead_db(FIFTH, FIFTH - SHIFT),
    lead_db(FIFTH, FIFTH - 3 * SHIFT),
    0.0,
    lead_db(SMALL, SMALL + SHIFT),
    0.0,
)
GREEDY_DB = (*[lead_db(FIFTH, FIFTH - 2 * SHIFT)] * 2, 0.0, 0.0, lead_db(MIDDLE, MIDDLE - SHIFT))


def test_gain_regret_harm_and_steps_of_the_agent(report: OracleReport) -> None:
    agent = score(report.policies, "agent")
    regret_db = np.subtract(GREEDY_DB, AGENT_DB)
    assert agent.gain_db == pytest.approx(np.mean(AGENT_DB), abs=1e-3)
    assert agent.gain_standard_error_db == pytest.approx(np.std(AGENT_DB, ddof=1) / 5**0.5, abs=1e-3)
    assert agent.regret_db == pytest.approx(regret_db.mean(), abs=1e-3)
    assert agent.regret_standard_error_db == pytest.approx(regret_db.std(ddof=1) / 5**0.5, abs=1e-3)
    assert agent.worse_share == 1 / 5
    assert agent.mean_steps == (1 + 3 + 0 + 1 + 0) / 5
    before_db = [lead_db(1, (degraded - clean) / 255) for degraded, clean in PATCHES]
    assert report.psnr_db == pytest.approx(np.mean(before_db), abs=1e-3)


def test_the_greedy_oracle_never_harms(report: OracleReport) -> None:
    greedy = score(report.policies, "greedy oracle")
    assert greedy.gain_db == pytest.approx(np.mean(GREEDY_DB), abs=1e-3)
    assert (greedy.regret_db, greedy.regret_standard_error_db, greedy.worse_share) == (0, 0, 0)
    assert greedy.mean_steps == (2 + 2 + 0 + 0 + 1) / 5


def test_without_memory_and_without_stop_the_agent_is_another(report: OracleReport) -> None:
    """Emptied, it knows no level but those at the input; without stop it goes on with the first tool."""
    emptied = score(report.policies, "agent, memory emptied")
    assert emptied.mean_steps == (1 + 1 + 0 + 1 + 0) / 5
    by_hand = [AGENT_DB[0], AGENT_DB[0], 0, AGENT_DB[3], 0]
    assert emptied.gain_db == pytest.approx(np.mean(by_hand), abs=1e-3)

    unstopped = score(report.policies, "agent without stop")
    assert unstopped.mean_steps == 3
    ends = [(FIFTH, -3), (FIFTH, -3), (SMALL, -3), (SMALL, -1), (MIDDLE, -3)]
    by_hand = [lead_db(error, error + times * SHIFT) for error, times in ends]
    assert unstopped.gain_db == pytest.approx(np.mean(by_hand), abs=1e-3)


def test_the_fixed_chain_and_the_agents_lead_over_it(report: OracleReport) -> None:
    errors = (FIFTH, FIFTH, SMALL, SMALL, MIDDLE)
    assert report.fixed_chain == ()  # down gains 5.5 dB twice and 0.1 dB once, and loses 11.5 dB twice
    assert sum(lead_db(error, error - SHIFT) for error in errors) < 0
    assert score(report.policies, "best fixed chain").mean_steps == 0
    assert report.fixed_lead_db == pytest.approx(np.mean(AGENT_DB), abs=1e-3)


def test_each_step_stands_beside_the_best_action_there(report: OracleReport) -> None:
    """First step: all five are active; second: three, of which one goes on; third: that one, which loses."""
    assert [step.active_share for step in report.steps] == [1, 3 / 5, 1 / 5]
    assert [step.losing_share for step in report.steps] == [1 / 5, 0, 1]
    down, again = lead_db(FIFTH, FIFTH - SHIFT), lead_db(FIFTH - SHIFT, FIFTH - 2 * SHIFT)
    up = lead_db(SMALL, SMALL + SHIFT)
    third = lead_db(FIFTH - 2 * SHIFT, FIFTH - 3 * SHIFT)
    agent = [(2 * down + up) / 5, again / 3, third]
    best = [(2 * down + lead_db(MIDDLE, MIDDLE - SHIFT)) / 5, (2 * again - up) / 3, 0]
    assert [step.gain_db for step in report.steps] == pytest.approx(agent, abs=1e-2)
    assert [step.best_db for step in report.steps] == pytest.approx(best, abs=1e-2)


def test_stops_too_early_and_too_late_are_counted(report: OracleReport) -> None:
    stops = report.stops
    assert stops.early_margin_db == 0.1
    assert 0.05 < lead_db(MIDDLE, MIDDLE - SHIFT) < 0.1
    assert stops.early_share == 2 / 5
    forgone = [lead_db(FIFTH - SHIFT, FIFTH - 2 * SHIFT), lead_db(SMALL + SHIFT, SMALL)]
    assert stops.early_forgone_db == pytest.approx(np.mean(forgone), abs=1e-2)
    assert stops.late_share == 2 / 5
    lost = [lead_db(FIFTH - 3 * SHIFT, FIFTH - 2 * SHIFT), lead_db(SMALL + SHIFT, SMALL)]
    assert stops.late_lost_db == pytest.approx(np.mean(lost), abs=1e-2)
    assert (stops.stop_right_share, stops.stop_right_found_share) == (2 / 5, 1 / 2)


def test_what_is_lost_by_going_on_counts_to_the_end_of_the_chain() -> None:
    """Up from where nothing gains, and down again: nothing is lost, though the agent was too late."""
    model = make_model([-SHIFT, SHIFT], {158: (UP, DOWN, STOP)})
    stops = compare_with_oracles(model, patches([(158, 153)]), subset=0).stops
    assert (stops.late_share, stops.early_share) == (1, 0)
    assert stops.late_lost_db == pytest.approx(0, abs=1e-3)


def test_every_patch_that_stops_too_early_counts_once() -> None:
    """One stops at once and one after a step; what they forgo differs."""
    model = make_model([-SHIFT], {153: (1,), 102: (0, 1)})
    stops = compare_with_oracles(model, patches([(153, 102), (102, 51)]), subset=0).stops
    forgone = [lead_db(FIFTH, FIFTH - SHIFT), lead_db(FIFTH - SHIFT, FIFTH - 2 * SHIFT)]
    assert stops.early_share == 1
    assert stops.early_forgone_db == pytest.approx(np.mean(forgone), abs=1e-2)


def test_a_tool_is_too_late_however_little_it_loses() -> None:
    """From 12/255 to a little more than that on the other side."""
    shift = 2 * MIDDLE + 0.0005
    stops = compare_with_oracles(make_model([-shift], {37: (0, 1)}), patches([(37, 25)]), subset=0).stops
    assert (stops.late_share, stops.stop_right_share, stops.stop_right_found_share) == (1, 1, 0)
    assert 0.05 < stops.late_lost_db < 0.1


def test_an_agent_without_faults_has_none() -> None:
    model = make_model([-SHIFT, SHIFT], {153: (DOWN, DOWN, STOP)})
    report = compare_with_oracles(model, patches([(153, 102)]), subset=1)
    stops = report.stops
    assert (stops.early_share, stops.early_forgone_db, stops.late_share, stops.late_lost_db) == (0, 0, 0, 0)
    assert (stops.stop_right_share, stops.stop_right_found_share) == (0, None)
    assert score(report.policies, "agent").regret_db == pytest.approx(0, abs=1e-4)
    assert (report.first.agreement, report.first.lost_db) == (1, 0)


def test_the_last_step_is_no_stop() -> None:
    """Where the agent may not go on it has not stopped too early, though a tool would gain."""
    model = make_model([-SHIFT, SHIFT], {153: (DOWN,)}, max_steps=1)
    assert compare_with_oracles(model, patches([(153, 102)]), subset=0).stops.early_share == 0


def test_the_first_choice_against_the_best_one(report: OracleReport) -> None:
    first = report.first
    assert first.names == ("deblur-1", "deblur-2", "stop")
    assert first.confusion == ((2, 0, 1), (0, 0, 0), (0, 1, 1))  # rows: the best
    assert first.agreement == 3 / 5
    lost = lead_db(SMALL + SHIFT, SMALL) + lead_db(MIDDLE, MIDDLE - SHIFT)
    assert first.lost_db == pytest.approx(lost / 5, abs=1e-3)
    assert first.entropy_nats == pytest.approx(0.8 * log(5 / 2) + 0.2 * log(5))
    assert first.best_entropy_nats == pytest.approx(0.6 * log(5 / 3) + 0.4 * log(5 / 2))


def test_the_exhaustive_oracle_plans_ahead_on_the_first_patches_alone() -> None:
    """From 0.2 the greedy oracle goes to 0.02 and stops; two steps of 0.105 lead to -0.01."""
    shifts, errors = (-0.18, -0.105), (FIFTH, FIFTH, -FIFTH)
    levels = [(153, 102), (102, 51), (51, 102), (200, 100), (100, 200)]
    report = compare_with_oracles(make_model(shifts, {153: (0,)}, max_steps=2), patches(levels), subset=3)
    every = report.exhaustive
    assert every is not None
    assert (every.n, every.chains) == (3, 7)
    assert [line.name for line in every.policies] == [
        *("agent", "best fixed chain", "greedy oracle", "exhaustive oracle")
    ]
    greedy, best = (score(every.policies, f"{name} oracle") for name in ("greedy", "exhaustive"))
    assert greedy.gain_db == pytest.approx(2 / 3 * lead_db(0.2, 0.02), abs=1e-3)
    assert best.gain_db == pytest.approx(2 / 3 * lead_db(0.2, 0.01), abs=1e-2)
    assert best.regret_db == pytest.approx(greedy.gain_db - best.gain_db)
    assert (greedy.mean_steps, best.mean_steps) == (2 / 3, 4 / 3)
    assert score(every.policies, "agent").gain_db == pytest.approx(lead_db(0.2, 0.02) / 3, abs=1e-3)

    means = {
        chain: np.mean([lead_db(error, error + sum(shifts[tool] for tool in chain)) for error in errors])
        for length in range(3)
        for chain in product(range(2), repeat=length)
    }
    chain = max(means, key=lambda chain: means[chain])
    assert every.fixed_chain == tuple(TOOLS[tool].name for tool in chain)
    fixed = score(every.policies, "best fixed chain")
    assert fixed.gain_db == pytest.approx(means[chain], abs=1e-2)
    assert fixed.mean_steps == len(chain)


def test_the_agent_gains_what_evaluate_says() -> None:
    model, pairs = planned()
    plain = summarise(measure_patches(model, pairs))
    agent = score(compare_with_oracles(model, pairs, subset=0).policies, "agent")
    assert agent.gain_db == pytest.approx(plain.gain_db, abs=1e-5)
    assert (agent.worse_share, agent.gain_standard_error_db) == (
        plain.worse_share,
        pytest.approx(plain.gain_standard_error_db, abs=1e-5),
    )


def test_batches_change_no_number(report: OracleReport, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rlrestore.evaluation.policy.BATCH", 2)
    again = compare_with_oracles(*planned(), subset=5)
    assert [line.name for line in again.policies] == [line.name for line in report.policies]
    assert replace(again, policies=()) == replace(report, policies=())
    for line, other in zip(again.policies, report.policies, strict=True):
        assert line == other or line.name == "random"


def test_the_seed_sets_the_random_choices() -> None:
    model, pairs = planned()
    first, again, other = (
        score(compare_with_oracles(model, pairs, subset=0, seed=seed).policies, "random")
        for seed in (1, 1, 2)
    )
    assert first == again
    assert first.gain_db != other.gain_db


def test_absurdly_many_chains_are_refused_before_anything_is_measured() -> None:
    specs = [ToolSpec(f"tool-{index}", "noise", 0.0, 50.0, depth=3) for index in range(28)]
    toolbox = Toolbox(specs, "toy", [Adder(0.0) for _ in specs])
    model = TorchRuntime(toolbox, Planned(28, {}, 3), "many")
    with pytest.raises(UsageError, match=r"at most 20,000 chains .* 28\^3 = 21,952; .* --subset 0"):
        compare_with_oracles(model, patches([(51, 102)]), subset=1)
    assert compare_with_oracles(model, patches([(51, 102)]), subset=0).exhaustive is None


def test_patches_of_another_size_are_refused() -> None:
    small = PatchPairs("small", *[np.zeros((1, 31, 31, 3), np.uint8)] * 2)
    with pytest.raises(UsageError, match="expected patches of 63×63 for model toy, got 31×31"):
        compare_with_oracles(planned()[0], small)


def test_the_table_shows_the_numbers(report: OracleReport) -> None:
    lines = report.table().splitlines()
    assert lines[0] == "levels, 5 patches of 24.56 dB; regret is the greedy oracle's lead"
    assert lines[1].split() == ["gain,", "dB", "regret,", "dB", "end", "worse", "tools"]
    agent = score(report.policies, "agent")
    assert lines[2].split() == [
        *("agent", f"{agent.gain_db:+.2f}", "±", f"{agent.gain_standard_error_db:.2f}"),
        *(f"{agent.regret_db:.2f}", "±", f"{agent.regret_standard_error_db:.2f}", "20.0%", "1.00"),
    ]
    text = "\n".join(lines)
    assert "  fixed chain: none, stop at once; built on these same patches" in text
    assert "  the first 5 patches, all 15 chains run on each\n" in text
    assert ["step", "3", "20.0%", f"{report.steps[2].gain_db:+.2f}", "+0.00", "100.0%"] in map(
        str.split, lines
    )
    assert "  stops too early: 40.0% (a tool would gain more than 0.1 dB)" in text
    assert "  to stop at once is right: 40.0%; the agent does so on 50.0% of these" in text
    assert [line.split() for line in lines[-5:]] == [
        ["best", "↓", "chosen", "→", "1", "2", "stop", "all"],
        ["1", "deblur-1", "2", "·", "1", "3"],
        ["2", "deblur-2", "·", "·", "·", "0"],
        ["stop", "·", "1", "1", "2"],
        ["all", "2", "1", "2"],
    ]


def test_the_report_is_plain_json(report: OracleReport) -> None:
    content = json.loads(json.dumps(report.to_json()))
    assert content["policies"][0]["name"] == "agent"
    assert content["exhaustive"]["policies"][3]["name"] == "exhaustive oracle"
    assert content["stops"]["early_share"] == 0.4
    assert content["first"]["confusion"] == [[2, 0, 1], [0, 0, 0], [0, 1, 1]]
