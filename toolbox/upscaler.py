"""The tool that enlarges a restored photograph twice or three times: it stands beside the twelve.

It is no action of the agent: what it makes has another size. One network serves both scales, all of its
layers but the last working on the small image; what it adds is added to the image enlarged by Lanczos.

Source: Shi et al.: Real-time single image and video super-resolution using an efficient sub-pixel
convolutional neural network, CVPR 2016 (layers on the small image, unfolded at the end).
"""

from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rlrestore.errors import UsageError
from rlrestore.model_folder.card import Record
from rlrestore.model_folder.upscaler import SCALES, UpscalerFile, find_upscaler, read_upscaler, write_upscaler
from rlrestore.toolbox.networks import SLOPE, ResidualPair, channels_last
from rlrestore.toolbox.storage import load_weights, to_arrays, to_tensors

LANCZOS_LOBES = 3


class Upscaler(nn.Module):
    """3×3 convolutions on the small image: one in, residual pairs, one out for each scale.

    The last layers start at zero, so an untrained network is Lanczos.

    Attributes:
        width: Channels of the layers in the middle.
        pairs: Residual pairs.
    """

    def __init__(self, width: int = 48, pairs: int = 3) -> None:
        super().__init__()
        self.width, self.pairs = width, pairs
        self.head = nn.Conv2d(3, width, 3, padding=1)
        self.middle = nn.Sequential(*(ResidualPair(width, SLOPE) for _ in range(pairs)))
        self.tails = nn.ModuleList(nn.Conv2d(width, 3 * scale**2, 3, padding=1) for scale in SCALES)
        for tail in self.tails:
            for weight in tail.parameters():
                nn.init.zeros_(weight)

    @property
    def radius(self) -> int:
        """How far a pixel of the small image still matters to what becomes of another, in its pixels."""
        return max(2 + 2 * self.pairs, LANCZOS_LOBES)

    def forward(self, images: Tensor, scale: int) -> Tensor:
        """Enlarge `(B, 3, H, W)` to `(B, 3, scale·H, scale·W)`, not clipped.

        Args:
            images: RGB in [0, 1].
            scale: One of `SCALES`.

        Raises:
            UsageError: There is no such scale.
        """
        check_scale(scale)
        features = self.middle(self.head(images))
        residual = self.tails[SCALES.index(scale)](F.leaky_relu(features, SLOPE))
        return enlarge(images, scale) + F.pixel_shuffle(residual, scale).to(images.dtype)


def check_scale(scale: int) -> None:
    """Make sure that there is such an enlargement.

    Raises:
        UsageError: There is not.
    """
    if scale not in SCALES:
        raise UsageError(f"expected an enlargement by {' or '.join(map(str, SCALES))}, got {scale!r}")


def enlarge(images: Tensor, scale: int) -> Tensor:
    """Enlarge `(B, C, H, W)` by a whole number with Lanczos's window of three lobes.

    The border is continued by its last pixel.
    """
    taps = lanczos_taps(scale).to(images)
    channels, reach = images.shape[1], taps.shape[1] // 2
    down = taps[:, None, :, None].repeat(channels, 1, 1, 1)
    across = taps[:, None, None, :].repeat(channels, 1, 1, 1)
    tall = F.conv2d(F.pad(images, (0, 0, reach, reach), mode="replicate"), down, groups=channels)
    tall = _interleaved(tall, scale, dim=2)
    wide = F.conv2d(F.pad(tall, (reach, reach, 0, 0), mode="replicate"), across, groups=channels)
    return _interleaved(wide, scale, dim=3)


def lanczos_taps(scale: int) -> Tensor:
    """Return the weights of a pixel's surroundings for each that it becomes: `(scale, 2·lobes + 1)`."""
    places = (torch.arange(scale, dtype=torch.float64) + 0.5) / scale - 0.5
    away = torch.arange(-LANCZOS_LOBES, LANCZOS_LOBES + 1) - places[:, None]
    weights = torch.sinc(away) * torch.sinc(away / LANCZOS_LOBES) * (away.abs() < LANCZOS_LOBES)
    return weights / weights.sum(dim=1, keepdim=True)


def _interleaved(phases: Tensor, scale: int, dim: int) -> Tensor:
    """Turn `(B, scale·C, H, W)`, the phases of every channel, into `(B, C, H, W)`, longer along `dim`."""
    batch, channels, height, width = phases.shape
    parts = phases.view(batch, channels // scale, scale, height, width)
    return parts.movedim(2, dim + 1).flatten(dim, dim + 1)


def load_upscaler(folder: Path, device: torch.device | str = "cpu") -> Upscaler:
    """Read the tool of a model's folder, or the shipped one where it has none, ready for use.

    Raises:
        ModelError: There is none, or it is damaged.
    """
    path = find_upscaler(folder)
    stored = read_upscaler(path)
    network = Upscaler(stored.width, stored.pairs)
    load_weights(network, to_tensors(stored.weights), f"{path} does not fit the sizes in its header")
    channels_last(network)
    return network.to(device).eval().requires_grad_(False)


def save_upscaler(folder: Path, network: Upscaler, training: Sequence[Record]) -> None:
    """Write the tool into a model's folder.

    Raises:
        RlrestoreError: It cannot be written.
    """
    weights = to_arrays(network.state_dict())
    write_upscaler(folder, UpscalerFile(network.width, network.pairs, weights, tuple(training)))
