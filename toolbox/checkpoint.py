"""Checkpoints: a folder of three files, weights, optimiser and replay buffer; the last two may be absent.

`weights.safetensors` holds the networks and, as metadata, the progress. The other two carry the same stamp;
one of another stamp was left behind by a move, and the training goes on without it.
"""

import json
import logging
import math
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from rlrestore.errors import ModelError, RlrestoreError
from rlrestore.imaging.io.atomic import write_atomically, write_together
from rlrestore.model_folder import as_written
from rlrestore.model_folder.card import USUAL_PRECISION
from rlrestore.toolbox.muon import Muon
from rlrestore.toolbox.storage import check_shapes, load_weights, tensors_under, to_arrays

WEIGHTS, OPTIMIZER, REPLAY = "weights", "optimizer", "replay"
ADAM_MOMENTS, MUON_MOMENTS = ("step", "exp_avg", "exp_avg_sq"), ("exp_avg",)
"""What an optimiser keeps of a parameter; `Muon` of a matrix, and of others what Adam keeps."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainingState:
    """What a checkpoint of a training holds.

    Attributes:
        weights: All networks, averages among them.
        optimizers: `Muon`s and Adams by name, each of one group of parameters.
        counters: Whatever else JSON can hold and the training needs to go on.
        replay: Columns of the replay buffer; empty for a training without one.
    """

    weights: nn.Module
    optimizers: Mapping[str, torch.optim.Optimizer]
    counters: Mapping[str, Any]
    replay: Mapping[str, Tensor]


@dataclass(frozen=True)
class Checkpoint:
    """The checkpoint of one training.

    Attributes:
        folder: Its folder, made when it is first written.
    """

    folder: Path

    def exists(self) -> bool:
        """Return whether there is one."""
        return self._file(WEIGHTS).exists()

    def remove(self) -> None:
        """Delete it, and all that lies in its folder."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def save(self, state: TrainingState, progress: Mapping[str, Any]) -> None:
        """Write all parts, or none.

        Args:
            state: What to write; it is moved to the processor, so that any device can read it.
            progress: At least `steps` and `seconds`; anything that JSON can hold.

        Raises:
            RlrestoreError: They cannot be written; the checkpoint before is still there.
        """
        counters = dict(state.counters)
        stamp = f"{progress['steps']}-{progress['seconds']:.6f}"
        text = json.dumps({**progress, "counters": counters, "stamp": stamp})
        moments = {
            f"{owner}.{index}.{name}": tensor
            for owner, optimizer in state.optimizers.items()
            for index, each in optimizer.state_dict()["state"].items()
            for name, tensor in each.items()
        }
        parts = {OPTIMIZER: moments, REPLAY: dict(state.replay), WEIGHTS: state.weights.state_dict()}
        files = {
            self._file(part): _to_bytes(tensors, {"stamp": stamp, "progress": text})
            for part, tensors in parts.items()
            if tensors or part == WEIGHTS
        }
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            write_together(files, last_is_away=False)  # the stamps tell what belongs together
        except OSError as error:
            raise RlrestoreError(
                f"cannot write the checkpoint {self.folder} ({error.strerror}); the one before it is whole: "
                "make room and go on with --resume"
            ) from error

    def lighten(self, folder: Path) -> None:
        """Write a copy that travels: the weights in float16, without moments and replay buffer.

        Raises:
            ModelError: The checkpoint cannot be read.
            OSError: The copy cannot be written.
        """
        progress = self.progress()
        arrays = as_written(to_arrays(self._read(WEIGHTS, progress["stamp"])), USUAL_PRECISION)
        tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
        metadata = {"stamp": progress["stamp"], "progress": json.dumps(progress)}
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(Checkpoint(folder)._file(WEIGHTS), _to_bytes(tensors, metadata))

    def progress(self) -> dict[str, Any]:
        """Return how far the training has come.

        Raises:
            ModelError: There is no checkpoint, or it cannot be read.
        """
        path = self._file(WEIGHTS)
        try:
            with safetensors.safe_open(path, framework="pt") as file:
                progress = json.loads((file.metadata() or {})["progress"])
        except (OSError, KeyError, ValueError, safetensors.SafetensorError) as error:
            raise ModelError(f"{path} is not a checkpoint of this version ({error}); {CURE}") from error
        if not _is_progress(progress):
            raise ModelError(f"{path}: expected steps and seconds in its progress, got {progress}; {CURE}")
        return dict(progress)

    def load(self, state: TrainingState) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """Put weights and moments back where they came from.

        Args:
            state: Of a training of the same kind; its networks and optimisers change.

        Returns:
            The progress with its `counters`, and `moments`: whether those of the optimisers were there; and
            the columns of the replay buffer, on the processor: none where it was left behind.

        Raises:
            ModelError: A file cannot be read, or does not fit.
        """
        progress = self.progress()
        source = str(self._file(WEIGHTS))
        load_weights(state.weights, self._read(WEIGHTS, progress["stamp"]), source)
        moments = self._read(OPTIMIZER, progress["stamp"])
        for owner, optimizer in state.optimizers.items():
            _restore_moments(optimizer, tensors_under(f"{owner}.", moments), self._file(OPTIMIZER))
        return progress | {"moments": bool(moments)}, self._read(REPLAY, progress["stamp"])

    def _file(self, part: str) -> Path:
        return self.folder / f"{part}.safetensors"

    def _read(self, part: str, stamp: str) -> dict[str, Tensor]:
        """Return the tensors of a part, none where it was left behind or belongs to another checkpoint."""
        path = self._file(part)
        if part != WEIGHTS and not path.exists():
            return {}
        try:
            with safetensors.safe_open(path, framework="pt") as file:
                if (file.metadata() or {}).get("stamp") != stamp:
                    log.warning("%s is of another checkpoint and left out", path)
                    return {}
                # Copies: what is read is mapped from the file, and Windows replaces no file that is mapped.
                names = file.keys()
                tensors: dict[str, Tensor] = {name: file.get_tensor(name).clone() for name in names}
        except (OSError, safetensors.SafetensorError) as error:
            raise ModelError(f"{path} is damaged ({error}); {CURE}") from error
        for name, tensor in tensors.items():
            if tensor.is_floating_point() and not tensor.isfinite().all():
                raise ModelError(f"{path}: tensor {name}: expected finite floats; {CURE}")
        return tensors


