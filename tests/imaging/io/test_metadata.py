"""Orientation, EXIF, XMP, colour profile and resolution on the way from file to file."""

import struct
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, ImageCms

from rlrestore.imaging.io.files import Photo, read_photo, write_photo

Pixels = npt.NDArray[np.uint8]

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="6" rating="5"/></x:xmpmeta>'
UPRIGHT_XMP = XMP.replace(b'Orientation="6"', b'Orientation="1"')


def _random(
    height: int, width: int, channels: int, kind: type[np.unsignedinteger] = np.uint8
) -> npt.NDArray[np.uint16]:
    rng = np.random.default_rng(channels)
    return rng.integers(0, np.iinfo(kind).max + 1, (height, width, channels), dtype=kind)


def _exif(orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    exif[0x010F] = "A maker"
    exif[0x8769] = {0x829A: 0.005}  # exposure time, in the EXIF directory
    return exif.tobytes()


def _turned(pixels: npt.NDArray[Any], orientation: int) -> npt.NDArray[Any]:
    """Turn upright pixels into those a camera stores with an orientation flag: the inverse of its rule."""
    operations = {
        1: lambda a: a,
        2: np.fliplr,
        3: lambda a: np.rot90(a, 2),
        4: np.flipud,
        5: lambda a: a.transpose(1, 0, 2),
        6: lambda a: np.rot90(a, 1),
        7: lambda a: np.rot90(a, 2).transpose(1, 0, 2),
        8: lambda a: np.rot90(a, -1),
    }
    return np.ascontiguousarray(operations[orientation](pixels))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["png", "tif", "webp"])
def test_orientation_is_applied_and_reset(tmp_path: Path, orientation: int, suffix: str) -> None:
    upright = _random(10, 13, 4)
    source, copy = tmp_path / f"a.{suffix}", tmp_path / f"b.{suffix}"
    options: dict[str, Any] = {"lossless": True, "exact": True} if suffix == "webp" else {}
    Image.fromarray(_turned(upright, orientation)).save(source, exif=_exif(orientation), **options)
    photo = read_photo(source)
    np.testing.assert_array_equal(photo.samples(8), upright)
    write_photo(copy, photo)
    np.testing.assert_array_equal(read_photo(copy).samples(8), upright)
    with Image.open(copy) as image:
        assert image.getexif().get(0x0112, 1) == 1
        assert image.getexif()[0x010F] == "A maker"


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_orientation_is_applied_at_16_bits(tmp_path: Path, orientation: int, suffix: str) -> None:
    upright = _random(10, 13, 3, np.uint16)
    pixels = (_turned(upright, orientation) / 65535).astype(np.float32)
    exif = _exif(orientation)[6:]
    source = tmp_path / f"a.{suffix}"
    write_photo(source, Photo(pixels, depth_bits=16, exif=exif))
    if suffix == "tif":  # the flag is one of the file's own tags
        _add_orientation_tag(source, orientation)
    np.testing.assert_array_equal(read_photo(source).samples(16), upright)


def _add_orientation_tag(path: Path, orientation: int) -> None:
    """Make the rows-per-strip tag, which a file of one strip can do without, one of orientation."""
    content = bytearray(path.read_bytes())
    order = "<" if content[:2] == b"II" else ">"
    (start,) = struct.unpack_from(f"{order}I", content, 4)
    (count,) = struct.unpack_from(f"{order}H", content, start)
    entries = [bytes(content[i : i + 12]) for i in range(start + 2, start + 2 + 12 * count, 12)]
    kept: list[bytes] = [entry for entry in entries if entry[:2] != struct.pack(f"{order}H", 278)]
    kept.append(struct.pack(f"{order}HHIHH", 0x0112, 3, 1, orientation, 0))
    ordered = sorted(kept, key=lambda entry: struct.unpack_from(f"{order}H", entry))
    content[start + 2 : start + 2 + 12 * count] = b"".join(ordered)
    path.write_bytes(content)


def test_a_jpeg_of_a_phone_is_turned_and_keeps_its_data(tmp_path: Path, photograph: Pixels) -> None:
    source = tmp_path / "phone.jpg"
    stored = Image.fromarray(_turned(photograph, 6))
    stored.save(source, quality=95, exif=_exif(6), icc_profile=SRGB, dpi=(240, 240), xmp=XMP)
    photo = read_photo(source)
    assert (photo.height, photo.width) == photograph.shape[:2]
    assert np.abs(photo.pixels * 255 - photograph).mean() < 4
    for suffix in ("jpg", "png", "tif", "webp"):
        write_photo(tmp_path / f"copy.{suffix}", photo)
        copy = read_photo(tmp_path / f"copy.{suffix}")
        with Image.open(tmp_path / f"copy.{suffix}") as image:
            exif = image.getexif()
            exposure_s = float(exif.get_ifd(0x8769)[0x829A])
        assert exif.get(0x0112, 1) == 1, suffix
        assert exif[0x010F] == "A maker", suffix
        assert exposure_s == pytest.approx(0.005), suffix
        assert copy.icc_profile == SRGB, suffix
        assert copy.xmp == UPRIGHT_XMP, suffix
        assert copy.dpi is None if suffix == "webp" else copy.dpi == pytest.approx((240, 240), abs=0.01), (
            suffix
        )


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_16_bit_files_keep_their_data(tmp_path: Path, suffix: str) -> None:
    pixels = (_random(9, 12, 3, np.uint16) / 65535).astype(np.float32)
    exif = _exif(1).removeprefix(b"Exif\x00\x00")
    photo = Photo(pixels, depth_bits=16, icc_profile=SRGB, exif=exif, xmp=UPRIGHT_XMP, dpi=(300.0, 600.0))
    write_photo(tmp_path / f"a.{suffix}", photo)
    copy = read_photo(tmp_path / f"a.{suffix}")
    assert copy.icc_profile == SRGB
    assert copy.xmp == UPRIGHT_XMP
    assert copy.dpi == pytest.approx((300, 600), abs=0.01)
    with Image.open(tmp_path / f"a.{suffix}") as image:
        image.load()
        assert image.getexif()[0x010F] == "A maker"


def test_makers_notes_and_the_rest_of_the_exif_block_stay_byte_for_byte(
    tmp_path: Path, photograph: Pixels
) -> None:
    exif = Image.Exif()
    exif[0x0112] = 3
    exif[0x8769] = {0x927C: bytes(range(200))}
    block = exif.tobytes()
    Image.fromarray(photograph).save(tmp_path / "a.jpg", exif=block)
    kept = read_photo(tmp_path / "a.jpg").exif
    assert kept is not None
    original = block.removeprefix(b"Exif\x00\x00")
    changed = [index for index in range(len(original)) if original[index] != kept[index]]
    assert len(kept) == len(original)
    assert len(changed) == 1  # the 3 that became a 1


def test_a_damaged_exif_block_does_not_stop_the_photo(tmp_path: Path, photograph: Pixels) -> None:
    for block in (b"Exif\x00\x00MM\x00*\xff\xff\xff\xff", b"Exif\x00\x00nonsense", b"Exif\x00\x00II*\x00"):
        Image.fromarray(photograph).save(tmp_path / "a.jpg", exif=block)
        photo = read_photo(tmp_path / "a.jpg")
        assert photo.exif is None
        write_photo(tmp_path / "b.png", photo)
