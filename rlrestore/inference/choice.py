"""What a person decides in the agent's place: the chain, or the tools that it may choose among."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rlrestore.errors import UsageError
from rlrestore.toolbox.specs import ToolSpec


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
