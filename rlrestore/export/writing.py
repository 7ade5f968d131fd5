"""Exporting a model: every network written in ONNX and compared with what torch makes of it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from rlrestore.agent.storage import agent_entry
from rlrestore.errors import RlrestoreError
from rlrestore.export.agent_graphs import agent_graph
from rlrestore.export.tool_graphs import tool_graph
from rlrestore.imaging import PATCH
from rlrestore.model_folder.exported import Exported, check_place, write_exported
from rlrestore.runtime import Actions, Floats, Runtime
from rlrestore.runtime.onnx_runtime import OnnxRuntime
from rlrestore.runtime.torch_runtime import TorchRuntime
from rlrestore.toolbox.specs import NO_ACTION
from rlrestore.toolbox.storage import toolbox_entry

TOLERANCES = {"float32": 1e-4, "float16": 2e-3}
"""By the precision of the weights: how far a result may be from torch's in float32, in units of the largest
of torch's values where that is above 1."""
PROBES = ((1, 8, 9), (2, 63, 63), (1, 70, 101))
"""Images that the tools are compared on: how many, and their height and width."""
WINDOWS = 8
"""Windows that the agent is compared on."""


@dataclass(frozen=True)
class Comparison:
    """How far an exported network is from torch's.

    Attributes:
        part: The name of a tool, or `agent`.
        apart: The largest difference, in units of the largest of torch's values where that is above 1.
    """

    part: str
    apart: float


def export_model(model: TorchRuntime, folder: Path, half: bool = False) -> tuple[Comparison, ...]:
    """Write a model as one that onnxruntime runs, if it computes the same as torch's.

    Args:
        model: On the processor, in float32.
        folder: It is made when it does not exist; an earlier export there is replaced.
        half: Write the weights in float16, in half the space; all is computed in float32 all the same.

    Returns:
        How far each tool, and the agent, is from torch's in float32.

    Raises:
        UsageError: Another model is in the folder, a tool is a custom PyTorch module, or onnxruntime is not
            installed.
        RlrestoreError: A network differs by more than `TOLERANCES`, or the model cannot be written.
    """
    check_place(folder)
    precision = "float16" if half else "float32"
    card = replace(model.card, precision=precision)
    networks = [
        tool_graph(network, name, precision)
        for name, network in zip(model.tools.names, model.toolbox.networks, strict=True)
    ]
    exported = Exported(
        card,
        toolbox_entry(model.toolbox, card)[0],
        agent_entry(model.toolbox, model.policy, card)[0],
        model.tools.radii,
        (*networks, agent_graph(model.policy, precision)),
    )
    comparisons = tuple(compare(model, OnnxRuntime(exported, "exported")))
    for each in comparisons:
        if not each.apart <= TOLERANCES[precision]:
            raise RlrestoreError(
                f"{each.part}: expected the exported network within {TOLERANCES[precision]:g} of torch's, "
                f"got one {each.apart:.2g} apart; nothing was written"
            )
    write_exported(folder, exported)
    return comparisons


def compare(model: Runtime, other: Runtime) -> Iterator[Comparison]:
    """Yield how far each tool of two models is apart, and then the agents, over an episode."""
    rng = np.random.default_rng(0)
    images = [rng.random((count, 3, *sides), np.float32) for count, *sides in PROBES]
    for index, name in enumerate(model.tools.names):
        pairs = [(model.tools.apply(index, each), other.tools.apply(index, each)) for each in images]
        yield Comparison(name, _apart(pairs))
    yield Comparison("agent", _apart(list(_episode(model, other, rng))))


def _episode(model: Runtime, other: Runtime, rng: np.random.Generator) -> Iterator[tuple[Floats, Floats]]:
    """Yield the values of both agents in the steps of an episode, of windows bright and dark."""
    memories = model.agent.empty_memory(WINDOWS), other.agent.empty_memory(WINDOWS)
    last: Actions = np.full(WINDOWS, NO_ACTION, np.int64)
    for _ in range(model.agent.max_steps):
        windows = rng.random((WINDOWS, 3, PATCH, PATCH), np.float32)
        windows *= rng.random((WINDOWS, 1, 1, 1), np.float32)
        values, first = model.agent.values(windows, last, memories[0])
        others, second = other.agent.values(windows, last, memories[1])
        yield values, others
        memories, last = (first, second), rng.integers(model.agent.actions, size=WINDOWS)


def _apart(pairs: Sequence[tuple[Floats, Floats]]) -> float:
    """Return the largest difference; a NaN where the shapes differ or a value is none."""
    if any(one.shape != other.shape for one, other in pairs):
        return float("nan")
    largest = max(float(np.abs(one).max()) for one, _ in pairs)
    return max(float(np.abs(one - other).max()) for one, other in pairs) / max(1.0, largest)
