"""A chain in words, for people who do not know the tools."""

from collections.abc import Iterable, Mapping

from rlrestore.toolbox.specs import ToolSpec
from rlrestore.trace import BY_AGENT, BY_HAND, Trace, TraceStep

ESTIMATES = {"blur": "blur_sigma_px", "noise": "noise_sigma_255", "jpeg": "jpeg_quality"}
"""What an inspection calls the amount of each kind."""
ORDINALS = ("First", "Second", "Third", "Fourth", "Fifth", "Sixth")


def purpose(spec: ToolSpec) -> str:
    """Return what a tool is for, as in 'takes noise away (made for σ 12.5 to 25 of 255)'."""
    low, high = f"{spec.low:g}", f"{spec.high:g}"
    return {
        "blur": f"takes blur away (made for σ {low} to {high} pixels)",
        "noise": f"takes noise away (made for σ {low} to {high} of 255)",
        "jpeg": f"takes JPEG's blocks and ringing away (made for quality {low} to {high})",
        "mixture": "takes blur, noise and JPEG's traces away together",
    }[spec.distortion]


def in_words(trace: Trace, specs: Iterable[ToolSpec]) -> list[str]:
    """Return a chain as sentences, one a step, and one on how it ended.

    Args:
        trace: The chain.
        specs: The tools that it was chosen from.
    """
    by_name = {spec.name: spec for spec in specs}
    purposes = {name: purpose(spec) for name, spec in by_name.items()}
    sentences = [
        f"{_ordinal(number)}: {_who(step, purposes)}{_gain(step.expected_gain_db)}."
        for number, step in enumerate(trace.applied)
    ]
    if not trace.applied:
        return ["Unchanged: no tool was expected to gain enough."]
    if trace.stopped:
        ended = "no further tool was expected to gain enough"
    elif trace.steps[-1].chosen_by == BY_HAND:
        ended = "that was the chain that was asked for"
    else:
        ended = "that was the limit of steps"
    gain_db = trace.expected_gain_db
    total = "" if gain_db is None else f" {gain_db:+.2f} dB expected in all, at full strength."
    return [*sentences, f"Then it stopped: {ended}.{total}", *_beside_estimates(trace, by_name)]


def _beside_estimates(trace: Trace, specs: Mapping[str, ToolSpec]) -> list[str]:
    """Return a sentence on tools that are made for other amounts than were estimated, if there are any.

    Of each kind only the first in the chain is compared: the next one meets what that has left.
    """
    firsts: dict[str, ToolSpec] = {}
    for step in trace.applied:
        if step.chosen_by == BY_AGENT and len(step.shares) < 2 and step.tool in specs:
            firsts.setdefault(specs[step.tool].distortion, specs[step.tool])
    others = []
    for kind, spec in firsts.items():
        found = getattr(trace.inspection, ESTIMATES.get(kind, ""), None)
        if found is not None and not spec.low <= found.estimate <= spec.high:
            others.append(spec.name)
    if not others:
        return []
    are = "is" if len(others) == 1 else "are"
    return [
        f"{' and '.join(others)} {are} made for another amount than was estimated: the agent goes by the "
        "gain that it expects, not by the estimates."
    ]


def _ordinal(number: int) -> str:
    return ORDINALS[number] if number < len(ORDINALS) else f"Step {number + 1}"


def _who(step: TraceStep, purposes: Mapping[str, str]) -> str:
    if len(step.shares) > 1:
        return f"by region {step.label}"
    return f"{step.tool} {purposes.get(step.tool, 'works on it')}"


def _gain(gain_db: float | None) -> str:
    return "" if gain_db is None else f", {gain_db:+.2f} dB expected"
