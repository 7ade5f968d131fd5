"""Files that are written whole or not at all, by however many processes at a time."""

import secrets
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path

_ABANDONED_S = 3600
"""Seconds after which a temporary file is of a process that was killed; a write takes far less."""


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file under a temporary name beside it, then rename: a reader sees the old or the new, whole."""
    write_together({path: data})


def write_together(files: Mapping[Path, bytes], last_is_away: bool = True) -> None:
    """Write files that belong together under temporary names, and rename them only when all are whole.

    The temporary names are short and drawn at random: they fit wherever the file's own name does, and no two
    processes share one.

    Args:
        files: Contents by path. The last one makes the others valid.
        last_is_away: Whether it is away while they change, so that no old one describes new ones; needless
            where each file tells which others it belongs to.
    """
    for folder in {path.parent for path in files}:
        _clear_abandoned(folder)
    temporary = {path: _temporary(path) for path in files}
    *others, last = files
    try:
        for path, data in files.items():
            temporary[path].write_bytes(data)
        if others and last_is_away:
            last.unlink(missing_ok=True)
        for path, written in temporary.items():
            written.replace(path)
    finally:
        for written in temporary.values():
            written.unlink(missing_ok=True)


@contextmanager
def replacement(path: Path) -> Iterator[Path]:
    """Let a large file be written bit by bit, under a name that is its own only when all went well.

    Args:
        path: The file.

    Yields:
        What to write to instead; it is removed after an error.
    """
    _clear_abandoned(path.parent)
    temporary = _temporary(path)
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _temporary(path: Path) -> Path:
    return path.with_name(f".rlrestore-{secrets.token_hex(8)}.tmp")


def _clear_abandoned(folder: Path) -> None:
    """Remove what killed processes left behind, and nothing that another process may be writing."""
    _clear_abandoned_in(folder, int(time.time() / _ABANDONED_S))


@lru_cache(maxsize=1024)
def _clear_abandoned_in(folder: Path, _: int) -> None:
    """Do so once an hour, and not for every file: to list a folder takes the longer the more it holds."""
    for path in folder.glob(".rlrestore-*.tmp"):
        with suppress(OSError):
            if time.time() - path.stat().st_mtime > _ABANDONED_S:
                path.unlink()
