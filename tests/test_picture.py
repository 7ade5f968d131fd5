"""How rows of cells are drawn, and texts broken into lines."""

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import ImageFont

from rlrestore.picture import CAPTION_SIZE, EDGE, GAP, MARGIN, Cell, Row, draw_rows, wrap

COLUMN = 60
RED, GREEN, BLUE = (200, 0, 0), (0, 200, 0), (0, 0, 200)


def plain(colour: tuple[int, int, int]) -> npt.NDArray[np.uint8]:
    """A cell that fills its column and is less high."""
    return np.full((50, COLUMN, 3), colour, np.uint8)


def box(drawn: npt.NDArray[np.uint8], colour: tuple[int, int, int]) -> tuple[int, int, int, int]:
    """Top, left, height and width of all that has a colour, which fills it."""
    places = np.argwhere((drawn == colour).all(axis=-1))
    top, left = places.min(axis=0)
    height, width = places.max(axis=0) - places.min(axis=0) + 1
    assert len(places) == height * width
    return int(top), int(left), int(height), int(width)


def test_cells_are_drawn_pixel_by_pixel_in_their_columns() -> None:
    rows = [
        Row("first", (Cell("a", ("b", "c"), plain(RED)), Cell("d", (), plain(GREEN)))),
        Row("second", (Cell("e"), Cell("f", (), plain(BLUE)))),
    ]
    drawn = np.asarray(draw_rows("title", ("legend",), rows, COLUMN))
    red, green, blue = (box(drawn, colour) for colour in (RED, GREEN, BLUE))

    assert drawn.shape[1] == 2 * MARGIN + 2 * COLUMN + GAP
    assert red == (green[0], MARGIN + 1, 48, 58)
    assert green[1:] == blue[1:] == (MARGIN + COLUMN + GAP + 1, 48, 58)
    assert blue[0] > red[0] + 50
    assert blue[0] + 48 + 1 + MARGIN == drawn.shape[0]
    assert (drawn[red[0] - 1, MARGIN : MARGIN + COLUMN] == EDGE).all()


@pytest.mark.parametrize("text", ["title", "legend", "heading", "cell", "caption"])
def test_a_long_text_makes_room_for_itself(text: str) -> None:
    def drawn(words: dict[str, str]) -> npt.NDArray[np.uint8]:
        cell = Cell(words["cell"], (words["caption"],), plain(RED))
        row = Row(words["heading"], (cell, Cell("other", (), plain(GREEN))))
        return np.asarray(draw_rows(words["title"], (words["legend"],), [row], COLUMN))

    words = dict.fromkeys(("title", "legend", "heading", "cell", "caption"), "x")
    short, long = drawn(words), drawn(words | {text: "much longer than a line of its place"})

    assert long.shape[1] == short.shape[1]
    assert long.shape[0] > short.shape[0] + 10
    assert box(long, RED)[2:] == (48, 58)  # no text over it
    margins = np.concatenate((long[:MARGIN], long[-MARGIN:])), long[:, :MARGIN], long[:, -MARGIN:]
    assert all((part == long[0, 0]).all() for part in margins)


@given(
    st.text(st.characters(codec="ascii", categories=["L", "N", "P", "Zs"]), max_size=60), st.integers(40, 300)
)
def test_wrapped_lines_fit_and_lose_nothing(text: str, width: int) -> None:
    lines = wrap(text, CAPTION_SIZE, width)
    font = ImageFont.load_default(CAPTION_SIZE)

    assert max(font.getlength(line) for line in lines) <= width
    assert "".join(lines).replace(" ", "") == "".join(text.split())
