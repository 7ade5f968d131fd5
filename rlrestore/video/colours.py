"""Between a video's frames, brightness and two colours of less resolution, and the RGB that tools take.

A frame that no tool changes comes back sample for sample: only what a tool has changed is turned back and
added to the frame, colours averaged over the pixels that share them.

Source: ITU-R BT.601, BT.709 and BT.2020 (matrices and ranges); H.273 (their numbers).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import cv2
import numpy as np
from numpy.typing import NDArray

from rlrestore.imaging.io.samples import Floats

FULL_RANGE = 2
"""What FFmpeg calls samples that use the whole range of their bits."""
BT601, BT709 = 5, 1
"""Numbers of matrices."""
WEIGHTS = {
    1: (0.2126, 0.0722),
    4: (0.30, 0.11),
    5: (0.299, 0.114),
    6: (0.299, 0.114),
    7: (0.212, 0.087),
    9: (0.2627, 0.0593),
    10: (0.2627, 0.0593),
}
"""How much of the brightness is red, and blue, by the number of a matrix."""
HIGH_DEFINITION_ROWS = 720
"""A video of so many rows that does not say its matrix has BT.709's, as players take it."""
SHRUNK = {"yuv420p": (2, 2), "yuv422p": (1, 2), "yuv440p": (2, 1), "yuv444p": (1, 1)}
"""How many rows and columns of pixels share a colour."""
PACKED_AS = {
    "nv12": "yuv420p",
    "nv21": "yuv420p",
    "nv16": "yuv422p",
    "yuyv422": "yuv422p",
    "uyvy422": "yuv422p",
    "p010le": "yuv420p10le",
    "yuvj420p": "yuv420p",
    "yuvj422p": "yuv422p",
    "yuvj440p": "yuv440p",
    "yuvj444p": "yuv444p",
}
"""Formats with the samples of another, laid out otherwise or with the range in the name."""

Samples = NDArray[np.uint8] | NDArray[np.uint16]


@dataclass(frozen=True)
class Coding:
    """How a video says colours.

    Attributes:
        layout: How many pixels share a colour: one of `SHRUNK`.
        bits: Of a sample.
        matrix: Which of `WEIGHTS`.
        full: Whether samples use the whole range of their bits.
    """

    layout: str
    bits: int
    matrix: int
    full: bool

    @property
    def format(self) -> str:
        """What FFmpeg calls frames of it."""
        return self.layout + (f"{self.bits}le" if self.bits > 8 else "")

    @classmethod
    def of(cls, frame: Any) -> Self | None:
        """Return how a frame of PyAV says colours; None of a format that has to be converted first."""
        name = PACKED_AS.get(frame.format.name, frame.format.name)
        layout, _, depth = name.partition("p")
        layout, bits = f"{layout}p", depth.removesuffix("le") or "8"
        if layout not in SHRUNK or not bits.isdecimal() or (int(bits) > 8) != depth.endswith("le"):
            return None
        matrix = int(frame.colorspace)
        if matrix not in WEIGHTS:
            matrix = BT709 if frame.height >= HIGH_DEFINITION_ROWS else BT601
        full = int(frame.color_range) == FULL_RANGE or frame.format.name.startswith("yuvj")
        return cls(layout, int(bits), matrix, full)

    @property
    def levels(self) -> tuple[tuple[float, float], tuple[float, float]]:
        """The black and the span of the brightness, and the grey and the span of the colours, in samples."""
        unit = 2.0 ** (self.bits - 8)
        if self.full:
            most = 2.0**self.bits - 1
            return (0.0, most), (128 * unit, most)
        return (16 * unit, 219 * unit), (128 * unit, 224 * unit)

    @property
    def rgb_matrix(self) -> Floats:
        """`(3, 3)` what makes red, green and blue in [0, 1] of brightness and colours in [-½, ½]."""
        red, blue = WEIGHTS[self.matrix]
        green = 1 - red - blue
        of_red, of_blue = 2 * (1 - red), 2 * (1 - blue)
        rows = [
            (1, 0, of_red),
            (1, -of_blue * blue / green, -of_red * red / green),
            (1, of_blue, 0),
        ]
        return np.array(rows, np.float32)


def planes_of(frame: Any, coding: Coding) -> list[Samples]:
    """Return copies of the samples of a frame: brightness and both colours, each `(h, w)`.

    Args:
        frame: Of PyAV; one that is laid out otherwise is converted.
        coding: What `Coding.of` returned for it.
    """
    if frame.format.name != coding.format and not frame.format.name.startswith("yuvj"):
        frame = frame.reformat(format=coding.format)
    return [_view(plane, coding.bits).copy() for plane in frame.planes]


