"""The pictures of chains: which photographs are shown, what their cells say, how they are drawn."""

import math
import sys
from collections.abc import Callable
from pathlib import Path

import make_strips
import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from experiments.comparison_sets import Degradation, apply_degradation, draw_degradation
from experiments.strips import (
    MEDIAN,
    SIDE,
    Choice,
    Gains,
    PhotoResult,
    PhotoSet,
    RestoredPhoto,
    agent_restorer,
    chains_legend,
    layout,
    measure_gains,
    medians_legend,
    network_restorer,
    restore_photo,
)
from rlrestore.imaging.degradation.libjpeg import degrade_pixels
from rlrestore.imaging.degradation.mixtures import JPEG_ENDS, MIXTURES, SEVERE
from rlrestore.model_folder.card import ModelCard
from rlrestore.picture import Row
from rlrestore.toolbox.specs import ToolSpec
from rlrestore.toolbox.storage import save_toolbox
from rlrestore.toolbox.toolbox import Toolbox
from tests.toys import make_restorer, make_toolbox, save_toy

Pixels = npt.NDArray[np.uint8]
P90, P10, LEAST = "90th percentile of the gain", "10th percentile of the gain", "smallest gain"


def grey(level: int, height: int = 200, width: int = 300) -> Pixels:
    return np.full((height, width, 3), level, np.uint8)


def gains(*columns: list[float]) -> Gains:
    names = ("model toy", "single network", "authors' model")[: len(columns)]
    return Gains(names, np.array(columns).T)


def test_typical_photographs_and_failures_are_chosen_by_rank() -> None:
    ours = [3.0, 9.0, 1.0, 7.0, 5.0, 0.0, 8.0, 2.0, 6.0, 4.0]
    single = [gain - 1 for gain in ours]
    authors = [*ours[:8], 6.5, 4.25]  # ahead on the last two, by 0.5 and 0.25 dB

    assert gains(ours, single, authors).choose() == (
        Choice(6, (P90,)),
        Choice(9, (MEDIAN,)),
        Choice(5, (P10, LEAST)),
        Choice(8, ("worst against the better of the others",)),
    )
    assert gains(ours).choose() == (Choice(6, (P90,)), Choice(9, (MEDIAN,)), Choice(5, (P10, LEAST)))


def test_of_twenty_photographs_the_second_least_is_the_tenth_percentile() -> None:
    ours = [float(number) for number in range(20)]
    rival = [0.0] * 19 + [30.0]

    assert [(choice.index, choice.why) for choice in gains(ours, rival).choose()] == [
        (17, P90),
        (9, MEDIAN),
        (1, P10),
        (0, LEAST),
        (19, "worst against the single network"),
    ]


def test_a_single_photograph_is_shown_once_for_every_reason() -> None:
    (choice,) = gains([-1.0]).choose()
    assert choice.why == f"{P90}; {MEDIAN}; {P10}; {LEAST}"


@pytest.mark.parametrize("shape", [(0, 1), (4, 2), (4,)])
def test_gains_of_nothing_or_of_others_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"expected gains \(N, 1\) of N > 0 photographs, got \("):
        Gains(("model toy",), np.zeros(shape))


def test_means_say_how_often_harm_was_done() -> None:
    measured = gains([1.0, 3.0, -1.0, 1.0], [0.0, 0.0, 0.0, 0.0])

    assert measured.means() == (
        "model toy +1.00 ± 0.82 dB (1 made worse); single network +0.00 ± 0.00 dB (0 made worse)"
    )


def test_a_legend_states_the_rule_and_the_figures_of_all() -> None:
    measured = gains([1.0, 1.0], [2.0, 2.0])
    source = PhotoSet("kodak24", 2, 7)
    about, over, figures = chains_legend(source, "mild", measured)

    assert about.startswith(
        "2 photographs (kodak24), each degraded once by a random draw of the mild mixture (seed 7) and "
        "restored as a whole. Shown, by a rule on the gain of model toy: 90th percentile of the gain, "
        "median of the gain, 10th percentile of the gain, smallest gain, worst against the single network. "
    )
    assert over == "Mean gain over all 2, ± its standard error:"
    assert figures == measured.means()
    assert medians_legend(source, ["mild: a", "severe: b"])[1:] == (over, "mild: a", "severe: b")


def possible_sums(degradation: Degradation) -> set[int]:
    """What the levels can add up to; a rounded quality may lie in two intervals."""
    blur, noise = math.ceil(degradation.blur_sigma_px / 0.5), math.ceil(degradation.noise_sigma_255 / 5)
    jpeg = [
        level
        for level in range(1, 11)
        if JPEG_ENDS[level] - 0.5 <= degradation.jpeg_quality <= JPEG_ENDS[level - 1] + 0.5
    ]
    return {blur + noise + level - 2 for level in jpeg}


