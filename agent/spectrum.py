"""What the agent observes: the strength of every frequency of a patch, at several scales, in each colour.

What is wrong with a photograph shows in its spectrum. Noise lifts all frequencies alike, blur takes the high
ones away, and JPEG rounds the coefficients of this very transform, so that the small ones vanish. How strong
they are, averaged over a patch, says which degradation there is and how much; where they are does not matter.
Nothing here is learned, so a replay buffer can hold the spectrum instead of the patch.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rlrestore.imaging.degradation.jpeg import BLOCK, RGB_TO_YCBCR, dct_matrix

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


class Spectrum(nn.Module):
    """Patches to the logarithms of their coefficients' sizes.

    Three statistics of each coefficient over the blocks of a patch: its mean size, its root mean square, and
    its geometric mean. They differ where a few blocks are strong: on edges, and after a JPEG.
    """

    def __init__(self) -> None:
        super().__init__()
        kernels = dct_matrix(torch.device("cpu")).view(BLOCK * BLOCK, 1, BLOCK, BLOCK)
        self.kernels: Tensor
        self.register_buffer("kernels", kernels, persistent=False)
        self.colours: Tensor
        self.register_buffer("colours", torch.tensor(RGB_TO_YCBCR), persistent=False)
        self.greys: Tensor
        self.register_buffer("greys", torch.tensor([0.0, 0.5, 0.5]).view(3, 1, 1), persistent=False)

    @torch.no_grad()  # nothing here learns; and what is counted is counted in place
    def forward(self, images: Tensor) -> Tensor:
        """Return the spectra of images.

        Args:
            images: `(B, 3, H, W)` RGB of at least 32×32 pixels; values outside [0, 1] are cut off first.

        Returns:
            `(B, PLANES, 8, 8)`: a plane for each scale, colour and statistic, an entry for each frequency.
            A transposed image has the transposed planes.
        """
        colours = (self.colours @ images.clamp(0, 1).flatten(2)).view_as(images)
        planes, spectra = colours + self.greys, []  # so that no plane's mean changes its sign
        for half, stride in enumerate(STRIDES):
            planes = F.avg_pool2d(planes, 2) if half else planes
            single = planes.flatten(0, 1)[:, None]  # (3B, 1, H, W)
            sizes = F.conv2d(single, self.kernels, stride=stride).abs_().flatten(2)  # (3B, 64, blocks)
            statistics = torch.stack(log_means_(sizes), dim=1)  # (3B, 3, 64)
            spectra.append(statistics.view(len(images), 3 * STATISTICS, BLOCK, BLOCK))
        return torch.cat(spectra, dim=1)


def log_means_(sizes: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the logarithms of the mean, the root mean square and the geometric mean of `(N, F, blocks)`.

    A product of up to `FACTORS` sizes takes one logarithm, by far the slowest step, for all of them.

    Args:
        sizes: Not negative; they are overwritten.
    """
    coefficient_floor, mean_floor = FAINT
    blocks = sizes.shape[2]
    mean = sizes.mean(2)
    root_mean_square = torch.linalg.vector_norm(sizes, dim=2) / blocks**0.5
    products, factors = sizes.add_(coefficient_floor), 1
    while products.shape[2] % 2 == 0 and 2 * factors <= FACTORS:
        first, second = products.chunk(2, dim=2)
        products, factors = first * second, 2 * factors  # a new tensor: the logarithm wants numbers in a row
    return (mean + mean_floor).log(), (root_mean_square + mean_floor).log(), products.log().sum(2) / blocks
