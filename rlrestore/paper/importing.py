"""The authors' released model, read from their TensorFlow checkpoints into ours.

Their training stored patches with height and width swapped, so their networks work on transposed images.
The import swaps the two axes of every kernel instead (and reorders the agent's features to match): a
convolution with a transposed kernel is the transposed convolution of the transposed image. What comes out is
an ordinary model, which takes images as they are and restores a patch exactly as theirs does. Their
whole-image mode omits the swap and feeds the networks untransposed; ours does the same to the transposed
image.

Source: paper, table 1 and section 3.2; https://github.com/yuke93/RL-Restore.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from rlrestore.agent.policy import PAPER_FEATURES, PAPER_MEMORY, PaperPolicy
from rlrestore.errors import ModelError
from rlrestore.imaging.io.files import is_folder
from rlrestore.model_folder.card import ModelCard
from rlrestore.paper.tensor_bundle import read_bundle
from rlrestore.toolbox.networks import build_network
from rlrestore.toolbox.specs import TOOL_NAMES, TOOLS
from rlrestore.toolbox.toolbox import Toolbox

_FACTS: dict[str, Any] = {
    "about": "The authors' released toolbox and agent, imported from their TensorFlow checkpoints.",
    "source": "Yu, Dong, Lin, Loy: Crafting a Toolchain for Image Restoration by Deep Reinforcement "
    "Learning, CVPR 2018, arXiv 1804.03312; https://github.com/yuke93/RL-Restore",
    "licence": "MIT, Copyright (c) 2018 Ke YU",
    "orientation": "The authors' networks expect patches with height and width swapped. Here their kernels "
    "are transposed instead, so this model takes images as they are. The authors' whole-image mode, which "
    "feeds the networks untransposed images, equals this model on transposed images.",
    "actions": [*TOOL_NAMES, "stop"],
}
CARD = ModelCard("paper", "float32", facts=_FACTS)
"""What a model card says of the import; the actions are numbered from 0, the authors' tools from 1."""

LAYERS = {
    3: {"conv1": "body.0", "conv2": "body.2", "conv3": "body.4"},
    8: {
        "conv1": "body.0",
        "conv1_2": "body.2",
        "conv2": "body.3.first",
        "conv2a": "body.3.second",
        "conv2c": "body.4.first",
        "conv2d": "body.4.second",
        "conv2_2": "body.5",
        "conv3": "body.7",
    },
}
"""By depth: the authors' names of a tool's layers, and ours."""

LSTM = "prediction/prediction_rnn/basic_lstm_cell"
GATES = (0, 2, 1, 3)
"""Indices of torch's gates i, f, g, o among TensorFlow's i, j, f, o."""
FORGET = 2
"""Index of the forget gate among TensorFlow's."""
FORGET_BIAS = 1.0
"""Added by TensorFlow's BasicLSTMCell to the forget gate at run time."""
OPTIMISER = ("Adam", "Adam_1", "Momentum", "RMSProp", "RMSProp_1", "beta1_power", "beta2_power")
"""Last parts of the names of variables that only a training needs."""

Tensors = Mapping[str, NDArray[Any]]


def import_paper(folder: Path) -> tuple[Toolbox, PaperPolicy]:
    """Read the authors' twelve tools and their agent.

    Args:
        folder: Their released folder: `toolbox/tool01` to `tool12` and `models/model`, each an `.index` and a
            `.data-00000-of-00001`.

    Raises:
        ModelError: A file is missing or damaged, or a tensor is missing, one too many, or of the wrong shape.
    """
    if not is_folder(folder):
        raise ModelError(
            f"no folder {str(folder)!r}: expected the authors' release, with toolbox/tool01.index and "
            "models/model.index in it"
        )
    networks = [
        _tool(folder / "toolbox" / f"tool{number:02d}", spec.depth) for number, spec in enumerate(TOOLS, 1)
    ]
    toolbox = Toolbox(TOOLS, "paper", networks)
    policy = _agent(folder / "models" / "model")
    return toolbox.eval().requires_grad_(False), policy.eval().requires_grad_(False)


def _tool(prefix: Path, depth: int) -> nn.Module:
    """Return the network of one tool."""
    network = build_network("paper", depth)
    ours = {
        f"{theirs}/{kind}": f"{layer}.{name}"
        for theirs, layer in LAYERS[depth].items()
        for kind, name in (("weights", "weight"), ("biases", "bias"))
    }
    shapes = network.state_dict()
    tensors = _read(prefix, {theirs: tuple(reversed(shapes[name].shape)) for theirs, name in ours.items()})
    network.load_state_dict({name: _transposed(tensors[theirs]) for theirs, name in ours.items()})
    return network


