"""TIFFs of 16 bits that few programs write: what they show is read right, or they are refused."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from rlrestore.imaging.io.files import read_photo

ROWS, COLUMNS = np.mgrid[:20, :30]
COLOURS = np.stack([COLUMNS * 1250, ROWS * 1600, (COLUMNS + ROWS) * 700], axis=2).astype(np.uint16)
ALPHA = (COLUMNS * 1500 + 9000).astype(np.uint16)[..., None]


def write_raw(path: Path, samples: npt.NDArray[np.uint16], photometric: int, **more: int) -> Path:
    """Write samples `(H, W, C)` as an uncompressed TIFF of one strip."""
    height, width, channels = samples.shape
    tags: dict[int, Any] = {256: width, 257: height, 258: (16,) * channels, 259: 1, 262: photometric}
    tags |= {273: (0,), 277: channels, 278: height, 279: (samples.nbytes,)}
    tags |= {int(tag.removeprefix("tag")): value for tag, value in more.items()}
    directory = ImageFileDirectory_v2(prefix=b"II")
    for tag, value in tags.items():
        directory[tag] = value
    stream = io.BytesIO()
    directory.save(stream)
    path.write_bytes(stream.getvalue() + samples.astype("<u2").tobytes())
    return path


def test_colours_that_transparency_was_multiplied_into(tmp_path: Path) -> None:
    multiplied = np.rint(COLOURS * (ALPHA / 65535)).astype(np.uint16)
    samples = np.concatenate((multiplied, ALPHA), axis=2)
    photo = read_photo(write_raw(tmp_path / "a.tif", samples, 2, tag338=1))
    np.testing.assert_allclose(photo.pixels * 65535, COLOURS, atol=5)
    np.testing.assert_array_equal(photo.alpha, ALPHA[..., 0])
    samples = np.concatenate((COLOURS, ALPHA), axis=2)
    photo = read_photo(write_raw(tmp_path / "b.tif", samples, 2, tag338=2))
    np.testing.assert_allclose(photo.pixels * 65535, COLOURS, atol=0.01)


@pytest.mark.parametrize(("photometric", "stored"), [(0, 65535 - COLOURS), (1, COLOURS)])
def test_white_may_be_zero(tmp_path: Path, photometric: int, stored: npt.NDArray[np.uint16]) -> None:
    photo = read_photo(write_raw(tmp_path / "a.tif", stored[..., :1], photometric))
    assert photo.depth_bits == 16
    np.testing.assert_allclose(photo.pixels[..., :1] * 65535, COLOURS[..., :1], atol=0.01)


def test_that_deep_cmyk_loses_depth_is_said(tmp_path: Path) -> None:
    samples = np.concatenate((COLOURS, ALPHA), axis=2)
    photo = read_photo(write_raw(tmp_path / "a.tif", samples, 5))
    assert photo.notes == ("CMYK converted to RGB", "16 bits a sample were read as 8")
