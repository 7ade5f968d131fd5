"""The inspector: from windows of a photograph to what is wrong with it, by NumPy alone.

A small network reads three quantiles of blur, noise and JPEG quality off the spectrum of each window. Windows
that know more count more, and the whole photograph's interval is widened until it holds the truth as often as
it says (conformalised quantile regression). How far the spectrum lies from those of the training says whether
any of it is to be believed.

Source: Romano, Patterson, Candès: *Conformalized Quantile Regression*, NeurIPS 2019.
"""

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Self

import numpy as np

from rlrestore.errors import ModelError
from rlrestore.explain.inspection import (
    Estimate,
    Inspection,
    Unfamiliarity,
    WindowEstimates,
    knowledge,
    spread,
)
from rlrestore.explain.spectrum import BLOCK, ENTRIES, spectra
from rlrestore.imaging import PATCH
from rlrestore.imaging.io.samples import Floats
from rlrestore.imaging.io.transparency import cover_hidden_
from rlrestore.inference.photos import PhotoLike, as_photo, to_planes
from rlrestore.inference.windows import WindowGrid, mirrored
from rlrestore.model_folder import Arrays, find_model
from rlrestore.model_folder.inspector import (
    QUANTITIES,
    InspectorEntry,
    has_inspector,
    read_inspector,
    write_inspector,
)

STRIDE = 32
"""Pixels between windows: about half a window."""
MOST_WINDOWS = 144
"""Of one photograph, evenly spread."""
BATCH = 48
"""Windows at a time; bounds the memory."""
RANGES = ((0.0, 10.0), (0.0, 100.0), (1.0, 100.0))
"""Within which estimates lie, by `QUANTITIES`."""
NONE = np.array((0.0, 0.0, 100.0), np.float32)
"""The amounts of a picture to which nothing was done: no compression cannot be told from the best."""
NONE_IS_HIGHEST = np.array((False, False, True))
UNITS = np.array((5.0, 50.0, 100.0), np.float32)
"""What the network counts the quantities in."""
NARROWEST = np.array((0.02, 0.2, 0.5), np.float32)
"""An interval's width at least, in the units of the quantities."""
LAYERS = 3
MOST_DEVIATION = 8.0
"""Entries of a standardised spectrum are cut off here."""


