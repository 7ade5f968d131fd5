"""A video in, the restored video out: first a pass that finds the scenes, then one that restores them."""

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np

from rlrestore.errors import CancelledRestorationError, ImageError, UsageError
from rlrestore.imaging.io.files import check_place, shown
from rlrestore.imaging.io.samples import Floats
from rlrestore.imaging.progress import Progress, Report
from rlrestore.inference.blending import check_blend
from rlrestore.inference.chains import check_finite
from rlrestore.inference.choice import Choice, make_choice
from rlrestore.restorer import Restorer
from rlrestore.runtime import Runtime
from rlrestore.runtime.views import number_of_views, with_views
from rlrestore.trace import Trace
from rlrestore.video.colours import (
    Samples,
    changed_planes,
    fewer_bits,
    planes_of,
    stamped,
    to_rgb,
    with_planes,
)
from rlrestore.video.deciding import Decision, Shares, decide, restore_frame
from rlrestore.video.library import check_video_name
from rlrestore.video.reading import TRANSFORMED, Video, display_matrix, opened_video, usable
from rlrestore.video.scenes import Begins, Look, Scene, find_scenes, look_at
from rlrestore.video.writing import (
    DEFAULT_QUALITY,
    Writer,
    coding_written,
    encoder_of,
    written_video,
)

LOOKING_SHARE = 0.05
"""About how much of the time finding the scenes takes."""


@dataclass(frozen=True)
class SceneRestoration:
    """What was done to a scene.

    Attributes:
        first: Number of its first frame, from 0.
        frames: How many there are.
        start_s: When it begins, in seconds of the video.
        begins: With the video (`start`), by a `cut`, or by a lasting `change`.
        trace: Its chain, and what the agent expected of it.
        flickering: Tools that the agent would have taken, and that would have made still parts flicker.
        difference_before: Root mean square difference of neighbouring frames where nothing moves, in [0, 1];
            None where nothing stands still.
        difference_after: The same of the restored ones.
    """

    first: int
    frames: int
    start_s: float
    begins: Begins
    trace: Trace
    flickering: tuple[str, ...] = ()
    difference_before: float | None = None
    difference_after: float | None = None


