"""Writing the format that came in: what each becomes, and a JPEG's own tables."""

from pathlib import Path

from PIL import Image, JpegImagePlugin

from rlrestore.imaging.io.holding import FORMATS
from rlrestore.imaging.io.photo import JpegCoding

KEPT_AS = {
    "JPEG": ".jpg",
    "MPO": ".jpg",
    "PNG": ".png",
    "TIFF": ".tif",
    "WEBP": ".webp",
    "AVIF": ".avif",
    "BMP": ".bmp",
    "PPM": ".ppm",
}
"""The suffix of the formats that can be written, as Pillow calls them."""
FALLBACK = ".png"
"""What any other format becomes."""
LARGEST_STEP = 255
"""Of a table in a baseline JPEG."""


def kept_suffix(image_format: str, path: str | Path) -> str:
    """Return the suffix of a result in the format that came in; PNG's where that cannot be written.

    Args:
        image_format: As Pillow calls it.
        path: The file that came in; its own suffix stays where it is one of the format.
    """
    suffix, own = KEPT_AS.get(image_format, FALLBACK), Path(path).suffix.lower()
    return own if own in FORMATS and FORMATS[own] == FORMATS[suffix] else suffix


def jpeg_coding(image: Image.Image | None) -> JpegCoding | None:
    """Return how coarsely an opened JPEG was written; None for any other format, or if that is unusual."""
    if not isinstance(image, JpegImagePlugin.JpegImageFile):
        return None
    tables = tuple(tuple(image.quantization[key]) for key in sorted(image.quantization))
    if not 1 <= len(tables) <= 4 or any(not 1 <= step <= LARGEST_STEP for table in tables for step in table):
        return None
    return JpegCoding(tables[:2], max(JpegImagePlugin.get_sampling(image), 0))
