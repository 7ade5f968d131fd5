"""Reading and writing: whatever a file holds comes back from the copy."""

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, ImageFile

from rlrestore.imaging.io import opening
from rlrestore.imaging.io.files import Photo, list_photos, read_photo, read_rgb8, write_photo

Pixels = npt.NDArray[np.uint8]


LOSSLESS = ("png", "tif", "bmp", "ppm", "webp")


def _random(
    height: int, width: int, channels: int, kind: type[np.unsignedinteger] = np.uint8
) -> npt.NDArray[np.uint16]:
    rng = np.random.default_rng(channels)
    return rng.integers(0, np.iinfo(kind).max + 1, (height, width, channels), dtype=kind)


def _write_deep(path: Path, samples: npt.NDArray[np.uint16]) -> None:
    """Write 16-bit RGB(A) with OpenCV, so that our own writer is not its own judge."""
    order = [2, 1, 0, 3][: samples.shape[2]]
    assert cv2.imwrite(str(path), samples[..., order])


@pytest.mark.parametrize("suffix", LOSSLESS)
def test_lossless_formats_return_the_pixels(tmp_path: Path, photograph: Pixels, suffix: str) -> None:
    source, copy = tmp_path / "source.png", tmp_path / f"copy.{suffix}"
    Image.fromarray(photograph).save(source)
    write_photo(copy, read_photo(source))
    np.testing.assert_array_equal(read_rgb8(copy), photograph)
    photo = read_photo(copy)
    assert (photo.greyscale, photo.depth_bits, photo.alpha, photo.notes) == (False, 8, None, ())


