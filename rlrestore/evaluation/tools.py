"""How well tools do their own tasks, and what they cost: the toolboxes of several models side by side.

The task of a tool is its own distortion alone, uniform in its range. A model that has no tool of the task's
name is measured by an oracle of one step: on each patch the best of its tools, by the true PSNR. So a single
network can be compared with twelve specialists.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from rlrestore.devices import resolve_device
from rlrestore.evaluation.costs import Cost, mean_cost, measure_costs
from rlrestore.evaluation.scores import BATCH, aligned, standard_error, to_images
from rlrestore.evaluation.testsets import Grid, PatchPairs, generate
from rlrestore.imaging.metrics import psnr_db
from rlrestore.toolbox.specs import ToolSpec
from rlrestore.toolbox.storage import load_toolbox
from rlrestore.toolbox.toolbox import Toolbox

ORACLE_NOTE = "* has no tool of this name: on each patch the best of its tools, by the true PSNR"


@dataclass(frozen=True)
class ComparedToolbox:
    """The toolbox of a model, under the model's name."""

    name: str
    toolbox: Toolbox

    @classmethod
    def load(cls, name_or_folder: str, device: str = "cpu") -> Self:
        """Read a model's tools; it need not have an agent.

        Raises:
            UsageError: There is no such model or device, or the model is damaged.
        """
        place = resolve_device(device)
        return cls(name_or_folder, load_toolbox(name_or_folder, place))


@dataclass(frozen=True)
class ToolGain:
    """How well one model does a task, or several on average.

    Attributes:
        model: Its name.
        gain_db: Mean over the patches of the PSNR gained, of the unrounded result.
        gain_standard_error_db: Of this mean, over patches.
        lead_db: By how much the first model's gain is higher; 0 for the first model itself.
        lead_standard_error_db: Of this difference, paired over the patches.
        oracle: Whether the model has no tool of the task's name (somewhere, in a mean), and an oracle chose.
    """

    model: str
    gain_db: float
    gain_standard_error_db: float
    lead_db: float
    lead_standard_error_db: float
    oracle: bool


@dataclass(frozen=True)
class TaskScores:
    """How well every model does one task, or several on average.

    Attributes:
        name: The tool whose task it is, or `mean`.
        spec: The tool; None for a mean.
        n: How many patches, of each task.
        psnr_db: Mean PSNR of the patches at the input.
        gains: One for each model, the first model first.
    """

    name: str
    spec: ToolSpec | None
    n: int
    psnr_db: float
    gains: tuple[ToolGain, ...]


@dataclass(frozen=True)
class ModelCosts:
    """What the tools of one model cost.

    Attributes:
        model: Its name.
        tools: By the tool's name, in the model's order.
        mean: Over these tools.
        speedup: How many patches the first model restores in batches of 64 while this one restores one, both
            using their tools equally often; 1 for the first model itself.
    """

    model: str
    tools: dict[str, Cost]
    mean: Cost
    speedup: float


@dataclass(frozen=True)
class ToolsReport:
    """Several toolboxes side by side; the first model is the one the others are compared with.

    Attributes:
        own: The tasks of the first model's tools, in its order.
        mean: The mean over these tasks, each counting once.
        others: The tasks of other models' tools of which the first model has none of the name.
        costs: One for each model.
        device: Where the models computed.
        threads: Torch's on the CPU.
    """

    own: tuple[TaskScores, ...]
    mean: TaskScores
    others: tuple[TaskScores, ...]
    costs: tuple[ModelCosts, ...]
    device: str
    threads: int

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return asdict(self)

    def table(self) -> str:
        """Return the report for a terminal."""
        names = short_names([costs.model for costs in self.costs])
        rows = [["tool", "its distortion", "input", *names, *(f"{names[0]} − {name}" for name in names[1:])]]
        rows += [_task_row(task) for task in (*self.own, self.mean, *self.others)]
        where = f"{self.device}, {self.threads} thread{'s' * (self.threads != 1)}"
        lines = [
            f"gain in dB on {self.mean.n} patches of each tool's own distortion alone (± standard error)",
            *aligned(rows),
            *([f"  {ORACLE_NOTE}"] if any("*" in cell for row in rows[1:] for cell in row) else []),
            "",
            f"cost on {where}; patches of 63×63, multiply-adds of the convolutions",
            *aligned([row for number in range(len(names)) for row in self._cost_rows(names, number)]),
        ]
        for name, costs in zip(names[1:], self.costs[1:], strict=True):
            lines.append(f"  at batch 64 {names[0]} is {costs.speedup:.2f} times as fast as {name}")
        return "\n".join(lines)

    def _cost_rows(self, names: list[str], number: int) -> list[list[str]]:
        """The cells of one model's tools, its mean and its head."""
        heads = ["parameters", "mult-adds/px", "ms/patch alone", "ms/patch of 64", "ms/Mpx"]
        own, first = self.costs[number], self.costs[0]
        rows = [[names[number], *heads, f"of 64, × {names[0]}'s" if number else ""]]
        for tool, cost in {**own.tools, "mean": own.mean}.items():
            against = first.mean if tool == "mean" else first.tools.get(tool)
            ratio = cost.batched_patch_ms / against.batched_patch_ms if number and against else None
            rows.append(
                [
                    tool,
                    f"{cost.parameters:,.0f}",
                    f"{cost.multiply_adds_per_px:,.0f}",
                    *(f"{ms:.3f}" for ms in (cost.patch_ms, cost.batched_patch_ms)),
                    f"{cost.megapixel_ms:.0f}",
                    "" if ratio is None else f"{ratio:.2f}",
                ]
            )
        return rows


