"""The tools' networks as graphs in ONNX: the same sums in another notation.

Each function is the `forward` of the network in `toolbox.networks` that it is named after.
"""

import numpy as np
from onnx import TensorProto
from torch import nn

from rlrestore.errors import UsageError
from rlrestore.export.graphs import Graph
from rlrestore.toolbox.custom import OnnxTool
from rlrestore.toolbox.networks import SLOPE, Folded, Hourglass, PaperDeep, PaperShallow, ResidualPair

IMAGES, RESTORED = "images", "restored"
SHAPE = ("batch", 3, "height", "width")


def tool_graph(network: nn.Module, name: str, precision: str) -> bytes:
    """Return the ONNX file of a tool: `images`, float32 `(batch, 3, height, width)`, to `restored`, the same.

    Args:
        network: A network of the families, or a custom one in ONNX, whose file is returned as it is.
        name: What the tool is called, for messages.
        precision: Of the weights in the file.

    Raises:
        UsageError: The network is a custom PyTorch module.
    """
    if isinstance(network, OnnxTool):
        return network.model.cpu().numpy().tobytes()
    graph = Graph(precision)
    if isinstance(network, Hourglass):
        residual = _hourglass(graph, network)
    elif isinstance(network, Folded):
        residual = _folded(graph, network)
    elif isinstance(network, PaperShallow | PaperDeep):
        residual = _sequence(graph, network.body, IMAGES)
    else:
        raise UsageError(
            f"expected tools that can be written in ONNX, but {name} is a custom PyTorch module: write it as "
            "an ONNX file, and add that with rlrestore add-tool"
        )
    graph.add("Add", IMAGES, residual, result=RESTORED)
    return graph.model({IMAGES: (TensorProto.FLOAT, SHAPE)}, {RESTORED: SHAPE})


def _hourglass(graph: Graph, network: Hourglass) -> str:
    folded, sides = _fold(graph, multiple=4)
    fine = _convolution(graph, network.head, folded)
    coarse = _sequence(graph, network.middle, _convolution(graph, network.down, _leaky(graph, fine)))
    up = _unfold(graph, _convolution(graph, network.up, _leaky(graph, coarse)))
    return _residual(graph, network.tail, graph.add("Add", fine, up), sides)


def _folded(graph: Graph, network: Folded) -> str:
    folded, sides = _fold(graph, multiple=2)
    features = _sequence(graph, network.middle, _convolution(graph, network.head, folded))
    return _residual(graph, network.tail, features, sides)


def _fold(graph: Graph, multiple: int) -> tuple[str, str]:
    """Pad the images by their edge to multiples of so many pixels and fold them; also return their sides."""
    shape = graph.add("Shape", IMAGES)
    sides = graph.add("Slice", shape, graph.constant([2]), graph.constant([4]))
    rest = graph.add("Mod", sides, graph.constant([multiple]))
    missing = graph.add("Sub", graph.constant([multiple]), rest)  # as pad_to_multiple, at least one line
    pads = graph.add("Concat", graph.constant([0] * 6), missing, axis=0)
    padded = graph.add("Pad", IMAGES, pads, mode="edge")
    # SpaceToDepth has the places in a square before the colours; pixel_unshuffle, after them.
    places = graph.add("SpaceToDepth", padded, blocksize=2)
    order = np.arange(12).reshape(4, 3).T.ravel()
    return graph.add("Gather", places, graph.constant(order), axis=1), sides


def _residual(graph: Graph, tail: nn.Conv2d, features: str, sides: str) -> str:
    unfolded = _unfold(graph, _convolution(graph, tail, _leaky(graph, features)))
    return graph.add("Slice", unfolded, graph.constant([0, 0]), sides, graph.constant([2, 3]))


def _unfold(graph: Graph, features: str) -> str:
    return graph.add("DepthToSpace", features, blocksize=2, mode="CRD")


def _sequence(graph: Graph, layers: nn.Sequential, features: str) -> str:
    for layer in layers:
        features = _layer(graph, layer, features)
    return features


def _layer(graph: Graph, layer: nn.Module, features: str) -> str:
    if isinstance(layer, nn.Conv2d):
        return _convolution(graph, layer, features)
    if isinstance(layer, ResidualPair):
        inner = _convolution(graph, layer.first, _leaky(graph, features, layer.slope))
        correction = _convolution(graph, layer.second, _leaky(graph, inner, layer.slope))
        return graph.add("Add", features, correction)
    if isinstance(layer, nn.LeakyReLU):
        return _leaky(graph, features, layer.negative_slope)
    if isinstance(layer, nn.ReLU):
        return graph.add("Relu", features)
    raise TypeError(f"expected a layer of the families, got {layer}")


def _leaky(graph: Graph, features: str, slope: float = SLOPE) -> str:
    return graph.add("LeakyRelu", features, alpha=slope) if slope else graph.add("Relu", features)


def _convolution(graph: Graph, layer: nn.Conv2d, features: str) -> str:
    down, across = (int(pixels) for pixels in layer.padding)
    return graph.add(
        "Conv",
        features,
        *graph.layer(layer),
        strides=list(layer.stride),
        pads=[down, across, down, across],
    )