def _agent(prefix: Path) -> PaperPolicy:
    """Return the agent."""
    policy = PaperPolicy(len(TOOLS))
    shapes = {name: tuple(reversed(tensor.shape)) for name, tensor in policy.state_dict().items()}
    inputs, gates = shapes["memory.weight_ih"]
    layers = {f"prediction/l{number}": f"trunk.convolutions.{number - 1}" for number in (1, 2, 3, 4)}
    expected = {
        **{f"{theirs}/w": shapes[f"{layer}.weight"] for theirs, layer in layers.items()},
        **{f"{theirs}/biases": shapes[f"{layer}.bias"] for theirs, layer in layers.items()},
        "prediction/l7/Matrix": shapes["trunk.features.weight"],
        "prediction/l7/bias": shapes["trunk.features.bias"],
        f"{LSTM}/kernel": (inputs + PAPER_MEMORY, gates),
        f"{LSTM}/bias": (gates,),
        "prediction/q/Matrix": shapes["values.weight"],
        "prediction/q/bias": shapes["values.bias"],
    }
    tensors = _read(prefix, expected)
    state = {f"{layer}.weight": _transposed(tensors[f"{theirs}/w"]) for theirs, layer in layers.items()}
    state |= {f"{layer}.bias": _transposed(tensors[f"{theirs}/biases"]) for theirs, layer in layers.items()}
    state |= {
        "trunk.features.weight": _features(tensors["prediction/l7/Matrix"]),
        "trunk.features.bias": _transposed(tensors["prediction/l7/bias"]),
        "values.weight": _transposed(tensors["prediction/q/Matrix"]),
        "values.bias": _transposed(tensors["prediction/q/bias"]),
    }
    state |= _memory(tensors[f"{LSTM}/kernel"], tensors[f"{LSTM}/bias"], inputs)
    policy.load_state_dict(state)
    return policy


def _transposed(tensor: NDArray[Any]) -> Tensor:
    """Reverse the axes: a kernel `(H, W, in, out)` becomes `(out, in, W, H)`, a matrix its transpose."""
    return torch.from_numpy(np.array(tensor.T, order="C"))


def _features(matrix: NDArray[Any]) -> Tensor:
    """Reorder the linear layer over the last feature map.

    Args:
        matrix: `(H·W·C, 32)`, its rows in the order H, W, C of the map of a transposed patch.

    Returns:
        `(32, C·H·W)`, its columns in the order C, H, W of the map of the patch itself.
    """
    channels = 24
    side = round((len(matrix) // channels) ** 0.5)
    return _transposed(matrix.reshape(side, side, channels, PAPER_FEATURES)).reshape(PAPER_FEATURES, -1)


def _memory(kernel: NDArray[Any], bias: NDArray[Any], inputs: int) -> dict[str, Tensor]:
    """Split TensorFlow's one matrix of the LSTM into torch's two, and fold the forget bias into the bias.

    Args:
        kernel: `(inputs + 50, 4·50)`: rows of the inputs, then of the memory; columns by gate: i, j, f, o.
        bias: `(4·50,)`.
        inputs: How many numbers enter beside the memory.
    """
    by_gate = kernel.reshape(len(kernel), 4, PAPER_MEMORY)[:, GATES].reshape(kernel.shape)
    biases = bias.reshape(4, PAPER_MEMORY).copy()
    biases[FORGET] += FORGET_BIAS
    folded = torch.from_numpy(biases[list(GATES)].reshape(-1))
    return {
        "memory.weight_ih": _transposed(by_gate[:inputs]),
        "memory.weight_hh": _transposed(by_gate[inputs:]),
        "memory.bias_ih": folded,
        "memory.bias_hh": torch.zeros_like(folded),
    }


def _read(prefix: Path, expected: Mapping[str, tuple[int, ...]]) -> Tensors:
    """Read the float tensors of a checkpoint; counters and what belongs to an optimiser are left out.

    Raises:
        ModelError: They are not the expected ones, or one holds a NaN or an infinity.
    """
    tensors = {
        name: tensor
        for name, tensor in read_bundle(prefix).items()
        if tensor.dtype.kind == "f" and name.rsplit("/", maxsplit=1)[-1] not in OPTIMISER
    }
    for name in sorted(expected.keys() | tensors.keys()):
        wanted = f"float32 {expected[name]}" if name in expected else "no such tensor"
        came = f"{tensors[name].dtype} {tensors[name].shape}" if name in tensors else "none"
        if wanted != came:
            raise ModelError(
                f"{prefix}: tensor {name}: expected {wanted}, got {came}; "
                "this is not the authors' checkpoint of that name"
            )
        if not np.isfinite(tensors[name]).all():
            raise ModelError(f"{prefix}: tensor {name} holds a NaN or an infinity; copy the checkpoint again")
    return tensors
