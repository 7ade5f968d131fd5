"""The agents' networks as graphs in ONNX, one step of an episode each, the spectrum included."""

import numpy as np
import torch
from onnx import TensorProto
from torch import nn

from rlrestore.agent.policy import PAPER_LAYERS, AnyPolicy, PaperPolicy, PaperTrunk, Policy, same_padding
from rlrestore.agent.spectrum import FACTORS, FAINT, STATISTICS, STRIDES, Spectrum
from rlrestore.export.graphs import Graph
from rlrestore.imaging import PATCH
from rlrestore.imaging.degradation.jpeg import BLOCK, dct_matrix
from rlrestore.toolbox.storage import to_arrays

WINDOWS, LAST, HIDDEN, CELL = "windows", "last_actions", "hidden", "cell"
VALUES, NEW_HIDDEN, NEW_CELL = "values", "new_hidden", "new_cell"


def agent_graph(policy: AnyPolicy, precision: str) -> bytes:
    """Return the ONNX file of an agent: one step, as `rlrestore.runtime.Agent.values` has it.

    Args:
        policy: The agent of N tools and a memory of M units.
        precision: Of the weights in the file.

    Returns:
        A network of the inputs `windows` `(batch, 3, PATCH, PATCH)`, `last_actions` `(batch,)` int64 and the
        memory, `hidden` and `cell` `(batch, M)`; and of the outputs `values` `(batch, N + 1)`, `new_hidden`
        and `new_cell`.
    """
    graph = Graph(precision)
    stop_is_known = isinstance(policy, Policy)
    features = _spectral(graph, policy) if isinstance(policy, Policy) else _paper(graph, policy.trunk)
    hidden = _memory(graph, policy.memory, features, _taken(graph, policy.tools, stop_is_known))
    if isinstance(policy, PaperPolicy):
        values = _linear(graph, policy.values, hidden)
        stop = graph.add("Slice", values, *map(graph.constant, ([policy.tools], [policy.tools + 1], [1])))
        graph.add("Sub", values, stop, result=VALUES)
    else:
        advantage = _linear(graph, policy.advantage, hidden)
        mean = graph.add("ReduceMean", advantage, axes=[1])
        level = _linear(graph, policy.level, hidden)
        values = graph.add("Sub", graph.add("Add", level, advantage), mean)
        graph.add("Pad", values, graph.constant([0, 0, 0, 1]), result=VALUES)
    units = policy.memory.hidden_size
    memory = ("batch", units)
    return graph.model(
        {
            WINDOWS: (TensorProto.FLOAT, ("batch", 3, PATCH, PATCH)),
            LAST: (TensorProto.INT64, ("batch",)),
            HIDDEN: (TensorProto.FLOAT, memory),
            CELL: (TensorProto.FLOAT, memory),
        },
        {VALUES: ("batch", policy.tools + 1), NEW_HIDDEN: memory, NEW_CELL: memory},
    )


def _taken(graph: Graph, tools: int, stop_is_known: bool) -> str:
    """Return the last actions as `(batch, actions)`: one-hot, all zeros before the first."""
    actions = tools + 1 if stop_is_known else tools
    rows = np.zeros((tools + 2, actions), np.float32)
    rows[1 : actions + 1] = np.eye(actions)
    return graph.add("Gather", graph.constant(rows), graph.add("Add", LAST, graph.constant([1])))


def _memory(graph: Graph, cell: nn.LSTMCell, features: str, taken: str) -> str:
    """Take a step of the memory; return its output."""
    arrays = to_arrays(cell.state_dict())
    given = graph.add("Concat", features, taken, axis=1)
    of_input, of_hidden = (
        graph.add(
            "Gemm",
            source,
            graph.weight(arrays[f"weight_{name}"]),
            graph.weight(arrays[f"bias_{name}"]),
            transB=1,
        )
        for source, name in ((given, "ih"), (HIDDEN, "hh"))
    )
    gates = ("input_gate", "forget_gate", "cell_gate", "output_gate")
    graph.split("Split", graph.add("Add", of_input, of_hidden), results=gates, axis=1)
    input_gate, forget_gate, output_gate = (graph.add("Sigmoid", gates[place]) for place in (0, 1, 3))
    kept = graph.add("Mul", forget_gate, CELL)
    added = graph.add("Mul", input_gate, graph.add("Tanh", gates[2]))
    graph.add("Add", kept, added, result=NEW_CELL)
    return graph.add("Mul", output_gate, graph.add("Tanh", NEW_CELL), result=NEW_HIDDEN)


