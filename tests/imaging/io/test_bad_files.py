"""Bad input: one clear line each, nothing half-written, nothing of Pillow's own on the way."""

import io
import os
import re
import struct
import tempfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from rlrestore.errors import ImageError
from rlrestore.imaging.io.decoding import decode_photo
from rlrestore.imaging.io.files import Photo, check_output, read_photo, write_photo

Pixels = npt.NDArray[np.uint8]


def _photo(height: int = 16, width: int = 16) -> Photo:
    return Photo(np.full((height, width, 3), 0.5, np.float32))


def _encoded(pixels: Pixels, image_format: str, **options: object) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, image_format, **options)
    return stream.getvalue()


def _png_header(width: int, height: int) -> bytes:
    """A PNG of a few bytes that claims any size."""
    chunks = (
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(b"\0" * 99)),
    )
    body = b"".join(
        struct.pack(">I", len(payload)) + kind + payload + struct.pack(">I", zlib.crc32(kind + payload))
        for kind, payload in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + body


def _refusal(path: Path) -> str:
    """Return the one line with which reading a file is refused."""
    with pytest.raises(ImageError, match=r"^expected .*$") as caught:
        read_photo(path)
    message = str(caught.value)
    assert "\n" not in message
    assert repr(str(path)) in message
    return message


def _photo_or_refusal(path: Path) -> Photo | str:
    try:
        return read_photo(path)
    except ImageError as error:
        return str(error)


def test_a_missing_file(tmp_path: Path) -> None:
    assert "does not exist; check the path" in _refusal(tmp_path / "nowhere.png")


def test_a_folder_instead_of_a_file(tmp_path: Path) -> None:
    assert "is a folder; name a file in it" in _refusal(tmp_path)


def test_a_file_below_a_file(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    assert "cannot be opened (Not a directory)" in _refusal(tmp_path / "a" / "b.png")


def test_zero_bytes(tmp_path: Path) -> None:
    (tmp_path / "a.png").touch()
    assert "has zero bytes; get a fresh copy" in _refusal(tmp_path / "a.png")
    with pytest.raises(ImageError, match="expected an image file, but stdin has zero bytes; get a fresh"):
        decode_photo(io.BytesIO(b""), "stdin")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_does_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.png")
    assert "is not a regular file" in _refusal(tmp_path / "a.png")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"just some text\n" * 50, "holds text, whatever its name; get the picture itself"),
        (b"<!DOCTYPE html>\n<title>404</title>", "holds text, whatever its name; get the picture itself"),
        ("\u65e5\u672c\u8a9e".encode() * 5, "holds text, whatever its name"),  # cut within a character
        (b"\x00" * 4000, "is none that can be read; convert it to PNG"),
        (b"\xff\xfe\xfd" * 40, "is none that can be read; convert it to PNG"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%EOF\n", "is a PostScript file; convert it to PNG"),
        (b"PK\3\4" + b"\0" * 40, "is a ZIP archive"),
    ],
)
def test_what_is_no_picture_is_told_by_what_it_is(tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / "a.png").write_bytes(content)
    assert words in _refusal(tmp_path / "a.png")


def test_a_name_with_a_line_break_is_shown_on_one_line(tmp_path: Path) -> None:
    (tmp_path / "two\nlines.png").write_text("text")
    assert r"two\nlines.png" in _refusal(tmp_path / "two\nlines.png")


def test_a_name_with_a_null_character(tmp_path: Path) -> None:
    assert "cannot be opened (embedded null byte)" in _refusal(tmp_path / "a\0.png")


@pytest.mark.parametrize(("height", "width"), [(7, 8), (8, 7), (1, 1), (7, 500)])
def test_an_image_smaller_than_8_by_8(tmp_path: Path, height: int, width: int) -> None:
    Image.new("RGB", (width, height)).save(tmp_path / "a.png")
    assert f"at least 8×8 pixels, but '{tmp_path}/a.png' is {width}×{height}" in _refusal(tmp_path / "a.png")


