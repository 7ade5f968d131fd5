"""The networks behind the tools: plain convolution stacks of 3 or 8 layers that predict a residual.

`paper` is the authors' own family (paper, table 1), so that their released weights load. `hourglass` has the
same depths on the image folded 2×2 into channels, its 8 layers mostly at a quarter of the resolution, which
costs fewer multiply-adds and sees three times as far. `fast`, which came before it, is only read: all its
layers work at half the resolution. A network computes in the type of its weights and adds the
residual in that of the images.
"""

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rlrestore.errors import UsageError

Family = Literal["hourglass", "paper"]
FAMILIES: tuple[Family, ...] = ("hourglass", "paper")
"""What is trained; `WIDTHS` also names what is only read."""
DEPTHS = (3, 8)
SLOPE = 0.1
"""Of a folding network's activations below zero. In a mild tool, which first learns to change nothing, plain
ReLUs die by the dozen."""
Widths = Sequence[int]
"""Channels of a network: at half resolution and, of an `Hourglass`, at a quarter; none for `paper`."""
WIDTHS: dict[str, dict[int, tuple[int, ...]]] = {
    "hourglass": {3: (64,), 8: (32, 104)},
    "fast": {3: (64,), 8: (48,)},
    "paper": {},
}
"""The usual widths of every family, by depth."""


def _convolution(inputs: int, outputs: int, size: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, size, stride, padding=size // 2)


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
        residual: Tensor = self.body(images.to(next(self.parameters()).dtype))
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
        residual: Tensor = self.body(images.to(next(self.parameters()).dtype))
        return images + residual


def pad_to_multiple(images: Tensor, multiple: int) -> Tensor:
    """Pad `(B, C, H, W)` to sides of a multiple, at the bottom and on the right, by the replicated edge.

    At least by one line: patches of 63 pixels are always padded by one, and what a network makes of a last
    line that is not is never trained.
    """
    height, width = images.shape[-2:]
    down, across = multiple - height % multiple, multiple - width % multiple
    # By joining, for the compiler of torch 2.13 gets the gradient of a replicating `F.pad` wrong.
    images = torch.cat((images, images[..., -1:].expand(-1, -1, -1, across)), dim=3)
    return torch.cat((images, images[..., -1:, :].expand(-1, -1, down, -1)), dim=2)


class Folded(nn.Module):
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
        """Restore `(B, 3, H, W)`; sides are padded to multiples of 2 by `pad_to_multiple`."""
        height, width = images.shape[-2:]
        padded = pad_to_multiple(images, 2)
        features = self.middle(self.head(F.pixel_unshuffle(padded, 2).to(self.head.weight.dtype)))
        residual = F.pixel_shuffle(self.tail(F.leaky_relu(features, SLOPE)), 2)
        return images + residual[..., :height, :width]


class Hourglass(nn.Module):
    """8 convolutions of 3×3, five of them at a quarter of the resolution.

    The image folded 2×2 into 12 channels, one layer at half resolution, one of stride 2, two residual pairs
    at a quarter, one layer whose channels are unfolded back to half resolution, the first layer's output
    added, one layer out. The last layer starts at zero, so an untrained tool leaves the image as it is.
    """

    def __init__(self, half: int, quarter: int) -> None:
        """Make a network of that many channels at half and at a quarter of the resolution."""
        super().__init__()
        self.head = _convolution(12, half, 3)
        self.down = _convolution(half, quarter, 3, stride=2)
        self.middle = nn.Sequential(ResidualPair(quarter, SLOPE), ResidualPair(quarter, SLOPE))
        self.up = _convolution(quarter, 4 * half, 3)
        self.tail = _convolution(half, 12, 3)
        nn.init.zeros_(self.tail.weight)
        nn.init.zeros_(self.tail.bias)  # type: ignore[arg-type]  # the layer has a bias

    def forward(self, images: Tensor) -> Tensor:
        """Restore `(B, 3, H, W)`; sides are padded to multiples of 4 by `pad_to_multiple`."""
        height, width = images.shape[-2:]
        padded = pad_to_multiple(images, 4)
        fine = self.head(F.pixel_unshuffle(padded, 2).to(self.head.weight.dtype))
        coarse = self.middle(self.down(F.leaky_relu(fine, SLOPE)))
        fine = fine + F.pixel_shuffle(self.up(F.leaky_relu(coarse, SLOPE)), 2)
        residual = F.pixel_shuffle(self.tail(F.leaky_relu(fine, SLOPE)), 2)
        return images + residual[..., :height, :width]


def build_network(family: str, depth: int, widths: Widths | None = None) -> nn.Module:
    """Return a new, untrained tool network: `(B, 3, H, W)` to the same shape.

    Args:
        family: One of `WIDTHS`.
        depth: 3 or 8.
        widths: Its channels; those of `WIDTHS` without it.

    Raises:
        UsageError: The family or the depth does not exist, or it takes another number of widths.
    """
    if family not in WIDTHS or depth not in DEPTHS:
        raise UsageError(
            f"expected family {' or '.join(WIDTHS)} and depth 3 or 8, got {family!r} and {depth}"
        )
    usual = WIDTHS[family].get(depth, ())
    widths = usual if widths is None else tuple(widths)
    if len(widths) != len(usual):
        raise UsageError(
            f"expected {len(usual)} widths of a {family} network of {depth} layers, got {list(widths)}"
        )
    if family == "paper":
        return PaperShallow() if depth == 3 else PaperDeep()
    return Hourglass(*widths) if family == "hourglass" and depth == 8 else Folded(depth, *widths)


@torch.no_grad()
def widen(wide: nn.Module, network: nn.Module) -> None:
    """Let a new network with more channels compute what a trained one of its family does, in place.

    Its further channels come of its own weights, and none of those that were there reads them: the weights
    for that are zero, from where a training moves them.

    Args:
        wide: The new network.
        network: The trained one.

    Raises:
        ValueError: The new one is narrower somewhere, or of other layers.
    """
    for more, given in zip(wide.parameters(), network.parameters(), strict=True):
        if any(size < kept for size, kept in zip(more.shape, given.shape, strict=True)):
            raise ValueError(f"expected weights of at least {tuple(given.shape)}, got {tuple(more.shape)}")
        if given.ndim == 4:
            more[: len(given), given.shape[1] :] = 0
        more[tuple(map(slice, given.shape))] = given


def check_trainable(family: str) -> None:
    """Make sure that networks of a family are still trained.

    Raises:
        UsageError: They are not; those that were, are read.
    """
    if family not in FAMILIES:
        older = f"{family} is only read, no longer trained: " if family in WIDTHS else ""
        raise UsageError(f"{older}expected family {' or '.join(FAMILIES)}, got {family!r}")


def channels_last(network: nn.Module) -> None:
    """Lay the weights out in the order in which convolutions run fastest; they stay the same numbers."""
    for parameter in network.parameters():
        if parameter.ndim == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)


def receptive_radius(network: nn.Module) -> int:
    """Return how many pixels away from an output pixel an input pixel can still matter.

    Counted from the kernels of all its convolutions. On a folded image each counts twice, plus the fold. In
    an `Hourglass` each of those at a quarter counts four times; the two layers on the way down and the last
    one reach into one more block of 4 pixels at either end, plus the fold.
    """
    reach = sum(
        int(module.kernel_size[0]) // 2 for module in network.modules() if isinstance(module, nn.Conv2d)
    )
    if isinstance(network, Hourglass):
        return 4 * (reach - 3 + 2) + 1
    return 2 * reach + 1 if isinstance(network, Folded) else reach
