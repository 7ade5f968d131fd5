"""The trace of a chain: its table, its JSON, its picture."""

import json
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from rlrestore.errors import UsageError
from rlrestore.explain.inspection import Estimate, Inspection, Unfamiliarity
from rlrestore.inference.regions import Regions
from rlrestore.trace import Trace, TraceStep, db_text

RED, GREEN, BLUE, WHITE = (200, 0, 0), (0, 200, 0), (0, 0, 200), (255, 255, 255)


def step(tool: str, psnr_db: float | None = None) -> TraceStep:
    expected_db = 0.0 if tool == "stop" else 1.5
    return TraceStep(
        tool, expected_db, (("deblur-1", 1.25), ("dejpeg-4", -0.5)), 12.4, psnr_db, ((tool, 1.0),)
    )


def plain(colour: tuple[int, int, int], width: int = 300, height: int = 200) -> npt.NDArray[np.uint8]:
    return np.full((height, width, 3), colour, np.uint8)


def trace(*steps: TraceStep, start_psnr_db: float | None = None, **extra: object) -> Trace:
    return Trace("global", "toy", 300, 200, steps, start_psnr_db, **extra)  # type: ignore[arg-type]  # frames


def test_the_table_shows_every_look() -> None:
    expected = """\
step  tool       expected gain  runner-up          second runner-up   time
----  ---------  -------------  -----------------  -----------------  -----
1     denoise-3  +1.50 dB       deblur-1 +1.25 dB  dejpeg-4 -0.50 dB  12 ms
2     stop       +0.00 dB       deblur-1 +1.25 dB  dejpeg-4 -0.50 dB  12 ms"""

    assert trace(step("denoise-3"), step("stop")).table() == expected


def test_the_table_measures_against_a_reference() -> None:
    expected = """\
step  tool       expected gain  runner-up          second runner-up   time   PSNR      measured gain
----  ---------  -------------  -----------------  -----------------  -----  --------  -------------
0     (input)                                                                20.00 dB
1     denoise-3  +1.50 dB       deblur-1 +1.25 dB  dejpeg-4 -0.50 dB  12 ms  22.25 dB  +2.25 dB
2     deblur-2   +1.50 dB       deblur-1 +1.25 dB  dejpeg-4 -0.50 dB  12 ms  22.00 dB  -0.25 dB"""

    assert trace(step("denoise-3", 22.25), step("deblur-2", 22.0), start_psnr_db=20.0).table() == expected


def test_what_is_wrong_with_the_input_stands_below_it() -> None:
    found = Inspection(Estimate(2, 1, 3), Estimate(20, 15, 25), Estimate(40, 30, 50), Unfamiliarity(2.0, 1.0))
    chain = trace(step("denoise-3"), frames=(plain(RED), plain(BLUE)))
    inspected = replace(chain, inspection=found)

    assert chain.to_json()["inspection"] is None
    assert inspected.to_json()["inspection"] == found.to_json()
    assert inspected.picture().height > chain.picture().height + 40  # four lines more


def test_a_toolbox_of_one_tool_has_one_runner_up() -> None:
    single = TraceStep("denoise-3", 1.0, (("stop", 0.0),), 1.0)

    assert (
        trace(single).table().splitlines()[2]
        == "1     denoise-3  +1.00 dB       stop +0.00 dB                    1 ms"
    )


def test_an_agent_whose_values_are_not_in_db_expects_nothing() -> None:
    chain = trace(*(TraceStep(tool, None, (), 12.4, shares=((tool, 1.0),)) for tool in ("denoise-3", "stop")))
    expected = """\
step  tool       expected gain  runner-up  second runner-up  time
----  ---------  -------------  ---------  ----------------  -----
1     denoise-3                                              12 ms
2     stop                                                   12 ms"""

    assert chain.table() == expected
    assert chain.expected_gain_db is None
    record = json.loads(json.dumps(chain.to_json()))
    assert record["expected_gain_db"] is None
    assert record["steps"][0]["expected_gain_db"] is None
    assert record["steps"][0]["runners_up"] == []
    framed = replace(chain, frames=(plain(RED), plain(BLUE)))
    assert framed.picture().width > 0


