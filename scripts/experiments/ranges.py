"""Whether tools are what their names say: on each tool's own range, what each tool of the toolbox gains."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from rlrestore.agent.measure import tool_gains_db
from rlrestore.evaluation.scores import BATCH, aligned, standard_error, to_images
from rlrestore.evaluation.testsets import MixedDistortion, PatchPairs, generate
from rlrestore.toolbox.specs import ToolSpec
from rlrestore.toolbox.toolbox import Toolbox

CLOSE_DB = 0.1
"""A tool that gains no more than this less than the best is as good."""
CONDITIONS = {False: "alone", True: "among others"}
"""What tables call a distortion alone, and under light noise and a light JPEG, each on every second patch."""


@dataclass(frozen=True)
class RangeGains:
    """What N tools gain on patches of one tool's own range.

    Attributes:
        own: The number of the tool whose range it is.
        names: Of all tools.
        mixed: Whether the tool's distortion comes with a little of the others.
        gains_db: `(patches, N)`.
    """

    own: int
    names: tuple[str, ...]
    mixed: bool
    gains_db: Tensor

    @property
    def best(self) -> int:
        """The number of the tool that gains most on average."""
        return int(self.gains_db.mean(dim=0).argmax())

    @property
    def behind_db(self) -> float:
        """How much less the range's own tool gains than the best on average; 0 if it is the best."""
        return float((self.gains_db[:, self.best] - self.gains_db[:, self.own]).mean())

    @property
    def holds(self) -> bool:
        """Whether the own tool is the best, or nearly."""
        return self.behind_db <= CLOSE_DB

    def to_json(self) -> dict[str, Any]:
        """Return the means and how sure they are, in plain JSON values."""
        lag = self.gains_db[:, self.best] - self.gains_db[:, self.own]
        return {
            "tool": self.names[self.own],
            "mixed": self.mixed,
            "n": len(self.gains_db),
            "gains_db": dict(zip(self.names, self.gains_db.mean(dim=0).tolist(), strict=True)),
            "best": self.names[self.best],
            "behind_db": self.behind_db,
            "behind_standard_error_db": standard_error(lag),
            "holds": self.holds,
        }


def measure_ranges(
    toolbox: Toolbox, photos: list[NDArray[np.uint8]], count: int, seed: int = 0, progress: bool = False
) -> list[RangeGains]:
    """Measure every tool on every tool's own range, alone and among others.

    Args:
        toolbox: The tools.
        photos: Clean photographs `(H, W, 3)`, each at least 63 pixels high and wide.
        count: Patches of each range.
        seed: The same seed gives the same patches.
        progress: Whether to show a progress bar on stderr.

    Raises:
        DataError: Nearly every patch of a range is above 50 dB at the input.
    """
    tasks = [(mixed, own) for mixed in CONDITIONS for own in range(toolbox.stop)]
    found = []
    for mixed, own in tqdm(tasks, desc="ranges", unit="range", disable=not progress):
        spec = toolbox.specs[own]
        source: ToolSpec | MixedDistortion = MixedDistortion(spec) if mixed else spec
        gains_db = _gains_db(toolbox, generate(photos, source, count, seed))
        found.append(RangeGains(own, toolbox.names, mixed, gains_db))
    return found


@torch.inference_mode()
def _gains_db(toolbox: Toolbox, pairs: PatchPairs) -> Tensor:
    parts = []
    for start in range(0, len(pairs), BATCH):
        images, clean = (
            to_images(side[start : start + BATCH]).to(toolbox.device)
            for side in (pairs.degraded, pairs.clean)
        )
        parts.append(tool_gains_db(toolbox, images, clean).cpu())
    return torch.cat(parts).double()


def ranges_table(found: Sequence[RangeGains]) -> str:
    """Return the gains for a terminal, a row for each range; a range's own tool is in brackets."""
    lines = []
    for mixed, condition in CONDITIONS.items():
        some = [each for each in found if each.mixed == mixed]
        rows = [["its range", *some[0].names, "best", "behind, dB", ""]]
        rows += [_row(each) for each in some]
        held = sum(each.holds for each in some)
        lines += [
            f"gain in dB of every tool on each tool's own distortion, {condition}, "
            f"{len(some[0].gains_db)} patches each",
            *aligned(rows),
            f"  the named tool is the best or within {CLOSE_DB} dB of it on {held} of {len(some)} ranges",
            "",
        ]
    return "\n".join(lines).rstrip()


def _row(each: RangeGains) -> list[str]:
    means = each.gains_db.mean(dim=0).tolist()
    cells = [
        f"[{gain_db:+.2f}]" if index == each.own else f"{gain_db:+.2f} "
        for index, gain_db in enumerate(means)
    ]
    error_db = standard_error(each.gains_db[:, each.best] - each.gains_db[:, each.own])
    lag = f"{each.behind_db:.2f} ± {error_db:.2f}"
    return [each.names[each.own], *cells, each.names[each.best], lag, "" if each.holds else "not its own"]
