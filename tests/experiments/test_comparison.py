"""The comparison: toys measured by hand, the sets, the script, and methods that are left out."""

import json
import logging
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import compare as script
import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image

from experiments.comparison import (
    CLEAN,
    CLEAN_OF_DATA,
    CLEAN_OF_PHOTOS,
    CLEAN_PHOTOS,
    GRIDS,
    PHOTOS,
    Comparison,
    Estimate,
    Settings,
    Times,
    compare,
    measure,
    measure_times,
)
from experiments.comparison_sets import clean_patches, degraded_photos, timed_photos
from experiments.methods import (
    AUTHORS,
    NLM,
    Method,
    MethodSet,
    agent_method,
    network_method,
    non_local_means,
)
from rlrestore.errors import DataError
from rlrestore.evaluation.testsets import PatchPairs
from rlrestore.imaging.degradation.mixtures import MILD, MIXTURES
from rlrestore.model_folder import weights_label
from rlrestore.model_folder.card import ModelCard
from tests.toys import distance_db, make_model, make_single, save_single, save_toy

Pixels = npt.NDArray[np.uint8]


def uniform(*values: int) -> Pixels:
    """Patches of one colour each."""
    return np.stack([np.full((63, 63, 3), value, np.uint8) for value in values])


def assert_estimates(estimate: Estimate, values: npt.NDArray[np.float64]) -> None:
    assert estimate.mean == pytest.approx(values.mean(), abs=1e-3)
    assert estimate.error == pytest.approx(values.std(ddof=1) / len(values) ** 0.5, abs=1e-3)


def test_toys_are_measured_as_worked_out_by_hand() -> None:
    pairs = PatchPairs("uniform", uniform(51, 153), uniform(102, 102))  # 0.2 too dark, 0.2 too bright
    toys = [agent_method(make_model([0, 1]), "up-down"), network_method(make_single(), "up", ModelCard())]
    measured = {toy.name: measure(toy, pairs) for toy in toys}
    of = ("any", "mild")
    found = Comparison({toy.name: toy.profile for toy in toys}, (), {}, {of: measured}, {})
    dark, bright = ([distance_db(0.2 + shift) for shift in shifts] for shifts in ((0, -0.0625), (0, 0.0625)))
    gains = np.array([dark[1] - dark[0], bright[1] - bright[0]])
    assert_estimates(found.gain(of, "up-down"), gains)
    differences = np.array([dark[1] - distance_db(0.075), bright[1] - distance_db(0.325)])
    assert_estimates(found.difference(of, "up-down", "up"), differences)
    tool = 64 * 64 * 12_672
    assert [executed for executed, _ in found.curve(of, "up-down")] == [tool, 2 * tool, 2 * tool]
    first_db = (distance_db(0.075) + distance_db(0.325)) / 2 - distance_db(0.2)
    assert found.curve(of, "up") == [(tool, pytest.approx(first_db, abs=1e-3))]
    assert found.multiply_adds(of, "up-down") == 2 * tool
    assert found.agent_multiply_adds(of, "up-down") == 3 * toys[0].profile.agent_multiply_adds
    assert (found.tools(of, "up-down"), found.tools(of, "up")) == (2, 1)


def test_photographs_are_restored_whole(make_photograph: Callable[..., Pixels]) -> None:
    photos = [make_photograph(70, 90, seed) for seed in range(2)]
    toy = agent_method(make_model([0], max_steps=2), "toy")
    measured = measure(toy, [(photo, photo) for photo in photos])
    expected = [[100.0, distance_db(0.125), distance_db(0.125)]] * 2
    torch.testing.assert_close(measured.psnr_db, torch.tensor(expected).double(), atol=1e-3, rtol=0)
    assert measured.actions.tolist() == [[0, 3]] * 2
    assert measure(
        network_method(make_single(), "up", ModelCard()), [(photos[0], photos[0])]
    ).actions.tolist() == [[0]]