class Inspector:
    """What a model knows of degradations; it needs no library but NumPy.

    Attributes:
        entry: What it says of itself: coverage, false alarms, calibrations.
    """

    def __init__(self, entry: InspectorEntry, arrays: Arrays) -> None:
        """Make one of what `model_folder.inspector` reads.

        Args:
            entry: What it says of itself.
            arrays: Its weights: `mean` and `deviation` of the spectra's entries, `weight0`, `bias0`, … of the
                network, and `isotropic` and `directed`, whose products with a standardised spectrum have
                deviation 1 where it is familiar.

        Raises:
            ModelError: The weights do not belong together.
        """
        self.entry, self._arrays = entry, arrays
        self._check()

    def _check(self) -> None:
        arrays, wide = self._arrays, ENTRIES
        expected: dict[str, tuple[int, ...]] = {"mean": (wide,), "deviation": (wide,)}
        for index in range(LAYERS):
            name = f"weight{index}"
            rows = arrays[name].shape[0] if name in arrays else 0
            expected |= {name: (rows, wide), f"bias{index}": (rows,)}
            wide = rows
        for name in ("isotropic", "directed"):
            expected[name] = (arrays[name].shape[0] if name in arrays else 0, ENTRIES)
        shapes = {name: array.shape for name, array in arrays.items()}
        if shapes != expected or wide != 3 * len(QUANTITIES):
            raise ModelError(
                f"expected an inspector's weights, got the shapes {shapes}; copy the model again"
            )

    @classmethod
    def from_pretrained(cls, name_or_folder: str | os.PathLike[str] = "default") -> Self:
        """Read the inspector of a model, exported or not.

        Args:
            name_or_folder: A model that comes with the package, or a model's folder.

        Raises:
            ModelError: There is no such model, it has no inspector, or that is damaged.
        """
        return cls(*read_inspector(find_model(name_or_folder)))

    def with_facts(self, **facts: object) -> Self:
        """Return it saying this of its training."""
        return type(self)(replace(self.entry, facts=facts), self._arrays)

    def save(self, folder: Path) -> None:
        """Write it into a model's folder, with the weights in float16.

        Raises:
            RlrestoreError: It cannot be written.
        """
        halves = {name: array.astype(np.float16) for name, array in self._arrays.items()}
        write_inspector(folder, self.entry, halves)

    def inspect(self, photo: PhotoLike) -> Inspection:
        """Tell what is wrong with a photograph.

        Args:
            photo: As in `rlrestore.Restorer.restore`; it stays as it is.

        Raises:
            ImageError: It cannot be read.
            UsageError: It is no photograph.
        """
        source = as_photo(photo)
        image = to_planes(source)
        if source.alpha is not None:
            image = image.copy(order="K")
            cover_hidden_(image, source.alpha)
        return self.inspect_planes(image)

    def inspect_planes(self, image: Floats) -> Inspection:
        """Tell what is wrong with `(1, 3, H, W)`, RGB in [0, 1]; it stays as it is."""
        height, width = image.shape[-2:]
        grid = WindowGrid.cover(height, width, PATCH, STRIDE, MOST_WINDOWS)
        image = mirrored(image, PATCH)
        numbers = np.arange(len(grid))
        parts = [
            spectra(np.clip(grid.patches(image, numbers[start : start + BATCH]), 0, 1))
            for start in range(0, len(numbers), BATCH)
        ]
        return self.judge(np.concatenate(parts), grid)

    def judge(self, observed: Floats, grid: WindowGrid) -> Inspection:
        """Tell what is wrong with a picture from the spectra of its windows.

        Args:
            observed: `(rows · columns, ENTRIES)`.
            grid: Where the windows lie.
        """
        standard = self.standardised(observed)
        quantiles = self.quantiles(standard)
        whole = aggregate(quantiles)
        count = len(observed)
        # Narrowed, they would hold enough of all, but too little of the hardest: strong blur below noise.
        ends = widened(whole, np.maximum(self._calibration(self.entry.widening, count), 0))
        low, middle, high = reaching_none(ends, self._calibration(self.entry.faint, count)).T
        distances = self.distances(standard) / self._calibration(self.entry.limits, count)
        shape = len(grid.tops), len(grid.lefts), len(QUANTITIES)
        amounts, widths = (one.reshape(shape) for one in (quantiles[..., 1], width(quantiles)))
        varies = spread(amounts, widths) > self._calibration(self.entry.varying, count)
        windows = WindowEstimates(amounts, widths, tuple(map(bool, varies)), grid)
        blur, noise, quality = (Estimate(*map(float, each)) for each in zip(middle, low, high, strict=True))
        unfamiliar = Unfamiliarity(float(distances.max()), 1.0)
        return Inspection(blur, noise, quality, unfamiliar, self.entry.coverage, windows)

    def standardised(self, observed: Floats) -> Floats:
        """Return spectra `(N, ENTRIES)` with mean 0 and deviation 1 for what is familiar."""
        standard = (observed - self._arrays["mean"]) / self._arrays["deviation"]
        return np.clip(standard, -MOST_DEVIATION, MOST_DEVIATION)

    def quantiles(self, standard: Floats) -> Floats:
        """Return lower end, middle and upper end for each window: `(N, ENTRIES)` to `(N, 3, 3)`."""
        values = standard
        for index in range(LAYERS):
            values = values @ self._arrays[f"weight{index}"].T + self._arrays[f"bias{index}"]
            if index < LAYERS - 1:
                values = np.maximum(values, 0)
        below, middle, above = np.moveaxis(values.reshape(-1, len(QUANTITIES), 3), 2, 0)
        ends = np.stack((middle - np.logaddexp(0, below), middle, middle + np.logaddexp(0, above)), axis=2)
        return _within(ends * UNITS[:, None])

    def distances(self, standard: Floats) -> Floats:
        """Return how far a picture of these windows lies from the middle of all, `(2,)`."""
        means = (standard @ self._arrays[name].T for name in ("isotropic", "directed"))
        return np.array([np.sqrt(np.square(one.mean(axis=0)).mean()) for one in means], np.float32)

    def _calibration(self, table: Sequence[Sequence[float]], count: int) -> Floats:
        """Return a row of a table for a number of windows: between those calibrated for, by its logarithm."""
        places = np.log(self.entry.windows)
        columns = np.array(table).T
        return np.array([np.interp(np.log(count), places, column) for column in columns], np.float32)


