"""The grid of windows, and how their values and results are joined."""

import math

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlrestore.inference.chains import SHARING_DB, blending_weights, global_chain, share_out, smooth
from rlrestore.inference.windows import WindowGrid
from tests.toys import make_model


@given(
    height=st.integers(8, 400),
    width=st.integers(8, 400),
    stride=st.sampled_from([32, 48]),
    limit=st.none() | st.integers(1, 40),
)
def test_windows_lie_inside_and_cover_or_keep_the_limit(
    height: int, width: int, stride: int, limit: int | None
) -> None:
    grid = WindowGrid.cover(height, width, 63, stride, limit)
    covered = np.zeros((max(height, 63), max(width, 63)), bool)
    for top in grid.tops:
        for left in grid.lefts:
            covered[top : top + 63, left : left + 63] = True
            assert 0 <= top <= covered.shape[0] - 63
            assert 0 <= left <= covered.shape[1] - 63

    assert list(grid.tops) == sorted(set(grid.tops))
    assert list(grid.lefts) == sorted(set(grid.lefts))
    assert covered.all() if limit is None else len(grid) <= limit


def test_a_large_photograph_is_sampled_all_over() -> None:
    grid = WindowGrid.cover(4000, 6000, 63, 48, 1024)

    assert 900 <= len(grid) <= 1024
    for starts, length in ((grid.tops, 4000), (grid.lefts, 6000)):
        gaps = np.diff([0, *starts, length])
        assert gaps.max() < 2 * gaps[1:-1].mean()


@settings(max_examples=50)
@given(length=st.integers(63, 500), stride=st.sampled_from([16, 32, 48]))
def test_blending_weights_sum_to_one(length: int, stride: int) -> None:
    starts = WindowGrid.cover(length, 63, 63, stride).tops
    weights = blending_weights(length, starts, 63)

    assert weights.shape == (length, len(starts))
    np.testing.assert_allclose(weights.sum(axis=1), 1, atol=1e-6)
    assert weights.min() >= 0


def test_values_are_smoothed_over_the_neighbours() -> None:
    values = np.zeros((9, 2), np.float32)
    values[4, 0] = 16.0
    values[:, 1] = 3.0
    smoothed = smooth(values, np.ones(9, bool), 3, 3)

    np.testing.assert_allclose(smoothed[:, 0], [1.0, 2, 1, 2, 4, 2, 1, 2, 1])
    np.testing.assert_allclose(smoothed[:, 1], 3.0)


def test_a_window_that_stopped_has_no_say() -> None:
    values = np.full((9, 2), 3.0, np.float32)
    values[4] = 1e6
    smoothed = smooth(values, np.arange(9) != 4, 3, 3)

    np.testing.assert_allclose(smoothed, 3.0)


def no_margins(tools: int) -> npt.NDArray[np.float32]:
    return np.zeros(tools, np.float32)


def shared_out(*values: float) -> list[float]:
    """How a window with these values is shared out."""
    given = np.array([[*values, 0.0]], np.float32)
    shares: list[float] = share_out(given, np.array([True]), no_margins(len(values)))[0].tolist()
    return shares


def test_the_best_two_tools_share_a_window_by_how_close_they_are() -> None:
    second = math.exp(-1) / (1 + math.exp(-1))

    assert shared_out(1.0, 0.5, 1.0, -3.0) == pytest.approx([0.5, 0, 0.5, 0, 0])
    assert shared_out(1.0, 1.0 + SHARING_DB, 0.3) == pytest.approx([second, 1 - second, 0, 0])
    assert shared_out(9.0, 1.0) == pytest.approx([1, 0, 0], abs=1e-6)


def test_only_what_is_expected_to_gain_has_a_share() -> None:
    assert shared_out(0.01, -0.01) == [1, 0, 0]
    assert shared_out(-0.01, -0.02) == [0, 0, 1]
    assert shared_out(1.0) == [1, 0]


def test_less_than_the_stop_margin_is_not_enough() -> None:
    shares = share_out(
        np.array([[0.2, 0.05, 0.0], [0.1, 0.05, 0.0]], np.float32),
        np.array([True] * 2),
        no_margins(2) + np.float32(0.1),
    )
    assert shares.tolist() == [[1, 0, 0], [0, 0, 1]]


def test_a_window_that_stopped_stays_alone() -> None:
    values = np.array([[3.0, 2.9, 0.0]] * 2, np.float32)
    shares = share_out(values, np.array([True, False]), no_margins(2))

    assert shares[1].tolist() == [0, 0, 1]
    assert shares[0].sum() == pytest.approx(1)


@pytest.mark.parametrize(
    ("height", "width", "windows"),
    [(40, 63, 1), (126, 126, 9), (256, 256, 16), (630, 630, 100), (2100, 2100, 1024)],
)
def test_a_large_photograph_is_not_seen_as_closely_as_a_small_one(
    height: int, width: int, windows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All windows while they are few, then as many as fit in side by side, then enough."""
    model, seen = make_model([]), []
    model.policy.register_forward_pre_hook(lambda _, given: seen.append(len(given[0])))
    image = np.zeros((1, 3, height, width), np.float32)
    next(global_chain(model.tools, model.agent, image, max_steps=1))
    assert sum(seen) == windows
