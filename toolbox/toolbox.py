"""The toolbox: named tools that restore an image, applied to a batch."""

from collections.abc import Mapping, Sequence
from typing import Protocol

import torch
from torch import Tensor, nn

from rlrestore.errors import UsageError
from rlrestore.toolbox.networks import (
    WIDTHS,
    Widths,
    build_network,
    receptive_radius,
    widen,
)
from rlrestore.toolbox.specs import TOOLS, ToolSpec, check_widths

PIECE_ON_CPU = 64
"""Images that a tool takes at a time on a processor: several hundred at once take twice the time each, for
their features are more than its cache holds."""


def rounded_up(size: int) -> int:
    """Return a number whose four highest bits alone are set, at least `size` and less than 1/8 above it.

    On a GPU a convolution of a new shape must first be planned, which takes longer than to run it. So few
    shapes occur: eight for every doubling.
    """
    step: int = 1 << max(0, size.bit_length() - 4)
    return -(-size // step) * step


class Tools(Protocol):
    """Tools by number, however they are run: a `Toolbox` or `FunctionalTools`."""

    @property
    def stop(self) -> int:
        """The number of tools, and the action that leaves the image as it is."""
        ...

    def apply_tool(self, index: int, images: Tensor) -> Tensor:
        """Apply one tool to a batch `(B, 3, H, W)`."""
        ...

    def apply_each(self, actions: Tensor, images: Tensor, sizes: Sequence[int] | None = None) -> Tensor:
        """Apply to each image its tool; see the function of this name."""
        ...


class Toolbox(nn.Module):
    """An ordered set of tools. A tool maps `(B, 3, H, W)` in about [0, 1] to the same shape, unclipped."""

    def __init__(
        self,
        specs: Sequence[ToolSpec] = TOOLS,
        family: str = "hourglass",
        networks: Sequence[nn.Module] | None = None,
        widths: Mapping[int, Widths] | None = None,
    ) -> None:
        """Make a toolbox.

        Args:
            specs: The tools in the order of their actions.
            family: Which networks to build, one of `WIDTHS`; any other name when `networks` are given.
            networks: One for each tool; new untrained ones of the family without it.
            widths: Channels of the networks, by depth; the family's usual ones without it.

        Raises:
            ValueError: The numbers of specs and networks differ, or two tools share a name.
            UsageError: No such family, or no such widths.
        """
        super().__init__()
        widths = WIDTHS.get(family, {}) if widths is None else widths
        if networks is None:
            networks = [build_network(family, spec.depth, widths.get(spec.depth, ())) for spec in specs]
        if len(networks) != len(specs) or len({spec.name for spec in specs}) != len(specs):
            raise ValueError(
                f"expected one network and one name per tool, got {len(networks)} networks for {specs}"
            )
        self.specs = tuple(specs)
        self.family = family
        self.widths = {depth: tuple(each) for depth, each in widths.items()}
        self.networks = nn.ModuleList(networks)

    @property
    def names(self) -> tuple[str, ...]:
        """The tools' names in the order of their actions."""
        return tuple(spec.name for spec in self.specs)

    @property
    def stop(self) -> int:
        """The action that leaves the image as it is: the one after the last tool."""
        return len(self.specs)

    @property
    def device(self) -> torch.device:
        """Where the tools compute."""
        tensors = (*self.parameters(), *self.buffers())
        return tensors[0].device if tensors else torch.device("cpu")

    def radius(self, index: int) -> int:
        """Return the receptive field of a tool, in pixels to each side."""
        spec = self.specs[index]
        return spec.radius if spec.custom else receptive_radius(self.networks[index])

    @torch.no_grad()
    def blend(self, other: "Toolbox", share: float) -> None:
        """Move every weight towards that of another toolbox, which was trained on from this one.

        Between the two lie tools that know what both know.

        Args:
            other: Tools of the same networks.
            share: How far, from 0 to 1.

        Source: Wortsman et al., *Robust fine-tuning of zero-shot models*, CVPR 2022.
        """
        for weight, target in zip(self.parameters(), other.parameters(), strict=True):
            weight.lerp_(target, share)

    def apply_tool(self, index: int, images: Tensor) -> Tensor:
        """Apply one tool to a batch `(B, 3, H, W)`."""
        restored: Tensor = self.networks[index](images)
        return restored

    def apply_each(self, actions: Tensor, images: Tensor, sizes: Sequence[int] | None = None) -> Tensor:
        """Apply to each image its tool; see the function of this name."""
        return apply_each(self, actions, images, sizes)

    def apply_all(self, images: Tensor) -> Tensor:
        """Apply every tool to every image: `(B, 3, H, W)` to `(B, tools, 3, H, W)`."""
        pieces = images.split(PIECE_ON_CPU if images.device.type == "cpu" else len(images))
        successors = [
            torch.cat([self.apply_tool(index, piece) for piece in pieces]) for index in range(self.stop)
        ]
        return torch.stack(successors, dim=1)


def widened(toolbox: Toolbox, widths: Mapping[int, Widths], seed: int) -> Toolbox:
    """Return tools of more channels that restore as these do, to be trained further.

    Args:
        toolbox: Trained tools; custom ones remain what they are.
        widths: Channels of the new networks, by depth; the present ones for a depth that is not named.
        seed: Of the weights that are new.

    Raises:
        UsageError: A network would become narrower or too wide, or takes another number of widths.
    """
    widths = {**toolbox.widths, **{depth: tuple(each) for depth, each in widths.items()}}
    for depth, each in toolbox.widths.items():
        if any(new < old for new, old in zip(widths[depth], each, strict=False)):
            raise UsageError(f"expected widths of at least {list(each)}, got {list(widths[depth])}")
    for channels in widths.values():
        check_widths(channels)
    networks = []
    for number, (spec, network) in enumerate(zip(toolbox.specs, toolbox.networks, strict=True)):
        if spec.custom or widths.get(spec.depth) == toolbox.widths.get(spec.depth):
            networks.append(network)
            continue
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed + number)
            wide = build_network(toolbox.family, spec.depth, widths[spec.depth])
        widen(wide, network)
        networks.append(wide.to(toolbox.device).train(network.training))
    return Toolbox(toolbox.specs, toolbox.family, networks, widths)


