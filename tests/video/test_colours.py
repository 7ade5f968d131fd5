"""Between the samples of a video's frames and RGB."""

from fractions import Fraction
from typing import Any

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlrestore.video.colours import SHRUNK, Coding, changed_planes, fewer_bits, planes_of, to_rgb, with_planes
from rlrestore.video.reading import usable

HD = Coding("yuv420p", 8, matrix=1, full=False)


def planes(coding: Coding, *values: int, height: int = 8, width: int = 12) -> list[Any]:
    down, across = SHRUNK[coding.layout]
    dtype = np.uint8 if coding.bits == 8 else np.uint16
    sizes = [(height, width), *[(height // down, width // across)] * 2]
    return [np.full(size, value, dtype) for size, value in zip(sizes, values, strict=True)]


@pytest.mark.parametrize(
    ("coding", "samples"),
    [
        (HD, (63, 102, 240)),  # red of BT.709 and BT.601 as their tables of colour bars have it
        (Coding("yuv420p", 8, matrix=6, full=False), (81, 90, 240)),
        (Coding("yuv444p", 10, matrix=1, full=False), (250, 409, 960)),
        (Coding("yuv422p", 8, matrix=5, full=True), (76, 85, 255)),
    ],
)
def test_red_is_red(coding: Coding, samples: tuple[int, int, int]) -> None:
    rgb = to_rgb(planes(coding, *samples), coding)

    assert rgb.shape == (1, 3, 8, 12)
    assert rgb.dtype == np.float32
    np.testing.assert_allclose(rgb.mean(axis=(0, 2, 3)), (1, 0, 0), atol=0.006)


def test_black_and_white_are_the_ends() -> None:
    assert to_rgb(planes(HD, 16, 128, 128), HD) == pytest.approx(0, abs=1e-6)
    assert to_rgb(planes(HD, 235, 128, 128), HD) == pytest.approx(1, abs=1e-6)
    full = Coding("yuv420p", 8, matrix=1, full=True)
    assert to_rgb(planes(full, 255, 128, 128), full) == pytest.approx(1, abs=1e-6)


@given(st.sampled_from(sorted(SHRUNK)), st.sampled_from([8, 10]), st.integers(0, 99))
def test_what_does_not_change_stays_sample_for_sample(layout: str, bits: int, seed: int) -> None:
    coding, rng = Coding(layout, bits, matrix=1, full=False), np.random.default_rng(seed)
    came = [rng.integers(0, 2**bits, plane.shape).astype(plane.dtype) for plane in planes(coding, 0, 0, 0)]
    image = to_rgb(came, coding)

    after = changed_planes(came, np.zeros_like(image), coding)

    for one, other in zip(came, after, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_brighter_frame_is_brighter_and_no_other_colour() -> None:
    came = planes(HD, 100, 90, 140)

    after = changed_planes(came, np.full((1, 3, 8, 12), 0.1, np.float32), HD)

    assert [set(plane.ravel().tolist()) for plane in after] == [{122}, {90}, {140}]  # 100 + 0.1 · 219


def test_a_change_arrives_as_it_was_meant() -> None:
    coding, rng = Coding("yuv444p", 10, matrix=9, full=False), np.random.default_rng(0)
    came: list[Any] = [rng.integers(300, 700, (8, 12)).astype(np.uint16) for _ in range(3)]
    change = rng.uniform(-0.1, 0.1, (1, 3, 8, 12)).astype(np.float32)

    after = to_rgb(changed_planes(came, change, coding), coding)

    np.testing.assert_allclose(after, to_rgb(came, coding) + change, atol=2 / 1023)


@pytest.mark.parametrize("layout", ["yuv420p", "yuv422p"])
def test_noise_of_the_colours_can_be_taken_away(layout: str) -> None:
    coding, rng = Coding(layout, 8, matrix=1, full=False), np.random.default_rng(0)
    came = [rng.integers(90, 160, plane.shape).astype(np.uint8) for plane in planes(coding, 0, 0, 0)]
    image = to_rgb(came, coding)

    after = changed_planes(came, 0.6 - image, coding)

    assert [set(plane.ravel().tolist()) for plane in after] == [{147}, {128}, {128}]  # 16 + 0.6 · 219


def test_fewer_bits_are_the_same_colours() -> None:
    deep = Coding("yuv444p", 10, matrix=1, full=False)

    found, coding = fewer_bits(planes(deep, 250, 409, 960), deep, 8)

    assert (coding.bits, coding.format) == (8, "yuv444p")
    assert [int(plane[0, 0]) for plane in found] == [62, 102, 240]


def frame(layout: str, height: int = 48, colorspace: int = 2) -> Any:
    made: Any = av.VideoFrame(64, height, layout)
    made.colorspace, made.pts, made.time_base = colorspace, 7, Fraction(1, 25)
    for plane in made.planes:
        plane.update(bytes([90]) * plane.buffer_size)
    return made


def test_a_video_that_does_not_say_its_colours_is_taken_as_players_do() -> None:
    assert Coding.of(frame("yuv420p")) == Coding("yuv420p", 8, matrix=5, full=False)
    assert Coding.of(frame("yuv420p", 720)) == Coding("yuv420p", 8, matrix=1, full=False)
    assert Coding.of(frame("yuv420p", colorspace=9)) == Coding("yuv420p", 8, matrix=9, full=False)
    assert Coding.of(frame("yuvj420p", colorspace=1)) == Coding("yuv420p", 8, matrix=1, full=True)
    assert Coding.of(frame("rgb24")) is None


def test_planes_go_into_a_frame_and_come_out() -> None:
    coding = Coding("yuv420p", 10, matrix=1, full=False)
    came: list[Any] = [
        np.arange(plane.size, dtype=np.uint16).reshape(plane.shape) for plane in planes(coding, 0, 0, 0)
    ]

    made = with_planes(av, frame("yuv420p"), came, coding)

    assert made.pts == 7
    for one, other in zip(came, planes_of(made, coding), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("layout", ["rgb24", "bgra", "gray", "yuv411p", "nv12"])
def test_other_formats_become_ones_that_can_be_worked_on(layout: str) -> None:
    turned, coding = usable(frame(layout))

    assert coding.layout in SHRUNK
    assert turned.pts == 7
    found = to_rgb(planes_of(turned, coding), coding)[0].transpose(1, 2, 0).clip(0, 1)
    by_ffmpeg = frame(layout).reformat(format="rgb24").to_ndarray() / 255
    np.testing.assert_allclose(found, by_ffmpeg, atol=0.015)
