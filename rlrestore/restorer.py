"""The main job: a photograph of any size in, the restored photograph and its trace out."""

import os
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from threading import Event, Lock
from typing import TYPE_CHECKING, Self

import numpy as np

from rlrestore.errors import UsageError
from rlrestore.imaging.io.photo import Photo
from rlrestore.imaging.io.transparency import cover_hidden_
from rlrestore.imaging.progress import Monitor, Report
from rlrestore.imaging.psnr import photo_psnr_db
from rlrestore.inference.blending import Parts, check_blend
from rlrestore.inference.blending import keep_original as copy_original
from rlrestore.inference.chains import Chain, check_finite, global_chain, local_chain
from rlrestore.inference.choice import Choice, make_choice
from rlrestore.inference.photos import (
    PhotoLike,
    as_given,
    as_photo,
    to_change,
    to_frame,
    to_planes,
    with_planes,
)
from rlrestore.inference.restoration import Restoration
from rlrestore.model_folder import find_model
from rlrestore.model_folder.card import ModelCard
from rlrestore.model_folder.inspector import remove_inspector
from rlrestore.model_folder.upscaler import UpscalerFile, own_upscaler, replace_upscaler
from rlrestore.runtime import Floats, Precision, Runtime, load_runtime
from rlrestore.runtime.views import number_of_views, with_views
from rlrestore.trace import STOP_NAME, Trace, TraceStep

if TYPE_CHECKING:
    from rlrestore.explain.inspector import Inspector

CHAINS = {"global": global_chain, "local": local_chain}


