"""A model's folder: `card.json` beside `toolbox.safetensors` and `agent.safetensors`; never a pickle.

What was exported to ONNX is read and written by `exported`. The one package that knows the names of the
files and the keys of the card. It reads and writes records and NumPy arrays; `toolbox.storage` and
`agent.storage` make networks of them.
"""

import hashlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy
from numpy.typing import NDArray

from rlrestore.errors import ModelError, RlrestoreError, UsageError
from rlrestore.imaging.io.atomic import write_together
from rlrestore.model_folder import card as cards
from rlrestore.model_folder.card import AgentEntry, ModelCard, Record, ToolboxEntry

SHIPPED = Path(__file__).parents[1] / "weights"
"""The models that come with the package, a folder each."""
CARD = "card.json"
LABEL_DIGITS = 7
"""Of each checksum in what figures call the weights that they are of."""
UNUSABLE_ENTRY = (AttributeError, KeyError, OverflowError, RuntimeError, TypeError, UsageError, ValueError)
"""What reading a damaged entry of a card, or building its networks, raises."""

Array = NDArray[Any]
Arrays = dict[str, Array]
"""Weights by their names in the network; floats are at least float32."""


def shipped_models() -> tuple[str, ...]:
    """Return the names of the models that come with the package."""
    return tuple(sorted(card.parent.name for card in SHIPPED.glob(f"*/{CARD}")))


def find_model(name_or_folder: str | os.PathLike[str]) -> Path:
    """Return the folder of a model, given the name of a shipped one or the folder itself.

    Raises:
        ModelError: There is neither.
    """
    name = os.fspath(name_or_folder)
    shipped = shipped_models()
    if name in shipped:
        return SHIPPED / name
    if not name or not os.path.isdir(name):  # noqa: PTH112  # Path.is_dir raises on too long a name
        raise ModelError(
            f"no model {name!r}: expected a model's folder or the name of a shipped model "
            f"({', '.join(shipped or ('none',))})"
        )
    return Path(name)


def has_model(folder: Path) -> bool:
    """Return whether there is a model in a folder."""
    return (folder / CARD).exists()


def card_of(folder: Path) -> str:
    """Return the name of a folder's card, for messages."""
    return str(folder / CARD)


def read_json(folder: Path) -> dict[str, Any]:
    """Return a model's card as it is written today.

    Raises:
        ModelError: There is no model in the folder, or its card is damaged or of another format.
    """
    try:
        text = (folder / CARD).read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ModelError(
            f"{card_of(folder)} is damaged: expected JSON ({error}); copy the model again"
        ) from error
    except OSError as error:
        raise ModelError(f"no model in {folder}: expected {CARD} there ({error.strerror})") from error
    return cards.read_json(text, card_of(folder))


def read_card(folder: Path) -> ModelCard:
    """Return what a model's card says of it beside its networks.

    Raises:
        ModelError: There is no model in the folder, or its card is damaged or of another format.
    """
    return cards.read_model_card(read_json(folder))


