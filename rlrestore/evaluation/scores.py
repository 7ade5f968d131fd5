"""How well a model restores a test set: every metric at every step, and the agent's actions.

Nothing here trains or selects anything: a test set is measured once, by the model as it is.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from rlrestore.agent.rollout import Rollout, greedy, roll_out
from rlrestore.errors import UsageError
from rlrestore.evaluation.file_pairs import FilePair, read_pair
from rlrestore.evaluation.report import Report
from rlrestore.evaluation.testsets import PatchPairs
from rlrestore.imaging import PATCH
from rlrestore.imaging.metrics import METRICS
from rlrestore.inference.chains import global_chain
from rlrestore.runtime.torch_runtime import TorchRuntime
from rlrestore.trace import STOP_NAME

BATCH = 64
"""Patches restored at once; bounds the memory, changes no number."""
STOPPED = -1
"""In the place of an action: the chain had already ended."""

PatchRestorer = Callable[[Tensor, Tensor], Rollout]
"""From degraded and clean patches `(B, 3, H, W)`, clean for oracles alone, to a rollout."""
PhotoChain = Iterator[tuple[Tensor, int]]
"""A photograph `(1, 3, H, W)` after each step, and the action that led there."""
Measured = tuple[dict[str, Tensor], Tensor]
"""Of a part of a set: the values of every metric `(B, steps + 1)`, and actions `(B, steps)`."""


@dataclass(frozen=True)
class Scores:
    """What was measured on each of N images, `steps` being the longest chain the model allows.

    Attributes:
        name: The test set.
        action_names: Names of the actions; the last is stop.
        values: Of every metric by its name `(N, steps + 1)`, at the input and after each step; a chain that
            ended keeps its value.
        actions: `(N, steps)` int64 index into `action_names`, `STOPPED` after the chain ended.
    """

    name: str
    action_names: tuple[str, ...]
    values: Mapping[str, Tensor]
    actions: Tensor

    def __post_init__(self) -> None:
        count, steps = self.actions.shape
        expected = (count, steps + 1)
        for name, values in self.values.items():
            if values.shape != expected:
                raise ValueError(
                    f"expected {name} of shape {expected} beside actions {(count, steps)}, "
                    f"got {tuple(values.shape)}"
                )

    @property
    def psnr_db(self) -> Tensor:
        """The PSNR `(N, steps + 1)` in dB."""
        return self.values["psnr_db"]

    @property
    def ssim(self) -> Tensor:
        """The SSIM `(N, steps + 1)`."""
        return self.values["ssim"]

    def tools(self) -> Tensor:
        """Return `(N,)` float64: how many tools each image passed."""
        stop = len(self.action_names) - 1
        return ((self.actions != stop) & (self.actions != STOPPED)).sum(dim=1).double()


def aligned(rows: list[list[str]]) -> list[str]:
    """Lay out cells in columns for a terminal, the first to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    cells = [["", row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])] for row in rows]
    return ["  ".join(row).rstrip() for row in cells]


def measure_patches(
    model: TorchRuntime, pairs: PatchPairs, batch: int = BATCH, progress: bool = False
) -> Scores:
    """Restore the patches of a test set and measure every step.

    Args:
        model: The model.
        pairs: The test set, at least one pair of the model's patch size.
        batch: How many patches are restored at once.
        progress: Whether to show a progress bar on stderr.

    Raises:
        UsageError: The agent takes patches of another size.
    """
    check_size(model, pairs)
    return measure_rollouts(_by(model), pairs, action_names(model), model.place, batch, progress)


def _by(model: TorchRuntime) -> PatchRestorer:
    return lambda images, _: restore_patches(model, images)


@torch.inference_mode()
def restore_patches(model: TorchRuntime, images: Tensor) -> Rollout:
    """Restore a batch of patches of the agent's own size, each by its own chain.

    Args:
        model: The model.
        images: `(B, 3, patch, patch)` RGB in [0, 1]; moved to the model's device.
    """
    return roll_out(model.toolbox, images.to(model.place), greedy(model.policy), model.policy.max_steps)


def measure_rollouts(
    restore: PatchRestorer,
    pairs: PatchPairs,
    names: tuple[str, ...],
    device: torch.device,
    batch: int = BATCH,
    progress: bool = False,
) -> Scores:
    """Measure every step of a restorer of patches on a test set.

    Args:
        restore: The restorer.
        pairs: The test set, at least one pair.
        names: Names of its actions, stop last.
        device: Where it computes.
        batch: How many patches are restored at once.
        progress: Whether to show a progress bar on stderr.
    """
    parts = [
        _measure_batch(
            restore, device, *(side[start : start + batch] for side in (pairs.degraded, pairs.clean))
        )
        for start in tqdm(range(0, len(pairs), batch), desc=pairs.name, unit="batch", disable=not progress)
    ]
    return join_scores(parts, pairs.name, names)


def check_size(model: TorchRuntime, pairs: PatchPairs) -> None:
    """Refuse patches of another size than the agent's.

    Raises:
        UsageError: They are.
    """
    if pairs.clean.shape[1:3] != (PATCH, PATCH):
        height, width = pairs.clean.shape[1:3]
        raise UsageError(f"expected patches of {PATCH}×{PATCH} for model {model.name}, got {width}×{height}")


@torch.inference_mode()
def _measure_batch(
    restore: PatchRestorer, device: torch.device, degraded: NDArray[np.uint8], clean: NDArray[np.uint8]
) -> Measured:
    images, target = (to_images(pixels).to(device) for pixels in (degraded, clean))
    rollout = restore(images, target)
    return _by_every_metric(rollout.images, target), rollout.actions.cpu()


