"""Directories of tags, as TIFF files and EXIF blocks hold them; every value stays byte for byte.

Source: TIFF revision 6.0 (Adobe 1992); BigTIFF (libtiff.org 2004); EXIF 2.32.
"""

import struct
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import BinaryIO, Literal, NamedTuple

TYPE_BYTES = {
    1: 1,
    2: 1,
    3: 2,
    4: 4,
    5: 8,
    6: 1,
    7: 1,
    8: 2,
    9: 4,
    10: 8,
    11: 4,
    12: 8,
    13: 4,
    16: 8,
    17: 8,
    18: 8,
}
"""Bytes of one value of a type; 16 to 18 exist in BigTIFF only."""
FORMATS = {
    1: "B",
    3: "H",
    4: "I",
    6: "b",
    8: "h",
    9: "i",
    11: "f",
    12: "d",
    13: "I",
    16: "Q",
    17: "q",
    18: "Q",
}
RATIONALS = {5: "I", 10: "i"}
BYTE, ASCII, SHORT, LONG, RATIONAL, UNDEFINED = 1, 2, 3, 4, 5, 7

EXIF_DIRECTORY, GPS_DIRECTORY, INTEROPERABILITY_DIRECTORY = 0x8769, 0x8825, 0xA005
NESTED = frozenset({EXIF_DIRECTORY, GPS_DIRECTORY, INTEROPERABILITY_DIRECTORY})
"""Tags whose value is the place of a directory of its own."""

MOST_BYTES = 2**28
"""Of all values of a directory; more is damage."""
DEEPEST = 2
"""Directories in one another: interoperability in EXIF in the first."""


class Entry(NamedTuple):
    """A tag's value: its type, how many values, and their bytes in the order of the block."""

    kind: int
    number: int
    data: bytes


Order = Literal["<", ">"]
"""Of the bytes of every number: the little end first, or last."""
Tree = Mapping[int, "Entry | Tree"]
"""Tags and their values; a directory of its own is a tree again."""


@dataclass(frozen=True)
class Directory:
    """One directory of tags.

    Attributes:
        order: `<` (little end first) or `>`, of every value.
        big: Whether it is of BigTIFF.
        entries: Tags and their values, as far as they are whole.
        next: Where the next directory stands; 0 for none.
        damaged: Tags whose values are not whole.
    """

    order: Order
    big: bool
    entries: Mapping[int, Entry]
    next: int = 0
    damaged: frozenset[int] = frozenset()

    def numbers(self, tag: int, default: tuple[float, ...] = ()) -> tuple[float, ...]:
        """Return a tag's numbers, whole ones as int; the default where there are none."""
        entry = self.entries.get(tag)
        if entry is None:
            return default
        if entry.kind in RATIONALS:
            halves = struct.unpack(f"{self.order}{2 * entry.number}{RATIONALS[entry.kind]}", entry.data)
            pairs = zip(halves[::2], halves[1::2], strict=True)
            return tuple(above / below if below else float("nan") for above, below in pairs)
        if entry.kind not in FORMATS:
            return default
        return struct.unpack(f"{self.order}{entry.number}{FORMATS[entry.kind]}", entry.data)

    def whole(self, tag: int, default: int = 0) -> int:
        """Return a tag's first number as a whole one; the default where there is none."""
        numbers = self.numbers(tag)
        return int(numbers[0]) if numbers and numbers[0] == numbers[0] else default

    def data(self, tag: int) -> bytes | None:
        """Return a tag's bytes, None without any."""
        entry = self.entries.get(tag)
        return entry.data if entry and entry.data else None


