"""The file of the tool that enlarges, beside a model's card and independent of it.

It describes itself: its sizes and its training are the header of the file.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import safetensors
import safetensors.numpy

from rlrestore.errors import ModelError
from rlrestore.model_folder import SHIPPED, Arrays, write_files
from rlrestore.model_folder.card import Record

UPSCALER = "upscaler.safetensors"
SCALES = (2, 3)
"""By which it enlarges."""
LARGEST_SIZE = 1024
"""Of a width or a number of pairs, so that a damaged header asks for no mountain of memory."""


@dataclass(frozen=True, eq=False)
class UpscalerFile:
    """What the file holds.

    Attributes:
        width: Channels of the network.
        pairs: Its residual pairs.
        weights: By their names in the network.
        training: What is said of its trainings, in their order, as JSON values.
    """

    width: int
    pairs: int
    weights: Arrays
    training: tuple[Record, ...] = ()


def find_upscaler(folder: Path) -> Path:
    """Return where a model's tool that enlarges is: its own, else the shipped model's.

    The tool only sees restored photographs, whichever model restored them.

    Raises:
        ModelError: There is none.
    """
    for place in (folder, SHIPPED / "default"):
        if (place / UPSCALER).is_file():
            return place / UPSCALER
    raise ModelError(f"no tool that enlarges: expected {UPSCALER} in {folder}")


def own_upscaler(folder: Path) -> UpscalerFile | None:
    """Return a model's own tool that enlarges, None of a model that takes the shipped one's.

    Raises:
        ModelError: It is damaged.
    """
    return read_upscaler(folder / UPSCALER) if (folder / UPSCALER).is_file() else None


def replace_upscaler(folder: Path, upscaler: UpscalerFile | None) -> None:
    """Give a model this tool that enlarges in the place of its own, or none.

    Raises:
        RlrestoreError: It cannot be written.
    """
    if upscaler is None:
        (folder / UPSCALER).unlink(missing_ok=True)
    else:
        write_upscaler(folder, upscaler)


def read_upscaler(path: Path) -> UpscalerFile:
    """Read the file.

    Raises:
        ModelError: It cannot be read, or is damaged.
    """
    try:
        with safetensors.safe_open(path, "numpy") as stored:
            about = json.loads((stored.metadata() or {})["upscaler"])
            weights = {name: stored.get_tensor(name).astype(np.float32) for name in stored.keys()}  # noqa: SIM118  # no mapping
        width, pairs = int(about["width"]), int(about["pairs"])
        if not (0 < width <= LARGEST_SIZE and 0 < pairs <= LARGEST_SIZE):
            raise ValueError(f"expected sizes from 1 to {LARGEST_SIZE}, got {width} and {pairs}")
        if not all(np.isfinite(array).all() for array in weights.values()):
            raise ValueError("a weight is a NaN or an infinity")
        return UpscalerFile(width, pairs, weights, tuple(about.get("training", ())))
    except (OSError, KeyError, TypeError, ValueError, safetensors.SafetensorError) as error:
        raise ModelError(f"{path} is damaged: {error}; copy it again") from error


def write_upscaler(folder: Path, upscaler: UpscalerFile) -> None:
    """Write the file in float16; a full disk leaves the one before.

    Raises:
        RlrestoreError: It cannot be written.
    """
    about = {"width": upscaler.width, "pairs": upscaler.pairs, "training": upscaler.training}
    arrays = {name: np.asarray(each, np.float16, order="C") for name, each in upscaler.weights.items()}
    data = safetensors.numpy.save(arrays, {"upscaler": json.dumps(about)})
    write_files(folder, {UPSCALER: data})
