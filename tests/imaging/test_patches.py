import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from rlrestore.errors import DataError
from rlrestore.imaging.degradation.protocol import Degradations
from rlrestore.imaging.pairs import context_side, degraded_pairs, take_patches
from rlrestore.imaging.patches import Part, PhotoBank, choose_part

HEIGHT, WIDTH = 12, 17
PARTS: tuple[Part, ...] = ("train", "validation", "all")


@pytest.fixture
def numbered() -> PhotoBank:
    """Two photographs in which a pixel tells its photograph (red), row (green) and column (blue)."""
    rows, columns = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.uint8)
    return PhotoBank([np.stack((np.full_like(rows, number), rows, columns), axis=-1) for number in (0, 1)])


def test_a_crop_is_a_part_of_a_photograph_flipped_or_transposed(numbered: PhotoBank) -> None:
    """Rows and columns of each crop count up or down by one, in the photograph's order or exchanged."""
    crops = (numbered.crops(200, 5, torch.Generator().manual_seed(0)) * 255).round().int()
    kinds = set()
    for red, green, blue in crops:
        assert len(red.unique()) == 1
        transposed = bool((green[0] == green[0, 0]).logical_not().any())
        rows, columns = (green.T, blue.T) if transposed else (green, blue)
        assert (rows == rows[:, :1]).all()
        assert (columns == columns[:1]).all()
        steps = int(rows[1, 0] - rows[0, 0]), int(columns[0, 1] - columns[0, 0])
        assert (rows.diff(dim=0) == steps[0]).all()
        assert (columns.diff(dim=1) == steps[1]).all()
        kinds.add((int(red[0, 0]), transposed, *steps))
    assert len(kinds) == 2 * 8
    assert {abs(kind[2]) for kind in kinds} == {1}


def test_crops_reach_every_place(numbered: PhotoBank) -> None:
    crops = (numbered.crops(3000, 5, torch.Generator().manual_seed(0)) * 255).round().int()
    tops, lefts = crops[:, 1].amin(dim=(1, 2)), crops[:, 2].amin(dim=(1, 2))
    assert set(tops.tolist()) == set(range(HEIGHT - 4))
    assert set(lefts.tolist()) == set(range(WIDTH - 4))


def test_the_seed_decides(numbered: PhotoBank) -> None:
    first, again, other = (numbered.crops(9, 5, torch.Generator().manual_seed(seed)) for seed in (3, 3, 4))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_a_crop_must_fit(numbered: PhotoBank) -> None:
    with pytest.raises(DataError, match="at least 13 pixels, the smallest has 12"):
        numbered.crops(1, 13, torch.Generator())
    with pytest.raises(DataError, match="at least one photograph"):
        PhotoBank([])


def write(folder: Path, pixels: NDArray[np.uint8], *names: str) -> None:
    for name in names:
        Image.fromarray(pixels).save(folder / name)


def test_the_split_goes_by_name(tmp_path: Path, make_photograph: Callable[..., NDArray[np.uint8]]) -> None:
    every = [f"{number}.png" for number in range(1600)]
    held_out = [path.name for path in choose_part([Path(name) for name in every], "validation")]
    assert 70 < len(held_out) < 130
    write(tmp_path, make_photograph(100, 120), *held_out[:3], *(set(every[:9]) - set(held_out)))
    sizes = {part: len(PhotoBank.from_folder(tmp_path, part, scales=(1.0,))) for part in PARTS}
    assert sizes == {"train": 9, "validation": 3, "all": 12}


def test_a_small_folder_holds_one_out_all_the_same() -> None:
    paths = [Path("street.png"), Path("coffee.png"), Path("chelsea.png")]
    train, validation = choose_part(paths, "train"), choose_part(paths, "validation")
    assert (len(train), len(validation)) == (2, 1)
    assert set(train + validation) == set(paths)
    assert choose_part(paths[::-1], "validation") == validation


