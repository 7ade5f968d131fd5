"""Samples that Pillow would read at less than their depth: here they are read by others."""

import importlib
from typing import Any, BinaryIO

import numpy as np

from rlrestore.errors import ImageError
from rlrestore.imaging.io import boxes
from rlrestore.imaging.io.opening import Opened, is_deep_jp2
from rlrestore.imaging.io.pnm import pnm_samples
from rlrestore.imaging.io.samples import Integers, scaled
from rlrestore.imaging.io.tiff_samples import tiff_samples

_PNG_DEPTH_OFFSET = 24
_PNG_CHANNELS = {4: 2, 2: 3, 6: 4}
"""Channels of the colour types that Pillow reduces to 8 bits."""


def deep_samples(opened: Opened, name: str) -> Integers | None:
    """Read the samples of a file that is deeper than Pillow reads, or of an unusual kind.

    Args:
        opened: The file.
        name: How to call it in an error message.

    Returns:
        `(H, W, C)` uint8 or uint16 that span their type, not turned upright, colours not multiplied with
        transparency; None where Pillow reads them as they are.

    Raises:
        ImageError: They cannot be read faithfully.
    """
    if opened.layout is not None and opened.directory is not None:
        return tiff_samples(opened.stream, opened.directory, opened.layout, name)
    if opened.netpbm is not None and opened.netpbm.top > 255:
        return pnm_samples(opened.stream, opened.netpbm)
    if opened.kind == "PNG":
        return _png(opened)
    if opened.kind == "AVIF" and boxes.avif_is_deep(opened.stream):
        return _avif(opened)
    if opened.kind == "HEIF" and opened.image is not None and opened.image.info.get("bit_depth", 8) > 8:
        return _heif(opened.stream)
    about = is_deep_jp2(opened)
    return None if about is None else _jp2(opened, about, name)


def _whole(opened: Opened) -> None:
    """Have Pillow read the file, which proves it whole; OpenCV fills in what is missing."""
    if opened.image is not None:
        opened.image.load()


def _opencv(stream: BinaryIO) -> Any:
    """Return `(H, W, C)` samples as OpenCV reads them but in the order of RGB, None where it does not."""
    import cv2  # a machine that only trains on 8-bit photographs need not have it

    stream.seek(0)
    decoded: Any = cv2.imdecode(np.frombuffer(stream.read(), np.uint8), cv2.IMREAD_UNCHANGED)
    if decoded is None or decoded.ndim == 2:
        return None if decoded is None else decoded[..., None]
    return decoded[..., [2, 1, 0, 3][: decoded.shape[2]]]


def _png(opened: Opened) -> Integers | None:
    opened.stream.seek(_PNG_DEPTH_OFFSET)
    depth, colour_type = opened.stream.read(2)
    channels = _PNG_CHANNELS.get(colour_type, 0) if depth == 16 else 0
    if channels == 0 or opened.image is None:
        return None
    _whole(opened)
    decoded = _opencv(opened.bare or opened.stream)
    if decoded is None or decoded.dtype != np.uint16:
        raise ValueError("its pixels cannot be unpacked")
    if channels == 2:  # OpenCV repeats the grey channel
        return np.ascontiguousarray(decoded[..., 2:])
    samples: Integers = np.ascontiguousarray(decoded[..., :channels])
    key = opened.image.info.get("transparency")
    if channels == 3 and isinstance(key, tuple):
        keyed = np.all(samples == np.asarray(key), axis=2, keepdims=True)
        return np.concatenate((samples, np.where(keyed, 0, 65535).astype(np.uint16)), axis=2)
    return samples


def _avif(opened: Opened) -> Integers | None:
    _whole(opened)
    decoded = _opencv(opened.stream)
    if decoded is None or decoded.dtype != np.uint16:
        return None
    twelve = any(len(data) > 2 and data[2] & 0x20 for data in boxes.inside(opened.stream, *boxes.AV1_PATH))
    return scaled(decoded, 2 ** (12 if twelve else 10) - 1, 16)


def _heif(stream: BinaryIO) -> Integers:
    pillow_heif: Any = importlib.import_module("pillow_heif")
    stream.seek(0)
    picture = pillow_heif.open_heif(stream, convert_hdr_to_8bit=False, hdr_to_16bit=False)
    samples: Integers = np.asarray(picture)
    samples = samples if samples.ndim == 3 else samples[..., None]
    return scaled(samples, 2 ** int(picture.info["bit_depth"]) - 1, 16)


def _jp2(opened: Opened, about: boxes.Components, name: str) -> Integers:
    bits = about.bits[0]
    odd = about.signed or len(set(about.bits)) > 1 or bits > 16
    _whole(opened)
    decoded = None if odd else _opencv(opened.stream)
    if decoded is None or decoded.shape[2] != len(about.bits):
        kind = "signed " * about.signed + "/".join(str(depth) for depth in dict.fromkeys(about.bits)) + "-bit"
        raise ImageError(
            f"expected samples of one depth in JPEG 2000, grey, RGB or RGBA, but {name} holds "
            f"{len(about.bits)} channels of {kind} ones; convert it to 16-bit TIFF or PNG"
        )
    return scaled(decoded, 2**bits - 1, 8 if bits < 8 else 16)
