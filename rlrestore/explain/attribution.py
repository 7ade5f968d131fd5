"""Which pixels a number depends on: gradients added up along a path from a blurred picture to the picture.

Source: Gu and Dong, *Interpreting super-resolution networks with local attribution maps*, CVPR 2021, arXiv
2011.11036, section 3.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from rlrestore.imaging.degradation.blur import gaussian_blur

SIGMA_PX = 3.0
"""Where a path begins: what is finer is gone there, with nearly all noise and all traces of JPEG but the
largest."""
STEPS = 50
"""Points of a path at which the gradient is taken."""
PIXELS_AT_ONCE = 300_000
"""Of several points of a path; bounds the memory."""
SMALLEST_SLOPE = 1e-6
"""Keeps the gradient of a slope's size finite where it is flat."""

Score = Callable[[Tensor], Tensor]
"""From images `(B, 3, H, W)` to a number of each, `(B,)`."""


@dataclass(frozen=True, eq=False)
class Attribution:
    """What every sample of a picture contributed to a number.

    Attributes:
        map: `(3, H, W)`, in the unit of the number; positive where the sample raised it.
        blurred: The number of the blurred picture.
        sharp: The number of the picture as it is.
    """

    map: Tensor
    blurred: float
    sharp: float

    @property
    def missing(self) -> float:
        """By how much the map's sum misses the difference of both numbers: 0 for a path of endless steps."""
        return self.sharp - self.blurred - float(self.map.sum())

    @property
    def diffusion_index(self) -> float:
        """How widely the pixels that matter are spread, from 0 for one pixel to 100 for all alike.

        100·(1 − G), G being the Gini coefficient of the pixels' absolute contributions. It falls with the
        size of the map: compare maps of one size.

        Source: section 3.4, equations 11 and 12.
        """
        sizes = self.map.abs().sum(dim=0).flatten().double().sort().values
        total, count = sizes.sum(), len(sizes)
        if total == 0:
            return 100.0
        order = torch.arange(1, count + 1, dtype=torch.float64, device=sizes.device)
        gini = (2 * (order * sizes).sum() / total - (count + 1)) / count
        return float(100 * (1 - gini))


def blur_path(image: Tensor, sigma_px: float = SIGMA_PX, steps: int = STEPS) -> Tensor:
    """Return a picture from blurred to sharp: `(1, 3, H, W)` to `(steps + 1, 3, H, W)`.

    Args:
        image: The picture, with surroundings of 10 pixels that a caller cuts off, or its own border.
        sigma_px: Standard deviation of the Gaussian at the beginning, at most 5; it falls evenly to 0.
        steps: From one point to the next.

    Source: section 3.3, equation 8.
    """
    sigmas = torch.linspace(sigma_px, 0, steps + 1, device=image.device, dtype=image.dtype)
    path = gaussian_blur(image.expand(steps + 1, -1, -1, -1), sigmas)
    path[-1] = image[0]
    return path


def attribute(score: Score, path: Tensor) -> Attribution:
    """Add up, along a path, the gradient of a number times how far every sample moves.

    The gradient is taken in the middle of every step, so that the sum misses the difference of the number at
    both ends by little.

    Args:
        score: The number; gradients must flow through it.
        path: `(steps + 1, 3, H, W)`, its points from the beginning to the end.

    Raises:
        ValueError: No gradient flows.

    Source: section 3.2, equation 7.
    """
    total = torch.zeros_like(path[0], dtype=torch.float64)
    points = max(1, PIXELS_AT_ONCE // path[0, 0].numel())
    for first, second in zip(path[:-1].split(points), path[1:].split(points), strict=True):
        middles = ((first + second) / 2).requires_grad_()
        numbers = score(middles)
        if not numbers.requires_grad:
            raise ValueError("expected a number through which gradients flow")
        (gradients,) = torch.autograd.grad(numbers.sum(), middles)
        gradients.nan_to_num_(nan=0.0)  # of a root's slope at 0, where a picture is flat
        total += (gradients * (second - first)).sum(dim=0, dtype=torch.float64)
    with torch.no_grad():
        blurred, sharp = (float(score(end)) for end in (path[:1], path[-1:]))
    return Attribution(total, blurred, sharp)


def mean_slope(images: Tensor) -> Tensor:
    """Return how strong the edges of `(B, 3, H, W)` are: the mean size of the slope, `(B,)`, 1 / pixel.

    Source: the gradient detector of section 3.1.
    """
    down = images[..., 1:, :-1] - images[..., :-1, :-1]
    across = images[..., :-1, 1:] - images[..., :-1, :-1]
    return (down.square() + across.square() + SMALLEST_SLOPE**2).sqrt().mean(dim=(1, 2, 3))


def mean_value(images: Tensor) -> Tensor:
    """Return the mean of `(B, 3, H, W)`: `(B,)`; of a linear tool it is linear in the picture."""
    return images.mean(dim=(1, 2, 3))


DETECTORS: dict[str, Score] = {"edges": mean_slope, "brightness": mean_value}
"""What is explained of a tool's result in a window."""
