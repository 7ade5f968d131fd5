"""Writing results: the folder is made, what can go wrong is said, nothing is left half-written."""

import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from numpy.typing import NDArray
from PIL import Image

from rlrestore.errors import ImageError, UsageError
from rlrestore.imaging.io.atomic import write_atomically
from rlrestore.imaging.io.files import check_input, check_output, shown

LARGEST_JPEG_SIDE_PX = 65500
"""What libjpeg can hold."""


def check_jpeg_size(source: Path, pixels: NDArray[Any], border_px: int = 0) -> None:
    """Make sure that the pixels `(H, W, 3)` of a file fit a JPEG, and a border that is added.

    Raises:
        ImageError: They do not.
    """
    largest = LARGEST_JPEG_SIDE_PX - border_px
    if max(pixels.shape[:2]) > largest:
        raise ImageError(
            f"expected an image of at most {largest} pixels a side for JPEG, "
            f"but {shown(source)} is {pixels.shape[1]}×{pixels.shape[0]}; crop it first"
        )


def refuse_overwriting(output: Path, source: Path, option: str = "-o") -> None:
    """Make sure that an output, which was named by an option, is not the input.

    Raises:
        UsageError: It is, under whatever name.
    """
    try:
        same = output.samefile(source)
    except OSError:  # there is no such file
        return
    if same:
        raise UsageError(f"{shown(output)} is the input itself: choose another output with {option}")


def prepare_output(output: Path, check: Callable[[Path], None] = check_output) -> None:
    """Make the folder of an output and see that it can be written, before the work is done.

    Args:
        output: The file.
        check: Raises an ImageError where it cannot.

    Raises:
        ImageError: It cannot.
    """
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ImageError(
            f"expected a folder to write into, but {shown(output.parent)} cannot be made ({error.strerror}); "
            f"choose another output"
        ) from error
    check(output)


def check_named(*paths: str | Path) -> None:
    """Make sure that files which the command line names can be opened, whatever they hold.

    Raises:
        UsageError: One cannot.
    """
    try:
        for path in paths:
            check_input(path)
    except ImageError as error:
        raise UsageError(str(error)) from error


def prepare_named(
    output: Path, source: Path, option: str = "-o", check: Callable[[Path], None] = check_output
) -> None:
    """Make the folder of an output that an option names, and see that it can be written and is not the input.

    Args:
        output: The file.
        source: The input.
        option: What names the output.
        check: As in `prepare_output`.

    Raises:
        UsageError: It cannot, or it is.
    """
    refuse_overwriting(output, source, option)
    try:
        prepare_output(output, check)
    except ImageError as error:
        raise UsageError(str(error)) from error


def prepare_folder(folder: Path, holds: str = "the model", option: str = "--out") -> None:
    """Make a folder that the command line names and see that it can be written, before the work is done.

    Args:
        folder: The folder.
        holds: What is written into it.
        option: The option that names it.

    Raises:
        UsageError: It cannot.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        cause = None if os.access(folder, os.W_OK | os.X_OK) else "no permission"
    except OSError as error:
        cause = error.strerror
    if cause:
        raise UsageError(
            f"expected a folder to write {holds} into, but {shown(folder)} cannot be written ({cause}); "
            f"choose another {option}"
        )


def write_file(path: Path, content: bytes) -> None:
    """Write a file completely or not at all.

    Raises:
        ImageError: It cannot be written there.
    """
    try:
        write_atomically(path, content)
    except OSError as error:
        raise ImageError(
            f"cannot write {shown(path)} ({error.strerror}); choose another output with -o"
        ) from error


def write_picture(path: Path, picture: Image.Image) -> None:
    """Write a picture as PNG, completely or not at all.

    Raises:
        ImageError: It cannot be written there.
    """
    stream = io.BytesIO()
    picture.save(stream, "PNG")
    write_file(path, stream.getvalue())
