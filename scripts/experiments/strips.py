"""Pictures of chains: input, every step, result, beside other restorers and the clean original.

A rule on the gains of all photographs selects those that are shown, failures included.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from tqdm import tqdm

from experiments.comparison_sets import Degradation, Pixels, apply_degradation, draw_degradation
from rlrestore.evaluation.scores import standard_error
from rlrestore.imaging.degradation.mixtures import Mixture
from rlrestore.imaging.psnr import photo_psnr_db
from rlrestore.inference.chains import apply_tool_
from rlrestore.inference.photos import as_photo, to_frame, to_planes
from rlrestore.picture import Cell, Row, draw_rows, most_changed
from rlrestore.restorer import Restorer
from rlrestore.runtime.torch_runtime import TorchTools
from rlrestore.toolbox.toolbox import Toolbox

SIDE = 160
"""Of a crop in pixels, each drawn as one; five rows of the picture stay below 1.5 MB."""
PERCENTILES = (90, 50, 10)
MEDIAN = "median of the gain"
SMALLEST = "smallest gain"
ABOUT_CELLS = (
    "PSNR is that of the whole photograph, in brackets its gain over the input. The crop, at most "
    f"{SIDE} pixels wide, is where the input differs most from the clean original."
)


@dataclass(frozen=True)
class PhotoResult:
    """The result of one restorer on one photograph.

    Attributes:
        tools: The tools that an agent applied, in order; none for a single network.
        psnr_db: Of the input and after every step, to the clean original, in dB.
        frames: `(H, W, 3)` uint8, likewise.
    """

    tools: tuple[str, ...]
    psnr_db: tuple[float, ...]
    frames: tuple[Pixels, ...]

    @property
    def gain_db(self) -> float:
        """The PSNR of the result minus that of the input, in dB."""
        return self.psnr_db[-1] - self.psnr_db[0]


PhotoRestorer = Callable[[Pixels, Pixels], PhotoResult]
"""Restores a degraded photograph; the clean one is for measuring only."""
PhotoRestorers = Mapping[str, PhotoRestorer]
"""Restorers by name; the first is the one whose chains are shown."""


def agent_restorer(restorer: Restorer) -> PhotoRestorer:
    """Restore by one chain for the whole photograph.

    The authors' imported model takes photographs as they are, too: see `rlrestore.paper.importing`.
    """

    def restore(degraded: Pixels, clean: Pixels) -> PhotoResult:
        trace = restorer.restore(degraded, clean, mode="global").trace
        measured = (trace.start_psnr_db, *(step.psnr_db for step in trace.applied))
        return PhotoResult(trace.tools, tuple(value for value in measured if value is not None), trace.frames)

    return restore


def network_restorer(toolbox: Toolbox) -> PhotoRestorer:
    """Restore by the first tool of a toolbox, always and once."""
    tools = TorchTools(toolbox)

    def restore(degraded: Pixels, clean: Pixels) -> PhotoResult:
        image, truth = (to_planes(as_photo(pixels)) for pixels in (degraded, clean))
        before_db = photo_psnr_db(image, truth)
        restored = apply_tool_(tools, 0, image)
        measured = before_db, photo_psnr_db(restored, truth)
        return PhotoResult((), measured, (degraded, to_frame(restored)))

    return restore


@dataclass(frozen=True)
class Choice:
    """A selected photograph.

    Attributes:
        index: Its place among all.
        reasons: The parts of the rule that select it.
    """

    index: int
    reasons: tuple[str, ...]

    @property
    def why(self) -> str:
        """The reasons in one line."""
        return "; ".join(self.reasons)


@dataclass(frozen=True)
class Gains:
    """The gains of the restorers on every photograph of a set.

    Attributes:
        names: Of the restorers; the first is the one whose chains are shown.
        gains_db: `(N, restorers)` PSNR of the result minus that of the input, N > 0.
    """

    names: tuple[str, ...]
    gains_db: NDArray[np.float64]

    def __post_init__(self) -> None:
        if self.gains_db.shape != (len(self.gains_db), len(self.names)) or not self.gains_db.size:
            raise ValueError(
                f"expected gains (N, {len(self.names)}) of N > 0 photographs, got {self.gains_db.shape}"
            )

    @property
    def rule(self) -> tuple[str, ...]:
        """The reasons for which a photograph is shown."""
        typical = tuple(map(_percentile, PERCENTILES))
        if len(self.names) == 1:
            return (*typical, SMALLEST)
        rivals = f"the {self.names[1]}" if len(self.names) == 2 else "the better of the others"
        return (*typical, SMALLEST, f"worst against {rivals}")

    def choose(self) -> tuple[Choice, ...]:
        """Select typical photographs, and those on which the first restorer fails.

        They are the 90th, 50th and 10th percentile of its gain, by nearest rank; its smallest gain; and where
        there are other restorers, the one on which it is worst against the best of them. Ties go by the order
        of the photographs.

        Returns:
            In that order, each photograph once with all its reasons.
        """
        gains_db = self.gains_db[:, 0]
        order = gains_db.argsort(kind="stable")
        wanted = [order[-(-percent * len(order) // 100) - 1] for percent in PERCENTILES]
        wanted.append(order[0])
        if len(self.names) > 1:
            wanted.append((self.gains_db[:, 1:].max(axis=1) - gains_db).argmax())
        reasons: dict[int, tuple[str, ...]] = {}
        for reason, index in zip(self.rule, wanted, strict=True):
            reasons[int(index)] = (*reasons.get(int(index), ()), reason)
        return tuple(Choice(index, why) for index, why in reasons.items())

    def means(self) -> str:
        """Return every restorer's mean gain with its standard error, and how many results are worse."""
        return "; ".join(
            f"{name} {column.mean():+.2f} ± {standard_error(torch.from_numpy(column)):.2f} dB "
            f"({int((column < 0).sum())} made worse)"
            for name, column in zip(self.names, self.gains_db.T, strict=True)
        )


