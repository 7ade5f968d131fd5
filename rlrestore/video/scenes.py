"""Where a video's scenes begin: at a cut, and where what is seen or its noise has changed for good.

A frame is known by a small picture of its brightness and by how much neighbouring pixels differ. A cut is a
leap between neighbouring frames that lasts: a flash, after which all is as before, is none. All is found in
one pass that holds few frames, however long the video is.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Generic, Literal, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from rlrestore.imaging.io.samples import Floats

THUMBNAIL = 32, 18
CUT = 0.06
"""Mean difference of neighbouring small pictures from which a cut may be: of a pan it is less."""
LEAP = 4.0
"""How many times the mean difference of the frames before it must be."""
FLASH_FRAMES = 4
"""What has gone back to how it was after so many frames was a flash."""
LASTING_FRAMES = 12
"""A change that is seen in so many frames on end has come to stay."""
DRIFT = 0.12
"""Difference from the scene's first small pictures that is a change."""
NOISIER = 1.5
"""How many times finer or coarser what differs between pixels must be for a change."""
LEAST_LEVEL = 0.5 / 255
ALONE = -1
"""The number of the pair of a scene of one frame."""
PAIRS = 3
"""Pairs of neighbouring frames that the agent looks at, spread over a scene."""

Frame = TypeVar("Frame")
Begins = Literal["start", "cut", "change"]


@dataclass(frozen=True, eq=False)
class Look:
    """What a frame is known by.

    Attributes:
        picture: `(18, 32)` its brightness, made small, in [0, 1].
        level: Mean difference of diagonal neighbours: noise and texture, in [0, 1].
    """

    picture: Floats
    level: float


def look_at(brightness: NDArray[np.uint8] | NDArray[np.uint16], white: int) -> Look:
    """Return what a frame is known by.

    Args:
        brightness: `(H, W)` samples.
        white: The largest.
    """
    resized = cv2.resize(brightness, THUMBNAIL, interpolation=cv2.INTER_AREA)
    small = np.asarray(resized, np.float32) / np.float32(white)
    even = brightness[: len(brightness) // 2 * 2, : brightness.shape[1] // 2 * 2].astype(np.int32)
    diagonal = even[::2, ::2] - even[::2, 1::2] - even[1::2, ::2] + even[1::2, 1::2]
    return Look(small, float(np.abs(diagonal).mean()) / 2 / white)


@dataclass
class Sampler(Generic[Frame]):
    """Keeps pairs of neighbouring frames, evenly spread over all that it was shown, however many will come.

    Attributes:
        pairs: By the number of their first frame.
    """

    pairs: dict[int, tuple[Frame, Frame]] = field(default_factory=dict)
    _stride: int = 2

    def show(self, number: int, before: Frame, frame: Frame) -> None:
        """Take a frame, and the one before it, which has that number in its scene."""
        if number % self._stride == 0:
            self.pairs[number] = before, frame
        if len(self.pairs) > 2 * PAIRS:
            self._stride *= 2
            self.pairs = {key: pair for key, pair in self.pairs.items() if key % self._stride == 0}

    def spread(self) -> tuple[tuple[Frame, Frame], ...]:
        """Return `PAIRS` of them at most."""
        pairs = list(self.pairs.values())
        count = min(PAIRS, len(pairs))
        return tuple(pairs[int((index + 0.5) * len(pairs) / count)] for index in range(count))


@dataclass(frozen=True, eq=False)
class Scene(Generic[Frame]):
    """Frames that are restored alike.

    Attributes:
        first: Number of the first of them, from 0.
        frames: How many there are.
        begins: With the video, by a cut, or by a change.
        pairs: Neighbouring frames, spread over them; a scene of one frame has it twice.
    """

    first: int
    frames: int
    begins: Begins
    pairs: tuple[tuple[Frame, Frame], ...]


class _Current(Generic[Frame]):
    """The scene that is being seen."""

    def __init__(self, first: int, begins: Begins) -> None:
        self.first, self.begins, self.frames = first, begins, 0
        self.changed = 0
        """Frames on end that differ from the opening."""
        self.leaps: deque[float] = deque([0.0], maxlen=8)
        self._sampler: Sampler[Frame] = Sampler()
        self._opening: list[Look] = []
        self._last: Frame | None = None

    def add(self, frame: Frame, look: Look) -> None:
        """Take its next frame."""
        if self._last is None:
            self._sampler.pairs[ALONE] = frame, frame
        else:
            self._sampler.pairs.pop(ALONE, None)
            self._sampler.show(self.frames - 1, self._last, frame)
        self._last, self.frames = frame, self.frames + 1
        if len(self._opening) < LASTING_FRAMES:
            self._opening.append(look)
        self.changed = self.changed + 1 if self._differs(look) else 0

    def _differs(self, look: Look) -> bool:
        if len(self._opening) < LASTING_FRAMES:
            return False
        level = max(float(np.median([each.level for each in self._opening])), LEAST_LEVEL)
        picture = np.mean([each.picture for each in self._opening], axis=0)
        ratio = max(look.level, LEAST_LEVEL) / level
        return max(ratio, 1 / ratio) > NOISIER or _difference(look.picture, picture) > DRIFT

    def scene(self, frames: int) -> Scene[Frame]:
        """Return its first frames as a scene."""
        pairs = {key: pair for key, pair in self._sampler.pairs.items() if key + 1 < frames or key == ALONE}
        return Scene(self.first, frames, self.begins, Sampler(pairs).spread())

    def divided(self, frame: Frame, look: Look) -> tuple[Scene[Frame], "_Current[Frame]"]:
        """Return it without the frames that have changed, and the scene that these begin.

        Args:
            frame: The last of them.
            look: What it is known by.
        """
        kept = self.frames - self.changed
        after: _Current[Frame] = _Current(self.first + kept, "change")
        after.add(frame, look)
        after.frames = self.changed
        return self.scene(kept), after


def find_scenes(frames: Iterable[Frame], look: Callable[[Frame], Look]) -> Iterator[Scene[Frame]]:
    """Yield the scenes of a video, each when it is over.

    Args:
        frames: The video.
        look: Returns what a frame is known by.
    """
    current: _Current[Frame] = _Current(0, "start")
    held: list[tuple[Frame, Look]] = []
    """The frames since what may be a cut."""
    last: Look | None = None
    """Of the frame before; of the one before what may be a cut."""
    for frame in frames:
        seen = look(frame)
        leap = 0.0 if last is None else _difference(seen.picture, last.picture)
        if held or leap > max(CUT, LEAP * float(np.mean(current.leaps))):
            held.append((frame, seen))
            if len(held) > 1 and leap < CUT / 2:  # all is as before: it was a flash
                current, held, last = _added(current, held), [], seen
            elif len(held) > FLASH_FRAMES:
                yield current.scene(current.frames)
                current, held, last = _added(_Current(current.first + current.frames, "cut"), held), [], seen
            continue
        current.leaps.append(leap)
        current.add(frame, seen)
        last = seen
        if current.changed >= LASTING_FRAMES:
            done, current = current.divided(frame, seen)
            yield done
    if current.frames:
        yield current.scene(current.frames)
    if held:
        yield _added(_Current(current.first + current.frames, "cut"), held).scene(len(held))


def _added(current: _Current[Frame], held: list[tuple[Frame, Look]]) -> _Current[Frame]:
    for frame, look in held:
        current.add(frame, look)
    return current


def _difference(one: Floats, other: Floats) -> float:
    return float(np.abs(one - other).mean())
