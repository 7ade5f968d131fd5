"""Heat maps: the colours of known values, and which maps a step gets."""

import numpy as np

from rlrestore.explain.errors import error_map
from rlrestore.explain.heat import FELL, ROSE, error_heat, hot, rise_and_fall


def test_bad_is_bright_and_good_is_black() -> None:
    colours = hot(np.array([[45.0, 60.0, 30.0, 15.0, 0.0]]), 45, 15)
    sums = colours.sum(axis=2)[0].tolist()
    assert sums[0] == sums[1] < 10
    assert 10 < sums[2] < sums[3] == sums[4]


def test_what_fell_is_red_and_what_rose_is_blue() -> None:
    colours = rise_and_fall(np.array([[-9.0, -3.0, 0.0, 1.5, 3.0]]), 3)
    assert colours[0, 0].tolist() == colours[0, 1].tolist() == list(FELL)
    assert colours[0, 2].tolist() == [255, 255, 255]
    assert colours[0, 3].tolist() == [144, 178, 214]
    assert colours[0, 4].tolist() == list(ROSE)


def test_a_step_has_a_map_of_what_it_changed() -> None:
    clean = np.full((16, 24, 3), 100, np.uint8)
    bad, worse = clean + 20, clean.copy()
    worse[:8, :8] = 180
    before, after = error_map(bad, clean), error_map(worse, clean)
    titles = [heat.title for heat in error_heat(before, after)]

    assert [heat.title for heat in error_heat(None, after)] == titles[:2]
    assert titles[2] == "harm to 16.7% of the area"
    change = error_heat(before, after)[2].colours
    assert change.shape == (2, 3, 3)
    assert change[0, 0].tolist() == list(FELL)
    assert change[1, 2].tolist() == list(ROSE)
