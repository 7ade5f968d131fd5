"""Synthetic videos, and how much their neighbouring frames differ."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from experiments.video_clips import Clip, clips_of, differences, measure, psnr_db, read_frames, write_frames
from tests.rules import always, restorer


def test_a_pan_is_moved_back_and_a_cut_is_left_out(
    make_photograph: Callable[..., npt.NDArray[np.uint8]],
) -> None:
    one, other = (make_photograph(80, 120, seed).astype(float) for seed in range(2))

    for clip in clips_of(one, other, frames=8, side=64):
        apart = differences(clip, clip.clean)
        assert len(apart) == 7
        assert np.nanmax(apart) == 0
        assert [number for number, value in enumerate(apart, 1) if np.isnan(value)] == (
            [4] if clip.cut else []
        )


def test_differences_are_root_mean_squares() -> None:
    frames = [np.zeros((4, 4, 3)), np.full((4, 4, 3), 3.0)]

    assert differences(Clip("still", tuple(frames)), frames) == [3.0]
    assert psnr_db([frames[1]], [frames[0]]) == pytest.approx(20 * np.log10(255 / 3))


def test_frames_are_written_and_read(tmp_path: Path) -> None:
    frames = [np.full((32, 48, 3), level, float) for level in (40.0, 200.0)]

    write_frames(tmp_path / "a.mp4", frames, crf=0)

    for frame, read in zip(frames, read_frames(tmp_path / "a.mp4"), strict=True):
        np.testing.assert_allclose(read, frame, atol=2)


def test_a_clip_is_measured_three_ways(tmp_path: Path) -> None:
    clip = Clip("still", (np.full((64, 64, 3), 100.0),) * 4)

    came, alone, scenes = measure(
        restorer([0.1], always(1.0), max_steps=1), clip, lambda frame: frame - 25.5, tmp_path
    )

    assert [row.form for row in (came, alone, scenes)] == ["as it came", "frame by frame", "scene by scene"]
    assert came.psnr_db == pytest.approx(20, abs=0.6)
    assert min(alone.psnr_db, scenes.psnr_db) > 40
    assert (alone.chains, scenes.chains) == (1, 1)
    assert max(scenes.differences) < 0.5
