"""Small videos, written by PyAV: what is in them is known beforehand."""

from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt

Pictures = Sequence[npt.NDArray[np.uint8]]
SAMPLES_A_SECOND = 48000


def write_clip(
    path: Path,
    pictures: Pictures,
    times: Sequence[int] | None = None,
    rate: int = 25,
    codec: str = "libx264",
    layout: str = "yuv420p",
    options: Mapping[str, str] | None = None,
    sound: str = "",
    rotation: int = 0,
    full: bool = False,
    tagged: bool = True,
    format: str | None = None,  # noqa: A002  # as av.open has it
) -> Path:
    """Write grey pictures `(H, W)`, whose samples are the brightness as it stands in the file.

    Args:
        path: The file.
        pictures: The frames.
        times: When each is shown, in 1/1000 s; evenly by the rate without it.
        rate: Frames a second.
        codec: Of the pictures; H.264 is written without loss.
        layout: Of the samples.
        options: Of the encoder.
        sound: Codec of a tone of the same length, none if it is empty.
        rotation: Degrees.
        full: Whether samples use the whole range.
        tagged: Whether the file says that it is of BT.709.
        format: The container, if the name does not say.
    """
    times = times or [1000 * number // rate for number in range(len(pictures))]
    lossless = {"qp": "0"} if codec == "libx264" else {}
    with av.open(str(path), "w", format=format) as container:
        stream: Any = container.add_stream(codec, rate=rate, options={**lossless, **(options or {})})
        stream.height, stream.width = pictures[0].shape
        stream.pix_fmt, stream.codec_context.time_base = layout, Fraction(1, 1000)
        stream.codec_context.color_range = 2 if full else 1
        if tagged:
            context = stream.codec_context
            context.colorspace = context.color_primaries = context.color_trc = 1
        if rotation:
            stream.set_display_rotation(rotation)
        if sound:
            _add_tone(container, sound, len(pictures) / rate)
        for picture, at in zip(pictures, times, strict=True):
            frame: Any = av.VideoFrame(picture.shape[1], picture.shape[0], layout)
            for index, plane in enumerate(frame.planes):
                deep = "10" in layout
                view = np.frombuffer(plane, np.uint16 if deep else np.uint8).reshape(plane.height, -1)
                grey: Any = 128 if index else picture.astype(np.uint16)
                view[:, : plane.width] = grey * (4 if deep else 1)
            frame.pts, frame.time_base = at, Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def _add_tone(container: Any, codec: str, seconds: float) -> None:
    stream = container.add_stream(codec, rate=SAMPLES_A_SECOND)
    tone = 0.2 * np.sin(np.arange(int(SAMPLES_A_SECOND * seconds)) / 20).astype(np.float32)
    kind = stream.codec_context.format.name if stream.codec_context.format else "fltp"
    for start in range(0, len(tone), 960):
        part = tone[None, start : start + 960]
        frame = av.AudioFrame.from_ndarray(
            (part * 32767).astype(np.int16) if kind == "s16" else part, format=kind, layout="mono"
        )
        frame.sample_rate, frame.pts, frame.time_base = SAMPLES_A_SECOND, start, Fraction(1, SAMPLES_A_SECOND)
        container.mux(stream.encode(frame))
    container.mux(stream.encode())


def frames_of(path: Path) -> list[Any]:
    """Return the frames of a video."""
    with av.open(str(path)) as container:
        return list(container.decode(video=0))


def brightness(frame: Any) -> Any:
    """Return the brightness of a frame as it stands in the file, `(H, W)`."""
    plane = frame.planes[0]
    dtype = np.uint16 if "10" in frame.format.name else np.uint8
    samples: Any = np.frombuffer(plane, dtype).reshape(plane.height, -1)[:, : plane.width]
    return samples


def times_of(path: Path) -> list[float]:
    """Return when the frames of a video are shown, in seconds."""
    return [round(float(frame.pts * frame.time_base), 4) for frame in frames_of(path)]


def sound_of(path: Path) -> list[tuple[int, bytes]]:
    """Return the packets of a video's sound, and when they are."""
    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        return [
            (round(float(packet.pts * packet.time_base) * SAMPLES_A_SECOND), bytes(packet))
            for packet in container.demux(stream)
            if packet.pts is not None and packet.size
        ]


def grey(value: int, height: int = 48, width: int = 64) -> npt.NDArray[np.uint8]:
    """Return a picture of one brightness."""
    return np.full((height, width), value, np.uint8)