@pytest.mark.parametrize("name", MIXTURES)
def test_degradation_is_drawn_from_its_mixture(name: str) -> None:
    mixture = MIXTURES[name]
    allowed = set(range(mixture.lowest, mixture.highest + 1))
    drawn = [draw_degradation(mixture, 3, index) for index in range(50)]

    assert all(possible_sums(degradation) & allowed for degradation in drawn)
    assert len({*drawn, draw_degradation(mixture, 4, 0)}) == 51
    assert drawn[7] == draw_degradation(mixture, 3, 7)


def test_degradation_is_that_of_files(photograph: Pixels) -> None:
    degradation = Degradation(2.04, 17.6, 40, noise_seed=5)

    expected = degrade_pixels(photograph, 2.04, 17.6, 40, np.random.default_rng(5))
    assert (apply_degradation(photograph, degradation) == expected).all()
    assert str(degradation) == "blur 2.0 px, noise 18 of 255, JPEG quality 40"


def psnr_of(shift: float) -> float:
    return -10 * math.log10(shift**2)


def test_a_chain_is_measured_after_every_step() -> None:
    result = agent_restorer(make_restorer([0, 1]))(grey(100), grey(120))

    start = 20 / 255
    shifts = (start, start - 0.125, start - 0.0625)
    assert result.tools == ("brighten", "darken")
    assert result.psnr_db == pytest.approx([psnr_of(shift) for shift in shifts], abs=1e-3)
    assert [int(frame[0, 0, 0]) for frame in result.frames] == [100, 132, 116]
    assert result.gain_db == pytest.approx(psnr_of(shifts[2]) - psnr_of(start), abs=1e-3)


def test_a_single_network_is_applied_once() -> None:
    result = network_restorer(make_toolbox())(grey(100), grey(120))

    assert result.tools == ()
    assert result.psnr_db == pytest.approx([psnr_of(20 / 255), psnr_of(20 / 255 - 0.125)], abs=1e-3)
    assert [int(frame[0, 0, 0]) for frame in result.frames] == [100, 132]


def test_gains_are_those_of_the_degradation_that_is_shown(make_photograph: Callable[..., Pixels]) -> None:
    photos = [make_photograph(70, 80, seed) for seed in range(2)]
    restorers = {
        "model toy": agent_restorer(make_restorer([0])),
        "single network": network_restorer(make_toolbox()),
    }
    measured = measure_gains(photos, SEVERE, 1, restorers)

    shown = restore_photo("1.png", photos[1], draw_degradation(SEVERE, 1, 1), restorers)
    assert measured.names == ("model toy", "single network")
    assert measured.gains_db[1].tolist() == [result.gain_db for result in shown.results.values()]
    assert shown.what == f"1.png, {draw_degradation(SEVERE, 1, 1)}"


def chain(*tools: str, first: int = 100) -> PhotoResult:
    """Steps that gain 1.25 dB each over an input of 20 dB, and make it brighter by 10."""
    steps = range(len(tools) + 1)
    psnr_db = tuple(20 + 1.25 * step for step in steps)
    return PhotoResult(tools, psnr_db, tuple(grey(first + 10 * step) for step in steps))


SINGLE = PhotoResult((), (20.0, 19.5), (grey(100), grey(50)))


def texts(row: Row) -> list[tuple[str, ...]]:
    return [(cell.title, *cell.caption) for cell in row.cells]


def levels(row: Row) -> list[int | None]:
    """The grey of each cell, None for one that shows nothing."""
    return [None if cell.pixels is None else int(cell.pixels[0, 0, 0]) for cell in row.cells]


def test_cells_of_all_rows_stand_below_one_another() -> None:
    rivals = {"single network": SINGLE, "authors' model": chain("dejpeg-1", "deblur-2", first=200)}
    long, short, none = layout(
        {
            "long": RestoredPhoto(
                "a.png", {"model toy": chain("denoise-1", "dejpeg-3", "deblur-4"), **rivals}, grey(9)
            ),
            "short": RestoredPhoto("b.png", {"model toy": chain("denoise-1"), **rivals}, grey(9)),
            "none": RestoredPhoto("c.png", {"model toy": chain(), **rivals}, grey(9)),
        }
    )
    others = [
        ("single network", "19.50 dB (-0.50)"),
        ("authors' model", "22.50 dB (+2.50)", "dejpeg-1, deblur-2"),
        ("clean original",),
    ]

    assert [row.heading for row in (long, short, none)] == ["long", "short", "none"]
    assert texts(long) == [
        ("input", "20.00 dB"),
        ("1: denoise-1", "21.25 dB (+1.25)"),
        ("2: dejpeg-3", "22.50 dB (+2.50)"),
        ("3: deblur-4 = result", "23.75 dB (+3.75)"),
        *others,
    ]
    assert texts(short) == [
        ("input", "20.00 dB"),
        ("1: denoise-1 = result", "21.25 dB (+1.25)"),
        ("2: stop", "no further tool"),
        ("",),
        *others,
    ]
    assert texts(none) == [("input", "20.00 dB"), ("1: stop", "result = input"), ("",), ("",), *others]
    assert levels(long) == [100, 110, 120, 130, 50, 220, 9]
    assert levels(short) == [100, 110, None, None, 50, 220, 9]
    assert levels(none) == [100, None, None, None, 50, 220, 9]


