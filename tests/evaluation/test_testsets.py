"""The test sets: what lies in a patch, and what is refused."""

import os
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image

from rlrestore.errors import DataError, ImageError
from rlrestore.evaluation.file_pairs import FilePair, pair_files, read_pair
from rlrestore.evaluation.testsets import Grid, PatchPairs, drawn_patch, generate, read_npz, read_photos
from rlrestore.imaging.degradation.libjpeg import degrade_pixels
from rlrestore.imaging.degradation.mixtures import JPEG_ENDS, MILD, MODERATE, SEVERE, Mixture
from rlrestore.imaging.degradation.protocol import Degradations
from rlrestore.imaging.file_draws import FileDraw, protocol_draw, to_bytes
from rlrestore.toolbox.specs import TOOLS, ToolSpec

Pixels = npt.NDArray[np.uint8]


@pytest.fixture(scope="module")
def photo(make_photograph: Callable[..., Pixels]) -> Pixels:
    return make_photograph(173, 219)


def save(pixels: Pixels, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


def mean_psnr_db(pairs: PatchPairs) -> float:
    error = (pairs.degraded.astype(float) - pairs.clean) / 255
    return float(np.mean(-10 * np.log10(np.mean(error**2, axis=(1, 2, 3)) + 1e-10)))


@pytest.mark.parametrize("corner", [(0, 0), (41, 37), (110, 156), (64, 80), (33, 0), (0, 156)])
@pytest.mark.parametrize("amounts", [(4.9, 0.0, 12.0), (0.0, 0.0, 35.4), (2.0, 0.0, 0.0)])
def test_a_patch_is_cut_out_of_the_degraded_photograph(
    photo: Pixels, corner: tuple[int, int], amounts: tuple[float, float, float]
) -> None:
    whole = degrade_pixels(photo, amounts[0], 0.0, round(amounts[2]) or None, np.random.default_rng(0))
    top, left = corner
    drawn = Degradations(*torch.tensor([amounts]).T)
    patch, clean = drawn_patch(photo, corner, protocol_draw(drawn, np.random.default_rng(0)))
    np.testing.assert_array_equal(patch, whole[top : top + 63, left : left + 63])
    np.testing.assert_array_equal(clean, photo[top : top + 63, left : left + 63])


def test_the_same_seed_gives_the_same_set_and_another_seed_another(photo: Pixels) -> None:
    first, again, other = (generate([photo], MODERATE, 4, seed=seed) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first.degraded, again.degraded)
    np.testing.assert_array_equal(first.clean, again.clean)
    assert not np.array_equal(first.clean, other.clean)


def test_a_worse_mixture_is_worse(photo: Pixels) -> None:
    mild, moderate, severe = (
        mean_psnr_db(generate([photo], mixture, 40)) for mixture in (MILD, MODERATE, SEVERE)
    )
    assert mild > moderate + 0.3 > severe + 0.6


def places_of(pairs: PatchPairs) -> list[list[int]]:
    """Where the patches were cut out of a photograph whose pixels say where they are."""
    places: list[list[int]] = pairs.clean[:, 0, 0, :2].tolist()
    return places


def test_the_grid_lies_at_any_phase_or_is_aligned() -> None:
    photo = map_of_places(181, 213)
    aligned = places_of(generate([photo], MILD, 60, grid="aligned"))
    assert {place % 8 for corner in aligned for place in corner} == {0}
    assert {top for top, _ in aligned} == set(range(0, 181 - 62, 8))
    anywhere = places_of(generate([photo], MILD, 60))
    assert {top % 8 for top, _ in anywhere} == {left % 8 for _, left in anywhere} == set(range(8))


def map_of_places(height: int, width: int) -> Pixels:
    """A photograph whose first two channels say where a pixel is."""
    rows, columns = np.mgrid[0:height, 0:width].astype(np.uint8)
    return np.stack([rows, columns, rows], axis=-1)


@pytest.mark.parametrize(
    ("mixture", "seed", "grid", "places", "psnr_db"),
    [
        (MILD, 0, "any", [[14, 18], [74, 54], [11, 7], [113, 134]], 31.992),
        (MODERATE, 0, "any", [[27, 88], [20, 13], [6, 6], [27, 0]], 27.083),
        (MODERATE, 7, "aligned", [[24, 104], [24, 32], [56, 16], [24, 8]], 26.273),
        (SEVERE, 0, "any", [[19, 30], [12, 147], [12, 37], [9, 121]], 23.396),
    ],
)
def test_the_mixtures_stay_the_sets_that_scores_were_published_on(
    mixture: Mixture, seed: int, grid: Grid, places: list[list[int]], psnr_db: float
) -> None:
    pairs = generate([map_of_places(181, 213), map_of_places(90, 100)], mixture, 4, seed=seed, grid=grid)
    assert places_of(pairs) == places
    # Other versions of numpy, OpenCV and libjpeg may round differently, but draw the same amounts.
    assert mean_psnr_db(pairs) == pytest.approx(psnr_db, abs=0.02)


def amounts_of(source: ToolSpec, photo: Pixels, monkeypatch: pytest.MonkeyPatch) -> npt.NDArray[np.float64]:
    """What 60 patches are degraded by: blur in px, noise in 1/255, JPEG quality."""
    drawn: list[tuple[float, float, float]] = []

    def recorded(amounts: Degradations, rng: np.random.Generator) -> FileDraw:
        drawn.append(
            (amounts.blur_sigma_px.item(), amounts.noise_sigma_255.item(), amounts.jpeg_quality.item())
        )
        return FileDraw("", 0, lambda pixels: (np.zeros(pixels.shape, np.uint8), to_bytes(pixels)))

    monkeypatch.setattr("rlrestore.imaging.file_draws.protocol_draw", recorded)
    generate([photo], source, 60)
    return np.array(drawn)


@pytest.mark.parametrize("spec", [TOOLS[0], TOOLS[6], TOOLS[11]], ids=lambda spec: spec.name)
def test_a_tool_gets_its_own_distortion_alone(
    spec: ToolSpec, photo: Pixels, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = amounts_of(spec, photo, monkeypatch)
    own = ("blur", "noise", "jpeg").index(spec.distortion)
    assert spec.low <= drawn[:, own].min() < spec.low + 0.1 * (spec.high - spec.low)
    assert spec.high - 0.1 * (spec.high - spec.low) < drawn[:, own].max() <= spec.high
    assert not np.delete(drawn, own, axis=1).any()


def test_a_tool_for_a_mixture_gets_that_mixture(photo: Pixels, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = amounts_of(ToolSpec("single", "mixture", 12.0, 17.0, depth=8), photo, monkeypatch)
    below = np.array(JPEG_ENDS[1:])  # level j lies above below[j - 1]
    jpeg_level = 1 + (drawn[:, 2:] < below).sum(axis=1)
    sums = np.ceil(drawn[:, 0] / 0.5) + np.ceil(drawn[:, 1] / 5) + jpeg_level - 2
    assert set(sums.tolist()) == set(range(12, 18))


def test_a_task_gives_the_same_set_under_any_name_and_another_task_another(photo: Pixels) -> None:
    first, renamed, other = (
        generate([photo], ToolSpec(name, "noise", 10, high, depth=3), 4)
        for name, high in (("a", 20.0), ("b", 20), ("a", 21.0))
    )
    np.testing.assert_array_equal(first.degraded, renamed.degraded)
    assert (first.name, renamed.name) == ("a", "b")
    assert not np.array_equal(first.clean, other.clean)


def test_every_photograph_is_used_equally(make_photograph: Callable[..., Pixels]) -> None:
    photos = [np.full((70, 70, 3), value, np.uint8) for value in (20, 120, 220)]
    pairs = generate(photos, SEVERE, 9)
    assert sorted(pairs.clean[:, 0, 0, 0].tolist()) == [20] * 3 + [120] * 3 + [220] * 3


FAINT = Mixture("faint", 1, 1)
"""Hardly any blur, noise σ up to 5, JPEG above 80: on black about one patch in five is above 50 dB."""


def best_psnr_db(pairs: PatchPairs) -> float:
    return max(
        mean_psnr_db(PatchPairs("", pairs.degraded[i : i + 1], pairs.clean[i : i + 1]))
        for i in range(len(pairs))
    )


def test_patches_above_50_db_are_drawn_again(monkeypatch: pytest.MonkeyPatch) -> None:
    black = np.zeros((80, 80, 3), np.uint8)
    drawn = generate([black], FAINT, 40)
    assert len(drawn) == 40
    assert best_psnr_db(drawn) <= 50
    monkeypatch.setattr("rlrestore.evaluation.testsets.LIMIT_DB", np.inf)
    assert best_psnr_db(generate([black], FAINT, 40)) > 50


def test_photographs_that_never_degrade_are_refused(photo: Pixels, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rlrestore.evaluation.testsets.LIMIT_DB", 1.0)
    with pytest.raises(DataError, match="expected 2 patches below 1 dB, got 0 in 40 draws"):
        generate([photo], MILD, 2)


def test_photographs_come_in_order_and_must_hold_a_patch(photo: Pixels, tmp_path: Path) -> None:
    save(photo, tmp_path / "b.png")
    save(photo[:70, :80], tmp_path / "a" / "c.png")
    assert [image.shape for image in read_photos(tmp_path)] == [(70, 80, 3), (173, 219, 3)]
    save(photo[:62, :80], tmp_path / "small.png")
    with pytest.raises(DataError, match=r"at least 63×63 pixels, .*small.png is 80×62"):
        read_photos(tmp_path)


def test_files_are_paired_by_name(photo: Pixels, tmp_path: Path) -> None:
    degraded, clean = tmp_path / "in", tmp_path / "gt"
    for name in ("x.png", "deep/y.png"):
        save(photo, clean / name)
        save(photo, (degraded / name).with_suffix(".jpg"))
    save(photo, clean / "unused.png")
    assert [pair.name for pair in pair_files(degraded, clean)] == ["deep/y", "x"]
    save(photo, degraded / "z.png")
    with pytest.raises(DataError, match="1 of 3 have none, for instance z"):
        pair_files(degraded, clean)


def test_two_files_of_one_name_are_refused(photo: Pixels, tmp_path: Path) -> None:
    save(photo, tmp_path / "x.png")
    save(photo, tmp_path / "x.jpg")
    with pytest.raises(DataError, match=r"expected one image of each name, got .*x\.jpg and .*x\.png"):
        pair_files(tmp_path, tmp_path)


def test_a_pair_must_be_of_one_size(photo: Pixels, tmp_path: Path) -> None:
    pair = FilePair("x", save(photo, tmp_path / "in.png"), save(photo[:-1], tmp_path / "gt.png"))
    with pytest.raises(ImageError, match=r"in\.png is 219×173 and .*gt\.png 219×172"):
        read_pair(pair)


def test_an_array_file_is_read(photo: Pixels, tmp_path: Path) -> None:
    pairs = generate([photo], MODERATE, 3)
    path = tmp_path / "set.npz"
    np.savez(path, input=pairs.degraded, gt=pairs.clean)
    read = read_npz(path)
    assert read.name == "set"
    np.testing.assert_array_equal(read.degraded, pairs.degraded)
    np.testing.assert_array_equal(read.clean, pairs.clean)


PATCHES = np.zeros((2, 63, 63, 3), np.uint8)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"input": PATCHES}, "expected arrays input and gt in .*, got input"),
        ({}, "expected arrays input and gt in .*, got none"),
        ({"input": PATCHES, "gt": PATCHES.astype(np.float32)}, r"array gt .* got float32 \(2, 63, 63, 3\)"),
        ({"input": PATCHES[:, :62], "gt": PATCHES}, r"array input .* got uint8 \(2, 62, 63, 3\)"),
        ({"input": PATCHES[0], "gt": PATCHES[0]}, r"array input .* got uint8 \(63, 63, 3\)"),
        ({"input": PATCHES[:0], "gt": PATCHES[:0]}, "with N > 0"),
        ({"input": PATCHES, "gt": PATCHES[:1]}, "has 2 and 1"),
        ({"input": PATCHES.astype(object), "gt": PATCHES}, "cannot be read"),
    ],
)
def test_wrong_arrays_are_refused(
    arrays: dict[str, npt.NDArray[np.generic]], message: str, tmp_path: Path
) -> None:
    path = tmp_path / "set.npz"
    np.savez(path, **arrays)  # type: ignore[arg-type]  # numpy types the other keyword, not these
    with pytest.raises(DataError, match=message):
        read_npz(path)