def short_names(models: Sequence[str]) -> list[str]:
    """Return short names for tables: the last part of a folder's path where that is unambiguous."""
    last = [Path(model).name or model for model in models]
    return last if len(set(last)) == len(set(models)) else list(models)


def _task_row(task: TaskScores) -> list[str]:
    spec = task.spec
    return [
        task.name,
        "" if spec is None else f"{spec.distortion} {spec.low:g}–{spec.high:g}",
        f"{task.psnr_db:.2f}",
        *(f"{gain.gain_db:+.2f}{'*' if gain.oracle else ' '}" for gain in task.gains),
        *(f"{gain.lead_db:+.2f} ± {gain.lead_standard_error_db:.2f}" for gain in task.gains[1:]),
    ]


def compare_tools(
    photos: list[NDArray[np.uint8]],
    models: Sequence[ComparedToolbox],
    patches: int = 500,
    seed: int = 0,
    grid: Grid = "any",
    progress: bool = False,
) -> ToolsReport:
    """Measure every task and every tool's cost; nothing is trained or selected.

    The tasks are those of the first model's tools in order, then those of the others' tools whose name the
    first lacks. On each task all models restore the same patches.

    Args:
        photos: Clean photographs `(H, W, 3)` that no model was trained on, each at least 63 pixels high and
            wide.
        models: At least one, each with at least one tool; the first is compared with the others.
        patches: How many for each task.
        seed: The same seed gives the same patches.
        grid: Where patches begin on the JPEG grid, as in `generate`.
        progress: Whether to show progress bars on stderr.

    Raises:
        DataError: Nearly every patch of a task is above 50 dB at the input.
    """
    first = models[0].toolbox
    specs: dict[str, ToolSpec] = {}
    for model in models:
        specs = {spec.name: spec for spec in model.toolbox.specs} | specs
    tasks = [*first.specs, *(spec for name, spec in specs.items() if name not in first.names)]
    scores = [
        _score(generate(photos, spec, patches, seed, grid), spec, models)
        for spec in tqdm(tasks, desc="tools", unit="tool", disable=not progress)
    ]
    own, others = tuple(scores[: first.stop]), tuple(scores[first.stop :])
    device = str(next(first.parameters()).device)
    costs = _costs(models, progress)
    return ToolsReport(own, _mean(own), others, costs, device, torch.get_num_threads())


def _score(pairs: PatchPairs, spec: ToolSpec, models: Sequence[ComparedToolbox]) -> TaskScores:
    before_db = psnr_db(to_images(pairs.degraded), to_images(pairs.clean)).double()
    after_db = [_restored_db(model.toolbox, spec.name, pairs) for model in models]
    gains = [
        ToolGain(
            model=model.name,
            gain_db=(own_db - before_db).mean().item(),
            gain_standard_error_db=standard_error(own_db - before_db),
            lead_db=(after_db[0] - own_db).mean().item(),
            lead_standard_error_db=standard_error(after_db[0] - own_db),
            oracle=spec.name not in model.toolbox.names,
        )
        for model, own_db in zip(models, after_db, strict=True)
    ]
    return TaskScores(spec.name, spec, len(pairs), before_db.mean().item(), tuple(gains))


@torch.inference_mode()
def _restored_db(toolbox: Toolbox, name: str, pairs: PatchPairs) -> Tensor:
    """Return the PSNR `(N,)` of every patch after the tool of this name; without one, after the best tool."""
    indices = [toolbox.names.index(name)] if name in toolbox.names else range(toolbox.stop)
    device = toolbox.device
    parts = []
    for start in range(0, len(pairs), BATCH):
        images = to_images(pairs.degraded[start : start + BATCH]).to(device)
        target = to_images(pairs.clean[start : start + BATCH]).to(device)
        restored_db = torch.stack([psnr_db(toolbox.apply_tool(index, images), target) for index in indices])
        parts.append(restored_db.amax(dim=0).cpu())  # (tools, B) to (B,)
    return torch.cat(parts).double()


def _mean(tasks: Sequence[TaskScores]) -> TaskScores:
    """Average tasks, each counting once; their patches are drawn independently, so squared errors add up."""
    gains = [
        ToolGain(
            model=column[0].model,
            gain_db=sum(gain.gain_db for gain in column) / len(tasks),
            gain_standard_error_db=sum(gain.gain_standard_error_db**2 for gain in column) ** 0.5 / len(tasks),
            lead_db=sum(gain.lead_db for gain in column) / len(tasks),
            lead_standard_error_db=sum(gain.lead_standard_error_db**2 for gain in column) ** 0.5 / len(tasks),
            oracle=any(gain.oracle for gain in column),
        )
        for column in zip(*(task.gains for task in tasks), strict=True)
    ]
    return TaskScores(
        "mean", None, tasks[0].n, sum(task.psnr_db for task in tasks) / len(tasks), tuple(gains)
    )


def _costs(models: Sequence[ComparedToolbox], progress: bool) -> tuple[ModelCosts, ...]:
    measured = measure_costs([model.toolbox for model in models], progress)
    means = [mean_cost(costs) for costs in measured]
    return tuple(
        ModelCosts(
            model=model.name,
            tools=dict(zip(model.toolbox.names, costs, strict=True)),
            mean=mean,
            speedup=mean.batched_patch_ms / means[0].batched_patch_ms,
        )
        for model, costs, mean in zip(models, measured, means, strict=True)
    )