def _by_every_metric(images: Iterable[Tensor], target: Tensor) -> dict[str, Tensor]:
    """Measure images `(B, 3, H, W)` of one size against their target: `(B, images)` by each metric's name."""
    rows = [[metric.measure(each, target) for metric in METRICS] for each in images]
    columns = zip(METRICS, zip(*rows, strict=True), strict=True)
    return {metric.name: torch.stack(values, dim=1).cpu() for metric, values in columns}


def to_images(pixels: NDArray[np.uint8]) -> Tensor:
    """Turn bytes `(B, H, W, 3)` into images `(B, 3, H, W)` in [0, 1], laid out channels last."""
    usable = np.require(pixels, requirements=["C", "W"])
    return torch.from_numpy(usable).permute(0, 3, 1, 2).float().div(255)


def measure_files(
    model: TorchRuntime, pairs: Sequence[FilePair], name: str, progress: bool = False
) -> Scores:
    """Restore pairs of image files and measure every step.

    An image of exactly the patch size is restored as a patch; any other as `rlrestore restore`
    does in its global mode, one chain for the whole image.

    Args:
        model: The model.
        pairs: The files, at least one pair.
        name: What to call the set.
        progress: Whether to show a progress bar on stderr.

    Raises:
        ImageError: A file cannot be read, or the sizes of a pair differ.
    """
    parts, steps = [], model.policy.max_steps
    for pair in tqdm(pairs, desc=name, unit="image", disable=not progress):
        degraded, clean = read_pair(pair)
        if clean.shape[:2] == (PATCH, PATCH):
            parts.append(_measure_batch(_by(model), model.place, degraded[None], clean[None]))
        else:
            image, target = (to_images(pixels[None]).to(model.place) for pixels in (degraded, clean))
            parts.append(measure_chain(photo_chain(model, image), image, target, steps))
    return join_scores(parts, name, action_names(model))


def photo_chain(model: TorchRuntime, image: Tensor) -> PhotoChain:
    """Restore a photograph `(1, 3, H, W)` in global mode, one chain for all of it; it may be changed."""
    names, pixels = action_names(model), image.cpu().numpy()
    for restored, step in global_chain(model.tools, model.agent, pixels, model.agent.max_steps):
        yield torch.from_numpy(restored).to(image.device), names.index(step.tool)


@torch.inference_mode()
def measure_chain(chain: PhotoChain, image: Tensor, target: Tensor, steps: int) -> Measured:
    """Measure every step of a chain on a photograph.

    Args:
        chain: What is done.
        image: `(1, 3, H, W)` the input.
        target: `(1, 3, H, W)` the clean photograph.
        steps: How long the chain may be.
    """
    parts, actions = [_by_every_metric([image], target)], []
    for restored, action in chain:
        parts.append(_by_every_metric([restored], target))
        actions.append(action)
    missing = steps - len(actions)
    parts += parts[-1:] * missing
    actions += [STOPPED] * missing
    return _joined(parts, dim=1), torch.tensor([actions])


def action_names(model: TorchRuntime) -> tuple[str, ...]:
    """What each action of a model is called, stop being the last."""
    return (*model.toolbox.names, STOP_NAME)


def join_scores(parts: Iterable[Measured], name: str, names: tuple[str, ...]) -> Scores:
    """Put together what was measured on the parts of a set.

    Args:
        parts: At least one.
        name: Name of the set.
        names: Names of the actions, stop last.
    """
    values, actions = zip(*parts, strict=True)
    doubles = {metric: each.double() for metric, each in _joined(values, dim=0).items()}
    return Scores(name, names, doubles, _until_stop(torch.cat(actions), len(names) - 1))


def _joined(parts: Sequence[Mapping[str, Tensor]], dim: int) -> dict[str, Tensor]:
    """Join the values of each metric."""
    return {name: torch.cat([part[name] for part in parts], dim=dim) for name in parts[0]}


def _until_stop(actions: Tensor, stop: int) -> Tensor:
    """Put `STOPPED` in the place of everything after the first stop: `(B, steps)`."""
    earlier_stops = (actions == stop).cumsum(dim=1) - (actions == stop).long()
    return torch.where(earlier_stops > 0, STOPPED, actions)


def merge(scores: Sequence[Scores], name: str) -> Scores:
    """Put several sets together, each image counting once."""
    values = _joined([part.values for part in scores], dim=0)
    return Scores(name, scores[0].action_names, values, torch.cat([part.actions for part in scores]))


def summarise(scores: Scores) -> Report:
    """Average a test set.

    Args:
        scores: Of at least one image.
    """
    gains = scores.psnr_db[:, -1] - scores.psnr_db[:, 0]
    count, steps = scores.actions.shape
    by_step = tuple(_count(scores.actions[:, step], scores.action_names) for step in range(steps))
    return Report(
        name=scores.name,
        n=count,
        means={metric: tuple(values.mean(dim=0).tolist()) for metric, values in scores.values.items()},
        gain_db=gains.mean().item(),
        gain_standard_error_db=standard_error(gains),
        worse_share=(gains < 0).double().mean().item(),
        least_gain_db=gains.min().item(),
        stop_shares=tuple(step[scores.action_names[-1]] / count for step in by_step),
        actions={name: sum(step[name] for step in by_step) for name in scores.action_names},
        actions_by_step=by_step,
    )


def standard_error(values: Tensor) -> float:
    """Return the standard error of the mean of `(N,)` values, 0 for a single one."""
    return (values.std() / len(values) ** 0.5).item() if len(values) > 1 else 0.0


def _count(actions: Tensor, names: tuple[str, ...]) -> dict[str, int]:
    counts = torch.bincount(actions[actions != STOPPED], minlength=len(names))
    return dict(zip(names, counts.tolist(), strict=True))
