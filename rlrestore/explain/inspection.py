"""What an inspection finds: records, their JSON, and sentences for people."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from rlrestore.imaging.io.samples import Floats
from rlrestore.inference.windows import WindowGrid
from rlrestore.model_folder.inspector import QUANTITIES

SHARP_PX, QUIET_255, LOSSLESS = 0.7, 3.0, 90.0
"""Blur and noise that nobody sees, and a JPEG quality from which nobody sees its traces."""
BEST_QUALITY = 99.5
"""From here on a picture may as well not have been compressed."""


@dataclass(frozen=True)
class Estimate:
    """An amount and the interval that holds the true one with the inspector's coverage.

    Attributes:
        estimate: In the unit of the quantity.
        low: Lower end of the interval.
        high: Upper end.
    """

    estimate: float
    low: float
    high: float

    def to_json(self) -> dict[str, float]:
        """Return it as JSON values."""
        return {"estimate": round(self.estimate, 2), "low": round(self.low, 2), "high": round(self.high, 2)}


@dataclass(frozen=True)
class Unfamiliarity:
    """How far a picture lies from all that the inspector was trained on.

    Attributes:
        score: About 1 for a typical picture.
        threshold: Exceeded by familiar pictures as often as the inspector's false alarms say.
    """

    score: float
    threshold: float

    @property
    def exceeded(self) -> bool:
        """Whether the picture is unlike anything that the inspector was trained on."""
        return self.score > self.threshold

    def to_json(self) -> dict[str, float]:
        """Return it as JSON values."""
        return {"score": round(self.score, 3), "threshold": round(self.threshold, 3)}


@dataclass(frozen=True, eq=False)
class WindowEstimates:
    """What each window says by itself.

    Attributes:
        amounts: `(rows, columns, 3)` estimates, by `QUANTITIES`.
        widths: `(rows, columns, 3)` of their intervals: how little a window knows.
        varies: By quantity, whether the windows contradict one another more than those of a picture whose
            degradation is the same everywhere.
        grid: Where the windows lie.
    """

    amounts: Floats
    widths: Floats
    varies: tuple[bool, ...]
    grid: WindowGrid

    def smooth(self) -> Floats:
        """Return the amounts `(rows, columns, 3)`, each window's together with its neighbours'."""
        return smooth(self.amounts, self.widths)


def smooth(amounts: Floats, widths: Floats) -> Floats:
    """Return the means of amounts `(rows, columns, 3)` over 3×3 windows.

    Those that know better count more: a window of sky says nothing about blur.

    Args:
        amounts: Estimates of the windows.
        widths: Of their intervals.
    """
    weights = knowledge(widths)
    means: Floats = _neighbours(weights * amounts) / _neighbours(weights)
    return means


def knowledge(widths: Floats) -> Floats:
    """Return how much windows count whose intervals have these widths."""
    weights: Floats = np.reciprocal(np.square(widths))
    return weights


def spread(amounts: Floats, widths: Floats) -> Floats:
    """Return `(3,)` how far neighbourhoods differ over a picture, in widths of their intervals.

    Args:
        amounts: `(rows, columns, 3)` estimates of the windows.
        widths: Of their intervals.
    """
    weights = knowledge(widths)
    middle = (weights * amounts).sum(axis=(0, 1)) / weights.sum(axis=(0, 1))
    squares = weights * np.square(smooth(amounts, widths) - middle)
    deviations: Floats = np.sqrt(squares.mean(axis=(0, 1)))
    return deviations


def _neighbours(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the sums over 3×3 of `(rows, columns, …)`, those beyond the border left out."""
    padded = np.pad(values, ((1, 1), (1, 1), (0, 0)))
    rows, columns = values.shape[:2]
    shifted = [padded[i : i + rows, j : j + columns] for i in range(3) for j in range(3)]
    total: NDArray[np.float32] = np.sum(shifted, axis=0)
    return total


