"""Running a model by torch."""

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Self

import numpy as np
import torch
from torch import Tensor

from rlrestore.agent.policy import AnyPolicy
from rlrestore.agent.storage import load_agent, save_model
from rlrestore.devices import precision_name, resolve_device, restoring_precision
from rlrestore.errors import ModelError
from rlrestore.model_folder import find_model, read_card
from rlrestore.model_folder.card import ModelCard
from rlrestore.runtime import Actions, Agent, Floats, Memory, Precision, Tools
from rlrestore.runtime.device_queue import IN_FLIGHT, DeviceQueue
from rlrestore.toolbox.precision import in_bfloat16
from rlrestore.toolbox.storage import load_toolbox
from rlrestore.toolbox.toolbox import Toolbox


class TorchTools:
    """The tools of a toolbox on NumPy arrays, as `rlrestore.runtime.Tools`."""

    def __init__(self, toolbox: Toolbox, queue: DeviceQueue | None = None) -> None:
        """Run the tools where the toolbox is, in the threads that call, or in a device's queue."""
        self.names, self.specs = toolbox.names, tuple(toolbox.specs)
        self.radii = tuple(map(toolbox.radius, range(toolbox.stop)))
        self.pixels_ahead = 0 if queue is None else IN_FLIGHT * queue.batch_pixels
        self._toolbox, self._device, self._queue = toolbox, toolbox.device, queue

    def apply(self, index: int, images: Floats) -> Floats:
        """Apply one tool to `(B, 3, H, W)`."""
        return self.begin(index, images)()

    def begin(self, index: int, images: Floats) -> Callable[[], Floats]:
        """Begin to apply one tool to `(B, 3, H, W)`; return what waits for the result."""
        if self._queue is None:
            restored = self._restored(index, images)
            return lambda: restored
        coming = self._queue.submit((index, images.shape[1:]), partial(self._on_device, index), images)
        return lambda: coming.result()[0]

    @torch.inference_mode()
    def _restored(self, index: int, images: Floats) -> Floats:
        (restored,) = self._on_device(index, torch.from_numpy(images).to(self._device))
        result: Floats = restored.cpu().numpy()
        return result

    def _on_device(self, index: int, images: Tensor) -> tuple[Tensor]:
        return (self._toolbox.apply_tool(index, images),)


