"""The reader of TensorFlow's checkpoints: tensors come back as written, and a damaged file is refused."""

import os
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from rlrestore.errors import ModelError
from rlrestore.paper.tensor_bundle import masked_crc32c, read_bundle
from tests.paper.bundles import (
    HEADER,
    NUMBERS,
    block,
    entry,
    index_of,
    masked,
    message,
    table,
    varint,
    write_bundle,
    write_files,
)

TENSORS: dict[str, NDArray[Any]] = {
    "conv1/biases": np.array([1.5, -2.0], np.float32),
    "conv1/weights": np.arange(12, dtype=np.float32).reshape(1, 2, 3, 2) / 8,
    "conv1_2/biases": np.array([0.25], np.float32),
    "conv2/weights": np.full((2, 1), 3.0, np.float32),
    "counts": np.array([[True, False]]),
    "moments/Adam": np.array([1e300]),
    "step": np.array(1_050_000, np.int32),
    "step/long": np.array([-1, 2**40], np.int64),
}


@pytest.fixture
def prefix(tmp_path: Path) -> Path:
    """A bundle of three blocks, the names written whole at every second row."""
    return write_bundle(tmp_path / "tool", TENSORS, rows_per_block=4, interval=2)


def same(got: dict[str, NDArray[Any]], expected: dict[str, NDArray[Any]]) -> bool:
    return got.keys() == expected.keys() and all(
        got[name].dtype == expected[name].dtype and np.array_equal(got[name], expected[name]) for name in got
    )


def test_a_bundle_comes_back_as_it_was_written(prefix: Path) -> None:
    assert same(read_bundle(prefix), TENSORS)


def test_the_bundle_has_what_it_is_to_test(prefix: Path) -> None:
    # Names that stand there without the beginning they share, and one whole although it shares its own.
    index = Path(f"{prefix}.index").read_bytes()
    assert {name for name in TENSORS if name.encode() not in index} == {"conv1_2/biases", "counts"}
    assert index.count(b"conv1/") == 2


@pytest.mark.parametrize(
    ("data", "crc"),
    [(b"123456789", 0xE3069283), (bytes(32), 0x8A9136AA), (b"\xff" * 32, 0x62A8AB43), (b"", 0)],
)
def test_the_checksum_is_the_standards(data: bytes, crc: int) -> None:
    """The test vectors of RFC 3720, appendix B.4, before LevelDB's mask."""
    rotated = (crc >> 15) | (crc & 0x7FFF) << 17
    assert masked_crc32c(data) == (rotated + 0xA282EAD8) % 2**32


@settings(max_examples=40)
@given(
    names=st.sets(st.text(st.characters(codec="utf-8"), min_size=1, max_size=12), max_size=12),
    shape=st.lists(st.integers(1, 3), max_size=4),
    dtype=st.sampled_from(sorted(NUMBERS)),
    rows_per_block=st.integers(1, 9),
    interval=st.integers(1, 9),
)
def test_any_bundle_comes_back(
    tmp_path_factory: pytest.TempPathFactory,
    names: set[str],
    shape: list[int],
    dtype: str,
    rows_per_block: int,
    interval: int,
) -> None:
    tensors: dict[str, NDArray[Any]] = {
        name: np.full(shape, index, dtype) for index, name in enumerate(sorted(names))
    }
    prefix = write_bundle(tmp_path_factory.mktemp("any") / "b", tensors, rows_per_block, interval)
    assert same(read_bundle(prefix), tensors)


@pytest.mark.parametrize("suffix", [".index", ".data-00000-of-00001"])
def test_every_truncation_is_noticed(prefix: Path, suffix: str) -> None:
    path = Path(f"{prefix}{suffix}")
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(ModelError, match=r"tool\.(index|data).* is damaged"):
            read_bundle(prefix)


