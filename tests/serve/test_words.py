"""A chain in words, beside what was estimated of the input."""

import pytest

from rlrestore.explain.inspection import Estimate, Inspection, Unfamiliarity
from rlrestore.serve.words import in_words
from rlrestore.toolbox.specs import TOOLS
from rlrestore.trace import BY_AGENT, BY_HAND, Trace, TraceStep

FOUND = Inspection(
    Estimate(3.3, 2.4, 4.3), Estimate(20, 18, 23), Estimate(50, 40, 60), Unfamiliarity(0.3, 1.0)
)
"""Deblur-3, denoise-2 and dejpeg-2 are made for it."""


def words(*tools: str, inspection: Inspection | None = FOUND, chosen_by: str = BY_AGENT) -> list[str]:
    steps = tuple(TraceStep(tool, 1.0, (), 0.0, chosen_by=chosen_by) for tool in tools)
    return in_words(Trace("global", "a test", 40, 30, steps, inspection=inspection), TOOLS)


def test_a_tool_that_is_made_for_another_amount_than_was_estimated_is_named() -> None:
    said = words("denoise-2", "deblur-4")
    assert said[1] == "Second: deblur-4 takes blur away (made for σ 3.75 to 5 pixels), +1.00 dB expected."
    assert said[-1] == (
        "deblur-4 is made for another amount than was estimated: the agent goes by the gain that it expects, "
        "not by the estimates."
    )
    assert words("denoise-1", "dejpeg-3")[-1].startswith("denoise-1 and dejpeg-3 are made for another amount")


@pytest.mark.parametrize(
    "said",
    [
        words("deblur-3", "denoise-2", "dejpeg-2"),
        words("deblur-3", "deblur-1"),  # the second meets what the first has left
        words("deblur-4", chosen_by=BY_HAND),
        words("deblur-4", inspection=None),
    ],
)
def test_nothing_is_said_where_they_agree_or_a_person_chose(said: list[str]) -> None:
    assert said[-1].startswith("Then it stopped")
