"""What stands in a model's card, as records, and the keys under which it stands there."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, TypeGuard, get_args

from rlrestore.errors import ModelError
from rlrestore.imaging import PATCH
from rlrestore.toolbox.specs import (
    ANY_MIXTURE,
    LARGEST_RADIUS,
    LARGEST_WIDTH,
    Distortion,
    ToolSpec,
    check_name,
)

FORMAT_VERSION = 3
OLDEST_VERSION = 2
"""Cards of version 2 leave out sizes that were constants of the code then."""
VERSION_2_AGENT = {"hidden": 64, "features": 32, "memory": 50}
AGENT_FAMILIES = ("spectral", "paper")
AGENT_SIZES = ("hidden", "features", "memory")
"""Of an agent of family `spectral`; those of family `paper` are fixed."""
LARGEST_AGENT_SIZE = 4096
"""Of an agent's sizes, as `LARGEST_WIDTH` of a network's."""
LARGEST_STEPS = 1024
"""The same for its number of steps."""
LIMITS: dict[Distortion, tuple[float, float]] = {
    "blur": (0, 100),
    "noise": (0, 255),
    "jpeg": (1, 100),
    "mixture": ANY_MIXTURE,
}
"""Within what a tool's range can lie."""
PRECISIONS = ("float16", "float32")
"""In which weights lie on disk. Half of float32's bits cost a restoration less than 0.01 dB."""
USUAL_PRECISION = "float16"
ONNX = "onnx"
"""The key under which a card says that its model was exported (`model_folder.exported`)."""
PREFERENCE = "preference"
"""What a card says of values that are not in dB."""

Record = Mapping[str, Any]
"""A JSON object, such as what a card says of one training."""


@dataclass(frozen=True)
class ModelCard:
    """What a card says of a model beside its networks.

    Attributes:
        name: What the model is called; empty for none.
        precision: Of the weights on disk, a name of `PRECISIONS`.
        training: A record for each training that the model went through, in order.
        pieces: A record for each run that a training was done in.
        values_in_db: Whether the agent's values are gains in dB; those of PPO only rank the actions.
        facts: All else that is known of it, such as `about`, `data`, `note` and `scores`, as JSON values.
    """

    name: str = ""
    precision: str = USUAL_PRECISION
    training: tuple[Record, ...] = ()
    pieces: tuple[Record, ...] = ()
    values_in_db: bool = True
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class ToolboxEntry:
    """The tools of a model.

    Attributes:
        family: Of their networks.
        widths: Channels of the networks, by depth.
        tools: In the order of their actions; the names of a tool's weights begin with its number and a dot.
    """

    family: str
    widths: Mapping[int, tuple[int, ...]]
    tools: tuple[ToolSpec, ...]


@dataclass(frozen=True)
class AgentEntry:
    """The agent of a model.

    Attributes:
        family: Of its network, one of `AGENT_FAMILIES`.
        tools: Names of the tools that it was trained on, in the order of its actions.
        max_steps: The episode length that it was trained for.
        start_margins_db: By the tool that it values most at first, what that value must exceed, or it leaves
            the image as it is.
        stop_margin_db: It stops where no further tool's value is higher than this.
        sizes: By `AGENT_SIZES`; empty for the family `paper`.
    """

    family: str
    tools: tuple[str, ...]
    max_steps: int
    start_margins_db: tuple[float, ...]
    stop_margin_db: float
    sizes: Mapping[str, int] = field(default_factory=dict)


