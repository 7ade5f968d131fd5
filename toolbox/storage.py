"""A model on disk: `card.json` beside `toolbox.safetensors` and `agent.safetensors`; never a pickle."""

import hashlib
import json
import math
import zlib
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, get_args

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from rlrestore.errors import ModelError, RlrestoreError, UsageError
from rlrestore.imaging.io.atomic import write_together
from rlrestore.toolbox.custom import LARGEST_RADIUS, WHATEVER, build
from rlrestore.toolbox.networks import Widths, build_network, channels_last
from rlrestore.toolbox.specs import Distortion, ToolSpec, check_name
from rlrestore.toolbox.toolbox import Toolbox

FORMAT_VERSION = 3
OLDEST_VERSION = 2
"""Cards of version 2 say nothing of sizes that were constants of the code then."""
VERSION_2_AGENT = {"hidden": 64, "features": 32, "memory": 50}
CARD = "card.json"
LARGEST_WIDTH = 512
"""Beyond it a card is taken for damaged, before the memory for its networks is asked for."""
LIMITS: dict[Distortion, tuple[float, float]] = {
    "blur": (0, 100),
    "noise": (0, 255),
    "jpeg": (1, 100),
    "mixture": WHATEVER,
}
"""Within what a tool's range can lie."""
PRECISIONS = {"float16": torch.float16, "float32": torch.float32}
"""In which weights lie on disk. Half of float32's bits cost a restoration less than 0.01 dB."""
USUAL_PRECISION = "float16"
UNUSABLE_ENTRY = (AttributeError, KeyError, OverflowError, RuntimeError, TypeError, UsageError, ValueError)
"""What building a toolbox from a damaged card raises."""


def write_model(folder: Path, card: Mapping[str, Any], parts: Mapping[str, Mapping[str, Tensor]]) -> None:
    """Write weights and card; a full disk leaves the model as it was.

    Args:
        folder: The model's folder; made when it does not exist.
        card: What is said about the model; the parts' checksums and the format version are filled in here.
        parts: Tensors of `toolbox` and, where there is one, of `agent`.

    Raises:
        RlrestoreError: They cannot be written.
    """
    full: dict[str, Any] = {"precision": USUAL_PRECISION, **card, "format_version": FORMAT_VERSION}
    files: dict[Path, bytes] = {}
    for part, tensors in parts.items():
        data = safetensors.torch.save({name: tensor.cpu().contiguous() for name, tensor in tensors.items()})
        full[part] = {**full[part], "sha256": hashlib.sha256(data).hexdigest()}
        files[folder / f"{part}.safetensors"] = data
    text = json.dumps(full, indent=2, ensure_ascii=False) + "\n"
    # A file name in the command that is no UTF-8 holds lone surrogates; escaped they are still JSON.
    files[folder / CARD] = text.encode(errors="backslashreplace")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_together(files)
    except OSError as error:
        raise RlrestoreError(
            f"cannot write the model into {folder} ({error.strerror}); make room or choose another folder"
        ) from error


def read_card(folder: Path) -> dict[str, Any]:
    """Return a model's card; one of an older format as today's, but for its `format_version`.

    Raises:
        ModelError: There is no model in the folder, its card is damaged or of another format, or what it says
            of trainings is no list of records.
    """
    path = folder / CARD
    try:
        card = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ModelError(f"no model in {folder}: expected {CARD} there ({error.strerror})") from error
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{path} is damaged: expected JSON ({error}); copy the model again") from error
    version = card.get("format_version") if isinstance(card, dict) else None
    if version not in range(OLDEST_VERSION, FORMAT_VERSION + 1):
        newer = isinstance(version, int) and version > FORMAT_VERSION
        cure = "of a newer version of rlrestore: update it" if newer else "of another version of rlrestore"
        raise ModelError(
            f"{path}: expected format_version {OLDEST_VERSION} to {FORMAT_VERSION}, got {version!r}: "
            f"this model is {cure}"
        )
    for key in ("training", "pieces"):
        records = card.get(key, [])
        if not isinstance(records, list) or not all(isinstance(record, dict) for record in records):
            raise ModelError(f"{path}: expected a list of records under {key!r}; copy the model again")
    if card.get("precision", USUAL_PRECISION) not in list(PRECISIONS):
        raise ModelError(f"{path}: expected precision {' or '.join(PRECISIONS)}, got {card['precision']!r}")
    return _from_version_2(card) if version == OLDEST_VERSION else {"precision": USUAL_PRECISION, **card}


