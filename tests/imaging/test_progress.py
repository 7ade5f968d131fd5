"""The bar for one large image: shown to somebody who watches and has waited, and to nobody else."""

import io
import sys

import pytest

from rlrestore.imaging import progress
from rlrestore.imaging.progress import progress_bar


class Terminal(io.StringIO):
    """What is written to a terminal."""

    def isatty(self) -> bool:
        return True


def look_at(stream: io.StringIO, monkeypatch: pytest.MonkeyPatch, patience_s: float = 0.0) -> None:
    """Make a stream stderr. In the test, for pytest sets its own after the fixtures."""
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setattr(progress, "PATIENCE_S", patience_s)


def test_items_are_passed_on_under_a_bar_that_goes_away(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    look_at(terminal, monkeypatch)

    assert list(progress_bar(range(7), "step 2 of 3", "tile")) == list(range(7))
    assert "step 2 of 3" in terminal.getvalue()
    assert "0/7" in terminal.getvalue()
    assert terminal.getvalue().split("\r")[-2].strip() == ""


def test_without_a_title_there_is_no_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    look_at(terminal, monkeypatch)

    assert list(progress_bar("abc", None, "tile")) == ["a", "b", "c"]
    assert terminal.getvalue() == ""


def test_work_that_is_done_at_once_shows_no_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    look_at(terminal, monkeypatch, patience_s=60.0)

    assert len(list(progress_bar(range(7), "step 1 of 3", "tile"))) == 7
    assert terminal.getvalue().strip() == ""


def test_a_file_gets_no_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    log = io.StringIO()
    look_at(log, monkeypatch)

    assert len(list(progress_bar(range(7), "step 1 of 3", "tile"))) == 7
    assert log.getvalue() == ""