@dataclass(frozen=True)
class Inspection:
    """What is wrong with a photograph.

    Attributes:
        blur_sigma_px: Standard deviation of the Gaussian blur that comes closest, in pixels.
        noise_sigma_255: Root mean square of the noise in units of 1/255, before JPEG.
        jpeg_quality: Of the last JPEG, 100 for none.
        unfamiliar: How far it lies from what the inspector was trained on.
        coverage: Share of the truths that the intervals hold.
        windows: What each window says; None of an inspection that was read back.
    """

    blur_sigma_px: Estimate
    noise_sigma_255: Estimate
    jpeg_quality: Estimate
    unfamiliar: Unfamiliarity
    coverage: float = 0.9
    windows: WindowEstimates | None = field(default=None, repr=False, compare=False)

    @property
    def varies(self) -> tuple[str, ...]:
        """The quantities that differ over the picture."""
        if self.windows is None:
            return ()
        return tuple(name for name, varies in zip(QUANTITIES, self.windows.varies, strict=True) if varies)

    def to_json(self) -> dict[str, dict[str, float]]:
        """Return it as JSON values."""
        return {name: getattr(self, name).to_json() for name in (*QUANTITIES, "unfamiliar")}

    def lines(self) -> tuple[str, str, str]:
        """Return a few words on each quantity."""
        return _blur(self.blur_sigma_px), _noise(self.noise_sigma_255), _jpeg(self.jpeg_quality)

    def captions(self) -> list[str]:
        """Return it in lines for a picture."""
        return [*self.lines(), *(["unlike anything it was trained on"] if self.unfamiliar.exceeded else [])]

    def sentences(self) -> str:
        """Return it in sentences for people."""
        first = _list(self.lines())
        said = [f"{first[0].upper()}{first[1:]}."]
        if self.varies:
            said.append(f"Over the picture it differs in {_list([NAMES[name] for name in self.varies])}.")
        if self.unfamiliar.exceeded:
            said.append(
                f"It is unlike anything the inspector was trained on (score {self.unfamiliar.score:.2f}, "
                f"usual up to {self.unfamiliar.threshold:.2f}): do not rely on these numbers."
            )
        return " ".join(said)


NAMES = {"blur_sigma_px": "blur", "noise_sigma_255": "noise", "jpeg_quality": "JPEG's traces"}
"""What the quantities are called in a sentence."""


def _list(parts: tuple[str, ...] | list[str]) -> str:
    return " and ".join(filter(None, (", ".join(parts[:-1]), parts[-1])))


def _blur(found: Estimate) -> str:
    if found.high <= SHARP_PX:
        return f"sharp (blur below {max(found.high, 0.1):.1f} px)"
    if found.low < SHARP_PX / 2 and found.estimate <= SHARP_PX:
        return f"hardly blurred (up to {found.high:.1f} px)"
    return f"blurred by {found.low:.1f} to {found.high:.1f} px (estimate {found.estimate:.1f})"


def _noise(found: Estimate) -> str:
    if found.high <= QUIET_255:
        return f"without visible noise (below {max(found.high, 0.5):.1f} of 255)"
    if found.low < QUIET_255 / 2 and found.estimate <= QUIET_255:
        return f"little noise, if any (up to {found.high:.0f} of 255)"
    return f"noise of {found.low:.0f} to {found.high:.0f} of 255 (estimate {found.estimate:.0f})"


def _jpeg(found: Estimate) -> str:
    if found.low >= BEST_QUALITY:
        return "no trace of JPEG"
    if found.low >= LOSSLESS:
        return f"no visible trace of JPEG (quality above {found.low:.0f})"
    if found.high >= BEST_QUALITY:
        return f"JPEG of quality {found.low:.0f} or better, or none"
    return f"JPEG of quality {found.low:.0f} to {found.high:.0f} (estimate {found.estimate:.0f})"
