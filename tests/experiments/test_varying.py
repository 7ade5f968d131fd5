"""Degradation that varies over a photograph: its draws and its effect by place."""

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from experiments.varying import KINDS, VaryingDegradation, apply_varying, draw_varying, vary
from rlrestore.errors import UsageError
from rlrestore.imaging.degradation.libjpeg import degrade_pixels, jpeg_round_trip
from rlrestore.imaging.degradation.mixtures import BLUR_STEP_PX, LEVELS, NOISE_STEP_255


@settings(max_examples=60)
@given(
    kind=st.sampled_from(KINDS),
    height=st.integers(63, 200),
    width=st.integers(63, 200),
    seed=st.integers(0, 999),
)
def test_amounts_lie_in_the_protocols_ranges(kind: str, height: int, width: int, seed: int) -> None:
    degradation = draw_varying(kind, height, width, np.random.default_rng(seed))

    assert degradation.share.shape == (height, width)
    assert degradation.share.dtype == np.float32
    assert degradation.share.min() == 0
    assert degradation.share.max() == (0 if kind.startswith("uniform") else 1)
    for blur_sigma_px, noise_sigma_255 in (degradation.here, degradation.there):
        assert 0 <= blur_sigma_px <= LEVELS * BLUR_STEP_PX
        assert 0 <= noise_sigma_255 <= LEVELS * NOISE_STEP_255
    assert 10 <= degradation.jpeg_quality <= 100


def test_halves_are_halves_and_ramps_are_straight() -> None:
    for seed in range(20):
        half = draw_varying("halves", 100, 140, np.random.default_rng(seed))
        ramp = draw_varying("noise-gradient", 100, 140, np.random.default_rng(seed)).share

        assert set(np.unique(half.share)) == {0, 1}
        assert half.share.mean() == pytest.approx(0.5, abs=0.02)
        assert half.here[0] == half.there[1] == 0
        for axis in (0, 1):
            assert np.abs(np.diff(ramp, n=2, axis=axis)).max() < 1e-5


def test_left_and_right_are_as_they_say() -> None:
    for seed in range(20):
        one = draw_varying("left-right", 100, 141, np.random.default_rng(seed))

        assert (one.share[:, :70] == 0).all()
        assert (one.share[:, 70:] == 1).all()
        assert one.jpeg_quality == 85
        assert one.here[0] == one.there[1] == 0
        assert 20 <= one.here[1] <= 45
        assert 1.5 <= one.there[0] <= 3.5


def test_noise_alone_is_the_same_everywhere() -> None:
    one = draw_varying("uniform-noise", 70, 90, np.random.default_rng(0))

    assert one.here == one.there
    assert one.here[0] == 0
    assert one.here[1] >= 25


def test_the_subject_is_in_the_picture_and_its_edge_is_soft() -> None:
    for seed in range(20):
        share = draw_varying("background", 200, 300, np.random.default_rng(seed)).share

        assert 0.1 < (share == 0).mean() < 0.5
        assert np.abs(np.diff(share, axis=1)).max() < 0.25
        assert share[[0, -1]].min() == share[:, [0, -1]].min() == 1


def test_each_end_is_the_protocols_own_degradation(photograph: npt.NDArray[np.uint8]) -> None:
    share = np.zeros(photograph.shape[:2], np.float32)
    for full, amounts in ((0, (1.5, 20.0)), (1, (3.0, 0.0))):
        degradation = VaryingDegradation((1.5, 20.0), (3.0, 0.0), share + np.float32(full), 70, noise_seed=5)
        expected = degrade_pixels(photograph, *amounts, 70, np.random.default_rng(5))

        np.testing.assert_array_equal(apply_varying(photograph, degradation), expected)


def test_noise_grows_with_the_map_in_a_straight_line() -> None:
    grey = np.full((256, 512, 3), 128, np.uint8)
    share = np.broadcast_to(np.linspace(0, 1, 512, dtype=np.float32), (256, 512))
    noisy = apply_varying(grey, VaryingDegradation((0, 10), (0, 40), share, 100, noise_seed=0))

    for left in range(0, 512, 64):
        part = noisy[:, left : left + 64, 1].std()
        # JPEG keeps half of the noise of the colour differences at most; the shares of green are known.
        assert part == pytest.approx((10 + 30 * (left + 32) / 512) * 0.79, rel=0.1)


def test_the_whole_photograph_is_one_file(photograph: npt.NDArray[np.uint8]) -> None:
    share = np.zeros(photograph.shape[:2], np.float32)
    share[:, 80:] = 1
    degraded = apply_varying(photograph, VaryingDegradation((0, 0), (4, 0), share, 60, noise_seed=0))

    np.testing.assert_array_equal(degraded[:, :64], jpeg_round_trip(photograph, 60)[:, :64])


def test_the_same_seed_gives_the_same_photograph(photograph: npt.NDArray[np.uint8]) -> None:
    for kind in KINDS:
        first, again, other = (vary(photograph, kind, seed) for seed in ((1, 2), (1, 2), (1, 3)))

        np.testing.assert_array_equal(first, again)
        assert (first != other).any()


def test_what_cannot_be_made_is_refused(photograph: npt.NDArray[np.uint8]) -> None:
    with pytest.raises(UsageError, match="'rain': expected one of left-right, halves, noise-gradient"):
        vary(photograph, "rain", 0)
    degradation = draw_varying("halves", 10, 10, np.random.default_rng(0))
    with pytest.raises(ValueError, match=r"a map of the photograph's \(128, 160\), got \(10, 10\)"):
        apply_varying(photograph, degradation)
