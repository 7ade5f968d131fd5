"""How the constants of --detail are chosen."""

from types import SimpleNamespace
from typing import cast

import numpy as np
import numpy.typing as npt
import pytest

from experiments.lost_detail import (
    KINDS,
    Measured,
    choose,
    degraded_pairs,
    high_energy,
    lines,
    measure_settings,
)
from rlrestore.imaging.io.photo import Photo
from rlrestore.inference.blending import Shrinkage
from rlrestore.restorer import Restorer

CHECKS = (np.indices((64, 64)).sum(axis=0) % 2 - 0.5).astype(np.float32)[..., None].repeat(3, axis=2)


def test_the_energy_of_fine_detail_is_counted_and_that_of_shapes_is_not() -> None:
    shape = np.zeros((64, 64, 3), np.float32) + np.linspace(0, 1, 64, dtype=np.float32)[:, None, None]

    assert high_energy(shape) < 1e-6 * high_energy(CHECKS)
    assert high_energy(shape + 0.5 * CHECKS) == pytest.approx(0.25 * high_energy(CHECKS), rel=1e-3)


def table(*rows: tuple[float, float, float]) -> dict[Shrinkage, dict[str, Measured]]:
    """Of each setting the cameras' way and loss, and film's loss."""
    return {
        Shrinkage(2, 5, share): {"camera": Measured(way, lost_db), "film": Measured(0.0, film_db)}
        for share, (way, lost_db, film_db) in enumerate(rows, 1)
    }


def test_the_least_loss_is_chosen_of_what_comes_far_enough() -> None:
    far, further, short, dear = (0.5, 0.2, 0.1), (0.9, 0.25, 0.1), (0.49, -0.1, 0.0), (0.6, 0.1, 0.31)

    assert choose(table(further, far, short, dear)) == Shrinkage(2, 5, 2)
    assert choose(table(short, dear)) is None


def test_every_photograph_is_degraded_in_every_way_and_measured() -> None:
    rng = np.random.default_rng(0)
    photos = [rng.integers(0, 256, (80, 96, 3), np.uint8) for _ in range(2)]
    pairs = list(degraded_pairs(photos, 0))
    again = list(degraded_pairs(photos, 0))

    assert [kind for kind, *_ in pairs] == [*KINDS, *KINDS]
    assert all(one.shape == other.shape == (80, 96, 3) for _, one, other in pairs)
    assert all(np.array_equal(first[1], second[1]) for first, second in zip(pairs, again, strict=True))
    assert not any(np.array_equal(one, other) for _, one, other in pairs)


class Flattener:
    """What takes all texture away."""

    def restore(self, pixels: npt.NDArray[np.uint8], **_options: object) -> SimpleNamespace:
        """Restore."""
        return SimpleNamespace(photo=Photo(np.full(pixels.shape, 0.5, np.float32)))


def test_half_of_the_lost_texture_is_a_quarter_of_its_energy() -> None:
    clean = np.random.default_rng(0).normal(0.5, 0.01, (64, 64, 3)).astype(np.float32)
    clean[8:40, 8:40] += 0.5 * CHECKS[8:40, 8:40]  # of the smaller part, so that none of it looks like noise
    pixels = np.rint(255 * clean).astype(np.uint8)
    restorer = cast(Restorer, Flattener())
    found = measure_settings(restorer, [("camera", pixels, pixels)], 0.5, (Shrinkage(),))

    measured = found[Shrinkage()]["camera"]
    assert measured.way == pytest.approx(0.25, abs=0.01)
    assert measured.lost_db == pytest.approx(-20 * np.log10(2), abs=0.1)
    *_, last = lines(found)
    assert last.split()[:3] == ["2", "5", "1"]
