"""Writing a video: pictures encoded anew, sound and subtitles copied, all of it or nothing."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlrestore.errors import ImageError
from rlrestore.imaging.io.atomic import replacement
from rlrestore.imaging.io.files import shown
from rlrestore.video.colours import Coding
from rlrestore.video.library import CONTAINERS, said
from rlrestore.video.reading import Video

DEFAULT_QUALITY = 67
"""It is CRF 17 of H.264, which is hard to tell from what went in."""
LAYOUTS = ("yuv420p", "yuv422p", "yuv444p")
CURE = "choose another output with -o"


@dataclass(frozen=True)
class Encoder:
    """A way to encode pictures.

    Attributes:
        codec: What FFmpeg calls it.
        most: Its coarsest CRF.
        deepest_bits: A sample at most.
        options: What it is told beside the CRF.
    """

    codec: str
    most: int
    deepest_bits: int
    options: tuple[tuple[str, str], ...] = ()

    def settings(self, quality: int) -> dict[str, str]:
        """Return its options at a quality from 1 to 100."""
        return {**dict(self.options), "crf": str(round(self.most * (100 - quality) / 100))}


H264 = Encoder("libx264", 51, 10)
VP9 = Encoder("libvpx-vp9", 63, 8, (("b", "0"), ("cpu-used", "2"), ("row-mt", "1")))


def encoder_of(output: Path) -> Encoder:
    """Return what encodes the pictures of a result, by its name."""
    return VP9 if output.suffix.lower() == ".webm" else H264


class Writer:
    """A video that is being written."""

    def __init__(self, av: Any, container: Any, output: Path, pictures: Any, copies: dict[int, Any]) -> None:
        self._av, self._container, self._output = av, container, output
        self._pictures, self._copies = pictures, copies

    def write(self, frame: Any) -> None:
        """Encode a frame.

        Raises:
            ImageError: It cannot be written.
        """
        with self._said():
            self._container.mux(self._pictures.encode(frame))

    def copy(self, packet: Any) -> None:
        """Write a packet of sound or subtitles; one of a stream that is not copied is left out.

        Raises:
            ImageError: It cannot be written.
        """
        copy = self._copies.get(packet.stream.index)
        if copy is not None:
            packet.stream = copy
            with self._said():
                self._container.mux(packet)

    def finish(self) -> None:
        """Write what is left."""
        with self._said():
            self._container.mux(self._pictures.encode())

    def _said(self) -> Any:
        return said(self._av, f"to write {shown(self._output)}", CURE)


def coding_written(coding: Coding, encoder: Encoder) -> Coding:
    """Return how the result says colours: as the video, where the encoder can."""
    layout = coding.layout if coding.layout in LAYOUTS else "yuv444p"
    bits = min(10 if coding.bits > 8 else 8, encoder.deepest_bits)
    return Coding(layout, bits, coding.matrix, coding.full)


@contextmanager
def written_video(
    output: Path, source: Video, first: Any, coding: Coding, matrix: tuple[int, ...] | None, quality: int
) -> Iterator[Writer]:
    """Write a video under a temporary name, which becomes its own when all of it is written.

    Args:
        output: The file.
        source: The video that is restored.
        first: Its first frame.
        coding: How frames that are written say colours.
        matrix: How it is to be turned when it is shown.
        quality: From 1 to 100.

    Raises:
        ImageError: It cannot be written there, or the container cannot hold the sound.
    """
    av, encoder = source.av, encoder_of(output)
    with replacement(output) as temporary:
        with said(av, f"to write {shown(output)}", CURE):
            container = av.open(str(temporary), "w", format=CONTAINERS[output.suffix.lower()])
        try:
            writer = _begun(container, output, source, first, coding, matrix, encoder.settings(quality))
            yield writer
            writer.finish()
        except BaseException:
            with suppress(av.error.FFmpegError):  # it is thrown away
                container.close()
            raise
        with said(av, f"to write {shown(output)}", CURE):
            container.close()


def _begun(
    container: Any,
    output: Path,
    source: Video,
    first: Any,
    coding: Coding,
    matrix: tuple[int, ...] | None,
    options: dict[str, str],
) -> Writer:
    """Set up the streams of a result."""
    av, stream, encoder = source.av, source.stream, encoder_of(output)
    with said(
        av, f"to encode {encoder.codec}", f"install a PyAV that has {encoder.codec}, or choose another output"
    ):
        pictures = container.add_stream(encoder.codec, rate=source.rate, options=options)
    pictures.width, pictures.height, pictures.pix_fmt = first.width, first.height, coding.format
    context = pictures.codec_context
    context.time_base = stream.time_base
    context.colorspace, context.color_range = first.colorspace, 2 if coding.full else first.color_range
    context.color_primaries, context.color_trc = first.color_primaries, first.color_trc
    if stream.sample_aspect_ratio:
        context.sample_aspect_ratio = stream.sample_aspect_ratio
    if matrix is not None:
        pictures.set_display_matrix(matrix)
    container.metadata.update(source.container.metadata)
    pictures.metadata.update(stream.metadata)
    copies = {}
    for each in source.copied:
        codec = each.codec_context.name
        try:
            copies[each.index] = container.add_stream_from_template(each)
        except (ValueError, av.error.FFmpegError) as error:
            raise ImageError(
                f"{shown(output)} cannot hold the {each.type} of {shown(source.path)}, which is {codec}; "
                "write .mkv"
            ) from error
        copies[each.index].metadata.update(each.metadata)
    with said(av, f"{shown(output)} to hold what is in {shown(source.path)}", "write .mkv"):
        container.start_encoding()
    return Writer(av, container, output, pictures, copies)