def test_where_regions_differ_the_largest_shares_are_named() -> None:
    shares = (("stop", 0.5), ("deblur-1", 0.3), ("deblur-2", 0.195), ("deblur-3", 0.005))
    mixed = TraceStep("deblur-1", 1.0, (), 1.0, shares=shares)

    assert mixed.label == "stop 50%, deblur-1 30%, deblur-2 20%"
    assert (
        TraceStep("deblur-1", 1.0, (), 1.0, shares=(("deblur-1", 0.996), ("stop", 0.004))).label
        == "deblur-1 100%"
    )


def test_what_was_done_is_summed_up() -> None:
    stopped = trace(step("denoise-3", 22.0), step("stop", 22.0), start_psnr_db=20.0)
    limited = trace(step("denoise-3"), step("deblur-1"))

    assert stopped.stopped
    assert stopped.tools == ("denoise-3",)
    assert stopped.psnr_db == 22.0
    assert stopped.gains_db() == (2.0, 0.0)
    assert not limited.stopped
    assert limited.tools == ("denoise-3", "deblur-1")
    assert limited.psnr_db is None
    assert limited.expected_gain_db == 3.0


@pytest.mark.parametrize(
    ("strength", "detail", "text"),
    [
        (1.0, 0.0, "expected +3.00 dB"),
        (0.5, 0.0, "expected +3.00 dB at full strength"),
        (1.0, 0.5, "expected +3.00 dB without detail"),
        (0.5, 0.5, "expected +3.00 dB at full strength and without detail"),
    ],
)
def test_of_what_the_gain_is_expected_is_said(strength: float, detail: float, text: str) -> None:
    blended = replace(trace(step("denoise-3"), step("deblur-1")), strength=strength, detail=detail)

    assert blended.expected_text == text
    assert blended.to_json()["expected_gain_db"] == 3.0


def test_the_json_holds_everything() -> None:
    content = json.loads(
        json.dumps(trace(step("denoise-3", 22.25), step("stop", 22.25), start_psnr_db=20.0).to_json())
    )

    assert content["tools"] == ["denoise-3"]
    assert content["stopped"] is True
    assert content["input_psnr_db"] == 20.0
    assert content["psnr_db"] == 22.25
    assert content["time_ms"] == 24.8
    assert [entry["step"] for entry in content["steps"]] == [1, 2]
    assert content["steps"][0] == {
        "step": 1,
        "tool": "denoise-3",
        "chosen_by": "agent",
        "expected_gain_db": 1.5,
        "runners_up": [
            {"tool": "deblur-1", "expected_gain_db": 1.25},
            {"tool": "dejpeg-4", "expected_gain_db": -0.5},
        ],
        "shares": {"denoise-3": 1.0},
        "time_ms": 12.4,
        "psnr_db": 22.25,
        "gain_db": 2.25,
    }


def test_errors_are_mapped_where_there_is_a_reference_and_frames() -> None:
    worse = plain((140, 140, 140))
    worse[:100] = 90
    frames = (plain((120, 120, 120)), worse)
    steps = (step("denoise-3", 15.0), step("stop", 15.0))
    measured = trace(*steps, start_psnr_db=22.0, frames=frames, reference=plain((100, 100, 100)))
    content = json.loads(json.dumps(measured.to_json()))

    assert content["input_ssim"] == pytest.approx((2 * 100 * 120 + 6.5) / (100**2 + 120**2 + 6.5), abs=1e-3)
    harm = content["steps"][0]["harm"]  # the lower half got worse by 6 dB, the upper one better
    assert harm["share"] == pytest.approx(0.5, abs=0.03)
    assert harm["worst"]["y"] >= 96
    assert harm["worst"]["gain_db"] == pytest.approx(-6.02, abs=0.01)
    assert content["steps"][0]["ssim"] < content["input_ssim"]
    assert "harm" not in content["steps"][1]  # a stop changes nothing
    unmeasured = replace(measured, reference=None)
    assert "harm" not in unmeasured.to_json()["steps"][0]
    assert measured.picture().height > unmeasured.picture().height + 300


