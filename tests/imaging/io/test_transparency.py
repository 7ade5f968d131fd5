"""Transparent pixels: their colours leave no fringe on those that are seen, and stay as they were."""

from collections.abc import Callable

import numpy as np
import pytest

from rlrestore.imaging.io.photo import Photo
from rlrestore.imaging.io.samples import Floats, Integers
from rlrestore.imaging.io.transparency import HIDDEN_BELOW, cover_hidden_, fill_hidden_
from rlrestore.inference.by_hand import apply_by_hand
from rlrestore.restorer import Restorer
from tests.toys import make_restorer

ROWS, COLUMNS = np.mgrid[:70, :91]
DISC = (ROWS - 35) ** 2 + (COLUMNS - 45) ** 2 < 25**2


def grey_on_blue() -> Floats:
    """A grey disc, and blue where nothing is seen."""
    blue = np.array([0.0, 0.0, 1.0], np.float32)[:, None, None]
    return np.where(DISC, np.float32(0.5), blue)[None]


def smear(image: Floats) -> Floats:
    """The mean over 9×9 pixels."""
    padded = np.pad(image, ((0, 0), (0, 0), (4, 4), (4, 4)), mode="edge")
    means: Floats = np.lib.stride_tricks.sliding_window_view(padded, (9, 9), axis=(2, 3)).mean(axis=(4, 5))
    return means


@pytest.mark.parametrize("faint", [0, HIDDEN_BELOW - 1])
@pytest.mark.parametrize("sample", [np.uint8, np.uint16])
def test_what_is_transparent_leaves_no_fringe_and_stays(
    faint: int, sample: type[np.uint8 | np.uint16]
) -> None:
    image = grey_on_blue()
    alpha: Integers = (np.where(DISC, 200, faint) * (np.iinfo(sample).max // 255)).astype(sample)
    put_back = cover_hidden_(image, alpha)
    image[:] = smear(image)
    put_back()

    np.testing.assert_allclose(image[..., DISC], 0.5, atol=1e-6)
    np.testing.assert_array_equal(image[..., ~DISC], grey_on_blue()[..., ~DISC])
    assert smear(grey_on_blue())[:, 2, DISC].max() > 0.6  # it would show


def test_near_colours_count_most() -> None:
    """Two rows are seen, black above and white below: the rows between go from the one to the other."""
    image = np.broadcast_to(np.linspace(0, 1, 33, dtype=np.float32)[:, None], (1, 3, 33, 20)).copy()
    visible = np.zeros((33, 20), bool)
    visible[[0, 32]] = True
    image[:, :, 1:32] = 0.5
    fill_hidden_(image, visible)
    filled = image[0, 0, :, 10]

    assert filled[2] < 0.2
    assert 0.3 < filled[16] < 0.7
    assert filled[30] > 0.8
    assert (np.diff(filled) > -0.02).all()


def test_where_nothing_or_all_is_seen_nothing_is_done() -> None:
    for alpha in (None, np.full((70, 91), 9 * 257, np.uint16), np.zeros((70, 91), np.uint8)):
        image = grey_on_blue()
        put_back = cover_hidden_(image, alpha)
        np.testing.assert_array_equal(image, grey_on_blue())
        put_back()
        np.testing.assert_array_equal(image, grey_on_blue())


def test_a_picture_that_is_faint_throughout_is_restored() -> None:
    photo = Photo(np.full((70, 80, 3), 0.5, np.float32), alpha=np.full((70, 80), 5, np.uint8))

    np.testing.assert_allclose(make_restorer([0]).restore(photo).photo.pixels, 0.625, atol=1e-6)


def hidden_in(colour: float, seed: int) -> Photo:
    """Grey with noise; in the middle nearly transparent, in a colour with noise of its own."""
    rng = np.random.default_rng(4)
    pixels = rng.normal(0.5, 0.1, (96, 96, 3)).clip(0, 1).astype(np.float32)
    alpha = np.full((96, 96), 255, np.uint8)
    alpha[20:60, 30:70] = np.arange(40, dtype=np.uint8) % HIDDEN_BELOW
    hidden = alpha < HIDDEN_BELOW
    pixels[hidden] = np.clip(colour + np.random.default_rng(seed).normal(0, 0.2, (hidden.sum(), 3)), 0, 1)
    return Photo(pixels, alpha=alpha)


@pytest.mark.parametrize("way", ["global", "local", "tools"])
def test_colours_that_are_not_seen_change_nothing_that_is(way: str) -> None:
    """Two pictures that differ only where alpha is below 8, by the shipped model; at most 4 levels of 255."""
    model = Restorer.from_pretrained()
    ways: dict[str, Callable[[Photo], Photo]] = {
        "global": lambda photo: model.restore(photo).photo,
        "local": lambda photo: model.restore(photo, mode="local").photo,
        "tools": lambda photo: apply_by_hand(model.runtime.tools, "denoise-4", photo),
    }
    dark, bright = hidden_in(0.0, 1), hidden_in(1.0, 2)
    first, second = ways[way](dark), ways[way](bright)
    seen = dark.alpha == 255

    assert np.abs(first.pixels - second.pixels)[seen].max() < 4 / 255
    np.testing.assert_array_equal(first.pixels[dark.alpha == 0], dark.pixels[dark.alpha == 0])
    bare = [ways[way](Photo(photo.pixels)) for photo in (dark, bright)]
    assert np.abs(bare[0].pixels - bare[1].pixels)[seen].max() > 10 / 255  # it would show
    assert not np.array_equal(first.pixels[seen], dark.pixels[seen])