def _from_version_2(card: Mapping[str, Any]) -> dict[str, Any]:
    """Return a card of version 2 with what it leaves unsaid: one width a network, the agent's sizes."""
    full: dict[str, Any] = {"precision": "float32", **card}
    toolbox, agent = card.get("toolbox"), card.get("agent")
    if isinstance(toolbox, dict) and isinstance(toolbox.get("widths"), dict):
        full["toolbox"] = {**toolbox, "widths": {depth: [one] for depth, one in toolbox["widths"].items()}}
    if isinstance(agent, dict):
        full["agent"] = {**agent, "sizes": VERSION_2_AGENT}
    return full


def read_part(folder: Path, card: Mapping[str, Any], part: str) -> dict[str, Tensor]:
    """Return the tensors of `toolbox` or `agent`, after checking the file against the card.

    Raises:
        ModelError: The part or its file is missing, was altered, or holds a NaN or an infinity.
    """
    path = folder / f"{part}.safetensors"
    if not isinstance(card.get(part), dict):
        raise ModelError(f"the model in {folder} has no {part}: expected an entry {part!r} in its {CARD}")
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ModelError(f"cannot read {path}: {error.strerror}; copy the model again") from error
    if hashlib.sha256(data).hexdigest() != card[part].get("sha256"):
        raise ModelError(
            f"{path} is not the file that its {CARD} describes (sha256 differs); copy the model again"
        )
    try:
        tensors = safetensors.torch.load(data)
    except safetensors.SafetensorError as error:
        raise ModelError(f"{path} is damaged: {error}; copy the model again") from error
    for name, tensor in tensors.items():
        if not torch.isfinite(tensor.float()).all():
            raise ModelError(
                f"{path}: the weight {name} holds a NaN or an infinity; this model cannot be used"
            )
    return tensors


def check_shapes(
    wanted: Mapping[str, tuple[int, ...]], given: Mapping[str, tuple[int, ...]], source: str
) -> None:
    """Compare the shapes of tensors, by name.

    Raises:
        ModelError: A tensor is missing, is one too many, or has the wrong shape.
    """
    for name in sorted(wanted.keys() | given.keys()):
        if wanted.get(name) != given.get(name):
            expected, got = wanted.get(name, "no such tensor"), given.get(name, "none")
            raise ModelError(f"{source}: tensor {name}: expected {expected}, got {got}")


def load_weights(module: nn.Module, tensors: Mapping[str, Tensor], source: str) -> None:
    """Put tensors into a module.

    Raises:
        ModelError: A tensor is missing, is one too many, or has the wrong shape.
    """
    wanted = {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}
    check_shapes(wanted, {name: tuple(tensor.shape) for name, tensor in tensors.items()}, source)
    module.load_state_dict(dict(tensors))


def fit_weights(module: nn.Module, tensors: Mapping[str, Tensor], folder: Path, part: str) -> None:
    """Put the tensors of a part of a model into the module that its card describes.

    Raises:
        ModelError: They are of other sizes.
    """
    load_weights(module, tensors, f"{folder / part}.safetensors does not fit the sizes in its {CARD}")


def checksum(module: nn.Module) -> int:
    """Return a number that tells one set of weights from another."""
    total = 0
    for weight in module.state_dict().values():
        total = zlib.crc32(weight.detach().cpu().contiguous().numpy().tobytes(), total)
    return total


