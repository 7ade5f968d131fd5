"""The comparison's report of made-up scores: tables, numbers, the plot."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image

from experiments.comparison import (
    CLEAN,
    CLEAN_OF_DATA,
    CLEAN_OF_PHOTOS,
    CLEAN_PHOTOS,
    PLACES,
    Comparison,
    Settings,
    Times,
)
from experiments.comparison_plot import plot_comparison
from experiments.comparison_report import Setup, results_page, shown_command, to_json
from experiments.methods import (
    AUTHORS,
    NLM,
    Profile,
)
from rlrestore.evaluation.scores import STOPPED, Scores
from rlrestore.imaging.degradation.mixtures import MIXTURES

TOOLS = ("shallow", "deep", "stop")
COSTS = (100_000_000, 300_000_000)
SETUP = Setup("python scripts/compare.py", "div2k", "kodak", "1 thread of a cpu", Settings(), "results.png")


def profile(name: str, agent: bool = True) -> Profile:
    parameters, once = (100, 10**6) if agent else (0, 0)
    return Profile(name, (f"this is {name}",), TOOLS, 1000, parameters, COSTS, once)


def scores(steps: list[list[float]], actions: list[list[int]]) -> Scores:
    """Of images by their PSNR at the input and after every step."""
    psnr_db = torch.tensor(steps, dtype=torch.float64)
    return Scores("", TOOLS, {"psnr_db": psnr_db, "ssim": psnr_db / 100}, torch.tensor(actions))


def comparison(differences_db: dict[str, float]) -> Comparison:
    """All sets of two images alike, with results above 25 dB by given differences; every chain has two steps.

    Args:
        differences_db: By method, over 25 dB; `single` is the one of `default`.
    """
    names = [(place, mixture) for place in PLACES for mixture in MIXTURES]
    sets = {
        of: {
            name: scores([[20, 22, 25 + lead_db], [22, 22, 25 + lead_db]], [[0, 1], [0, 2]])
            for name, lead_db in differences_db.items()
        }
        for of in names
    }
    clean = scores([[100, 100, 100]] * 2, [[2, STOPPED]] * 2)
    photos = scores([[100, 50, 50], [100, 100, 100]], [[0, 2], [2, STOPPED]])
    for of, measured in ((CLEAN_OF_DATA, clean), (CLEAN_OF_PHOTOS, clean), (CLEAN_PHOTOS, photos)):
        sets[CLEAN, of] = dict.fromkeys(differences_db, measured)
    return Comparison(
        profiles={name: profile(name, name != "single") for name in differences_db},
        left_out=(),
        singles={
            model: "single" for model in differences_db if model != AUTHORS and "single" in differences_db
        },
        scores=sets,
        times={name: Times(2.0, 3000.0 if name == AUTHORS else 1000.0) for name in differences_db},
    )


def lines_of(page: str, section: str) -> list[str]:
    return page.split(f"## {section}\n")[1].split("\n## ", maxsplit=1)[0].splitlines()


def test_the_page_holds_every_table() -> None:
    found = comparison({AUTHORS: 0, "default": 0.5, "single": 0.25})
    page = results_page(found, SETUP)
    assert "- nothing\n" in page
    for title in PLACES.values():
        lines = lines_of(page, title)
        assert "| input | 21.00 | – | 0.210 | 21.00 | – | 0.210 | 21.00 | – | 0.210 |" in lines
        assert f"| default |{' 25.50 | +4.50 ± 1.00 | 0.255 |' * 3}" in lines
        assert f"| default | {AUTHORS} |{' +0.50 ± 0.00 |' * 3}" in lines
        assert f"| default | single |{' +0.25 ± 0.00 |' * 3}" in lines
        assert f"| single | {AUTHORS} |{' +0.25 ± 0.00 |' * 3}" in lines
        assert "| default | 0.0% | 0.0% | 0.0% |" in lines
    costs = lines_of(page, "What it costs")
    assert "| default | 1,000 | 100 | 250 | 250 | 250 | 2.0 | 1.50 | 2.00 | 1000 | 1.00 | 0.33 |" in costs
    assert "| single | 1,000 | – | 250 | 250 | 250 | – | 1.50 | 2.00 | 1000 | 1.00 | 0.33 |" in costs
    steps = lines_of(page, "Quality against compute")
    assert "| default | mild | +1.00 at 100 M | +4.50 at 250 M |" in steps
    clean = lines_of(page, "Clean photographs")
    assert clean[3].startswith("|  | stops at once, div2k | stops at once, kodak | ")
    assert "| default | 100.0% | 100.0% | 50.0 | 1 of 2 |" in clean
    assert "| single | – | – | 50.0 | 1 of 2 |" in clean
    assert "- this is default" in lines_of(page, "The methods")


def test_without_the_authors_their_rows_and_columns_are_left_out() -> None:
    found = replace(comparison({"default": 0.5}), left_out=("authors' model: no --authors was given",))
    page = results_page(found, SETUP)
    assert "Left out:\n\n- authors' model: no --authors was given\n" in page
    rest = page.split("## Patches, JPEG grid at any phase")[1]
    assert AUTHORS not in rest.split("## Clean photographs")[0]
    assert "| default | 1,000 | 100 | 250 | 250 | 250 | 2.0 | 1.50 | 2.00 | 1000 |" in rest


def test_numbers_are_written_unrounded() -> None:
    found = comparison({AUTHORS: 0, "default": 0.123456, "single": 0})
    content = json.loads(json.dumps(to_json(found, SETUP)))
    mild = content["sets"]["any"]["mild"]["default"]
    assert mild["gain_db"] == pytest.approx(4.123456, abs=1e-9)
    assert mild["differences_db"]["single"] == {"mean": pytest.approx(0.123456, abs=1e-9), "error": 0.0}
    assert mild["curve"] == [[1e8, 1.0], [2.5e8, pytest.approx(4.123456)]]
    assert content["methods"]["default"]["megapixel_ms"] == 1000.0
    assert content["sets"][CLEAN][CLEAN_PHOTOS]["default"]["lowest_psnr_db"] == 50.0


def test_the_plot_has_a_panel_for_each_mixture(tmp_path: Path) -> None:
    found = comparison({AUTHORS: 0, "default": 0.5, "single": 0.25, NLM: -1})
    found.profiles[NLM] = replace(profile(NLM, agent=False), tool_multiply_adds=())
    plot_comparison(found, tmp_path / "plots" / "results.png")
    with Image.open(tmp_path / "plots" / "results.png") as picture:
        assert picture.width > 1000
        colours = {colour for _, colour in picture.convert("RGB").getcolors(2**24) or ()}
    assert {(0xD5, 0x5E, 0x00), (0xE6, 0x9F, 0x00), (0x00, 0x72, 0xB2)} <= colours


def test_a_command_shows_nothing_of_the_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for folder in ("docs/one", "far"):
        (tmp_path / folder).mkdir(parents=True)
    given = ["x/scripts/compare.py", "--data", str(tmp_path / "far"), "--singles", "docs/one"]
    expected = "python scripts/compare.py --data far/ --singles docs/one/"
    assert shown_command(given) == expected