def test_without_rivals_there_are_no_cells_of_theirs() -> None:
    (row,) = layout({"one": RestoredPhoto("a.png", {"model toy": chain()}, grey(9))})
    assert texts(row) == [("input", "20.00 dB"), ("1: stop", "result = input"), ("clean original",)]


def test_every_cell_shows_the_crop_in_which_the_input_is_worst() -> None:
    clean, degraded = grey(0), grey(0)
    degraded[150:170, 250:290] = 255  # its middle, 160 down and 270 across, is near a corner
    columns = np.broadcast_to(np.arange(300, dtype=np.uint8)[None, :, None], clean.shape)
    step = PhotoResult(("x",), (20.0, 21.0), (degraded, np.ascontiguousarray(columns)))
    (row,) = layout({"one": RestoredPhoto("a.png", {"model toy": step}, clean)})

    shown = [cell.pixels for cell in row.cells if cell.pixels is not None]
    assert {pixels.shape for pixels in shown} == {(SIDE, SIDE, 3)}
    assert (shown[0] == degraded[40:200, 140:300]).all()
    assert (shown[1] == columns[40:200, 140:300]).all()


def test_a_small_photograph_is_shown_whole() -> None:
    result = PhotoResult((), (20.0,), (grey(1, 70, 300),))
    (row,) = layout({"one": RestoredPhoto("a.png", {"model toy": result}, grey(2, 70, 300))})
    assert [cell.pixels.shape for cell in row.cells if cell.pixels is not None] == [(70, SIDE, 3)] * 2


@pytest.fixture
def folders(make_photograph: Callable[..., Pixels], tmp_path: Path) -> Path:
    """Two photographs, a toy model, a toy single network and a toy for the authors' model."""
    (tmp_path / "photos").mkdir()
    for seed in range(2):
        Image.fromarray(make_photograph(70, 80, seed)).save(tmp_path / "photos" / f"{seed}.png")
    save_toy(tmp_path / "toy", [0, 1])
    save_toy(tmp_path / "authors", [1])
    single = Toolbox([ToolSpec("single", "mixture", 12, 17, depth=3)], networks=[make_toolbox().networks[0]])
    save_toolbox(tmp_path / "single", single, ModelCard("single"))
    return tmp_path


def make(folders: Path, monkeypatch: pytest.MonkeyPatch, **options: str) -> int:
    chosen = {"data": "photos", "out": "docs", "model": "toy"} | options
    words = [word for key, value in chosen.items() for word in (f"--{key}", value)]
    monkeypatch.chdir(folders)
    monkeypatch.setattr(sys, "argv", ["make_strips.py", *words])
    return make_strips.main()


def test_the_script_draws_a_picture_of_each_mixture_and_of_their_medians(
    folders: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert make(folders, monkeypatch, single="single", authors="authors") == 0

    printed = capsys.readouterr()
    assert sorted(path.name for path in (folders / "docs").iterdir()) == [
        "chains_mild.png",
        "chains_moderate.png",
        "chains_severe.png",
        "strip.png",
    ]
    with Image.open(folders / "docs" / "strip.png") as picture:  # input, two steps, two rivals, clean
        assert picture.width == 2 * 24 + 6 * SIDE + 5 * 16
    assert printed.err == ""
    for name in MIXTURES:
        (line,) = (line for line in printed.out.splitlines() if line.startswith(f"{name}: "))
        assert all(
            word in line for word in ("model toy ", "single network ", "authors' model ", " made worse)")
        )


def test_the_script_says_what_it_leaves_out(
    folders: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert make(folders, monkeypatch, limit="1", seed="3") == 0

    printed = capsys.readouterr()
    assert printed.err.splitlines() == [
        "rlrestore: no --single: the cells of the single network are left out",
        "rlrestore: no --authors: the cells of the authors' model are left out",
    ]
    assert "single network" not in printed.out
    assert "± 0.00 dB" in printed.out
    with Image.open(folders / "docs" / "chains_mild.png") as picture:
        assert picture.width == 2 * 24 + 4 * SIDE + 3 * 16


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"single": "toy"}, "expected one tool in toy, got brighten, darken, keep; give a folder"),
        ({"authors": "single"}, "the model in single has no agent"),
        ({"out": "photos/0.png"}, "cannot write into photos/0.png (File exists); choose another folder"),
        ({"data": "nothing"}, "nothing"),
        ({"model": "nothing"}, "no model 'nothing'"),
    ],
)
def test_the_script_refuses_in_a_line(
    folders: Path,
    options: dict[str, str],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert make(folders, monkeypatch, **options) == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith("rlrestore: error: ")
    assert message in said
