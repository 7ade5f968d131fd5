"""Deep image prior: a network that was never trained is fitted to one degraded photograph, and stopped early.

Source: Ulyanov, Vedaldi, Lempitsky: Deep image prior, CVPR 2018 (the network smaller than theirs: four scales
of 32 channels; noise on the input, and an average over the iterates, as theirs).
"""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

INPUT_CHANNELS, INPUT_SCALE, INPUT_NOISE = 32, 0.1, 1 / 30
LEARNING_RATE, AVERAGE_DECAY = 0.01, 0.99


def _layer(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    convolution = nn.Conv2d(inputs, outputs, 3, stride, padding=1, padding_mode="reflect")
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.LeakyReLU(0.2))


class Prior(nn.Module):
    """An hourglass with skips; `(1, INPUT_CHANNELS, H, W)` to `(1, 3, H, W)` in [0, 1].

    The sides are multiples of 2 to the number of scales.
    """

    def __init__(self, scales: int = 4, width: int = 32, skip: int = 4) -> None:
        super().__init__()
        inputs = [INPUT_CHANNELS] + [width] * (scales - 1)
        self.down = nn.ModuleList(
            nn.Sequential(_layer(each, width, 2), _layer(width, width)) for each in inputs
        )
        self.skips = nn.ModuleList(_layer(each, skip) for each in inputs)
        self.up = nn.ModuleList(
            nn.Sequential(nn.BatchNorm2d(width + skip), _layer(width + skip, width)) for _ in inputs
        )
        self.last = nn.Conv2d(width, 3, 1)

    def forward(self, noise: Tensor) -> Tensor:
        """Return the picture that the network makes of noise."""
        features, skipped = noise, []
        for down, skip in zip(self.down, self.skips, strict=True):
            skipped.append(skip(features))
            features = down(features)
        for up, beside in zip(self.up, reversed(skipped), strict=True):
            wide = F.interpolate(features, scale_factor=2, mode="bilinear", align_corners=False)
            features = up(torch.cat((wide, beside), dim=1))
        return torch.sigmoid(self.last(features))


def fitted(degraded: Tensor, iterations: int, seed: int = 0) -> Iterator[Tensor]:
    """Yield after every iteration the average of what the network has made of a photograph.

    Args:
        degraded: `(1, 3, H, W)` in [0, 1], of sides that are multiples of 16.
        iterations: How many.
        seed: Of the network and of its input.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = Prior()
    generator = torch.Generator().manual_seed(seed)
    shape = (1, INPUT_CHANNELS, *degraded.shape[-2:])
    noise = INPUT_SCALE * torch.rand(shape, generator=generator)
    optimizer = torch.optim.Adam(network.parameters(), lr=LEARNING_RATE)
    average = None
    for _ in range(iterations):
        optimizer.zero_grad()
        made = network(noise + INPUT_NOISE * INPUT_SCALE * torch.randn(shape, generator=generator))
        F.mse_loss(made, degraded).backward()
        optimizer.step()
        made = made.detach()
        average = made if average is None else AVERAGE_DECAY * average + (1 - AVERAGE_DECAY) * made
        yield average
