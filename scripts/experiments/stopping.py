"""When to stop: chains that go on to the end, and what each choice of margins would have made of them.

The margins decide where a chain ends, not which tool comes next. So every chain is run once to its full
length, and then cut where each choice of margins would have cut it.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tqdm import tqdm

from experiments.comparison_sets import Pixels, degraded_photos
from rlrestore.evaluation.scores import aligned
from rlrestore.evaluation.testsets import generate
from rlrestore.imaging import PATCH
from rlrestore.imaging.degradation.libjpeg import jpeg_round_trip
from rlrestore.imaging.degradation.mixtures import MIXTURES
from rlrestore.imaging.psnr import photo_psnr_db
from rlrestore.inference.chains import global_chain
from rlrestore.inference.photos import as_photo, to_planes
from rlrestore.runtime import Actions, Agent, Floats, Memory, Runtime
from rlrestore.toolbox.specs import ToolSpec, start_margins_db

PATCHES, WHOLE, CLEAN = "patches", "whole", "clean"
Pair = tuple[str, str, Pixels, Pixels]
"""A group of `PATCHES`, `WHOLE` and `CLEAN`, a kind, the input and the reference `(H, W, 3)`."""


class EndlessAgent:
    """An agent that never stops, and otherwise is another one."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent
        self.actions, self.max_steps, self.values_in_db = agent.actions, agent.max_steps, True
        self.start_margins_db, self.stop_margin_db = (-np.inf,) * (agent.actions - 1), -np.inf

    def empty_memory(self, count: int) -> Memory:
        """Return the memory of `count` episodes that have not begun."""
        return self._agent.empty_memory(count)

    def values(self, windows: Floats, last_actions: Actions, memory: Memory) -> tuple[Floats, Memory]:
        """Value every action in every window."""
        return self._agent.values(windows, last_actions, memory)


@dataclass(frozen=True)
class Margins:
    """What must be expected of a tool before it is taken.

    Attributes:
        starts_db: Of the first tool, by its name.
        stop_db: Of every further one.
    """

    starts_db: Mapping[str, float]
    stop_db: float

    @classmethod
    def of(cls, model: Runtime) -> Self:
        """Return the margins of a model's card."""
        starts_db = zip(model.tools.names, model.agent.start_margins_db, strict=True)
        return cls(dict(starts_db), model.agent.stop_margin_db)

    @classmethod
    def make(cls, specs: Sequence[ToolSpec], start_db: float, light_db: float, stop_db: float) -> Self:
        """Return margins by kind of tool; of a lightest one no less than of any."""
        starts_db = start_margins_db(specs, start_db, max(start_db, light_db))
        return cls(dict(zip((spec.name for spec in specs), starts_db, strict=True)), stop_db)


@dataclass(frozen=True)
class EndlessChain:
    """A chain of T steps that nothing has cut.

    Attributes:
        group: Of `PATCHES`, `WHOLE` and `CLEAN`.
        kind: The mixture, or how a clean photograph was saved.
        tools: Names of the T tools; one alone for a clean photograph.
        expected_db: The T gains that the agent expected.
        psnr_db: The T + 1 PSNRs, of the input first.
    """

    group: str
    kind: str
    tools: tuple[str, ...]
    expected_db: tuple[float, ...]
    psnr_db: tuple[float, ...]

    def steps(self, cut: Margins) -> int:
        """Return how many tools are applied with these margins."""
        margins = (cut.starts_db[self.tools[0]], *(cut.stop_db for _ in self.tools[1:]))
        enough = [value > margin for value, margin in zip(self.expected_db, margins, strict=True)]
        return (*enough, False).index(False)

    def gain_db(self, cut: Margins) -> float:
        """Return what is gained with these margins."""
        return self.psnr_db[self.steps(cut)] - self.psnr_db[0]


def endless_chain(model: Runtime, pair: Pair) -> EndlessChain:
    """Restore a photograph or a patch as `restore` does, but without a stop."""
    group, kind, degraded, clean = pair
    image, target = to_planes(as_photo(degraded)).copy(order="K"), to_planes(as_photo(clean))
    agent, psnr_db, steps = EndlessAgent(model.agent), [photo_psnr_db(image, target)], []
    length = 1 if group == CLEAN else model.agent.max_steps  # whether it is left alone is decided at once
    for restored, step in global_chain(model.tools, agent, image, length):
        psnr_db.append(photo_psnr_db(restored.clip(0, 1), target))
        steps.append(step)
    expected_db = tuple(step.expected_gain_db or 0.0 for step in steps)
    return EndlessChain(group, kind, tuple(step.tool for step in steps), expected_db, tuple(psnr_db))


