"""Real and simulated noise side by side, drawn and as a table."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from experiments.noise_statistics import (
    COLOURS,
    FREQUENCIES,
    LAGS,
    LEVELS_255,
    Floats,
    NoiseStatistics,
    quantiles,
)
from experiments.presentation import BLUE, GREEN, ORANGE, PURPLE, VERMILION, markdown_table

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Group = Sequence[NoiseStatistics]

HUES = (VERMILION, BLUE, GREEN, PURPLE, ORANGE)
LAG_NAMES = tuple(f"{down}, {right}" for down, right in LAGS)
COLOUR_NAMES = tuple(f"{one} and {other}" for one, other in COLOURS)


def plot_noise(real: Mapping[str, Group], simulated: Mapping[str, Group], path: Path) -> None:
    """Draw every statistic in a row, real noise on the left, simulated noise on the right, on one scale.

    Lines are medians over photographs; what lies between the tenth and the ninetieth percentile is shaded.

    Args:
        real: The statistics of photographs by camera.
        simulated: The same by the kind of simulation.
        path: The picture to write.
    """
    from matplotlib.figure import Figure  # drawn without pyplot: no window, no global state

    rows: tuple[
        tuple[str, str, Callable[[NoiseStatistics], Floats], Sequence[float] | Sequence[str]], ...
    ] = (
        ("luma: power", "cycles per pixel", lambda one: one.luma_spectrum, FREQUENCIES),
        ("chroma: power", "cycles per pixel", lambda one: one.chroma_spectrum, FREQUENCIES),
        ("luma: correlation", "neighbour: rows, columns away", lambda one: one.luma_neighbours, LAG_NAMES),
        (
            "chroma: correlation",
            "neighbour: rows, columns away",
            lambda one: one.chroma_neighbours,
            LAG_NAMES,
        ),
        ("correlation", "colours of one pixel", lambda one: one.colours, COLOUR_NAMES),
        ("relative σ", "brightness of 255", lambda one: one.relative_sigma, LEVELS_255),
    )
    figure = Figure(figsize=(9, 2.4 * len(rows)), layout="constrained")
    axes = figure.subplots(len(rows), 2, sharey="row")
    for (left, right), (title, below, statistic, places) in zip(axes, rows, strict=True):
        for panel, groups in ((left, real), (right, simulated)):
            for hue, (name, parts) in zip(HUES, groups.items(), strict=False):
                _draw(panel, parts, statistic, places, f"{name} ({len(parts)})", hue)
            panel.set_xlabel(below)
            panel.grid(alpha=0.3)
        left.set_ylabel(title)
    for panel, title in zip(axes[0], ("real", "simulated"), strict=True):
        panel.set_title(title)
        panel.legend(fontsize=8)
    figure.savefig(path, dpi=90)


def _draw(
    panel: "Axes",
    parts: Group,
    statistic: Callable[[NoiseStatistics], Floats],
    places: Sequence[float] | Sequence[str],
    label: str,
    hue: str,
) -> None:
    low, middle, high = (statistic(quantiles(parts, at)) for at in (0.1, 0.5, 0.9))
    panel.plot(places, middle, color=hue, label=label, marker="o", markersize=3)
    panel.fill_between(places, low, high, color=hue, alpha=0.15, linewidth=0)


def noise_table(groups: Mapping[str, Group]) -> str:
    """Return a table in Markdown: a row for each group, medians over its photographs and the spread."""
    columns: tuple[tuple[str, Callable[[NoiseStatistics], Floats]], ...] = (
        ("σ of 255 at 72", lambda one: one.sigma_255[LEVELS_255.index(72)]),
        ("at 136", lambda one: one.sigma_255[LEVELS_255.index(136)]),
        ("luma, next pixel", lambda one: one.luma_neighbours[0]),
        ("luma, second", lambda one: one.luma_neighbours[3]),
        ("chroma, next pixel", lambda one: one.chroma_neighbours[0]),
        ("chroma, second", lambda one: one.chroma_neighbours[3]),
        ("R and G", lambda one: one.colours[0]),
        ("R and B", lambda one: one.colours[1]),
        ("G and B", lambda one: one.colours[2]),
        ("chroma over luma", lambda one: one.chroma_ratio),
    )
    rows = [["", "photographs", *(name for name, _ in columns)]]
    for group, parts in groups.items():
        low, middle, high = (quantiles(parts, at) for at in (0.1, 0.5, 0.9))
        cells = [
            _cell(float(statistic(low)), float(statistic(middle)), float(statistic(high)))
            for _, statistic in columns
        ]
        rows.append([group, str(len(parts)), *cells])
    return markdown_table(rows) + "\n"


def _cell(low: float, middle: float, high: float) -> str:
    return "" if np.isnan(middle) else f"{middle:.2f} ({low:.2f} to {high:.2f})"
