"""The registry of degradations: each with its parameters, its batched form, and the same for files.

A mixture (`rlrestore.imaging.mixture_files`) applies them one after another, each by amounts that it draws
within ranges; what an amount may be stands here, once.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import torch
from torch import Tensor

from rlrestore.imaging.degradation import stage_files as files
from rlrestore.imaging.degradation.blur import RADIUS_PX, gaussian_blur
from rlrestore.imaging.degradation.film import grain
from rlrestore.imaging.degradation.jpeg import jpeg
from rlrestore.imaging.degradation.noise import gaussian_noise, grey_noise, shot_noise
from rlrestore.imaging.degradation.optics import LARGEST_DISC_PX, convolve, disc_kernel, ellipse_kernel
from rlrestore.imaging.degradation.resizing import scale_down_and_back
from rlrestore.imaging.io.samples import Floats

Amounts = Mapping[str, Tensor]
"""By a parameter's name: the amount of each image of a batch, `(B,)`."""
FileAmounts = Mapping[str, float]
"""By a parameter's name: the amount of one image."""

RESIZE_SIGMA_PX = 0.85
"""Of the Gaussian blur closest to scaling down by 2 and back; with the scale s it goes as √(s² − 1)."""


@dataclass(frozen=True)
class Parameter:
    """A parameter of a degradation.

    Attributes:
        unit: In words, empty for a plain number.
        low: The least amount that is allowed.
        high: The greatest.
    """

    unit: str
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.low:g} to {self.high:g}{' ' if self.unit else ''}{self.unit}"


@dataclass(frozen=True)
class Degradation:
    """A degradation that can be a stage of a mixture.

    Attributes:
        about: What it is, in one line.
        parameters: By name.
        batch: `batch(images, amounts, generator)` degrades images `(B, 3, H, W)` in [0, 1], each by its own
            amounts, and keeps shape and range; a border is replicated.
        file: `file(pixels, amounts, rng)` does the same to one photograph `(H, W, 3)` in [0, 1], by OpenCV,
            NumPy and Pillow.
        counts: `counts(amounts)` returns those of the protocol's amounts, by the names of `Degradations`,
            that come closest; from these a teacher takes its tools.
        reach_px: `reach_px(highest)` returns how far inwards, in pixels, the replicated border shows, at
            these amounts.
    """

    about: str
    parameters: Mapping[str, Parameter]
    batch: Callable[[Tensor, Amounts, torch.Generator], Tensor]
    file: Callable[[Floats, FileAmounts, np.random.Generator], Floats]
    counts: Callable[[Amounts], Amounts] = lambda _: {}
    reach_px: Callable[[FileAmounts], int] = lambda _: 0


def _ellipse(images: Tensor, amounts: Amounts, _: torch.Generator) -> Tensor:
    names = ("sigma_px", "ratio", "angle_degrees")
    return convolve(images, ellipse_kernel(*(amounts[name] for name in names))).clamp(0, 1)


def _resize_counts(amounts: Amounts) -> Amounts:
    return {"blur_sigma_px": RESIZE_SIGMA_PX * ((amounts["scale"] ** 2 - 1) / 3).sqrt()}


SIGMA_PX, SIGMA_255 = Parameter("px", 0, 5), Parameter("of 255", 0, 255)