class Restorer:
    """A model that restores photographs, from any number of threads.

    On another device than the processor what they ask for at a time is computed together. They take turns
    where the model is not `concurrent`: with custom tools on the processor.

    Attributes:
        runtime: The model.
        turn: Held by a thread while the model works for it.
        inspector: What tells traces what is wrong with an input; None of a model without one.
        upscaler: The model's own tool that enlarges, kept for `save_pretrained`; None of a model without one.
    """

    def __init__(
        self, runtime: Runtime, inspector: "Inspector | None" = None, upscaler: UpscalerFile | None = None
    ) -> None:
        """Restore by a model.

        Args:
            runtime: The model, such as a `rlrestore.runtime.torch_runtime.TorchRuntime`.
            inspector: Its inspector, if it has one.
            upscaler: Its own tool that enlarges, if it has one.
        """
        self.runtime, self.inspector, self.upscaler = runtime, inspector, upscaler
        self.turn = nullcontext() if runtime.concurrent else Lock()

    @property
    def name(self) -> str:
        """What traces call the model."""
        return self.runtime.name

    @property
    def card(self) -> ModelCard:
        """What is known of the model."""
        return self.runtime.card

    @classmethod
    def from_pretrained(
        cls,
        name_or_folder: str | os.PathLike[str] = "default",
        device: str = "cpu",
        precision: Precision = "auto",
    ) -> Self:
        """Read a model.

        Args:
            name_or_folder: A model that comes with the package, or a model's folder.
            device: Where to compute, such as `cpu`, `cuda`, `cuda:1` or `mps`.
            precision: In which the tools compute: `float32`, `bfloat16`, or `auto`, the fastest here that
                keeps every sample of a result within 1 of 255 of float32's.

        Raises:
            UsageError: There is no such model or device, or the model is damaged.
        """
        from rlrestore.explain.inspector import inspector_of  # it reads photographs, as this module does

        runtime = load_runtime(name_or_folder, device, precision)
        return cls(runtime, inspector_of(name_or_folder), own_upscaler(find_model(name_or_folder)))

    def save_pretrained(self, folder: str | os.PathLike[str]) -> None:
        """Write the model into a folder, which is made if need be, with its inspector and its upscaler.

        Those that it has not are taken away if the folder has them, of another model.
        """
        self.runtime.save(Path(folder))
        if self.inspector is None:
            remove_inspector(Path(folder))
        else:
            self.inspector.save(Path(folder))
        replace_upscaler(Path(folder), self.upscaler)

    def restore(
        self,
        photo: PhotoLike,
        reference: "PhotoLike | None" = None,
        mode: str = "global",
        max_steps: int | None = None,
        keep_steps: bool = True,
        progress: bool | Report = False,
        in_place: bool = False,
        chain: Sequence[str] = (),
        only: Sequence[str] = (),
        never: Sequence[str] = (),
        views: int = 1,
        strength: float = 1.0,
        detail: float = 0.0,
        keep_original: bool = True,
        cancel: Event | None = None,
        inspect: bool = False,
    ) -> Restoration:
        """Restore one photograph. Nothing is clipped or rounded between the steps, only at the end.

        In memory is the photograph once, 12 bytes a pixel, changed in place; reading and writing a file take
        8 bytes a pixel more for a while. Beside it stand half a gigabyte, the steps that are kept, a
        reference, and what was handed in. With transparency it takes up to twice as much: pixels of a
        transparency below 8 of 255 are given the colours around them for the while, so that theirs do not
        bleed into what is seen, and keep their own in the result.

        Args:
            photo: A path, a `Photo`, a Pillow image, an array `(H, W, 3)` or `(H, W)`, or a tensor
                `(3, H, W)` or `(1, 3, H, W)`. Whole numbers span their type's range, floats lie in [0, 1].
            reference: The same photograph undamaged, to measure against; the agent never sees it.
            mode: `global` applies each tool to the whole photograph; `local` lets regions whose degradation
                differs follow their own chains.
            max_steps: Tools to apply at most; the model's own limit without it.
            keep_steps: Keep the photograph after every step in the trace, for its picture (3 bytes a pixel
                each).
            progress: Show a bar on stderr for a step that takes longer than a second, where stderr is a
                terminal; or a function that is told a `Progress` after every tile.
            in_place: Change the pixels of a `Photo` that is handed in, to spare its copy.
            chain: Names of tools to apply in this order, whatever the agent would choose; in global mode.
            only: Names or kinds of tools that the agent chooses among, as `denoise-2` or `noise`.
            never: Names or kinds of tools that it must not choose.
            views: On how many, 1 to 8, turned and mirrored, a tool works, for the mean of its results.
            strength: How much of the change is kept, from 0 to 1, as in `Restoration.blended`.
            detail: How much of the fine detail that the chain took away is brought back, from 0 to 1.
            keep_original: Keep the original for `Restoration.blended`: 3 bytes a pixel, 6 at 16 bits, 12 of
                floats. Other strengths and details than 1 and 0 keep it in any case.
            cancel: Once another thread sets it, the restoration ends after the tile that it is at. A `Photo`
                that is changed in place is left half done.
            inspect: Let the trace say what is wrong with the input, if the model has an inspector.

        Raises:
            ImageError: The photograph or the reference cannot be read.
            UsageError: Unknown mode or tool, no tool left, a limit below 1, views, a strength or a detail out
                of their range, or a reference of another size.
            ModelError: The model's weights lead to a NaN or an infinity.
            CancelledRestorationError: `cancel` was set.
        """
        source = as_photo(photo)
        if mode not in CHAINS:
            raise UsageError(f"unknown mode {mode!r}: expected {' or '.join(CHAINS)}")
        check_blend(strength, detail)
        choice = make_choice(self.runtime.tools.specs, chain, only, never)
        runtime = with_views(self.runtime, views := number_of_views(views))
        limit, monitor = self.limit(mode, max_steps, choice), Monitor(progress, cancel)
        truth = None if reference is None else _read_reference(reference, source)
        # A damaged model's weights may overflow: that is found at the end.
        with self.turn, np.errstate(over="ignore", invalid="ignore"):
            as_it_is = strength == 1 and detail == 0
            original = None if as_it_is and not keep_original else copy_original(source)
            image = to_change(source, copied=source is photo and not in_place)
            put_back = cover_hidden_(image, source.alpha)
            clean = None if truth is None else _to_measure(truth, source)
            steps = CHAINS[mode](runtime.tools, runtime.agent, image, limit, monitor, choice)
            begun = replace(self._begin_trace(mode, source, image, choice, inspect), views=views)
            trace = _follow(steps, image, clean, begun, keep_steps)
            put_back()
            monitor.end()
            check_finite(self.name, image, [step.expected_gain_db or 0.0 for step in trace.steps])
            result = with_planes(source, image)
            parts = None if original is None else Parts(original, result.pixels)
            done = Restoration(result, trace, as_given(photo), parts)
            return done if as_it_is else _measured(done.blended(strength, detail), clean)

    def _begin_trace(self, mode: str, source: Photo, image: Floats, choice: Choice, inspect: bool) -> Trace:
        """Return what is known before the first step; `image` is the input, `(1, 3, H, W)`."""
        return Trace(
            mode,
            self.name,
            source.width,
            source.height,
            steps=(),
            left_out=tuple(self.runtime.tools.names[index] for index in choice.left_out),
            precision=self.runtime.precision,
            inspection=self.inspector.inspect_planes(image) if inspect and self.inspector else None,
        )

    def limit(self, mode: str, max_steps: int | None, choice: Choice) -> int:
        """Return how many tools to apply at most.

        Raises:
            UsageError: It is below 1, or does not go with the chain; or a chain is given in local mode.
        """
        if choice.chain is not None:
            if max_steps is not None or mode != "global":
                raise UsageError("a chain goes with neither local mode nor max_steps: leave them out")
            return len(choice.chain)
        limit = self.runtime.agent.max_steps if max_steps is None else max_steps
        if limit < 1:
            raise UsageError(f"expected max_steps of at least 1, got {limit}")
        return limit


