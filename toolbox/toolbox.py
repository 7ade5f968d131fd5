"""The toolbox: named tools that restore an image, applied to a batch."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from rlrestore.toolbox.networks import FAST_WIDTHS, build_network, receptive_radius
from rlrestore.toolbox.specs import TOOLS, ToolSpec


class Toolbox(nn.Module):
    """An ordered set of tools. A tool maps `(B, 3, H, W)` in about [0, 1] to the same shape, unclipped."""

    def __init__(
        self,
        specs: Sequence[ToolSpec] = TOOLS,
        family: str = "fast",
        networks: Sequence[nn.Module] | None = None,
        widths: Mapping[int, int] = FAST_WIDTHS,
    ) -> None:
        """Make a toolbox.

        Args:
            specs: The tools in the order of their actions.
            family: Which networks to build, `fast` or `paper`; a name of your own when `networks` are given.
            networks: One for each tool; new untrained ones of the family without it.
            widths: Channels of new `fast` networks, by depth.

        Raises:
            ValueError: The numbers of specs and networks differ, or two tools share a name.
            UsageError: No such family.
        """
        super().__init__()
        if networks is None:
            networks = [build_network(family, spec.depth, widths.get(spec.depth)) for spec in specs]
        if len(networks) != len(specs) or len({spec.name for spec in specs}) != len(specs):
            raise ValueError(
                f"expected one network and one name per tool, got {len(networks)} networks for {specs}"
            )
        self.specs = tuple(specs)
        self.family = family
        self.widths = dict(widths) if family == "fast" else {}
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
    def receptive_field(self) -> int:
        """The largest distance in pixels over which any tool can look."""
        return max(receptive_radius(network) for network in self.networks)

    def apply_tool(self, index: int, images: Tensor) -> Tensor:
        """Apply one tool to a batch `(B, 3, H, W)`."""
        restored: Tensor = self.networks[index](images)
        return restored

    def apply_each(self, actions: Tensor, images: Tensor) -> Tensor:
        """Apply to each image its own tool; each tool runs once, on its group.

        Args:
            actions: `(B,)` int64; `stop` leaves the image as it is.
            images: `(B, 3, H, W)`.

        Returns:
            `(B, 3, H, W)`.
        """
        order = actions.argsort(stable=True)
        sizes = torch.bincount(actions, minlength=self.stop + 1).tolist()
        groups = images[order].split(sizes)
        restored = [
            self.apply_tool(index, group) if index < self.stop and len(group) else group
            for index, group in enumerate(groups)
        ]
        return torch.cat(restored)[order.argsort()]

    def apply_all(self, images: Tensor) -> Tensor:
        """Apply every tool to every image: `(B, 3, H, W)` to `(B, tools, 3, H, W)`."""
        return torch.stack([self.apply_tool(index, images) for index in range(self.stop)], dim=1)
