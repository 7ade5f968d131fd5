"""A video file: what it holds, and its frames one by one."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

from rlrestore.errors import ImageError
from rlrestore.imaging.io.files import shown
from rlrestore.imaging.io.opening import MAX_MEGAPIXELS, MIN_SIDE_PX
from rlrestore.video.colours import BT709, Coding
from rlrestore.video.library import load_av, said

USUAL_RATE = Fraction(25)
"""Frames a second of a video that does not say."""
COPIED = ("audio", "subtitle")
TRANSFORMED = {16: "PQ", 18: "HLG"}
"""The numbers of the transfer curves of HDR."""
DISPLAY_MATRIX = "DISPLAYMATRIX"
TAKE_CURE = "get a fresh copy of it"


@dataclass
class Faults:
    """What of a video could not be read.

    Attributes:
        times_s: When frames were left out that could not be decoded.
        cut_short: What ended it before its end, empty if nothing did.
    """

    times_s: list[float] = field(default_factory=list)
    cut_short: str = ""

    def notes(self) -> tuple[str, ...]:
        """Return it in words, a line each."""
        found = []
        if self.times_s:
            what = "1 frame" if len(self.times_s) == 1 else f"{len(self.times_s)} frames"
            first, last = min(self.times_s), max(self.times_s)
            when = f"at {first:.2f} s" if len(self.times_s) == 1 else f"between {first:.2f} and {last:.2f} s"
            found.append(f"{what} {when} cannot be decoded and left out: the one before stands longer")
        if self.cut_short:
            found.append(f"it is damaged from some point on ({self.cut_short}); the rest is left out")
        return tuple(found)


class Video:
    """An open video file.

    Attributes:
        path: The file.
        container: As PyAV opened it.
        stream: The pictures.
        copied: Sound and subtitles.
        faults: What could not be read so far.
        notes: What else will not be in a result.
    """

    def __init__(self, path: Path, av: Any, container: Any) -> None:
        """Find the streams.

        Raises:
            ImageError: There are no pictures that can be decoded, or they are too small or too large.
        """
        self.path, self.av, self.container, self.faults = path, av, container, Faults()
        name = shown(path)
        pictures = [each for each in container.streams.video if not _is_cover(each)]
        if not pictures:
            raise ImageError(f"expected a video, but {name} has no moving pictures; name another file")
        self.stream = pictures[0]
        if self.stream.codec_context is None:
            raise ImageError(
                f"expected a video that can be decoded, but the codec of {name} is unknown; convert it first"
            )
        width, height = self.stream.codec_context.width, self.stream.codec_context.height
        if min(width, height) < MIN_SIDE_PX or width * height > MAX_MEGAPIXELS * 1e6:
            raise ImageError(
                f"expected a video of {MIN_SIDE_PX} pixels a side to {MAX_MEGAPIXELS} megapixels, but {name} "
                f"is {width}×{height}; use another"
            )
        self.stream.thread_type = "AUTO"
        self.width, self.height = width, height
        self.copied = [
            each for each in container.streams if each.type in COPIED and each.codec_context is not None
        ]
        left = [each for each in container.streams if each is not self.stream and each not in self.copied]
        kinds = sorted({"cover" if _is_cover(each) else each.type for each in left})
        self.notes = (
            (f"left out beside the pictures, the sound and the subtitles: {', '.join(kinds)}",)
            if left
            else ()
        )

    @property
    def rate(self) -> Fraction:
        """Frames a second on average."""
        return self.stream.average_rate or self.stream.guessed_rate or USUAL_RATE

    @property
    def expected_frames(self) -> int:
        """About how many frames there are, by what the file says; 0 if it does not."""
        if self.stream.frames:
            return int(self.stream.frames)
        if self.stream.duration:
            return int(self.stream.duration * self.stream.time_base * self.rate)
        length = self.container.duration
        return int(length * self.rate / self.av.time_base) if length else 0

    def frames(self, pass_on: Callable[[Any], None] | None = None) -> Iterator[Any]:
        """Yield the frames in order, each with a time that is later than that of the one before.

        Args:
            pass_on: Takes the packets of `copied` in between.

        Raises:
            ImageError: The frames are interlaced, or change their size.
        """
        shares = [self.stream] if pass_on is None else [self.stream, *self.copied]
        step = max(1, round(1 / (self.rate * self.stream.time_base)))
        last: int | None = None
        for packet in self._packets(shares):
            if packet.stream is not self.stream:
                if pass_on is not None and packet.dts is not None:
                    pass_on(packet)
                continue
            for frame in self._decoded(packet):
                self._check(frame)
                if frame.is_corrupt:
                    self._miss(frame)
                    continue
                if frame.pts is None or (last is not None and frame.pts <= last):
                    frame.pts = 0 if last is None else last + step
                last = frame.pts
                frame.time_base = self.stream.time_base
                yield frame

    def _packets(self, streams: list[Any]) -> Iterator[Any]:
        try:
            yield from self.container.demux(streams)
        except self.av.error.FFmpegError as error:
            self.faults.cut_short = error.strerror or type(error).__name__

    def _decoded(self, packet: Any) -> list[Any]:
        try:
            return list(packet.decode())
        except self.av.error.EOFError:
            return []
        except self.av.error.FFmpegError:
            self._miss(packet)
            return []

    def _miss(self, what: Any) -> None:
        at = what.pts if what.pts is not None else what.dts
        self.faults.times_s.append(float((at or 0) * self.stream.time_base))

    def _check(self, frame: Any) -> None:
        name = shown(self.path)
        if frame.interlaced_frame:
            raise ImageError(
                f"expected whole frames, but {name} is interlaced; deinterlace it first, as by "
                "ffmpeg -vf bwdif"
            )
        if (frame.width, frame.height) != (self.width, self.height):
            raise ImageError(
                f"expected frames of one size, but {name} changes from {self.width}×{self.height} to "
                f"{frame.width}×{frame.height}; cut it there first"
            )


@contextmanager
def opened_video(path: str | os.PathLike[str]) -> Iterator[Video]:
    """Open a video file.

    Raises:
        ImageError: PyAV is not installed, or it is no video that can be read.
    """
    av, name = load_av(path), shown(path)
    with said(av, f"to read the video {name}", TAKE_CURE):
        container = av.open(os.fspath(path))
    with container:
        yield Video(Path(path), av, container)


def usable(frame: Any) -> tuple[Any, Coding]:
    """Return a frame in a format that tools can work on, and how it says colours: most are as they came."""
    coding = Coding.of(frame)
    odd = (frame.width % 2 or frame.height % 2) and frame.format.name not in ("yuv444p", "yuvj444p")
    if coding is not None and not odd:
        return frame, coding
    deep = coding is not None and coding.bits > 8
    matrix = BT709 if coding is None else coding.matrix
    full = coding is not None and coding.full
    layout = "yuv420p" if frame.format.name.startswith("gray") and not odd else "yuv444p"
    new = Coding(layout, 10 if deep else 8, matrix, full)
    ranges = {"src_color_range": frame.color_range, "dst_color_range": 2 if full else 1}
    turned = frame.reformat(format=new.format, dst_colorspace=min(matrix, 9), **ranges)
    turned.pts, turned.time_base = frame.pts, frame.time_base
    turned.colorspace, turned.color_range = matrix, 2 if full else 1
    return turned, new


def display_matrix(frame: Any) -> tuple[int, ...] | None:
    """Return how a frame is to be turned and mirrored when it is shown, None if it is not."""
    for data in frame.side_data:
        if data.type.name == DISPLAY_MATRIX:
            return tuple(memoryview(bytes(data)).cast("i"))
    return None


def _is_cover(stream: Any) -> bool:
    return bool(int(stream.disposition) & int(type(stream.disposition).attached_pic))