def _read_reference(reference: PhotoLike, source: Photo) -> Photo:
    """Read a reference.

    Raises:
        ImageError: It cannot be read.
        UsageError: It is of another size than the photograph.
    """
    truth = as_photo(reference)
    if truth.pixels.shape != source.pixels.shape:
        raise UsageError(
            f"expected a reference of the image's size, {source.width}×{source.height} pixels, "
            f"got {truth.width}×{truth.height}"
        )
    return truth


def _to_measure(truth: Photo, source: Photo) -> Floats:
    """Return a reference as `(1, 3, H, W)`, the pixels that the photograph hides covered as there."""
    clean = to_planes(truth)
    if source.alpha is None:
        return clean
    clean = clean.copy(order="K")
    cover_hidden_(clean, source.alpha)
    return clean


def _measured(blend: Restoration, clean: Floats | None) -> Restoration:
    """Return a blend with its PSNR and its frame in the trace, where the trace has any."""
    image = to_planes(blend.photo)
    psnr_db = None if clean is None else photo_psnr_db(image, clean)
    frame = to_frame(image) if blend.trace.frames else None
    return replace(blend, trace=replace(blend.trace, blend_psnr_db=psnr_db, blend=frame))


def _follow(chain: Chain, image: Floats, clean: Floats | None, trace: Trace, keep_steps: bool) -> Trace:
    """Run a chain to its end.

    Args:
        chain: The steps to come.
        image: `(1, 3, H, W)` the input, which the chain changes.
        clean: The reference, None without one.
        trace: What is known before the first step.
        keep_steps: Whether the trace keeps the photograph after every step.

    Returns:
        The trace with all steps.
    """

    def measured() -> float | None:
        return None if clean is None else photo_psnr_db(image, clean)

    start_psnr_db = measured()
    frames = [to_frame(image)] if keep_steps else []
    steps: list[TraceStep] = []
    for _, step in chain:
        steps.append(replace(step, psnr_db=measured()))
        if keep_steps and step.tool != STOP_NAME:
            frames.append(to_frame(image))
    return replace(
        trace,
        steps=tuple(steps),
        start_psnr_db=start_psnr_db,
        frames=tuple(frames),
        reference=to_frame(clean) if keep_steps and clean is not None else None,
    )


def restore(
    photo: PhotoLike,
    reference: "PhotoLike | None" = None,
    *,
    mode: str = "global",
    max_steps: int | None = None,
    model: str | os.PathLike[str] = "default",
    device: str = "cpu",
    precision: Precision = "auto",
    chain: Sequence[str] = (),
    only: Sequence[str] = (),
    never: Sequence[str] = (),
    views: int = 1,
    strength: float = 1.0,
    detail: float = 0.0,
    progress: bool | Report = False,
    cancel: Event | None = None,
) -> Restoration:
    """Restore one photograph with a shipped model or another one.

    For many photographs make one `Restorer` and call its `restore`: this reads the model each time.

    Args:
        photo: As in `Restorer.restore`, like `reference`, `mode` and `max_steps`.
        reference: The same photograph undamaged, to measure against.
        mode: `global` or `local`.
        max_steps: Tools to apply at most.
        model: As in `Restorer.from_pretrained`, like `device` and `precision`.
        device: Where to compute.
        precision: In which the tools compute.
        chain: As in `Restorer.restore`, like `only`, `never`, `strength` and `detail`.
        only: Tools to choose among.
        never: Tools not to choose.
        views: On how many, turned and mirrored, a tool works.
        strength: How much of the change is kept, from 0 to 1.
        detail: How much of the fine detail that the chain took away is brought back, from 0 to 1.
        progress: As in `Restorer.restore`, like `cancel`.
        cancel: What ends it early.
    """
    restorer = Restorer.from_pretrained(model, device, precision)
    return restorer.restore(
        photo,
        reference,
        mode,
        max_steps,
        chain=chain,
        only=only,
        never=never,
        views=views,
        strength=strength,
        detail=detail,
        progress=progress,
        cancel=cancel,
    )
