"""The networks behind the tools: plain convolution stacks of 3 or 8 layers that predict a residual.

Two families. `paper` is the authors' own (paper, table 1), so that their released weights load. `fast` has
the same depths on the image folded 2×2 into channels, with residual pairs inside, which costs fewer
multiply-adds and sees twice as far.
"""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rlrestore.errors import UsageError

Family = Literal["fast", "paper"]
FAMILIES: tuple[Family, ...] = ("fast", "paper")
DEPTHS = (3, 8)
SLOPE = 0.1
"""Of a `fast` network's activations below zero. In a mild tool, which first learns to change nothing, plain
ReLUs die by the dozen."""
FAST_WIDTHS: dict[int, int] = {3: 64, 8: 48}
"""Channels of a `fast` network at half resolution, by depth."""


def _convolution(inputs: int, outputs: int, size: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, size, padding=size // 2)


class ResidualPair(nn.Module):
    """Two pre-activation 3×3 convolutions added to their input; `(B, C, H, W)` to the same shape."""

    def __init__(self, width: int, slope: float = 0.0) -> None:
        """Make a pair whose ReLUs have this slope below zero."""
        super().__init__()
        self.slope = slope
        self.first = _convolution(width, width, 3)
        self.second = _convolution(width, width, 3)

    def forward(self, features: Tensor) -> Tensor:
        """Return the features with the pair's correction added."""
        inner = self.first(F.leaky_relu(features, self.slope))
        correction: Tensor = self.second(F.leaky_relu(inner, self.slope))
        return features + correction


class PaperShallow(nn.Module):
    """The authors' 3-layer tool, 21,827 parameters: 9×9×32, 5×5×16, 5×5×3, plus the input."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            _convolution(3, 32, 9), nn.ReLU(), _convolution(32, 16, 5), nn.ReLU(), _convolution(16, 3, 5)
        )

    def forward(self, images: Tensor) -> Tensor:
        """Restore `(B, 3, H, W)`."""
        residual: Tensor = self.body(images)
        return images + residual


class PaperDeep(nn.Module):
    """The authors' 8-layer tool, 50,851 parameters.

    5×5×64, ReLU, 1×1×32, two pre-activation pairs of 3×3×32, 1×1×64 on the plain sum, ReLU, 5×5×3, plus the
    input.
    """

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            _convolution(3, 64, 5),
            nn.ReLU(),
            _convolution(64, 32, 1),
            ResidualPair(32),
            ResidualPair(32),
            _convolution(32, 64, 1),
            nn.ReLU(),
            _convolution(64, 3, 5),
        )

    def forward(self, images: Tensor) -> Tensor:
        """Restore `(B, 3, H, W)`."""
        residual: Tensor = self.body(images)
        return images + residual


class Fast(nn.Module):
    """3×3 convolutions on the image folded 2×2 into 12 channels, at half resolution.

    One layer in, residual pairs (for 3 layers a single plain one) in the middle, one layer out. The last
    layer starts at zero, so an untrained tool leaves the image as it is.
    """

    def __init__(self, depth: int, width: int) -> None:
        super().__init__()
        self.head = _convolution(12, width, 3)
        pairs, single = divmod(depth - 2, 2)
        middle: list[nn.Module] = [ResidualPair(width, SLOPE) for _ in range(pairs)]
        middle += [nn.LeakyReLU(SLOPE), _convolution(width, width, 3)] * single
        self.middle = nn.Sequential(*middle)
        self.tail = _convolution(width, 12, 3)
        nn.init.zeros_(self.tail.weight)
        nn.init.zeros_(self.tail.bias)  # type: ignore[arg-type]  # the layer has a bias

    def forward(self, images: Tensor) -> Tensor:
        """Restore `(B, 3, H, W)`; an odd side is padded by one replicated line for the fold."""
        height, width = images.shape[-2:]
        padded = F.pad(images, (0, width % 2, 0, height % 2), mode="replicate")
        features = self.middle(self.head(F.pixel_unshuffle(padded, 2)))
        residual = F.pixel_shuffle(self.tail(F.leaky_relu(features, SLOPE)), 2)
        return images + residual[..., :height, :width]


def build_network(family: str, depth: int, width: int | None = None) -> nn.Module:
    """Return a new, untrained tool network: `(B, 3, H, W)` to the same shape.

    Args:
        family: `fast` or `paper`.
        depth: 3 or 8.
        width: Channels of a `fast` network; those of `FAST_WIDTHS` without it.

    Raises:
        UsageError: The family or the depth does not exist.
    """
    if family not in FAMILIES or depth not in DEPTHS:
        raise UsageError(
            f"expected family {' or '.join(FAMILIES)} and depth 3 or 8, got {family!r} and {depth}"
        )
    if family == "fast":
        return Fast(depth, FAST_WIDTHS[depth] if width is None else width)
    return PaperShallow() if depth == 3 else PaperDeep()


def channels_last(network: nn.Module) -> None:
    """Lay the weights out in the order in which convolutions run fastest; they stay the same numbers."""
    for parameter in network.parameters():
        if parameter.ndim == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)


def receptive_radius(network: nn.Module) -> int:
    """Return how many pixels away from an output pixel an input pixel can still matter.

    Counted from the kernels of all its convolutions; each counts twice on a folded image, plus the fold.
    """
    reach = sum(
        int(module.kernel_size[0]) // 2 for module in network.modules() if isinstance(module, nn.Conv2d)
    )
    return 2 * reach + 1 if isinstance(network, Fast) else reach
