"""What the comparison is to show, and whether it does: computed from the same numbers as its tables."""

from collections.abc import Callable
from dataclasses import dataclass

from experiments.comparison import (
    CLEAN,
    CLEAN_OF_DATA,
    CLEAN_OF_PHOTOS,
    CLEAN_PHOTOS,
    GRIDS,
    PLACES,
    Comparison,
    SetName,
)
from experiments.contenders import AUTHORS, PAPER
from rlrestore.evaluation.scores import summarise
from rlrestore.imaging.degradation.mixtures import MILD, MIXTURES, MODERATE, SEVERE

PROTOCOL = "protocol"
"""What a training is on that never sees a mild or severe mixture; clean photographs are not its business."""
LEADS_DB = {MILD.name: 0.6, MODERATE.name: 0.6, SEVERE.name: 0.6}
PROTOCOL_LEADS_DB = {MILD.name: 0.3, MODERATE.name: 0.6, SEVERE.name: 0.3}
"""Over the authors' model."""
SINGLE_LEAD_DB = 0.1
STOP_SHARE = 0.99
"""Of clean patches with texture: those on which stop is the first action."""
LOWEST_CLEAN_DB = 45.0
TIME_SHARE = 1 / 3
"""Of the authors' time for a photograph of one megapixel."""

Measure = Callable[[SetName, float], tuple[str, bool]]
"""From a set and what is wanted there to what came of it, as a text, and whether that is enough."""


@dataclass(frozen=True)
class Target:
    """One thing that was to be reached.

    Attributes:
        model: Whose it is.
        what: What was to be reached.
        measured: What came of it; empty if that could not be measured.
        missed: Where it was missed, or `missed` where there is one place alone.
    """

    model: str
    what: str
    measured: str
    missed: tuple[str, ...] = ()

    @property
    def verdict(self) -> str:
        """The last cell of its row."""
        if not self.measured:
            return "not measured"
        if not self.missed:
            return "met"
        return "**missed**" if self.missed == ("missed",) else f"**missed** on {', '.join(self.missed)}"


def our_models(comparison: Comparison) -> list[str]:
    """Return the models that have targets: those with an agent but for the authors' and the retrained one."""
    own = [name for name, profile in comparison.profiles.items() if profile.has_agent]
    return [name for name in own if name not in (AUTHORS, PAPER)]


def targets(comparison: Comparison) -> list[Target]:
    """Return every target of every model of ours."""
    return [target for model in our_models(comparison) for target in _of_model(comparison, model)]


def _of_model(comparison: Comparison, model: str) -> list[Target]:
    against_authors = AUTHORS in comparison.profiles
    single = comparison.singles.get(model)
    found = []
    for grid in GRIDS:
        found += [
            _lead(comparison, model, AUTHORS if against_authors else None, grid),
            _compute(comparison, model, grid, against_authors),
            _single_lead(comparison, model, single, grid),
        ]
    found.append(_time(comparison, model, against_authors))
    return found if _as_in_the_paper(comparison, model) else [*found, *_clean(comparison, model)]


def _as_in_the_paper(comparison: Comparison, model: str) -> bool:
    return comparison.profiles[model].damages == (PROTOCOL,)


def _on_mixtures(
    model: str, what: str, grid: str, wanted: dict[str, float], measure: Measure | None
) -> Target:
    """Look at each mixture of a grid; without a measure there is nothing to look at."""
    what = f"{what} ({PLACES[grid][0].lower()}{PLACES[grid][1:]})"
    if measure is None:
        return Target(model, what, "")
    cells = {name: measure((grid, name), least) for name, least in wanted.items()}
    texts = [f"{name} {text}" for name, (text, _) in cells.items()]
    missed = [name for name, (_, met) in cells.items() if not met]
    return Target(model, what, ", ".join(texts), tuple(missed))


def _lead_over(comparison: Comparison, model: str, other: str) -> Measure:
    def measure(of: SetName, least_db: float) -> tuple[str, bool]:
        lead = comparison.lead(of, model, other)
        return str(lead), lead.mean >= least_db

    return measure


def _lead(comparison: Comparison, model: str, authors: str | None, grid: str) -> Target:
    wanted = PROTOCOL_LEADS_DB if _as_in_the_paper(comparison, model) else LEADS_DB
    amounts = ", ".join(f"{name} {least_db:+g}" for name, least_db in wanted.items())
    what = f"PSNR over the authors' model at least {amounts} dB"
    measure = None if authors is None else _lead_over(comparison, model, authors)
    return _on_mixtures(model, what, grid, wanted, measure)


def _single_lead(comparison: Comparison, model: str, single: str | None, grid: str) -> Target:
    rival = "its single network"
    if single is not None:
        rival = f"{single} ({comparison.profiles[single].tool_multiply_adds[0] / 1e6:.0f} M multiply-adds)"
    what = f"PSNR over {rival} at least {SINGLE_LEAD_DB:+g} dB"
    measure = None if single is None else _lead_over(comparison, model, single)
    return _on_mixtures(model, what, grid, dict.fromkeys(MIXTURES, SINGLE_LEAD_DB), measure)


def _compute(comparison: Comparison, model: str, grid: str, against_authors: bool) -> Target:
    def measure(of: SetName, most: float) -> tuple[str, bool]:
        own, theirs = (comparison.multiply_adds(of, name) for name in (model, AUTHORS))
        return f"{own / 1e6:.0f} of {theirs / 1e6:.0f} M", own <= most * theirs

    what = "multiply-adds per patch no more than the authors'"
    wanted = dict.fromkeys(MIXTURES, 1.0)
    return _on_mixtures(model, what, grid, wanted, measure if against_authors else None)


def _time(comparison: Comparison, model: str, against_authors: bool) -> Target:
    what = "time for a megapixel at most a third of the authors'"
    if not against_authors:
        return Target(model, what, "")
    own, theirs = (comparison.times[name].megapixel_ms for name in (model, AUTHORS))
    missed = () if own <= TIME_SHARE * theirs else ("missed",)
    return Target(model, what, f"{own / theirs:.2f} of it ({own:.0f} of {theirs:.0f} ms)", missed)


def _clean(comparison: Comparison, model: str) -> list[Target]:
    shares = {
        name: summarise(comparison.scores[CLEAN, name][model]).stop_shares[0]
        for name in (CLEAN_OF_DATA, CLEAN_OF_PHOTOS)
    }
    lowest_db = lowest_clean_db(comparison, model)
    return [
        Target(
            model,
            f"stop at once on at least {STOP_SHARE:.0%} of clean patches",
            ", ".join(f"{share:.1%} of the {name}" for name, share in shares.items()),
            tuple(name for name, share in shares.items() if share < STOP_SHARE),
        ),
        Target(
            model,
            f"no clean photograph below {LOWEST_CLEAN_DB:g} dB",
            f"lowest {lowest_db:.1f} dB",
            () if lowest_db >= LOWEST_CLEAN_DB else ("missed",),
        ),
    ]


def lowest_clean_db(comparison: Comparison, name: str) -> float:
    """Return the PSNR of the clean photograph of which least is left."""
    return comparison.scores[CLEAN, CLEAN_PHOTOS][name].psnr_db[:, -1].min().item()
