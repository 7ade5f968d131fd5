"""Image files: the only place where uint8, BGR, 16 bits, alpha, EXIF and half-written files exist."""

import io
import logging
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from rlrestore.errors import DataError, ImageError
from rlrestore.imaging.io.atomic import write_atomically
from rlrestore.imaging.io.decoding import check_whole, decode_photo, read_header
from rlrestore.imaging.io.encoding import ENCODERS, Quality, encode_photo
from rlrestore.imaging.io.holding import fitted
from rlrestore.imaging.io.photo import Photo
from rlrestore.imaging.io.raw import RAW_SUFFIXES, can_develop
from rlrestore.imaging.io.samples import to_integers

__all__ = [
    "Photo",
    "check_input",
    "check_output",
    "check_place",
    "claimed_pixels",
    "is_folder",
    "is_video",
    "is_whole",
    "list_photos",
    "read_photo",
    "read_rgb8",
    "shown",
    "write_photo",
]

PathLike = str | os.PathLike[str]

LISTED_SUFFIXES = frozenset(
    {
        *(
            ".png",
            ".apng",
            ".jpg",
            ".jpeg",
            ".jpe",
            ".jfif",
            ".jif",
            ".mpo",
            ".webp",
            ".tif",
            ".tiff",
            ".btf",
        ),
        *(".bmp", ".dib", ".ppm", ".pgm", ".pbm", ".pnm", ".gif", ".avif", ".heic", ".heif", ".hif"),
        *(".jp2", ".j2k", ".jpx", ".jpf", ".jpc", ".j2c", ".tga", ".qoi", ".sgi", ".pcx", ".psd"),
    }
)
"""Names taken for photographs in a folder, beside those of camera raw files where the extra `raw` is there; a
file named on its own is read whatever its name."""

