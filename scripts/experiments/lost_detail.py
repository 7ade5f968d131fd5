"""How the constants of `--detail` were chosen: on training photographs, held out and degraded on the spot.

Every photograph is taken by a simulated camera as training draws it, in focus and not scaled down; put on
film; and degraded by the protocol. The chain's results are blended at every setting, and measured against the
camera's picture without noise, and against the photographs.
"""

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from rlrestore.imaging.degradation.camera import CameraRecipe
from rlrestore.imaging.degradation.camera_files import compression_round_trip, take_pixels
from rlrestore.imaging.degradation.film import FILM, add_grain
from rlrestore.imaging.degradation.libjpeg import degrade_pixels
from rlrestore.imaging.degradation.mixtures import ANY
from rlrestore.imaging.io.samples import Floats, luma, to_floats, to_integers
from rlrestore.imaging.psnr import photo_psnr_db
from rlrestore.inference.blending import SHRINKAGE, Shrinkage, blend, lost_detail
from rlrestore.inference.photos import as_photo, to_planes
from rlrestore.restorer import Restorer

CAMERA = "camera"
KINDS = (CAMERA, "film", "mixture")
SETTINGS = tuple(
    Shrinkage(octaves, side_px, share)
    for octaves, side_px, share in itertools.product((1, 2, 3), (3, 5, 9), (0.75, 1.0, 1.25, 1.5, 2.0))
)
LEAST_WAY, MOST_LOST_DB = 0.5, 0.3
"""What detail 0.5 must do: at least half of the way to the reference's energy, at most this loss of PSNR."""

Pixels = NDArray[np.uint8]


def high_energy(pixels: Floats) -> float:
    """Return the energy of the brightness above a quarter of the sampling rate, in a Hann window."""
    brightness = luma(pixels)[..., 0]
    height, width = brightness.shape
    window = np.hanning(height)[:, None] * np.hanning(width)
    spectrum = np.abs(np.fft.fft2((brightness - brightness.mean()) * window)) ** 2
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width))
    return float(spectrum[frequency > 0.25].sum())


def degraded_pairs(photos: Iterable[Pixels], seed: int) -> Iterator[tuple[str, Pixels, Pixels]]:
    """Yield of every photograph `(H, W, 3)` each kind, the degraded picture, and its reference."""
    generator, rng = torch.Generator().manual_seed(seed), np.random.default_rng(seed)
    cameras = CameraRecipe(soft_share=0.0, clean_share=0.0)
    for photo in photos:
        camera, film = cameras.sample(1, generator), FILM.sample(1, generator)
        mixture = ANY.sample(1, generator)
        yield CAMERA, *take_pixels(to_floats(photo), camera, generator)
        image = torch.from_numpy(to_planes(as_photo(photo)))
        grainy = to_integers(add_grain(image, film, generator)[0].permute(1, 2, 0).numpy(), 8)
        yield "film", compression_round_trip(grainy.astype(np.uint8), film.compression), photo
        blur_px, noise_255, quality = (
            one.item() for one in (mixture.blur_sigma_px, mixture.noise_sigma_255, mixture.jpeg_quality)
        )
        yield "mixture", degrade_pixels(photo, blur_px, noise_255, round(quality), rng), photo


@dataclass(frozen=True)
class Measured:
    """What a setting does on the pictures of one kind, those alone that the chain made smoother.

    Attributes:
        way: How far the mean energy came from the result's, 0, to the reference's, 1.
        lost_db: The mean loss of PSNR of all pictures of the kind; below 0 it is a gain.
    """

    way: float
    lost_db: float


Table = Mapping[Shrinkage, Mapping[str, Measured]]


def measure_settings(
    restorer: Restorer,
    pairs: Iterable[tuple[str, Pixels, Pixels]],
    detail: float = 0.5,
    settings: Sequence[Shrinkage] = SETTINGS,
) -> Table:
    """Restore all pictures, and blend each at every setting."""
    rows: dict[str, list[NDArray[np.float64]]] = {kind: [] for kind in KINDS}
    for kind, degraded, clean in pairs:
        restored = restorer.restore(degraded, keep_steps=False).photo.pixels
        truth = to_floats(clean)
        found = [_figures(restored, truth)]
        for setting in settings:
            lost = lost_detail(degraded, restored, setting)
            found.append(_figures(blend(degraded, restored, lost, 1.0, detail), truth))
        rows[kind].append(np.array(found))
    return {
        setting: {kind: _mean(np.array(found), place) for kind, found in rows.items() if found}
        for place, setting in enumerate(settings, 1)
    }


def _figures(pixels: Floats, truth: Floats) -> tuple[float, float]:
    """Return the energy as a multiple of the reference's, and the PSNR in dB."""
    planes = (to_planes(as_photo(one)) for one in (pixels, truth))
    return high_energy(pixels) / high_energy(truth), photo_psnr_db(*planes)


def _mean(found: NDArray[np.float64], place: int) -> Measured:
    """Return the mean of `(pictures, 1 + settings, 2)` at a setting; the first is without detail."""
    smoother = found[found[:, 0, 0] < 1]
    plain, detailed = smoother[:, 0, 0].mean(), smoother[:, place, 0].mean()
    lost_db = found[:, 0, 1] - found[:, place, 1]
    return Measured(float((detailed - plain) / (1 - plain)), float(lost_db.mean()))


def choose(table: Table) -> Shrinkage | None:
    """Return what costs cameras' pictures least of the settings that do what is asked; None if none does.

    That is: on cameras at least half of the way, and on no kind a larger loss than is allowed. What blur and
    JPEG have taken from the other kinds does not come back.
    """
    fit = [
        setting
        for setting, kinds in table.items()
        if kinds[CAMERA].way >= LEAST_WAY and max(one.lost_db for one in kinds.values()) <= MOST_LOST_DB
    ]
    return min(fit, key=lambda setting: table[setting][CAMERA].lost_db, default=None)


def lines(table: Table) -> Iterator[str]:
    """Yield the table for a terminal; what `choose` takes and what ships are marked."""
    kinds = list(next(iter(table.values())))
    yield "octaves  side, px  noise share" + "".join(f"{kind + ': way, lost dB':>24}" for kind in kinds)
    for setting, found in table.items():
        cells = "".join(f"{found[kind].way:16.0%}{found[kind].lost_db:+8.3f}" for kind in kinds)
        marks = "  < chosen" * (setting == choose(table)) + "  < ships" * (setting == SHRINKAGE)
        yield f"{setting.octaves:7} {setting.side_px:9} {setting.noise_share:12g}{cells}{marks}"
