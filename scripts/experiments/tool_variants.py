"""Variants of the hourglass tool: a map of strength, attention, dropout; each costs what the tool costs.

All are the toolbox's `Hourglass` with another middle, another end, or features that a map scales and shifts;
the channels at a quarter of the resolution are chosen so that a pixel costs as many multiply-adds within 3 %.
"""

from collections.abc import Callable, Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rlrestore.toolbox.networks import SLOPE, WIDTHS, Hourglass, pad_to_multiple

HALF, QUARTER = WIDTHS["hourglass"][8]
UNIT_255 = 50.0
"""What a network counts a map of strength in, in units of 1/255: the protocol's strongest noise."""
CONDITIONS = 16
"""Channels of the condition that a map is turned into."""
REDUCTION = 4
"""How many times fewer channels there are where an attention is computed from means."""
MASK_CHANNELS = 16
"""Of the small network behind a spatial attention."""
TEMPERATURE = 30.0
"""Makes the weights of the two branches of attention in attention alike at first, so that neither dies."""
PIXEL_QUARTER, CHANNEL_QUARTER = 86, 88
"""Channels at a quarter of the resolution of the two networks with attention in attention, whose blocks have
three convolutions of 3×3 and not two."""

Attention = Literal["pixel", "channel"]


def _convolution(inputs: int, outputs: int, size: int = 1, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, size, stride, padding=size // 2)


class FeatureTransform(nn.Module):
    """Scales and shifts every feature in every pixel by what a condition says there; at the start by nothing.

    Source: Wang, Yu, Dong, Loy: *Recovering Realistic Texture in Image Super-resolution by Deep Spatial
        Feature Transform*, CVPR 2018 (arXiv 1804.02815), section 3.2.
    """

    def __init__(self, conditions: int, width: int) -> None:
        """Make one for that many channels of the condition and of the features."""
        super().__init__()
        self.amounts = _convolution(conditions, 2 * width)
        for parameter in self.amounts.parameters():
            nn.init.zeros_(parameter)

    def forward(self, features: Tensor, condition: Tensor) -> Tensor:
        """Transform `(B, C, H, W)` by a condition `(B, conditions, H, W)`."""
        scale, shift = self.amounts(condition).chunk(2, dim=1)
        transformed: Tensor = torch.addcmul(features + shift, features, scale)
        return transformed


class ConditionedHourglass(nn.Module):
    """An `Hourglass` that also takes a map of strength, which transforms its features at three places.

    The map is averaged to half and to a quarter of the resolution, turned into a condition by two layers of
    1×1, and transforms what the first layer made and what either residual pair begins with.
    """

    def __init__(self, half: int = HALF, quarter: int = QUARTER, conditions: int = CONDITIONS) -> None:
        """Make one of that many channels at half and at a quarter of the resolution."""
        super().__init__()
        self.body = Hourglass(half, quarter)
        layers = _convolution(1, conditions), _convolution(conditions, conditions)
        self.condition = nn.Sequential(layers[0], nn.LeakyReLU(SLOPE), layers[1], nn.LeakyReLU(SLOPE))
        self.fine = FeatureTransform(conditions, half)
        self.coarse = nn.ModuleList(FeatureTransform(conditions, quarter) for _ in self.body.middle)

    def forward(self, images: Tensor, strength_255: Tensor) -> Tensor:
        """Restore `(B, 3, H, W)` by a map `(B, 1, H, W)` of the noise's strength in units of 1/255."""
        height, width = images.shape[-2:]
        body = self.body
        strength = pad_to_multiple(strength_255 / UNIT_255, 4)
        fine_condition, coarse_condition = (self.condition(F.avg_pool2d(strength, side)) for side in (2, 4))
        fine = self.fine(body.head(F.pixel_unshuffle(pad_to_multiple(images, 4), 2)), fine_condition)
        coarse = body.down(F.leaky_relu(fine, SLOPE))
        for transform, pair in zip(self.coarse, body.middle, strict=True):
            coarse = pair(transform(coarse, coarse_condition))
        fine = fine + F.pixel_shuffle(body.up(F.leaky_relu(coarse, SLOPE)), 2)
        residual = F.pixel_shuffle(body.tail(F.leaky_relu(fine, SLOPE)), 2)
        restored: Tensor = images + residual[..., :height, :width]
        return restored


class AttentionInAttention(nn.Module):
    """A residual block whose correction is a plain branch and one with attention, weighed for each image.

    The attention is of every feature in every pixel (`pixel`), or of every channel (`channel`).

    Source: Chen, Gu, Zhang: *Attention in Attention Network for Image Super-Resolution*, 2021 (arXiv
        2104.09497), section 3. Here the block takes the place of a residual pair of the hourglass.
    """

    def __init__(self, width: int, kind: Attention) -> None:
        super().__init__()
        less = width // REDUCTION
        self.kind = kind
        self.first = _convolution(width, width, 3)
        self.plain = _convolution(width, width, 3)
        self.attended = _convolution(width, width, 3)
        self.attention = (
            _convolution(width, width)
            if kind == "pixel"
            else nn.Sequential(_convolution(width, less), nn.LeakyReLU(SLOPE), _convolution(less, width))
        )
        self.weigh = nn.Sequential(nn.Linear(width, less), nn.ReLU(), nn.Linear(less, 2))

    def forward(self, features: Tensor) -> Tensor:
        """Return `(B, C, H, W)` with the block's correction added."""
        inner = F.leaky_relu(self.first(F.leaky_relu(features, SLOPE)), SLOPE)
        means = inner.mean(dim=(2, 3), keepdim=True)
        attention = torch.sigmoid(self.attention(inner if self.kind == "pixel" else means))
        weights = torch.softmax(self.weigh(means.flatten(1)) / TEMPERATURE, dim=1)[:, :, None, None, None]
        attended: Tensor = weights[:, 0] * self.attended(inner) * attention
        corrected: Tensor = features + attended + weights[:, 1] * self.plain(inner)
        return corrected


class SpatialAttention(nn.Module):
    """A residual pair whose correction counts more in some places than in others.

    Where, a small network says from the correction itself, at half its resolution: one number for each pixel.

    Source: Chen, Gong, Wang, Li, Wong: *Learning Spatial Attention for Face Super-Resolution*, IEEE TIP 2020
        (arXiv 2012.01211), section III: the face attention unit. Here it takes the place of a residual pair.
    """

    def __init__(self, width: int, channels: int = MASK_CHANNELS) -> None:
        super().__init__()
        self.first = _convolution(width, width, 3)
        self.second = _convolution(width, width, 3)
        self.down = _convolution(width, channels, 3, stride=2)
        self.inside = _convolution(channels, channels, 3)
        self.out = _convolution(channels, 1, 3)

    def forward(self, features: Tensor) -> Tensor:
        """Return `(B, C, H, W)` with the pair's correction added."""
        inner = self.first(F.leaky_relu(features, SLOPE))
        correction = self.second(F.leaky_relu(inner, SLOPE))
        coarse = self.inside(F.leaky_relu(self.down(F.leaky_relu(correction, SLOPE)), SLOPE))
        wide = F.interpolate(F.leaky_relu(coarse, SLOPE), correction.shape[-2:], mode="nearest")
        masked: Tensor = correction * torch.sigmoid(self.out(wide))
        return features + masked


def plain() -> Hourglass:
    """Return the tool's usual network of 8 layers."""
    return Hourglass(HALF, QUARTER)


def _with_middle(quarter: int, block: Callable[[], nn.Module]) -> Hourglass:
    network = Hourglass(HALF, quarter)
    network.middle = nn.Sequential(block(), block())
    return network


def with_attention_in_attention(kind: Attention) -> Hourglass:
    """Return an hourglass with attention in attention in the place of its residual pairs."""
    quarter = PIXEL_QUARTER if kind == "pixel" else CHANNEL_QUARTER
    return _with_middle(quarter, lambda: AttentionInAttention(quarter, kind))


def with_spatial_attention() -> Hourglass:
    """Return an hourglass with spatial attention in its residual pairs."""
    return _with_middle(QUARTER, lambda: SpatialAttention(QUARTER))


def with_dropout(share: float) -> Hourglass:
    """Return an hourglass that in training loses a share of the channels before its last layer.

    Source: Kong, Liu, Gu, Qiao, Dong: *Reflash Dropout in Image Super-Resolution*, CVPR 2022 (arXiv
        2112.12089): one dropout of whole channels before the last convolution.
    """
    network = plain()
    network.tail = nn.Sequential(nn.Dropout2d(share), network.tail)  # type: ignore[assignment]  # as a layer
    return network


def per_pixel(candidates: Sequence[Tensor], choice: Tensor) -> Tensor:
    """Take every pixel from the result of one of several tools.

    Args:
        candidates: Each `(B, 3, H, W)`.
        choice: `(B, 1, H, W)` int64: whose.
    """
    stacked = torch.stack(tuple(candidates), dim=1)  # (B, N, 3, H, W)
    index = choice[:, :, None].expand(-1, 1, *stacked.shape[2:])
    return stacked.gather(1, index).squeeze(1)
