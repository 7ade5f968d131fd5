"""Synthetic videos of photographs, and how much their neighbouring frames differ, before and after."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import numpy.typing as npt

from rlrestore.imaging.psnr import SMALLEST_MSE
from rlrestore.restorer import Restorer
from rlrestore.video.restoring import VideoRestoration, restore_video

RATE = 25
PAN_PX = 2
"""How far a pan moves from frame to frame."""
CRF = 18
"""Of the H.264 in which the clips come, as from a good camera."""

Picture = npt.NDArray[np.float64]
"""`(H, W, 3)` in steps of 8 bits."""


@dataclass(frozen=True)
class Clip:
    """A synthetic video.

    Attributes:
        name: What it shows.
        clean: Its frames before they are degraded.
        moves: By how many columns each frame stands left of the one before.
        cut: Number of the first frame of another scene; 0 without one.
    """

    name: str
    clean: tuple[Picture, ...]
    moves: int = 0
    cut: int = 0


def clips_of(one: Picture, other: Picture, frames: int, side: int) -> Iterator[Clip]:
    """Yield a still scene, a pan and a cut, of squares of two photographs."""
    still, next_still = one[:side, :side], other[:side, :side]
    yield Clip("still", (still,) * frames)
    starts = (PAN_PX * number for number in range(frames))
    yield Clip("pan", tuple(one[:side, start : start + side] for start in starts), moves=PAN_PX)
    half = frames // 2
    yield Clip("cut", (still,) * half + (next_still,) * (frames - half), cut=half)


def degraded(
    clean: Picture, blur_sigma_px: float, noise_sigma_255: float, rng: np.random.Generator
) -> Picture:
    """Return a frame with blur and noise of its own."""
    blurred = cv2.GaussianBlur(clean, (0, 0), blur_sigma_px) if blur_sigma_px else clean
    noisy: Picture = blurred + rng.normal(0, noise_sigma_255, clean.shape)
    return noisy.clip(0, 255)


def write_frames(path: Path, frames: Sequence[Picture], crf: int = CRF) -> None:
    """Write H.264 of BT.709."""
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("libx264", rate=RATE, options={"crf": str(crf)})
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        context = stream.codec_context
        context.colorspace = context.color_primaries = context.color_trc = context.color_range = 1
        context.time_base = Fraction(1, RATE)
        for number, picture in enumerate(frames):
            pixels = picture.round().astype(np.uint8)
            frame: Any = av.VideoFrame.from_ndarray(pixels, "rgb24")
            frame = frame.reformat(
                format="yuv420p", dst_colorspace="ITU709", src_color_range=2, dst_color_range=1
            )
            frame.pts, frame.time_base = number, Fraction(1, RATE)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def read_frames(path: Path) -> list[Picture]:
    """Read the frames of a video of BT.709."""
    with av.open(str(path)) as container:
        return [
            frame.reformat(format="rgb24", src_colorspace="ITU709").to_ndarray().astype(np.float64)
            for frame in container.decode(video=0)
        ]


def scene_by_scene(restorer: Restorer, source: Path, output: Path) -> tuple[list[Picture], VideoRestoration]:
    """Restore a video as the program does, without loss in what is written."""
    done = restore_video(source, output, restorer, quality=100)
    return read_frames(output), done


def differences(clip: Clip, frames: Sequence[Picture]) -> list[float]:
    """Return the root mean square difference of neighbouring frames, a pan moved back; no value at a cut."""
    found = []
    for number in range(1, len(frames)):
        one, other = frames[number - 1], frames[number]
        if clip.moves:
            one, other = one[:, clip.moves :], other[:, : -clip.moves]
        apart = float(np.sqrt(np.square(other - one).mean()))
        found.append(float("nan") if clip.cut and number == clip.cut else apart)
    return found


def psnr_db(frames: Sequence[Picture], clean: Sequence[Picture]) -> float:
    """Return the mean PSNR of frames in dB."""
    errors = (np.square((one - other) / 255).mean() for one, other in zip(frames, clean, strict=True))
    return float(np.mean([-10 * np.log10(error + SMALLEST_MSE) for error in errors]))


@dataclass(frozen=True)
class Row:
    """One clip in one form.

    Attributes:
        clip: What it shows.
        form: `as it came`, `frame by frame` or `scene by scene`.
        differences: As `differences`.
        psnr_db: Against what it was before it was degraded.
        chains: Different chains that its frames went through.
    """

    clip: str
    form: str
    differences: tuple[float, ...]
    psnr_db: float
    chains: int


def measure(restorer: Restorer, clip: Clip, degrade: Callable[[Picture], Picture], folder: Path) -> list[Row]:
    """Degrade a clip, restore it both ways, and measure."""
    source = folder / f"{clip.name}.mp4"
    write_frames(source, [degrade(frame) for frame in clip.clean])
    came = read_frames(source)
    pictures = [frame.round().astype(np.uint8) for frame in came]
    alone = [restorer.restore(picture, keep_steps=False) for picture in pictures]
    single = [np.asarray(each.image, np.float64) for each in alone]
    scenes, done = scene_by_scene(restorer, source, folder / f"{clip.name}_restored.mp4")
    forms = (
        ("as it came", came, 0),
        ("frame by frame", single, len({each.trace.tools for each in alone})),
        ("scene by scene", scenes, len(done.scenes)),
    )
    return [
        Row(clip.name, form, tuple(differences(clip, frames)), psnr_db(frames, clip.clean), chains)
        for form, frames, chains in forms
    ]
