"""What Python code may hand in as a photograph."""

import pickle  # noqa: TID251  # to show that other programs may
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image

from rlrestore.errors import ImageError, UsageError
from rlrestore.inference.photos import PhotoLike, as_given, as_photo, to_frame, to_planes, with_planes


@pytest.mark.parametrize(
    ("photo", "error", "message"),
    [
        (np.zeros((20, 30, 4), np.uint8), UsageError, r"array \(H, W, 3\) or \(H, W\), got \(20, 30, 4\)"),
        (np.zeros((20, 30, 3), np.int64), UsageError, "expected uint8, uint16 or floats .* got int64"),
        (np.full((20, 30, 3), np.nan), UsageError, "got a NaN or an infinity"),
        (np.full((20, 30, 3), 255.0), UsageError, r"floats in \[0, 1\], got 255 to 255"),
        (np.zeros((7, 30, 3), np.uint8), ImageError, "at least 8×8 pixels, got 30×7"),
        (torch.zeros(2, 3, 20, 20), UsageError, r"tensor \(3, H, W\).* got \(2, 3, 20, 20\)"),
        (3, UsageError, "expected a path, a Photo, a Pillow image, an array or a tensor, got int"),
    ],
)
def test_what_is_no_photograph_is_refused(photo: PhotoLike, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        as_photo(photo)


def test_a_pillow_image_of_unknown_range_is_refused() -> None:
    with pytest.raises(ImageError, match="got mode I: convert it to I;16 or L"):
        as_photo(Image.new("I", (20, 30)))


def test_the_order_of_bytes_does_not_matter() -> None:
    grey = np.full((9, 10), 1000, np.uint16)
    np.testing.assert_array_equal(as_photo(grey.astype(">u2")).pixels, as_photo(grey).pixels)


def test_greyscale_and_depth_are_remembered() -> None:
    photo = as_photo(np.full((9, 10), 65535, np.uint16))

    assert photo.greyscale
    assert photo.depth_bits == 16
    assert photo.pixels.shape == (9, 10, 3)
    assert photo.pixels.min() == 1.0


def test_a_photo_becomes_planes_and_comes_back_clipped() -> None:
    pixels = np.arange(9 * 10 * 3, dtype=np.float32).reshape(9, 10, 3) / 270
    photo = as_photo(pixels)
    image = to_planes(photo)

    assert image.shape == (1, 3, 9, 10)
    assert float(image[0, 2, 4, 5]) == pixels[4, 5, 2]
    np.testing.assert_allclose(with_planes(photo, image + 0.5).pixels, (pixels + 0.5).clip(0, 1), atol=1e-6)
    np.testing.assert_array_equal(
        to_frame(image * 2), np.rint((pixels * 2).clip(0, 1) * 255).astype(np.uint8)
    )


GREY = np.full((9, 10), 32768, np.uint16)
COLOURS = np.arange(9 * 10 * 3, dtype=np.uint8).reshape(9, 10, 3)
FLOATS = COLOURS / np.float32(255)
PLANES = torch.from_numpy(FLOATS).permute(2, 0, 1)


@pytest.mark.parametrize("array", [GREY, COLOURS, FLOATS, FLOATS.astype(np.float64), FLOATS[..., 0]])
def test_an_array_is_given_back_as_an_array(array: npt.NDArray[Any]) -> None:
    back = as_given(array)(as_photo(array))

    assert back.dtype == array.dtype
    np.testing.assert_allclose(back, array, atol=1e-7)


@pytest.mark.parametrize(
    "tensor",
    [PLANES, PLANES[None], PLANES.bfloat16(), PLANES.double(), torch.from_numpy(COLOURS).permute(2, 0, 1)],
)
def test_a_tensor_is_given_back_as_a_tensor(tensor: torch.Tensor) -> None:
    torch.testing.assert_close(as_given(tensor)(as_photo(tensor)), tensor)


def test_all_else_is_given_back_as_a_pillow_image(tmp_path: Path) -> None:
    colours = Image.fromarray(COLOURS)
    colours.save(tmp_path / "photo.png")
    for source in (colours, tmp_path / "photo.png", as_photo(COLOURS)):
        np.testing.assert_array_equal(as_given(source)(as_photo(source)), COLOURS)
    for mode in ("L", "RGBA", "P"):
        back = as_given(colours)(as_photo(colours.convert(mode)))
        assert back.mode == ("RGB" if mode == "P" else mode)


def test_a_pillow_image_keeps_what_it_knows_of_its_file(tmp_path: Path) -> None:
    """Lying on its side, with a profile: it comes upright, and the profile with it."""
    exif = Image.Exif()
    exif[274] = 6
    Image.fromarray(COLOURS).save(tmp_path / "photo.png", exif=exif, icc_profile=b"profile")
    with Image.open(tmp_path / "photo.png") as image:
        photo = as_photo(image)

    assert photo.pixels.shape == (10, 9, 3)
    assert photo.icc_profile == b"profile"
    with pytest.raises(
        ImageError, match="expected an image of at least 8×8 pixels, but the Pillow image is 7×9"
    ):
        as_photo(Image.new("RGB", (7, 9)))


@pytest.mark.parametrize(
    "source",
    [
        np.full((9, 10, 3), 7, np.uint16),
        np.full((9, 10), 0.5, ">f8"),
        torch.full((1, 3, 9, 10), 0.25, dtype=torch.bfloat16),
        Image.new("L", (10, 9), 80),
    ],
)
def test_what_makes_the_kind_that_was_given_can_be_pickled(source: Any) -> None:
    copy = pickle.loads(pickle.dumps(as_given(source)))  # noqa: S301  # its own bytes
    photo = as_photo(source)
    made, expected = copy(photo), as_given(source)(photo)
    assert type(made) is type(source)
    if isinstance(made, torch.Tensor):
        torch.testing.assert_close(made, source)
    else:
        np.testing.assert_array_equal(np.asarray(made), np.asarray(expected))
