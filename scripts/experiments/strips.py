"""Pictures of chains: input, every step, result, beside other restorers and the clean original.

Which photographs are shown is a rule about the gains of all of them, the failures among them.
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
class Attempt:
    """What one restorer made of one photograph.

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


Method = Callable[[Pixels, Pixels], Attempt]
"""Restores a degraded photograph; the clean one is for measuring only."""
Methods = Mapping[str, Method]
"""Restorers by name; the first is the one whose chains are shown."""


def by_agent(restorer: Restorer) -> Method:
    """Restore by one chain for the whole photograph.

    An imported model of the authors' takes photographs as they are, too: see `rlrestore.paper.importing`.
    """

    def attempt(degraded: Pixels, clean: Pixels) -> Attempt:
        trace = restorer.restore(degraded, clean, mode="global").trace
        measured = (trace.start_psnr_db, *(step.psnr_db for step in trace.applied))
        return Attempt(trace.tools, tuple(value for value in measured if value is not None), trace.frames)

    return attempt


def by_network(toolbox: Toolbox) -> Method:
    """Restore by the first tool of a toolbox, always and once."""
    tools = TorchTools(toolbox)

    def attempt(degraded: Pixels, clean: Pixels) -> Attempt:
        image, truth = (to_planes(as_photo(pixels)) for pixels in (degraded, clean))
        before_db = photo_psnr_db(image, truth)
        restored = apply_tool_(tools, 0, image)
        measured = before_db, photo_psnr_db(restored, truth)
        return Attempt((), measured, (degraded, to_frame(restored)))

    return attempt


@dataclass(frozen=True)
class Choice:
    """A photograph to show.

    Attributes:
        index: Its place among all.
        reasons: Why it is shown.
    """

    index: int
    reasons: tuple[str, ...]

    @property
    def why(self) -> str:
        """The reasons in one line."""
        return "; ".join(self.reasons)


@dataclass(frozen=True)
class Gains:
    """What the methods gained on every photograph of a set.

    Attributes:
        names: Of the methods; the first is the one whose chains are shown.
        gains_db: `(N, methods)` PSNR of the result minus that of the input, N > 0.
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
        """Choose by rule: typical photographs, and those on which the first method fails.

        They are the 90th, 50th and 10th percentile of its gain, by nearest rank; its smallest gain; and where
        there are other methods, the one on which it does worst against the best of them. Ties go by the order
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
        """Return every method's mean gain with its standard error, and how often its result is worse."""
        return "; ".join(
            f"{name} {column.mean():+.2f} ± {standard_error(torch.from_numpy(column)):.2f} dB "
            f"({int((column < 0).sum())} made worse)"
            for name, column in zip(self.names, self.gains_db.T, strict=True)
        )


def _percentile(percent: int) -> str:
    return MEDIAN if percent == 50 else f"{percent}th percentile of the gain"


def measure_gains(
    photos: Sequence[Pixels], mixture: Mixture, seed: int, methods: Methods, progress: bool = False
) -> Gains:
    """Degradation every photograph once, and restore it by every method.

    Args:
        photos: `(H, W, 3)` clean, of any sizes, at least one.
        mixture: What the degradation is drawn from.
        seed: The same seed gives the same degradation.
        methods: Who restores.
        progress: Whether to show a progress bar on stderr.
    """
    gains = []
    for index, photo in enumerate(tqdm(photos, desc=mixture.name, unit="image", disable=not progress)):
        degraded = apply_degradation(photo, draw_degradation(mixture, seed, index))
        gains.append([method(degraded, photo).gain_db for method in methods.values()])
    return Gains(tuple(methods), np.array(gains))


@dataclass(frozen=True)
class Source:
    """What is measured on.

    Attributes:
        data: What the photographs are called.
        count: How many they are.
        seed: Of their degradation.
    """

    data: str
    count: int
    seed: int


def chains_legend(source: Source, mixture: str, gains: Gains) -> tuple[str, ...]:
    """Return how the picture of a mixture came about, and the figures of all photographs, in paragraphs."""
    return (
        f"{_damaged(source, f'the {mixture} mixture')} Shown, by a rule on the gain of "
        f"{gains.names[0]}: {', '.join(gains.rule)}. {ABOUT_CELLS}",
        f"Mean gain over all {source.count}, ± its standard error:",
        gains.means(),
    )


