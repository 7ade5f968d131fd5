"""Overruling the agent: a chain by hand, and tools to choose among."""

import numpy as np
import pytest

from rlrestore.errors import UsageError
from rlrestore.inference.choice import alternatives, make_choice
from rlrestore.toolbox.specs import TOOL_NAMES, TOOLS
from rlrestore.trace import Trace, TraceStep
from tests.toys import make_restorer

GREY = np.full((80, 90, 3), 0.5, np.float32)


def left(only: tuple[str, ...] = (), never: tuple[str, ...] = ()) -> list[str]:
    left_out = make_choice(TOOLS, (), only, never).left_out
    return [name for index, name in enumerate(TOOL_NAMES) if index not in left_out]


def test_kinds_are_distortions_or_what_names_begin_with() -> None:
    assert left(only=("noise",)) == left(only=("denoise",)) == [f"denoise-{level}" for level in range(1, 5)]
    assert left(("blur", "dejpeg-2"), ("deblur-1", "deblur-3")) == ["deblur-2", "deblur-4", "dejpeg-2"]
    assert len(left(never=("jpeg",))) == 8


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"chain": ("keep", "sharpen")}, "unknown tool 'sharpen' in the chain: expected some of brighten"),
        ({"only": ("grain",)}, "unknown tool or kind of tools 'grain': expected some of noise, brighten"),
        ({"never": ("noise",)}, "none is left"),
        ({"only": ("keep",), "never": ("keep",)}, "none is left"),
        ({"chain": ("keep",), "never": ("keep",)}, "either a chain or tools to choose among"),
        ({"chain": ("keep",), "max_steps": 2}, "a chain goes with neither"),
        ({"chain": ("keep",), "mode": "local"}, "a chain goes with neither"),
    ],
)
def test_what_means_nothing_is_refused(options: dict[str, object], line: str) -> None:
    with pytest.raises(UsageError, match=line):
        make_restorer([0]).restore(GREY, **options)  # type: ignore[arg-type]  # one of several options


def test_a_chain_is_applied_whatever_the_agent_would_do() -> None:
    done = make_restorer([0]).restore(GREY, chain=("darken", "brighten", "brighten", "keep"))

    assert done.trace.tools == ("darken", "brighten", "brighten", "keep")
    np.testing.assert_allclose(done.image, 0.5 - 0.0625 + 0.25, atol=1e-6)
    assert [step.chosen_by for step in done.trace.steps] == ["hand"] * 4
    assert done.trace.steps[0].expected_gain_db == pytest.approx(-1, abs=0.01)  # which the agent still values
    assert "darken (by hand)" in done.trace.table()


@pytest.mark.parametrize("mode", ["global", "local"])
def test_the_agent_chooses_among_the_rest(mode: str) -> None:
    done = make_restorer([0, 1]).restore(GREY, mode=mode, never=("brighten",))
    json = done.trace.to_json()

    assert done.trace.tools == ()
    assert json["left_out"] == ["brighten"]
    assert json["steps"][0]["chosen_by"] == "agent"
    assert {name for step in done.trace.steps for name, _ in step.runners_up} <= {"darken", "keep"}
    assert np.isfinite([step.expected_gain_db or 0 for step in done.trace.steps]).all()


@pytest.mark.parametrize(
    ("asked", "others"),
    [
        (
            {},
            [
                ("without brighten", {"never": ("brighten",)}),
                ("one tool fewer", {"chain": ("brighten",)}),
            ],
        ),
        (
            {"never": ("brighten",)},
            [("darken all the same", {"chain": ("darken",)}), ("keep all the same", {"chain": ("keep",)})],
        ),
        ({"chain": ("keep", "darken")}, [("one tool fewer", {"chain": ("keep",)})]),
        ({"mode": "local"}, []),
    ],
)
def test_the_few_best_other_chains(asked: dict[str, object], others: list[object]) -> None:
    done = make_restorer([0, 1]).restore(GREY, **asked)  # type: ignore[arg-type]  # one of several options

    found = [(one.name, one.options) for one in alternatives(done.trace)]
    assert found == others
    for _, options in found:
        make_restorer([0, 1]).restore(GREY, **options)  # type: ignore[arg-type]  # chain or never


def test_the_two_best_tools_are_left_out_and_what_was_left_out_before() -> None:
    first = TraceStep("denoise-3", 2.0, (("denoise-2", 1.0), ("deblur-1", 0.5)), 1.0)
    trace = Trace("global", "toy", 9, 9, (first,), left_out=("dejpeg-1",))

    assert [(one.name, one.options["never"]) for one in alternatives(trace)] == [
        ("without denoise-3", ("dejpeg-1", "denoise-3")),
        ("without denoise-3 and denoise-2", ("dejpeg-1", "denoise-3", "denoise-2")),
    ]