def test_more_can_be_held_out_and_all_that_usually_are_stay_so() -> None:
    paths = [Path(f"{number}.png") for number in range(1600)]
    usual, more = (set(choose_part(paths, "validation", share)) for share in (16, 4))
    assert usual < more
    assert 330 < len(more) < 470
    assert set(choose_part(paths, "train", 4)) == set(paths) - more


def test_scales_that_leave_too_little_are_left_out(
    tmp_path: Path, make_photograph: Callable[..., NDArray[np.uint8]]
) -> None:
    write(tmp_path, make_photograph(150, 200), "a.png")
    assert len(PhotoBank.from_folder(tmp_path, scales=(1.0, 2 / 3, 1 / 3), smallest_side=96)) == 2


def test_an_unreadable_file_is_named_and_left_out(
    tmp_path: Path, make_photograph: Callable[..., NDArray[np.uint8]], caplog: pytest.LogCaptureFixture
) -> None:
    write(tmp_path, make_photograph(100, 100), "good.png")
    write(tmp_path, make_photograph(40, 100), "small.png")
    (tmp_path / "broken.png").write_text("no picture")
    with caplog.at_level(logging.WARNING, "rlrestore"):
        assert len(PhotoBank.from_folder(tmp_path, scales=(1.0,), smallest_side=96)) == 1
    assert "broken.png" in caplog.text
    assert "small.png is 100×40, too small" in caplog.text


def test_a_folder_without_anything_usable(tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_text("no picture")
    with pytest.raises(DataError, match="no usable photograph in the all part"):
        PhotoBank.from_folder(tmp_path)


def amounts(count: int, blur: float = 0, noise: float = 0, jpeg: float = 0) -> Degradations:
    return Degradations(*(torch.full((count,), float(value)) for value in (blur, noise, jpeg)))


@pytest.fixture
def bank(make_photograph: Callable[..., NDArray[np.uint8]]) -> PhotoBank:
    return PhotoBank([make_photograph(128, 160, seed) for seed in range(2)])


def test_without_a_degradation_a_pair_is_one_patch_twice(bank: PhotoBank) -> None:
    degraded, clean = degraded_pairs(bank, amounts(4), 63, torch.Generator().manual_seed(0))
    assert degraded.shape == (4, 3, 63, 63)
    assert (degraded - clean).abs().max() < 1e-6


def test_the_jpeg_grid_lies_at_any_phase(bank: PhotoBank) -> None:
    """At the lowest quality blocks are flat: the columns where neighbours differ most give the grid away."""
    degraded, _ = degraded_pairs(bank, amounts(64, jpeg=1), 63, torch.Generator().manual_seed(0))
    jumps = degraded.mean(dim=1).diff(dim=2).abs().mean(dim=1)[:, :56].view(64, 7, 8).mean(dim=1)
    assert len(set(jumps.argmax(dim=1).tolist())) == 8


def test_the_context_leaves_room_for_blur_and_phase() -> None:
    assert context_side(63) == 100
    coded = [context_side(size) - 20 for size in range(1, 200)]
    assert all(side >= size + 15 and side % 16 == 0 for size, side in enumerate(coded, start=1))


def test_each_patch_is_cut_at_its_own_place() -> None:
    images = torch.arange(2 * 3 * 6 * 7.0).view(2, 3, 6, 7)
    cut = take_patches(images, torch.tensor([0, 2]), torch.tensor([3, 1]), 4)
    assert torch.equal(cut[0], images[0, :, 0:4, 3:7])
    assert torch.equal(cut[1], images[1, :, 2:6, 1:5])


def test_a_broken_file_is_not_the_one_held_out(
    tmp_path: Path, make_photograph: Callable[..., NDArray[np.uint8]]
) -> None:
    """Whichever of three files is broken, there is one to validate on and one to train on."""
    for broken in "abc":
        folder = tmp_path / broken
        folder.mkdir()
        for name in "abc":
            write(folder, make_photograph(40, 40), f"{name}.png")
        (folder / f"{broken}.png").write_text("no picture")
        for part in ("train", "validation"):
            assert len(PhotoBank.from_folder(folder, part, scales=(1.0,))) == 1
