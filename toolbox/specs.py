"""The twelve tools: what each is for, as one table.

Source: paper, section 3.1 and table 1 (three distortions, four levels each, 3 layers for the mild half
and 8 layers for the severe half).
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from rlrestore.errors import UsageError

Distortion = Literal["blur", "noise", "jpeg", "mixture"]
NO_ACTION = -1
"""The last action of an episode before its first."""
LARGEST_RADIUS = 64
"""Of a custom tool, in pixels: beyond it the tiles of a photograph would have hardly a middle."""
LARGEST_WIDTH = 512
"""Of a network: beyond it a model is taken for damaged, before the memory for its networks is asked for."""
ANY_MIXTURE = (1, 28)
"""The range of a tool for mixtures of any strength: from the lowest to the highest sum of levels."""


@dataclass(frozen=True)
class ToolSpec:
    """One tool of the toolbox.

    Attributes:
        name: What people call it, for instance `denoise-3`.
        distortion: The distortion it undoes; `mixture` for all three at once, as in a protocol's test set.
        low: Where its range begins: blur in px, noise in units of 255, JPEG as quality, a mixture as the sum
            of its levels (`Mixture.lowest`).
        high: Where its range ends, same unit, above `low`.
        depth: Convolution layers of its network, 3 or 8; 0 for a custom tool.
        custom: The kind of network of a custom tool (`toolbox.custom`); empty for one of the family.
        radius: Its receptive field in pixels to each side, of a custom tool; 0 for one of the family.
    """

    name: str
    distortion: Distortion
    low: float
    high: float
    depth: int = 0
    custom: str = ""
    radius: int = 0


def check_name(name: object) -> None:
    """Make sure that a tool can be called so.

    Raises:
        UsageError: It could not be part of a file's name, or means something else.
    """
    if not isinstance(name, str) or not re.fullmatch(r"[\w.+-]+", name) or name in ("stop", "unchanged"):
        raise UsageError(
            f"expected a tool's name of letters, digits, '.', '+', '-' and '_', "
            f"neither stop nor unchanged, got {name!r}"
        )


def check_widths(widths: Sequence[int]) -> None:
    """Make sure that a network of these channels could be read again.

    Raises:
        UsageError: It has too many somewhere.
    """
    if max(widths, default=0) > LARGEST_WIDTH:
        raise UsageError(f"expected widths of at most {LARGEST_WIDTH}, got {list(widths)}")


TOOLS: tuple[ToolSpec, ...] = (
    ToolSpec("deblur-1", "blur", 0.0, 1.25, depth=3),
    ToolSpec("deblur-2", "blur", 1.25, 2.5, depth=3),
    ToolSpec("deblur-3", "blur", 2.5, 3.75, depth=8),
    ToolSpec("deblur-4", "blur", 3.75, 5.0, depth=8),
    ToolSpec("denoise-1", "noise", 0.0, 12.5, depth=3),
    ToolSpec("denoise-2", "noise", 12.5, 25.0, depth=3),
    ToolSpec("denoise-3", "noise", 25.0, 37.5, depth=8),
    ToolSpec("denoise-4", "noise", 37.5, 50.0, depth=8),
    ToolSpec("dejpeg-1", "jpeg", 60.0, 100.0, depth=3),
    ToolSpec("dejpeg-2", "jpeg", 35.0, 60.0, depth=3),
    ToolSpec("dejpeg-3", "jpeg", 20.0, 35.0, depth=8),
    ToolSpec("dejpeg-4", "jpeg", 10.0, 20.0, depth=8),
)

START_MARGIN_DB, LIGHT_MARGIN_DB = 0.5, 1.0
"""What a trained agent must expect of a first tool before it takes it: of any, and of the lightest of a kind.
An image that gains less is hardly seen to gain, and most results that are worse than they came are among
these; and what a light tool is the best for is nearly clean."""


def start_margins_db(
    specs: Sequence[ToolSpec], start_db: float = START_MARGIN_DB, light_db: float = LIGHT_MARGIN_DB
) -> tuple[float, ...]:
    """Return what must be expected of each tool, as the first of a chain, before it is taken.

    Args:
        specs: The tools.
        start_db: What is enough, in dB.
        light_db: What is enough of the tool for the least of a distortion that several tools are for.
    """
    return tuple(light_db if _is_lightest(spec, specs) else start_db for spec in specs)


def _is_lightest(spec: ToolSpec, specs: Sequence[ToolSpec]) -> bool:
    kin = [other for other in specs if other.distortion == spec.distortion != "mixture"]
    least = min(kin, key=lambda each: -each.high if each.distortion == "jpeg" else each.low, default=None)
    return len(kin) > 1 and least is spec


TOOL_NAMES: tuple[str, ...] = tuple(spec.name for spec in TOOLS)


def tool_index(name: str) -> int:
    """Return the place of a tool in the table, 0 to 11.

    Raises:
        UsageError: No tool has this name.
    """
    if name not in TOOL_NAMES:
        raise UsageError(f"unknown tool {name!r}: expected one of {', '.join(TOOL_NAMES)}")
    return TOOL_NAMES.index(name)
