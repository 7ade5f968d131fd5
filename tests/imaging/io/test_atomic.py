"""Files that several processes write at a time, under any name that the file system allows."""

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from rlrestore.imaging.io.atomic import write_atomically, write_together


def test_the_longest_name_can_be_written(tmp_path: Path) -> None:
    path = tmp_path / ("a" * (os.pathconf(tmp_path, "PC_NAME_MAX") - 5) + ".json")
    write_atomically(path, b"whole")
    assert path.read_bytes() == b"whole"
    assert list(tmp_path.iterdir()) == [path]


def test_another_that_writes_the_same_file_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second begins when the first has written its temporary file, and ends before that is renamed."""
    path, real = tmp_path / "a.json", Path.replace
    inner: list[str] = []

    def replace(self: Path, target: Path) -> Path:
        if not inner:
            inner.append("begun")
            write_atomically(path, b"second")
            assert path.read_bytes() == b"second"
        return real(self, target)

    monkeypatch.setattr(Path, "replace", replace)
    write_atomically(path, b"first")
    assert (path.read_bytes(), list(tmp_path.iterdir())) == (b"first", [path])


def test_a_folder_is_looked_through_once_an_hour(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And not for every file of thousands."""
    looked: list[Path] = []
    real, now = Path.glob, [0.0]

    def glob(self: Path, pattern: str) -> Iterator[Path]:
        looked.append(self)
        return real(self, pattern)

    monkeypatch.setattr(Path, "glob", glob)
    monkeypatch.setattr(time, "time", lambda: now[0])
    (tmp_path / "other").mkdir()
    for seconds in (0, 1, 3600, 3601):
        now[0] = 3.6e9 + seconds
        write_atomically(tmp_path / f"{seconds}", b"whole")
        write_atomically(tmp_path / "other" / f"{seconds}", b"whole")
    assert looked == [tmp_path, tmp_path / "other"] * 2


def test_many_at_a_time_leave_one_whole_file(tmp_path: Path) -> None:
    path, contents = tmp_path / "a.json", [bytes([number]) * 10_000 for number in range(8)]
    threads = [threading.Thread(target=write_atomically, args=(path, content)) for content in contents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert path.read_bytes() in contents
    assert list(tmp_path.iterdir()) == [path]


def test_files_that_belong_together_change_together(tmp_path: Path) -> None:
    files = {tmp_path / name: name.encode() for name in ("a", "b", "card")}
    write_together(files)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == files
