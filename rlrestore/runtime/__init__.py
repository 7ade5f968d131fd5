"""What a restoration needs of a model: tools and agent on NumPy arrays, whichever library computes them.

`torch_runtime` is the one implementation today. Another one implements `Runtime`, and nothing else changes.
"""

from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from rlrestore.model_folder.card import ModelCard
from rlrestore.toolbox.specs import ToolSpec

Floats = NDArray[np.float32]
Actions = NDArray[np.int64]
Memory = tuple[Floats, Floats]
"""What an agent remembers of each of B episodes: two arrays `(B, memory)`."""


class Tools(Protocol):
    """N tools that restore images.

    Attributes:
        names: Of the tools, in the order of their actions; action N is stop.
        specs: What each tool is for.
        radii: The receptive field of each tool, in pixels to each side.
    """

    names: tuple[str, ...]
    specs: tuple[ToolSpec, ...]
    radii: tuple[int, ...]

    def apply(self, index: int, images: Floats) -> Floats:
        """Apply one tool to a batch.

        Args:
            index: The tool, from 0.
            images: `(B, 3, H, W)` RGB, about [0, 1], in any order in memory; it stays as it is.

        Returns:
            The same shape, not clipped.
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
    """

    name: str
    card: ModelCard
    tools: Tools
    agent: Agent
    device: str
    concurrent: bool

    @property
    def threads(self) -> int:
        """Cores that one call computes on."""

    def set_threads(self, count: int) -> None:
        """Compute on so many cores in calls from this thread, and from threads that begin later."""

    def save(self, folder: Path) -> None:
        """Write the model into a folder, which is made if need be."""
