"""Running a model that was exported to ONNX, by onnxruntime on the processor. No torch is needed."""

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import numpy as np

from rlrestore.errors import ModelError, UsageError
from rlrestore.model_folder import find_model
from rlrestore.model_folder.exported import Exported, read_exported, write_exported
from rlrestore.runtime import Actions, Agent, Floats, Memory, Tools
from rlrestore.toolbox.sessions import Session, brief, load_onnxruntime, open_session

TOOL_PORTS, AGENT_PORTS = (1, 1), (4, 3)
"""How many arrays go into a network, and how many come out."""


class Sessions:
    """The networks of a model, each made ready when it is first used, once for every number of cores."""

    def __init__(self, model: Exported, name: str) -> None:
        """Make none ready yet.

        Args:
            model: The networks: those of the tools, then that of the agent.
            name: What the model is called, for messages.
        """
        self._model, self._name = model, name
        self._made: dict[tuple[int, int], Session] = {}
        self._making = threading.Lock()
        self._own, self._latest = threading.local(), 1
        self.set_threads(_cores())

    @property
    def threads(self) -> int:
        """Cores that a call from this thread computes on."""
        return int(getattr(self._own, "threads", self._latest))

    def set_threads(self, count: int) -> None:
        """Compute on so many cores in calls from this thread, and from threads that begin later."""
        self._own.threads = self._latest = count

    def run(self, index: int, *inputs: Any) -> tuple[Any, ...]:
        """Run a network on arrays in the order of its inputs; returns its outputs.

        Raises:
            ModelError: onnxruntime refuses the network, or the network these arrays.
        """
        session = self.get(index)
        names = (each.name for each in session.get_inputs())
        given = (np.ascontiguousarray(array) for array in inputs)
        try:
            return tuple(session.run(None, dict(zip(names, given, strict=True))))
        except Exception as error:  # onnxruntime's errors have no common kind
            raise ModelError(
                f"{self.called(index)}: expected a network that takes {inputs[0].shape} {inputs[0].dtype}, "
                f"but it fails: {brief(error)}; export the model again"
            ) from error

    def called(self, index: int) -> str:
        """Return what a network is called in messages."""
        tools = self._model.names
        return f"{f'the tool {tools[index]}' if index < len(tools) else 'the agent'} of {self._name}"

    def get(self, index: int) -> Session:
        """Return a network, ready to run on this thread's number of cores.

        Raises:
            ModelError: onnxruntime refuses it, or it is none of this kind.
        """
        key = index, self.threads
        with self._making:
            if key not in self._made:
                try:
                    session = open_session(self._model.networks[index], key[1], self.called(index))
                except UsageError as error:
                    raise ModelError(f"{error}; update onnxruntime, or export the model again") from error
                expected = TOOL_PORTS if index < len(self._model.names) else AGENT_PORTS
                ports = len(session.get_inputs()), len(session.get_outputs())
                if ports != expected:
                    raise ModelError(
                        f"{self.called(index)}: expected {expected[0]} arrays in and {expected[1]} out, "
                        f"got {ports[0]} in and {ports[1]} out; export the model again"
                    )
                self._made[key] = session
            return self._made[key]


class OnnxTools:
    """The tools of an exported model, as `rlrestore.runtime.Tools`."""

    pixels_ahead = 0

    def __init__(self, model: Exported, sessions: Sessions) -> None:
        """Run the first networks of the sessions."""
        self.names, self.specs, self.radii = model.names, model.toolbox.tools, model.radii
        self._sessions = sessions

    def apply(self, index: int, images: Floats) -> Floats:
        """Apply one tool to `(B, 3, H, W)`.

        Raises:
            ModelError: Its network cannot be run, or is none that keeps the shape.
        """
        restored: Floats = self._sessions.run(index, images)[0]
        if restored.shape != images.shape or restored.dtype != np.float32:
            raise ModelError(
                f"{self._sessions.called(index)}: expected {images.shape} float32 to keep shape and type, "
                f"got {restored.shape} {restored.dtype}; export the model again"
            )
        return restored

    def begin(self, index: int, images: Floats) -> Callable[[], Floats]:
        """Apply one tool; return what returns the result."""
        restored = self.apply(index, images)
        return lambda: restored


