"""A server of the toy model, which brightens by 1/8 and then darkens by 1/16."""

import io
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from tests.serve.live import Live, live
from tests.toys import make_restorer


@pytest.fixture(scope="module")
def toy() -> Iterator[Live]:
    """The server, for the tests of one file."""
    with live(make_restorer([0, 1])) as running:
        yield running


@pytest.fixture
def grey() -> bytes:
    """A PNG of one colour, 100 of 255."""
    return png(np.full((24, 32, 3), 100, np.uint8))


def png(pixels: npt.NDArray[np.uint8], **options: object) -> bytes:
    """Return pixels as a file."""
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG", **options)
    return stream.getvalue()