def _percentile(percent: int) -> str:
    return MEDIAN if percent == 50 else f"{percent}th percentile of the gain"


def measure_gains(
    photos: Sequence[Pixels], mixture: Mixture, seed: int, restorers: PhotoRestorers, progress: bool = False
) -> Gains:
    """Degrade every photograph once, and restore it by every restorer.

    Args:
        photos: `(H, W, 3)` clean, of any sizes, at least one.
        mixture: What the degradations are drawn from.
        seed: The same seed gives the same degradations.
        restorers: The restorers.
        progress: Whether to show a progress bar on stderr.
    """
    gains = []
    for index, photo in enumerate(tqdm(photos, desc=mixture.name, unit="image", disable=not progress)):
        degraded = apply_degradation(photo, draw_degradation(mixture, seed, index))
        gains.append([restorer(degraded, photo).gain_db for restorer in restorers.values()])
    return Gains(tuple(restorers), np.array(gains))


@dataclass(frozen=True)
class PhotoSet:
    """The photographs that are measured.

    Attributes:
        data: Name of the set.
        count: Number of photographs.
        seed: Of their degradation.
    """

    data: str
    count: int
    seed: int


def chains_legend(source: PhotoSet, mixture: str, gains: Gains) -> tuple[str, ...]:
    """Return the legend of a mixture's picture, with the figures of all photographs, in paragraphs."""
    return (
        f"{_degradation_text(source, f'the {mixture} mixture')} Shown, by a rule on the gain of "
        f"{gains.names[0]}: {', '.join(gains.rule)}. {ABOUT_CELLS}",
        f"Mean gain over all {source.count}, ± its standard error:",
        gains.means(),
    )


def medians_legend(source: PhotoSet, figures: Sequence[str]) -> tuple[str, ...]:
    """Return the same for the picture of all mixtures.

    Args:
        source: What was measured on.
        figures: The figures of all photographs, for each mixture.
    """
    return (
        f"{_degradation_text(source, 'each mixture')} Shown is that of median gain. {ABOUT_CELLS}",
        f"Mean gain over all {source.count}, ± its standard error:",
        *figures,
    )