def medians_legend(source: Source, figures: Sequence[str]) -> tuple[str, ...]:
    """Return the same for the picture of all mixtures.

    Args:
        source: What was measured on.
        figures: Of each mixture, what is said of all photographs.
    """
    return (
        f"{_damaged(source, 'each mixture')} Shown is that of median gain. {ABOUT_CELLS}",
        f"Mean gain over all {source.count}, ± its standard error:",
        *figures,
    )


def _damaged(source: Source, mixture: str) -> str:
    damaged = f"{source.count} photographs ({source.data}), each damaged once by a random draw of {mixture}"
    return f"{damaged} (seed {source.seed}) and restored as a whole."


@dataclass(frozen=True)
class Example:
    """A photograph with all that was made of it.

    Attributes:
        what: Its name and its degradation.
        attempts: By the method's name, that whose chain is shown first.
        clean: `(H, W, 3)` the original.
    """

    what: str
    attempts: Mapping[str, Attempt]
    clean: Pixels


def make_example(name: str, photo: Pixels, degradation: Degradation, methods: Methods) -> Example:
    """Degradation a photograph and restore it by every method."""
    degraded = apply_degradation(photo, degradation)
    attempts = {key: method(degraded, photo) for key, method in methods.items()}
    return Example(f"{name}, {degradation}", attempts, photo)


def layout(examples: Mapping[str, Example]) -> tuple[Row, ...]:
    """Put every example into a row of cells, those of one kind below one another.

    A place of a step that its agent did not use says that it stopped, and those after it stay empty.

    Args:
        examples: By the heading of the row; at least one, all with the same methods.
    """
    chains = [next(iter(example.attempts.values())) for example in examples.values()]
    slots = max(1, *(len(chain.tools) for chain in chains))
    rows = []
    for (heading, example), chain in zip(examples.items(), chains, strict=True):
        crop = _crop(chain.frames[0], example.clean)
        rows.append(Row(heading, (*_chain_cells(chain, slots, crop), *_other_cells(example, crop))))
    return tuple(rows)


def draw(title: str, legend: Sequence[str], examples: Mapping[str, Example]) -> Image.Image:
    """Draw the examples as rows below a title and the paragraphs of a legend, in RGB."""
    return draw_rows(title, legend, layout(examples), SIDE)


def _crop(degraded: Pixels, clean: Pixels) -> tuple[slice, slice]:
    height, width = (min(SIDE, side) for side in clean.shape[:2])
    top, left = most_changed(degraded, clean, height, width)
    return slice(top, top + height), slice(left, left + width)


def _psnr(attempt: Attempt, step: int) -> str:
    gain_db = attempt.psnr_db[step] - attempt.psnr_db[0]
    return f"{attempt.psnr_db[step]:.2f} dB ({gain_db:+.2f})"


def _chain_cells(chain: Attempt, slots: int, crop: tuple[slice, slice]) -> tuple[Cell, ...]:
    """Return the input and a cell for each of so many steps."""
    cells = [Cell("input", (f"{chain.psnr_db[0]:.2f} dB",), chain.frames[0][crop])]
    for step, tool in enumerate(chain.tools, start=1):
        name = f"{step}: {tool} = result" if step == len(chain.tools) else f"{step}: {tool}"
        cells.append(Cell(name, (_psnr(chain, step),), chain.frames[step][crop]))
    if len(chain.tools) < slots:
        said = "no further tool" if chain.tools else "result = input"
        cells.append(Cell(f"{len(cells)}: stop", (said,)))
    return (*cells, *(Cell() for _ in range(slots + 1 - len(cells))))


def _other_cells(example: Example, crop: tuple[slice, slice]) -> tuple[Cell, ...]:
    """Return the results of the other methods, and the clean original."""
    cells = []
    for name, attempt in list(example.attempts.items())[1:]:
        chain = (", ".join(attempt.tools),) if attempt.tools else ()
        cells.append(Cell(name, (_psnr(attempt, -1), *chain), attempt.frames[-1][crop]))
    return (*cells, Cell("clean original", (), example.clean[crop]))
