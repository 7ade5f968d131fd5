"""What a recipe draws for one photograph's file, of any size: by libjpeg, OpenCV and NumPy."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from rlrestore.imaging.degradation import stage_files
from rlrestore.imaging.degradation.camera import Camera, describe
from rlrestore.imaging.degradation.camera_files import Pixels, compression_round_trip, take_pixels
from rlrestore.imaging.degradation.compression import Compression
from rlrestore.imaging.degradation.development import context_px
from rlrestore.imaging.degradation.film import Film
from rlrestore.imaging.degradation.jpeg import MCU
from rlrestore.imaging.degradation.libjpeg import degrade_pixels
from rlrestore.imaging.degradation.protocol import Degradations
from rlrestore.imaging.io.samples import Floats, to_integers

MARGIN_PX = 32
"""More than the blur's radius and a coder's step."""

FilePair = tuple[Pixels, Pixels]
"""A degraded photograph and its reference, `(H, W, 3)` uint8 each."""


@dataclass(frozen=True)
class FileDraw:
    """A degradation with its amounts, drawn for one photograph.

    Attributes:
        text: What it is, in one line.
        margin_px: How many pixels around a patch must be degraded with it: what reaches it, and a coder's
            blocks.
        apply: Degrades a photograph `(H, W, 3)` in [0, 1]; returns it and its reference. All chance comes
            from the generators of the draw.
    """

    text: str
    margin_px: int
    apply: Callable[[Floats], FilePair]


def to_bytes(pixels: Floats) -> Pixels:
    """Round a photograph in [0, 1] to 8 bits."""
    return np.ascontiguousarray(to_integers(pixels, 8).astype(np.uint8, copy=False))


def protocol_draw(amounts: Degradations, rng: np.random.Generator) -> FileDraw:
    """Return the protocol's degradation by the amounts of one image."""
    blur_px, noise_255 = amounts.blur_sigma_px.item(), amounts.noise_sigma_255.item()
    quality = round(amounts.jpeg_quality.item())
    words = [
        f"blur {blur_px:.2f} px" if blur_px else "",
        f"noise {noise_255:.1f} of 255" if noise_255 else "",
        f"JPEG {quality}" if quality else "",
    ]

    def apply(pixels: Floats) -> FilePair:
        clean = to_bytes(pixels)
        return degrade_pixels(clean, blur_px, noise_255, quality or None, rng), clean

    return FileDraw(", ".join(filter(None, words)) or "nothing", MARGIN_PX, apply)


def camera_draw(camera: Camera, generator: torch.Generator) -> FileDraw:
    """Return the picture that a camera takes; its reference is the same without noise and JPEG."""
    margin_px = context_px(camera.scale) + 2 * MCU
    return FileDraw(describe(camera), margin_px, lambda pixels: take_pixels(pixels, camera, generator))


def film_draw(film: Film, rng: np.random.Generator) -> FileDraw:
    """Return one photograph's film, and what its scanner did."""
    blur_px, sigma_255, size_px, common = (
        amount.item()
        for amount in (film.blur_sigma_px, film.grain_sigma_255, film.grain_size_px, film.grain_common)
    )
    words = f"blur {blur_px:.2f} px, grain {sigma_255:.1f} of 255, {size_px:.1f} px wide"

    def apply(pixels: Floats) -> FilePair:
        grainy = stage_files.grain(
            stage_files.gaussian_blur(pixels, blur_px), sigma_255, size_px, common, rng
        )
        return compression_round_trip(to_bytes(grainy), film.compression), to_bytes(pixels)

    return FileDraw(f"{words}, {_compression_words(film.compression)}", MARGIN_PX, apply)


def _compression_words(compression: Compression) -> str:
    quality = round(compression.quality.item())
    return f"JPEG {quality}" if quality else "not compressed"
