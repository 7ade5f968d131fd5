"""A made-up release of the authors' kind, and their graphs in plain numpy: (H, W, C) images, HWIO kernels.

Written from TensorFlow's definitions of `SAME` and BasicLSTMCell, in their orientation, without the package.
"""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.paper.bundles import write_bundle

Array = NDArray[Any]
Tensors = Mapping[str, Array]

SHALLOW = {"conv1": (9, 9, 3, 32), "conv2": (5, 5, 32, 16), "conv3": (5, 5, 16, 3)}
DEEP = {
    "conv1": (5, 5, 3, 64),
    "conv1_2": (1, 1, 64, 32),
    "conv2": (3, 3, 32, 32),
    "conv2a": (3, 3, 32, 32),
    "conv2c": (3, 3, 32, 32),
    "conv2d": (3, 3, 32, 32),
    "conv2_2": (1, 1, 32, 64),
    "conv3": (5, 5, 64, 3),
}
LOOKS = {"l1": (9, 9, 3, 32), "l2": (5, 5, 32, 24), "l3": (5, 5, 24, 24), "l4": (5, 5, 24, 24)}
DEPTHS = (3, 3, 8, 8) * 3
LSTM = "prediction/prediction_rnn/basic_lstm_cell"


@dataclass(frozen=True)
class Release:
    """A folder of checkpoints, and what is in them: twelve tools and the agent, by TensorFlow's names."""

    folder: Path
    tools: tuple[Tensors, ...]
    agent: Tensors

    def copy(self, folder: Path) -> Path:
        """Copy the folder, to be damaged."""
        shutil.copytree(self.folder, folder, dirs_exist_ok=True)
        return folder


def make_release(folder: Path) -> Release:
    """Write a release of random weights."""
    rng = np.random.default_rng(0)
    tools = tuple(random_tool(rng, depth) for depth in DEPTHS)
    for number, tool in enumerate(tools, 1):
        write_bundle(folder / "toolbox" / f"tool{number:02d}", tool)
    agent = _random_agent(rng)
    write_bundle(folder / "models" / "model", agent)
    return Release(folder, tools, agent)


def _random(rng: np.random.Generator, *shape: int) -> Array:
    """Weights that keep the size of what passes through."""
    scale = 0.1 if len(shape) == 1 else np.sqrt(2 / np.prod(shape[:-1]))
    return (scale * rng.standard_normal(shape)).astype(np.float32)


def random_tool(rng: np.random.Generator, depth: int) -> dict[str, Array]:
    """A tool's tensors."""
    shapes = SHALLOW if depth == 3 else DEEP
    weights = {f"{layer}/weights": _random(rng, *shape) for layer, shape in shapes.items()}
    return weights | {f"{layer}/biases": _random(rng, shape[-1]) for layer, shape in shapes.items()}


def _random_agent(rng: np.random.Generator) -> dict[str, Array]:
    weights = {f"prediction/{layer}/w": _random(rng, *shape) for layer, shape in LOOKS.items()}
    biases = {f"prediction/{layer}/biases": _random(rng, shape[-1]) for layer, shape in LOOKS.items()}
    return {
        **weights,
        **biases,
        "prediction/l7/Matrix": _random(rng, 384, 32),
        "prediction/l7/bias": _random(rng, 32),
        f"{LSTM}/kernel": _random(rng, 94, 200),
        f"{LSTM}/bias": _random(rng, 200),
        "prediction/q/Matrix": _random(rng, 50, 13),
        "prediction/q/bias": _random(rng, 13),
        "step/step": np.array(1_050_000, np.int32),
    }


def _convolve(image: Array, weights: Array, biases: Array, stride: int = 1) -> Array:
    """A convolution of `(H, W, in)` padded as `SAME`: the odd pixel at the bottom and on the right."""
    size = weights.shape[0]
    totals = [max((-(-side // stride) - 1) * stride + size - side, 0) for side in image.shape[:2]]
    padded = np.pad(image, [*((total // 2, total - total // 2) for total in totals), (0, 0)])
    windows = np.lib.stride_tricks.sliding_window_view(padded, (size, size), axis=(0, 1))
    result: Array = np.tensordot(windows[::stride, ::stride], weights, axes=([3, 4, 2], [0, 1, 2])) + biases
    return result


def _relu(values: Array) -> Array:
    return np.maximum(values, 0)


def tool_output(tool: Tensors, image: Array) -> Array:
    """What the authors' graph of a tool makes of `(H, W, 3)`."""

    def layer(name: str, features: Array) -> Array:
        return _convolve(features, tool[f"{name}/weights"], tool[f"{name}/biases"])

    if "conv2a/weights" not in tool:
        return image + layer("conv3", _relu(layer("conv2", _relu(layer("conv1", image)))))
    features = layer("conv1_2", _relu(layer("conv1", image)))
    features = features + layer("conv2a", _relu(layer("conv2", _relu(features))))
    features = features + layer("conv2d", _relu(layer("conv2c", _relu(features))))
    return image + layer("conv3", _relu(layer("conv2_2", features)))


def _sigmoid(values: Array) -> Array:
    result: Array = 1 / (1 + np.exp(-values))
    return result


def agent_values(agent: Tensors, looks: Array, actions: Sequence[int]) -> list[Array]:
    """What the authors' agent says, look by look.

    Args:
        agent: Its tensors.
        looks: `(T, 63, 63, 3)` what it sees.
        actions: What was done after each look but the last, counted from 0.

    Returns:
        The thirteen values of each look.
    """
    memory, cell, said = np.zeros(50), np.zeros(50), []
    for step, look in enumerate(looks):
        features = look
        for layer in LOOKS:
            weights, biases = agent[f"prediction/{layer}/w"], agent[f"prediction/{layer}/biases"]
            features = _relu(_convolve(features, weights, biases, stride=2))
        seen = _relu(features.reshape(-1) @ agent["prediction/l7/Matrix"] + agent["prediction/l7/bias"])
        taken = np.zeros(12)
        if step:
            taken[actions[step - 1]] = 1
        entering = np.concatenate([seen, taken, memory])
        gate_i, gate_j, gate_f, gate_o = np.split(
            entering @ agent[f"{LSTM}/kernel"] + agent[f"{LSTM}/bias"], 4
        )
        cell = cell * _sigmoid(gate_f + 1) + _sigmoid(gate_i) * np.tanh(gate_j)
        memory = np.tanh(cell) * _sigmoid(gate_o)
        said.append(memory @ agent["prediction/q/Matrix"] + agent["prediction/q/bias"])
    return said
