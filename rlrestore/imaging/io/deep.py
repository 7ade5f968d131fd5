"""Colour at 16 bits per sample, which Pillow would read at 8: here it is read by OpenCV."""

from typing import Any, BinaryIO

import cv2
import numpy as np
from PIL import Image

from rlrestore.errors import ImageError
from rlrestore.imaging.io.metadata import upright_block
from rlrestore.imaging.io.photo import Integers

_PNG_DEPTH_OFFSET = 24
_PNG_CHANNELS = {4: 2, 2: 3, 6: 4}
"""Channels of the colour types that Pillow reduces to 8 bits."""

_BITS_PER_SAMPLE_TAG = 258
_PLANAR_TAG = 284
_EXTRA_SAMPLES_TAG, _ASSOCIATED = 338, 1


def deep_colour_samples(image: Image.Image, stream: BinaryIO, name: str) -> Integers | None:
    """Read the 16-bit samples of a PNG or TIFF of more than one channel.

    Args:
        image: The file as Pillow opened and loaded it, which has proved it whole.
        stream: The open file.
        name: How to call the file in an error message.

    Returns:
        `(H, W, C)` uint16, colours that transparency was multiplied into divided by it again, not turned
        upright; None where the file is no deeper than Pillow reads.

    Raises:
        ImageError: It is a TIFF of separate planes, which neither Pillow nor OpenCV reads right.
    """
    channels = _deep_channels(image, stream)
    if channels == 0:
        return None
    tags: Any = getattr(image, "tag_v2", {})
    if tags.get(_PLANAR_TAG, 1) != 1:
        raise ImageError(
            f"expected the colours of a pixel side by side, but {name} is a 16-bit TIFF of separate planes; "
            "convert it to PNG"
        )
    stream.seek(0)
    content = stream.read()
    if image.format == "TIFF":  # OpenCV would turn some orientations and fail at others
        content = upright_block(content) or content
    decoded: Any = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    if decoded is None or decoded.dtype != np.uint16 or decoded.ndim != 3:
        return None
    if channels == 2:  # OpenCV repeats the grey channel
        return np.ascontiguousarray(decoded[..., 2:])
    colours: Integers = decoded[..., 2::-1]
    if channels == 4:
        alpha = decoded[..., 3:]
        if tags.get(_EXTRA_SAMPLES_TAG) == (_ASSOCIATED,):
            colours = _divided(colours, alpha)
        return np.concatenate((colours, alpha), axis=2)
    key = image.info.get("transparency")
    if isinstance(key, tuple):
        keyed = np.all(colours == np.asarray(key), axis=2, keepdims=True)
        return np.concatenate((colours, np.where(keyed, 0, 65535).astype(np.uint16)), axis=2)
    return colours


def _divided(colours: Integers, alpha: Integers) -> Integers:
    """Undo the multiplication of 16-bit colours `(H, W, 3)` with transparency `(H, W, 1)`."""
    whole = np.float32(65535)
    restored: Integers = np.rint(colours * (whole / np.maximum(alpha, 1))).clip(0, whole).astype(np.uint16)
    return restored


def _deep_channels(image: Image.Image, stream: BinaryIO) -> int:
    """Return the number of 16-bit channels, 0 when the file is not of this kind."""
    if image.format == "PNG":
        stream.seek(_PNG_DEPTH_OFFSET)
        depth, colour_type = stream.read(2)
        return _PNG_CHANNELS.get(colour_type, 0) if depth == 16 else 0
    tags: Any = getattr(image, "tag_v2", {})
    deep = image.format == "TIFF" and set(tags.get(_BITS_PER_SAMPLE_TAG, ())) == {16}
    return {"RGB": 3, "RGBA": 4}.get(image.mode, 0) if deep else 0
