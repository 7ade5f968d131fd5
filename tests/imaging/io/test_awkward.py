"""Files of kinds that bug reports of other image programs tell of, from `tests/awkward`."""

import io
from pathlib import Path
from typing import Any

import cv2
import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms

from rlrestore.errors import ImageError
from rlrestore.imaging.io import png_chunks, raw
from rlrestore.imaging.io.colour import profile_space
from rlrestore.imaging.io.files import Photo, claimed_pixels, read_photo, write_photo
from rlrestore.imaging.io.photoshop import iptc
from tests.imaging.io import samples as made
from tests.toys import make_restorer

AWKWARD = Path(__file__).parents[2] / "awkward"


def rewritten(tmp_path: Path, name: str, suffix: str) -> tuple[Path, tuple[str, ...]]:
    """Read a file, write it in another format, and return where and what was said."""
    photo = read_photo(AWKWARD / name)
    notes = write_photo(tmp_path / f"a{suffix}", photo)
    return tmp_path / f"a{suffix}", (*photo.notes, *notes)


def chunks_of(path: Path) -> dict[bytes, bytes]:
    with path.open("rb") as stream:
        return dict(png_chunks.take_apart(stream)[1])


def test_12_bits_span_16(tmp_path: Path) -> None:
    stored = tifffile.imread(AWKWARD / "tiff_grey12.tif")
    path, notes = rewritten(tmp_path, "tiff_grey12.tif", ".png")
    written = imagecodecs.png_decode(path.read_bytes())
    np.testing.assert_array_equal(written, np.rint(stored * (65535 / 4095)))
    assert notes == ()


def test_a_bigtiff_is_turned_once(tmp_path: Path) -> None:
    stored = tifffile.imread(AWKWARD / "bigtiff_rgb16_o8.tif")
    photo = read_photo(AWKWARD / "bigtiff_rgb16_o8.tif")
    np.testing.assert_array_equal(photo.samples(16), np.rot90(stored))  # flag 8: turn left
    assert photo.exif is None


@pytest.mark.parametrize("installed", [True, False])
def test_a_raw_file_is_never_read_by_its_preview(monkeypatch: pytest.MonkeyPatch, installed: bool) -> None:
    monkeypatch.setattr(raw, "can_develop", lambda: installed)
    how = r"cannot be developed here \(.*\): develop it" if installed else "install the extra raw"
    with pytest.raises(ImageError, match=f"is a camera's raw file.*{how}"):
        read_photo(AWKWARD / "raw_like.dng")


@pytest.mark.parametrize(
    "head", [b"FUJIFILMCCD-RAW 0201", b"IIRO\x08", b"\0\0\0\x18ftypcrx \0\0\0\x01", b"IIU\0\x18", b"FOVb"]
)
def test_other_raw_files_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, head: bytes) -> None:
    monkeypatch.setattr(raw, "can_develop", lambda: False)
    (tmp_path / "a").write_bytes(head.ljust(4000, b"\0"))
    with pytest.raises(ImageError, match="is a camera's raw file: develop it into a 16-bit TIFF first"):
        read_photo(tmp_path / "a")


@pytest.mark.parametrize(
    "tag", [{"tag254": 1, "tag330": 8}, {"tag50706": 0x0401, "tag330": 8}, {"tag262": 32803}]
)
def test_a_tiff_of_a_preview_or_of_sensor_data_is_raw(tmp_path: Path, tag: dict[str, int]) -> None:
    (tmp_path / "a.nef").write_bytes(made.small_tiff(made.ramps(3, 8), 8, **tag))
    with pytest.raises(ImageError, match="is a camera's raw file"):
        read_photo(tmp_path / "a.nef")


def test_white_in_deep_jpeg_2000_is_white() -> None:
    photo = read_photo(AWKWARD / "rgb12.jp2")
    truth = imagecodecs.jpeg2k_decode((AWKWARD / "rgb12.jp2").read_bytes())
    np.testing.assert_array_equal(photo.samples(16), np.rint(truth * (65535 / 4095)))
    assert photo.pixels[20:50, 30:70].min() == 1.0


@pytest.mark.parametrize("suffix", [".ppm", ".png", ".tif"])
def test_a_deep_ppm_stays_deep(tmp_path: Path, suffix: str) -> None:
    path, notes = rewritten(tmp_path, "ppm16.ppm", suffix)
    stored: Any = cv2.imread(str(AWKWARD / "ppm16.ppm"), cv2.IMREAD_UNCHANGED)
    written: Any = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    assert written.dtype == np.uint16
    np.testing.assert_array_equal(written, stored)
    assert notes == ()