def test_8_by_8_is_enough(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    assert read_photo(tmp_path / "a.png").pixels.shape == (8, 8, 3)


@pytest.mark.parametrize(("width", "height"), [(25_000, 20_000), (2**31 - 1, 2**31 - 1), (200_001, 1000)])
def test_an_absurd_header_in_a_tiny_file(tmp_path: Path, width: int, height: int) -> None:
    (tmp_path / "a.png").write_bytes(_png_header(width, height))
    message = _refusal(tmp_path / "a.png")
    assert "expected at most 200 megapixels" in message
    assert f"claims {width}×{height}" in message


def test_an_absurd_header_of_a_jpeg(tmp_path: Path, photograph: Pixels) -> None:
    content = bytearray(_encoded(photograph, "JPEG"))
    start = content.index(b"\xff\xc0") + 5
    content[start : start + 4] = struct.pack(">HH", 25_000, 20_000)
    (tmp_path / "a.jpg").write_bytes(content)
    assert "claims 20000×25000 (500 megapixels); crop or shrink" in _refusal(tmp_path / "a.jpg")


def test_200_megapixels_are_not_refused_by_their_header(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(_png_header(200_000, 1000))
    assert "truncated or damaged" in _refusal(tmp_path / "a.png")


FORMATS: dict[str, dict[str, Any]] = {
    "png": {},
    "jpeg": {},
    "jpeg progressive": {"progressive": True},
    "webp": {"lossless": True},
    "tiff": {},
    "tiff deflate": {"compression": "tiff_adobe_deflate"},
    "bmp": {},
    "ppm": {},
    "gif": {},
}


@pytest.mark.parametrize("kind", FORMATS)
@settings(max_examples=15, deadline=None)
@given(share=st.floats(0, 0.999))
def test_a_truncated_file_is_never_silently_accepted(kind: str, share: float) -> None:
    """Either all pixels are there (only a checksum or end marker is lost), or a note says which are not.

    Only a JPEG that lacks its last bytes gets such a note; else the file is refused.
    """
    pixels = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    content = _encoded(pixels, kind.split(maxsplit=1)[0].upper(), **FORMATS[kind])
    with tempfile.TemporaryDirectory() as folder:
        whole, cut = Path(folder, "whole"), Path(folder, "cut")
        whole.write_bytes(content)
        cut.write_bytes(content[: int(share * len(content))])
        photo = _photo_or_refusal(cut)
        if isinstance(photo, str):
            assert photo.startswith("expected ")
            assert "\n" not in photo
        else:
            lost = next(
                (int(number) for note in photo.notes for number in re.findall(r"last (\d+) rows", note)), 0
            )
            kept = len(pixels) - lost
            assert lost == 0 or kind == "jpeg"
            np.testing.assert_array_equal(photo.pixels[:kept], read_photo(whole).pixels[:kept])


def test_a_jpeg_cut_in_the_middle_says_so(tmp_path: Path, photograph: Pixels) -> None:
    content = _encoded(photograph, "JPEG")
    (tmp_path / "a.jpg").write_bytes(content[: len(content) // 2])
    message = _refusal(tmp_path / "a.jpg")
    assert "expected a complete JPEG image" in message
    assert "truncated or damaged" in message
    assert "get a fresh copy" in message


@settings(max_examples=80, deadline=None)
@given(data=st.data())
def test_damaged_bytes_are_read_or_refused_by_one_line(data: st.DataObject) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (24, 32, 3), dtype=np.uint8)
    kind = data.draw(st.sampled_from(sorted(FORMATS)))
    content = bytearray(_encoded(pixels, kind.split(maxsplit=1)[0].upper(), **FORMATS[kind]))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, min(200, len(content) - 1)))] = data.draw(st.integers(0, 255))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "damaged")
        path.write_bytes(content)
        photo = _photo_or_refusal(path)
        if isinstance(photo, str):
            assert photo.startswith("expected ")
            assert "\n" not in photo
        else:
            assert np.isfinite(photo.pixels).all()


@pytest.mark.parametrize("image_format", ["GIF", "WEBP", "TIFF", "PNG"])
def test_several_frames_are_refused(tmp_path: Path, photograph: Pixels, image_format: str) -> None:
    first, second = Image.fromarray(photograph), Image.fromarray(255 - photograph)
    first.save(tmp_path / "a", image_format, save_all=True, append_images=[second])
    message = _refusal(tmp_path / "a")
    assert f"is an animated or multi-page {image_format}; save its frames as separate files" in message