@dataclass(frozen=True)
class VideoRestoration:
    """What was done to a video.

    Attributes:
        output: The restored video.
        frames: How many it has.
        scenes: What was done to each of its scenes.
        notes: What could not be kept as it was, for the user to read.
    """

    output: Path
    frames: int
    scenes: tuple[SceneRestoration, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Planned:
    """A scene, when it begins, and what is to be done to it."""

    scene: Scene[Any]
    start_s: float
    decision: Decision


class _Follower:
    """Shows how far the work is, and ends it early."""

    def __init__(self, progress: bool | Report, cancel: Event | None) -> None:
        self._bar, self._report = progress is True, progress if callable(progress) else None
        self._cancel = cancel

    def follow(
        self, frames: Iterable[Any], title: str, total: int, begin: float, end: float
    ) -> Iterator[Any]:
        """Pass frames on, with a bar and the time that is left where stderr is a terminal."""
        if self._bar:
            from tqdm import tqdm

            frames = tqdm(frames, title, total or None, leave=False, unit="frame", disable=None)
        for number, frame in enumerate(frames, 1):
            if self._cancel is not None and self._cancel.is_set():
                raise CancelledRestorationError("the restoration was cancelled")
            yield frame
            if self._report is not None:
                share = begin + (end - begin) * min(1.0, number / max(total, number))
                self._report(Progress(share, number, max(total, number)))


def restore_video(
    source: str | os.PathLike[str],
    output: str | os.PathLike[str],
    restorer: Restorer | None = None,
    *,
    max_steps: int | None = None,
    chain: Sequence[str] = (),
    only: Sequence[str] = (),
    never: Sequence[str] = (),
    views: int = 1,
    strength: float = 1.0,
    detail: float = 0.0,
    quality: int | None = None,
    progress: bool | Report = False,
    cancel: Event | None = None,
) -> VideoRestoration:
    """Restore a video: one chain for each scene, so that nothing flickers; sound and timing are kept.

    In memory are few frames at a time, however long the video is. The file is written whole or not at all.

    Args:
        source: A video file.
        output: What to write: .mp4, .m4v, .mov and .mkv as H.264, .webm as VP9.
        restorer: The model; the shipped one without it.
        max_steps: As in `Restorer.restore`, like `chain`, `only`, `never`, `strength` and `detail`.
        chain: Names of tools to apply in this order to every scene.
        only: Names or kinds of tools that the agent chooses among.
        never: Names or kinds of tools that it must not choose.
        views: On how many of a frame, turned and mirrored, a tool works.
        strength: How much of the change is kept, from 0 to 1.
        detail: How much of the fine detail that the chain took away is brought back, from 0 to 1.
        quality: From 1 to 100; 67 without it.
        progress: Show a bar with the time that is left on stderr, where that is a terminal; or a function
            that is told a `Progress` after every frame.
        cancel: Once another thread sets it, the restoration ends after the frame that it is at.

    Raises:
        ImageError: PyAV is not installed, the video cannot be read, or the result not written.
        UsageError: An unknown tool, a quality, strength, limit or number of views out of range, or an output
            that is the input.
        ModelError: The model's weights lead to a NaN or an infinity.
        CancelledRestorationError: `cancel` was set.
    """
    source, output = Path(source), Path(output)
    check_video_name(output)
    check_place(output)
    check_blend(strength, detail)
    quality = DEFAULT_QUALITY if quality is None else quality
    if not 1 <= quality <= 100:
        raise UsageError(f"expected a quality from 1 to 100, got {quality}")
    if output.exists() and source.exists() and output.samefile(source):
        raise UsageError(f"{shown(output)} is the video itself: choose another output")
    restorer = restorer or Restorer.from_pretrained()
    choice = make_choice(restorer.runtime.tools.specs, chain, only, never)
    limit = restorer.limit("global", max_steps, choice)
    runtime = with_views(restorer.runtime, views := number_of_views(views))
    shares = Shares(strength, detail)
    work = _Work(restorer, runtime, source, output, choice, limit, shares, views, quality)
    with np.errstate(over="ignore", invalid="ignore"):
        return work.run(_Follower(progress, cancel))


@dataclass(frozen=True)
class _Work:
    """One video to restore, and how."""

    restorer: Restorer
    runtime: Runtime
    source: Path
    output: Path
    choice: Choice
    limit: int
    shares: Shares
    views: int
    quality: int

    def run(self, follower: _Follower) -> VideoRestoration:
        with opened_video(self.source) as video:
            plan, first, total = self._plan(video, follower)
            notes = [*video.notes, *video.faults.notes(), *_lost(first, self.output)]
        with opened_video(self.source) as video, self._writing(video, first) as writer:
            frames = follower.follow(video.frames(writer.copy), "restoring", total, LOOKING_SHARE, 1)
            written = self._restore(frames, plan, writer, video)
        scenes = tuple(self._scene_restoration(planned, first) for planned in plan)
        return VideoRestoration(self.output, written, scenes, tuple(notes))

    def _plan(self, video: Video, follower: _Follower) -> tuple[list[_Planned], Any, int]:
        """Find the scenes and decide for each; return them, the first frame, and how many there are."""
        firsts: list[Any] = []
        starts: dict[int, float] = {}

        def noted(frames: Iterable[Any]) -> Iterator[Any]:
            for number, frame in enumerate(frames):
                firsts[:] = firsts or [frame]
                starts[number] = float(frame.pts * frame.time_base)
                yield frame

        frames = follower.follow(video.frames(), "looking", video.expected_frames, 0, LOOKING_SHARE)
        plan: list[_Planned] = []
        for scene in find_scenes(noted(frames), _look):
            start_s = starts[scene.first]
            for number in [key for key in starts if key < scene.first]:
                del starts[number]
            before = plan[-1].decision if plan and scene.begins == "change" else None
            plan.append(_Planned(scene, start_s, self._decided(scene, before)))
        if not plan:
            raise ImageError(
                f"expected a video, but {shown(self.source)} has no frame that can be decoded; "
                "get a fresh copy of it"
            )
        return plan, firsts[0], plan[-1].scene.first + plan[-1].scene.frames

    def _decided(self, scene: Scene[Any], before: Decision | None) -> Decision:
        pairs = []
        for one, other in scene.pairs:
            image = _image(one)
            pairs.append((image, image if other is one else _image(other)))
        with self.restorer.turn:
            return decide(self.runtime, pairs, self.limit, self.choice, self.shares, before)

    def _writing(self, video: Video, first: Any) -> AbstractContextManager[Writer]:
        turned, coding = usable(first)
        coding = coding_written(coding, encoder_of(self.output))
        return written_video(self.output, video, turned, coding, display_matrix(first), self.quality)

    def _restore(self, frames: Iterable[Any], plan: Sequence[_Planned], writer: Writer, video: Video) -> int:
        """Write every frame; return how many there were."""
        number, place = 0, 0
        for number, frame in enumerate(frames, 1):  # counted beyond the loop
            while place + 1 < len(plan) and plan[place + 1].scene.first < number:
                place += 1
            writer.write(self._restored(frame, plan[place].decision, video))
        return number

    def _restored(self, frame: Any, decision: Decision, video: Video) -> Any:
        turned, coding = usable(frame)
        planes: Sequence[Samples] = planes_of(turned, coding)
        if decision.actions:
            image = to_rgb(planes, coding)
            with self.restorer.turn:
                restored = restore_frame(self.runtime, image, decision, self.shares)
            check_finite(self.restorer.name, restored)
            planes = changed_planes(planes, restored - image, coding)
        wanted = coding_written(coding, encoder_of(self.output))
        planes, coding = fewer_bits(planes, coding, wanted.bits)
        if wanted.layout != coding.layout:
            moved = with_planes(video.av, turned, planes, coding).reformat(format=wanted.format)
            return stamped(moved, turned, wanted)
        return with_planes(video.av, turned, planes, coding)

    def _scene_restoration(self, planned: _Planned, first: Any) -> SceneRestoration:
        scene, decision, names = planned.scene, planned.decision, self.runtime.tools.names
        trace = Trace(
            "global",
            self.restorer.name,
            first.width,
            first.height,
            decision.steps,
            left_out=tuple(names[action] for action in self.choice.left_out),
            strength=self.shares.strength,
            detail=self.shares.detail,
            precision=self.runtime.precision,
            views=self.views,
        )
        differences = decision.differences
        return SceneRestoration(
            scene.first,
            scene.frames,
            planned.start_s,
            scene.begins,
            trace,
            tuple(names[action] for action in decision.left_out),
            None if differences is None else differences.before,
            None if differences is None else differences.after,
        )


def _look(frame: Any) -> Look:
    turned, coding = usable(frame)
    return look_at(planes_of(turned, coding)[0], 2**coding.bits - 1)


def _image(frame: Any) -> Floats:
    turned, coding = usable(frame)
    return to_rgb(planes_of(turned, coding), coding)


def _lost(first: Any, output: Path) -> Iterator[str]:
    """Yield what of a video its result will not have."""
    _, coding = usable(first)
    written = coding_written(coding, encoder_of(output))
    if written.bits < coding.bits:
        yield f"{coding.bits} bits a sample ({written.bits} are written)"
    if any(part.is_alpha for part in first.format.components):
        yield "its transparency is left out"
    curve = TRANSFORMED.get(int(first.color_trc))
    if curve is not None:
        yield f"HDR ({curve}): the colours stay as they are, what else it says of its brightness is left out"
