"""What the reports of all experiments share: Markdown tables, colours, the style of plots."""

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rlrestore.errors import UsageError, how_to_install

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

VERMILION, ORANGE, BLUE, GREEN, PURPLE, SKY, YELLOW = PALETTE = (
    *("#D55E00", "#E69F00", "#0072B2", "#009E73", "#CC79A7", "#56B4E9", "#F0E442"),
)
"""Distinguishable for colour-blind readers. Source: Okabe and Ito, Color Universal Design, 2008."""
GREY = "0.35"
"""Of reference lines and their labels."""
GRID_GREY = "0.92"


def markdown_table(rows: Sequence[Sequence[str]]) -> str:
    """Return a table, its first row being the head."""
    head, *others = (f"| {' | '.join(cells)} |" for cells in rows)
    return "\n".join([head, f"|{'---|' * len(rows[0])}", *others])


def require_matplotlib() -> None:
    """Check that a plot can be drawn, before hours of training or measuring.

    Raises:
        UsageError: The package matplotlib is missing.
    """
    if importlib.util.find_spec("matplotlib") is None:  # an extra
        raise UsageError(f"the plot needs matplotlib: {how_to_install('research')}")


def style_axes(axes: "Axes") -> None:
    """Draw a faint grid and no frame above and on the right."""
    axes.grid(visible=True, color=GRID_GREY)
    axes.spines[["top", "right"]].set_visible(False)


def save_with_legend(figure: "Figure", axes: "Axes", path: Path) -> None:
    """Write a figure with the legend of one of its panels below all of them.

    Args:
        figure: The figure.
        axes: The panel whose lines are named.
        path: The picture to write; its suffix says in which format.
    """
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
