"""The grid of windows, and how their values and results are joined."""

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from rlrestore.inference.chains import apply_locally_, fading_weights, global_chain
from rlrestore.inference.windows import WindowedAgent, WindowGrid
from rlrestore.runtime.device_queue import DeviceQueue
from rlrestore.runtime.torch_runtime import TorchTools
from rlrestore.toolbox.specs import NO_ACTION, TOOLS
from rlrestore.toolbox.toolbox import Toolbox
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
def test_fading_weights_sum_to_one(length: int, stride: int) -> None:
    starts = WindowGrid.cover(length, 63, 63, stride).tops
    weights = fading_weights(length, starts, 63)

    assert weights.shape == (length, len(starts))
    np.testing.assert_allclose(weights.sum(axis=1), 1, atol=1e-6)
    assert weights.min() >= 0


def test_a_window_fades_from_its_middle_to_the_next() -> None:
    weights = fading_weights(31 + 32 + 32, (0, 32), 63)

    np.testing.assert_allclose(weights[[0, 31, 47, 63, 94], 0], [1, 1, 0.5, 0, 0], atol=1e-6)
    assert (weights[64:, 0] == 0).all()  # exactly, so that no tool runs there
    assert fading_weights(20, (0,), 63).min() == 1


def test_windows_of_a_sparser_grid_are_found_again() -> None:
    whole, few = WindowGrid.cover(500, 700, 63, 32), WindowGrid.cover(500, 700, 63, 32, 20)
    rows, columns = np.nonzero(whole.common(few))

    assert sorted({whole.tops[row] for row in rows}) == list(few.tops)
    assert sorted({whole.lefts[column] for column in columns}) == list(few.lefts)
    assert len(rows) == len(few)


def test_only_active_windows_are_valued() -> None:
    model = make_model([0, 1])
    windowed = WindowedAgent(model.agent, WindowGrid.cover(63, 127, 63, 32))
    image = np.zeros((1, 3, 63, 127), np.float32)
    first = windowed.values(image, np.full(3, NO_ACTION))
    half = windowed.values(image, np.full(3, 0), active=np.array([True, False, True]))

    assert (first[:, 0] > 0.9).all()
    assert (half[[0, 2], 1] > 0.9).all()
    assert not half[1].any()


@pytest.mark.parametrize("queue", [None, DeviceQueue(torch.device("cpu"))])
def test_a_tool_sees_all_that_it_needs_where_it_works(
    queue: DeviceQueue | None, photograph: npt.NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In parts of tiles, one after another or many begun at a time, as on the whole photograph."""
    monkeypatch.setattr("rlrestore.inference.chains.TILE", 96)
    torch.manual_seed(0)
    toolbox = Toolbox(TOOLS[2:4])
    for parameter in toolbox.parameters():
        nn.init.normal_(parameter, std=0.04)
    tools = TorchTools(toolbox, queue)
    image = (photograph.transpose(2, 0, 1)[None] / np.float32(255)).astype(np.float32)
    down, across = fading_weights(128, (0, 32, 65), 63), fading_weights(160, (0, 48, 97), 63)
    actions = np.array([[0, 1, 2], [0, 2, 2], [1, 1, 0]])
    wanted = image.copy()
    for tool in range(2):
        wanted += (tools.apply(tool, image) - image) * (down @ (actions == tool) @ across.T)

    assert np.abs(wanted - image).max() > 0.01
    done = apply_locally_(tools, actions, image.copy(), down, across)
    np.testing.assert_allclose(done, wanted, atol=1e-5)


@pytest.mark.parametrize(
    ("height", "width", "windows"),
    [(40, 63, 1), (126, 126, 9), (256, 256, 16), (630, 630, 100), (2100, 2100, 1023)],
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