class OnnxAgent:
    """The agent of an exported model, as `rlrestore.runtime.Agent`."""

    def __init__(self, model: Exported, sessions: Sessions) -> None:
        """Run the last network of the sessions.

        Raises:
            ModelError: It cannot be run, or is none that values these tools.
        """
        entry = model.agent
        self.actions, self.max_steps = len(entry.tools) + 1, entry.max_steps
        self.start_margins_db, self.stop_margin_db = entry.start_margins_db, entry.stop_margin_db
        self.values_in_db = model.card.values_in_db
        self._sessions, self._number = sessions, len(entry.tools)
        session = sessions.get(self._number)
        hidden, values = session.get_inputs()[2].shape, session.get_outputs()[0].shape
        if values[1:] != [self.actions] or not isinstance(hidden[-1], int):
            raise ModelError(
                f"{sessions.called(self._number)}: expected a network of {self.actions} values and a memory, "
                f"got shapes {values} and {hidden}; export the model again"
            )
        self._units = hidden[-1]

    def empty_memory(self, count: int) -> Memory:
        """Return the memory of `count` episodes that have not begun."""
        return np.zeros((count, self._units), np.float32), np.zeros((count, self._units), np.float32)

    def values(self, windows: Floats, last_actions: Actions, memory: Memory) -> tuple[Floats, Memory]:
        """Value every action in `(B, 3, P, P)` windows: `(B, N + 1)`, and the new memory."""
        values, *after = self._sessions.run(self._number, windows, last_actions, *memory)
        return values, (after[0], after[1])


class OnnxRuntime:
    """An exported model, as `rlrestore.runtime.Runtime`.

    Attributes:
        device: `cpu`.
        concurrent: True: a network in ONNX keeps no state.
        precision: `float32`.
    """

    device = "cpu"
    concurrent = True
    precision = "float32"

    def __init__(self, model: Exported, name: str = "custom") -> None:
        """Run a model.

        Args:
            model: The model.
            name: What traces call it.

        Raises:
            UsageError: onnxruntime is not installed, or refuses the agent.
        """
        load_onnxruntime(f"the model {name}, which is exported to ONNX,")
        self._model, self._sessions = model, Sessions(model, name)
        self.name, self.card = name, model.card
        self.tools: Tools = OnnxTools(model, self._sessions)
        self.agent: Agent = OnnxAgent(model, self._sessions)

    @classmethod
    def load(cls, name_or_folder: str | os.PathLike[str], device: str = "cpu") -> Self:
        """Read a model.

        Args:
            name_or_folder: The name of a shipped model, or a model's folder.
            device: `cpu`.

        Raises:
            UsageError: There is no such model, it is damaged, another device is asked for, or onnxruntime is
                not installed.
        """
        name = os.fspath(name_or_folder)
        if device != "cpu":
            raise UsageError(
                f"the model {name} is exported to ONNX and runs on the processor: expected device cpu, got "
                f"{device!r}; take the model that it was exported from"
            )
        return cls(read_exported(find_model(name_or_folder)), name)

    @property
    def threads(self) -> int:
        """Cores that one call computes on."""
        return self._sessions.threads

    def set_threads(self, count: int) -> None:
        """Compute on so many cores in calls from this thread, and from threads that begin later."""
        self._sessions.set_threads(count)

    def save(self, folder: Path) -> None:
        """Write the model into a folder, which is made if need be."""
        write_exported(folder, self._model)


def _cores() -> int:
    """Return how many cores this process may use; like torch, no more than OMP_NUM_THREADS says."""
    limit = os.environ.get("OMP_NUM_THREADS", "")
    if limit.isdecimal() and int(limit) > 0:
        return int(limit)
    affinity = getattr(os, "sched_getaffinity", None)  # not on Windows and macOS
    return len(affinity(0)) if affinity else os.cpu_count() or 1