@pytest.mark.parametrize("suffix", ["gif", "jp2", "tga", "qoi", "sgi", "pcx", "dib"])
def test_less_common_formats_are_read(tmp_path: Path, suffix: str) -> None:
    pixels = np.repeat(np.arange(0, 240, 15, dtype=np.uint8)[None, :, None], 12, axis=0).repeat(3, axis=2)
    options: dict[str, Any] = {"irreversible": False} if suffix == "jp2" else {}
    Image.fromarray(pixels).save(tmp_path / f"a.{suffix}", **options)
    np.testing.assert_array_equal(read_rgb8(tmp_path / f"a.{suffix}"), pixels)


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "bmp"])
def test_pixels_are_decoded_while_other_threads_may_open_files(
    tmp_path: Path, photograph: Pixels, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is a setting of the whole process is held for headers alone."""
    held = list[bool]()
    load = ImageFile.ImageFile.load

    def watched(image: ImageFile.ImageFile) -> Any:
        held.append(opening._PILLOW_STATE.locked())
        return load(image)

    Image.fromarray(photograph).save(tmp_path / f"a.{suffix}")
    monkeypatch.setattr(ImageFile.ImageFile, "load", watched)
    read_photo(tmp_path / f"a.{suffix}")
    assert held
    assert not any(held)


def test_the_content_decides_not_the_name(tmp_path: Path, photograph: Pixels) -> None:
    Image.fromarray(photograph).save(tmp_path / "a.png")
    (tmp_path / "a.png").rename(tmp_path / "a.jpg")
    np.testing.assert_array_equal(read_rgb8(tmp_path / "a.jpg"), photograph)


@pytest.mark.parametrize("suffix", [*LOSSLESS, "jpg"])
def test_greyscale_stays_greyscale(tmp_path: Path, photograph: Pixels, suffix: str) -> None:
    grey = photograph[..., 1]
    Image.fromarray(grey).save(tmp_path / "a.png")
    photo = read_photo(tmp_path / "a.png")
    assert photo.greyscale
    np.testing.assert_array_equal(np.rint(photo.pixels * 255), grey[..., None].repeat(3, axis=2))
    write_photo(tmp_path / f"b.{suffix}", photo)
    if suffix == "webp":  # it has no greyscale
        np.testing.assert_array_equal(read_rgb8(tmp_path / "b.webp")[..., 0], grey)
        return
    with Image.open(tmp_path / f"b.{suffix}") as image:
        assert image.mode == "L"
        assert np.abs(np.asarray(image).astype(int) - grey).max() <= (12 if suffix == "jpg" else 0)


def test_a_bilevel_file_is_read_as_greyscale(tmp_path: Path) -> None:
    Image.fromarray(np.eye(16, dtype=bool)).save(tmp_path / "a.png")
    photo = read_photo(tmp_path / "a.png")
    assert photo.greyscale
    np.testing.assert_array_equal(photo.pixels[..., 0], np.eye(16))


@pytest.mark.parametrize("suffix", ["png", "tif", "pgm"])
@pytest.mark.parametrize("target", ["png", "tif", "pgm"])
def test_16_bit_greyscale_stays_16_bit(tmp_path: Path, suffix: str, target: str) -> None:
    grey = _random(11, 14, 1, np.uint16)[..., 0]
    Image.fromarray(grey).save(tmp_path / f"a.{suffix}")
    photo = read_photo(tmp_path / f"a.{suffix}")
    assert (photo.greyscale, photo.depth_bits) == (True, 16)
    np.testing.assert_allclose(photo.pixels[..., 2], grey / 65535, atol=1e-7)
    write_photo(tmp_path / f"b.{target}", photo)
    np.testing.assert_array_equal(cv2.imread(str(tmp_path / f"b.{target}"), cv2.IMREAD_UNCHANGED), grey)


@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize("suffix", ["png", "tif"])
@pytest.mark.parametrize("target", ["png", "tif"])
def test_16_bit_colour_stays_16_bit(tmp_path: Path, channels: int, suffix: str, target: str) -> None:
    samples = _random(11, 14, channels, np.uint16)
    _write_deep(tmp_path / f"a.{suffix}", samples)
    photo = read_photo(tmp_path / f"a.{suffix}")
    assert (photo.depth_bits, photo.channels) == (16, channels)
    write_photo(tmp_path / f"b.{target}", photo)
    order = [2, 1, 0, 3][:channels]
    copy = cv2.imread(str(tmp_path / f"b.{target}"), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(copy[..., order], samples)  # type: ignore[index]  # None fails the test


def test_16_bit_greyscale_with_transparency_survives_png(tmp_path: Path) -> None:
    samples = _random(11, 14, 2, np.uint16)
    pixels = (samples[..., :1] / 65535).astype(np.float32).repeat(3, axis=2)
    photo = Photo(pixels, alpha=samples[..., 1], greyscale=True, depth_bits=16)
    write_photo(tmp_path / "a.png", photo)
    copy = read_photo(tmp_path / "a.png")
    assert (copy.greyscale, copy.depth_bits) == (True, 16)
    np.testing.assert_array_equal(copy.samples(16), samples)
    write_photo(tmp_path / "a.tif", photo)  # as RGBA
    np.testing.assert_array_equal(read_photo(tmp_path / "a.tif").samples(16), samples[..., [0, 0, 0, 1]])


def test_16_bit_photos_are_rounded_where_the_format_has_8(tmp_path: Path) -> None:
    _write_deep(tmp_path / "a.png", _random(11, 14, 3, np.uint16))
    photo = read_photo(tmp_path / "a.png")
    write_photo(tmp_path / "b.bmp", photo)
    np.testing.assert_array_equal(read_rgb8(tmp_path / "b.bmp"), np.rint(photo.pixels * 255))


@pytest.mark.parametrize("suffix", ["png", "tif", "webp"])
@pytest.mark.parametrize("channels", [2, 4])
def test_alpha_is_carried_over_untouched(tmp_path: Path, suffix: str, channels: int) -> None:
    samples = _random(13, 10, channels)
    Image.fromarray(samples).save(tmp_path / "a.png")
    photo = read_photo(tmp_path / "a.png")
    assert photo.greyscale == (channels == 2)
    write_photo(tmp_path / f"b.{suffix}", photo.with_pixels(1 - photo.pixels))
    copy = read_photo(tmp_path / f"b.{suffix}")
    np.testing.assert_array_equal(copy.alpha, samples[..., -1])
    np.testing.assert_array_equal(
        copy.samples(8)[..., 0], 255 - samples[..., 0]
    )  # even where it is invisible


def test_palette_transparency_becomes_alpha(tmp_path: Path) -> None:
    image = Image.fromarray((np.arange(100).reshape(10, 10) % 3).astype(np.uint8), "P")
    image.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255])
    for suffix, transparency in (("png", bytes([255, 128, 0])), ("gif", 2)):
        image.save(tmp_path / f"a.{suffix}", transparency=transparency)
        photo = read_photo(tmp_path / f"a.{suffix}")
        assert photo.alpha is not None
        assert photo.alpha[0, :3].tolist() == ([255, 128, 0] if suffix == "png" else [255, 255, 0])
        assert photo.pixels[0, 1].tolist() == [0, 1, 0]


@pytest.mark.parametrize(("kind", "mode"), [(np.uint8, "L"), (np.uint16, "I;16"), (np.uint8, "RGB")])
def test_a_transparent_colour_becomes_alpha(
    tmp_path: Path, kind: type[np.unsignedinteger], mode: str
) -> None:
    samples = _random(9, 9, 3 if mode == "RGB" else 1, kind)
    samples[2, 3] = samples[0, 0]
    key = tuple(samples[0, 0].tolist()) if mode == "RGB" else int(samples[0, 0, 0])
    Image.fromarray(samples if mode == "RGB" else samples[..., 0]).save(tmp_path / "a.png", transparency=key)
    photo = read_photo(tmp_path / "a.png")
    assert photo.alpha is not None
    assert photo.greyscale == (mode != "RGB")
    expected = np.where((samples == samples[0, 0]).all(axis=2), 0, np.iinfo(kind).max)
    np.testing.assert_array_equal(photo.alpha, expected)


def test_a_transparent_colour_of_16_bits_becomes_alpha(tmp_path: Path) -> None:
    samples = _random(9, 9, 3, np.uint16)
    samples[4, 4] = samples[0, 0]
    _write_deep(tmp_path / "a.png", samples)
    content = (tmp_path / "a.png").read_bytes()
    payload = b"tRNS" + samples[0, 0].astype(">u2").tobytes()
    chunk = struct.pack(">I", 6) + payload + struct.pack(">I", zlib.crc32(payload))
    start = content.index(b"IDAT") - 4
    (tmp_path / "a.png").write_bytes(content[:start] + chunk + content[start:])
    photo = read_photo(tmp_path / "a.png")
    assert photo.depth_bits == 16
    assert photo.alpha is not None
    np.testing.assert_array_equal(photo.alpha == 0, (samples == samples[0, 0]).all(axis=2))
    np.testing.assert_array_equal(photo.samples(16)[..., :3], samples)


def test_cmyk_is_converted_and_said_so(tmp_path: Path) -> None:
    image = Image.new("CMYK", (16, 12), (0, 255, 255, 0))  # red ink
    for suffix in ("jpg", "tif"):
        image.save(tmp_path / f"a.{suffix}")
        photo = read_photo(tmp_path / f"a.{suffix}")
        assert photo.notes == ("CMYK converted to RGB",)
        assert photo.icc_profile is None
        red, green, blue = photo.pixels[5, 5]
        assert red > 0.9
        assert max(green, blue) < 0.1


def test_lab_is_converted_and_said_so(tmp_path: Path) -> None:
    Image.new("LAB", (16, 12), (128, 128, 128)).save(tmp_path / "a.tif")  # L* 50, neutral
    photo = read_photo(tmp_path / "a.tif")
    assert photo.notes == ("LAB converted to RGB",)
    np.testing.assert_allclose(photo.pixels, 119 / 255, atol=0.012)


def test_the_main_picture_of_a_phones_multi_picture_file_is_read(tmp_path: Path, photograph: Pixels) -> None:
    first, second = Image.fromarray(photograph), Image.fromarray(255 - photograph)
    first.save(tmp_path / "a.jpg", "MPO", save_all=True, append_images=[second], quality=95)
    photo = read_photo(tmp_path / "a.jpg")
    assert np.abs(photo.pixels * 255 - photograph).mean() < 4
    assert photo.notes == ("only the main picture of the file was read",)


@pytest.mark.parametrize("pictures", [1, 2])
def test_heic_is_read_where_its_extra_is_installed(tmp_path: Path, photograph: Pixels, pictures: int) -> None:
    heif = pytest.importorskip("pillow_heif", reason="the extra heic is not installed")
    heif.register_heif_opener()
    image = Image.fromarray(photograph)
    more: dict[str, Any] = {
        "save_all": True,
        "append_images": [image] * (pictures - 1),
        "icc_profile": b"profile" * 20,
    }
    image.save(tmp_path / "a.heic", quality=95, **more)
    photo = read_photo(tmp_path / "a.heic")
    assert np.abs(photo.pixels * 255 - photograph).mean() < 4
    assert photo.icc_profile == b"profile" * 20
    assert photo.notes == ("only the main picture of the file was read",) * (pictures - 1)


def test_quality_of_a_jpeg_is_used(tmp_path: Path, photograph: Pixels) -> None:
    photo = Photo((photograph / 255).astype(np.float32))
    write_photo(tmp_path / "high.jpg", photo)
    write_photo(tmp_path / "low.jpg", photo, quality=20)
    assert (tmp_path / "low.jpg").stat().st_size < 0.4 * (tmp_path / "high.jpg").stat().st_size


def test_a_large_photo_above_pillows_own_limit_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)  # as if the file were as much larger
    Image.fromarray(_random(30, 40, 3)).save(tmp_path / "a.png")
    assert read_rgb8(tmp_path / "a.png").shape == (30, 40, 3)
    assert Image.MAX_IMAGE_PIXELS == 100  # the setting of the process is as it was


def test_an_existing_file_is_replaced_whole(tmp_path: Path, photograph: Pixels) -> None:
    target = tmp_path / "a.png"
    target.write_bytes(b"old")
    write_photo(target, Photo((photograph / 255).astype(np.float32)))
    np.testing.assert_array_equal(read_rgb8(target), photograph)
    assert list(tmp_path.iterdir()) == [target]


def test_a_written_file_has_the_usual_permissions(tmp_path: Path) -> None:
    (tmp_path / "usual").touch()
    write_photo(tmp_path / "a.png", Photo(np.zeros((8, 8, 3), np.float32)))
    assert (tmp_path / "a.png").stat().st_mode == (tmp_path / "usual").stat().st_mode


def test_reading_does_not_touch_the_file(tmp_path: Path, photograph: Pixels) -> None:
    source = tmp_path / "a.tif"
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(photograph).save(source, exif=exif)
    before = source.read_bytes()
    read_photo(source)
    assert source.read_bytes() == before


@pytest.mark.parametrize(
    "name", ["line\nbreak.png", "ünï çödé 🦊.png", "x" * 251 + ".png", "-o.png", "a.b.c.PNG"]
)
def test_odd_names_are_read_and_written(tmp_path: Path, name: str) -> None:
    write_photo(tmp_path / name, Photo(np.full((8, 9, 3), 0.2, np.float32)))
    assert read_rgb8(tmp_path / name).tolist() == np.full((8, 9, 3), 51).tolist()
    assert list_photos(tmp_path) == [tmp_path / name]


def test_read_rgb8_ignores_transparency(tmp_path: Path) -> None:
    samples = _random(10, 10, 4)
    Image.fromarray(samples).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_rgb8(tmp_path / "a.png"), samples[..., :3])


def test_any_path_like_is_taken(tmp_path: Path, make_photograph: Callable[..., Pixels]) -> None:
    stream = io.BytesIO()
    Image.fromarray(make_photograph(16, 16)).save(stream, "PNG")
    (tmp_path / "a.png").write_bytes(stream.getvalue())
    np.testing.assert_array_equal(read_rgb8(str(tmp_path / "a.png")), read_rgb8(tmp_path / "a.png"))
