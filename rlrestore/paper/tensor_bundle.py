"""Reads a TensorFlow checkpoint of the "tensor bundle" kind without TensorFlow.

A bundle is an index, `PREFIX.index`, beside the raw little-endian numbers, `PREFIX.data-00000-of-00001`. The
index is a table of LevelDB: sorted keys in blocks, found from a footer at the end of the file; a key shares
its beginning with the one before. The key of a tensor is its name, its value a small protobuf message:
type, shape, place in the data file, checksum. Every block and every tensor has a CRC-32C, and all are
checked, so a damaged file is not loaded. Nothing is allocated before a file is known to be that large.

Source: LevelDB, doc/table_format.md; TensorFlow, core/protobuf/tensor_bundle.proto.
"""

import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from rlrestore.errors import ModelError

MAGIC = 0xDB4775248B80FB57
FOOTER_BYTES = 48
HANDLES_BYTES = 40
TRAILER_BYTES = 5
"""After every block: one byte that names its compression, four of checksum."""
LARGEST_INDEX = 2**20
"""Bytes; the index of a network of this project's kind has under a thousand."""
LARGEST_DATA = 2**28
"""Bytes; the tensors of such a network have under a million."""
LONGEST_NAME = 512
MOST_DIMENSIONS = 8
DTYPES = {1: "<f4", 2: "<f8", 3: "<i4", 9: "<i8", 10: "|b1", 19: "<f2"}
"""TensorFlow's number of each type that is read, and numpy's name for it."""

VARINT, BYTES, FIXED32, FIXED64 = 0, 2, 5, 1
"""Wire types of protobuf."""

Value = int | bytes


class _DamageError(ValueError):
    """A damaged structure; the caller adds the name of the file."""


@dataclass(frozen=True)
class _Entry:
    """The index's entry of one tensor.

    Attributes:
        name: Its name.
        dtype: Type of its elements.
        shape: Its dimensions, all at least 1; none for a single number.
        offset: Its first byte in the data file.
        size: Its length in bytes.
        checksum: Masked CRC-32C of these bytes.
    """

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    offset: int
    size: int
    checksum: int


class _Cursor:
    """A position in some bytes, moving forward; reading past the end is an error."""

    def __init__(self, data: bytes) -> None:
        self.data, self.position = data, 0

    @property
    def left(self) -> int:
        return len(self.data) - self.position

    def take(self, count: int) -> bytes:
        if count > self.left:
            raise _DamageError(f"expected {count} more bytes, got {self.left}")
        self.position += count
        return self.data[self.position - count : self.position]

    def varint(self) -> int:
        """Read a number of at most 64 bits: seven to a byte, the lowest first, in no byte too many."""
        value = 0
        for shift in range(0, 70, 7):
            byte = self.take(1)[0]
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                if value >= 2**64 or (shift and not byte):
                    break
                return value
        raise _DamageError("expected a number of at most 64 bits in its shortest form, got another")


def _crc_table() -> tuple[int, ...]:
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)  # noqa: PLW2901  # the register of the CRC
        table.append(byte)
    return tuple(table)


_CRC_TABLE = _crc_table()


def masked_crc32c(data: bytes) -> int:
    """Return the CRC-32C of bytes as LevelDB stores it: rotated by 15 bits, plus a constant.

    Plain Python, about 15 MB/s: a whole release of 2 MB takes a fraction of a second.

    Source: RFC 3720, appendix B.4; LevelDB, util/crc32c.h.
    """
    crc = 0xFFFFFFFF
    for byte in data:
        crc = _CRC_TABLE[(crc ^ byte) & 0xFF] ^ crc >> 8
    crc ^= 0xFFFFFFFF
    return (crc >> 15 | crc << 17) + 0xA282EAD8 & 0xFFFFFFFF


