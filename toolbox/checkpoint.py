"""Checkpoints of a training: weights, optimiser and data in one safetensors file."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from rlrestore.errors import ModelError, RlrestoreError
from rlrestore.imaging.io.atomic import write_atomically
from rlrestore.toolbox.storage import check_shapes, load_weights, tensors_under


def save_checkpoint(
    path: Path,
    network: nn.Module,
    optimizers: Mapping[str, torch.optim.Optimizer],
    progress: dict[str, Any],
    data: Mapping[str, Tensor] | None = None,
) -> None:
    """Write all that a training needs to go on where it was, on whichever device.

    Args:
        path: The file; its folder is made when it does not exist.
        network: Whose weights.
        optimizers: Adams by their names, whose moments; each has one group of parameters.
        progress: The steps and seconds trained, and anything else that JSON can hold.
        data: What the training has collected.

    Raises:
        RlrestoreError: It cannot be written; the one before it is still there.
    """
    tensors = {f"network.{name}": tensor for name, tensor in network.state_dict().items()}
    for owner, optimizer in optimizers.items():
        for index, moments in optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{owner}.{index}.{name}": tensor for name, tensor in moments.items()}
    tensors |= {f"data.{name}": tensor for name, tensor in (data or {}).items()}
    whole = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, safetensors.torch.save(whole, metadata={"progress": json.dumps(progress)}))
    except OSError as error:
        raise RlrestoreError(
            f"cannot write {path} ({error.strerror}); the checkpoint before it is whole: "
            "make room and go on with --resume"
        ) from error


def read_progress(path: Path) -> dict[str, Any]:
    """Return how far the training of a checkpoint has come.

    Raises:
        ModelError: The file cannot be read.
    """
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            progress = json.loads((file.metadata() or {})["progress"])
    except (OSError, KeyError, ValueError, safetensors.SafetensorError) as error:
        raise ModelError(
            f"{path} is not a checkpoint of this version ({error}); start without --resume"
        ) from error
    if not _is_progress(progress):
        raise ModelError(f"{path}: expected steps and seconds in its progress, got {progress}; delete it")
    return dict(progress)


def load_checkpoint(
    path: Path, network: nn.Module, optimizers: Mapping[str, torch.optim.Optimizer] | None = None
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Put a checkpoint back where it came from, and return its progress and its data.

    Without `optimizers`, their moments are left out.

    Raises:
        ModelError: The file cannot be read, or does not fit the network.
    """
    progress = read_progress(path)
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            tensors: dict[str, Tensor] = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, safetensors.SafetensorError) as error:
        raise ModelError(f"{path} is damaged ({error}); start without --resume") from error
    for name, tensor in tensors.items():
        if not name.startswith(("network.", "optimizer.", "data.")):
            raise ModelError(f"{path}: tensor {name}: expected no such tensor, got {tuple(tensor.shape)}")
        whole_numbers = not name.startswith("optimizer.") and not tensor.is_floating_point()
        if not whole_numbers and not (tensor.is_floating_point() and tensor.isfinite().all()):
            raise ModelError(f"{path}: tensor {name}: expected finite floats; delete the file")
    load_weights(network, tensors_under("network.", tensors), str(path))
    moments = tensors_under("optimizer.", tensors)
    for owner, optimizer in (optimizers or {}).items():
        own = tensors_under(f"{owner}.", moments)
        moments = {name: tensor for name, tensor in moments.items() if not name.startswith(f"{owner}.")}
        _restore_moments(optimizer, own, path)
    if optimizers is not None and moments:
        raise ModelError(f"{path}: moments of Adam: expected none but of {', '.join(optimizers)}")
    return progress, tensors_under("data.", tensors)


def _is_progress(progress: Any) -> bool:
    if not isinstance(progress, dict):
        return False
    steps, seconds = progress.get("steps"), progress.get("seconds")
    return (
        isinstance(steps, int) and steps >= 0 and isinstance(seconds, int | float) and 0 <= seconds < math.inf
    )


def _restore_moments(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor], path: Path) -> None:
    wanted: dict[str, tuple[int, ...]] = {}
    begun = {name.split(".")[0] for name in tensors}  # what was never used has no moments yet
    for index, parameter in enumerate(optimizer.param_groups[0]["params"]):
        shape = tuple(parameter.shape)
        if str(index) not in begun:
            continue
        wanted |= {f"{index}.step": (), f"{index}.exp_avg": shape, f"{index}.exp_avg_sq": shape}
    given = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    check_shapes(wanted, given, f"{path}: moments of Adam")
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        index_text, moment = name.split(".")
        state.setdefault(int(index_text), {})[moment] = tensor
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