def read_json(text: str, source: str) -> dict[str, Any]:
    """Return a card as it is written today, whatever its version.

    Args:
        text: The card.
        source: Its path, for messages.

    Raises:
        ModelError: It is damaged or of another format.
    """
    try:
        card = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{source} is damaged: expected JSON ({error}); copy the model again") from error
    version = card.get("format_version") if isinstance(card, dict) else None
    if version not in range(OLDEST_VERSION, FORMAT_VERSION + 1):
        newer = isinstance(version, int) and version > FORMAT_VERSION
        cure = "of a newer version of rlrestore: update it" if newer else "of another version of rlrestore"
        raise ModelError(
            f"{source}: expected format_version {OLDEST_VERSION} to {FORMAT_VERSION}, got {version!r}: "
            f"this model is {cure}"
        )
    for key in ("training", "pieces"):
        records = card.get(key, [])
        if not isinstance(records, list) or not all(isinstance(record, dict) for record in records):
            raise ModelError(f"{source}: expected a list of records under {key!r}; copy the model again")
    if card.get("precision", USUAL_PRECISION) not in list(PRECISIONS):
        raise ModelError(f"{source}: expected precision {' or '.join(PRECISIONS)}, got {card['precision']!r}")
    return _from_version_2(card) if version == OLDEST_VERSION else {"precision": USUAL_PRECISION, **card}


def to_json(card: Record) -> bytes:
    """Return a card, but for its version, as it is written."""
    text = json.dumps({**card, "format_version": FORMAT_VERSION}, indent=2, ensure_ascii=False) + "\n"
    # A file name in the command that is not UTF-8 holds lone surrogates; escaped they are still JSON.
    return text.encode(errors="backslashreplace")


def read_model_card(card: Record) -> ModelCard:
    """Return what a card says of a model beside its networks."""
    known = {"name", "precision", "training", "pieces", "values", "toolbox", "agent", ONNX, "format_version"}
    return ModelCard(
        name=str(card.get("name", "")),
        precision=card["precision"],
        training=tuple(card.get("training", [])),
        pieces=tuple(card.get("pieces", [])),
        values_in_db="values" not in card,
        facts={key: value for key, value in card.items() if key not in known},
    )


def read_toolbox_entry(entry: Record) -> ToolboxEntry:
    """Return what a card says of the tools; a senseless entry raises one of many errors."""
    widths = {int(depth): tuple(map(int, each)) for depth, each in entry["widths"].items()}
    if not all(1 <= width <= LARGEST_WIDTH for each in widths.values() for width in each):
        raise ValueError(f"expected widths from 1 to {LARGEST_WIDTH}, got {widths}")
    return ToolboxEntry(entry["family"], widths, tuple(map(_spec, entry["tools"])))


def _spec(tool: Record) -> ToolSpec:
    """Return what a card says of one tool.

    Raises:
        ValueError: Its name could not be part of a file's, or its distortion or range is senseless.
    """
    name, distortion, ends = tool["name"], tool["distortion"], (tool["low"], tool["high"])
    check_name(name)
    if distortion not in get_args(Distortion):
        raise ValueError(f"expected a distortion of {', '.join(get_args(Distortion))}, got {distortion!r}")
    if not all(isinstance(end, int | float) and math.isfinite(end) for end in ends):
        raise ValueError(f"expected a range of two numbers, got {ends}")
    lowest, highest = LIMITS[distortion]
    if not lowest <= tool["low"] < tool["high"] <= highest:
        raise ValueError(f"expected a range of {distortion} within {lowest} and {highest}, got {ends}")
    kind, radius = tool.get("own", ""), tool.get("radius", 0)
    if not isinstance(kind, str) or not (isinstance(radius, int) and 0 <= radius <= LARGEST_RADIUS):
        raise ValueError(f"expected a kind and a radius up to {LARGEST_RADIUS}, got {kind!r}, {radius!r}")
    return ToolSpec(**{key: value for key, value in tool.items() if key != "own"}, custom=kind)