def read_bundle(prefix: Path) -> dict[str, NDArray[Any]]:
    """Read all tensors of a checkpoint, those of an optimiser included.

    Args:
        prefix: The files' common beginning: `models/model` for `models/model.index` and
            `models/model.data-00000-of-00001`.

    Returns:
        The tensors by name, in the shapes and types in which they were stored.

    Raises:
        ModelError: A file is missing or cannot be read, is damaged, or is of a kind that is not read here
            (compressed, in several parts, of another type of number).
    """
    index = prefix.with_name(f"{prefix.name}.index")
    data = prefix.with_name(f"{prefix.name}.data-00000-of-00001")
    try:
        entries = _entries(_read_index(index))
    except _DamageError as error:
        raise ModelError(
            f"{index} is damaged or no index of a TensorFlow checkpoint: {error}; copy it again"
        ) from error
    with _opened(data, LARGEST_DATA) as file:
        try:
            return _read_tensors(file, entries)
        except _DamageError as error:
            raise ModelError(f"{data} is damaged: {error}; copy it again, with its .index") from error
        except OSError as error:
            raise ModelError(f"cannot read {data}: {error.strerror}; copy it again") from error


def _read_index(path: Path) -> bytes:
    with _opened(path, LARGEST_INDEX) as file:
        try:
            return file.read(LARGEST_INDEX)
        except OSError as error:
            raise ModelError(f"cannot read {path}: {error.strerror}; copy it again") from error


def _opened(path: Path, largest: int) -> BinaryIO:
    """Open a regular file of a sensible size.

    Raises:
        ModelError: There is none.
    """
    try:
        regular = path.is_file()  # a pipe may never end
        size = path.stat().st_size if regular else 0
        file = path.open("rb") if regular else None
    except (OSError, ValueError) as error:
        raise ModelError(f"cannot read {path}: {error}") from error
    if file is None:
        raise ModelError(f"expected a file of a TensorFlow checkpoint, there is no {path}")
    if size > largest:
        file.close()
        raise ModelError(f"{path}: expected at most {largest} bytes, got {size}; this is another network's")
    return file


def _entries(table: bytes) -> list[_Entry]:
    """Return what the index says of every tensor, after checking that it speaks of one little-endian file."""
    rows = dict(_rows(table))
    if b"" not in rows:
        raise _DamageError("expected a header under the empty name, got none")
    header = dict(_fields(rows.pop(b"")))
    shards, big_endian = header.get(1, 1), header.get(2, 0)
    if shards != 1 or big_endian != 0:
        raise _DamageError(
            f"expected one little-endian data file, got {shards!r} (endianness {big_endian!r})"
        )
    return [_entry(key, value) for key, value in rows.items()]


