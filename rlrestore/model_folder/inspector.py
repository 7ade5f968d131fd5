"""The inspector in a model's folder: one file beside the card, which says itself what it holds.

It tells what is wrong with a photograph from the spectrum alone and does not depend on the agent's weights,
so a card says nothing of it, and it can be trained, copied or left out by itself.
"""

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy

from rlrestore.errors import ModelError
from rlrestore.model_folder import UNUSABLE_ENTRY, Arrays, write_files

FILE = "inspector.safetensors"
VERSION = 1
QUANTITIES = ("blur_sigma_px", "noise_sigma_255", "jpeg_quality")
"""What is estimated, in this order everywhere."""
_ENTRY = "inspector"


@dataclass(frozen=True)
class InspectorEntry:
    """What the file says beside its weights.

    The calibrations are of pictures of so many windows each (`windows`, ascending); S of them.

    Attributes:
        coverage: Share of the truths that the intervals are calibrated to hold.
        false_alarm: Share of familiar pictures that are taken for unfamiliar.
        windows: `(S,)` numbers of windows.
        widening: `(S, 3)` of its width by which an interval grows on each side, by `QUANTITIES`; negative
            where many windows know better than one, which is not made use of.
        faint: `(S, 3)` how near to none an interval must end for it to reach none: so little cannot be told
            from it.
        limits: `(S, 2)` how far familiar pictures lie from the middle of all, by isotropic and by directed
            features, but for the false alarms.
        varying: `(S, 3)` how far neighbourhoods must differ, in widths of their intervals, for a quantity to
            be said to vary over the picture.
        facts: How it was trained and what was measured, as JSON values.
    """

    coverage: float
    false_alarm: float
    windows: tuple[int, ...]
    widening: tuple[tuple[float, ...], ...]
    faint: tuple[tuple[float, ...], ...]
    limits: tuple[tuple[float, ...], ...]
    varying: tuple[tuple[float, ...], ...]
    facts: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        count = len(self.windows)
        rows = (*self.widening, *self.faint, *self.varying)
        numbers: tuple[Any, ...] = (self.coverage, self.false_alarm, *self.windows)
        numbers += sum((*rows, *self.limits), ())
        if not all(isinstance(each, int | float) and math.isfinite(each) for each in numbers):
            raise ValueError("expected finite numbers")
        if not count or list(self.windows) != sorted(set(self.windows)) or self.windows[0] < 1:
            raise ValueError(f"expected ascending numbers of windows, got {list(self.windows)}")
        if not all(0 < share < 1 for share in (self.coverage, self.false_alarm)):
            raise ValueError(f"expected shares, got {self.coverage}, {self.false_alarm}")
        lengths = {len(self.widening), len(self.faint), len(self.limits), len(self.varying)}
        widths = {len(row) for row in rows}, {len(row) for row in self.limits}
        if lengths != {count} or widths != ({len(QUANTITIES)}, {2}):
            raise ValueError(f"expected calibrations for {count} numbers of windows")


def has_inspector(folder: Path) -> bool:
    """Return whether a model has an inspector."""
    return (folder / FILE).exists()


def read_inspector(folder: Path) -> tuple[InspectorEntry, Arrays]:
    """Return what a model's inspector says of itself, and its weights.

    Raises:
        ModelError: There is none, or it is damaged or of another version.
    """
    path = folder / FILE
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise ModelError(
            f"the model in {folder} has no inspector: expected {FILE} there; train one by "
            "scripts/train_inspector.py, or leave out --model"
        ) from error
    except OSError as error:
        raise ModelError(f"cannot read {path}: {error.strerror}; copy the model again") from error
    try:
        arrays = safetensors.numpy.load(data)
        said = json.loads(_metadata(data)[_ENTRY])
    except (safetensors.SafetensorError, *UNUSABLE_ENTRY) as error:
        raise ModelError(f"{path} is damaged: {error}; copy the model again") from error
    version = said.get("version") if isinstance(said, dict) else None
    if version != VERSION:
        raise ModelError(
            f"{path}: expected an inspector of version {VERSION}, got {version!r}; train it again by "
            "scripts/train_inspector.py, or update rlrestore"
        )
    if said.get("sha256") != _digest(arrays) or not all(np.isfinite(one).all() for one in arrays.values()):
        raise ModelError(f"{path} is damaged: its weights are not those that it names; copy the model again")
    try:
        entry = _entry(said)
    except UNUSABLE_ENTRY as error:
        raise ModelError(f"{path}: cannot be understood ({error}); copy the model again") from error
    return entry, {name: np.asarray(each, np.float32) for name, each in arrays.items()}


def write_inspector(folder: Path, entry: InspectorEntry, arrays: Arrays) -> None:
    """Write an inspector into a model's folder; a full disk leaves the folder as it was.

    Args:
        folder: It is made when it does not exist.
        entry: What it says of itself.
        arrays: Its weights, in the precision in which they are to be written.

    Raises:
        RlrestoreError: It cannot be written.
    """
    ordered = {name: np.ascontiguousarray(each) for name, each in sorted(arrays.items())}
    said = {"version": VERSION, **asdict(entry), "sha256": _digest(ordered)}
    write_files(folder, {FILE: safetensors.numpy.save(ordered, {_ENTRY: json.dumps(said)})})


def copy_inspector(source: Path, target: Path) -> None:
    """Give a model the inspector of another one, or none if that has none.

    Raises:
        RlrestoreError: It cannot be read or written.
    """
    if not has_inspector(source):
        remove_inspector(target)
        return
    read_inspector(source)
    write_files(target, {FILE: (source / FILE).read_bytes()})


def remove_inspector(folder: Path) -> None:
    """Take a model's inspector away, if it has one."""
    (folder / FILE).unlink(missing_ok=True)


def _metadata(data: bytes) -> dict[str, str]:
    """Return what a safetensors file says beside its tensors: its header follows a length of 8 bytes."""
    length = int.from_bytes(data[:8], "little")
    metadata: dict[str, str] = json.loads(data[8 : 8 + length])["__metadata__"]
    return metadata


def _digest(arrays: Mapping[str, Any]) -> str:
    """Return the SHA-256 of all weights, by the order of their names."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(arrays[name]).tobytes())
    return digest.hexdigest()


def _entry(said: Mapping[str, Any]) -> InspectorEntry:
    return InspectorEntry(
        said["coverage"],
        said["false_alarm"],
        tuple(said["windows"]),
        tuple(map(tuple, said["widening"])),
        tuple(map(tuple, said["faint"])),
        tuple(map(tuple, said["limits"])),
        tuple(map(tuple, said["varying"])),
        dict(said["facts"]),
    )