def _degradation_text(source: PhotoSet, mixture: str) -> str:
    degraded = f"{source.count} photographs ({source.data}), each degraded once by a random draw of {mixture}"
    return f"{degraded} (seed {source.seed}) and restored as a whole."


@dataclass(frozen=True)
class RestoredPhoto:
    """A photograph with the results of all restorers.

    Attributes:
        what: Its name and its degradation.
        results: By the restorer's name, that whose chain is shown first.
        clean: `(H, W, 3)` the original.
    """

    what: str
    results: Mapping[str, PhotoResult]
    clean: Pixels


def restore_photo(
    name: str, photo: Pixels, degradation: Degradation, restorers: PhotoRestorers
) -> RestoredPhoto:
    """Degrade a photograph and restore it by every restorer."""
    degraded = apply_degradation(photo, degradation)
    results = {key: restorer(degraded, photo) for key, restorer in restorers.items()}
    return RestoredPhoto(f"{name}, {degradation}", results, photo)


def layout(photos: Mapping[str, RestoredPhoto]) -> tuple[Row, ...]:
    """Lay out every photograph as a row of cells, those of one kind below one another.

    The cell after an agent's last step says that it stopped, and those after it are empty.

    Args:
        photos: By the heading of the row; at least one, all with the same restorers.
    """
    chains = [next(iter(photo.results.values())) for photo in photos.values()]
    slots = max(1, *(len(chain.tools) for chain in chains))
    rows = []
    for (heading, photo), chain in zip(photos.items(), chains, strict=True):
        crop = _crop(chain.frames[0], photo.clean)
        rows.append(Row(heading, (*_chain_cells(chain, slots, crop), *_other_cells(photo, crop))))
    return tuple(rows)


def draw(title: str, legend: Sequence[str], photos: Mapping[str, RestoredPhoto]) -> Image.Image:
    """Draw the photographs as rows below a title and the paragraphs of a legend, in RGB."""
    return draw_rows(title, legend, layout(photos), SIDE)


def _crop(degraded: Pixels, clean: Pixels) -> tuple[slice, slice]:
    height, width = (min(SIDE, side) for side in clean.shape[:2])
    top, left = most_changed(degraded, clean, height, width)
    return slice(top, top + height), slice(left, left + width)


def _psnr(result: PhotoResult, step: int) -> str:
    gain_db = result.psnr_db[step] - result.psnr_db[0]
    return f"{result.psnr_db[step]:.2f} dB ({gain_db:+.2f})"


def _chain_cells(chain: PhotoResult, slots: int, crop: tuple[slice, slice]) -> tuple[Cell, ...]:
    """Return the input and a cell for each of so many steps."""
    cells = [Cell("input", (f"{chain.psnr_db[0]:.2f} dB",), chain.frames[0][crop])]
    for step, tool in enumerate(chain.tools, start=1):
        name = f"{step}: {tool} = result" if step == len(chain.tools) else f"{step}: {tool}"
        cells.append(Cell(name, (_psnr(chain, step),), chain.frames[step][crop]))
    if len(chain.tools) < slots:
        said = "no further tool" if chain.tools else "result = input"
        cells.append(Cell(f"{len(cells)}: stop", (said,)))
    return (*cells, *(Cell() for _ in range(slots + 1 - len(cells))))


def _other_cells(photo: RestoredPhoto, crop: tuple[slice, slice]) -> tuple[Cell, ...]:
    """Return the results of the other restorers, and the clean original."""
    cells = []
    for name, result in list(photo.results.items())[1:]:
        chain = (", ".join(result.tools),) if result.tools else ()
        cells.append(Cell(name, (_psnr(result, -1), *chain), result.frames[-1][crop]))
    return (*cells, Cell("clean original", (), photo.clean[crop]))
