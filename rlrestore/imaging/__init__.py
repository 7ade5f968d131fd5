"""Image files, quality measures, degradations, patches and tiling: the ground that everything stands on."""

from typing import TYPE_CHECKING

from rlrestore.lazy import lazy_names

if TYPE_CHECKING:
    from rlrestore.imaging.metrics import psnr_db, ssim
    from rlrestore.imaging.mixture_files import read_mixture, shipped_mixtures
    from rlrestore.imaging.pairs import degraded_pairs
    from rlrestore.imaging.patches import PhotoBank
    from rlrestore.imaging.recipes import Blend, Cameras, Films, NamedRecipe, SingleDistortions, Untouched

__all__ = [
    "PATCH",
    "Blend",
    "Cameras",
    "Films",
    "NamedRecipe",
    "PhotoBank",
    "SingleDistortions",
    "Untouched",
    "degraded_pairs",
    "psnr_db",
    "read_mixture",
    "shipped_mixtures",
    "ssim",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "metrics": (
            "psnr_db",
            "ssim",
        ),
        "mixture_files": ("read_mixture", "shipped_mixtures"),
        "pairs": ("degraded_pairs",),
        "patches": ("PhotoBank",),
        "recipes": (
            "Blend",
            "Cameras",
            "Films",
            "NamedRecipe",
            "SingleDistortions",
            "Untouched",
        ),
    },
)

PATCH = 63
"""Side of a patch in pixels: what the agent observes, and what the test sets are made of.

Source: paper, section 4.1.
"""
