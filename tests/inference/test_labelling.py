"""Which tool works where: maps that are known beforehand."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pytest

from rlrestore.inference.labelling import (
    JOINING_DB,
    SMALLEST_REGION,
    STOPPED,
    average_nearby,
    best_action,
    choose_actions,
    divide,
    joined_by_others,
    without_islands,
)

Values = npt.NDArray[np.float32]
Actions = npt.NDArray[np.int64]

ROWS, COLUMNS = 12, 16
STOP = 2
"""Of two tools."""
ALL = np.ones((ROWS, COLUMNS), bool)
ONE_REGION = np.zeros((ROWS, COLUMNS), np.int64)
NO_MARGINS = np.zeros(STOP, np.float32)


def everywhere(*values_db: float) -> Values:
    """The same values in every window; stop, the last, is worth 0."""
    return np.broadcast_to(np.array([*values_db, 0.0], np.float32), (ROWS, COLUMNS, 3)).copy()


def noisy(values: Values, seed: int, sigma_db: float = 0.5) -> Values:
    """As an agent would see them, every window wrong by something else."""
    noise = np.random.default_rng(seed).normal(0, sigma_db, values.shape)
    noise[..., STOP] = 0
    return (values + noise).astype(np.float32)


def chosen(values: Values, regions: Actions = ONE_REGION) -> Actions:
    return choose_actions(values, NO_MARGINS, regions, ALL)


@pytest.mark.parametrize("seed", range(5))
def test_a_uniform_degradation_is_treated_by_one_tool(seed: int) -> None:
    """Although a third of the windows, each by itself, expect more of the other one."""
    values = noisy(everywhere(1.0, 0.7), seed)

    assert (values[..., 1] > values[..., 0]).mean() > 0.25
    assert (chosen(values) == 0).all()


@pytest.mark.parametrize("seed", range(5))
def test_each_half_has_its_tool(seed: int) -> None:
    values = everywhere(2.0, -1.0)
    values[:, COLUMNS // 2 :] = [-1.0, 2.0, 0.0]
    wanted = np.broadcast_to(np.arange(COLUMNS) >= COLUMNS // 2, (ROWS, COLUMNS))

    np.testing.assert_array_equal(chosen(noisy(values, seed)), wanted)


@pytest.mark.parametrize("seed", range(5))
def test_a_degradation_that_rises_has_one_border(seed: int) -> None:
    """From one side to the other the first tool loses what the second gains."""
    rise = np.linspace(-1, 1, COLUMNS)
    values = noisy(everywhere(0.0, 0.0) + np.stack([1 - rise, 1 + rise, 0 * rise], axis=1), seed)
    borders = (np.diff(chosen(values), axis=1) != 0).sum(axis=1)
    seconds = (chosen(values) == 1).sum(axis=1)

    assert (borders == 1).all()
    assert np.abs(seconds - COLUMNS / 2).max() <= 2


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 3), (2, 3)])
def test_a_few_odd_windows_are_no_region(height: int, width: int) -> None:
    values = everywhere(1.0, -1.0)
    values[4 : 4 + height, 5 : 5 + width] = [-1.0, 4.0, 0.0]

    assert height * width < SMALLEST_REGION
    assert (chosen(values) == 0).all()


def test_islands_join_what_is_around_them() -> None:
    actions = np.zeros((ROWS, COLUMNS), np.int64)
    actions[:, 6:] = 1
    actions[5:7, 10:13] = 0  # six windows, touching none of their kind
    actions[0, 0] = STOP
    done = without_islands(actions, ALL, usual=0)

    np.testing.assert_array_equal(done, np.broadcast_to(np.arange(COLUMNS) >= 6, (ROWS, COLUMNS)))
    grown = actions.copy()
    grown[5:7, 10:14] = 0
    assert grown[5:7, 10:14].size == SMALLEST_REGION
    assert (without_islands(grown, ALL, usual=0)[5:7, 10:14] == 0).all()
    speckled = np.indices((ROWS, COLUMNS)).sum(axis=0) % 2  # nothing but islands
    assert (without_islands(speckled, ALL, usual=1) == 1).all()


def test_a_tool_joins_only_for_more_than_the_margin() -> None:
    """The gain is the mean over the photograph of 8 windows, of which the region has 4."""
    for gain_db, actions in ((7.9 * JOINING_DB, [0]), (8.1 * JOINING_DB, [0, 1])):
        values = np.zeros((4, 3))
        values[3, 1] = gain_db
        values[:, 2] = -1
        assert joined_by_others(values, 0, windows=8) == actions


def test_the_best_joins_first_and_the_rest_only_for_what_it_leaves() -> None:
    values = np.array([[0.0, 5.0, 4.9], [0.0, 5.0, 4.9], [9.0, 0.0, 0.0]])
    assert joined_by_others(values, 0, windows=3) == [0, 1]
    assert joined_by_others(values, 2, windows=3) == [2, 0]


def test_what_no_tool_helps_stops_and_the_rest_goes_on() -> None:
    values = everywhere(2.0, -1.0)
    values[:, COLUMNS // 2 :] = [-2.0, -2.0, 0.0]
    first = chosen(values)
    regions = divide(ONE_REGION, first, STOP)
    second = chosen(everywhere(-1.0, 2.0), regions)

    assert (first[:, : COLUMNS // 2] == 0).all()
    assert (first[:, COLUMNS // 2 :] == STOP).all()
    assert (second[:, : COLUMNS // 2] == 1).all()
    assert (second[:, COLUMNS // 2 :] == STOP).all()


def test_every_region_chooses_by_its_own_windows() -> None:
    regions = np.broadcast_to(np.arange(COLUMNS) >= 3, (ROWS, COLUMNS)).astype(np.int64)
    values = everywhere(0.1, 0.0)
    values[:, :3] = [0.0, 0.2, 0.0]  # too little to divide a region for, but this one is its own

    np.testing.assert_array_equal(chosen(values, regions), 1 - regions)


def test_one_region_is_decided_by_the_windows_of_global_mode() -> None:
    sampled = np.zeros((ROWS, COLUMNS), bool)
    sampled[::2, ::2] = True
    values = everywhere(0.0, 0.1)
    values[sampled] = [0.05, 0.0, 0.0]

    assert (choose_actions(values, NO_MARGINS, ONE_REGION, sampled) == 0).all()
    assert (choose_actions(values, NO_MARGINS, ONE_REGION, ~sampled) == 1).all()


def test_regions_are_what_was_treated_alike_all_along() -> None:
    first = divide(np.zeros((1, 4), np.int64), np.array([[0, 0, 1, STOP]]), STOP)
    assert first[0, 0] == first[0, 1] != first[0, 2]
    assert first[0, 3] == STOPPED

    second = divide(first, np.array([[0, 1, 1, STOP]]), STOP)
    assert len({*second[0, :3].tolist()}) == 3
    assert second[0, 3] == STOPPED
    assert (divide(second, np.array([[0, 0, 0, STOP]]), STOP)[0, :3] >= 0).all()


def test_an_average_is_of_one_region_alone() -> None:
    values, inside = everywhere(1.0, 2.0), ALL.copy()
    values[:, 8:] = 1e4
    inside[:, 8:] = False

    np.testing.assert_allclose(average_nearby(values, inside)[:, :8], values[:, :8], rtol=1e-5)


def test_the_margin_is_that_of_the_best_tool_of_the_region() -> None:
    """As in global mode: the first would be enough here and the second is not, but the second is the best."""
    values = everywhere(0.7, 0.8)

    assert (choose_actions(values, np.array([0.5, 1.0], np.float32), ONE_REGION, ALL) == STOP).all()
    assert (choose_actions(values, np.array([1.0, 0.75], np.float32), ONE_REGION, ALL) == 1).all()


def test_a_tool_joins_where_it_exceeds_its_own_margin() -> None:
    """The second is expected to gain enough for the margin of the first, but not for its own."""
    values = everywhere(3.0, -1.0)
    values[:, COLUMNS // 2 :] = [-1.0, 0.8, 0.0]
    actions = choose_actions(values, np.array([0.5, 1.0], np.float32), ONE_REGION, ALL)

    assert (actions[:, : COLUMNS // 2 - 3] == 0).all()
    assert (actions[:, COLUMNS // 2 + 3 :] == STOP).all()


@pytest.mark.parametrize(
    ("values", "margin_db", "action"),
    [([0.2, 0.5, 0], 0.1, 1), ([0.2, 0.1, 0], 0.2, 2), ([-1, -2, 0], 0, 2), ([3, 3, 0], 0, 0)],
)
def test_stop_wins_a_tie(values: Sequence[float], margin_db: float, action: int) -> None:
    assert best_action(np.array(values), margin_db) == action