def test_ten_bits_of_avif_are_kept(tmp_path: Path) -> None:
    path, notes = rewritten(tmp_path, "ten.avif", ".png")
    stored = imagecodecs.avif_decode((AWKWARD / "ten.avif").read_bytes())
    np.testing.assert_array_equal(imagecodecs.png_decode(path.read_bytes()), np.rint(stored * (65535 / 1023)))
    assert notes == ()
    assert rewritten(tmp_path, "ten.avif", ".jpg")[1] == (
        "JPEG cannot hold all of it, left out: 16 bits a sample (8 are written)",
    )


def test_code_points_are_kept_in_png_and_as_a_profile_elsewhere(tmp_path: Path) -> None:
    path, notes = rewritten(tmp_path, "p3.avif", ".png")
    assert (chunks_of(path)[b"cICP"], notes) == (bytes((12, 13, 0, 1)), ())
    path, notes = rewritten(tmp_path, "p3.avif", ".jpg")
    assert notes == ()
    with Image.open(path) as image:
        profile = io.BytesIO(image.info["icc_profile"])
    colours = np.array([[[200, 100, 50], [10, 90, 160], [255, 255, 255]]], np.uint8)
    shown: Any = ImageCms.profileToProfile(Image.fromarray(colours), profile, ImageCms.createProfile("sRGB"))
    np.testing.assert_allclose(np.asarray(shown), made.display_p3_values(colours), atol=1)


@pytest.mark.parametrize("suffix", [".tif", ".webp"])
def test_gamma_and_chromaticities_are_kept(tmp_path: Path, suffix: str) -> None:
    before = chunks_of(AWKWARD / "png_gama_chrm.png")
    path, notes = rewritten(tmp_path, "png_gama_chrm.png", ".png")
    after = chunks_of(path)
    assert ({kind: after[kind] for kind in (b"gAMA", b"cHRM")}, notes) == (before, ())
    path, notes = rewritten(tmp_path, "png_gama_chrm.png", suffix)
    with Image.open(path) as image:
        profile = image.info["icc_profile"]
    assert (profile_space(profile), notes) == ("RGB", ())
    grey = Image.new("RGB", (1, 1), (128, 128, 128))
    shown: Any = ImageCms.profileToProfile(grey, io.BytesIO(profile), ImageCms.createProfile("sRGB"))
    linear = (128 / 255) ** 2.2
    np.testing.assert_allclose(shown.getpixel((0, 0)), 255 * (1.055 * linear ** (1 / 2.4) - 0.055), atol=1)


def test_iptc_is_kept_or_named(tmp_path: Path) -> None:
    headline = b"The harbour"
    path, notes = rewritten(tmp_path, "jpg_iptc.jpg", ".jpg")
    assert (headline in path.read_bytes(), notes) == (True, ())
    path, notes = rewritten(tmp_path, "jpg_iptc.jpg", ".tif")
    with tifffile.TiffFile(path) as file:
        assert headline in bytes(file.pages[0].tags[33723].value)  # type: ignore[union-attr]  # it is a whole page
    block = read_photo(path).photoshop
    assert headline in (iptc(block) or b"")
    assert rewritten(tmp_path, "jpg_iptc.jpg", ".png")[1] == ("PNG cannot hold all of it, left out: IPTC",)


def test_a_comment_is_kept_or_named(tmp_path: Path) -> None:
    path, notes = rewritten(tmp_path, "jpg_com.jpg", ".jpg")
    with Image.open(path) as image:
        assert (image.info["comment"], notes) == (b"a note of the owner", ())
    path, notes = rewritten(tmp_path, "jpg_com.jpg", ".png")
    assert (chunks_of(path)[b"tEXt"], notes) == (b"Comment\0a note of the owner", ())
    assert rewritten(tmp_path, "jpg_com.jpg", ".tif")[1] == ("TIFF cannot hold all of it, left out: comment",)


def test_names_in_exif_stay_byte_for_byte(tmp_path: Path) -> None:
    name = "Zoë Ångström 山"
    path, notes = rewritten(tmp_path, "artist_utf8.tif", ".tif")
    with tifffile.TiffFile(path) as file:
        tags = file.pages[0].tags  # type: ignore[union-attr]  # it is a whole page
        assert [tags[tag].value for tag in (315, 33432, 18246)] == [name, name, 4]
    assert notes == ()
    for suffix in (".jpg", ".png", ".webp"):
        path, notes = rewritten(tmp_path, "artist_utf8.tif", suffix)
        with Image.open(path) as image:
            assert image.getexif()[315].encode("latin-1").decode() == name
            assert (image.getexif()[18246], notes) == (4, ())


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_a_gain_map_goes_with_what_announces_it(tmp_path: Path, suffix: str) -> None:
    path, notes = rewritten(tmp_path, "jpg_gainmap.jpg", suffix)
    assert notes == ("what its XMP announces behind the picture was left out: a gain map, a further picture",)
    xmp = read_photo(path).xmp
    assert xmp is not None
    assert b"hdrgm" not in xmp
    assert b"Container" not in xmp
    assert b"rdf:Description" in xmp


