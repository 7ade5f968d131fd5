"""Progress of work on one image that may take minutes: a bar on stderr, if that is a terminal."""

from collections.abc import Iterable, Sequence
from typing import TypeVar

from tqdm import tqdm

PATIENCE_S = 1.0
"""Work that is done before this shows no bar."""

Item = TypeVar("Item")


def progress_bar(items: Sequence[Item], title: str | None, unit: str) -> Iterable[Item]:
    """Pass items on one by one, with a bar for those that have been dealt with.

    The bar goes away with the last item; below the bar of a longer list of images it takes a line of its own.

    Args:
        items: What is worked on.
        title: What the bar is called; None for no bar. There is none either where stderr is no terminal.
        unit: What one item is called.
    """
    hidden = True if title is None else None  # None: tqdm finds out whether stderr is a terminal
    return tqdm(items, title, unit=unit, leave=False, delay=PATIENCE_S, disable=hidden)
