"""A photograph in memory: the pixels to be restored, and all of its file that must survive the trip."""

import dataclasses
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from rlrestore.imaging.io.colour import Colours
from rlrestore.imaging.io.samples import BAND_ROWS, Floats, Integers, luma, sample_type, to_integers


@dataclass(frozen=True)
class JpegCoding:
    """How coarsely a JPEG was written.

    Attributes:
        tables: One or two quantization tables of 64 steps, of the brightness and of the colours.
        subsampling: Of the colours, as Pillow counts: 0 for 4:4:4, 1 for 4:2:2, 2 for 4:2:0.
    """

    tables: tuple[tuple[int, ...], ...]
    subsampling: int


@dataclass(frozen=True, eq=False)
class Photo:
    """A photograph with what its file said about it.

    The pixels are upright: an orientation flag of the file has been applied, and `exif` and `xmp` no longer
    carry one. They are not colour-managed: `icc_profile` says what they mean, as it did in the file.

    Attributes:
        pixels: `(H, W, 3)` float32 RGB in [0, 1]; the three channels of a greyscale photo are equal.
        alpha: `(H, W)` transparency exactly as in the file (uint8, or uint16 at 16 bits), None without one.
        greyscale: Whether the file had one channel of colour; it is then written with one.
        depth_bits: Bits per sample of the file, 8 or 16.
        icc_profile: Colour profile, byte for byte.
        exif: EXIF block from its TIFF header on, the orientation reset to upright, the thumbnail cut off.
        xmp: XMP packet, the orientation reset to upright.
        dpi: Pixels per inch, horizontal and vertical.
        photoshop: Block of Photoshop's image resources, IPTC among them.
        texts: Keyword and text of every comment; that of a file without keywords is `Comment`.
        colours: What the file said of its colours beside or instead of a profile, None without a word.
        jpeg: How coarsely it was written, where it was a JPEG.
        notes: What could not be kept as it was, for the user to read ("CMYK converted to RGB").
    """

    pixels: Floats
    alpha: Integers | None = None
    greyscale: bool = False
    depth_bits: int = 8
    icc_profile: bytes | None = None
    exif: bytes | None = None
    xmp: bytes | None = None
    dpi: tuple[float, float] | None = None
    photoshop: bytes | None = None
    texts: tuple[tuple[str, str], ...] = ()
    colours: Colours | None = None
    jpeg: JpegCoding | None = None
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.pixels.ndim != 3 or self.pixels.shape[2] != 3 or self.pixels.dtype != np.float32:
            raise ValueError(
                f"expected float32 pixels of shape (H, W, 3), got {self.pixels.dtype} of {self.pixels.shape}"
            )
        if self.depth_bits not in (8, 16):
            raise ValueError(f"expected depth_bits 8 or 16, got {self.depth_bits}")
        if self.alpha is not None and self.alpha.shape != self.pixels.shape[:2]:
            raise ValueError(f"expected alpha of shape {self.pixels.shape[:2]}, got {self.alpha.shape}")
        if self.alpha is not None and self.alpha.dtype != sample_type(self.depth_bits):
            raise ValueError(f"expected alpha of {self.depth_bits} bits, got {self.alpha.dtype}")

    @property
    def height(self) -> int:
        """Rows of pixels."""
        return int(self.pixels.shape[0])

    @property
    def width(self) -> int:
        """Columns of pixels."""
        return int(self.pixels.shape[1])

    def with_pixels(self, pixels: npt.ArrayLike) -> "Photo":
        """Return this photo with other pixels of the same size, and all else as it was.

        Args:
            pixels: `(H, W, 3)`; values outside [0, 1] are clipped when written.

        Raises:
            ValueError: The size differs.
        """
        array = np.asarray(pixels, dtype=np.float32)
        if array.shape != self.pixels.shape:
            raise ValueError(f"expected pixels of shape {self.pixels.shape}, got {array.shape}")
        return dataclasses.replace(self, pixels=array)

    def to_image(self) -> Image.Image:
        """Return the photo as an 8-bit Pillow image: L, LA, RGB or RGBA."""
        return Image.fromarray(np.squeeze(self.samples(8), axis=2) if self.channels == 1 else self.samples(8))

    @property
    def channels(self) -> int:
        """Channels of the file: 1 or 3 of colour, and one more with transparency."""
        return (1 if self.greyscale else 3) + (self.alpha is not None)

    def samples(self, depth_bits: int) -> Integers:
        """Return the colour and alpha samples as they are written: `(H, W, channels)`, uint8 or uint16."""
        out = np.empty((self.height, self.width, self.channels), sample_type(depth_bits))
        colours = 1 if self.greyscale else 3
        for top in range(0, self.height, BAND_ROWS):
            band = self.pixels[top : top + BAND_ROWS]
            if self.greyscale:
                band = luma(band)
            out[top : top + BAND_ROWS, :, :colours] = to_integers(band, depth_bits)
        if self.alpha is not None:
            out[:, :, -1] = _rescaled(self.alpha, self.depth_bits, depth_bits)
        return out


def _rescaled(alpha: Integers, from_bits: int, to_bits: int) -> Integers:
    if from_bits == to_bits:
        return alpha
    if from_bits == 8:
        return alpha.astype(np.uint16) * np.uint16(257)
    return ((alpha.astype(np.uint32) + 128) // 257).astype(np.uint8)
