"""A plot of quality against compute: the gain of a chain after each step, and its multiply-adds."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from experiments.comparison import GRIDS, Comparison
from experiments.methods import Profile
from experiments.presentation import GREY, PALETTE, save_with_legend, style_axes
from rlrestore.imaging.degradation.mixtures import MIXTURES

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SHAPES = "osD^vP"
"""Markers of single networks, which are a point each."""


def plot_comparison(comparison: Comparison, path: Path) -> None:
    """Draw a panel for each mixture: a line for an agent's chain, a point for a single network.

    A method without convolutions to count is a dotted level.

    Args:
        comparison: The results; the patches at any phase of the JPEG grid are drawn.
        path: The picture to write; its suffix says in which format.
    """
    from matplotlib.figure import Figure  # drawn without pyplot: no window, no global state

    figure = Figure(figsize=(13, 4.8), layout="constrained")
    panels = figure.subplots(1, len(MIXTURES), sharey=True)
    styles = _styles(comparison.profiles)
    for axes, mixture in zip(panels, MIXTURES, strict=True):
        for name, profile in comparison.profiles.items():
            colour, shape = styles[name]
            _draw(axes, profile, comparison.curve((GRIDS[0], mixture), name), colour, shape)
        axes.set(title=mixture, xlabel="multiply-adds per patch, millions")
        axes.set_xlim(left=0)
        style_axes(axes)
    panels[0].set(ylabel="gain in PSNR, dB")
    save_with_legend(figure, panels[0], path)


def _styles(profiles: Mapping[str, Profile]) -> dict[str, tuple[str, str]]:
    """Return the colour and the marker of each method."""
    singles = [name for name, profile in profiles.items() if not profile.has_agent]
    return {
        name: (
            PALETTE[number % len(PALETTE)],
            SHAPES[(singles.index(name) + 1) % len(SHAPES)] if name in singles else SHAPES[0],
        )
        for number, name in enumerate(profiles)
    }


def _draw(axes: "Axes", profile: Profile, curve: list[tuple[float, float]], colour: str, shape: str) -> None:
    if not profile.tool_multiply_adds:
        axes.axhline(curve[-1][1], color=GREY, linestyle=":", label=profile.name)
        return
    executed, gains_db = zip(*curve, strict=True)
    line = "-" if profile.has_agent else ""
    axes.plot(
        [count / 1e6 for count in executed],
        gains_db,
        line + shape,
        color=colour,
        markersize=5 if profile.has_agent else 9,
        label=profile.name,
    )
