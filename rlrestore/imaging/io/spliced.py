"""A file made up of parts of another: what a decoder is to see of it, and bytes in place of the rest."""

import io
from bisect import bisect_right
from collections.abc import Sequence
from typing import BinaryIO

Part = bytes | tuple[int, int]
"""Bytes, or the begin and the end of a part of the other file."""


class Spliced(io.RawIOBase):
    """A seekable file to read from, of parts of another one that is not copied."""

    def __init__(self, source: BinaryIO, parts: Sequence[Part]) -> None:
        """Put a file together.

        Args:
            source: The other file; it stays open.
            parts: What follows what.
        """
        super().__init__()
        self._source, self._place = source, 0
        self._parts = [part for part in parts if _length(part)]
        self._starts = [0]
        for part in self._parts:
            self._starts.append(self._starts[-1] + _length(part))

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def tell(self) -> int:
        """Return the place of the next byte."""
        return self._place

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a place, as in any file."""
        origin = {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: self._starts[-1]}[whence]
        self._place = max(0, origin + offset)
        return self._place

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]  # any writable buffer
        """Read what is left of one part, at most as much as fits."""
        number = bisect_right(self._starts, self._place) - 1
        if number >= len(self._parts):
            return 0
        part, inside = self._parts[number], self._place - self._starts[number]
        count = min(len(buffer), self._starts[number + 1] - self._place)
        if isinstance(part, bytes):
            data = part[inside : inside + count]
        else:
            self._source.seek(part[0] + inside)
            data = self._source.read(count)
        buffer[: len(data)] = data
        self._place += len(data)
        return len(data)


def spliced(source: BinaryIO, parts: Sequence[Part]) -> BinaryIO:
    """Return a file of parts of another one, to be read like any."""
    return io.BufferedReader(Spliced(source, parts), 2**16)


def _length(part: Part) -> int:
    return len(part) if isinstance(part, bytes) else part[1] - part[0]
