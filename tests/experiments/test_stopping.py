"""The curve of gain against harm: endless chains, cut by margins, on toys whose every step is known."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from experiments.stopping import (
    CLEAN,
    PATCHES,
    WHOLE,
    EndlessChain,
    Margins,
    clean_versions,
    curve_point,
    curve_table,
    endless_chain,
    make_pairs,
    touched_table,
)
from rlrestore.imaging.degradation.libjpeg import jpeg_round_trip
from rlrestore.model_folder import read_agent
from rlrestore.restorer import Restorer
from rlrestore.toolbox.specs import TOOLS
from tests.toys import SHIFTS, distance_db, make_model, save_toy

Pixels = npt.NDArray[np.uint8]


def chain(
    expected_db: tuple[float, ...], psnr_db: tuple[float, ...], group: str = PATCHES, kind: str = "mild"
) -> EndlessChain:
    return EndlessChain(
        group, kind, ("denoise-1", "dejpeg-1", "deblur-1")[: len(expected_db)], expected_db, psnr_db
    )


def cut(start_db: float, stop_db: float, light_db: float = 0.0) -> Margins:
    return Margins.make(TOOLS, start_db, light_db, stop_db)


@pytest.mark.parametrize(
    ("margins", "steps", "gain_db"),
    [
        (cut(0.0, 0.0), 3, -1.0),
        (cut(0.0, 0.3), 1, 2.0),
        (cut(0.9, 0.3), 0, 0.0),
        (cut(0.7, 0.1), 3, -1.0),
        (cut(0.7, 0.2), 1, 2.0),
        (cut(0.7, 0.1, light_db=1.0), 0, 0.0),
    ],
)
def test_a_chain_is_cut_before_the_first_tool_that_is_not_worth_it(
    margins: Margins, steps: int, gain_db: float
) -> None:
    """The third tool would be worth it, but nothing follows a stop; the first is the lightest of its kind."""
    some = chain((0.8, 0.2, 0.5), (20.0, 22.0, 21.0, 19.0))
    assert some.steps(margins) == steps
    assert some.gain_db(margins) == pytest.approx(gain_db)


def test_margins_are_those_of_the_card() -> None:
    model = make_model([0])
    model.agent.start_margins_db, model.agent.stop_margin_db = (0.5, 1.0, 0.25), 0.125
    assert Margins.of(model) == Margins({"brighten": 0.5, "darken": 1.0, "keep": 0.25}, 0.125)
    light = [name for name, margin_db in cut(0.5, 0.1, light_db=1.0).starts_db.items() if margin_db == 1]
    assert light == ["deblur-1", "denoise-1", "dejpeg-1"]


def test_a_chain_goes_on_to_the_end_though_the_agent_would_stop() -> None:
    """The toy expects 1 dB of brighten, then -1 dB of everything: 51/255 too dark, 0.075 and 0.05 remain."""
    model = make_model([0])
    dark, clean = (np.full((70, 80, 3), value, np.uint8) for value in (51, 102))
    found = endless_chain(model, (WHOLE, "mild", dark, clean))
    assert len(found.tools) == 3
    assert found.tools[0] == "brighten"
    assert found.expected_db == pytest.approx((1.0, -1.0, -1.0), abs=1e-2)
    assert found.psnr_db[:2] == pytest.approx((distance_db(0.2), distance_db(0.075)), abs=1e-3)
    for start_db, steps in ((0.5, 1), (1.5, 0)):
        assert found.steps(Margins(dict.fromkeys(SHIFTS, start_db), 0.0)) == steps


def test_the_restoration_stops_where_the_curve_says() -> None:
    """An agent that expects 1 dB of two tools in turn, by `restore` itself."""
    model = make_model([0, 2])
    dark = np.full((70, 80, 3), 51, np.uint8)
    found = endless_chain(model, (WHOLE, "mild", dark, dark))
    for start_db, stop_db, steps in ((0.5, 0.5, 2), (0.5, 1.5, 1), (1.5, 0.5, 0)):
        model.agent.start_margins_db, model.agent.stop_margin_db = (start_db,) * 3, stop_db
        trace = Restorer(model).restore(dark).trace
        applied = len([step for step in trace.steps if step.tool != "stop"])
        assert found.steps(Margins.of(model)) == applied == steps


def test_a_point_of_the_curve_is_worked_out_by_hand() -> None:
    chains = [
        chain((0.8, 0.2), (20.0, 22.0, 21.0)),
        chain((0.3, 0.2), (30.0, 29.0, 28.0)),
        chain((1.0, 0.0), (20.0, 24.0, 25.0), WHOLE, "severe"),
        chain((0.4, 0.0), (100.0, 50.0, 40.0), CLEAN, "original"),
        chain((0.1, 0.0), (100.0, 50.0, 40.0), CLEAN, "original"),
        chain((0.6, 0.0), (40.0, 40.5, 40.0), CLEAN, "JPEG 90"),
    ]
    low, high = (curve_point(chains, each) for each in (cut(0.2, 0.1), cut(0.5, 0.3)))
    assert low.gain_db == pytest.approx({"patches mild": -0.5, "whole severe": 4.0})
    assert low.worse_share == {"patches mild": 0.5, "whole severe": 0.0}
    assert low.alone_share == pytest.approx({"all": 1 / 3, "original": 0.5, "JPEG 90": 0.0})
    assert high.gain_db == pytest.approx({"patches mild": 1.0, "whole severe": 4.0})
    assert high.worse_share == {"patches mild": 0.0, "whole severe": 0.0}
    assert high.alone_share == pytest.approx({"all": 2 / 3, "original": 1.0, "JPEG 90": 0.0})

    rows = curve_table([low, high]).splitlines()
    assert rows[2].split() == [
        "0.20",
        "0.20",
        "0.10",
        "-0.50",
        "50.00%",
        "+4.00",
        "0.00%",
        "33.3%",
        "50.0%",
        "0.0%",
    ]
    assert [row.split()[-4:] for row in touched_table(chains, cut(0.2, 0.1)).splitlines()[2:]] == [
        ["denoise-1", "1", "+0.60", "+0.50"],
        ["denoise-1", "1", "+0.40", "-50.00"],
    ]


def test_clean_photographs_come_as_people_have_them(make_photograph: Callable[..., Pixels]) -> None:
    photo = make_photograph(130, 140)
    versions = clean_versions(photo)
    assert list(versions) == ["original", "halved", "JPEG 95", "JPEG 90", "halved, JPEG 90"]
    assert versions["halved"].shape == (65, 70, 3)
    np.testing.assert_array_equal(versions["JPEG 95"], jpeg_round_trip(photo, 95))
    np.testing.assert_array_equal(versions["halved, JPEG 90"], jpeg_round_trip(versions["halved"], 90))

    pairs = list(make_pairs([photo], ["mild", "severe"], patches=2, draws=2, seed=0))
    assert [pair[:2] for pair in pairs if pair[0] != CLEAN] == [
        (group, kind) for kind in ("mild", "severe") for group in (PATCHES, PATCHES, WHOLE, WHOLE)
    ]
    for group, _, degraded, clean in pairs:
        assert group in (PATCHES, WHOLE, CLEAN)
        assert degraded.shape == clean.shape


def test_the_script_prints_the_curve_and_sets_the_margins(
    run_script: Callable[..., int],
    make_photograph: Callable[..., Pixels],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The toy brightens whatever it sees, of which it expects 1 dB."""
    (tmp_path / "photos").mkdir()
    Image.fromarray(make_photograph(130, 140)).save(tmp_path / "photos" / "0.png")
    model, file = save_toy(tmp_path / "toy", [0]), tmp_path / "curve.json"
    options = [
        "--data",
        str(tmp_path / "photos"),
        "--model",
        str(model),
        "--json",
        str(file),
        "--patches",
        "2",
    ]
    margins = ["--starts", "0.5", "1.5", "--lights", "0.5", "--stops", "0.1", "--set", "1.5", "2", "0.1"]
    assert run_script("stop_curve.py", *options, *margins) == 0
    points = json.loads(file.read_text("utf-8"))
    assert [(point["start_db"], point["stop_db"]) for point in points][-2:] == [(0.5, 0.1), (1.5, 0.1)]
    assert len(points) == 1 + 8 + 2
    assert [point["alone_share"]["all"] for point in points][-2:] == [0, 1]
    assert points[-1]["gain_db"].keys() == {
        f"{group} {name}" for group in ("patches", "whole") for name in ("mild", "moderate", "severe")
    }
    assert set(points[-1]["gain_db"].values()) == {0}
    assert "brighten" in capsys.readouterr().out

    entry, _ = read_agent(model)
    # The toy's tools are all for one range: the first is the lightest.
    assert (entry.start_margins_db, entry.stop_margin_db) == ((2, 1.5, 1.5), 0.1)
    assert run_script("stop_curve.py", *options, "--card-only", "--set", "-1", "1", "0.1") == 2
    assert "expected start_margins_db as a number from 0 for each of 3 tools" in capsys.readouterr().err