def test_a_file_without_arrays_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"there is no .*missing\.npz"):
        read_npz(tmp_path / "missing.npz")
    path = tmp_path / "set.npz"
    path.write_text("no arrays")
    with pytest.raises(DataError, match="cannot be read"):
        read_npz(path)
    np.savez(path, input=PATCHES, gt=PATCHES)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(DataError, match="cannot be read"):
        read_npz(path)
    with path.open("wb") as stream:
        np.save(stream, PATCHES)
    with pytest.raises(DataError, match="one array without a name"):
        read_npz(path)


def test_an_array_of_an_absurd_shape_is_refused(tmp_path: Path) -> None:
    header = b"{'descr': '|u1', 'fortran_order': False, 'shape': (100000000000, 63, 63, 3), }"
    array = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header) + 1) + header + b"\n123"
    with zipfile.ZipFile(tmp_path / "set.npz", "w") as file:
        file.writestr("input.npy", array)
        file.writestr("gt.npy", array)
    with pytest.raises(DataError, match="cannot be read"):
        read_npz(tmp_path / "set.npz")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_does_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "set.npz")
    with pytest.raises(DataError, match="is not a regular file"):
        read_npz(tmp_path / "set.npz")


def test_a_pattern_names_the_pairs_of_one_folder(photo: Pixels, tmp_path: Path) -> None:
    for name in (
        "A_1_real.png",
        "A_2_real.jpg",
        "A_1_mean.png",
        "A_2_mean.png",
        "B_1_real.png",
        "deep/A_9_real.png",
    ):
        save(photo, tmp_path / name)
    pairs = pair_files(tmp_path / "A_*_real", tmp_path / "A_*_mean.png")
    assert [(pair.name, pair.degraded.name, pair.clean.name) for pair in pairs] == [
        ("1", "A_1_real.png", "A_1_mean.png"),
        ("2", "A_2_real.jpg", "A_2_mean.png"),
    ]
    with pytest.raises(DataError, match=r"expected images of names like 'C_\*' in .*, got none"):
        pair_files(tmp_path / "C_*", tmp_path)
    with pytest.raises(DataError, match="1 of 1 have none, for instance 1"):
        pair_files(tmp_path / "B_*_real", tmp_path / "A_2_mea*")
