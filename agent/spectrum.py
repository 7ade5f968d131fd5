"""What the agent observes: the strength of every frequency of a patch, at several scales, in each colour.

What is wrong with a photograph shows in its spectrum. Noise lifts all frequencies alike, blur takes the high
ones away, and JPEG rounds the coefficients of this very transform, so that the small ones vanish. How strong
they are, averaged over a patch, says which degradation there is and how much; where they are does not matter.
Nothing here is learned, so a replay buffer can hold the spectrum instead of the patch.
"""

import functools

import torch
from torch import Tensor, nn

from rlrestore.imaging.degradation.jpeg import BLOCK, RGB_TO_YCBCR, dct_basis

STRIDES = (5, 2, 1)
"""Pixels from one block to the next at full, half and quarter size. 5 is prime to 8: the blocks of a patch
take every phase of a JPEG's grid."""
STATISTICS = 3
FAINT = 1e-3, 1e-4
"""What is added to a coefficient, and to a mean over a patch, before the logarithm: a quarter of a grey level
and a fortieth of one."""
FACTORS = 8
"""Sizes at most whose product is taken: from (1e-3)⁸ to 8⁸, far from the ends of float32."""
PLANES = len(STRIDES) * 3 * STATISTICS
"""For each scale, colour and statistic one."""
TOGETHER = 8
"""Patches at a time on a processor: their coefficients, 0.9 MB, stay in a core's cache from step to step."""


class Spectrum(nn.Module):
    """Patches to the logarithms of their coefficients' sizes.

    Three statistics of each coefficient over the blocks of a patch: its mean size, its root mean square, and
    its geometric mean. They differ where a few blocks are strong: on edges, and after a JPEG.
    """

    def __init__(self) -> None:
        super().__init__()
        self.colours: Tensor
        self.register_buffer("colours", torch.tensor(RGB_TO_YCBCR), persistent=False)
        self.greys: Tensor
        self.register_buffer("greys", torch.tensor([0.0, 0.5, 0.5]).view(3, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Return the spectra of images.

        Args:
            images: `(B, 3, H, W)` RGB of at least 32×32 pixels; values outside [0, 1] are cut off first.

        Returns:
            `(B, PLANES, 8, 8)`: a plane for each scale, colour and statistic, an entry for each frequency.
            A transposed image has the transposed planes.
        """
        on_processor = images.device.type == "cpu" and len(images) > TOGETHER
        parts = images.split(TOGETHER) if on_processor else (images,)
        spectra = tuple(map(self._spectra, parts))
        return torch.cat(spectra) if on_processor else spectra[0]

    def _spectra(self, images: Tensor) -> Tensor:
        colours = (self.colours @ images.clamp(0, 1).flatten(2)).view_as(images)
        planes, spectra = colours + self.greys, []  # so that no plane's mean changes its sign
        for half, stride in enumerate(STRIDES):
            planes = halved(planes) if half else planes
            blocks = coefficients(planes, stride).abs_()
            statistics = torch.stack(log_means_(blocks), dim=2)  # (B, 3, 3, 8, 8)
            spectra.append(statistics.flatten(1, 2))
        return torch.cat(spectra, dim=1)


def halved(planes: Tensor) -> Tensor:
    """Return the means of squares of 2×2 in `(B, C, H, W)`; an odd last row or column is left out."""
    height, width = (side // 2 * 2 for side in planes.shape[-2:])
    columns = planes[..., :height, 0:width:2] + planes[..., :height, 1:width:2]
    return (columns[..., ::2, :] + columns[..., 1::2, :]) / 4


def coefficients(planes: Tensor, stride: int) -> Tensor:
    """Return the DCT of all blocks, by two matrix products.

    Args:
        planes: `(B, C, H, W)`.
        stride: Pixels from one block to the next.

    Returns:
        `(B, C, rows, 8, columns, 8)`: blocks down, their frequencies down, and across.
    """
    rows, columns = (block_lines(side, planes.device, stride) for side in planes.shape[-2:])
    lines = rows @ (planes @ columns.mT)
    blocks: Tensor = lines.unflatten(2, (-1, BLOCK)).unflatten(4, (-1, BLOCK))
    return blocks


@functools.cache
@torch.inference_mode(False)  # what is made in that mode and kept could not be part of a gradient later
def block_lines(length: int, device: torch.device, stride: int) -> Tensor:
    """Return the DCT of every block of a line: `(blocks · 8, length)`."""
    starts = range(0, length - BLOCK + 1, stride)
    lines = torch.zeros(len(starts), BLOCK, length)
    for line, start in zip(lines, starts, strict=True):
        line[:, start : start + BLOCK] = dct_basis()
    return lines.flatten(0, 1).to(device)


def log_means_(sizes: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the logarithms of the mean, the root mean square and the geometric mean over blocks.

    A product of up to `FACTORS` sizes takes one logarithm, by far the slowest step, for all of them.

    Args:
        sizes: `(B, C, rows, 8, columns, 8)`, not negative; they are overwritten, unless a gradient is asked
            for.

    Returns:
        `(B, C, 8, 8)` each.
    """
    coefficient_floor, mean_floor = FAINT
    blocks = sizes.shape[2] * sizes.shape[4]
    # Down the rows first: that goes along the memory.
    mean = sizes.sum(2).sum(3) / blocks
    norm = sizes.square().sum(2).sum(3).sqrt()
    add = torch.add if sizes.requires_grad else Tensor.add_
    products, factors = add(sizes, coefficient_floor), 1
    for dim in (2, 4):
        while products.shape[dim] % 2 == 0 and 2 * factors <= FACTORS:
            first, second = products.chunk(2, dim=dim)
            products, factors = first * second, 2 * factors
    geometric = products.log().sum(2).sum(3) / blocks
    return (mean + mean_floor).log(), (norm / blocks**0.5 + mean_floor).log(), geometric
