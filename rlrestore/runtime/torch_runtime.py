"""Running a model by torch."""

import os
from pathlib import Path
from typing import Self

import numpy as np
import torch

from rlrestore.agent.policy import AnyPolicy
from rlrestore.agent.storage import load_agent, save_model
from rlrestore.devices import precision_name, resolve_device, restoring_precision
from rlrestore.errors import ModelError
from rlrestore.model_folder import find_model, read_card
from rlrestore.model_folder.card import ModelCard
from rlrestore.runtime import Actions, Agent, Floats, Memory, Precision, Tools
from rlrestore.toolbox.precision import in_bfloat16
from rlrestore.toolbox.storage import load_toolbox
from rlrestore.toolbox.toolbox import Toolbox


class TorchTools:
    """The tools of a toolbox on NumPy arrays, as `rlrestore.runtime.Tools`."""

    def __init__(self, toolbox: Toolbox) -> None:
        """Run the tools where the toolbox is."""
        self.names, self.specs = toolbox.names, tuple(toolbox.specs)
        self.radii = tuple(map(toolbox.radius, range(toolbox.stop)))
        self._toolbox, self._device = toolbox, toolbox.device

    @torch.inference_mode()
    def apply(self, index: int, images: Floats) -> Floats:
        """Apply one tool to `(B, 3, H, W)`."""
        restored = self._toolbox.apply_tool(index, torch.from_numpy(images).to(self._device))
        result: Floats = restored.cpu().numpy()
        return result


class TorchAgent:
    """A policy on NumPy arrays, as `rlrestore.runtime.Agent`."""

    def __init__(self, policy: AnyPolicy, values_in_db: bool = True) -> None:
        """Run the policy where it is."""
        self.actions = policy.tools + 1
        self.max_steps = policy.max_steps
        self.start_margins_db, self.stop_margin_db = policy.start_margins_db, policy.stop_margin_db
        self.values_in_db = values_in_db
        self._policy, self._device = policy, next(policy.parameters()).device

    def empty_memory(self, count: int) -> Memory:
        """Return the memory of `count` episodes that have not begun."""
        first, second = (np.array(part.cpu().numpy()) for part in self._policy.initial_state(count))
        return first, second

    @torch.inference_mode()
    def values(self, windows: Floats, last_actions: Actions, memory: Memory) -> tuple[Floats, Memory]:
        """Value every action in `(B, 3, P, P)` windows: `(B, N + 1)`, and the new memory."""
        images, last, first, second = (
            torch.from_numpy(array).to(self._device) for array in (windows, last_actions, *memory)
        )
        values, hidden = self._policy(images, last, (first, second))
        kept = hidden[0].cpu().numpy(), hidden[1].cpu().numpy()
        return values.cpu().numpy(), kept


class TorchRuntime:
    """A toolbox and the agent that was trained on it, as `rlrestore.runtime.Runtime`.

    Attributes:
        toolbox: The tools as a torch module, in the precision that they compute in.
        policy: The agent as a torch module.
        device: Where they compute, such as `cpu` or `cuda:0`.
        concurrent: Several threads may call it on the processor alone, and without custom tools, which may
            keep a state between their layers.
        precision: In which the tools compute, `float32` or `bfloat16`.
    """

    def __init__(
        self,
        toolbox: Toolbox,
        policy: AnyPolicy,
        name: str = "custom",
        card: ModelCard | None = None,
        precision: torch.dtype = torch.float32,
    ) -> None:
        """Put a model together.

        Args:
            toolbox: The tools.
            policy: The agent, trained on these tools, on the same device.
            name: What traces call the model.
            card: What is known of it.
            precision: In which its tools compute: float32, or bfloat16 as in `toolbox.precision`.

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
        self.tools: Tools = TorchTools(self.toolbox)
        self.agent: Agent = TorchAgent(policy, self.card.values_in_db)
        self.device = str(self.place)
        self.concurrent = self.place.type == "cpu" and not any(spec.custom for spec in toolbox.specs)

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
    return TorchTools(load_toolbox(name_or_folder, place))
