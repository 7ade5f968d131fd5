"""A model's folder that was exported to ONNX: `card.json` beside a file for each tool and one of the agent.

The card says by its entry `onnx` that onnxruntime runs the model; every other command wants the model that it
was exported from.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlrestore.errors import ModelError, UsageError
from rlrestore.model_folder import CARD, UNUSABLE_ENTRY, card_of, has_model, read_json, write_files
from rlrestore.model_folder import card as cards
from rlrestore.model_folder.card import AgentEntry, ModelCard, Record, ToolboxEntry
from rlrestore.toolbox.specs import LARGEST_RADIUS

VERSION = 1
"""Of the entry, and of what goes into the networks and comes out of them."""
AGENT = "agent.onnx"


@dataclass(frozen=True, eq=False)
class Exported:
    """A model in ONNX.

    Attributes:
        card: What is said of it.
        toolbox: Its N tools.
        agent: Its agent.
        radii: The receptive field of each tool, in pixels to each side.
        networks: The contents of the files: N of the tools, then that of the agent.
    """

    card: ModelCard
    toolbox: ToolboxEntry
    agent: AgentEntry
    radii: tuple[int, ...]
    networks: tuple[bytes, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The tools' names."""
        return tuple(spec.name for spec in self.toolbox.tools)


def is_exported(folder: Path) -> bool:
    """Return whether the model in a folder was exported to ONNX.

    Raises:
        ModelError: There is no model in the folder, or its card is damaged or of another format.
    """
    return cards.ONNX in read_json(folder)


def check_place(folder: Path) -> None:
    """Make sure that a model may be exported to a folder: nothing is there, or an earlier export.

    Raises:
        UsageError: A model of another kind is there.
    """
    if has_model(folder) and not is_exported(folder):
        raise UsageError(
            f"{folder} holds a model that is not exported, which would be lost: choose another --out"
        )


def write_exported(folder: Path, model: Exported) -> None:
    """Write a model; a full disk leaves the folder as it was.

    Raises:
        RlrestoreError: It cannot be written.
    """
    digests = [hashlib.sha256(content).hexdigest() for content in model.networks]
    onnx = {"version": VERSION, "radii": list(model.radii), "sha256": digests}
    toolbox, agent = cards.toolbox_json(model.toolbox), cards.agent_json(model.agent)
    full = {**cards.model_card_json(model.card), cards.ONNX: onnx, "toolbox": toolbox, "agent": agent}
    names = _file_names(model.names)
    write_files(folder, {**dict(zip(names, model.networks, strict=True)), CARD: cards.to_json(full)})


def read_exported(folder: Path) -> Exported:
    """Read a model, and check its files against its card.

    Raises:
        ModelError: The folder, its card or its files are not what they should be.
    """
    full = read_json(folder)
    entry = full.get(cards.ONNX)
    version = entry.get("version") if isinstance(entry, dict) else None
    if version != VERSION:
        raise ModelError(
            f"{card_of(folder)}: expected a model in ONNX of version {VERSION}, got {version!r}; export the "
            "model again by this version of rlrestore, or update it"
        )
    toolbox, radii, digests = _understood(folder, full)
    agent = cards.read_agent_entry(card_of(folder), full["agent"])
    names = tuple(spec.name for spec in toolbox.tools)
    if agent.tools != names:
        raise ModelError(
            f"{card_of(folder)}: the agent chooses among {list(agent.tools)}, the toolbox holds "
            f"{list(names)}; export the model again"
        )
    networks = (
        _read(folder / file, wanted) for file, wanted in zip(_file_names(names), digests, strict=True)
    )
    return Exported(cards.read_model_card(full), toolbox, agent, radii, tuple(networks))


def _understood(folder: Path, full: Record) -> tuple[ToolboxEntry, tuple[int, ...], tuple[str, ...]]:
    """Return the tools, their radii, and the checksums of all files."""
    try:
        toolbox = cards.read_toolbox_entry(full["toolbox"])
        radii, digests = tuple(full[cards.ONNX]["radii"]), tuple(full[cards.ONNX]["sha256"])
        if len(radii) != len(toolbox.tools) or len(digests) != len(radii) + 1:
            raise ValueError(f"expected a radius and a checksum for each of {len(toolbox.tools)} tools")
        if not isinstance(full.get("agent"), dict):
            raise ValueError("expected an agent")
        if not all(isinstance(radius, int) and 0 <= radius <= LARGEST_RADIUS for radius in radii):
            raise ValueError(f"expected radii from 0 to {LARGEST_RADIUS}, got {list(radii)}")
    except UNUSABLE_ENTRY as error:
        raise ModelError(
            f"{card_of(folder)}: its entries cannot be understood ({error}); export the model again"
        ) from error
    return toolbox, radii, digests


def _read(path: Path, digest: Any) -> bytes:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ModelError(f"cannot read {path}: {error.strerror}; copy the model again") from error
    if hashlib.sha256(content).hexdigest() != digest:
        raise ModelError(
            f"{path} is not the file that its {CARD} describes (sha256 differs); copy the model again"
        )
    return content


def _file_names(tools: tuple[str, ...]) -> tuple[str, ...]:
    """Return what the files are called; the number keeps apart names that a file system does not."""
    return (*(f"{index:02}-{name}.onnx" for index, name in enumerate(tools)), AGENT)
