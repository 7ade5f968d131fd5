"""How a photograph was compressed: not, once by JPEG, or twice with the grids at different phases."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from rlrestore.imaging.degradation.batches import Rows, apply_where, take_windows
from rlrestore.imaging.degradation.jpeg import MCU, jpeg


@dataclass(frozen=True)
class Compression:
    """The JPEG compression of each image of a batch.

    Attributes:
        quality: `(B,)` quality from 1 to 100, 0 for not compressed. Its grid begins in the image's corner.
        full_chroma: `(B,)` bool: 4:4:4, else 4:2:0.
        earlier_quality: `(B,)` quality of a compression before that, 0 for none.
        earlier_top: `(B,)` int64 from 0 to 15: rows of the earlier grid's first cell above the image, as when
            the image was cropped in between.
        earlier_left: `(B,)` int64, columns likewise.
    """

    quality: Tensor
    full_chroma: Tensor
    earlier_quality: Tensor
    earlier_top: Tensor
    earlier_left: Tensor


@dataclass(frozen=True)
class CompressionRecipe:
    """How compressions are drawn.

    Attributes:
        share: Of the images that are compressed.
        lowest_quality: The qualities are drawn uniformly from this one on.
        highest_quality: Up to this one.
        full_chroma_share: Of 4:4:4.
        twice_share: Of the compressed images that were compressed once before.
    """

    share: float = 0.9
    lowest_quality: float = 50.0
    highest_quality: float = 100.0
    full_chroma_share: float = 0.5
    twice_share: float = 0.25

    def sample(self, count: int, generator: torch.Generator) -> Compression:
        """Draw the compressions of `count` images, on the generator's device."""
        draws = torch.rand(5, count, generator=generator, device=generator.device)
        top, left = torch.randint(MCU, (2, count), generator=generator, device=generator.device)
        low, high = self.lowest_quality, self.highest_quality
        quality, earlier = low + (high - low) * draws[:2]
        compressed = draws[2] < self.share
        return Compression(
            quality=torch.where(compressed, quality, 0.0),
            full_chroma=draws[3] < self.full_chroma_share,
            earlier_quality=torch.where(compressed & (draws[4] < self.twice_share), earlier, 0.0),
            earlier_top=top,
            earlier_left=left,
        )


def compress(images: Tensor, compression: Compression) -> Tensor:
    """Compress every image `(B, 3, H, W)` in [0, 1], those that were so before twice, and decode it."""

    def earlier(chosen: Tensor, rows: Rows) -> Tensor:
        top, left = compression.earlier_top[rows], compression.earlier_left[rows]
        height, width = chosen.shape[-2:]
        # libjpeg repeats the last row and column as well, so that more of them change nothing.
        most = MCU - 1
        padded = F.pad(chosen, (most,) * 4, mode="replicate")
        shifted = take_windows(padded, most - top, most - left, height + most, width + most)
        coded = jpeg(shifted, compression.earlier_quality[rows], compression.full_chroma[rows])
        return take_windows(coded, top, left, height, width)

    images = apply_where(compression.earlier_quality > 0, images, earlier)
    return jpeg(images, compression.quality, compression.full_chroma)
