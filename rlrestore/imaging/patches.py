"""Random crops of photographs that were decoded once and lie in the device's memory as bytes."""

import logging
import os
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from rlrestore.errors import DataError, ImageError

LIMIT_DB = 50.0
"""A degraded patch above this PSNR is hardly degraded, and another is drawn instead.

Source: paper, section 4.1.
"""
Part = Literal["train", "validation", "all"]
VALIDATION_SHARE = 16
"""One file in this many, by a checksum of its name, is held out for validation."""

log = logging.getLogger(__name__)


def choose_part(paths: Sequence[Path], part: Part, held_out_share: int = VALIDATION_SHARE) -> list[Path]:
    """Return the files of a part; the name alone decides, so that adding files moves none.

    Where no name of a small folder asks to be held out, the readable file with the lowest checksum is.

    Args:
        paths: The files.
        part: Which part of them.
        held_out_share: One file in so many is held out; a divisor of `VALIDATION_SHARE` holds out those that
            this does, and more.
    """
    checksums = {path: zlib.crc32(os.fsencode(path.name)) for path in paths}
    held_out = {path for path in paths if checksums[path] % held_out_share == 0}
    held_out = held_out or _first_readable(sorted(paths, key=checksums.__getitem__))
    return [path for path in paths if part == "all" or (path in held_out) == (part == "validation")]


def _first_readable(paths: Sequence[Path]) -> set[Path]:
    from rlrestore.imaging.io.files import read_rgb8

    for path in paths:
        try:
            read_rgb8(path)
        except ImageError:
            continue
        return {path}
    return set(paths[:1])


class PhotoBank:
    """Photographs as one flat run of pixels, from which crops are gathered without leaving the device.

    A pixel is one 32-bit number, red in its lowest byte: to gather one number takes a fifth of the time that
    three bytes take.
    """

    def __init__(self, photos: Sequence[NDArray[np.uint8]], device: torch.device | str = "cpu") -> None:
        """Hold photographs.

        Args:
            photos: RGB photographs `(H, W, 3)`, of any sizes.
            device: Where the bytes live and the crops are made.

        Raises:
            DataError: There is no photograph.
        """
        if not photos:
            raise DataError("expected at least one photograph, got none")
        self.device = torch.device(device)
        pixels = np.zeros((sum(photo.shape[0] * photo.shape[1] for photo in photos), 4), np.uint8)
        np.concatenate([photo.reshape(-1, 3) for photo in photos], out=pixels[:, :3])
        self._pixels = torch.from_numpy(pixels).view(torch.int32).squeeze(1).to(self.device)  # (pixels,)
        shapes = torch.tensor([photo.shape[:2] for photo in photos])
        areas = shapes.prod(dim=1)
        self._heights, self._widths = shapes.to(self.device).unbind(dim=1)
        self._starts = (areas.cumsum(0) - areas).to(self.device)
        exact = torch.float32 if self.device.type == "mps" else torch.float64  # Apple's devices lack float64
        self._areas = areas.to(exact).to(self.device)
        self.smallest_side: int = int(shapes.min())

    def __len__(self) -> int:
        return len(self._starts)

    @classmethod
    def from_folder(
        cls,
        folder: Path,
        part: Part = "all",
        scales: Sequence[float] = (1.0, 2 / 3),
        smallest_side: int = 1,
        device: torch.device | str = "cpu",
        held_out_share: int = VALIDATION_SHARE,
    ) -> Self:
        """Read every photograph of a folder and its subfolders.

        A file that cannot be read is named in the log and left out, as is a photograph too small for a crop.

        Args:
            folder: Where the photographs are.
            part: All of them, or the training or validation part of a split by file name.
            scales: Each photograph is held at each of these scales (the paper's are 1, 2/3 and 1/3).
            smallest_side: Photographs with a side below this many pixels are left out.
            device: Where the bytes live.
            held_out_share: As in `choose_part`.

        Raises:
            DataError: The folder holds no photograph of this part that can be used.
        """
        from rlrestore.imaging.io.files import list_photos, read_rgb8  # a bank of arrays needs no files

        photos = []
        for path in choose_part(list_photos(folder), part, held_out_share):
            try:
                photo = Image.fromarray(read_rgb8(path))
            except ImageError as error:
                log.warning("left out: %s", error)
                continue
            sizes = [(round(photo.width * scale), round(photo.height * scale)) for scale in scales]
            usable = [size for size in sizes if min(size) >= smallest_side]
            if not usable:
                log.warning("left out: %s is %d×%d, too small", path, photo.width, photo.height)
            photos += [np.asarray(photo.resize(size, Image.Resampling.LANCZOS)) for size in usable]
        if not photos:
            raise DataError(
                f"no usable photograph in the {part} part of {folder}: "
                f"expected readable images of at least {smallest_side}×{smallest_side} pixels, "
                "two or more where one is held out"
            )
        return cls(photos, device)

    def crops(self, count: int, size: int, generator: torch.Generator) -> Tensor:
        """Draw square crops, uniformly over the pixels of all photographs, randomly flipped and transposed.

        Args:
            count: How many.
            size: Side in pixels, at most the smallest side of any photograph.
            generator: Source of the draws, on the bank's device.

        Returns:
            `(count, 3, size, size)` RGB in [0, 1].

        Raises:
            DataError: A photograph is smaller than the crop.
        """
        if size > self.smallest_side:
            raise DataError(
                f"expected photographs of at least {size} pixels, the smallest has {self.smallest_side}"
            )
        chosen = torch.multinomial(self._areas, count, replacement=True, generator=generator)
        draws = torch.rand(5, count, generator=generator, device=self.device)
        widths = self._widths[chosen]
        top = (draws[0] * (self._heights[chosen] - size + 1)).long()
        left = (draws[1] * (widths - size + 1)).long()
        flip_rows, flip_columns, transpose = (draws[2:] < 0.5)[:, :, None]
        line = torch.arange(size, device=self.device)
        rows = torch.where(flip_rows, size - 1 - line, line)  # (count, size)
        columns = torch.where(flip_columns, size - 1 - line, line)
        down = torch.where(
            transpose, 1, widths[:, None]
        )  # how far one step down the crop moves in the photograph
        across = torch.where(transpose, widths[:, None], 1)
        corner = self._starts[chosen] + top * widths + left
        pixel = corner[:, None, None] + (rows * down)[:, :, None] + (columns * across)[:, None, :]
        colours = self._pixels.index_select(0, pixel.flatten()).view(torch.uint8).view(count, size, size, 4)
        return colours[..., :3].permute(0, 3, 1, 2).contiguous().float().div_(255)