def read_agent_entry(card: str, entry: Record) -> AgentEntry:
    """Return what a card says of the agent.

    Args:
        card: The card's name, for messages.
        entry: What stands there.
    """
    side, steps = entry.get("patch_size"), entry.get("max_steps")
    if side != PATCH:
        raise ModelError(
            f"{card}: expected an agent for patches of {PATCH} pixels, got {side!r}; train the agent anew"
        )
    if not isinstance(steps, int) or not 1 <= steps <= LARGEST_STEPS:
        raise ModelError(f"{card}: expected max_steps as a whole number, got {steps!r}")
    margin_db = entry.get("stop_margin_db")
    if not _is_margin(margin_db):
        raise ModelError(f"{card}: expected stop_margin_db as a number from 0, got {margin_db!r}")
    tools, family = entry.get("tools"), entry.get("family")
    if not isinstance(tools, list):
        raise ModelError(f"{card}: expected the names of the agent's tools, got {tools!r}")
    if family not in AGENT_FAMILIES:
        raise ModelError(
            f"{card}: expected an agent of family {' or '.join(AGENT_FAMILIES)}, got {family!r}; "
            "train the agent anew on these tools, or update rlrestore"
        )
    sizes = {} if family == "paper" else _agent_sizes(card, entry.get("sizes"))
    starts_db = entry.get("start_margins_db", [margin_db] * len(tools))  # there was one margin for all steps
    if not isinstance(starts_db, list) or len(starts_db) != len(tools) or not all(map(_is_margin, starts_db)):
        raise ModelError(
            f"{card}: expected start_margins_db as a number from 0 for each of {len(tools)} tools, "
            f"got {starts_db!r}"
        )
    return AgentEntry(family, tuple(tools), steps, tuple(starts_db), margin_db, sizes)


def _is_margin(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and 0 <= value < math.inf


def _agent_sizes(card: str, sizes: Any) -> dict[str, int]:
    given = dict(sizes) if isinstance(sizes, dict) else {}
    whole = all(isinstance(size, int) and 1 <= size <= LARGEST_AGENT_SIZE for size in given.values())
    if sorted(given) != sorted(AGENT_SIZES) or not whole:
        raise ModelError(
            f"{card}: expected the agent's sizes, {', '.join(AGENT_SIZES)}, as whole numbers from 1 to "
            f"{LARGEST_AGENT_SIZE}, got {sizes!r}; copy the model again"
        )
    return given


def model_card_json(card: ModelCard) -> dict[str, Any]:
    """Return what is known of a model as it stands in its card."""
    named = {"name": card.name} if card.name else {}
    pieces = {"pieces": list(card.pieces)} if card.pieces else {}
    values = {} if card.values_in_db else {"values": PREFERENCE}
    head = {"precision": card.precision, **named, **card.facts}
    return {**head, "training": list(card.training), **pieces, **values}


def toolbox_json(entry: ToolboxEntry) -> dict[str, Any]:
    """Return the tools as they stand in a card."""
    tools = [asdict(spec) for spec in entry.tools]
    for tool in tools:
        kind = tool.pop("custom")
        if kind:
            tool["own"] = kind
        else:
            del tool["radius"]
    widths = {str(depth): list(each) for depth, each in entry.widths.items()}
    return {"family": entry.family, "widths": widths, "tools": tools}


def agent_json(entry: AgentEntry) -> dict[str, Any]:
    """Return the agent as it stands in a card."""
    margins_db = list(entry.start_margins_db)
    written = {
        **asdict(entry),
        "tools": list(entry.tools),
        "start_margins_db": margins_db,
        "patch_size": PATCH,
    }
    return written if entry.sizes else {key: value for key, value in written.items() if key != "sizes"}


def _from_version_2(card: Record) -> dict[str, Any]:
    """Return a card of version 2 with what it leaves unsaid: one width a network, the agent's sizes."""
    full: dict[str, Any] = {"precision": "float32", **card}
    toolbox, agent = card.get("toolbox"), card.get("agent")
    if isinstance(toolbox, dict) and isinstance(toolbox.get("widths"), dict):
        full["toolbox"] = {**toolbox, "widths": {depth: [one] for depth, one in toolbox["widths"].items()}}
    if isinstance(agent, dict):
        margin_db = agent.get("caution_db", 0.0)
        full["agent"] = {**agent, "sizes": VERSION_2_AGENT, "stop_margin_db": margin_db}
    return full
