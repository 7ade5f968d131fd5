"""Whole videos, small enough to know every sample."""

import importlib.util
import math
from collections.abc import Container
from pathlib import Path
from threading import Event
from typing import Any

import av
import numpy as np
import pytest

from rlrestore.errors import CancelledRestorationError, ImageError, ModelError, UsageError
from rlrestore.imaging.progress import Progress
from rlrestore.restorer import Restorer
from rlrestore.video.restoring import VideoRestoration, restore_video
from tests.clips import brightness, frames_of, grey, sound_of, times_of, write_clip
from tests.rules import always, dark_only, restorer, sloping

UNEVEN_MS = [0, 40, 65, 140, 141, 300, 420, 460, 470, 560]


def brighter() -> Restorer:
    """A model that brightens once by 0.1, 22 steps of the brightness."""
    return restorer([0.1], always(1.0), max_steps=1)


def idle() -> Restorer:
    return restorer([0.1], always(-1.0))


def restored(source: Path, model: Restorer, name: str = "out.mp4", **options: Any) -> VideoRestoration:
    return restore_video(source, source.with_name(name), model, quality=100, **options)


def levels(path: Path) -> list[int]:
    return [round(float(brightness(frame).mean())) for frame in frames_of(path)]


def test_times_and_sound_stay(tmp_path: Path) -> None:
    source = write_clip(tmp_path / "a.mp4", [grey(100)] * 10, UNEVEN_MS, sound="aac")

    done = restored(source, brighter())

    assert done.frames == 10
    assert done.notes == ()
    assert times_of(done.output) == times_of(source) == [at / 1000 for at in UNEVEN_MS]
    assert sound_of(done.output) == sound_of(source)
    assert len(sound_of(source)) > 10


def test_every_frame_is_restored_alike(tmp_path: Path) -> None:
    source = write_clip(tmp_path / "a.mp4", [grey(100)] * 6)

    assert set(levels(restored(source, brighter()).output)) == {122}
    assert set(levels(restored(source, brighter(), strength=0.5).output)) == {111}
    assert set(levels(restored(source, brighter(), chain=["deblur-1"] * 2).output)) == {144}


def test_a_tool_works_on_several_views_of_a_frame(tmp_path: Path) -> None:
    source = write_clip(tmp_path / "a.mkv", [grey(100)] * 2)
    for views, rise in ((1, 44), (8, 0)):
        done = restored(source, sloping(), f"{views}.mkv", views=views)
        for frame in frames_of(done.output):
            left, right = brightness(frame).astype(float).mean(axis=0)[[0, -1]]
            assert right - left == pytest.approx(rise, abs=2)
        assert [scene.trace.to_json()["views"] for scene in done.scenes] == [views]


