"""Ablations: a model on the same patches without one of its parts.

Nothing is trained here. An agent that is restricted to some of its tools, or that runs for more steps, was
not trained for that: it takes the best of the allowed tools by the values that it has learned.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from tqdm import tqdm

from experiments.comparison import Estimate
from experiments.presentation import markdown_table
from rlrestore.agent.measure import greedy_oracle
from rlrestore.agent.policy import AnyPolicy
from rlrestore.agent.rollout import greedy, roll_out
from rlrestore.evaluation.costs import executed, tool_multiply_adds
from rlrestore.evaluation.policy import BehaviourFactory
from rlrestore.evaluation.scores import Scores, check_size, measure_rollouts
from rlrestore.evaluation.testsets import PatchPairs
from rlrestore.runtime.torch_runtime import TorchRuntime
from rlrestore.toolbox.specs import ToolSpec
from rlrestore.toolbox.toolbox import Toolbox
from rlrestore.trace import STOP_NAME

SEPARATE = "without joint training"
STEPS = (1, 2, 3, 4, 5)
NOTES = """\
*Gain* is the mean PSNR gained, ± its standard error over patches; in brackets the difference to the model,
paired over the patches. *Multiply-adds* are those of the tools that were applied to a patch, in millions, and
*tools* is the number of these; both are means over all patches of the three mixtures. The agent is never
retrained: where tools are masked out it takes the best of the others or stops, and with 4 and 5 steps it
continues after the {steps} that it was trained for. *Without stop* it takes its best tool at every step. A
*greedy oracle* takes at every step the tool that gains most by the true PSNR and stops when none gains: the
bound of an agent with these tools that does not plan ahead; its trials are not counted."""


@dataclass(frozen=True)
class Variant:
    """A model, or a part of it.

    Attributes:
        name: Its name in the table.
        toolbox: The tools that its actions number.
        behaviour: Makes the behaviour policy for a batch.
        steps: Tools to apply at most.
    """

    name: str
    toolbox: Toolbox
    behaviour: BehaviourFactory
    steps: int

    def measure(self, pairs: PatchPairs) -> Scores:
        """Restore a test set."""
        device = self.toolbox.device
        return measure_rollouts(
            lambda images, clean: roll_out(self.toolbox, images, self.behaviour(clean), self.steps),
            pairs,
            (*self.toolbox.names, STOP_NAME),
            device,
        )


@dataclass(frozen=True)
class Row:
    """The results of a variant.

    Attributes:
        name: Of the variant.
        gains: On each set, in dB.
        differences: Over the full model, likewise.
        multiply_adds: Of the tools applied to a patch, the mean over all sets.
        tools: Number of tools applied to a patch.
    """

    name: str
    gains: dict[str, Estimate]
    differences: dict[str, Estimate]
    multiply_adds: float
    tools: float


def parts(specs: Sequence[ToolSpec]) -> dict[str, tuple[bool, ...]]:
    """Return the parts of a toolbox that are measured: by name, whether each tool is in it.

    A part that is empty or all of the toolbox is left out.
    """
    kinds = [spec.distortion for spec in specs]
    places = [kinds[:index].count(kind) for index, kind in enumerate(kinds)]
    masks = {
        "half the toolbox: the first and third of each kind": tuple(place % 2 == 0 for place in places),
        "half the toolbox: the second and fourth": tuple(place % 2 == 1 for place in places),
        "shallow tools only": tuple(spec.depth == 3 for spec in specs),
        "deep tools only": tuple(spec.depth == 8 for spec in specs),
    }
    return {name: allowed for name, allowed in masks.items() if any(allowed) and not all(allowed)}


def variants(restorer: TorchRuntime, separate: TorchRuntime | None = None) -> Iterator[Variant]:
    """Yield the model and its ablations.

    Args:
        restorer: The model.
        separate: The same trained without joint training; None leaves it out.
    """
    toolbox, policy, most = restorer.toolbox, restorer.policy, restorer.policy.max_steps
    yield Variant(f"the model, {most} step{'s' * (most > 1)}", toolbox, lambda _: greedy(policy), most)
    if separate is not None:
        other = separate.policy
        yield Variant(SEPARATE, separate.toolbox, lambda _: greedy(other), other.max_steps)
    yield Variant("without stop", toolbox, lambda _: greedy(policy, may_stop=False), most)
    for steps in STEPS:
        if steps != most:
            yield Variant(f"{steps} step{'s' * (steps > 1)}", toolbox, lambda _: greedy(policy), steps)
    for name, mask in parts(toolbox.specs).items():
        allowed = torch.tensor(mask, device=restorer.place)
        yield Variant(name, toolbox, _restricted_to(policy, allowed), most)
    everything = {"all tools": (True,) * toolbox.stop}
    for name, mask in (everything | parts(toolbox.specs)).items():
        some = _subset(toolbox, mask)
        yield Variant(f"greedy oracle, {name}", some, _oracle(some), most)


def _restricted_to(policy: AnyPolicy, allowed: Tensor) -> BehaviourFactory:
    return lambda _: greedy(policy, allowed=allowed)


def _oracle(toolbox: Toolbox) -> BehaviourFactory:
    return lambda clean: greedy_oracle(toolbox, clean)


def _subset(toolbox: Toolbox, mask: Sequence[bool]) -> Toolbox:
    """Return the tools of a mask, sharing their networks."""
    chosen = [index for index, keep in enumerate(mask) if keep]
    networks = [toolbox.networks[index] for index in chosen]
    return Toolbox([toolbox.specs[index] for index in chosen], toolbox.family, networks)


def ablate(
    restorer: TorchRuntime,
    sets: Sequence[PatchPairs],
    separate: TorchRuntime | None = None,
    progress: bool = False,
) -> list[Row]:
    """Measure every variant of a model on the same patches.

    Args:
        restorer: The model.
        sets: The test sets, each of at least one pair of the model's patch size.
        separate: The same trained without joint training.
        progress: Whether to show a progress bar on stderr.

    Raises:
        UsageError: An agent takes patches of another size.
    """
    for each in (restorer, separate):
        if each is not None:
            check_size(each, sets[0])
    rows: list[Row] = []
    full: dict[str, Tensor] = {}
    for variant in tqdm(list(variants(restorer, separate)), unit="variant", disable=not progress):
        scores = {pairs.name: variant.measure(pairs) for pairs in sets}
        full = full or {name: each.psnr_db[:, -1] for name, each in scores.items()}
        rows.append(_row(variant, scores, full))
    return rows


def _row(variant: Variant, scores: Mapping[str, Scores], full: Mapping[str, Tensor]) -> Row:
    costs = tool_multiply_adds(variant.toolbox)
    spent = torch.cat([executed(costs, each.actions).sum(dim=1) for each in scores.values()])
    return Row(
        name=variant.name,
        gains={name: Estimate.of(each.psnr_db[:, -1] - each.psnr_db[:, 0]) for name, each in scores.items()},
        differences={name: Estimate.of(each.psnr_db[:, -1] - full[name]) for name, each in scores.items()},
        multiply_adds=spent.mean().item(),
        tools=torch.cat([each.tools() for each in scores.values()]).mean().item(),
    )


def ablation_page(rows: Sequence[Row], command: str, how: str, absent: str | None, steps: int) -> str:
    """Return the whole file.

    Args:
        rows: The full model first.
        command: The command that wrote the file.
        how: Test set and machine.
        absent: Why there is no row without joint training; None if there is one.
        steps: Number of steps that the agent was trained for.
    """
    sections = [
        "# Ablations",
        "Generated by `scripts/ablate.py`; not to be edited by hand.",
        f"```sh\n{command}\n```",
        how,
        _table(rows),
        f"Left out: {SEPARATE}: {absent}." if absent else _joint_worth(rows),
        NOTES.format(steps=steps),
    ]
    return "\n\n".join(sections) + "\n"


def _table(rows: Sequence[Row]) -> str:
    head = ["", *(f"{name}: gain, dB" for name in rows[0].gains), "M multiply-adds", "tools"]
    lines = []
    for row in rows:
        cells = [
            f"{gain}" + ("" if row is rows[0] else f" ({row.differences[name]})")
            for name, gain in row.gains.items()
        ]
        lines.append([row.name, *cells, f"{row.multiply_adds / 1e6:.0f}", f"{row.tools:.2f}"])
    return markdown_table([head, *lines])


def _joint_worth(rows: Sequence[Row]) -> str:
    """Return a sentence with the worth of joint training on each set."""
    (separate,) = (row for row in rows if row.name == SEPARATE)
    worth = {name: Estimate(0 - lead.mean, lead.error) for name, lead in separate.differences.items()}
    return f"Joint training is worth: {', '.join(f'{name} {lead}' for name, lead in worth.items())} dB."
