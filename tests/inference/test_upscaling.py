"""A photograph enlarged: in tiles, with what belongs to it."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import rlrestore
from rlrestore.errors import ImageError, UsageError
from rlrestore.imaging.io.decoding import from_image
from rlrestore.imaging.io.files import read_photo
from rlrestore.imaging.io.photo import Photo
from rlrestore.imaging.psnr import photo_psnr_db
from rlrestore.inference import upscaling
from rlrestore.inference.photos import to_planes
from rlrestore.inference.upscaling import enlarged
from rlrestore.toolbox.upscaler import Upscaler, load_upscaler, save_upscaler
from rlrestore.trace import Trace


def noise(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random((height, width, 3)).astype(np.float32)


@pytest.mark.parametrize("scale", [2, 3])
def test_tiles_leave_no_mark(monkeypatch: pytest.MonkeyPatch, scale: int) -> None:
    monkeypatch.setattr(upscaling, "TILE", 40)
    pixels = noise(70, 91)

    found = enlarged(Photo(pixels), scale).pixels

    whole = load_upscaler(Path("nowhere"))(torch.from_numpy(pixels.transpose(2, 0, 1).copy())[None], scale)
    np.testing.assert_allclose(found, whole[0].permute(1, 2, 0).clamp(0, 1).numpy(), atol=1e-5)


@pytest.mark.parametrize("scale", [2, 3])
@pytest.mark.parametrize("name", ["coffee", "chelsea", "street"])
def test_the_shipped_tool_beats_lanczos(root: Path, name: str, scale: int) -> None:
    with Image.open(root / "examples" / "clean" / f"{name}.png") as image:
        clean = image.convert("RGB").crop((0, 0, 240, 240))
    small = clean.resize((240 // scale,) * 2, Image.Resampling.BICUBIC)
    truth, lanczos = from_image(clean), from_image(small.resize(clean.size, Image.Resampling.LANCZOS))

    found = enlarged(from_image(small), scale)

    reached_db, before_db = (photo_psnr_db(to_planes(one), to_planes(truth)) for one in (found, lanczos))
    gain_db = reached_db - before_db
    assert gain_db > 0.5


def test_metadata_say_the_new_size(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x010F] = "a camera"
    exif.get_ifd(0x8769).update({0xA002: 40, 0xA003: 30, 0x9003: "2020:01:01 00:00:00"})
    said = b'exif:PixelXDimension="40" tiff:ImageLength="30"'
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><a ' + said + b"/></x:xmpmeta>"
    path = tmp_path / "a.jpg"
    Image.new("RGB", (40, 30), (90, 120, 150)).save(path, exif=exif, xmp=xmp, dpi=(300, 300))
    photo = read_photo(path)

    done = rlrestore.Restoration(photo, Trace("global", "toy", 40, 30, ())).enlarged(2)
    done.save(tmp_path / "b.jpg")

    with Image.open(tmp_path / "b.jpg") as image:
        tags = image.getexif()
        inner = tags.get_ifd(0x8769)
        assert image.size == (80, 60)
        assert (inner[0xA002], inner[0xA003], inner[0x9003]) == (80, 60, "2020:01:01 00:00:00")
        assert tags[0x010F] == "a camera"
        assert image.info["dpi"] == (300, 300)
        assert b'PixelXDimension="80" tiff:ImageLength="60"' in image.info["xmp"]


def test_transparency_grows_with_it_and_hides_no_colours_in_what_is_seen() -> None:
    pixels = np.full((32, 32, 3), 0.5, np.float32)
    pixels[:, :16] = 1.0  # under full transparency
    alpha = np.zeros((32, 32), np.uint8)
    alpha[:, 16:] = 255

    found = enlarged(Photo(pixels, alpha), 2)

    assert found.alpha is not None
    assert found.alpha.shape == (64, 64)
    assert found.alpha[:, :30].max() == 0
    assert found.alpha[:, 34:].min() == 255
    np.testing.assert_allclose(found.pixels[:, 32:], 0.5, atol=0.02)


def test_depth_and_greyscale_stay() -> None:
    grey = np.repeat(noise(20, 20)[..., :1], 3, axis=2)

    found = enlarged(Photo(grey, greyscale=True, depth_bits=16), 3)

    assert found.samples(16).shape == (60, 60, 1)
    assert found.samples(16).dtype == np.uint16


def test_an_array_comes_back_as_one() -> None:
    trace = Trace("global", "toy", 20, 20, ())
    done = rlrestore.Restoration(Photo(noise(20, 20)), trace, given=lambda photo: photo.samples(8))

    assert done.enlarged(2).image.shape == (40, 40, 3)
    with pytest.raises(UsageError, match="with its original"):
        done.enlarged(2).blended(0.5)


def test_a_tool_that_is_written_anew_is_read_anew(tmp_path: Path) -> None:
    photo, network = Photo(np.full((16, 16, 3), 0.5, np.float32)), Upscaler(4, 1)
    save_upscaler(tmp_path, network, [])
    np.testing.assert_allclose(enlarged(photo, 2, tmp_path).pixels, 0.5, atol=1e-5)
    for tail in network.tails:
        _, bias = tail.parameters()
        torch.nn.init.constant_(bias, 0.25)
    save_upscaler(tmp_path, network, [])
    np.testing.assert_allclose(enlarged(photo, 2, tmp_path).pixels, 0.75, atol=1e-5)


def test_what_cannot_be_is_said() -> None:
    with pytest.raises(UsageError, match="expected an enlargement by 2 or 3, got 5"):
        enlarged(Photo(noise(8, 8)), 5)
    large = Photo(np.broadcast_to(np.float32(0.5), (5000, 6000, 3)))
    with pytest.raises(
        ImageError, match="at most 200 megapixels after the enlargement, but 3 times 6000×5000"
    ):
        enlarged(large, 3)
