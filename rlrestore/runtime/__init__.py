"""What a restoration needs of a model: tools and agent on NumPy arrays, whichever library computes them.

`torch_runtime` and `onnx_runtime` implement `Runtime`; the model's folder says by which it runs.
"""

import os
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Literal, Protocol, get_args

import numpy as np
from numpy.typing import NDArray

from rlrestore.errors import UsageError, how_to_install
from rlrestore.model_folder import find_model
from rlrestore.model_folder.card import ModelCard
from rlrestore.model_folder.exported import is_exported
from rlrestore.toolbox.specs import ToolSpec

Floats = NDArray[np.float32]
Actions = NDArray[np.int64]
Precision = Literal["auto", "float32", "bfloat16"]
"""In which tools compute: the fastest here that keeps every sample of a result within 1 of 255 of float32's,
or the one named."""
Memory = tuple[Floats, Floats]
"""What an agent remembers of each of B episodes: two arrays `(B, memory)`."""


class Tools(Protocol):
    """N tools that restore images.

    Attributes:
        names: Of the tools, in the order of their actions; action N is stop.
        specs: What each tool is for.
        radii: The receptive field of each tool, in pixels to each side.
        pixels_ahead: How many may be begun before the first are waited for; 0 where a tool is done when it
            has begun.
    """

    names: tuple[str, ...]
    specs: tuple[ToolSpec, ...]
    radii: tuple[int, ...]
    pixels_ahead: int

    def apply(self, index: int, images: Floats) -> Floats:
        """Apply one tool to a batch.

        Args:
            index: The tool, from 0.
            images: `(B, 3, H, W)` RGB, about [0, 1], in any order in memory; it stays as it is.

        Returns:
            The same shape, not clipped.
        """

    def begin(self, index: int, images: Floats) -> Callable[[], Floats]:
        """Begin to apply one tool, as `apply`; return what waits for the result.

        The images must stay as they are until then.
        """


class Agent(Protocol):
    """The agent that chooses among N tools and stop.

    Attributes:
        actions: N + 1.
        max_steps: The longest chain that it was trained for.
        start_margins_db: By the tool that it values most at first, what that value must exceed, or it leaves
            the image as it is.
        stop_margin_db: It stops where no further tool's value is higher than this.
        values_in_db: Whether its values are gains in dB, or only rank the actions.
    """

    actions: int
    max_steps: int
    start_margins_db: tuple[float, ...]
    stop_margin_db: float
    values_in_db: bool

    def empty_memory(self, count: int) -> Memory:
        """Return the memory of `count` episodes that have not begun."""

    def values(self, windows: Floats, last_actions: Actions, memory: Memory) -> tuple[Floats, Memory]:
        """Value every action in each of B windows.

        Args:
            windows: `(B, 3, PATCH, PATCH)` RGB in [0, 1].
            last_actions: `(B,)` the action before, `NO_ACTION` (-1) before the first.
            memory: After the step before; it stays as it is.

        Returns:
            `(B, N + 1)` values, stop last and 0; and the new memory.
        """


class Runtime(Protocol):
    """A model that is ready to run.

    Attributes:
        name: What traces call the model.
        card: What is known of it.
        tools: Its tools.
        agent: The agent that was trained on them.
        device: Where it computes, `cpu` or the name of another device.
        concurrent: Whether several threads may call it at a time.
        precision: In which the tools compute, `float32` or `bfloat16`.
    """

    name: str
    card: ModelCard
    tools: Tools
    agent: Agent
    device: str
    concurrent: bool
    precision: str

    @property
    def threads(self) -> int:
        """Cores that one call computes on."""

    def set_threads(self, count: int) -> None:
        """Compute on so many cores in calls from this thread, and from threads that begin later."""

    def save(self, folder: Path) -> None:
        """Write the model into a folder, which is made if need be."""


def load_runtime(
    name_or_folder: str | os.PathLike[str], device: str = "cpu", precision: Precision = "auto"
) -> Runtime:
    """Read a model, to be run by the library that its folder is for.

    Args:
        name_or_folder: The name of a shipped model, or a model's folder.
        device: Where to compute, such as `cpu`, `cuda`, `cuda:1` or `mps`; an exported model, on `cpu`.
        precision: In which the tools compute; an exported model, in float32.

    Raises:
        UsageError: There is no such model or device, the model is damaged, or its library is not installed.
    """
    if precision not in get_args(Precision):
        raise UsageError(f"expected a precision of {', '.join(get_args(Precision))}, got {precision!r}")
    folder = find_model(name_or_folder)
    if is_exported(folder):
        from rlrestore.runtime.onnx_runtime import OnnxRuntime

        if precision == "bfloat16":
            raise UsageError(
                f"the model {os.fspath(name_or_folder)} is exported to ONNX and computes in float32: leave "
                "out the precision, or take the model that it was exported from"
            )
        return OnnxRuntime.load(name_or_folder, device)
    _need_torch(folder)
    from rlrestore.runtime.torch_runtime import TorchRuntime

    return TorchRuntime.load(name_or_folder, device, precision)


def load_tools(name_or_folder: str | os.PathLike[str], device: str = "cpu") -> Tools:
    """Read the tools of a model; one that is not exported need not have an agent. As `load_runtime`."""
    folder = find_model(name_or_folder)
    if is_exported(folder):
        return load_runtime(name_or_folder, device).tools
    _need_torch(folder)
    from rlrestore.runtime.torch_runtime import load_torch_tools

    return load_torch_tools(name_or_folder, device)


def _need_torch(folder: Path) -> None:
    if find_spec("torch") is None:
        raise UsageError(
            f"the model in {folder} needs torch: {how_to_install()}, or have it exported where "
            "torch is, by rlrestore export"
        )