CURE = "copy it again, or give --restart to start anew"


def _to_bytes(tensors: Mapping[str, Tensor], metadata: dict[str, str]) -> bytes:
    whole = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    return safetensors.torch.save(whole, metadata=metadata)


def _is_progress(progress: Any) -> bool:
    if not isinstance(progress, dict) or not isinstance(progress.get("stamp"), str):
        return False
    steps, seconds, counters = progress.get("steps"), progress.get("seconds"), progress.get("counters")
    return (
        isinstance(steps, int)
        and steps >= 0
        and isinstance(seconds, int | float)
        and 0 <= seconds < math.inf
        and isinstance(counters, dict)
    )


@torch.no_grad()
def _restore_moments(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor], path: Path) -> None:
    wanted: dict[str, tuple[int, ...]] = {}
    begun = {name.split(".")[0] for name in tensors}  # what was never used has no moments yet
    for index, parameter in enumerate(optimizer.param_groups[0]["params"]):
        if str(index) in begun:
            names = MUON_MOMENTS if isinstance(optimizer, Muon) and parameter.ndim > 1 else ADAM_MOMENTS
            shapes = {name: () if name == "step" else tuple(parameter.shape) for name in names}
            wanted |= {f"{index}.{name}": shape for name, shape in shapes.items()}
    given = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    try:
        check_shapes(wanted, given, f"{path}: moments of this training's optimiser")
    except ModelError as error:
        raise ModelError(
            f"{error}; those of an earlier version are of another optimiser: delete this file alone and go "
            "on without, or give --restart to start anew"
        ) from error
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        index_text, moment = name.split(".")
        weight = optimizer.param_groups[0]["params"][int(index_text)]
        # Fused, Adam goes over the memory of weights and moments alike: in the order of the weight's.
        laid_out = tensor if moment == "step" else torch.empty_like(weight).copy_(tensor)
        state.setdefault(int(index_text), {})[moment] = laid_out
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