def is_tiff(head: bytes) -> bool:
    """Tell whether a file begins like TIFF, classic or Big."""
    return head[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def read_directory(stream: BinaryIO, at: int | None = None) -> Directory:
    """Read a directory of a TIFF file or an EXIF block.

    Args:
        stream: The file.
        at: Where the directory stands; the first one without it.

    Raises:
        ValueError: There is none, or it is damaged.
    """
    stream.seek(0)
    head = stream.read(16)
    if not is_tiff(head):
        raise ValueError("no TIFF header")
    order: Order = "<" if head[:1] == b"I" else ">"
    big = b"+" in head[:4]
    try:
        if at is None:
            (at,) = struct.unpack_from(order + ("Q" if big else "I"), head, 8 if big else 4)
        stream.seek(at)
        (count,) = struct.unpack(order + ("Q" if big else "H"), stream.read(8 if big else 2))
        size, word = (20, "Q") if big else (12, "I")
        if not 0 < count < 2**16:
            raise ValueError(f"a directory of {count} tags")
        table = stream.read(size * count)
        tail = stream.read(8 if big else 4)
        entries: dict[int, Entry] = {}
        damaged, room = set[int](), MOST_BYTES
        for place in range(0, size * count, size):
            tag, kind, number = struct.unpack_from(f"{order}HH{word}", table, place)
            value = table[place + size - (8 if big else 4) : place + size]
            read = _entry(stream, order + word, kind, number, value, room)
            if read is None:
                damaged.add(tag)
            else:
                room -= len(read.data)
                entries.setdefault(tag, read)
        following = struct.unpack(order + word, tail)[0] if len(tail) == struct.calcsize(word) else 0
    except (struct.error, OverflowError, OSError) as error:
        raise ValueError(f"a damaged directory ({error})") from error
    return Directory(order, big, entries, following, frozenset(damaged))


def _entry(stream: BinaryIO, word: str, kind: int, count: int, value: bytes, room: int) -> Entry | None:
    """Return an entry with its bytes, None where they are not all there."""
    size = TYPE_BYTES.get(kind, 0) * count
    if not 0 < size <= room:
        return None
    if size <= len(value):
        return Entry(kind, count, value[:size])
    stream.seek(struct.unpack(word, value)[0])
    data = stream.read(size)
    return Entry(kind, count, data) if len(data) == size else None


def nested(stream: BinaryIO, directory: Directory, depth: int = DEEPEST) -> Tree:
    """Return all tags of a directory with those of the EXIF, GPS and interoperability directories in it.

    What only BigTIFF can hold is left out.
    """
    tree: dict[int, Entry | Tree] = {}
    for tag, value in directory.entries.items():
        if tag not in NESTED:
            if value.kind < 16:
                tree[tag] = value
        elif depth:
            with suppress(ValueError):
                tree[tag] = nested(stream, read_directory(stream, directory.whole(tag)), depth - 1)
    return tree


def pack(order: Order, tree: Tree, start: int = 8) -> bytes:
    """Return a directory as it stands in a file, with all that it points to behind it.

    Args:
        order: Of the values' bytes, `<` or `>`; they are written as they are.
        tree: The tags.
        start: Where in the file it will stand, an even number.
    """
    table, behind = b"", b""
    free = start + 2 + 12 * len(tree) + 4
    for tag, value in sorted(tree.items()):
        if not isinstance(value, Entry):
            table += struct.pack(f"{order}HHII", tag, LONG, 1, free + len(behind))
            behind += pack(order, value, free + len(behind))
            continue
        table += struct.pack(f"{order}HHI", tag, value.kind, value.number)
        if len(value.data) <= 4:
            table += value.data.ljust(4, b"\0")
        else:
            table += struct.pack(f"{order}I", free + len(behind))
            behind += value.data
        behind += bytes(len(behind) % 2)
    return struct.pack(f"{order}H", len(tree)) + table + bytes(4) + behind


def header(order: Order, start: int) -> bytes:
    """Return the eight bytes at a block's begin, before the directory that stands at `start`."""
    return struct.pack(f"{order}2sHI", b"II" if order == "<" else b"MM", 42, start)


def entry(order: Order, kind: int, *values: float | bytes) -> Entry:
    """Return an entry of numbers, or of bytes."""
    if values and isinstance(values[0], bytes):
        return Entry(kind, len(values[0]), values[0])
    if kind == RATIONAL:
        pairs = [_fraction(float(value)) for value in values]
        return Entry(kind, len(values), b"".join(struct.pack(f"{order}II", *pair) for pair in pairs))
    return Entry(kind, len(values), struct.pack(f"{order}{len(values)}{FORMATS[kind]}", *values))


def _fraction(value: float) -> tuple[int, int]:
    """Return a positive number as a fraction of 32 bits."""
    for below in (1, 100, 10_000, 1_000_000):
        if round(value * below) / below == value or below == 1_000_000:
            break
    while round(value * below) >= 2**32:
        below //= 10
    return round(value * below), below
