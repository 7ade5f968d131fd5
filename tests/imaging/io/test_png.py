"""PNG as it is written, beside another reader."""

import cv2
import numpy as np
import pytest

from rlrestore.imaging.io import png
from rlrestore.imaging.io.photo import Photo


@pytest.mark.parametrize("depth_bits", [8, 16])
@pytest.mark.parametrize("width", [8, 700])
def test_another_reader_finds_every_sample(
    depth_bits: int, width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In bands of one row and of many: noise beside flat parts, so that every neighbour predicts some."""
    monkeypatch.setattr(png, "_BAND", 4000)
    top = 2**depth_bits - 1
    samples = np.random.default_rng(0).integers(0, top + 1, (41, width, 3))
    samples[10:20], samples[:, 3:5] = top, 7
    content = png.encode_png(Photo((samples / top).astype(np.float32), depth_bits=depth_bits))
    read = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    assert read is not None
    np.testing.assert_array_equal(read[..., ::-1], samples)


def test_a_slope_is_predicted() -> None:
    """It rises by 1 to the right and by 3 down."""
    rows = np.add.outer(np.arange(5) * 3, np.arange(6)).astype(np.uint8)
    filtered = np.frombuffer(png._filtered(rows, 1, first=True), np.uint8).reshape(5, 7)
    # In the first row the left pixel is the prediction, below it the nearest of left, above and corner.
    assert filtered[0].tolist() == [4, 0, 1, 1, 1, 1, 1]
    assert filtered[1].tolist() == [4, 3, 1, 1, 1, 1, 1]