def test_methods_alternate_and_the_shortest_time_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    log: list[tuple[str, int]] = []

    def fake(name: str) -> Method:
        toy = network_method(make_single(), name, ModelCard())
        return replace(
            toy,
            restore_patches=lambda images: log.append((name, len(images))),  # type: ignore[arg-type, return-value]  # is timed only
            restore_photo=lambda pixels: log.append((name, pixels.shape[0])),
        )

    clock = iter([64.0, 128.0, 10.0, 20.0, 6.4, 640.0, 50.0, 12.0])

    def elapsed_ms(run: Callable[[], object], _: torch.device) -> float:
        run()
        return next(clock)

    monkeypatch.setattr("experiments.comparison.elapsed_ms", elapsed_ms)
    batches, photos = [torch.zeros(64, 3, 63, 63)], [np.zeros((500, 1000, 3), np.uint8)]
    times = measure_times([fake("a"), fake("b")], batches, photos, rounds=2)
    assert log == [("a", 64), ("b", 64), ("a", 500), ("b", 500)] * 2
    assert times == {"a": Times(0.1, 20.0), "b": Times(2.0, 24.0)}


def test_every_photograph_is_degraded_by_amounts_of_its_own(make_photograph: Callable[..., Pixels]) -> None:
    photo = make_photograph(70, 90)
    pairs, again = (degraded_photos([photo, photo], MILD, seed=3) for _ in range(2))
    assert all(np.array_equal(clean, photo) for _, clean in pairs)
    assert not np.array_equal(pairs[0][0], pairs[1][0])
    assert all(np.array_equal(one, other) for (one, _), (other, _) in zip(pairs, again, strict=True))
    assert not np.array_equal(degraded_photos([photo], MILD, seed=4)[0][0], pairs[0][0])


def test_a_photograph_is_timed_at_one_megapixel(make_photograph: Callable[..., Pixels]) -> None:
    photos = timed_photos([make_photograph(70, 90), make_photograph(1100, 63)], seed=0)
    assert [photo.shape for photo in photos] == [(1000, 1000, 3)] * len(MIXTURES)


def test_clean_patches_have_texture_and_come_from_all_photographs(
    make_photograph: Callable[..., Pixels],
) -> None:
    plain, half = np.full((63, 126, 3), 90, np.uint8), np.full((63, 126, 3), 90, np.uint8)
    half[:, ::2] += 12  # every other column: a deviation of 6 grey levels, 0.0235 of white
    pairs = clean_patches([plain, half, make_photograph(70, 90)], 8, seed=0)
    assert np.array_equal(pairs.degraded, pairs.clean)
    deviations = [float((patch @ np.array([0.299, 0.587, 0.114])).std()) / 255 for patch in pairs.clean]
    assert min(deviations) == pytest.approx(6 / 255, rel=1e-3)
    assert len({round(deviation, 3) for deviation in deviations}) > 1
    with pytest.raises(DataError, match="expected 2 patches with texture, got 0 in 40 draws"):
        clean_patches([plain], 2, seed=0)