def test_what_no_tool_changes_comes_back_sample_for_sample(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    pictures = [rng.integers(0, 256, (48, 64)).astype(np.uint8) for _ in range(5)]
    source = write_clip(tmp_path / "a.mkv", pictures)

    done = restored(source, idle(), "out.mkv")

    for picture, frame in zip(pictures, frames_of(done.output), strict=True):
        np.testing.assert_array_equal(brightness(frame), picture)


def test_a_cut_begins_another_chain(tmp_path: Path) -> None:
    source = write_clip(tmp_path / "a.mp4", [grey(60)] * 10 + [grey(180)] * 10)

    done = restored(source, restorer([0.1], dark_only, max_steps=1))

    assert [(scene.first, scene.frames, scene.begins) for scene in done.scenes] == [
        (0, 10, "start"),
        (10, 10, "cut"),
    ]
    assert [scene.trace.tools for scene in done.scenes] == [("deblur-1",), ()]
    assert done.scenes[1].start_s == pytest.approx(0.4)
    assert levels(done.output) == [82] * 10 + [180] * 10


def test_colours_shape_and_rotation_stay(tmp_path: Path) -> None:
    source = write_clip(tmp_path / "a.mov", [grey(100)] * 3, rotation=90, full=True)

    done = restored(source, brighter(), "out.mov")

    with av.open(str(done.output)) as container:
        context: Any = container.streams.video[0].codec_context
        frame: Any = next(container.decode(video=0))
    assert (context.colorspace, context.color_primaries, context.color_trc, context.color_range) == (
        1,
        1,
        1,
        2,
    )
    assert (frame.width, frame.height, frame.rotation) == (64, 48, 90)
    assert levels(done.output) == [100 + 26] * 3  # 0.1 · 255: the whole range


def test_ten_bits_stay(tmp_path: Path) -> None:
    source = write_clip(tmp_path / "a.mp4", [grey(100)] * 3, layout="yuv420p10le")

    done = restored(source, brighter())

    (frame, *_) = frames_of(done.output)
    assert frame.format.name == "yuv420p10le"
    assert set(levels(done.output)) == {488}  # 4 · 100 + 0.1 · 876


def test_odd_sizes_are_kept(tmp_path: Path) -> None:
    source = write_clip(tmp_path / "a.mkv", [grey(100, 49, 65)] * 3, layout="yuv444p")

    (frame, *_) = frames_of(restored(source, brighter(), "out.mkv").output)

    assert (frame.width, frame.height) == (65, 49)


def test_webm_is_vp9(tmp_path: Path) -> None:
    source = write_clip(tmp_path / "a.webm", [grey(100)] * 4, codec="libvpx-vp9", sound="libopus")

    done = restored(source, brighter(), "out.webm")

    with av.open(str(done.output)) as container:
        names = {stream.codec_context.name for stream in container.streams}
    assert names == {"vp9", "opus"}
    assert levels(done.output) == pytest.approx([122] * 4, abs=1)


def test_a_sound_that_the_container_cannot_hold_is_said_before_the_work(tmp_path: Path) -> None:
    source = write_clip(tmp_path / "a.mp4", [grey(100)] * 4, sound="aac")

    with pytest.raises(ImageError, match=r"out.webm' .*write .mkv"):
        restored(source, brighter(), "out.webm")
    assert not (tmp_path / "out.webm").exists()


def garbled(folder: Path, count: int, numbers: Container[int]) -> Path:
    """Write a video of so many frames, some of them not to be decoded."""
    source = write_clip(folder / "whole.mkv", [grey(100)] * count, codec="mjpeg", layout="yuvj420p")
    broken = folder / "broken.mkv"
    with av.open(str(source)) as one, av.open(str(broken), "w") as other:
        copy = other.add_stream_from_template(one.streams.video[0])
        for number, packet in enumerate(one.demux(video=0)):
            if packet.pts is None:
                continue
            kept = av.Packet(b"\0" * 40) if number in numbers else packet
            kept.pts, kept.dts, kept.time_base = packet.pts, packet.dts, packet.time_base
            kept.stream = copy
            other.mux(kept)
    return broken


def test_broken_frames_are_left_out_and_said(tmp_path: Path) -> None:
    done = restored(garbled(tmp_path, 9, {4}), brighter(), "out.mkv")

    assert done.notes == ("1 frame at 0.16 s cannot be decoded and left out: the one before stands longer",)
    assert times_of(done.output) == [0.0, 0.04, 0.08, 0.12, 0.2, 0.24, 0.28, 0.32]
    assert levels(done.output) == pytest.approx([126] * 8, abs=1)


def test_what_is_whole_of_a_cut_short_video_is_restored(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    pictures = [rng.integers(80, 120, (48, 64)).astype(np.uint8) for _ in range(40)]
    source = write_clip(tmp_path / "a.mkv", pictures, options={"g": "1"})
    short = tmp_path / "short.mkv"
    short.write_bytes(source.read_bytes()[: source.stat().st_size * 6 // 10])

    done = restored(short, brighter(), "out.mkv")

    assert 18 <= done.frames <= 25
    assert len(frames_of(done.output)) == done.frames
    missing_s = (40 - done.frames) / 25
    assert done.notes == (f"its pictures end {missing_s:.1f} s before it says it ends: it may be cut short",)
    assert restored(source, brighter(), "whole.mkv").notes == ()


def sound_alone(path: Path) -> Path:
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("aac", rate=48000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 4800), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 48000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def test_a_video_without_pictures_is_none(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="has no moving pictures"):
        restored(sound_alone(tmp_path / "a.mp4"), brighter())


def test_a_file_that_is_no_video_is_none(tmp_path: Path) -> None:
    source = tmp_path / "a.mp4"
    source.write_text("a diary")

    with pytest.raises(
        ImageError, match=r"to read the video .*a.mp4', but that failed \(.+\); get a fresh copy"
    ):
        restored(source, brighter())
    with pytest.raises(ImageError, match="No such file"):
        restored(tmp_path / "nothing.mp4", brighter())


def test_a_video_of_which_no_frame_can_be_decoded_is_none(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="no frame that can be decoded"):
        restored(garbled(tmp_path, 3, range(3)), brighter())
    assert not (tmp_path / "out.mp4").exists()


def test_a_model_that_leads_to_no_number_leaves_no_video(tmp_path: Path) -> None:
    source = write_clip(tmp_path / "a.mp4", [grey(100)] * 3)
    model = restorer([math.nan], always(1.0), max_steps=1)

    with pytest.raises(ModelError, match="finite numbers from the model 'toy', got a NaN or an infinity"):
        restored(source, model, chain=["deblur-1"])
    assert not (tmp_path / "out.mp4").exists()


def test_interlaced_frames_are_refused(tmp_path: Path) -> None:
    options = {"x264-params": "interlaced=1"}
    source = write_clip(tmp_path / "a.mkv", [grey(100)] * 3, options=options)

    with pytest.raises(ImageError, match="interlaced; deinterlace it first"):
        restored(source, brighter())


def test_without_pyav_it_is_said_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "av" else find(name))

    with pytest.raises(ImageError, match=r"takes PyAV, the extra video: pip install"):
        restored(tmp_path / "a.mp4", brighter())


def test_a_pictures_name_is_no_videos(tmp_path: Path) -> None:
    source = write_clip(tmp_path / "a.mp4", [grey(100)])

    with pytest.raises(ImageError, match=r"expected a video's name, .* but got .*out.png"):
        restored(source, brighter(), "out.png")
    with pytest.raises(UsageError, match="is the video itself"):
        restored(source, brighter(), "a.mp4")


def test_nothing_is_left_of_what_was_ended(tmp_path: Path) -> None:
    source = write_clip(tmp_path / "a.mp4", [grey(100)] * 20)
    (tmp_path / "out.mp4").write_bytes(b"an earlier result")
    cancel, seen = Event(), []

    def follow(progress: Progress) -> None:
        seen.append(progress.share)
        if progress.share > 0.5:
            cancel.set()

    with pytest.raises(CancelledRestorationError, match="was cancelled"):
        restored(source, brighter(), progress=follow, cancel=cancel)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.mp4", "out.mp4"]
    assert (tmp_path / "out.mp4").read_bytes() == b"an earlier result"
    assert seen == sorted(seen)


def test_progress_ends_at_one(tmp_path: Path) -> None:
    seen: list[Progress] = []

    restored(write_clip(tmp_path / "a.mp4", [grey(100)] * 7), brighter(), progress=seen.append)

    assert len(seen) == 14  # seven that it looks at, seven that it restores
    assert (seen[-1].share, seen[-1].step, seen[-1].steps) == (1.0, 7, 7)