VIDEO_SUFFIXES = frozenset(
    {
        *(".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".mpe", ".m2v", ".vob"),
        *(".ts", ".mts", ".m2ts", ".wmv", ".asf", ".flv", ".f4v", ".3gp", ".3g2", ".ogv", ".mxf", ".dv"),
    }
)
"""Names taken for videos, which a search of a folder leaves out."""

_logger = logging.getLogger(__name__)


def shown(path: PathLike) -> str:
    """Return a path for a one-line message: quoted, and with line breaks and the like escaped."""
    return repr(os.fspath(path))


def is_folder(path: PathLike) -> bool:
    """Tell whether a path is a folder; it is none where that cannot be asked, as with too long a name."""
    return os.path.isdir(path)  # noqa: PTH112  # Path.is_dir raises there


def is_video(path: PathLike) -> bool:
    """Tell whether a file is taken for a video, by its name."""
    return Path(path).suffix.lower() in VIDEO_SUFFIXES


def read_photo(path: PathLike) -> Photo:
    """Read an image file of any kind that Pillow reads, at its full depth, upright.

    Args:
        path: The file. Its content says what it is, not its name.

    Raises:
        ImageError: It is missing, no image, damaged, smaller than 8×8, larger than 200 megapixels, or has
            several frames.
    """
    with _open(path) as stream:
        return decode_photo(stream, shown(path))


def claimed_pixels(image: PathLike | bytes) -> int:
    """Return how many pixels the header of an image file claims; 0 if there is none that can be read.

    Args:
        image: The file, or all of its bytes.
    """
    try:
        if isinstance(image, bytes):
            return read_header(io.BytesIO(image), "").pixels
        with _open(image) as stream:
            return read_header(stream, shown(image)).pixels
    except ImageError:
        return 0


def claimed_format(path: PathLike) -> str:
    """Return what format an image file's header claims, as Pillow calls it; empty if none can be read."""
    try:
        with _open(path) as stream:
            return read_header(stream, shown(path)).format
    except ImageError:
        return ""


def is_whole(path: PathLike) -> bool:
    """Tell whether there is an image file whose pixels can all be read."""
    try:
        with _open(path) as stream:
            check_whole(stream, shown(path))
    except ImageError:
        return False
    return True


def read_rgb8(path: PathLike) -> npt.NDArray[np.uint8]:
    """Read an image file as `(H, W, 3)` uint8 RGB, upright, transparency ignored.

    Raises:
        ImageError: As for `read_photo`.
    """
    pixels = read_photo(path).pixels
    samples: npt.NDArray[np.uint8] = to_integers(pixels, 8).astype(np.uint8, copy=False)
    return samples


def _open(path: PathLike) -> BinaryIO:
    """Open what is a file, whatever it holds."""
    name = shown(path)
    try:
        kind = stat.S_IFMT(Path(path).stat().st_mode)
        if kind == stat.S_IFDIR:
            raise ImageError(f"expected an image file, but {name} is a folder; name a file in it")
        if kind != stat.S_IFREG:
            # A pipe or a device may never end.
            raise ImageError(f"expected an image file, but {name} is not a regular file; copy it into one")
        return Path(path).open("rb")
    except FileNotFoundError as error:
        raise ImageError(f"expected an image file, but {name} does not exist; check the path") from error
    except (OSError, ValueError) as error:
        raise ImageError(
            f"expected a readable file, but {name} cannot be opened ({_cause(error)}); check its permissions"
        ) from error


def check_input(path: PathLike) -> None:
    """Make sure that a file can be opened, whatever it holds.

    Raises:
        ImageError: It is missing, a folder, a device or a pipe, or must not be read.
    """
    _open(path).close()


def _cause(error: Exception) -> str:
    """Return the operating system's words without its number and path."""
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def check_output(path: PathLike) -> None:
    """Make sure that a photo could be written to a path, to be asked before the work is done.

    Raises:
        ImageError: The suffix is unknown, the path is a folder, a device or a pipe, or cannot be a file's
            name, or its folder is missing or not writable.
    """
    target, name = Path(path), shown(path)
    if target.suffix.lower() not in ENCODERS:
        raise ImageError(
            f"expected a name that ends in one of {', '.join(ENCODERS)}, but got {name}; choose one, or "
            f"end it in a slash, {shown(str(target) + '/')}, for a folder"
        )
    check_place(path)


def check_place(path: PathLike) -> None:
    """Make sure that a file of any kind could be written to a path.

    Raises:
        ImageError: The path is a folder, a device or a pipe, or cannot be a file's name, or its folder is
            missing or not writable.
    """
    target, name = Path(path), shown(path)
    if is_folder(target):
        raise ImageError(f"expected the name of a file to write, but {name} is a folder; add a file name")
    folder = target.parent
    if not is_folder(folder):
        raise ImageError(f"expected a folder to write into, but {shown(folder)} is none; create it first")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise ImageError(f"expected a writable folder, but {shown(folder)} is not; choose another output")
    try:
        replaceable = stat.S_ISREG(target.stat().st_mode)
    except FileNotFoundError:
        return
    except OSError as error:
        raise ImageError(
            f"expected a name for a file, but {name} cannot be one ({_cause(error)}); choose another output"
        ) from error
    if not replaceable:
        raise ImageError(f"expected a name for a file, but {name} is a device or pipe; choose another output")


def write_photo(path: PathLike, photo: Photo, quality: Quality = None) -> tuple[str, ...]:
    """Write a photo in the format of the name's suffix, completely or not at all.

    The file is written under a temporary name in the same folder and renamed, so a reader never sees half of
    it, and an existing file stays as it was until the new one is whole.

    Args:
        path: The file to write: .png, .jpg, .webp, .avif, .tif, .bmp or .ppm; `docs/formats.md` says what
            each can hold.
        photo: What to write.
        quality: From 1 to 100, for JPEG (95 without it), AVIF (95) and WebP (lossless without it); or
            `keep`, as in `encode_photo`.

    Returns:
        Notes on what of the photo the format cannot hold and was left out.

    Raises:
        ImageError: It cannot be written there, or the format cannot hold the photo's transparency.
        UsageError: A quality that there is none of, or for a format without one.
    """
    check_output(path)
    suffix = Path(path).suffix.lower()
    content = encode_photo(photo, suffix, shown(path), quality)
    try:
        write_atomically(Path(path), content)
    except OSError as error:
        raise ImageError(
            f"expected to write {shown(path)}, but that failed ({_cause(error)}); choose another output"
        ) from error
    return fitted(photo, suffix)[1]


def list_photos(folder: PathLike) -> list[Path]:
    """List the photographs below a folder by their suffix, sorted by path.

    Hidden files and folders (a leading dot) are left out. Links to folders are followed, but no folder is
    visited twice, so that a loop of links ends.

    Raises:
        DataError: The folder does not exist or holds no photograph.
    """
    name = shown(folder)
    if not is_folder(folder):
        raise DataError(f"expected a folder of photographs, but {name} is none; check the path")
    photos = sorted(_walk(Path(folder)))
    if not photos:
        raise DataError(
            f"expected photographs (.png, .jpg, .tif, ...) in the folder {name}, but it has none; use another"
        )
    return photos


def _walk(folder: Path) -> Iterator[Path]:
    def unreadable(error: OSError) -> None:
        _logger.warning("folder %s cannot be read (%s) and is left out", shown(error.filename), _cause(error))

    listed = LISTED_SUFFIXES | RAW_SUFFIXES if can_develop() else LISTED_SUFFIXES
    seen: set[tuple[int, int]] = set()
    left_out = videos = 0
    for root, folders, names in os.walk(folder, onerror=unreadable, followlinks=True):
        status = Path(root).stat()
        if (status.st_dev, status.st_ino) in seen:
            folders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        folders[:] = sorted(folder for folder in folders if not folder.startswith("."))
        shown_names = [name for name in names if not name.startswith(".")]
        for name in shown_names:
            if Path(name).suffix.lower() in listed:
                yield Path(root) / name
        left_out += sum(Path(name).suffix.lower() in RAW_SUFFIXES - listed for name in shown_names)
        videos += sum(is_video(name) for name in shown_names)
    if left_out:
        what = "1 camera raw file" if left_out == 1 else f"{left_out} camera raw files"
        _logger.warning("%s in %s left out: develop first, or install the extra raw", what, shown(folder))
    if videos:
        what = "1 video" if videos == 1 else f"{videos} videos"
        _logger.warning("%s in %s left out: a video is restored when it is named", what, shown(folder))
