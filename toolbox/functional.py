"""Tools as functions of their weights: float32 masters that an optimiser moves, copies that compute.

On a device that multiplies bfloat16 faster the copies are in it, made once per gradient step; autocast would
make them for every batch. All tools of one architecture are one function of weights and images, so that
compiling it once serves them all. Networks of no known family are functions of their own, in float32, and
custom tools are called as they are. Without gradients they serve rollouts (`rlrestore.envs.batched`).
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Self

import torch
from torch import Tensor, nn
from torch.func import functional_call

from rlrestore.devices import training_precision
from rlrestore.toolbox.networks import WIDTHS
from rlrestore.toolbox.toolbox import Toolbox, apply_each

Weights = Mapping[str, Tensor]

log = logging.getLogger(__name__)


class FunctionalTools:
    """The tools of a toolbox, computing with copies of its weights.

    Attributes:
        toolbox: Holds the masters; what an optimiser does to its parameters counts after `refresh`.
        precision: Of the copies of known families.
        used: Tools applied since the last `zero_grad`.
    """

    def __init__(self, toolbox: Toolbox, precision: torch.dtype, compiled: bool = False) -> None:
        """Make the copies.

        Args:
            toolbox: The tools. A copy has a gradient where its master requires one.
            precision: Of the copies of known families; in float32 they are the masters themselves.
            compiled: Whether to compile each architecture, the size of a batch being dynamic. Where that
                fails, it runs as it is.
        """
        self.toolbox, self.precision = toolbox, precision
        self.used: set[int] = set()
        known = (
            toolbox.family in WIDTHS
        )  # others may differ in more than their weights, and convert no images
        self._same = precision == torch.float32 or not known
        self._copies: list[dict[str, Tensor]] = []
        self.refresh()
        by_architecture: dict[str | nn.Module, Callable[[Weights, Tensor], Tensor]] = {}
        self._functions = [
            by_architecture.setdefault(
                _architecture(network) if known else network, _function(network, compiled)
            )
            for network in toolbox.networks
        ]

    @classmethod
    def for_training(cls, toolbox: Toolbox, precision: torch.dtype | None = None) -> Self:
        """Make the copies that every training computes with: compiled where its tools are on a GPU.

        Args:
            toolbox: The tools, on the device of the training.
            precision: Of the copies; what pays on the device without it.
        """
        precision = precision or training_precision(toolbox.device)
        return cls(toolbox, precision, compiled=toolbox.device.type == "cuda")

    @property
    def stop(self) -> int:
        """The number of tools, and the action that leaves the image as it is."""
        return self.toolbox.stop

    def apply_tool(self, index: int, images: Tensor) -> Tensor:
        """Apply one tool to a batch `(B, 3, H, W)`; the result is of the images' type."""
        self.used.add(index)
        if self.toolbox.specs[index].custom:
            return self.toolbox.apply_tool(index, images)
        return self._functions[index](self._copies[index], images)

    def apply_each(self, actions: Tensor, images: Tensor, sizes: Sequence[int] | None = None) -> Tensor:
        """Apply to each image its tool; see `rlrestore.toolbox.toolbox.apply_each`."""
        return apply_each(self, actions, images, sizes)

    def refresh(self) -> None:
        """Take over the masters as they are now."""
        if self._same and self._copies:
            return
        self._copies = [
            {} if spec.custom else {name: self._copy(master) for name, master in named(network)}
            for spec, network in zip(self.toolbox.specs, self.toolbox.networks, strict=True)
        ]

    def _copy(self, master: Tensor) -> Tensor:
        """Return what computes for a master, which gets its gradient."""
        if self._same:
            return master
        if master.ndim < 4:
            return master.to(self.precision)
        copy = master.to(self.precision, memory_format=torch.channels_last)
        if copy.requires_grad:
            # On a processor a convolution gives it in another order, in which all that follows is slow.
            copy.register_hook(lambda gradient: gradient.contiguous(memory_format=torch.channels_last))
        return copy

    def zero_grad(self) -> None:
        """Forget all gradients, and which tools were used."""
        self.used.clear()
        self.toolbox.zero_grad()

    @torch.no_grad()
    def scale_gradients(self, factors: Tensor) -> None:
        """Multiply the gradients of each tool by its factor, `(N,)` on the device."""
        for network, factor in zip(self.toolbox.networks, factors.unbind(), strict=True):
            gradients = [weight.grad for weight in network.parameters() if weight.grad is not None]
            if gradients:
                torch._foreach_mul_(gradients, factor)


def named(network: nn.Module) -> list[tuple[str, Tensor]]:
    """Return a network's parameters by name; the trained families have no buffers."""
    return list(network.named_parameters())


def _architecture(network: nn.Module) -> str:
    """Return what networks share that differ in nothing but the numbers of their weights."""
    shapes = [(name, tuple(weight.shape)) for name, weight in named(network)]
    return f"{type(network).__qualname__} {shapes}"


def _function(network: nn.Module, compiled: bool) -> Callable[[Weights, Tensor], Tensor]:
    """Return the network as a function of its weights."""

    def plain(weights: Weights, images: Tensor) -> Tensor:
        restored: Tensor = functional_call(network, dict(weights), (images,))
        return restored

    return _compiled(plain) if compiled else plain


def _compiled(plain: Callable[[Weights, Tensor], Tensor]) -> Callable[[Weights, Tensor], Tensor]:
    """Compile a function for batches of any size; where that fails, the function is used as it is."""
    fast: Callable[[Weights, Tensor], Tensor] | None = torch.compile(plain)

    def run(weights: Weights, images: Tensor) -> Tensor:
        nonlocal fast
        if fast is not None and len(images) > 1:  # one image would be compiled as a constant
            try:
                torch._dynamo.mark_dynamic(images, 0)  # torch.compiler has no public name for it
                return fast(weights, images)
            except torch.OutOfMemoryError:
                raise
            except Exception as error:  # noqa: BLE001  # whatever the compiler of this machine raises
                log.warning("the tools are not compiled here (%s)", str(error).splitlines()[0][:200])
                fast = None
        return plain(weights, images)

    return run