def describe_toolbox(toolbox: Toolbox) -> dict[str, Any]:
    """Return a toolbox's entry for the card."""
    widths = {str(depth): list(each) for depth, each in toolbox.widths.items()}
    tools = [asdict(spec) for spec in toolbox.specs]
    for tool in tools:
        kind = tool.pop("custom")
        if kind:
            tool["own"] = kind
        else:
            del tool["radius"]
    return {"family": toolbox.family, "widths": widths, "tools": tools}


def as_written(tensors: Mapping[str, Tensor], card: Mapping[str, Any]) -> dict[str, Tensor]:
    """Return weights in the precision that a card asks for; what would overflow there stays as it is."""
    precision = PRECISIONS[card.get("precision", USUAL_PRECISION)]

    def converted(tensor: Tensor) -> Tensor:
        short = tensor.to(precision) if tensor.is_floating_point() else tensor
        return short if torch.equal(short.isfinite(), tensor.isfinite()) else tensor

    return {name: converted(tensor) for name, tensor in tensors.items()}


def toolbox_weights(toolbox: Toolbox, card: Mapping[str, Any]) -> dict[str, Tensor]:
    """Return the weights of all tools as they are written; those of a tool of your own stay as they are."""
    weights: dict[str, Tensor] = {}
    for index, (spec, network) in enumerate(zip(toolbox.specs, toolbox.networks, strict=True)):
        tensors = network.state_dict()
        written = tensors if spec.custom else as_written(tensors, card)
        weights |= {f"{index}.{name}": tensor for name, tensor in written.items()}
    return weights


def save_toolbox(folder: Path, toolbox: Toolbox, card: Mapping[str, Any]) -> None:
    """Write a model that has tools and no agent, in the card's `precision` (float16 without one)."""
    write_model(
        folder, {**card, "toolbox": describe_toolbox(toolbox)}, {"toolbox": toolbox_weights(toolbox, card)}
    )


def tensors_under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return those tensors whose names begin with a prefix, by the rest of their names."""
    return {name.removeprefix(prefix): each for name, each in tensors.items() if name.startswith(prefix)}


def _spec(tool: Mapping[str, Any]) -> ToolSpec:
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
    own, radius = tool.get("own", ""), tool.get("radius", 0)
    if not isinstance(own, str) or not (isinstance(radius, int) and 0 <= radius <= LARGEST_RADIUS):
        raise ValueError(f"expected a kind and a radius up to {LARGEST_RADIUS}, got {own!r}, {radius!r}")
    return ToolSpec(**{key: value for key, value in tool.items() if key != "own"}, custom=own)


def _network(spec: ToolSpec, family: str, widths: Widths, tensors: Mapping[str, Tensor]) -> nn.Module:
    """Make the network of a tool, whose weights are still to be read."""
    return build(spec, tensors) if spec.custom else build_network(family, spec.depth, widths)


def load_toolbox(folder: Path, device: torch.device | str = "cpu") -> Toolbox:
    """Read the tools of a model, ready for use.

    Raises:
        ModelError: The folder, its card or its weights are not what they should be.
    """
    card = read_card(folder)
    tensors = read_part(folder, card, "toolbox")
    try:
        entry = card["toolbox"]
        specs = [_spec(tool) for tool in entry["tools"]]
        widths = {int(depth): tuple(map(int, each)) for depth, each in entry["widths"].items()}
        if not all(1 <= width <= LARGEST_WIDTH for each in widths.values() for width in each):
            raise ValueError(f"expected widths from 1 to {LARGEST_WIDTH}, got {widths}")
        family = entry["family"]
        networks = [
            _network(spec, family, widths.get(spec.depth, ()), tensors_under(f"{index}.", tensors))
            for index, spec in enumerate(specs)
        ]
        toolbox = Toolbox(specs, family, networks, widths)
    except UNUSABLE_ENTRY as error:
        raise ModelError(f"{folder / CARD}: the toolbox entry cannot be understood ({error})") from error
    fit_weights(toolbox.networks, tensors, folder, "toolbox")
    channels_last(toolbox)
    return toolbox.to(device).eval().requires_grad_(False)
