"""A toy toolbox whose effects can be computed by hand, and pairs that need no photographs."""

import pytest
from torch import Tensor, nn

from rlrestore.envs.leaves import dead_leaves
from rlrestore.envs.sources import MixtureSource, PairSource
from rlrestore.imaging.degradation.mixtures import MODERATE
from rlrestore.toolbox.specs import ToolSpec
from rlrestore.toolbox.toolbox import Toolbox


class Brighten(nn.Module):
    """Adds a constant."""

    def __init__(self, amount: float) -> None:
        super().__init__()
        self.amount = amount

    def forward(self, images: Tensor) -> Tensor:
        return images + self.amount


def smoothing() -> nn.Module:
    convolution = nn.Conv2d(3, 3, 3, padding=1, bias=False, groups=3)
    nn.init.constant_(convolution.weight, 1 / 9)
    return convolution


@pytest.fixture
def toolbox() -> Toolbox:
    """Tool 0 darkens by 0.05, tool 1 brightens by 0.2, tool 2 averages 3×3 pixels; 3 stops."""
    specs = [ToolSpec(name, "noise", 0.0, 50.0, depth=3) for name in ("darken", "brighten", "smooth")]
    toolbox = Toolbox(specs, family="toy", networks=[Brighten(-0.05), Brighten(0.2), smoothing()])
    return toolbox.eval().requires_grad_(False)


@pytest.fixture(scope="session")
def source() -> PairSource:
    return MixtureSource(dead_leaves(), MODERATE)