@pytest.fixture(scope="module")
def folders(make_photograph: Callable[..., Pixels], tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("comparison")
    for folder, height, width in (("data", 63, 100), ("photos", 70, 80)):
        (root / folder).mkdir()
        for seed in range(2):
            Image.fromarray(make_photograph(height, width, seed)).save(root / folder / f"{seed}.png")
    save_toy(root / "default", [0])
    save_toy(root / "theirs", [1, 0])
    save_single(root / "single")
    return root


@pytest.fixture
def run(
    folders: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[str, dict[str, Any]]]:
    """The script on two photographs of each folder, two patches of each set: the page and the numbers."""
    monkeypatch.setattr("experiments.comparison_sets.PHOTO_SIDE", 64)

    def call(*more: str) -> tuple[str, dict[str, Any]]:
        given = ["--data", str(folders / "data"), "--photos", str(folders / "photos"), *more]
        given += ["--patches", "2", "--rounds", "1", "--threads", "1", "--out", str(tmp_path / "docs")]
        monkeypatch.setattr(sys, "argv", ["scripts/compare.py", *given, "--json", str(tmp_path / "all.json")])
        assert script.main() == 0
        page = (tmp_path / "docs" / "results.md").read_text("utf-8")
        return page, json.loads((tmp_path / "all.json").read_text("utf-8"))

    return call


def test_the_script_compares_all_on_the_same_images(
    run: Callable[..., tuple[str, dict[str, Any]]], folders: Path, tmp_path: Path
) -> None:
    default, theirs, single = (str(folders / name) for name in ("default", "theirs", "single"))
    page, content = run("--models", default, "--authors", theirs, "--singles", single)
    assert list(content["methods"]) == [AUTHORS, "default", "single", NLM]
    assert {(place, kind) for place, kinds in content["sets"].items() for kind in kinds} == {
        *((place, mixture) for place in (*GRIDS, PHOTOS) for mixture in MIXTURES),
        *((CLEAN, of) for of in (CLEAN_OF_DATA, CLEAN_OF_PHOTOS, CLEAN_PHOTOS)),
    }
    for kinds in content["sets"].values():
        for measured in kinds.values():
            assert len({(each["n"], each["psnr_db"][0]) for each in measured.values()}) == 1
            ours, other = measured["default"], measured["single"]  # both brighten once
            assert ours["psnr_db"][-1] == pytest.approx(other["psnr_db"][-1], abs=1e-4)
            assert ours["multiply_adds"] == other["multiply_adds"] == 64 * 64 * 12_672
            assert ours["differences_db"]["single"]["mean"] == pytest.approx(0, abs=1e-4)
    brightened_db = content["sets"][CLEAN][CLEAN_PHOTOS]["default"]["lowest_psnr_db"]
    assert brightened_db == pytest.approx(distance_db(0.125), abs=1e-3)
    assert all(each["patch_ms"] > 0 and each["megapixel_ms"] > 0 for each in content["methods"].values())
    assert "python scripts/compare.py --data data/ --photos photos/ --models default/ --authors " in page
    assert f"**default**\n\n- weights {weights_label(folders / 'default')}\n" in page
    assert str(folders) not in page
    assert (tmp_path / "docs" / "results.png").is_file()


def test_the_script_leaves_out_missing_methods(
    run: Callable[..., tuple[str, dict[str, Any]]], folders: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        page, content = run("--models", str(folders / "default"), str(folders / "gone"))
    assert list(content["methods"]) == ["default", NLM]
    assert len(caplog.messages) == len(content["left_out"]) == 4
    for name in (AUTHORS, "ours, family paper", "gone", "a single network"):
        assert any(message.startswith(f"left out: {name}: ") for message in caplog.messages)
        assert f"\n- {name}: " in page


def test_a_request_that_cannot_be_met_is_refused_in_a_line(
    folders: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["--data", str(folders / "data"), "--photos", str(folders / "photos"), "--models", "gone"]
    monkeypatch.setattr(sys, "argv", ["scripts/compare.py", *given, "--threads", "1"])
    assert script.main() == 2
    assert "expected at least one model in --models that can be read" in capsys.readouterr().err


def test_both_kinds_of_sets_are_measured_in_one_go(make_photograph: Callable[..., Pixels]) -> None:
    photos = [make_photograph(63, 90)]
    methods = MethodSet((non_local_means(torch.device("cpu")),), (), {})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("experiments.comparison_sets.PHOTO_SIDE", 64)
        found = compare(methods, photos, photos, Settings(patches=2, rounds=1))
    assert [len(each[NLM].psnr_db) for each in found.scores.values()] == [2, 2, 1] * 3 + [2, 2, 2]
