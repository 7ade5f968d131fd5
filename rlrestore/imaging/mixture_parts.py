"""What a part of a mixture may be beside a chain of stages: levels, a single distortion, a camera, film."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

from rlrestore.imaging.degradation.camera import CameraRecipe
from rlrestore.imaging.degradation.compression import CompressionRecipe
from rlrestore.imaging.degradation.film import FilmRecipe
from rlrestore.imaging.degradation.mixtures import LEVELS, Mixture
from rlrestore.imaging.degradation.registry import Parameter
from rlrestore.imaging.recipes import AnyRecipe, Cameras, Films, SingleDistortions, Untouched


@dataclass(frozen=True)
class Setting:
    """What a key of a file may hold.

    Attributes:
        parameter: Unit and limits of its numbers.
        form: A `number`; a `range`, two numbers or one, of which amounts are drawn; or `ends`, two or more
            numbers between each two of which amounts are drawn.
        default: What is read where the key is missing; None if it must be there.
    """

    parameter: Parameter
    form: Literal["number", "range", "ends"]
    default: float | tuple[float, ...] | None = None

    def read(self, value: object) -> float | tuple[float, ...] | None:
        """Return what a value of a file says, None if it is not allowed."""
        values = value if isinstance(value, list) else [value]
        numbers = [each for each in values if isinstance(each, int | float) and not isinstance(each, bool)]
        if len(numbers) < len(values) or not all(self._allows(number) for number in numbers):
            return None
        numbers = [float(number) for number in numbers]  # once in bounds: not every integer is one
        if self.form == "number":
            return None if isinstance(value, list) else numbers[0]
        if self.form == "ends":
            return tuple(numbers) if len(numbers) > 1 else None
        is_range = len(numbers) in (1, 2) and numbers[0] <= numbers[-1]
        return (numbers[0], numbers[-1]) if is_range else None

    def _allows(self, number: float) -> bool:
        return self.parameter.low <= number <= self.parameter.high

    def expected(self) -> str:
        """Return in words what may stand there."""
        shapes = {
            "number": "a number",
            "range": "a number or [lowest, highest]",
            "ends": "two or more numbers in brackets",
        }
        return f"{shapes[self.form]}, {self.parameter}"


@dataclass(frozen=True)
class Part:
    """A kind of part.

    Attributes:
        about: What it is, in one line.
        settings: Its keys.
        make: Makes the recipe of what they hold.
    """

    about: str
    settings: Mapping[str, Setting]
    make: Callable[[Mapping[str, Any]], AnyRecipe]


@dataclass(frozen=True)
class _Range:
    """A `Ranged`."""

    distortion: str
    low: float
    high: float


ENDS_OF = {"blur_sigma_px": "blur", "noise_sigma_255": "noise", "jpeg_quality": "jpeg"}
SHARE = Parameter("", 0, 1)
CAMERA, COMPRESSION = CameraRecipe(), CompressionRecipe()
COMPRESSION_SETTINGS = {
    "jpeg_share": Setting(SHARE, "number", COMPRESSION.share),
    "jpeg_quality": Setting(
        Parameter("", 1, 100), "range", (COMPRESSION.lowest_quality, COMPRESSION.highest_quality)
    ),
    "full_chroma_share": Setting(SHARE, "number", COMPRESSION.full_chroma_share),
    "twice_share": Setting(SHARE, "number", COMPRESSION.twice_share),
}
CAMERA_SHARES = ("soft_share", "matrix_share", "denoised_share", "sharpened_share", "clean_share")
NONE = (0.0, 0.0)


def _levels(given: Mapping[str, Any]) -> Mixture:
    lowest, highest = given["sum"]
    if lowest % 1 or highest % 1:
        raise ValueError(f"the sum of levels is a whole number, got {lowest:g} to {highest:g}")
    return Mixture("levels", int(lowest), int(highest))


def _single(given: Mapping[str, Any]) -> SingleDistortions:
    ranges = [
        _Range(kind, *sorted(ends))
        for key, kind in ENDS_OF.items()
        for ends in zip(given[key], given[key][1:], strict=False)
        if given[key] != NONE
    ]
    if not ranges:
        raise ValueError(f"expected at least one of {', '.join(ENDS_OF)}")
    return SingleDistortions(tuple(ranges), given["light_share"])


def _compression(given: Mapping[str, Any]) -> CompressionRecipe:
    lowest, highest = given["jpeg_quality"]
    return CompressionRecipe(
        given["jpeg_share"], lowest, highest, given["full_chroma_share"], given["twice_share"]
    )


def _camera(given: Mapping[str, Any]) -> Cameras:
    shares = {name: given[name] for name in CAMERA_SHARES}
    return Cameras(CameraRecipe(**shares, compression=_compression(given)))


def _film(given: Mapping[str, Any]) -> Films:
    blur_px, grain_255, size_px = (
        given[name] for name in ("blur_sigma_px", "grain_sigma_255", "grain_size_px")
    )
    return Films(FilmRecipe(blur_px, grain_255, size_px, _compression(given)))


PARTS: Mapping[str, Part] = MappingProxyType(
    {
        "levels": Part(
            "the paper's blur, noise and JPEG, each of ten levels, of which the sum, less 2, is given",
            {"sum": Setting(Parameter("", 1, 3 * LEVELS - 2), "range")},
            _levels,
        ),
        "single": Part(
            "blur, noise or JPEG alone: one of the ranges between neighbouring ends, all equally often",
            {
                "blur_sigma_px": Setting(Parameter("px", 0, 5), "ends", NONE),
                "noise_sigma_255": Setting(Parameter("of 255", 0, 255), "ends", NONE),
                "jpeg_quality": Setting(Parameter("", 1, 100), "ends", NONE),
                "light_share": Setting(SHARE, "number", 0.0),
            },
            _single,
        ),
        "camera": Part(
            "a camera: lens, mosaic, shot and read noise, development, JPEG",
            {
                **{name: Setting(SHARE, "number", getattr(CAMERA, name)) for name in CAMERA_SHARES},
                **COMPRESSION_SETTINGS,
            },
            _camera,
        ),
        "film": Part(
            "film, or an old print that was scanned: blur, grain, JPEG",
            {
                "blur_sigma_px": Setting(Parameter("px", 0, 5), "range", NONE),
                "grain_sigma_255": Setting(Parameter("of 255", 0, 100), "range"),
                "grain_size_px": Setting(Parameter("px", 0.1, 5), "range"),
                **COMPRESSION_SETTINGS,
            },
            _film,
        ),
        "none": Part("the photograph as it is, on which the right action is stop", {}, lambda _: Untouched()),
    }
)
"""All that ship, by name."""
