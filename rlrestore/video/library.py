"""PyAV, the extra `video`: what it writes, and what of PyAV's errors is for a person."""

import importlib
import importlib.util
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rlrestore.errors import ImageError, how_to_install
from rlrestore.imaging.io.files import shown

CONTAINERS = {
    ".mp4": "mp4",
    ".m4v": "mp4",
    ".mov": "mov",
    ".mkv": "matroska",
    ".webm": "webm",
}
"""The suffixes of videos that are written, and what FFmpeg calls their containers."""
FALLBACK = ".mkv"
"""What a video in any other container becomes: it holds every sound and every timing."""


def result_suffix(source: Path) -> str:
    """Return the suffix of a video's result that nobody named."""
    suffix = source.suffix.lower()
    return suffix if suffix in CONTAINERS else FALLBACK


def check_video_name(output: Path) -> None:
    """Make sure that a video could be written under a name.

    Raises:
        ImageError: It is not that of a video which is written.
    """
    if output.suffix.lower() not in CONTAINERS:
        raise ImageError(
            f"expected a video's name, which ends in one of {', '.join(CONTAINERS)}, but got "
            f"{shown(output)}; choose one of these"
        )


def load_av(path: str | os.PathLike[str]) -> Any:
    """Return the library PyAV.

    Args:
        path: The video that needs it.

    Raises:
        ImageError: It is not installed.
    """
    if importlib.util.find_spec("av") is None:
        raise ImageError(
            f"{shown(path)} is a video, which takes PyAV, the extra video: {how_to_install('video')}"
        )
    return importlib.import_module("av")


@contextmanager
def said(av: Any, doing: str, cure: str) -> Iterator[None]:
    """Say in words what FFmpeg could not do.

    Args:
        av: The library.
        doing: What it was about, as in `to read the video 'x.mp4'`.
        cure: What to do about it.

    Raises:
        ImageError: In place of an error of FFmpeg.
    """
    try:
        yield
    except av.error.FFmpegError as error:
        cause = error.strerror or type(error).__name__
        raise ImageError(f"expected {doing}, but that failed ({cause}); {cure}") from error
