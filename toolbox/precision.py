"""Tools that compute in bfloat16 where that costs no accuracy that is seen."""

import copy

import torch
from torch import Tensor, nn

from rlrestore.toolbox.networks import Folded, Hourglass
from rlrestore.toolbox.toolbox import Toolbox


class To(nn.Module):
    """Converts features to a type."""

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self.dtype = dtype

    def forward(self, features: Tensor) -> Tensor:
        """Return the features in the type."""
        return features.to(self.dtype)


def in_bfloat16(toolbox: Toolbox) -> Toolbox:
    """Return a copy of the tools that computes in bfloat16, for applying them only.

    The layers in the middle do. The first and the last layer, and what is added to the image, stay in
    float32, for there the rounding would show (`docs/onnx.md`). Networks that fold the image change, all
    others stay in float32.
    """
    networks = [_converted(copy.deepcopy(network)) for network in toolbox.networks]
    return Toolbox(toolbox.specs, toolbox.family, networks, toolbox.widths).eval()


def _converted(network: nn.Module) -> nn.Module:
    low, full = To(torch.bfloat16), To(torch.float32)
    if isinstance(network, Hourglass):
        network.middle, network.up = network.middle.bfloat16(), network.up.bfloat16()
        network.down = nn.Sequential(low, network.down.bfloat16())  # type: ignore[assignment]  # as a layer
    elif isinstance(network, Folded):
        network.middle = nn.Sequential(low, *network.middle.bfloat16(), full)
    return network
