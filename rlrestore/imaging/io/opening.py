"""An image file before its pixels are read: what it is, how large, and what it says of itself."""

import importlib
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from typing import Any, BinaryIO

from PIL import Image, UnidentifiedImageError

from rlrestore.errors import ImageError, how_to_install
from rlrestore.imaging.io import boxes, ifd, jpeg_segments, png_chunks, pnm, tiff_samples
from rlrestore.imaging.io.tiff_samples import Layout

MAX_MEGAPIXELS = 200
MIN_SIDE_PX = 8

UNREAD_FORMATS = frozenset(
    {
        "EPS",
        "WMF",
        "BUFR",
        "GRIB",
        "HDF5",
        "MPEG",
        "ICO",
        "ICNS",
        "FITS",
        "SPIDER",
        "MCIDAS",
        "FPX",
        "MIC",
        "PCD",
    }
)
"""Formats that start another program, have no decoder at all, hold images larger than they claim, or
samples whose range nobody knows."""

FIRST_PICTURE_FORMATS = frozenset({"HEIF", "MPO", "PSD"})
"""Formats whose first picture is the photograph and whose others are its parts: previews, depth, layers."""

HEIC = f"a HEIC or HEIF file, which takes the extra heic: {how_to_install('heic')}"
NAMES = (
    (0, b"\xff\x0a", "a JPEG XL file"),
    (0, b"\0\0\0\x0cJXL ", "a JPEG XL file"),
    (0, b"II\xbc\x01", "a JPEG XR file"),
    (0, b"v/1\x01", "an OpenEXR file"),
    (0, b"#?R", "a Radiance HDR file"),
    (0, b"PF\n", "a PFM file of floating-point samples"),
    (0, b"Pf\n", "a PFM file of floating-point samples"),
    (0, b"P7\n", "a PAM file"),
    (0, b"8BPS", "a Photoshop file of a depth or colours that are not read"),
    (0, b"%PDF", "a PDF"),
    (0, b"%!PS", "a PostScript file"),
    (0, b"SIMPLE  =", "a FITS file"),
    (0, b"<svg", "a drawing, not a photograph"),
    (0, b"PK\3\4", "a ZIP archive"),
    (0, b"\0\0\1\0", "an icon"),
    (4, b"ftyphei", HEIC),
    (4, b"ftyphevc", HEIC),
    (4, b"ftypmif1", HEIC),
    (4, b"ftypqt", "a film, not a photograph"),
    (4, b"ftypisom", "a film, not a photograph"),
    (4, b"ftypmp4", "a film, not a photograph"),
)
"""What else a file may be, by the bytes at a place."""

CMYK, DEEP_CMYK_BITS = 5, {16}

_PILLOW_STATE = threading.Lock()


@contextmanager
def no_pillow_limits() -> Iterator[None]:
    """Lift Pillow's pixel limit, which lies below ours, and silence its warnings while a header is read.

    Both are settings of the whole process, so they are held under a lock and put back at once.
    """
    with _PILLOW_STATE, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = limit


@dataclass(frozen=True)
class Opened:
    """An image file whose header was read.

    Attributes:
        kind: Its format, as Pillow calls it.
        stream: The file.
        width: Pixels across, as they are stored.
        height: Pixels down.
        image: The file as Pillow opened it, None where it is read without Pillow.
        bare: The file without the chunks of a PNG that say nothing of pixels.
        chunks: Those.
        directory: The tags of a TIFF.
        layout: How the samples of a TIFF lie, where they are read here.
        netpbm: The header of a PPM or PGM.
        several: Whether it holds several pictures.
    """

    kind: str
    stream: BinaryIO
    width: int
    height: int
    image: Image.Image | None = None
    bare: BinaryIO | None = None
    chunks: list[png_chunks.Chunk] = field(default_factory=list)
    directory: ifd.Directory | None = None
    layout: Layout | None = None
    netpbm: pnm.Header | None = None
    several: bool = False

    def close(self) -> None:
        """Forget the file."""
        if self.image is not None:
            self.image.close()


def open_photo(stream: BinaryIO, name: str) -> Opened:
    """Read the header of an image file.

    Args:
        stream: The open file.
        name: How to call the file in an error message.

    Raises:
        ImageError: It is none, of a kind that is not read, or its header is damaged.
    """
    stream.seek(0)
    head = stream.read(32)
    if not head:
        raise ImageError(f"expected an image file, but {name} has zero bytes; get a fresh copy of it")
    about = _tiff_layout(stream) if ifd.is_tiff(head) else None
    if about is not None and tiff_samples.unusual(about[1]) and not _is_deep_cmyk(about[1]):
        return _open_tiff(stream, name, *about)
    chunks: list[png_chunks.Chunk] = []
    shown = stream
    if head.startswith(png_chunks.SIGNATURE):
        shown, chunks = png_chunks.take_apart(stream)
    if head.startswith(b"\xff\xd8\xff") and (bits := jpeg_segments.sample_bits(stream)) != 8:
        raise ImageError(
            f"expected a JPEG of 8 bits a sample, but {name} has {bits}; convert it to 16-bit TIFF or PNG"
        )
    shown.seek(0)
    try:
        image = _pillow_image(shown, name, head, about)
    except ImageError:
        if about is not None and tiff_samples.readable(about[1]):
            return _open_tiff(stream, name, *about)
        raise
    directory = about[0] if about is not None and image.format == "TIFF" else None
    with no_pillow_limits():
        several = bool(getattr(image, "is_animated", False))
    netpbm = pnm.header(stream) if image.format == "PPM" else None
    kind = str(image.format)
    several = several and kind not in FIRST_PICTURE_FORMATS
    return Opened(kind, stream, *image.size, image, shown, chunks, directory, netpbm=netpbm, several=several)