def test_a_gain_that_rounds_to_zero_has_no_minus() -> None:
    table = trace(step("denoise-3", 19.999), start_psnr_db=20.0).table()

    assert table.endswith("+0.00 dB")
    assert db_text(-0.004) == "+0.00 dB"
    assert db_text(-0.006) == "-0.01 dB"


def test_maps_are_drawn_where_regions_differ_alone() -> None:
    shares = np.zeros((2, 3, 2), np.float32)
    shares[..., 0] = 1
    alike = replace(step("deblur-1"), regions=Regions(("deblur-1", "stop"), shares))
    differing = replace(alike, shares=(("deblur-1", 0.5), ("stop", 0.5)))
    frames = (plain(RED), plain(BLUE))
    one, other, glob = (trace(each, frames=frames).picture() for each in (alike, differing, step("deblur-1")))

    assert one.width == glob.width < other.width
    assert one.height > glob.height  # a line says so


def colours(picture: Image.Image) -> dict[tuple[int, int, int], int]:
    found = picture.getcolors(picture.width * picture.height)
    assert found is not None
    return {colour: count for count, colour in found}  # type: ignore[misc]  # an RGB picture has tuples


def test_the_picture_shows_input_every_step_and_reference() -> None:
    frames = (plain(RED), plain(GREEN), plain(BLUE))
    full = trace(step("deblur-1"), step("deblur-2"), frames=frames, reference=plain(WHITE))
    picture = full.picture()
    areas = colours(picture)
    middles = [
        picture.getpixel((24 + column * (picture.width - 48 + 16) // 4 + 150, 200)) for column in range(4)
    ]

    assert picture.width <= 1800
    assert middles == [RED, GREEN, BLUE, WHITE]
    # Each panel fills its column of 426 pixels, and its crop does once more.
    assert all(areas[colour] > 426 * 284 + 400 * 300 for colour in (RED, GREEN, BLUE))


def test_without_a_tool_the_result_is_the_input() -> None:
    picture = trace(step("stop"), frames=(plain(RED),)).picture()

    assert colours(picture)[RED] > 2 * 300 * 200
    assert picture.width < 2 * 480 + 100


def test_the_crop_is_where_most_changed_and_is_enlarged_by_whole_pixels() -> None:
    after = plain(RED, 600, 400)
    after[300:310, 450:460] = GREEN
    picture = trace(step("deblur-1"), frames=(plain(RED, 600, 400), after)).picture(max_width=1000)
    # The panel scales the 10×10 pixels to 8×8; the crop below it enlarges each by a whole number.
    pixels = np.asarray(picture)
    green = np.argwhere((pixels == GREEN).all(axis=-1))
    block = green[green[:, 0] > 400]  # the panel ends above

    height, width = block.max(axis=0) - block.min(axis=0) + 1
    assert height == width
    assert height % 10 == 0
    assert height >= 20
    assert len(block) == height * width


@pytest.mark.parametrize(("width", "height"), [(8, 8), (63, 63), (12, 300), (3000, 40), (1500, 2500)])
def test_any_size_can_be_drawn(width: int, height: int) -> None:
    frames = tuple(plain(colour, width, height) for colour in (RED, GREEN, BLUE, GREEN))
    picture = trace(step("deblur-1"), step("deblur-2"), step("deblur-1"), frames=frames).picture()

    assert 800 < picture.width <= 1800
    assert picture.height < 1300
    assert {RED, GREEN, BLUE} <= colours(picture).keys()


def test_a_narrow_picture_keeps_its_labels() -> None:
    frames = (plain(RED), plain(GREEN))
    assert trace(step("deblur-1"), frames=frames).picture(max_width=100).width == 2 * 200 + 16 + 48


def test_without_frames_there_is_no_picture() -> None:
    with pytest.raises(UsageError, match="no frames were kept to draw: restore with keep_steps=True"):
        trace(step("deblur-1")).picture()
