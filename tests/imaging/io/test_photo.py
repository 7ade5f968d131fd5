"""The photograph in memory: conversions of samples, and what a Photo refuses."""

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlrestore.imaging.io.photo import Photo
from rlrestore.imaging.io.samples import to_floats, to_integers


def _pixels(height: int = 9, width: int = 12) -> npt.NDArray[np.float32]:
    return np.random.default_rng(0).random((height, width, 3), np.float32)


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_every_sample_survives_the_way_to_float_and_back(kind: type[np.unsignedinteger]) -> None:
    samples = np.arange(np.iinfo(kind).max + 1, dtype=kind).reshape(16, -1, 1)
    floats = to_floats(samples)
    assert floats.dtype == np.float32
    assert (floats.min(), floats.max()) == (0.0, 1.0)
    np.testing.assert_array_equal(to_integers(floats, 8 * samples.itemsize), samples.repeat(3, axis=2))


def test_values_are_rounded_and_clipped() -> None:
    values = np.array([-1.0, 0.0, 0.49 / 255, 0.51 / 255, 1.0, 7.0, np.inf, -np.inf, np.nan], np.float32)
    assert to_integers(values).tolist() == [0, 0, 0, 1, 255, 255, 255, 0, 0]


@settings(max_examples=30, deadline=None)
@given(height=st.integers(1, 600), greyscale=st.booleans(), depth=st.sampled_from([8, 16]))
def test_samples_do_not_depend_on_the_bands_they_are_made_in(
    height: int, greyscale: bool, depth: int
) -> None:
    grey = np.random.default_rng(height).random((height, 3, 1), np.float32)
    photo = Photo(grey.repeat(3, axis=2), greyscale=greyscale, depth_bits=depth)
    expected = to_integers(grey, depth)
    np.testing.assert_array_equal(photo.samples(depth), expected if greyscale else expected.repeat(3, axis=2))


def test_greyscale_is_the_luma_of_the_channels() -> None:
    pixels = np.zeros((8, 8, 3), np.float32)
    pixels[..., 1] = 1.0
    assert (Photo(pixels, greyscale=True).samples(8) == round(0.587 * 255)).all()


@pytest.mark.parametrize(
    ("greyscale", "transparent", "mode"),
    [(False, False, "RGB"), (False, True, "RGBA"), (True, False, "L"), (True, True, "LA")],
)
def test_to_image_has_the_mode_of_the_file(greyscale: bool, transparent: bool, mode: str) -> None:
    alpha = np.full((9, 12), 77, np.uint8) if transparent else None
    image = Photo(_pixels(), alpha=alpha, greyscale=greyscale).to_image()
    assert (image.mode, image.size) == (mode, (12, 9))
    if transparent:
        assert image.getpixel((3, 3))[-1] == 77  # type: ignore[index]  # a tuple in these modes


def test_alpha_changes_its_depth_with_the_samples() -> None:
    alpha = np.full((9, 12), 257 * 100, np.uint16)
    photo = Photo(_pixels(), alpha=alpha, depth_bits=16)
    assert (photo.samples(8)[..., 3] == 100).all()
    eight = Photo(_pixels(), alpha=np.full((9, 12), 100, np.uint8))
    assert (eight.samples(16)[..., 3] == 257 * 100).all()


def test_with_pixels_keeps_all_else() -> None:
    photo = Photo(_pixels(), greyscale=True, icc_profile=b"profile", dpi=(72.0, 72.0), notes=("said",))
    other = photo.with_pixels(1 - photo.pixels)
    np.testing.assert_allclose(other.pixels, 1 - photo.pixels)
    assert (other.greyscale, other.icc_profile, other.dpi, other.notes) == (
        True,
        b"profile",
        (72.0, 72.0),
        ("said",),
    )


def test_with_pixels_refuses_another_size() -> None:
    with pytest.raises(ValueError, match=r"expected pixels of shape \(9, 12, 3\), got \(9, 11, 3\)"):
        Photo(_pixels()).with_pixels(_pixels(9, 11))


def test_a_photo_refuses_what_it_is_not() -> None:
    with pytest.raises(ValueError, match=r"expected float32 pixels of shape \(H, W, 3\), got float64"):
        Photo(np.zeros((8, 8, 3)))  # type: ignore[arg-type]  # the point of the test
    with pytest.raises(ValueError, match="expected depth_bits 8 or 16, got 12"):
        Photo(_pixels(), depth_bits=12)
    with pytest.raises(ValueError, match=r"expected alpha of shape \(9, 12\), got \(9, 11\)"):
        Photo(_pixels(), alpha=np.zeros((9, 11), np.uint8))
    with pytest.raises(ValueError, match="expected alpha of 8 bits, got uint16"):
        Photo(_pixels(), alpha=np.zeros((9, 12), np.uint16))