def clean_versions(photo: Pixels) -> dict[str, Pixels]:
    """Return a photograph as people have it who need no restoration: as it is, saved well, halved."""
    height, width = photo.shape[:2]
    image = Image.fromarray(photo)
    halved = np.asarray(image.resize((width // 2, height // 2), Image.Resampling.LANCZOS))
    saved = {f"JPEG {quality}": jpeg_round_trip(photo, quality) for quality in (95, 90)}
    return {"original": photo, "halved": halved, **saved, "halved, JPEG 90": jpeg_round_trip(halved, 90)}


def make_pairs(
    photos: list[NDArray[np.uint8]], mixtures: Sequence[str], patches: int, draws: int, seed: int
) -> Iterator[Pair]:
    """Make what is measured on.

    Args:
        photos: Clean photographs `(H, W, 3)`, at least twice as high and wide as a patch.
        mixtures: Names of those that patches and photographs are degraded by.
        patches: How many of each mixture.
        draws: How often each whole photograph is degraded by each mixture.
        seed: The same seed gives the same pairs.
    """
    for name in mixtures:
        mixture = MIXTURES[name]
        if patches:
            made = generate(photos, mixture, patches, seed)
            yield from ((PATCHES, name, *pair) for pair in zip(made.degraded, made.clean, strict=True))
        for draw in range(draws):
            yield from ((WHOLE, name, *pair) for pair in degraded_photos(photos, mixture, seed + draw))
    for photo in photos:
        if min(photo.shape[:2]) >= 2 * PATCH:
            reference = clean_versions(photo)
            for kind, version in reference.items():
                yield CLEAN, kind, version, reference["halved"] if kind.startswith("halved") else photo


def run_chains(model: Runtime, pairs: Iterator[Pair], progress: bool = False) -> list[EndlessChain]:
    """Run every chain to its end."""
    return [endless_chain(model, pair) for pair in tqdm(pairs, unit="image", disable=not progress)]


@dataclass(frozen=True)
class CurvePoint:
    """What a pair of margins does.

    Attributes:
        start_db: What a first tool must be expected to gain.
        light_db: What a first tool that is the lightest of its kind must be.
        stop_db: And every further one.
        gain_db: Mean gain by group and mixture, as `patches mild`.
        worse_share: Share of the images whose result is worse than the input, likewise.
        alone_share: Share of the clean photographs that no tool touches, by kind, and of `all`.
    """

    start_db: float
    light_db: float
    stop_db: float
    gain_db: dict[str, float]
    worse_share: dict[str, float]
    alone_share: dict[str, float]

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return asdict(self)


def curve_point(chains: Sequence[EndlessChain], cut: Margins) -> CurvePoint:
    """Cut all chains by some margins and average."""
    gains: dict[str, list[float]] = {}
    alone: dict[str, list[float]] = {"all": []}
    for chain in chains:
        if chain.group == CLEAN:
            untouched = float(chain.steps(cut) == 0)
            alone.setdefault(chain.kind, []).append(untouched)
            alone["all"].append(untouched)
        else:
            gains.setdefault(f"{chain.group} {chain.kind}", []).append(chain.gain_db(cut))
    return CurvePoint(
        min(cut.starts_db.values()),
        max(cut.starts_db.values()),
        cut.stop_db,
        {name: float(np.mean(each)) for name, each in gains.items()},
        {name: float(np.mean(np.array(each) < 0)) for name, each in gains.items()},
        {name: float(np.mean(each)) for name, each in alone.items() if each},
    )


def curve_table(points: Sequence[CurvePoint]) -> str:
    """Return the curve for a terminal: gain and share of worse results by mixture, clean ones left alone."""
    first = points[0]
    rows = [["start", "light", "stop", *first.gain_db, *first.alone_share]]
    for point in points:
        gains = [
            f"{gain_db:+.2f} {100 * point.worse_share[name]:.2f}%" for name, gain_db in point.gain_db.items()
        ]
        shares = [f"{100 * share:.1f}%" for share in point.alone_share.values()]
        margins = [f"{margin_db:.2f}" for margin_db in (point.start_db, point.light_db, point.stop_db)]
        rows.append([*margins, *gains, *shares])
    return "\n".join(
        [
            "margins in dB of a first tool, of one that is the lightest of its kind, of every further one; "
            "mean gain in dB and share worse than the input; share of clean photographs left alone",
            *aligned(rows),
        ]
    )


def touched_table(chains: Sequence[EndlessChain], cut: Margins) -> str:
    """Return for a terminal which tools clean photographs are given, what is expected, what comes of it."""
    touched: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for chain in chains:
        if chain.group == CLEAN and chain.steps(cut):
            numbers = chain.expected_db[0], chain.psnr_db[1] - chain.psnr_db[0]
            touched.setdefault((chain.kind, chain.tools[0]), []).append(numbers)
    rows = [["clean photograph", "first tool", "how many", "expected, dB", "gained, dB"]]
    for (kind, tool), some in sorted(touched.items()):
        expected_db, gained_db = np.mean(some, axis=0)
        rows.append([kind, tool, str(len(some)), f"{expected_db:+.2f}", f"{gained_db:+.2f}"])
    return "\n".join(
        ["clean photographs that are given a tool by the first of these margins", *aligned(rows)]
    )