def _tiff_layout(stream: BinaryIO) -> tuple[ifd.Directory, Layout] | None:
    """Read the tags of a TIFF and how its samples lie, None where they make no sense."""
    try:
        directory = ifd.read_directory(stream)
        return directory, tiff_samples.layout(directory)
    except ValueError:
        return None


def _is_deep_cmyk(shape: Layout) -> bool:
    """Tell whether a TIFF is of 16-bit inks, which Pillow reads at 8."""
    return shape.photometric == CMYK and set(shape.bits) == DEEP_CMYK_BITS and set(shape.kinds) == {1}


def _open_tiff(stream: BinaryIO, name: str, directory: ifd.Directory, shape: Layout) -> Opened:
    """Return a TIFF whose samples are read here, without Pillow."""
    tiff_samples.refuse_unreadable(shape, name)
    several = directory.next != 0
    return Opened(
        "TIFF", stream, shape.width, shape.height, directory=directory, layout=shape, several=several
    )


def _pillow_image(
    stream: BinaryIO, name: str, head: bytes, about: tuple[ifd.Directory, Layout] | None
) -> Image.Image:
    _know_formats()
    formats = [name for name in Image.ID if name not in UNREAD_FORMATS]
    try:
        with no_pillow_limits():
            return Image.open(stream, formats=formats)
    except UnidentifiedImageError as error:
        what = next((known for place, begin, known in NAMES if head[place:].startswith(begin)), None)
        what = what if about is None else tiff_samples.described(about[1])
        if what is None and _is_text(head):
            raise ImageError(
                f"expected an image file, but {name} holds text, whatever its name; get the picture itself"
            ) from error
        came = f"is {what}" if what else "is none that can be read"
        raise ImageError(
            f"expected an image file, but {name} {came}; convert it to PNG, JPEG or TIFF"
        ) from error
    except Exception as error:  # parsers of damaged headers raise whatever they trip over
        raise ImageError(
            f"expected an image file, but the header of {name} is damaged ({reason(error)}); "
            "get a fresh copy of the file"
        ) from error


def _is_text(head: bytes) -> bool:
    """Tell whether a file begins as text does: a note, or the web page of a download that failed."""
    text = head.decode("utf-8", "ignore")  # the last character may be cut
    decoded = bool(text) and len(text.encode()) > len(head) - 4
    return decoded and all(one.isprintable() or one.isspace() for one in text)


@cache
def _know_formats() -> None:
    """Load all that Pillow can read, HEIC among it where the extra `heic` is installed."""
    Image.init()
    with suppress(ImportError):
        importlib.import_module("pillow_heif").register_heif_opener()


def reason(error: Exception) -> str:
    """Return an error's own words on one line."""
    return " ".join(str(error).split()) or type(error).__name__


def check_header(width: int, height: int, name: str, several: str | None = None) -> None:
    """Refuse from the header alone, before any memory is spent on pixels.

    Args:
        width: Pixels across that are claimed.
        height: Pixels down.
        name: How to call the file in an error message.
        several: The format, where it holds several pictures.

    Raises:
        ImageError: It is too large or too small, or has several pictures.
    """
    if width * height > MAX_MEGAPIXELS * 10**6:
        raise ImageError(
            f"expected at most {MAX_MEGAPIXELS} megapixels, but {name} claims {width}×{height} "
            f"({width * height / 1e6:.0f} megapixels); crop or shrink it first"
        )
    if min(width, height) < MIN_SIDE_PX:
        raise ImageError(
            f"expected an image of at least {MIN_SIDE_PX}×{MIN_SIDE_PX} pixels, "
            f"but {name} is {width}×{height}; use a larger one"
        )
    if several:
        raise ImageError(
            f"expected a single picture, but {name} is an animated or multi-page {several}; "
            "save its frames as separate files first"
        )


def is_deep_jp2(opened: Opened) -> boxes.Components | None:
    """Return the components of a JPEG 2000 picture where they are not of 8 unsigned bits each."""
    about: Any = boxes.jp2_components(opened.stream) if opened.kind == "JPEG2000" else None
    return about if about is not None and (set(about.bits) != {8} or about.signed) else None