def _rows(table: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield keys and values of a LevelDB table, in their order."""
    if len(table) < FOOTER_BYTES:
        raise _DamageError(f"expected at least {FOOTER_BYTES} bytes, got {len(table)}")
    footer = _Cursor(table[-FOOTER_BYTES:])
    magic = int.from_bytes(table[-8:], "little")
    if magic != MAGIC:
        raise _DamageError(f"expected the magic number {MAGIC:#x} at its end, got {magic:#x}")
    _block(table, footer)  # the index of filters, read for its checksum: a bundle has none
    blocks = _block(table, footer)
    if any(footer.take(HANDLES_BYTES - footer.position)):
        raise _DamageError("expected zeros before the magic number")
    last, free = None, 0
    for _, handle in _pairs(blocks):
        begin = _Cursor(handle).varint()
        if begin < free:  # one block listed a million times would be read a million times
            raise _DamageError(f"expected a block from byte {free} on, got one that begins at {begin}")
        block = _block(table, _Cursor(handle))
        free = begin + len(block)
        for key, value in _pairs(block):
            if last is not None and key <= last:
                raise _DamageError(f"expected names in ascending order, got {key!r} after {last!r}")
            last = key
            yield key, value


def _block(table: bytes, handle: _Cursor) -> bytes:
    """Return the block that a handle (two varints: offset and size) points to."""
    offset, size = handle.varint(), handle.varint()
    end = offset + size + TRAILER_BYTES
    if end > len(table) - FOOTER_BYTES:
        raise _DamageError(f"expected a block within {len(table)} bytes, got one that ends at {end}")
    _check_crc(table[offset : end - 4], int.from_bytes(table[end - 4 : end], "little"), "a block")
    compression = table[offset + size]
    if compression != 0:
        raise _DamageError(
            f"expected blocks without compression, got {'Snappy' if compression == 1 else compression}; "
            "save the checkpoint with TensorFlow's default options"
        )
    return table[offset : offset + size]


def _pairs(block: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield keys and values of a block: entries, then where keys are whole, then how many such places."""
    restarts = int.from_bytes(block[-4:], "little")
    end = len(block) - 4 * (restarts + 1)
    if restarts < 1 or end < 0:
        raise _DamageError(
            f"expected a list of restarts in a block of {len(block)} bytes, got {restarts} of them"
        )
    cursor = _Cursor(block[:end])
    key = b""
    while cursor.left:
        shared, own, length = cursor.varint(), cursor.varint(), cursor.varint()
        if shared > len(key) or shared + own > LONGEST_NAME:
            raise _DamageError(
                f"expected a name of at most {LONGEST_NAME} bytes that begins with some of the {len(key)} "
                f"before it, got {shared} of them and {own} more"
            )
        key = key[:shared] + cursor.take(own)
        yield key, cursor.take(length)


def _fields(message: bytes) -> Iterator[tuple[int, Value]]:
    """Yield number and value of every field of a protobuf message."""
    cursor = _Cursor(message)
    while cursor.left:
        number, wire = divmod(cursor.varint(), 8)
        if wire == VARINT:
            yield number, cursor.varint()
        elif wire == BYTES:
            yield number, cursor.take(cursor.varint())
        elif wire in (FIXED32, FIXED64):
            yield number, int.from_bytes(cursor.take(4 if wire == FIXED32 else 8), "little")
        else:
            raise _DamageError(f"expected a protobuf message, got wire type {wire} in it")


def _entry(key: bytes, message: bytes) -> _Entry:
    """Return what a value of the index says of a tensor."""
    try:
        name = key.decode()
    except UnicodeDecodeError:
        raise _DamageError(f"expected names in UTF-8, got {key!r}") from None
    fields = list(_fields(message))
    single = dict(fields)
    number, offset, size, checksum = (_whole(single.get(field, 0), name) for field in (1, 4, 5, 6))
    if number not in DTYPES:
        raise _DamageError(f"tensor {name}: expected a type of {sorted(DTYPES)}, got {number}")
    if single.get(3, 0) != 0 or 7 in single:
        raise _DamageError(f"tensor {name}: expected it in one part, got one of several")
    shape = _shape(single.get(2, b""), name)
    dtype = np.dtype(DTYPES[number])
    expected = math.prod(shape) * dtype.itemsize
    if size != expected:
        raise _DamageError(f"tensor {name}: expected {expected} bytes for {dtype} of {shape}, got {size}")
    return _Entry(name, dtype, shape, offset, size, checksum)


def _whole(value: Value, name: str) -> int:
    if not isinstance(value, int):
        raise _DamageError(f"tensor {name}: expected a number, got {len(value)} bytes")
    return value


def _part(value: Value, name: str) -> bytes:
    if isinstance(value, int):
        raise _DamageError(f"tensor {name}: expected a message with its shape, got the number {value}")
    return value


def _shape(message: Value, name: str) -> tuple[int, ...]:
    """Return the dimensions out of a TensorShapeProto."""
    sides = [value for field, value in _fields(_part(message, name)) if field == 2]
    shape = tuple(_whole(dict(_fields(_part(side, name))).get(1, 0), name) for side in sides)
    if len(shape) > MOST_DIMENSIONS or not all(1 <= side < 2**31 for side in shape):
        raise _DamageError(f"tensor {name}: expected at most {MOST_DIMENSIONS} sides from 1 up, got {shape}")
    return shape


def _read_tensors(file: BinaryIO, entries: list[_Entry]) -> dict[str, NDArray[Any]]:
    """Read the tensors, after making sure that the file holds as much as they claim."""
    available = os.fstat(file.fileno()).st_size
    for entry in entries:
        if entry.offset + entry.size > available:
            raise _DamageError(
                f"tensor {entry.name}: expected {entry.size} bytes from byte {entry.offset}, "
                f"the file has {available}"
            )
    total = sum(entry.size for entry in entries)
    if total > available:
        raise _DamageError(f"expected {total} bytes for all tensors together, got {available}")
    tensors = {}
    for entry in entries:
        file.seek(entry.offset)
        data = file.read(entry.size)
        _check_crc(data, entry.checksum, f"tensor {entry.name}")
        tensors[entry.name] = np.frombuffer(data, entry.dtype).reshape(entry.shape)
    return tensors


def _check_crc(data: bytes, expected: int, what: str) -> None:
    got = masked_crc32c(data)
    if got != expected:
        raise _DamageError(
            f"{what}: expected the checksum {expected:#010x}, got {got:#010x} of {len(data)} bytes"
        )
