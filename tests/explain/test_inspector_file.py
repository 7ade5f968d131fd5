"""The inspector's file in a model's folder: written, read back with checks, copied, or not there."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

from rlrestore.errors import ModelError
from rlrestore.model_folder import find_model
from rlrestore.model_folder.inspector import (
    FILE,
    InspectorEntry,
    copy_inspector,
    has_inspector,
    read_inspector,
    write_inspector,
)

ENTRY = InspectorEntry(
    0.9,
    0.02,
    (1, 9),
    ((0.1, 0.2, 0.3),) * 2,
    ((0.1, 1.0, 2.0),) * 2,
    ((1.0, 2.0),) * 2,
    ((0.5, 0.5, 0.5),) * 2,
    {"seed": 3},
)
ARRAYS = {"b": np.arange(6, dtype=np.float16).reshape(2, 3), "a": np.ones(2, np.float16)}


def rewritten(folder: Path, **changes: object) -> None:
    """Let the file say something else of itself."""
    write_inspector(folder, ENTRY, ARRAYS)
    data = (folder / FILE).read_bytes()
    length = int.from_bytes(data[:8], "little")
    said = json.loads(json.loads(data[8 : 8 + length])["__metadata__"]["inspector"]) | changes
    content = safetensors.numpy.save(safetensors.numpy.load(data), {"inspector": json.dumps(said)})
    (folder / FILE).write_bytes(content)


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    write_inspector(tmp_path / "new", ENTRY, ARRAYS)
    entry, arrays = read_inspector(tmp_path / "new")

    assert entry == ENTRY
    assert {name: array.dtype for name, array in arrays.items()} == dict.fromkeys("ab", np.dtype(np.float32))
    np.testing.assert_array_equal(arrays["b"], ARRAYS["b"])


def test_an_old_model_has_none(tmp_path: Path) -> None:
    assert not has_inspector(tmp_path)
    with pytest.raises(
        ModelError, match=r"has no inspector: expected inspector\.safetensors there; train one"
    ):
        read_inspector(tmp_path)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"version": 2}, "expected an inspector of version 1, got 2; train it again"),
        ({"sha256": "0"}, "its weights are not those that it names; copy the model again"),
        (
            {"windows": [9, 1]},
            r"cannot be understood \(expected ascending numbers of windows, got \[9, 1\]\)",
        ),
        ({"widening": [[0.1, 0.2]] * 2}, "expected calibrations for 2 numbers of windows"),
        ({"limits": [[1.0, 2.0]]}, "expected calibrations for 2 numbers of windows"),
        ({"coverage": 1.5}, "expected shares, got 1.5, 0.02"),
        ({"false_alarm": "x"}, "expected finite numbers"),
        ({"facts": None}, "cannot be understood"),
    ],
)
def test_what_makes_no_sense_is_refused(tmp_path: Path, changes: dict[str, object], words: str) -> None:
    rewritten(tmp_path, **changes)
    with pytest.raises(ModelError, match=words):
        read_inspector(tmp_path)


@pytest.mark.parametrize("content", [b"", b"\x08\0\0\0\0\0\0\0{}      ", b"no weights at all"])
def test_a_damaged_file_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / FILE).write_bytes(content)
    with pytest.raises(ModelError, match=r"is damaged.*copy the model again"):
        read_inspector(tmp_path)


def test_a_flipped_bit_is_found(tmp_path: Path) -> None:
    write_inspector(tmp_path, ENTRY, ARRAYS)
    data = bytearray((tmp_path / FILE).read_bytes())
    data[-1] ^= 1
    (tmp_path / FILE).write_bytes(data)
    with pytest.raises(ModelError, match="its weights are not those that it names"):
        read_inspector(tmp_path)


def test_a_nan_is_refused(tmp_path: Path) -> None:
    write_inspector(tmp_path, ENTRY, {"a": np.array([np.nan], np.float32)})
    with pytest.raises(ModelError, match="is damaged"):
        read_inspector(tmp_path)


def test_a_copy_replaces_or_takes_away(tmp_path: Path) -> None:
    source, target, none = (tmp_path / name for name in ("source", "target", "none"))
    write_inspector(source, ENTRY, ARRAYS)
    write_inspector(target, replace(ENTRY, coverage=0.8), ARRAYS)
    copy_inspector(source, target)
    assert read_inspector(target)[0] == ENTRY
    copy_inspector(none, target)
    assert not has_inspector(target)


def test_the_shipped_model_has_one() -> None:
    entry, arrays = read_inspector(find_model("default"))
    assert entry.coverage == 0.9
    assert sum(array.size for array in arrays.values()) < 250_000
