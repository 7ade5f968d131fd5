"""Putting a graph in ONNX together, operator by operator."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, ValueInfoProto, checker, helper, numpy_helper
from torch import nn

from rlrestore.model_folder import as_written
from rlrestore.toolbox.storage import to_arrays

OPSET, IR_VERSION = 17, 8
"""Of the files: older than every onnxruntime that the extra takes."""

Shape = Sequence[str | int]
"""Of a tensor; a name stands for any size."""


class Graph:
    """A graph under construction. Tensors go by their names; each operator returns that of its result."""

    def __init__(self, precision: str = "float32") -> None:
        """Begin with nothing.

        Args:
            precision: Of the weights in the file, one of `model_folder.card.PRECISIONS`; all is computed in
                float32.
        """
        self._precision = precision
        self._nodes: list[Any] = []
        self._constants: list[TensorProto] = []

    def add(self, operator: str, *inputs: str, result: str = "", **attributes: Any) -> str:
        """Add an operator of one result, which is named after it unless `result` says otherwise."""
        return self.split(operator, *inputs, results=(result or self._name(operator),), **attributes)[0]

    def split(self, operator: str, *inputs: str, results: Sequence[str], **attributes: Any) -> Sequence[str]:
        """Add an operator of several results."""
        self._nodes.append(helper.make_node(operator, list(inputs), list(results), **attributes))
        return results

    def constant(self, values: Any) -> str:
        """Add numbers that are as they are: an array, or integers, which become int64."""
        name = f"constant_{len(self._constants)}"
        self._constants.append(numpy_helper.from_array(np.asarray(values, order="C"), name))
        return name

    def weight(self, array: NDArray[Any]) -> str:
        """Add learned numbers, in the file's precision."""
        written = as_written({"": array}, self._precision)[""]
        name = self.constant(written)
        return name if written.dtype == np.float32 else self.add("Cast", name, to=TensorProto.FLOAT)

    def layer(self, layer: nn.Module) -> tuple[str, str]:
        """Add weight and bias of a convolution or a linear layer."""
        arrays = to_arrays(layer.state_dict())
        return self.weight(arrays["weight"]), self.weight(arrays["bias"])

    def model(self, inputs: Mapping[str, tuple[int, Shape]], outputs: Mapping[str, Shape]) -> bytes:
        """Return the content of the file.

        Args:
            inputs: By name, type and shape of each.
            outputs: By name, the shape of each, in float32.
        """
        graph = helper.make_graph(
            self._nodes,
            "rlrestore",
            [_value(name, kind, shape) for name, (kind, shape) in inputs.items()],
            [_value(name, TensorProto.FLOAT, shape) for name, shape in outputs.items()],
            self._constants,
        )
        made: ModelProto = helper.make_model(
            graph,
            producer_name="rlrestore",
            opset_imports=[helper.make_opsetid("", OPSET)],
            ir_version=IR_VERSION,
        )
        checker.check_model(made)
        content: bytes = made.SerializeToString()
        return content

    def _name(self, operator: str) -> str:
        return f"{operator.lower()}_{len(self._nodes)}"


def _value(name: str, kind: int, shape: Shape) -> ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, list(shape))
