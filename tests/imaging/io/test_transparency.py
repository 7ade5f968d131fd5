"""Wholly transparent pixels: no fringe where they meet what is seen, and their own colours stay."""

import numpy as np
import torch
from torch import Tensor, nn

from rlrestore.imaging.io.transparency import cover_hidden, fill_hidden

ROWS, COLUMNS = np.mgrid[:70, :91]
DISC = (ROWS - 35) ** 2 + (COLUMNS - 45) ** 2 < 25**2
ALPHA = (200 * DISC).astype(np.uint8)


def grey_on_blue() -> Tensor:
    """A grey disc, and blue where nobody sees it."""
    disc = torch.from_numpy(DISC)
    return torch.where(disc, 0.5, torch.tensor([0.0, 0.0, 1.0])[:, None, None])[None]


def smear(image: Tensor) -> Tensor:
    """The mean over 9×9 pixels."""
    return nn.functional.avg_pool2d(nn.functional.pad(image, (4, 4, 4, 4), mode="replicate"), 9, stride=1)


def test_what_is_transparent_leaves_no_fringe_and_stays() -> None:
    image, disc = grey_on_blue(), torch.from_numpy(DISC)
    covered, put_back = cover_hidden(image, ALPHA)
    worked_on = smear(covered)
    put_back(worked_on)

    torch.testing.assert_close(worked_on[..., disc], torch.full((1, 3, int(disc.sum())), 0.5))
    assert torch.equal(worked_on[..., ~disc], image[..., ~disc])
    assert torch.equal(image, grey_on_blue())
    assert smear(image)[:, 2, disc].max() > 0.6  # it would show


def test_near_colours_count_most() -> None:
    """Two rows are seen, black above and white below: the rows between go from the one to the other."""
    image = torch.linspace(0, 1, 33)[:, None].expand(1, 3, 33, 20)
    visible = torch.zeros(1, 1, 33, 20, dtype=torch.bool)
    visible[:, :, [0, 32]] = True
    filled = fill_hidden(image, visible)[0, 0, :, 10]

    assert filled[2] < 0.2
    assert 0.3 < filled[16] < 0.7
    assert filled[30] > 0.8
    assert (filled.diff() > -0.02).all()


def test_where_nothing_or_all_is_seen_nothing_is_done() -> None:
    image = grey_on_blue()
    for alpha in (None, np.full((70, 91), 9, np.uint16), np.zeros((70, 91), np.uint8)):
        covered, put_back = cover_hidden(image, alpha)
        put_back(covered)
        assert torch.equal(covered, image)