def _view(plane: Any, bits: int) -> Any:
    dtype = np.uint8 if bits == 8 else np.dtype("<u2")
    rows = np.frombuffer(plane, dtype).reshape(plane.height, -1)
    return rows[:, : plane.width]


def to_rgb(planes: Sequence[Samples], coding: Coding) -> Floats:
    """Return `(1, 3, H, W)` RGB, of which samples beyond black and white lie outside [0, 1].

    Args:
        planes: What `planes_of` returned.
        coding: Of the frame.
    """
    (black, span), (grey, colour_span) = coding.levels
    height, width = planes[0].shape
    parts = [(planes[0].astype(np.float32) - black) / span]
    for plane in planes[1:]:
        colour = (plane.astype(np.float32) - grey) / colour_span
        parts.append(_spread(colour, width, height))
    stacked = np.stack(parts).astype(np.float32)
    return np.tensordot(coding.rgb_matrix, stacked, axes=1)[None].astype(np.float32)


def changed_planes(planes: Sequence[Samples], change: Floats, coding: Coding) -> list[Samples]:
    """Return the samples of a frame with a change of its RGB added, rounded once.

    Args:
        planes: What `planes_of` returned.
        change: `(1, 3, H, W)` in units where white is 1.
        coding: Of the frame.
    """
    (_, span), (_, colour_span) = coding.levels
    most = 2**coding.bits - 1
    turned = np.tensordot(np.linalg.inv(coding.rgb_matrix).astype(np.float32), change[0], axes=1)
    found: list[Samples] = []
    for plane, part, scale in zip(planes, turned, (span, colour_span, colour_span), strict=True):
        height, width = plane.shape
        shared = part.shape != plane.shape
        small = cv2.resize(part, (width, height), interpolation=cv2.INTER_AREA) if shared else part
        found.append(np.clip(np.rint(plane + scale * small), 0, most).astype(plane.dtype))
    return found


def _spread(colour: Floats, width: int, height: int) -> Floats:
    """Return colours for every pixel: smooth, and such that their mean over the pixels that shared one is it.

    Without the second, noise of the colours would be hidden from the tools, and still be in the frame.
    """
    if colour.shape == (height, width):
        return colour
    smooth = cv2.resize(colour, (width, height), interpolation=cv2.INTER_LINEAR)
    lost = colour - cv2.resize(smooth, colour.shape[::-1], interpolation=cv2.INTER_AREA)
    return np.asarray(smooth + cv2.resize(lost, (width, height), interpolation=cv2.INTER_NEAREST), np.float32)


def with_planes(av: Any, frame: Any, planes: Sequence[Samples], coding: Coding) -> Any:
    """Return a new frame of PyAV with samples, at the time and with the colours of another one.

    Args:
        av: The module PyAV, an extra.
        frame: The other one.
        planes: The samples, as of `planes_of`.
        coding: How they say colours.
    """
    height, width = planes[0].shape
    new = av.VideoFrame(width, height, coding.format)
    for plane, samples in zip(new.planes, planes, strict=True):
        _view(plane, coding.bits)[...] = samples
    return stamped(new, frame, coding)


def stamped(new: Any, frame: Any, coding: Coding) -> Any:
    """Let a frame say the time and the colours of another one."""
    new.pts, new.time_base = frame.pts, frame.time_base
    new.colorspace, new.color_range = frame.colorspace, FULL_RANGE if coding.full else frame.color_range
    new.color_primaries, new.color_trc = frame.color_primaries, frame.color_trc
    return new


def fewer_bits(planes: Sequence[Samples], coding: Coding, bits: int) -> tuple[Sequence[Samples], Coding]:
    """Return samples at another depth, rounded, and how they say colours now.

    Args:
        planes: The samples, as of `planes_of`.
        coding: How they say colours.
        bits: The depth wanted.
    """
    if bits == coding.bits:
        return planes, coding
    new = replace(coding, bits=bits)
    found: list[Samples] = []
    for index, plane in enumerate(planes):
        kind = min(index, 1)  # brightness first, then two colours
        (zero, unit), (to_zero, to_unit) = coding.levels[kind], new.levels[kind]
        scaled = np.rint((plane.astype(np.float32) - zero) * (to_unit / unit) + to_zero)
        found.append(np.clip(scaled, 0, 2**bits - 1).astype(np.uint8 if bits == 8 else np.uint16))
    return found, new