def width(quantiles: Floats) -> Floats:
    """Return the widths of intervals, `(..., 3, 3)` to `(..., 3)`."""
    widths: Floats = np.maximum(quantiles[..., 2] - quantiles[..., 0], NARROWEST)
    return widths


def aggregate(quantiles: Floats) -> Floats:
    """Return the quantiles of a picture from those of its windows, `(N, 3, 3)` to `(3, 3)`.

    A window counts by the square of how narrow its interval is.
    """
    weights = knowledge(width(quantiles))
    whole: Floats = (weights[..., None] * quantiles).sum(axis=0) / weights.sum(axis=0)[:, None]
    return whole


def widened(quantiles: Floats, shares: Floats) -> Floats:
    """Return intervals that grew on each side by a share of their width; the middle stays inside.

    Args:
        quantiles: `(..., 3, 3)` lower end, middle and upper end by quantity.
        shares: `(3,)` by quantity; negative to narrow.
    """
    low, middle, high = np.moveaxis(quantiles, -1, 0)
    grown = shares * width(quantiles)
    return _within(
        np.stack((np.minimum(low - grown, middle), middle, np.maximum(high + grown, middle)), axis=-1)
    )


def from_none(ends: Floats) -> Floats:
    """Return how far intervals `(..., 3, 3)` end from no blur, no noise and no JPEG, `(..., 3)`."""
    low, high = ends[..., 0], ends[..., 2]
    distances: Floats = np.where(NONE_IS_HIGHEST, NONE - high, low - NONE)
    return distances


def reaching_none(ends: Floats, faint: Floats) -> Floats:
    """Return intervals `(..., 3, 3)` that reach none where they end no farther from it than `(3,)`."""
    near = from_none(ends) <= faint
    low, middle, high = np.moveaxis(ends, -1, 0)
    low = np.where(near & ~NONE_IS_HIGHEST, NONE, low)
    high = np.where(near & NONE_IS_HIGHEST, NONE, high)
    return np.stack((low, middle, high), axis=-1)


def _within(quantiles: Floats) -> Floats:
    lowest, highest = np.array(RANGES, np.float32).T[..., None]
    within: Floats = np.clip(quantiles, lowest, highest)
    return within


def fold_directions(standard: Floats) -> tuple[Floats, Floats]:
    """Return the part of spectra that a transposed image shares, and what it has with the other sign.

    Args:
        standard: `(N, ENTRIES)`.

    Returns:
        Both of the same shape; they add up to the spectra.
    """
    planes = standard.reshape(len(standard), -1, BLOCK, BLOCK)
    swapped: Floats = planes.swapaxes(2, 3).reshape(standard.shape)
    half = np.float32(0.5)
    return half * (standard + swapped), half * (standard - swapped)


def inspector_of(name_or_folder: str | os.PathLike[str]) -> Inspector | None:
    """Return the inspector of a model, None where it has none.

    Raises:
        ModelError: There is no such model, or its inspector is damaged.
    """
    folder = find_model(name_or_folder)
    return Inspector.from_pretrained(folder) if has_inspector(folder) else None


def inspect(photo: PhotoLike, *, model: str | os.PathLike[str] = "default") -> Inspection:
    """Tell what is wrong with a photograph: blur, noise and JPEG with intervals, and how familiar it is.

    For many photographs make one `Inspector` and call its `inspect`: this reads the model each time.

    Args:
        photo: As in `rlrestore.restore`.
        model: The name of a shipped model, or a model's folder.

    Raises:
        ImageError: It cannot be read.
        UsageError: It is no photograph, or the model has no inspector.
    """
    return Inspector.from_pretrained(model).inspect(photo)
