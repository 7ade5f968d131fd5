"""Whether the metrics agree: on which of our own outputs of a patch is better, and on what a chain gains."""

import itertools
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from experiments.presentation import markdown_table
from rlrestore.evaluation.scores import BATCH, restore_patches, to_images
from rlrestore.evaluation.testsets import PatchPairs
from rlrestore.imaging.metrics import METRICS, Metric
from rlrestore.inference.photos import to_frame
from rlrestore.picture import Cell, Row, draw_rows
from rlrestore.runtime.torch_runtime import TorchRuntime

SSIM = [metric.name for metric in METRICS].index("ssim")
ZOOM = 4
"""Pixels of a picture for one of a patch."""
PATCH_PIXELS = 63 * ZOOM


@dataclass(frozen=True)
class Outputs:
    """What was made of N patches, C outputs of each: as it came, by every tool once, and by the agent.

    Attributes:
        pairs: The patches.
        names: Of the outputs; the first is the input, the last the agent's.
        values: `(N, C, metrics)` float64, each metric's sign such that more is better.
        seconds: How long each metric took for all of them.
    """

    pairs: PatchPairs
    names: tuple[str, ...]
    values: Tensor
    seconds: tuple[float, ...]


@dataclass(frozen=True)
class Quarrel:
    """Two outputs of one patch about which two metrics disagree.

    Attributes:
        patch: Its number.
        first: The output that the first metric prefers.
        second: The output that the second metric prefers.
        strength: By how much: the smaller of both preferences, each in standard deviations of its metric's
            differences between outputs of a patch.
    """

    patch: int
    first: int
    second: int
    strength: float


@torch.inference_mode()
def measure_outputs(model: TorchRuntime, pairs: PatchPairs) -> Outputs:
    """Measure the outputs of every patch by every metric."""
    parts, seconds = [], [0.0] * len(METRICS)
    for begin in range(0, len(pairs), BATCH):
        clean = to_images(pairs.clean[begin : begin + BATCH])
        outputs = _outputs(model, to_images(pairs.degraded[begin : begin + BATCH]))
        columns = []
        for number, metric in enumerate(METRICS):
            started = time.perf_counter()
            columns.append(torch.stack([_signed(metric) * metric.measure(each, clean) for each in outputs]))
            seconds[number] += time.perf_counter() - started
        parts.append(torch.stack(columns, dim=2).movedim(1, 0).double())  # (B, C, metrics)
    names = ("input", *model.toolbox.names, "agent")
    return Outputs(pairs, names, torch.cat(parts), tuple(seconds))


def _outputs(model: TorchRuntime, degraded: Tensor) -> list[Tensor]:
    by_hand = model.toolbox.apply_all(degraded).unbind(dim=1)
    return [degraded, *by_hand, restore_patches(model, degraded).images[-1]]


def _signed(metric: Metric) -> int:
    return 1 if metric.larger_is_better else -1


def ranks(values: Tensor) -> Tensor:
    """Return the ranks of the last dimension from 0, equal values sharing the mean of theirs."""
    below = (values[..., None] > values[..., None, :]).sum(dim=-1)
    equal = (values[..., None] == values[..., None, :]).sum(dim=-1)
    return below + (equal - 1) / 2


def rank_correlation(first: Tensor, second: Tensor) -> Tensor:
    """Return Spearman's ρ along the last dimension; 0 where all values of one are equal."""
    centred = [
        each - each.mean(dim=-1, keepdim=True) for each in (ranks(first).double(), ranks(second).double())
    ]
    lengths = centred[0].norm(dim=-1) * centred[1].norm(dim=-1)
    correlation: Tensor = (centred[0] * centred[1]).sum(dim=-1) / lengths.clamp(min=1e-12)
    return correlation


def agreement(outputs: Outputs) -> tuple[Tensor, Tensor, Tensor]:
    """Compare all pairs of metrics.

    Returns:
        Three matrices `(metrics, metrics)`: the mean over patches of the rank correlation of the outputs of a
        patch; the rank correlation over patches of the agent's gains; the share of patches in which both
        prefer the same output of all.
    """
    values = outputs.values.movedim(2, 0)  # (metrics, N, C)
    gains, best = values[..., -1] - values[..., 0], values.argmax(dim=2)
    within = rank_correlation(values[:, None], values[None]).mean(dim=2)
    same = (best[:, None] == best[None]).double().mean(dim=2)
    return within, rank_correlation(gains[:, None], gains[None]), same