def _spectral(graph: Graph, policy: Policy) -> str:
    """Return the features of a `Policy`."""
    trunk = policy.trunk
    mean, deviation = (graph.constant(to_arrays({"": each})[""]) for each in (trunk.mean, trunk.deviation))
    centred = graph.add("Sub", _spectrum(graph, policy.spectrum), mean)
    standard = graph.add("Div", centred, deviation)
    hidden = graph.add("Relu", _linear(graph, trunk.hidden, standard))
    return graph.add("Relu", _linear(graph, trunk.features, hidden))


def _spectrum(graph: Graph, spectrum: Spectrum) -> str:
    """Return the spectra of the windows, each as one row; `Spectrum.forward`."""
    buffers = to_arrays(dict(spectrum.named_buffers()))
    colours = graph.constant(buffers["colours"].reshape(3, 3, 1, 1))
    clipped = graph.add("Clip", WINDOWS, *(graph.constant(np.float32(end)) for end in (0, 1)))
    planes = graph.add("Conv", clipped, colours, graph.constant(buffers["greys"].ravel()))
    cosines = dct_matrix(torch.device("cpu")).numpy().reshape(BLOCK * BLOCK, 1, BLOCK, BLOCK)
    kernels = graph.constant(cosines)
    rows, side = [], PATCH
    for half, stride in enumerate(STRIDES):
        if half:
            planes, side = graph.add("AveragePool", planes, kernel_shape=[2, 2], strides=[2, 2]), side // 2
        single = graph.add("Reshape", planes, graph.constant([-1, 1, side, side]))
        sizes = graph.add("Abs", graph.add("Conv", single, kernels, strides=[stride, stride]))
        blocks = ((side - BLOCK) // stride + 1) ** 2
        rows.append(_log_means(graph, sizes, blocks))
    return graph.add("Concat", *rows, axis=1)


def _log_means(graph: Graph, sizes: str, blocks: int) -> str:
    """Return the statistics of the sizes of `(3 batch, 64, …)` as rows; `spectrum.block_means`."""
    coefficient_floor, mean_floor = (graph.constant(np.float32(floor)) for floor in FAINT)
    flat = graph.add("Reshape", sizes, graph.constant([-1, BLOCK * BLOCK, blocks]))
    mean = graph.add("ReduceMean", flat, axes=[2], keepdims=0)
    energy = graph.add("ReduceMean", graph.add("Mul", flat, flat), axes=[2], keepdims=0)
    factors = next(count for count in (FACTORS, 8, 4, 2, 1) if blocks % count == 0)
    grouped = graph.constant([-1, BLOCK * BLOCK, factors, blocks // factors])
    parts = graph.add("Reshape", graph.add("Add", flat, coefficient_floor), grouped)
    products = graph.add("ReduceProd", parts, axes=[2], keepdims=0)
    logs = graph.add("ReduceSum", graph.add("Log", products), graph.constant([2]), keepdims=0)
    geometric = graph.add("Div", logs, graph.constant(np.float32(blocks)))
    arithmetic = (
        graph.add("Log", graph.add("Add", each, mean_floor)) for each in (mean, graph.add("Sqrt", energy))
    )
    axis = graph.constant([1])
    planes = [graph.add("Unsqueeze", each, axis) for each in (*arithmetic, geometric)]
    stacked = graph.add("Concat", *planes, axis=1)  # (3 batch, 3, 64)
    return graph.add("Reshape", stacked, graph.constant([-1, 3 * STATISTICS * BLOCK * BLOCK]))


def _paper(graph: Graph, trunk: PaperTrunk) -> str:
    """Return the features of a `PaperPolicy`."""
    features, side = WINDOWS, PATCH
    for convolution, (_, _, kernel) in zip(trunk.convolutions, PAPER_LAYERS, strict=True):
        before, after = same_padding(side, kernel, 2)
        pads = [before, before, after, after]
        features = graph.add("Conv", features, *graph.layer(convolution), strides=[2, 2], pads=pads)
        features, side = graph.add("Relu", features), -(-side // 2)
    return graph.add("Relu", _linear(graph, trunk.features, graph.add("Flatten", features)))


def _linear(graph: Graph, layer: nn.Linear, features: str) -> str:
    return graph.add("Gemm", features, *graph.layer(layer), transB=1)
