"""Local mode leaves no seam: where windows and tiles meet, its correction is as smooth as beside them."""

from collections.abc import Callable, Iterable, Sequence

import numpy as np
import numpy.typing as npt
import pytest

from experiments.varying import vary
from rlrestore.imaging import PATCH
from rlrestore.imaging.tiling import ALIGN
from rlrestore.inference import chains
from rlrestore.inference.windows import WindowGrid
from rlrestore.restorer import Restorer

Floats = npt.NDArray[np.float32]
Paint = Callable[..., npt.NDArray[np.uint8]]

HEIGHT, WIDTH = 352, 416
KINDS = ("halves", "halves", "background", "background")
"""How four paintings are degraded."""
SMALL_TILE = 128
LARGEST_BETWEEN = 1.05
"""How much larger than beside it a step may be where two windows meet."""
RUN = 16
"""Pixels along a border over which steps are averaged: a seam is one step all along, noise cancels out."""


def steps(correction: Floats, axis: int) -> Floats:
    """Mean size of the step from each row to the next (axis 0) or column to the next (axis 1)."""
    gradient = np.moveaxis(np.diff(correction, axis=axis), axis, 0)
    whole = gradient.shape[1] // RUN * RUN
    runs = gradient[:, :whole].reshape(len(gradient), -1, RUN, 3).mean(axis=2)
    means: Floats = np.abs(runs).mean(axis=(1, 2))
    return means


def at_and_beside(sizes: Floats, borders: Iterable[int]) -> tuple[float, float]:
    """Mean step across the borders, and 4 to 10 pixels on either side, where the photograph is much alike."""
    places = [place - 1 for place in borders if 12 <= place < len(sizes) - 11]
    beside = [place + away for place in places for away in (*range(-10, -3), *range(4, 11))]
    return float(sizes[places].mean()), float(sizes[beside].mean())


def seams(model: Restorer, paint: Paint, kinds: Sequence[str] = KINDS) -> dict[str, float]:
    """How much larger than beside it is the step where windows begin and end, between two, at tiles."""
    grid = WindowGrid.cover(HEIGHT, WIDTH, PATCH, chains.STRIDE)
    margin = -(-max(model.runtime.tools.radii) // ALIGN) * ALIGN
    sums: dict[str, list[tuple[float, float]]] = {"windows": [], "between": [], "tiles": []}
    for seed, kind in enumerate(kinds):
        degraded = vary(paint(HEIGHT, WIDTH, seed), kind, seed)
        restored = model.restore(degraded, mode="local", max_steps=1, keep_steps=False).photo.pixels
        for axis, starts, length in ((0, grid.tops, HEIGHT), (1, grid.lefts, WIDTH)):
            sizes = steps(restored - degraded.astype(np.float32) / np.float32(255), axis)
            ends = [start + grid.size for start in starts]
            middles = [(end + start) // 2 for end, start in zip(ends, starts[1:], strict=False)]
            tiles = range(SMALL_TILE - 2 * margin, length, SMALL_TILE - 2 * margin)
            places = {"windows": (*starts, *ends), "between": middles, "tiles": tiles}
            for name, borders in places.items():
                sums[name].append(at_and_beside(sizes, borders))
    return {name: sum(at for at, _ in pairs) / sum(by for _, by in pairs) for name, pairs in sums.items()}


def nearest(length: int, starts: tuple[int, ...], size: int) -> Floats:
    """Weights without a feather: every pixel belongs to the window whose middle is nearest."""
    away = np.arange(length)[:, None] - np.array(starts) - (size - 1) / 2
    weights: Floats = np.eye(len(starts), dtype=np.float32)[np.abs(away).argmin(axis=1)]
    return weights


def test_no_seam_where_windows_and_tiles_meet(
    make_photograph: Paint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chains, "TILE", SMALL_TILE)
    ratios = seams(Restorer.from_pretrained(), make_photograph)

    # A tenth is what chance leaves of some thousand runs across the few tile borders of four paintings; more
    # borders lie between windows. Without the feather the step there is 8 % larger than beside it: next test.
    for name, ratio in ratios.items():
        assert 0.9 < ratio < (LARGEST_BETWEEN if name == "between" else 1.1), name


def test_a_seam_would_be_found(make_photograph: Paint, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chains, "fading_weights", nearest)

    assert (
        seams(Restorer.from_pretrained(), make_photograph, ("background",) * 3)["between"] > LARGEST_BETWEEN
    )
