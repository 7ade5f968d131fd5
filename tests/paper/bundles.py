"""Writes TensorFlow checkpoints (tensor bundles), by code that shares nothing with the reader."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

NUMBERS = {"float32": 1, "float64": 2, "int32": 3, "int64": 9, "bool": 10, "float16": 19}
"""TensorFlow's number of each numpy type."""
HEADER = b"\x08\x01\x1a\x02\x08\x01"
"""What TensorFlow 1 writes under the empty name: one shard, version 1."""

Row = tuple[bytes, bytes]


def masked(data: bytes) -> bytes:
    """The masked CRC-32C, four bits at a time, in the four bytes in which it is stored."""
    steps = []
    for nibble in range(16):
        register = nibble
        for _ in range(4):
            register = register // 2 ^ (register % 2 * 0x82F63B78)
        steps.append(register)
    crc = 2**32 - 1
    for byte in data:
        crc ^= byte
        crc = steps[crc % 16] ^ crc // 16
        crc = steps[crc % 16] ^ crc // 16
    crc ^= 2**32 - 1
    rotated = (crc // 2**15) + (crc % 2**15) * 2**17
    return ((rotated + 0xA282EAD8) % 2**32).to_bytes(4, "little")


def varint(value: int) -> bytes:
    """A protobuf number."""
    out = bytearray()
    while value > 127:
        out.append(128 + value % 128)
        value //= 128
    return bytes([*out, value])


def message(*fields: tuple[int, int | bytes]) -> bytes:
    """A protobuf message of numbers and messages."""
    out = b""
    for number, value in fields:
        if isinstance(value, int):
            out += varint(number * 8) + varint(value)
        else:
            out += varint(number * 8 + 2) + varint(len(value)) + value
    return out


def entry(dtype: int, shape: Sequence[int], offset: int, size: int, checksum: bytes) -> bytes:
    """The value of one tensor in the index."""
    dimensions = message(*((2, message((1, side))) for side in shape))
    return message((1, dtype), (2, dimensions), (4, offset), (5, size)) + b"\x35" + checksum


def block(rows: Sequence[Row], interval: int = 16) -> bytes:
    """A block of rows; every so many rows a key is written whole."""
    out, restarts, before = b"", [], b""
    for index, (key, value) in enumerate(rows):
        shared = 0
        if index % interval == 0:
            restarts.append(len(out))
        else:
            while shared < min(len(key), len(before)) and key[shared] == before[shared]:
                shared += 1
        out += varint(shared) + varint(len(key) - shared) + varint(len(value)) + key[shared:] + value
        before = key
    ends = [position.to_bytes(4, "little") for position in restarts or [0]]
    return out + b"".join(ends) + len(ends).to_bytes(4, "little")


def table(blocks: Sequence[bytes], compression: int = 0) -> bytes:
    """A table of finished blocks."""
    out = b""
    handles: list[Row] = []

    def add(content: bytes) -> bytes:
        nonlocal out
        handle = varint(len(out)) + varint(len(content))
        sealed = content + bytes([compression])
        out += sealed + masked(sealed)
        return handle

    for content in blocks:
        handles.append((b"%06d" % len(handles), add(content)))
    footer = add(block([])) + add(block(handles, 1))
    return out + footer.ljust(40, b"\0") + (0xDB4775248B80FB57).to_bytes(8, "little")


def index_of(rows: Sequence[Row], rows_per_block: int = 1000, interval: int = 16) -> bytes:
    """An index with these rows."""
    parts = [rows[start : start + rows_per_block] for start in range(0, len(rows), rows_per_block)]
    return table([block(part, interval) for part in parts])


def write_files(prefix: Path, index: bytes, data: bytes) -> Path:
    """Write the two files of a bundle; returns what they have in common."""
    prefix.parent.mkdir(parents=True, exist_ok=True)
    Path(f"{prefix}.index").write_bytes(index)
    Path(f"{prefix}.data-00000-of-00001").write_bytes(data)
    return prefix


def write_bundle(
    prefix: Path, tensors: Mapping[str, NDArray[Any]], rows_per_block: int = 1000, interval: int = 16
) -> Path:
    """Write tensors as TensorFlow would; returns the prefix."""
    rows, data = [(b"", HEADER)], b""
    for name in sorted(tensors, key=str.encode):
        values = np.asarray(tensors[name])
        raw = values.tobytes()
        number = NUMBERS[values.dtype.name]
        rows.append((name.encode(), entry(number, values.shape, len(data), len(raw), masked(raw))))
        data += raw
    return write_files(prefix, index_of(rows, rows_per_block, interval), data)
