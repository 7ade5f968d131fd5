"""Where each tool worked, for the page: small pictures and what their colours mean."""

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from rlrestore.imaging.io.photo import Photo
from rlrestore.inference.regions import Regions

SIDE = 800
"""Pixels of a map's longer side at most."""


def preview(photo: Photo) -> Image.Image:
    """Return a small copy of a photograph, without its transparency."""
    step = max(1, max(photo.width, photo.height) // (2 * SIDE))
    image = Photo(np.ascontiguousarray(photo.pixels[::step, ::step])).to_image()
    image.thumbnail((SIDE, SIDE))
    return image


def draw_maps(small: Image.Image | None, regions: Sequence[Regions]) -> tuple[bytes, ...]:
    """Return a map of every step as PNG.

    Args:
        small: The photograph as it came; there is no map without it.
        regions: Of every step.
    """
    return () if small is None else tuple(_png(one.overlay(np.asarray(small))) for one in regions)


def legend_json(regions: Regions) -> list[dict[str, Any]]:
    """Return the legend of a map as plain JSON values."""
    return [
        {"tool": name, "share": round(share, 4), "colour": "#{:02x}{:02x}{:02x}".format(*colour)}
        for name, share, colour in regions.legend()
    ]


def _png(pixels: np.ndarray[Any, np.dtype[np.uint8]]) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()