@pytest.mark.parametrize("suffix", [".tif", ".bmp", ".jpg", ".png"])
def test_no_resolution_is_made_up(tmp_path: Path, suffix: str) -> None:
    path, notes = rewritten(tmp_path, "no_resolution.tif", suffix)
    assert read_photo(path).dpi is None
    with Image.open(path) as image:
        assert image.info.get("dpi", (0, 0)) in ((0, 0), (1, 1))  # 1: Pillow's own word where a TIFF has none
    if suffix == ".tif":
        with tifffile.TiffFile(path) as file:
            assert 282 not in file.pages[0].tags  # type: ignore[union-attr]  # it is a whole page
    assert notes == ()


def test_xmp_that_jpeg_cannot_hold_is_left_out_in_words(tmp_path: Path) -> None:
    path, notes = rewritten(tmp_path, "xmp_100k.tif", ".jpg")
    assert notes == ("JPEG cannot hold all of it, left out: XMP of 96 kB (at most 65)",)
    assert read_photo(path).xmp is None
    path, notes = rewritten(tmp_path, "xmp_100k.tif", ".png")
    assert (read_photo(path).xmp, notes) == (read_photo(AWKWARD / "xmp_100k.tif").xmp, ())


def test_a_long_text_is_read_again(tmp_path: Path) -> None:
    path, notes = rewritten(tmp_path, "png_bigtext.png", ".png")
    before, after = read_photo(AWKWARD / "png_bigtext.png"), read_photo(path)
    assert len(before.texts[0][1]) > 2**20
    assert (after.texts, notes) == (before.texts, ())


def test_a_long_profile_is_read_again(tmp_path: Path) -> None:
    profile = np.random.default_rng(0).bytes(2_000_000)
    write_photo(tmp_path / "a.png", Photo(np.zeros((8, 8, 3), np.float32), icc_profile=profile))
    assert read_photo(tmp_path / "a.png").icc_profile == profile


@pytest.mark.parametrize("suffix", [".webp", ".avif", ".tif", ".png"])
def test_a_profile_fits_the_samples(tmp_path: Path, suffix: str) -> None:
    before = read_photo(AWKWARD / "la16_greyicc.png")
    path, _ = rewritten(tmp_path, "la16_greyicc.png", suffix)
    after = read_photo(path)
    assert (after.icc_profile, before.icc_profile) != (None, None)
    space = profile_space(after.icc_profile or b"")
    assert space == ("GRAY" if after.greyscale else "RGB")
    np.testing.assert_allclose(_shown(before, 100), _shown(after, 100), atol=1)


def _shown(photo: Photo, level: int) -> tuple[int, ...]:
    """A grey of a photo as a display shows it, by littlecms."""
    mode = "L" if profile_space(photo.icc_profile or b"") == "GRAY" else "RGB"
    image = Image.new("L", (1, 1), level).convert(mode)
    profile, target = io.BytesIO(photo.icc_profile or b""), ImageCms.createProfile("sRGB")
    converted: Any = ImageCms.profileToProfile(image, profile, target, outputMode="RGB")
    return tuple(converted.getpixel((0, 0)))


def test_grey_with_transparency_is_read_from_tiff() -> None:
    photo = read_photo(AWKWARD / "tiff_la16.tif")
    assert photo.greyscale
    np.testing.assert_array_equal(photo.samples(16), tifffile.imread(AWKWARD / "tiff_la16.tif"))


@pytest.mark.parametrize(
    ("name", "kind"), [("tiff_float.tif", "floating-point"), ("tiff_lab16.tif", "16-bit Lab")]
)
def test_what_is_not_read_is_named(name: str, kind: str) -> None:
    with pytest.raises(ImageError, match=f"holds {kind} ones; convert it to 16-bit TIFF or PNG"):
        read_photo(AWKWARD / name)


@pytest.mark.parametrize("turned", [False, True])
def test_a_narrow_strip_is_restored(turned: bool) -> None:
    photo = read_photo(AWKWARD / "strip_60x900.png")
    pixels = photo.pixels.transpose(1, 0, 2) if turned else photo.pixels
    assert make_restorer([0]).restore(Photo(pixels), mode="global").trace.tools == ("brighten",)


def test_a_raw_file_claims_the_pixels_that_it_is_developed_to(tmp_path: Path) -> None:
    """So that a server refuses it for its own size alone."""
    pytest.importorskip("rawpy", reason="the extra raw is not installed")
    assert claimed_pixels(made.raw_dng()) == 96 * 64
    (tmp_path / "a.dng").write_bytes(made.raw_dng())
    assert claimed_pixels(tmp_path / "a.dng") == read_photo(tmp_path / "a.dng").pixels[..., 0].size
    assert claimed_pixels(AWKWARD / "raw_like.dng") == 0
