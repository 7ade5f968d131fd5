"""What files of less common kinds say beside their pixels, and what must not be made up."""

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms

from rlrestore.errors import ImageError
from rlrestore.imaging.io.decoding import decode_photo, from_image
from rlrestore.imaging.io.encoding import encode_photo
from rlrestore.imaging.io.files import Photo, read_photo
from rlrestore.imaging.io.holding import fitted
from rlrestore.imaging.io.metadata import without_orientation
from rlrestore.imaging.io.photoshop import iptc
from rlrestore.imaging.io.xmp import upright_packet
from tests.imaging.io.samples import SRGB, by_pillow, pnm, ramps, small_png, with_chunks

RECORDS = b"\x1c\x02x\0\x05quiet"
PIXELS = np.full((16, 16, 3), 0.5, np.float32)


def read(content: bytes) -> Photo:
    return decode_photo(io.BytesIO(content), "the file")


def png(*chunks: tuple[bytes, bytes]) -> bytes:
    return with_chunks(small_png(ramps(1, 8), 8, palette=False), *chunks)


def box(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I4s", len(data) + 8, kind) + data


def test_iptc_of_a_tiff_without_photoshops_block() -> None:
    stream = io.BytesIO()
    extra = [(33723, 7, len(RECORDS), RECORDS, True)]
    tifffile.imwrite(stream, ramps(3, 8), photometric="rgb", metadata=None, extratags=extra)
    assert iptc(read(stream.getvalue()).photoshop) == RECORDS


@pytest.mark.parametrize("kind", ["iptc", "8bim"])
def test_iptc_that_other_programs_hide_in_a_text_of_png(kind: str) -> None:
    block = b"8BIM\x04\x04\0\0" + struct.pack(">I", len(RECORDS)) + RECORDS
    digits = (block if kind == "8bim" else RECORDS).hex()
    text = f"\n{kind}\n{len(digits) // 2:8d}\n{digits}\n".encode()
    photo = read(png((b"zTXt", f"Raw profile type {kind}".encode() + bytes(2) + zlib.compress(text))))
    assert (iptc(photo.photoshop), photo.texts) == (RECORDS, ())


def test_texts_of_png_of_every_kind_come_back() -> None:
    chunks = (
        (b"tEXt", b"Title\0caf\xe9"),
        (b"zTXt", b"Long\0\0" + zlib.compress(b"word " * 1000)),
        (b"iTXt", "Author\0\0\0\0\0山".encode()),
    )
    photo = read(png(*chunks))
    assert photo.texts == (("Title", "café"), ("Long", "word " * 1000), ("Author", "山"))
    assert read(encode_photo(photo, ".png", "it")).texts == photo.texts


def test_a_chunk_that_would_fill_the_memory_is_left_out_in_words() -> None:
    packed = zlib.compress(bytes(40 * 2**20), 9)
    photo = read(png((b"zTXt", b"bomb\0\0" + packed), (b"iCCP", b"bomb\0\0" + packed)))
    assert (photo.texts, photo.icc_profile) == ((), None)
    assert photo.notes == (
        "its zTXt chunk was left out (more than 32 MB)",
        "its iCCP chunk was left out (more than 32 MB)",
    )


def test_unknown_chunks_and_segments_are_named() -> None:
    assert read(png((b"vpAg", bytes(9)))).notes == ("its vpAg chunk was left out",)
    assert read(png((b"tIME", bytes(7)))).notes == ()
    segment = struct.pack(">HH", 0xFFEB, 12) + b"JP\0credents"[:10]
    content = by_pillow(ramps(3, 8), "JPEG", extra=segment)
    assert read(content).notes == ("its APP11 segment (JP) was left out",)


def test_a_profile_and_xmp_of_jpeg_2000() -> None:
    content = imagecodecs.jpeg2k_encode(ramps(3, 8), level=0, codecformat="jp2")
    start = content.index(b"colr") - 4
    (length,) = struct.unpack_from(">I", content, start)
    colour = box(b"colr", b"\x02\0\0" + SRGB)
    header = content.index(b"jp2h") - 4
    (whole,) = struct.unpack_from(">I", content, header)
    grown = struct.pack(">I", whole + len(colour) - length)
    content = (
        bytes(content[:header]) + grown + content[header + 4 : start] + colour + content[start + length :]
    )
    packet = b"<x:xmpmeta xmlns:x='adobe:ns:meta/'/>"
    content += box(b"uuid", bytes.fromhex("be7acfcb97a942e89c71999491e3afac") + packet)
    photo = read(content)
    assert (photo.icc_profile, photo.xmp) == (SRGB, packet)


def test_a_profile_in_a_bmp() -> None:
    content = by_pillow(ramps(3, 8), "BMP")
    header = bytearray(124)
    header[:40] = struct.pack("<I", 124) + content[18:54]
    header[56:60] = b"DEBM"
    pixels = content[54:]
    struct.pack_into("<II", header, 112, 124 + len(pixels), len(SRGB))
    head = struct.pack("<2sIII", b"BM", 0, 0, 14 + 124)
    assert read(head + bytes(header) + pixels + SRGB).icc_profile == SRGB


def test_comments_of_gif_and_ppm() -> None:
    gif = by_pillow(ramps(1, 8), "GIF", comment="a word")
    assert read(gif).texts == (("Comment", "a word"),)
    assert read(pnm(ramps(3, 8), 255)).texts == (("Comment", "drawn by hand"),)


def test_a_resolution_turns_with_the_picture() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    content = by_pillow(ramps(3, 8), "PNG", exif=exif, dpi=(300, 150))
    assert read(content).dpi == pytest.approx((150, 300), abs=0.02)


def test_no_72_dpi_is_made_up_for_a_jpeg_with_exif() -> None:
    exif = Image.Exif()
    exif[0x010F] = "A maker"
    content = by_pillow(ramps(3, 8), "JPEG", exif=exif)
    assert read(content).dpi is None
    exif[282], exif[283], exif[296] = 100.0, 50.0, 3
    assert read(by_pillow(ramps(3, 8), "JPEG", exif=exif)).dpi == pytest.approx((254, 127))


def test_metadata_too_large_for_jpeg_is_left_out_in_words() -> None:
    exif = Image.Exif()
    exif[0x8769] = {0x927C: bytes(80_000)}
    block = exif.tobytes()[6:]
    photo = Photo(PIXELS, exif=block, texts=(("Comment", "x" * 70_000),))
    kept, notes = fitted(photo, ".jpg")
    assert notes == ("JPEG cannot hold all of it, left out: EXIF of 80 kB (at most 65), comment",)
    assert read(encode_photo(photo, ".jpg", "it")).exif is None
    assert read(encode_photo(photo, ".webp", "it")).exif == block
    assert kept.exif is None


def test_makers_notes_stay_byte_for_byte_in_avif() -> None:
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 1, "A maker"
    exif[0x8769] = {0x927C: bytes(range(200))}
    block = exif.tobytes()[6:]
    written = read(encode_photo(Photo(PIXELS, exif=block), ".avif", "it")).exif
    assert written == without_orientation(block)
    assert len(written) == len(block)
    reread = Image.Exif()
    reread.load(written)
    assert (reread.get(0x0112), reread[0x010F]) == (None, "A maker")
    assert reread.get_ifd(0x8769)[0x927C] == bytes(range(200))


def test_profiles_for_other_colours_do_not_go_into_a_file() -> None:
    profile = bytearray(SRGB)
    profile[16:20] = b"CMYK"
    kept, notes = fitted(Photo(PIXELS, icc_profile=bytes(profile)), ".png")
    assert kept.icc_profile is None
    assert notes == ("PNG cannot hold all of it, left out: colour profile (it is for CMYK)",)
    grey, _ = fitted(Photo(PIXELS, greyscale=True, icc_profile=SRGB), ".jpg")
    image: Any = ImageCms.profileToProfile(
        Image.new("L", (1, 1), 100),
        io.BytesIO(grey.icc_profile or b""),
        ImageCms.createProfile("sRGB"),
        outputMode="RGB",
    )
    assert np.ptp([*image.getpixel((0, 0)), 100]) <= 1


def test_what_xmp_announces_behind_the_picture_goes() -> None:
    packet = (
        b'<rdf:Description xmlns:GCamera="http://ns.google.com/photos/1.0/camera/" xmlns:dc="x" '
        b'GCamera:MotionPhoto="1" dc:title="kept" xmlns:C="http://ns.google.com/photos/1.0/container/">'
        b"<C:Directory><rdf:Seq><C:Item/></rdf:Seq></C:Directory><dc:creator>kept</dc:creator></rdf:Description>"
    )
    upright, announced = upright_packet(packet)
    assert upright == (
        b'<rdf:Description xmlns:dc="x" dc:title="kept"><dc:creator>kept</dc:creator></rdf:Description>'
    )
    assert announced == ("a motion photo", "a further picture")


def test_bytes_behind_a_jpeg_are_named() -> None:
    content = by_pillow(ramps(3, 8), "JPEG")
    assert read(content + b"film" * 100).notes == (
        "400 bytes that follow the picture in the file were left out",
    )
    assert read(content + bytes(100)).notes == ()


def test_a_pillow_image_of_12_bits_is_not_taken_for_16(tmp_path: Path) -> None:
    place = Path(__file__).parents[2] / "awkward" / "tiff_grey12.tif"
    with (
        Image.open(place) as image,
        pytest.raises(ImageError, match="of 12-bit ones; hand in the file's path"),
    ):
        from_image(image)
    assert read_photo(place).pixels.max() == 1.0


def test_a_pillow_image_keeps_names_and_comments(tmp_path: Path) -> None:
    folder = Path(__file__).parents[2] / "awkward"
    with Image.open(folder / "artist_utf8.tif") as image:
        block = from_image(image).exif or b""
    assert "Zoë Ångström 山".encode() in block
    with Image.open(folder / "jpg_com.jpg") as image:
        assert from_image(image).texts == (("Comment", "a note of the owner"),)


@pytest.mark.parametrize("planes", ["contig", "separate"])
@pytest.mark.parametrize("tile", [None, (16, 16)])
@pytest.mark.parametrize("order", ["<", ">"])
def test_deep_tiffs_of_any_layout(planes: Any, tile: Any, order: Any) -> None:
    samples = np.random.default_rng(0).integers(0, 65536, (37, 53, 3), np.uint16)
    stored = samples if planes == "contig" else samples.transpose(2, 0, 1)
    for compression, predictor in ((None, False), ("lzw", True), ("deflate", True), ("packbits", False)):
        stream = io.BytesIO()
        options: dict[str, Any] = {"compression": compression, "predictor": predictor, "tile": tile}
        options |= {"planarconfig": planes, "byteorder": order, "metadata": None, "photometric": "rgb"}
        tifffile.imwrite(stream, np.ascontiguousarray(stored), **options)
        np.testing.assert_array_equal(read(stream.getvalue()).samples(16), samples)