DEGRADATIONS: Mapping[str, Degradation] = MappingProxyType(
    {
        "gaussian-blur": Degradation(
            about="Gaussian blur of 21×21 pixels, as the paper's",
            parameters={"sigma_px": SIGMA_PX},
            batch=lambda images, amounts, _: gaussian_blur(images, amounts["sigma_px"]),
            file=lambda pixels, amounts, _: files.gaussian_blur(pixels, amounts["sigma_px"]),
            counts=lambda amounts: {"blur_sigma_px": amounts["sigma_px"]},
            reach_px=lambda _: RADIUS_PX,
        ),
        "anisotropic-blur": Degradation(
            about="Gaussian blur that is stronger along one axis; the ratio is of the other axis's σ to its",
            parameters={
                "sigma_px": SIGMA_PX,
                "ratio": Parameter("", 0.1, 1),
                "angle_degrees": Parameter("degrees", 0, 180),
            },
            batch=_ellipse,
            file=lambda pixels, amounts, _: files.ellipse_blur(pixels, **amounts),
            counts=lambda amounts: {"blur_sigma_px": amounts["sigma_px"] * amounts["ratio"].sqrt()},
            reach_px=lambda _: RADIUS_PX,
        ),
        "defocus": Degradation(
            about="every point becomes a disc",
            parameters={"radius_px": Parameter("px", 0, LARGEST_DISC_PX)},
            batch=lambda images, amounts, _: convolve(images, disc_kernel(amounts["radius_px"])).clamp(0, 1),
            file=lambda pixels, amounts, _: files.disc_blur(pixels, amounts["radius_px"]),
            # A disc of radius r spreads light as a Gaussian of r/2 along each axis.
            counts=lambda amounts: {"blur_sigma_px": amounts["radius_px"] / 2},
            reach_px=lambda _: RADIUS_PX,
        ),
        "resize": Degradation(
            about="scaled down and back to its size, both by bicubic interpolation",
            parameters={"scale": Parameter("", 1, 4)},
            batch=lambda images, amounts, _: scale_down_and_back(images, amounts["scale"]),
            file=lambda pixels, amounts, _: files.scale_down_and_back(pixels, amounts["scale"]),
            counts=_resize_counts,
            reach_px=lambda highest: round(4 * highest["scale"]),  # two pixels of the small image, twice
        ),
        "gaussian-noise": Degradation(
            about="white noise, independent in each colour, as the paper's",
            parameters={"sigma_255": SIGMA_255},
            batch=lambda images, amounts, rng: gaussian_noise(images, amounts["sigma_255"], rng),
            file=lambda pixels, amounts, rng: files.gaussian_noise(pixels, amounts["sigma_255"], rng),
            counts=lambda amounts: {"noise_sigma_255": amounts["sigma_255"]},
        ),
        "grey-noise": Degradation(
            about="white noise that is the same in the three colours",
            parameters={"sigma_255": SIGMA_255},
            batch=lambda images, amounts, rng: grey_noise(images, amounts["sigma_255"], rng),
            file=lambda pixels, amounts, rng: files.grey_noise(pixels, amounts["sigma_255"], rng),
            counts=lambda amounts: {"noise_sigma_255": amounts["sigma_255"]},
        ),
        "shot-noise": Degradation(
            about="Poisson noise, whose variance grows with the light; σ is that of white",
            parameters={"sigma_255": Parameter("of 255", 1, 100)},
            batch=lambda images, amounts, rng: shot_noise(images, amounts["sigma_255"], rng),
            file=lambda pixels, amounts, rng: files.shot_noise(pixels, amounts["sigma_255"], rng),
            counts=lambda amounts: {"noise_sigma_255": amounts["sigma_255"] * 0.5**0.5},  # of mid-grey
        ),
        "grain": Degradation(
            about="film's grain: neighbours agree within a size, colours by a common share of the variance",
            parameters={
                "sigma_255": Parameter("of 255", 0, 100),
                "size_px": Parameter("px", 0.1, 5),
                "common": Parameter("", 0, 1),
            },
            batch=lambda images, amounts, rng: grain(images, generator=rng, **amounts),
            file=lambda pixels, amounts, rng: files.grain(pixels, rng=rng, **amounts),
            counts=lambda amounts: {"noise_sigma_255": amounts["sigma_255"]},
        ),
        "jpeg": Degradation(
            about="a JPEG file, 4:2:0",
            parameters={"quality": Parameter("", 1, 100)},
            batch=lambda images, amounts, _: jpeg(images, amounts["quality"]),
            file=lambda pixels, amounts, _: files.jpeg(pixels, amounts["quality"]),
            counts=lambda amounts: {"jpeg_quality": amounts["quality"]},
        ),
    }
)
"""All that ship, by name. A program's own go beside them: `{**DEGRADATIONS, "mine": Degradation(…)}`."""