def checksums(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of a model's weights as its card names them, after checking that the files have it.

    Raises:
        ModelError: There is no model in the folder, or a file of it is damaged.
    """
    card = read_json(folder)
    parts = [part for part in ("toolbox", "agent") if isinstance(card.get(part), dict)]
    for part in parts:
        _read_arrays(folder, card, part)
    return {part: str(card[part]["sha256"]) for part in parts}


def weights_label(folder: Path) -> str:
    """Return what figures call the weights that they are of: how both checksums begin, as `4738b8a/28f2a97`.

    Raises:
        ModelError: As `checksums`.
    """
    return "/".join(digest[:LABEL_DIGITS] for digest in checksums(folder).values())


def read_toolbox(folder: Path) -> tuple[ToolboxEntry, Arrays]:
    """Return the tools of a model and their weights.

    Raises:
        ModelError: The folder, its card or its weights are not what they should be.
    """
    card = read_json(folder)
    arrays = _read_arrays(folder, card, "toolbox")
    try:
        return cards.read_toolbox_entry(card["toolbox"]), arrays
    except UNUSABLE_ENTRY as error:
        raise unusable_entry(folder, error) from error


def unusable_entry(folder: Path, error: Exception) -> ModelError:
    """Return the error for tools whose entry in the card makes no sense or no networks."""
    return ModelError(f"{card_of(folder)}: the toolbox entry cannot be understood ({error})")


def read_agent(folder: Path) -> tuple[AgentEntry, Arrays]:
    """Return the agent of a model and its weights.

    Raises:
        ModelError: The folder, its card or its weights are not what they should be.
    """
    card = read_json(folder)
    arrays = _read_arrays(folder, card, "agent")
    return cards.read_agent_entry(card_of(folder), card["agent"]), arrays


def write_model(
    folder: Path,
    card: ModelCard,
    toolbox: tuple[ToolboxEntry, Mapping[str, Array]],
    agent: tuple[AgentEntry, Mapping[str, Array]] | None = None,
) -> None:
    """Write a model; a full disk leaves the folder as it was.

    Args:
        folder: It is made when it does not exist.
        card: What is said of the model.
        toolbox: Its tools and their weights, in the precision in which they are to be written.
        agent: Its agent, likewise; None for tools alone.

    Raises:
        RlrestoreError: It cannot be written.
    """
    full = cards.model_card_json(card)
    files: dict[str, bytes] = {}
    parts = {"toolbox": (cards.toolbox_json(toolbox[0]), toolbox[1])}
    if agent is not None:
        parts["agent"] = (cards.agent_json(agent[0]), agent[1])
    for part, (entry, arrays) in parts.items():
        data = safetensors.numpy.save({name: np.asarray(each, order="C") for name, each in arrays.items()})
        full[part] = {**entry, "sha256": hashlib.sha256(data).hexdigest()}
        files[_weights(part)] = data
    write_files(folder, {**files, CARD: cards.to_json(full)})


def write_files(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write the files of a model together; a full disk leaves the folder as it was.

    Args:
        folder: It is made when it does not exist.
        files: Contents by name; the last one, the card, makes the others valid.

    Raises:
        RlrestoreError: They cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_together({folder / name: content for name, content in files.items()})
    except OSError as error:
        raise RlrestoreError(
            f"cannot write the model into {folder} ({error.strerror}); make room or choose another folder"
        ) from error


def add_facts(folder: Path, facts: Mapping[str, Any]) -> None:
    """Let a model's card say more, as JSON values; its networks stay as they are.

    Raises:
        ModelError: There is no model in the folder.
        RlrestoreError: The card cannot be written.
    """
    card = read_json(folder)
    try:
        write_together({folder / CARD: cards.to_json({**card, **facts})})
    except OSError as error:
        raise RlrestoreError(f"cannot write {card_of(folder)} ({error.strerror}); make room") from error


def set_margins(folder: Path, start_margins_db: Sequence[float], stop_margin_db: float) -> None:
    """Let a model's card say when its agent stops; the networks stay as they are.

    Raises:
        ModelError: There is no model in the folder, or a margin is not a number from 0.
        RlrestoreError: The card cannot be written.
    """
    read_agent(folder)
    agent = read_json(folder)["agent"]
    agent |= {"start_margins_db": list(start_margins_db), "stop_margin_db": stop_margin_db}
    cards.read_agent_entry(card_of(folder), agent)
    add_facts(folder, {"agent": agent})


def as_written(arrays: Mapping[str, Array], precision: str) -> Arrays:
    """Return weights in a precision of `PRECISIONS`; a tensor that would overflow there stays as it is."""

    def converted(array: Array) -> Array:
        if not np.issubdtype(array.dtype, np.floating):
            return array
        with np.errstate(over="ignore"):
            short = array.astype(precision)
        return short if np.array_equal(np.isfinite(short), np.isfinite(array)) else array

    return {name: converted(array) for name, array in arrays.items()}


def _weights(part: str) -> str:
    return f"{part}.safetensors"


def _read_arrays(folder: Path, card: Record, part: str) -> Arrays:
    """Return the weights of a part, after checking the file against the card."""
    path = folder / _weights(part)
    if cards.ONNX in card:
        raise ModelError(
            f"the model in {folder} is exported to ONNX, for restore, inspect, distribute, serve and tools "
            "alone: expected the model that it was exported from"
        )
    if not isinstance(card.get(part), dict):
        raise ModelError(
            f"the model in {folder} has no {part}: expected an entry {part!r} in its {CARD}; train it first, "
            "or take another model"
        )
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ModelError(f"cannot read {path}: {error.strerror}; copy the model again") from error
    if hashlib.sha256(data).hexdigest() != card[part].get("sha256"):
        raise ModelError(
            f"{path} is not the file that its {CARD} describes (sha256 differs); copy the model again"
        )
    try:
        arrays = safetensors.numpy.load(data)
    except (safetensors.SafetensorError, KeyError, ValueError) as error:
        raise ModelError(f"{path} is damaged: {error}; copy the model again") from error
    for name, array in arrays.items():
        if not np.isfinite(array).all():
            raise ModelError(
                f"{path}: the weight {name} holds a NaN or an infinity; this model cannot be used"
            )
    return {name: np.array(each, _in_memory(each.dtype)) for name, each in arrays.items()}


def _in_memory(dtype: np.dtype[Any]) -> np.dtype[Any]:
    return np.dtype(np.float32) if dtype == np.float16 else dtype
