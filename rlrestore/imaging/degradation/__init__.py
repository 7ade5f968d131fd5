"""Degradations: blur, noise, JPEG, cameras, film; the paper's mixtures; their libjpeg twin for files."""

from typing import TYPE_CHECKING

from rlrestore.lazy import lazy_names

if TYPE_CHECKING:
    from rlrestore.imaging.degradation.blur import gaussian_blur
    from rlrestore.imaging.degradation.camera import CameraRecipe
    from rlrestore.imaging.degradation.development import simulate_camera
    from rlrestore.imaging.degradation.film import FilmRecipe, simulate_film
    from rlrestore.imaging.degradation.libjpeg import degrade_pixels
    from rlrestore.imaging.degradation.mixtures import ANY, MILD, MODERATE, SEVERE, Mixture
    from rlrestore.imaging.degradation.noise import gaussian_noise
    from rlrestore.imaging.degradation.protocol import Degradations, degrade
    from rlrestore.imaging.degradation.registry import DEGRADATIONS, Degradation, Parameter

__all__ = [
    "ANY",
    "DEGRADATIONS",
    "MILD",
    "MODERATE",
    "SEVERE",
    "CameraRecipe",
    "Degradation",
    "Degradations",
    "FilmRecipe",
    "Mixture",
    "Parameter",
    "degrade",
    "degrade_pixels",
    "gaussian_blur",
    "gaussian_noise",
    "simulate_camera",
    "simulate_film",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "blur": ("gaussian_blur",),
        "camera": ("CameraRecipe",),
        "development": ("simulate_camera",),
        "film": (
            "FilmRecipe",
            "simulate_film",
        ),
        "libjpeg": ("degrade_pixels",),
        "mixtures": (
            "ANY",
            "MILD",
            "MODERATE",
            "SEVERE",
            "Mixture",
        ),
        "noise": ("gaussian_noise",),
        "protocol": (
            "Degradations",
            "degrade",
        ),
        "registry": (
            "DEGRADATIONS",
            "Degradation",
            "Parameter",
        ),
    },
)
