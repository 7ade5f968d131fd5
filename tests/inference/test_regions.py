"""The map of local mode, and what stands beside a stop."""

import numpy as np

from rlrestore.inference.regions import PALETTE, TINT, Regions
from rlrestore.trace import STOP_NAME
from tests.rules import dark_only, grey, restorer
from tests.toys import make_restorer


def test_each_half_has_the_colour_of_its_tool_and_what_was_left_alone_is_grey() -> None:
    shares = np.zeros((1, 3, 3), np.float32)
    shares[0, 0, 0] = shares[0, 1, 1] = shares[0, 2, 2] = 1
    regions = Regions(("denoise-1", "deblur-1", STOP_NAME), shares)
    seen = regions.overlay(np.full((60, 300, 3), 100, np.uint8))

    for column, colour in ((5, PALETTE[0]), (150, PALETTE[1])):
        wanted = 100 * (1 - TINT) + TINT * np.array(colour)
        np.testing.assert_allclose(seen[30, column], wanted, atol=2)
    np.testing.assert_array_equal(seen[30, 295], [100] * 3)
    assert [name for name, _, _ in regions.legend()] == ["denoise-1", "deblur-1"]


def test_local_mode_tells_its_regions() -> None:
    trace = make_restorer([0]).restore(np.full((200, 300, 3), 100, np.uint8), mode="local").trace
    regions = trace.steps[0].regions
    assert regions is not None
    assert regions.names == ("brighten", "darken", "keep", STOP_NAME)
    assert regions.shares[..., 0].min() == 1


def test_regions_that_differ_are_drawn() -> None:
    image = grey(0.2, 128, 512)
    image[:, 256:] = 0.8
    trace = restorer([0.2], dark_only, max_steps=1).restore(image, mode="local", keep_steps=True).trace
    pixels = np.asarray(trace.picture())
    legend = np.abs(pixels.astype(int) - PALETTE[0]).sum(axis=2) == 0
    assert legend.any()  # the tool's name in its colour


def test_no_runner_up_stands_above_a_stop() -> None:
    for step in make_restorer([0]).restore(np.full((64, 64, 3), 100, np.uint8)).trace.steps:
        assert step.expected_gain_db is not None
        assert all(value <= step.expected_gain_db for _, value in step.runners_up)
    eager = make_restorer([0])
    eager.runtime.agent.start_margins_db = (5.0,) * 3  # above the 1 dB that the tool is expected to gain
    (stop,) = eager.restore(np.full((64, 64, 3), 100, np.uint8)).trace.steps
    assert stop.tool == STOP_NAME
    assert stop.runners_up[0][0] == "brighten"
    assert -4.1 < stop.runners_up[0][1] < -3.9