def group_sizes(tools: Tools, actions: Tensor) -> Tensor:
    """Count on the device how often each action is taken: `(B,)` int64 to `(tools + 1,)`, stop last.

    A number that is no action is not counted.
    """
    return (actions[:, None] == torch.arange(tools.stop + 1, device=actions.device)).sum(dim=0)


def apply_each(tools: Tools, actions: Tensor, images: Tensor, sizes: Sequence[int] | None = None) -> Tensor:
    """Apply to each image its tool; each tool runs on its group.

    Args:
        tools: N tools.
        actions: `(B,)` int64; N leaves the image as it is.
        images: `(B, 3, H, W)`.
        sizes: What `group_sizes` gives for these actions, on the host. Without it this waits for the device,
            once.

    Returns:
        `(B, 3, H, W)`.

    Raises:
        ValueError: The sizes do not add up to B, or some actions lie outside 0…N.
    """
    sizes = group_sizes(tools, actions).tolist() if sizes is None else sizes
    if sum(sizes) != len(images) or len(sizes) != tools.stop + 1:
        raise ValueError(
            f"expected actions from 0 to {tools.stop} in {tools.stop + 1} groups, {len(images)} in all, "
            f"got groups of {list(sizes)}"
        )
    order = actions.argsort(stable=True)
    grouped = images.index_select(0, order)
    apply = _apply_in_pieces if images.device.type == "cpu" else _apply_filled_up
    restored = torch.cat(apply(tools, grouped, sizes)).to(images.dtype)
    return restored.index_select(0, order.argsort())


def _apply_in_pieces(tools: Tools, images: Tensor, sizes: Sequence[int]) -> list[Tensor]:
    """Apply every tool to its group of images, a few at a time; the last group stays as it is."""
    pieces = [
        (index, min(PIECE_ON_CPU, size - begin))
        for index, size in enumerate(sizes[:-1])
        for begin in range(0, size, PIECE_ON_CPU)
    ]
    # Split at once: each slice for itself would have a gradient of the size of the whole.
    *groups, rest = images.split([*(size for _, size in pieces), sizes[-1]])
    applied = zip(pieces, groups, strict=True)
    return [*(tools.apply_tool(index, group) for (index, _), group in applied), rest]


def _apply_filled_up(tools: Tools, images: Tensor, sizes: Sequence[int]) -> list[Tensor]:
    """Apply every tool to its group of images, filled up; the last group stays as it is."""
    restored, begin = [], 0
    for index, size in enumerate(sizes[:-1]):
        if size:
            restored += apply_filled_up(tools, index, images, begin, size)
        begin += size
    return [*restored, images[begin:]]


def apply_filled_up(tools: Tools, index: int, images: Tensor, begin: int, size: int) -> list[Tensor]:
    """Apply a tool to `size` images from `begin` on, and to neighbours that make the number a round one.

    What comes of the neighbours is dropped.
    """
    first = max(0, min(begin, len(images) - rounded_up(size)))
    restored = tools.apply_tool(index, images[first : first + rounded_up(size)])
    return [restored[begin - first : begin - first + size]]
