"""Maps of what differs over a photograph: the colours stand where the windows do."""

import numpy as np

from rlrestore.explain.maps import centres, overlay
from rlrestore.inference.windows import WindowGrid

GREY = np.full((70, 127, 3), 128, np.uint8)


def test_the_middle_of_a_window_has_its_colour() -> None:
    """Between the middles, at columns 31 and 95, the colour changes evenly; beyond them it stays."""
    down, across = centres(WindowGrid(63, (0,), (0, 64)), 1)
    seen = overlay(GREY, np.array([[0.0, 30.0]], np.float32), 1, down, across).astype(int)

    assert across.tolist() == [31, 95]
    assert (seen == seen[:1]).all()
    assert (seen[0, :32] == seen[0, 0]).all()
    assert (seen[0, 95:] == seen[0, -1]).all()
    quarters = seen[0, [31, 47, 63, 79, 95]]
    np.testing.assert_allclose(quarters, np.linspace(seen[0, 0], seen[0, -1], 5), atol=1)
    assert seen[0, 0, 2] > seen[0, 0, 0]  # blue where there is none
    assert seen[0, -1, 0] > seen[0, -1, 2]


def test_in_a_picture_made_smaller_the_middles_move_along() -> None:
    down, across = centres(WindowGrid(63, (0, 65), (0, 64)), 0.5)
    np.testing.assert_allclose(down, (0.5 * 31.5 - 0.5, 0.5 * 96.5 - 0.5))
    np.testing.assert_allclose(across, (0.5 * 31.5 - 0.5, 0.5 * 95.5 - 0.5))
