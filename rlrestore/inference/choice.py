"""What a person decides in the agent's place: the chain, or the tools that it may choose among."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from rlrestore.errors import UsageError
from rlrestore.toolbox.specs import ToolSpec
from rlrestore.trace import BY_AGENT, STOP_NAME, Trace

RUNNERS_UP = 2
"""Tools at most in whose place the next best is tried."""


@dataclass(frozen=True)
class Choice:
    """What is left to the agent.

    Attributes:
        chain: The tools to apply, by number; None lets the agent choose.
        left_out: The tools that it must not choose, by number.
    """

    chain: tuple[int, ...] | None = None
    left_out: tuple[int, ...] = ()

    def action(self, number: int) -> int | None:
        """Return the tool that was decided for a step, from 1; None lets the agent choose."""
        return None if self.chain is None else self.chain[number - 1]


FREE = Choice()
"""The agent chooses among all tools."""


def make_choice(
    specs: Sequence[ToolSpec], chain: Sequence[str], only: Sequence[str], never: Sequence[str]
) -> Choice:
    """Return what the names of tools and kinds mean for a toolbox.

    Args:
        specs: The tools.
        chain: Names of tools, to be applied in this order; empty lets the agent choose.
        only: Names or kinds to choose among; empty for all. A kind is a distortion, as `noise`, or what the
            tools' names begin with, as `denoise`.
        never: Names or kinds to leave out.

    Raises:
        UsageError: There is no such tool or kind, no tool is left, or a chain is limited.
    """
    if chain and (only or never):
        raise UsageError("expected either a chain or tools to choose among, got both: leave one of them out")
    names = [spec.name for spec in specs]
    if chain:
        for name in chain:
            if name not in names:
                raise UsageError(f"unknown tool {name!r} in the chain: expected some of {', '.join(names)}")
        return Choice(tuple(map(names.index, chain)))
    kept = set(_meant(specs, only)) if only else set(range(len(specs)))
    kept -= set(_meant(specs, never))
    if not kept:
        raise UsageError("expected at least one tool to choose among, but none is left: leave out fewer")
    return Choice(left_out=tuple(index for index in range(len(specs)) if index not in kept))


@dataclass(frozen=True)
class Alternative:
    """Another chain that is worth a look.

    Attributes:
        name: In what it differs, as in `without denoise-3`.
        options: What `Restorer.restore` is told instead: `chain`, or `never`.
    """

    name: str
    options: Mapping[str, tuple[str, ...]]


def alternatives(trace: Trace) -> Iterator[Alternative]:
    """Yield the few best other chains for a whole photograph; none for one that was restored by regions.

    They are what the agent chooses without its first tool, and without its first two; where it applied none,
    the tools that it would have taken next; and one tool fewer.
    """
    if trace.mode == "local":
        return
    first = trace.steps[0]
    tools = [name for name in (first.tool, *(name for name, _ in first.runners_up)) if name != STOP_NAME]
    if first.chosen_by == BY_AGENT and trace.tools:
        for count in range(1, min(RUNNERS_UP + 1, len(tools))):
            left_out = tools[:count]
            yield Alternative(f"without {' and '.join(left_out)}", {"never": (*trace.left_out, *left_out)})
    elif not trace.tools:
        for name in tools[:RUNNERS_UP]:
            yield Alternative(f"{name} all the same", {"chain": (name,)})
    if len(trace.tools) > 1:
        yield Alternative("one tool fewer", {"chain": trace.tools[:-1]})


def _meant(specs: Sequence[ToolSpec], words: Iterable[str]) -> list[int]:
    """Return the numbers of the tools that names and kinds mean."""
    found: list[int] = []
    for word in words:
        some = [index for index, spec in enumerate(specs) if word in (spec.name, *_kinds(spec))]
        if not some:
            kinds = dict.fromkeys(kind for spec in specs for kind in _kinds(spec))
            names = ", ".join(dict.fromkeys((*kinds, *(spec.name for spec in specs))))
            raise UsageError(f"unknown tool or kind of tools {word!r}: expected some of {names}")
        found += some
    return found


def _kinds(spec: ToolSpec) -> tuple[str, ...]:
    stem, dash, number = spec.name.rpartition("-")
    return (spec.distortion, stem) if dash and number.isdecimal() else (spec.distortion,)