def quarrels(outputs: Outputs, first: int, second: int, count: int) -> list[Quarrel]:
    """Return the pairs of outputs about which two metrics disagree most, of a patch one pair at most."""
    gaps = outputs.values[:, :, None] - outputs.values[:, None]  # (N, C, C, metrics)
    gaps = gaps / gaps.flatten(0, 2).std(dim=0)
    strength = torch.minimum(gaps[..., first], -gaps[..., second])
    most, places = strength.flatten(1).max(dim=1)
    order = most.argsort(descending=True)[:count].tolist()
    width = len(outputs.names)
    return [Quarrel(patch, *divmod(int(places[patch]), width), float(most[patch])) for patch in order]


def agreement_tables(outputs: Outputs) -> str:
    """Return what `agreement` found as Markdown."""
    titles = ("outputs of one patch", "gains of the agent over patches", "same output is the best")
    parts = []
    for title, matrix in zip(titles, agreement(outputs), strict=True):
        rows = [[title, *(metric.title for metric in METRICS)]]
        for metric, row in zip(METRICS, matrix.tolist(), strict=True):
            rows.append([metric.title, *(f"{value:.2f}" for value in row)])
        parts.append(markdown_table(rows))
    times = [f"{each / outputs.seconds[SSIM]:.2f}" for each in outputs.seconds]
    rows = [["time", *(metric.title for metric in METRICS)], ["beside SSIM's", *times]]
    return "\n\n".join([*parts, markdown_table(rows)])


def agreement_json(outputs: Outputs) -> dict[str, Any]:
    """Return the same unrounded, and the pairs about which the metrics disagree most."""
    within, gains, same = (matrix.tolist() for matrix in agreement(outputs))
    worst = {
        f"{METRICS[first].name} against {METRICS[second].name}": [
            {**vars(each), "first": outputs.names[each.first], "second": outputs.names[each.second]}
            for each in quarrels(outputs, first, second, 3)
        ]
        for first, second in itertools.permutations(range(len(METRICS)), 2)
    }
    return {
        "metrics": [metric.name for metric in METRICS],
        "patches": len(outputs.pairs),
        "within": within,
        "gains": gains,
        "same_best": same,
        "quarrels": worst,
        "seconds": list(outputs.seconds),
    }


@torch.inference_mode()
def quarrel_picture(model: TorchRuntime, outputs: Outputs, against: int = 0) -> Image.Image:
    """Draw for every other metric the pair of outputs about which it and one metric disagree most.

    Args:
        model: The model that made the outputs.
        outputs: What was measured.
        against: The number of that metric; the first is PSNR.
    """
    rows = []
    for other in range(len(METRICS)):
        if other != against:
            (quarrel,) = quarrels(outputs, against, other, 1)
            rows.append(_quarrel_row(model, outputs, quarrel, (against, other)))
    legend = ["Each metric's own direction: less GMSD is better, more of the others."]
    return draw_rows("Where the metrics disagree most", legend, rows, PATCH_PIXELS)


def _quarrel_row(model: TorchRuntime, outputs: Outputs, quarrel: Quarrel, metrics: tuple[int, int]) -> Row:
    part = slice(quarrel.patch, quarrel.patch + 1)
    made = _outputs(model, to_images(outputs.pairs.degraded[part]))
    cells = [_cell("reference", to_images(outputs.pairs.clean[part]))]
    for index in dict.fromkeys((0, quarrel.first, quarrel.second)):
        values = outputs.values[quarrel.patch, index].tolist()
        caption = [_text(metric, value) for metric, value in zip(METRICS, values, strict=True)]
        cells.append(_cell(outputs.names[index], made[index], caption))
    first, second = (METRICS[index].title.removesuffix(", dB") for index in metrics)
    names = outputs.names[quarrel.first], outputs.names[quarrel.second]
    return Row(f"{first} prefers {names[0]}, {second} prefers {names[1]}", tuple(cells))


def _text(metric: Metric, value: float) -> str:
    name, _, unit = metric.title.partition(", ")
    return f"{name} {_signed(metric) * value:.{metric.decimals}f} {unit}".rstrip()


def _cell(title: str, image: Tensor, caption: Sequence[str] = ()) -> Cell:
    pixels = to_frame(image.cpu().numpy()).repeat(ZOOM, axis=0).repeat(ZOOM, axis=1)
    return Cell(title, tuple(caption), pixels)
