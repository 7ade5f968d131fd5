"""The tables of `docs/formats.md`, line by line, against a second reader."""

import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image

from rlrestore.errors import ImageError
from rlrestore.imaging.io.colour import Colours
from rlrestore.imaging.io.files import Photo, read_photo, write_photo
from rlrestore.imaging.io.holding import FORMATS, fitted
from tests.imaging.io import samples as made
from tests.imaging.io.samples import CHANNELS, SRGB, Samples, by_pillow, ramps, squeezed

PAGE = Path(__file__).parents[3] / "docs" / "formats.md"


def table(heading: str) -> list[list[str]]:
    """Return the cells of the table below a heading of the page."""
    section = PAGE.read_text("utf-8").split(f"\n## {heading}\n")[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def listed(cell: str) -> list[str]:
    return cell.split(", ")


class File(NamedTuple):
    """A file, and the samples `(H, W, C)` that a second reader finds in it, or that it was made of."""

    content: bytes
    expected: Samples
    tolerance: float = 0.0


def jpeg(channels: str, bits: int) -> File:
    values = ramps(CHANNELS[channels], bits)
    if channels == "CMYK":
        stream = io.BytesIO()
        Image.frombytes("CMYK", values.shape[1::-1], values.tobytes()).save(stream, "JPEG", quality=100)
        content = stream.getvalue()
        return File(content, np.asarray(Image.open(io.BytesIO(content)).convert("RGB")), 0.1)
    content = bytes(imagecodecs.jpeg_encode(squeezed(values), level=98, bitspersample=bits))
    return File(content, imagecodecs.jpeg_decode(content), 0.01)


def png(channels: str, bits: int) -> File:
    values = ramps(CHANNELS[channels], bits)
    if bits < 8 or channels == "palette":
        content = made.small_png(values, bits, channels == "palette")
        shown = (
            made.palette_colours(values, bits) if channels == "palette" else values * (255 // (2**bits - 1))
        )
        return File(content, shown.astype(np.uint8))
    content = bytes(imagecodecs.png_encode(squeezed(values)))
    return File(content, imagecodecs.png_decode(content))


def tiff(channels: str, bits: int) -> File:
    kind = channels.rsplit(maxsplit=1)[-1]
    values = ramps(CHANNELS[kind], min(bits, 16))
    if kind == "Lab" and bits == 8:  # colours that sRGB has
        values[..., 1:] = (values[..., 1:] // 8 - 16) & 255
    if channels.startswith("signed"):
        return File(made.tiff(values.astype(f"i{bits // 8}"), kind), values)
    if channels.startswith("float"):
        return File(made.tiff((values / 65535).astype(f"f{bits // 8}"), kind), values)
    if bits == 32:
        return File(made.tiff(values.astype(np.uint32) << 16, kind), values)
    if bits in (8, 16):
        options = (
            {"colormap": np.stack([np.arange(256, dtype=np.uint16) * 257] * 3)} if kind == "palette" else {}
        )
        content = by_pillow(values, "TIFF", "P") if options else made.tiff(values, kind)
        return File(content, _tiff_truth(content, kind), {"CMYK": 0.02, "Lab": 0.08}.get(kind, 0))
    content = made.small_tiff(values, bits)
    return File(content, _spanning(tifffile.imread(io.BytesIO(content)), bits))


def _tiff_truth(content: bytes, kind: str) -> Samples:
    truth = tifffile.imread(io.BytesIO(content))
    if truth.dtype != np.uint8 and kind == "Lab":
        return truth  # it is refused
    if kind in ("CMYK", "Lab"):  # what littlecms makes of it, or Pillow's rule for inks without a profile
        with Image.open(io.BytesIO(content)) as image:
            return np.asarray(image.convert("RGB")) if kind == "CMYK" else _of_lab(truth)
    return np.repeat(truth[..., None], 3, axis=2) if kind == "palette" else truth


def _of_lab(lab: Samples) -> Samples:
    """sRGB of 8-bit CIELAB: L* 0 to 255, a* and b* as signed bytes."""
    floats = lab.astype(np.float32)
    signed = lab[..., 1:].astype(np.uint8).view(np.int8)
    floats = np.concatenate((floats[..., :1] * (100 / 255), signed.astype(np.float32)), axis=2)
    return np.asarray(np.rint(cv2.cvtColor(floats, cv2.COLOR_LAB2RGB).clip(0, 1) * 255).astype(np.uint8))


def _spanning(values: Samples, bits: int) -> Samples:
    kind = np.uint8 if bits <= 8 else np.uint16
    return np.asarray(np.rint(values * (np.iinfo(kind).max / (2**bits - 1))).astype(kind))


def bigtiff(channels: str, bits: int) -> File:
    values = ramps(CHANNELS[channels], bits)
    content = made.tiff(values, channels, bigtiff=True, byteorder=">", compression="deflate", predictor=True)
    return File(content, tifffile.imread(io.BytesIO(content)))


def avif(channels: str, bits: int) -> File:
    values = squeezed(ramps(CHANNELS[channels], bits))
    content = bytes(imagecodecs.avif_encode(values, level=100, bitspersample=bits))
    decoded = imagecodecs.avif_decode(content)
    if channels == "grey+alpha":  # Pillow makes it RGB
        return File(content, _spanning(np.rint(decoded[..., [0, 0, 0, 1]] * (255 / (2**bits - 1))), 8), 0.01)
    return File(content, _spanning(decoded, bits))


def jpeg2000(channels: str, bits: int) -> File:
    values = ramps(CHANNELS[channels.rsplit(maxsplit=1)[-1]], bits)
    signed = channels.startswith("signed")
    given = (values.astype(int) - 2 ** (bits - 1)).astype(f"i{values.itemsize}") if signed else values
    content = bytes(imagecodecs.jpeg2k_encode(squeezed(given), level=0, reversible=True, bitspersample=bits))
    return File(content, _spanning(imagecodecs.jpeg2k_decode(content), bits))


def webp(channels: str, bits: int) -> File:
    content = bytes(imagecodecs.webp_encode(ramps(CHANNELS[channels], bits), lossless=True))
    return File(content, imagecodecs.webp_decode(content))


def qoi(channels: str, bits: int) -> File:
    content = bytes(imagecodecs.qoi_encode(ramps(CHANNELS[channels], bits)))
    return File(content, imagecodecs.qoi_decode(content))


def heic(channels: str, bits: int) -> File:
    pytest.importorskip("pillow_heif", reason="the extra heic is not installed")
    values = ramps(CHANNELS[channels], bits)
    mode = {"grey": "L", "RGB": "RGB", "RGB+alpha": "RGBA"}[channels]
    return File(made.heic(values, mode, bits), _spanning(values, bits), 2e-5)


def pnm(channels: str, bits: int) -> File:
    values = ramps(CHANNELS[channels], bits)
    return File(made.pnm(values, 2**bits - 1), _spanning(values, bits))


def sgi(channels: str, bits: int) -> File:
    values = ramps(CHANNELS[channels], bits)
    return File(made.sgi(values), values if bits == 8 else (values >> 8).astype(np.uint8))


def pillows(image_format: str) -> Callable[[str, int], File]:
    """A file by Pillow, for formats that hold bytes as they are."""

    def make(channels: str, bits: int) -> File:
        values = ramps(CHANNELS[channels], bits)
        if channels == "palette":
            image, stream = Image.frombytes("P", values.shape[1::-1], values.tobytes()), io.BytesIO()
            image.putpalette(made.PALETTE)
            image.save(stream, image_format)
            return File(stream.getvalue(), made.palette_colours(values, 8))
        if (image_format, channels) == ("BMP", "RGB+alpha"):  # Pillow writes none that says so
            return File(cv2.imencode(".bmp", values[..., [2, 1, 0, 3]])[1].tobytes(), values)
        return File(by_pillow(values, image_format), values)

    return make


def jpegxl(channels: str, bits: int) -> File:
    return File(bytes(imagecodecs.jpegxl_encode(ramps(CHANNELS[channels], bits), lossless=True)), ramps(3, 8))


def pfm(*_: object) -> File:
    return File(b"PF\n40 24\n-1.0\n" + np.ones((24, 40, 3), "<f4").tobytes(), ramps(3, 8))


def raw(*_: object) -> File:
    """Grey, 8000 of 65535 in linear light, is by sRGB's curve this."""
    pytest.importorskip("rawpy", reason="the extra raw is not installed")
    level = 1.055 * (8000 / 65535) ** (1 / 2.4) - 0.055
    return File(made.raw_dng(), np.full((64, 96, 3), round(level * 65535), np.uint16), 0.01)


MAKERS: dict[str, Callable[[str, int], File]] = {
    "PNG": png,
    "JPEG": jpeg,
    "TIFF": tiff,
    "BigTIFF": bigtiff,
    "WebP": webp,
    "AVIF": avif,
    "HEIC": heic,
    "JPEG 2000": jpeg2000,
    "PPM": pnm,
    "SGI": sgi,
    "QOI": qoi,
    "JPEG XL": jpegxl,
    "PFM": pfm,
    "camera raw": raw,
    **{name: pillows(name) for name in ("BMP", "GIF", "TGA", "PCX")},
}
READ = [
    (name, int(bits), channels, read)
    for name, depths, kinds, read in table("Read")
    for bits in listed(depths)
    for channels in listed(kinds)
]


@pytest.mark.parametrize(("name", "bits", "channels", "read"), READ)
def test_files_are_read_as_the_table_says(
    tmp_path: Path, name: str, bits: int, channels: str, read: str
) -> None:
    file = MAKERS[name](channels, bits)
    (tmp_path / "a").write_bytes(file.content)
    if read == "refused":
        with pytest.raises(ImageError, match=r"^expected .*(holds?|has|is) .*; ?convert it to"):
            read_photo(tmp_path / "a")
        return
    photo = read_photo(tmp_path / "a")
    depth = bits if read == "as TIFF" else int(read.split(maxsplit=1)[0])
    assert photo.depth_bits == depth
    assert bool(photo.notes) == read.endswith("with a note")
    expected = file.expected if file.expected.ndim == 3 else file.expected[..., None]
    found = photo.samples(depth)
    assert found.shape == expected.shape
    assert found.dtype == expected.dtype
    error = np.abs(found.astype(float) - expected) / (2**depth - 1)
    assert error.max() <= file.tolerance


def test_every_format_that_can_be_written_is_in_the_table() -> None:
    names = {suffix: row[0] for row in table("Written") for suffix in row[1].split()}
    assert names == {suffix: held.name for suffix, held in FORMATS.items()}


def second_reader(path: Path) -> Samples:
    """Read a file that we wrote, with other programs."""
    content = path.read_bytes()
    decoders = {
        ".png": imagecodecs.png_decode,
        ".webp": imagecodecs.webp_decode,
        ".avif": imagecodecs.avif_decode,
    }
    decoders |= dict.fromkeys((".jpg", ".jpeg"), imagecodecs.jpeg_decode)
    if path.suffix in decoders:
        return np.asarray(decoders[path.suffix](content))
    if path.suffix in (".tif", ".tiff"):
        return tifffile.imread(path)
    decoded: Any = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    return np.asarray(decoded[..., ::-1] if decoded.ndim == 3 else decoded)


def written() -> Iterator[tuple[str, int, str, bool]]:
    for _, names, depths, kinds, lossless in table("Written"):
        for bits in listed(depths):
            for channels in listed(kinds):
                yield from ((name, int(bits), channels, lossless == "yes") for name in names.split())


@pytest.mark.parametrize(("suffix", "bits", "channels", "lossless"), list(written()))
def test_files_are_written_as_the_table_says(
    tmp_path: Path, suffix: str, bits: int, channels: str, lossless: bool
) -> None:
    values = ramps(CHANNELS[channels], bits)
    photo = _photo(values)
    assert write_photo(tmp_path / f"a{suffix}", photo) == ()
    found = second_reader(tmp_path / f"a{suffix}")
    assert found.dtype == values.dtype
    assert found.shape == squeezed(values).shape
    np.testing.assert_allclose(found, squeezed(values), atol=0 if lossless else 8)
    again = read_photo(tmp_path / f"a{suffix}")
    np.testing.assert_array_equal(squeezed(again.samples(bits)), found)
    assert again.notes == ()


def _photo(values: Samples) -> Photo:
    channels, bits = values.shape[2], 8 * values.itemsize
    colours = values[..., : channels - (channels in (2, 4))]
    pixels = (np.broadcast_to(colours, (*colours.shape[:2], 3)) / np.float32(2**bits - 1)).astype(np.float32)
    alpha = values[..., -1] if channels in (2, 4) else None
    return Photo(pixels, alpha=alpha, greyscale=channels < 3, depth_bits=bits)


ASIDE: dict[str, dict[str, Any]] = {
    "profile": {"icc_profile": SRGB},
    "EXIF": {"exif": b"II*\0\x08\0\0\0\x01\0\x0f\x01\x02\0\x04\0\0\0Abc\0\0\0\0\0"},
    "XMP": {"xmp": b"<x:xmpmeta xmlns:x='adobe:ns:meta/'/>"},
    "IPTC": {"photoshop": b"8BIM\x04\x04\0\0\0\0\0\x0a\x1c\x02x\0\x05quiet"},
    "comment": {"texts": (("Comment", "a word of Zoë’s"),)},
    "texts": {"texts": (("Title", "a word"), ("Author", "山"))},
    "resolution": {"dpi": (300.0, 150.0)},
    "colours without a profile": {"colours": Colours((12, 13, 0, 1))},
}


@pytest.mark.parametrize("row", table("What else stays"), ids=lambda row: row[0])
def test_what_else_stays_is_as_the_table_says(tmp_path: Path, row: list[str]) -> None:
    pixels = np.full((16, 16, 3), 0.5, np.float32)
    suffix = next(suffix for suffix, held in FORMATS.items() if held.name == row[0])
    for (what, fields), cell in zip(ASIDE.items(), row[1:], strict=True):
        photo = Photo(pixels, **fields)
        notes = write_photo(tmp_path / f"a{suffix}", photo)
        again = read_photo(tmp_path / f"a{suffix}")
        name, value = next(iter(fields.items()))
        kept = getattr(again, name)
        if cell == "yes":
            same = kept == pytest.approx(value, abs=0.02) if what == "resolution" else kept == value
            assert (same, notes) == (True, ()), what
        elif cell == "as profile":
            assert (again.icc_profile, notes) == (Colours((12, 13, 0, 1)).profile(False), ()), what
        else:
            assert cell == "no"
            assert not kept, what
            assert len(notes) == 1, what
        assert notes == fitted(photo, suffix)[1]
