"""How an inspector does on photographs that it never saw: its intervals, its errors, its alarms."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from experiments.inspector_data import GROUPS, draw, draw_trained, spectra_of
from experiments.inspector_strangers import strangers
from experiments.inspector_training import windows_of
from experiments.presentation import markdown_table
from experiments.rivals import real_pairs
from rlrestore.evaluation.file_pairs import read_pair
from rlrestore.explain.inspection import Inspection
from rlrestore.explain.inspector import NONE, STRIDE, Inspector
from rlrestore.imaging import PATCH
from rlrestore.imaging.patches import PhotoBank
from rlrestore.inference.photos import as_photo
from rlrestore.inference.windows import WindowGrid
from rlrestore.model_folder.inspector import QUANTITIES

PIECE = 8
"""Pictures whose spectra are computed at once."""
TITLES = ("blur, px", "noise, of 255", "JPEG quality")

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Judged:
    """Pictures of one kind, as the inspector sees them.

    Attributes:
        truth: `(N, 3)`, NaN where it is not known.
        found: `(N, 3, 3)` lower end, estimate and upper end by quantity.
        scores: `(N,)` unfamiliarity in units of its threshold.
        varies: `(N,)` bool, whether some quantity is said to vary.
    """

    truth: Floats
    found: Floats
    scores: Floats
    varies: NDArray[np.bool_]

    @property
    def some(self) -> NDArray[np.bool_]:
        """`(N, 3)` where the truth is known and not none: what the intervals are calibrated on."""
        some: NDArray[np.bool_] = np.isfinite(self.truth) & (self.truth != NONE)
        return some

    @property
    def held(self) -> NDArray[np.bool_]:
        """`(N, 3)` whether the interval holds the truth."""
        return (self.found[..., 0] <= self.truth) & (self.truth <= self.found[..., 2])

    @property
    def errors(self) -> Floats:
        """`(N, 3)` absolute errors of the estimates."""
        errors: Floats = np.abs(self.found[..., 1] - self.truth)
        return errors

    @property
    def alarms(self) -> float:
        """Share of the pictures that are taken for unfamiliar."""
        return float((self.scores > 1).mean())


def judge(inspector: Inspector, images: Tensor) -> Iterator[Inspection]:
    """Inspect square pictures `(N, 3, S, S)`."""
    grid = WindowGrid.cover(images.shape[-2], images.shape[-1], PATCH, STRIDE)
    for part in images.split(PIECE if len(grid) > 1 else 256):
        spectra = spectra_of(windows_of(part)).astype(np.float32)
        for one in spectra.reshape(len(part), len(grid), -1):
            yield inspector.judge(one, grid)


def gathered(found: list[Inspection], truth: Floats) -> Judged:
    """Return what was found of pictures whose truth is known."""
    ends = [
        [(one.low, one.estimate, one.high) for one in (getattr(each, name) for name in QUANTITIES)]
        for each in found
    ]
    scores = [each.unfamiliar.score / each.unfamiliar.threshold for each in found]
    return Judged(truth, np.array(ends), np.array(scores), np.array([bool(each.varies) for each in found]))


def measure_groups(
    inspector: Inspector, bank: PhotoBank, count: int, windows: int, seed: int
) -> dict[str, Judged]:
    """Inspect pictures of every kind, and of the blend that is trained on.

    Args:
        inspector: The inspector.
        bank: Photographs that it was not trained on.
        count: Pictures of each kind.
        windows: Windows a side of each.
        seed: Of all draws.
    """
    side, results = PATCH + (windows - 1) * STRIDE, {}
    generator = torch.Generator().manual_seed(seed)
    for name in ("all as trained", *GROUPS):
        found: list[Inspection] = []
        truths = []
        for start in range(0, count, 256 if windows == 1 else PIECE):
            part = min(256 if windows == 1 else PIECE, count - start)
            drawn = (
                draw(bank, GROUPS[name], part, side, generator)
                if name in GROUPS
                else draw_trained(bank, part, side, generator)
            )
            found += judge(inspector, drawn.images)
            truths.append(drawn.truth.numpy().astype(np.float64))
        results[name] = gathered(found, np.concatenate(truths))
    return results


def measure_real(inspector: Inspector, folder: Path) -> Judged:
    """Inspect photographs of real cameras, whose noise is known from the mean of many exposures."""
    found, truths = [], []
    for pair in real_pairs(folder):
        noisy, clean = map(as_photo, read_pair(pair))
        found.append(inspector.inspect(noisy))
        noise = 255 * float(np.sqrt(np.square(noisy.pixels - clean.pixels).mean()))
        truths.append((np.nan, noise, np.nan))
    return gathered(found, np.array(truths))


def measure_strangers(
    inspector: Inspector, bank: PhotoBank, count: int, windows: int, seed: int
) -> dict[str, float]:
    """Return the share of each kind of pictures that is taken for unfamiliar; arguments as before."""
    side, generator = PATCH + (windows - 1) * STRIDE, torch.Generator().manual_seed(seed)
    shares = {}
    for name, make in strangers(bank, side, generator).items():
        found = list(judge(inspector, make(count)))
        shares[name] = gathered(found, np.full((count, 3), np.nan)).alarms
    return shares


def groups_table(results: dict[str, Judged]) -> str:
    """Return coverage, median error and alarms in Markdown.

    Coverage is of the amounts that are not none; of those that are, in brackets.
    """
    head = [f"{title}: held" for title in TITLES] + [f"{title}: error" for title in TITLES]
    rows = [["pictures", "number", *head, "unfamiliar", "varies"]]
    for name, judged in results.items():
        errors = [
            f"{np.median(judged.errors[known, index]):.2f}" if known.any() else "–"
            for index, known in enumerate(np.isfinite(judged.truth).T)
        ]
        alarms = f"{judged.alarms:.1%}", f"{judged.varies.mean():.1%}"
        held = [_held(judged, index) for index in range(len(QUANTITIES))]
        rows.append([name, f"{len(judged.truth)}", *held, *errors, *alarms])
    return markdown_table(rows)


def _held(judged: Judged, index: int) -> str:
    some, held = judged.some[:, index], judged.held[:, index]
    none = np.isfinite(judged.truth[:, index]) & ~some
    parts = [f"{held[some].mean():.1%}"] if some.any() else []
    parts += [f"({held[none].mean():.1%})"] if none.any() else []
    return " ".join(parts) or "–"


def strangers_table(shares: dict[str, dict[str, float]]) -> str:
    """Return how often each kind is found, by the size of the pictures, in Markdown."""
    kinds = list(next(iter(shares.values())))
    rows = [["taken for unfamiliar", *kinds]]
    rows += [[size, *(f"{found[kind]:.0%}" for kind in kinds)] for size, found in shares.items()]
    return markdown_table(rows)