def test_floating_point_samples_are_refused(tmp_path: Path) -> None:
    Image.fromarray(np.random.default_rng(0).random((12, 12), np.float32)).save(tmp_path / "a.tif")
    assert "holds floating-point ones; convert it to 16-bit TIFF" in _refusal(tmp_path / "a.tif")


def test_32_bit_samples_are_refused(tmp_path: Path) -> None:
    Image.fromarray(np.full((12, 12), 70_000, np.int32)).save(tmp_path / "a.tif")
    assert "holds signed 32-bit ones; convert it to 16-bit" in _refusal(tmp_path / "a.tif")


def _write_refusal(path: Path, photo: Photo) -> str:
    with pytest.raises(ImageError, match=r"^expected .*$") as caught:
        write_photo(path, photo)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("name", ["a.xyz", "a", "a.gif", ".png"])
def test_an_unknown_output_suffix(tmp_path: Path, name: str) -> None:
    message = _write_refusal(tmp_path / name, _photo())
    assert "ends in one of .png, .jpg" in message
    assert repr(str(tmp_path / name)) in message
    assert list(tmp_path.iterdir()) == []


def test_a_missing_output_folder(tmp_path: Path) -> None:
    assert "is none; create it first" in _write_refusal(tmp_path / "nowhere" / "a.png", _photo())


def test_a_folder_as_output(tmp_path: Path) -> None:
    (tmp_path / "a.png").mkdir()
    assert "is a folder; add a file name" in _write_refusal(tmp_path / "a.png", _photo())


def test_an_unwritable_output_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)  # permissions do not bind the superuser
    message = _write_refusal(tmp_path / "a.png", _photo())
    assert f"expected a writable folder, but '{tmp_path}' is not; choose another output" in message


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() == 0, reason="permissions do not bind the superuser"
)
def test_a_folder_without_write_permission(tmp_path: Path) -> None:
    tmp_path.chmod(0o555)
    assert "expected a writable folder" in _write_refusal(tmp_path / "a.png", _photo())


@pytest.mark.parametrize("suffix", ["jpg", "bmp", "ppm"])
def test_transparency_is_not_dropped_silently(tmp_path: Path, suffix: str) -> None:
    photo = Photo(_photo().pixels, alpha=np.full((16, 16), 9, np.uint8))
    message = _write_refusal(tmp_path / f"a.{suffix}", photo)
    assert (
        f"keeps the photo's transparency, but '{tmp_path}/a.{suffix}' ends in .{suffix}; write .png"
        in message
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("suffix", ["jpg", "webp"])
def test_a_photo_too_large_for_its_format(tmp_path: Path, suffix: str) -> None:
    message = _write_refusal(tmp_path / f"a.{suffix}", _photo(8, 70_000))
    assert "can hold 70000×8 pixels" in message
    assert "write .png" in message
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("step", ["open", "replace"])
@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_failed_write_leaves_the_folder_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, error: BaseException
) -> None:
    (tmp_path / "a.png").write_bytes(b"old")
    real_open: Callable[..., io.BufferedWriter] = Path.open

    def fail(self: Path, *arguments: object, **options: object) -> io.BufferedWriter:
        if step == "open":
            real_open(self, "xb").close()  # the file came into being before the disk was full
        raise error

    monkeypatch.setattr(Path, step, fail)
    with pytest.raises((ImageError, KeyboardInterrupt), match=r"No space left on device|^$"):
        write_photo(tmp_path / "a.png", _photo())
    monkeypatch.undo()
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]
    assert (tmp_path / "a.png").read_bytes() == b"old"


def test_an_output_can_be_checked_beforehand(tmp_path: Path) -> None:
    check_output(tmp_path / "a.PNG")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ImageError, match="is none; create it first"):
        check_output(tmp_path / "nowhere" / "a.png")


def test_pillows_own_limit_is_not_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pillow checks it a second time while it loads an uncompressed TIFF."""
    Image.new("RGB", (40, 40)).save(tmp_path / "a.tif")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    assert read_photo(tmp_path / "a.tif").pixels.shape == (40, 40, 3)