class TorchAgent:
    """A policy on NumPy arrays, as `rlrestore.runtime.Agent`."""

    def __init__(
        self, policy: AnyPolicy, values_in_db: bool = True, queue: DeviceQueue | None = None
    ) -> None:
        """Run the policy where it is, in the threads that call, or in a device's queue."""
        self.actions = policy.tools + 1
        self.max_steps = policy.max_steps
        self.start_margins_db, self.stop_margin_db = policy.start_margins_db, policy.stop_margin_db
        self.values_in_db = values_in_db
        self._policy, self._device, self._queue = policy, next(policy.parameters()).device, queue

    def empty_memory(self, count: int) -> Memory:
        """Return the memory of `count` episodes that have not begun."""
        first, second = (np.array(part.cpu().numpy()) for part in self._policy.initial_state(count))
        return first, second

    @torch.inference_mode()
    def values(self, windows: Floats, last_actions: Actions, memory: Memory) -> tuple[Floats, Memory]:
        """Value every action in `(B, 3, P, P)` windows: `(B, N + 1)`, and the new memory."""
        arrays = (windows, last_actions, *memory)
        if self._queue is None:
            given = (torch.from_numpy(array).to(self._device) for array in arrays)
            values, *after = (result.cpu().numpy() for result in self._on_device(*given))
        else:
            values, *after = self._queue.submit("agent", self._on_device, *arrays).result()
        return values, (after[0], after[1])

    def _on_device(self, images: Tensor, last: Tensor, *hidden: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        values, after = self._policy(images, last, (hidden[0], hidden[1]))
        return values, *after


class TorchRuntime:
    """A toolbox and the agent that was trained on it, as `rlrestore.runtime.Runtime`.

    Attributes:
        toolbox: The tools as a torch module, in the precision that they compute in.
        policy: The agent as a torch module.
        device: Where they compute, such as `cpu` or `cuda:0`.
        concurrent: Several threads may call it, but for custom tools on the processor, which may keep a state
            between their layers. On another device one thread computes for all of them, in a queue.
        precision: In which the tools compute, `float32` or `bfloat16`.
    """

    def __init__(
        self,
        toolbox: Toolbox,
        policy: AnyPolicy,
        name: str = "custom",
        card: ModelCard | None = None,
        precision: torch.dtype = torch.float32,
        queue: DeviceQueue | None = None,
    ) -> None:
        """Put a model together.

        Args:
            toolbox: The tools.
            policy: The agent, trained on these tools, on the same device.
            name: What traces call the model.
            card: What is known of it.
            precision: In which its tools compute: float32, or bfloat16 as in `toolbox.precision`.
            queue: Where to compute; without it in the threads that call on a processor, and in a queue of its
                own on another device.

        Raises:
            ModelError: The agent chooses among another number of tools.
        """
        if policy.tools != toolbox.stop:
            raise ModelError(
                f"expected an agent and a toolbox that fit, got an agent of {policy.tools} tools beside "
                f"{', '.join(toolbox.names)}; train the agent on this toolbox"
            )
        self._original, self.policy = toolbox.eval(), policy.eval()
        self.toolbox = in_bfloat16(toolbox) if precision == torch.bfloat16 else self._original
        self.name, self.card, self.precision = name, card or ModelCard(), precision_name(precision)
        queue = queue or queue_of(self.place)
        self.tools: Tools = TorchTools(self.toolbox, queue)
        self.agent: Agent = TorchAgent(policy, self.card.values_in_db, queue)
        self.device = str(self.place)
        self.concurrent = queue is not None or not any(spec.custom for spec in toolbox.specs)

    @classmethod
    def load(
        cls, name_or_folder: str | os.PathLike[str], device: str = "cpu", precision: Precision = "float32"
    ) -> Self:
        """Read a model.

        Args:
            name_or_folder: The name of a shipped model, or a model's folder.
            device: Where to compute, such as `cpu`, `cuda`, `cuda:1` or `mps`.
            precision: In which the tools compute.

        Raises:
            UsageError: There is no such model or device, or the model is damaged.
        """
        place, folder = resolve_device(device), find_model(name_or_folder)
        toolbox = load_toolbox(folder, place)
        policy = load_agent(folder, toolbox, place)
        dtype = restoring_precision(place) if precision == "auto" else getattr(torch, precision)
        return cls(toolbox, policy, os.fspath(name_or_folder), read_card(folder), dtype)

    @property
    def place(self) -> torch.device:
        """Where the model computes, as torch has it."""
        return next(self.policy.parameters()).device

    @property
    def threads(self) -> int:
        """Cores that one call computes on."""
        return torch.get_num_threads()

    def set_threads(self, count: int) -> None:
        """Compute on so many cores in calls from this thread, and from threads that begin later."""
        torch.set_num_threads(count)

    def save(self, folder: Path) -> None:
        """Write the model into a folder, which is made if need be."""
        save_model(folder, self._original, self.policy, self.card)


def load_torch_tools(name_or_folder: str | os.PathLike[str], device: str = "cpu") -> TorchTools:
    """Read the tools of a model; it need not have an agent.

    Raises:
        UsageError: There is no such model or device, or the model is damaged.
    """
    place = resolve_device(device)
    return TorchTools(load_toolbox(name_or_folder, place), queue_of(place))


def queue_of(place: torch.device) -> DeviceQueue | None:
    """Return a new queue of a device; a processor's threads compute for themselves."""
    return None if place.type == "cpu" else DeviceQueue(place)
