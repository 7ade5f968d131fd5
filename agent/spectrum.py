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
FACTORS = 12
"""Sizes at most whose product is taken: from (1e-3)¹² to 8¹², inside of float32."""
PLANES = len(STRIDES) * 3 * STATISTICS
"""For each scale, colour and statistic one."""
TOGETHER = 16
"""Patches at a time on a processor: their coefficients, 1.8 MB, stay in a core's cache from step to step."""


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
        planes = colours + self.greys  # so that no plane's mean changes its sign
        planes, scales = planes.permute(2, 0, 1, 3).contiguous(), []
        for half, stride in enumerate(STRIDES):
            planes = halved(planes) if half else planes
            scales.append(block_means(planes, stride))
        mean, square, logarithm = torch.stack(scales, dim=1)  # (scales, 8, B, 3, 8) each
        floor = FAINT[1]
        spectra = torch.stack(((mean + floor).log(), (square.sqrt() + floor).log(), logarithm))
        return spectra.permute(3, 1, 4, 0, 2, 5).flatten(1, 3)


def halved(planes: Tensor) -> Tensor:
    """Return the means of squares of 2×2 in `(H, B, C, W)`; an odd last row or column is left out."""
    height, width = (side // 2 * 2 for side in (planes.shape[0], planes.shape[-1]))
    rows = planes[0:height:2] + planes[1:height:2]
    return (rows[..., 0:width:2] + rows[..., 1:width:2]) / 4


def coefficients(planes: Tensor, stride: int) -> Tensor:
    """Return the DCT of all blocks, by two matrix products.

    Args:
        planes: `(H, B, C, W)`: rows first, so that the blocks of a row are one product for all planes.
        stride: Pixels from one block to the next.

    Returns:
        `(rows, 8, B · C · columns · 8)`: blocks down, their frequencies down, and, of all planes, blocks and
        frequencies across.
    """
    device = planes.device
    lines = (planes @ block_lines(planes.shape[-1], device, stride).mT).flatten(1)
    blocks: Tensor = block_lines(BLOCK, device, stride) @ lines.unfold(0, BLOCK, stride).mT
    return blocks


def block_means(planes: Tensor, stride: int) -> Tensor:
    """Return three means of the size of each coefficient over the blocks of a plane.

    A product of up to `FACTORS` sizes takes one logarithm, by far the slowest step, for all of them.

    Args:
        planes: `(H, B, C, W)`.
        stride: Pixels from one block to the next.

    Returns:
        `(3, 8, B, C, 8)`: the means of the sizes, of their squares and of their logarithms.
    """
    sizes = coefficients(planes, stride).abs_()
    squares = sizes[0].square()
    for row in sizes[1:]:  # no second array as large is written
        squares.addcmul_(row, row)
    total = sizes.sum(0)
    add = torch.add if sizes.requires_grad else Tensor.add_
    products = [rows.prod(0) for rows in add(sizes, FAINT[0]).split(FACTORS)]
    logarithm = torch.stack(products).log().sum(0)
    columns = (planes.shape[-1] - BLOCK) // stride + 1  # not for torch to find: there may be no plane
    down = torch.stack((total, squares, logarithm)).unflatten(2, (*planes.shape[1:3], columns, BLOCK))
    means: Tensor = down.sum(4) / (len(sizes) * columns)
    return means


@functools.cache
@torch.inference_mode(False)  # what is made in that mode and kept could not be part of a gradient later
def block_lines(length: int, device: torch.device, stride: int) -> Tensor:
    """Return the DCT of every block of a line: `(blocks · 8, length)`."""
    starts = range(0, length - BLOCK + 1, stride)
    lines = torch.zeros(len(starts), BLOCK, length)
    for line, start in zip(lines, starts, strict=True):
        line[:, start : start + BLOCK] = dct_basis()
    return lines.flatten(0, 1).to(device)