@pytest.mark.parametrize(
    ("suffix", "unchecked"), [(".index", 48), (".data-00000-of-00001", 0)], ids=["index", "data"]
)
def test_a_flipped_bit_is_noticed_wherever_it_is(prefix: Path, suffix: str, unchecked: int) -> None:
    """One bit of every byte under a checksum, and all bits of the footer, which has none."""
    path = Path(f"{prefix}{suffix}")
    whole = bytearray(path.read_bytes())
    checked = len(whole) - unchecked
    one_each = (8 * byte + byte % 8 for byte in range(checked))
    for bit in [*one_each, *range(8 * checked, 8 * len(whole))]:
        whole[bit // 8] ^= 1 << bit % 8
        path.write_bytes(whole)
        with pytest.raises(ModelError, match="is damaged"):
            read_bundle(prefix)
        whole[bit // 8] ^= 1 << bit % 8


@settings(max_examples=100)
@given(junk=st.binary(max_size=400))
def test_junk_is_refused(tmp_path_factory: pytest.TempPathFactory, junk: bytes) -> None:
    """As an index, as an index with the right end, and as a block with the right checksum."""
    folder = tmp_path_factory.mktemp("junk")
    for index in (junk, junk + table([])[-48:], table([junk])):
        with pytest.raises(ModelError, match="is damaged"):
            read_bundle(write_files(folder / "b", index, b""))


def test_a_short_data_file_names_tensor_and_bytes(prefix: Path) -> None:
    data = Path(f"{prefix}.data-00000-of-00001")
    data.write_bytes(data.read_bytes()[:20])
    message = r"tensor conv1/weights: expected 48 bytes from byte 8, the file has 20; copy it again"
    with pytest.raises(ModelError, match=message):
        read_bundle(prefix)


def test_an_altered_tensor_is_named(prefix: Path) -> None:
    path = Path(f"{prefix}.data-00000-of-00001")
    data = bytearray(path.read_bytes())
    data[9] ^= 1
    path.write_bytes(data)
    with pytest.raises(ModelError, match=r"tensor conv1/weights: expected the checksum 0x.* of 48 bytes"):
        read_bundle(prefix)


@pytest.mark.parametrize("suffix", [".index", ".data-00000-of-00001"])
def test_a_missing_file_is_named(prefix: Path, suffix: str) -> None:
    Path(f"{prefix}{suffix}").unlink()
    with pytest.raises(ModelError, match=f"there is no .*tool{suffix}"):
        read_bundle(prefix)
    Path(f"{prefix}{suffix}").mkdir()
    with pytest.raises(ModelError, match=f"there is no .*tool{suffix}"):
        read_bundle(prefix)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_does_not_hang(prefix: Path) -> None:
    Path(f"{prefix}.index").unlink()
    os.mkfifo(f"{prefix}.index")
    with pytest.raises(ModelError, match=r"there is no .*tool\.index"):
        read_bundle(prefix)


@pytest.mark.skipif(not hasattr(os, "truncate"), reason="needs sparse files")
@pytest.mark.parametrize("suffix", [".index", ".data-00000-of-00001"])
def test_a_huge_file_is_not_read(prefix: Path, suffix: str) -> None:
    os.truncate(f"{prefix}{suffix}", 2**40)
    with pytest.raises(ModelError, match=f"{suffix}: expected at most .* bytes, got {2**40}"):
        read_bundle(prefix)


DATA = bytes(range(8))
RIGHT = entry(1, [2], 0, 8, masked(DATA))


def lie(*rows: tuple[bytes, bytes]) -> bytes:
    """An index whose checksums are right and whose rows are not."""
    return index_of([(b"", HEADER), *rows])


def test_the_lies_below_begin_with_a_truth(tmp_path: Path) -> None:
    read = read_bundle(write_files(tmp_path / "b", lie((b"w", RIGHT)), DATA))
    assert read["w"].tobytes() == DATA


@pytest.mark.parametrize(
    ("index", "message"),
    [
        (lie((b"w", entry(1, [2**40], 0, 2**42, b"1234"))), "at most 8 sides from 1 up, got .1099511627776,"),
        (lie((b"w", entry(1, [2**30, 2**30], 0, 2**62, b"1234"))), "w: expected .* the file has 8"),
        (lie((b"w", entry(1, [2**64 - 1], 0, 8, b"1234"))), "sides from 1 up, got .18446744073709551615,"),
        (lie((b"w", entry(1, [2, 0], 0, 0, b"1234"))), r"sides from 1 up, got \(2, 0\)"),
        (lie((b"w", entry(1, [1] * 9, 0, 4, b"1234"))), "at most 8 sides"),
        (lie((b"w", entry(1, [3], 0, 8, b"1234"))), r"w: expected 12 bytes for float32 of \(3,\), got 8"),
        (lie((b"w", entry(1, [2], 1, 8, b"1234"))), "w: expected 8 bytes from byte 1, the file has 8"),
        (lie((b"w", entry(1, [2], 2**63, 8, b"1234"))), "from byte 9223372036854775808, the file has 8"),
        (lie((b"w", entry(7, [2], 0, 8, b"1234"))), r"w: expected a type of \[1, 2, 3, 9, 10, 19\], got 7"),
        (lie((b"w", b"")), "w: expected a type of .*, got 0"),
        (lie((b"v", RIGHT), (b"w", RIGHT)), "expected 16 bytes for all tensors together, got 8"),
        (lie((b"w", RIGHT + message((3, 1)))), "w: expected it in one part"),
        (lie((b"w", RIGHT + message((7, b"")))), "w: expected it in one part"),
        (lie((b"w", RIGHT + message((1, b"xx")))), "w: expected a number, got 2 bytes"),
        (lie((b"w", RIGHT + message((2, 5)))), "w: expected a message with its shape, got the number 5"),
        (lie((b"w", RIGHT + b"\x0b")), "expected a protobuf message, got wire type 3"),
        (
            lie((b"w", RIGHT + b"\x08" + b"\x80" * 10 + b"\x01")),
            "expected a number of at most 64 bits in its shortest form",
        ),
        (
            lie((b"w", RIGHT + b"\x08" + b"\xff" * 9 + b"\x7f")),
            "expected a number of at most 64 bits in its shortest form",
        ),
        (lie((b"w", RIGHT + b"\x08\x81\x00")), "expected a number of at most 64 bits in its shortest form"),
        (lie((b"w", RIGHT + b"\x08\x80")), "expected 1 more bytes, got 0"),
        (lie((b"w", RIGHT + b"\x12" + varint(2**50))), f"expected {2**50} more bytes, got 0"),
        (lie((b"\xff", RIGHT)), r"expected names in UTF-8, got b'\\xff'"),
        (lie((b"w", RIGHT), (b"w", RIGHT)), "expected names in ascending order, got b'w' after b'w'"),
        (lie((b"w" * 513, RIGHT)), "expected a name of at most 512 bytes"),
        (index_of([(b"w", RIGHT)]), "expected a header under the empty name, got none"),
        (index_of([(b"", message((1, 2))), (b"w", RIGHT)]), "expected one little-endian data file, got 2"),
        (index_of([(b"", message((2, 1))), (b"w", RIGHT)]), "data file, got 1 .endianness 1"),
        (table([block([(b"", HEADER)])], compression=1), "without compression, got Snappy"),
        (table([block([(b"", HEADER)])], compression=9), "without compression, got 9"),
        (table([b"\0" * 8]), "expected a list of restarts in a block of 8 bytes, got 0 of them"),
        (table([b"\xff" * 8]), "expected a list of restarts in a block of 8 bytes, got 4294967295 of them"),
        (table([b""]), "expected a list of restarts in a block of 0 bytes"),
        (table([b"\x05\x01\x01ab" + block([])]), "begins with some of the 0 before it, got 5 of them"),
    ],
)
def test_lies_are_refused_without_believing_them(index: bytes, message: str, tmp_path: Path) -> None:
    prefix = write_files(tmp_path / "b", index, DATA)
    tracemalloc.start()
    with pytest.raises(ModelError, match=message):
        read_bundle(prefix)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4 * 2**20


def test_one_block_listed_again_and_again_is_read_once(tmp_path: Path) -> None:
    content = block([])
    sealed = content + b"\0"
    again = block([(b"%05d" % number, varint(0) + varint(len(content))) for number in range(1000)])
    listing = again + b"\0"
    handles = (varint(0) + varint(len(content))) + (varint(len(sealed) + 4) + varint(len(again)))
    body = sealed + masked(sealed) + listing + masked(listing)
    index = body + handles.ljust(40, b"\0") + table([])[-8:]
    with pytest.raises(ModelError, match="expected a block from byte 8 on, got one that begins at 0"):
        read_bundle(write_files(tmp_path / "b", index, b""))
