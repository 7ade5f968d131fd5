"""A model's tools, from its folder to networks and back."""

import os
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from rlrestore.errors import ModelError
from rlrestore.model_folder import (
    UNUSABLE_ENTRY,
    Array,
    Arrays,
    as_written,
    card_of,
    find_model,
    read_toolbox,
    unusable_entry,
    write_model,
)
from rlrestore.model_folder.card import ModelCard, ToolboxEntry
from rlrestore.toolbox.custom import build
from rlrestore.toolbox.networks import build_network, channels_last
from rlrestore.toolbox.toolbox import Toolbox


def load_toolbox(name_or_folder: str | os.PathLike[str], device: torch.device | str = "cpu") -> Toolbox:
    """Read the tools of a model, ready for use.

    Args:
        name_or_folder: A model that comes with the package, or a model's folder.
        device: Where to compute.

    Raises:
        ModelError: There is no such model, or its card or its weights are not what they should be.
    """
    folder = find_model(name_or_folder)
    entry, arrays = read_toolbox(folder)
    tensors = to_tensors(arrays)
    try:
        networks = [
            build(spec, tensors_under(f"{index}.", tensors))
            if spec.custom
            else build_network(entry.family, spec.depth, entry.widths.get(spec.depth, ()))
            for index, spec in enumerate(entry.tools)
        ]
        toolbox = Toolbox(entry.tools, entry.family, networks, entry.widths)
    except UNUSABLE_ENTRY as error:
        raise unusable_entry(folder, error) from error
    load_weights(toolbox.networks, tensors, weights_of(folder, "toolbox"))
    channels_last(toolbox)
    return toolbox.to(device).eval().requires_grad_(False)


def save_toolbox(folder: str | os.PathLike[str], toolbox: Toolbox, card: ModelCard | None = None) -> None:
    """Write a model that has tools and no agent.

    Args:
        folder: The model's folder; made when it does not exist.
        toolbox: The tools.
        card: What is said of them, and the precision of the weights on disk.

    Raises:
        RlrestoreError: It cannot be written.
    """
    card = card or ModelCard()
    write_model(Path(folder), card, toolbox_entry(toolbox, card))


def toolbox_entry(toolbox: Toolbox, card: ModelCard) -> tuple[ToolboxEntry, Arrays]:
    """Return what a model folder holds of a toolbox; the weights of custom tools stay as they are."""
    weights: Arrays = {}
    for index, (spec, network) in enumerate(zip(toolbox.specs, toolbox.networks, strict=True)):
        arrays = to_arrays(network.state_dict())
        written = arrays if spec.custom else as_written(arrays, card.precision)
        weights |= {f"{index}.{name}": array for name, array in written.items()}
    return ToolboxEntry(toolbox.family, toolbox.widths, toolbox.specs), weights


def to_tensors(arrays: Mapping[str, Array]) -> dict[str, Tensor]:
    """Return arrays as tensors that share their memory."""
    return {name: torch.from_numpy(array) for name, array in arrays.items()}


def to_arrays(tensors: Mapping[str, Tensor]) -> Arrays:
    """Return tensors as arrays; floats of a type that NumPy lacks, such as bfloat16, become float32."""
    return {name: _to_array(tensor.detach().cpu()) for name, tensor in tensors.items()}


def _to_array(tensor: Tensor) -> Array:
    try:
        array: Array = tensor.numpy()
    except TypeError:
        array = tensor.float().numpy()
    return np.asarray(array, order="C")


def weights_of(folder: Path, part: str) -> str:
    """Return how messages name the weights of a part of a model, `toolbox` or `agent`."""
    return f"{folder / part}.safetensors does not fit the sizes in its {Path(card_of(folder)).name}"


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

    Args:
        module: It keeps its tensors and takes on the values of these.
        tensors: By the names of the module's own.
        source: Where they come from, for messages.

    Raises:
        ModelError: A tensor is missing, is one too many, or has the wrong shape.
    """
    wanted = {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}
    check_shapes(wanted, {name: tuple(tensor.shape) for name, tensor in tensors.items()}, source)
    module.load_state_dict(dict(tensors))


def tensors_under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return those tensors whose names begin with a prefix, by the rest of their names."""
    return {name.removeprefix(prefix): each for name, each in tensors.items() if name.startswith(prefix)}


def checksum(module: nn.Module) -> int:
    """Return a CRC-32 of all weights of a module."""
    total = 0
    for array in to_arrays(module.state_dict()).values():
        total = zlib.crc32(array.tobytes(), total)
    return total
