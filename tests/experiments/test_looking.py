"""Rules of looking at a large photograph, on toys."""

import numpy as np
import pytest

from experiments.looking import (
    CELL,
    Chains,
    Looked,
    Windows,
    compare_rules,
    halved,
    large_photo,
    rules_table,
    take,
)
from rlrestore.evaluation.testsets import Pixels
from rlrestore.inference.windows import WindowGrid
from rlrestore.runtime import Actions, Floats, Memory
from tests.toys import make_model


class Brightness:
    """An agent that values its only tool by the mean of the window, and remembers the sum of what it saw."""

    actions, max_steps, stop_margin_db, values_in_db = 2, 3, 0.0, True

    def empty_memory(self, count: int) -> Memory:
        return np.zeros((count, 1), np.float32), np.zeros((count, 1), np.float32)

    def values(self, windows: Floats, last_actions: Actions, memory: Memory) -> tuple[Floats, Memory]:
        assert len(last_actions) == len(windows)
        seen = windows.mean(axis=(1, 2, 3))[:, None] + memory[0]
        return np.concatenate([seen, np.zeros_like(seen)], axis=1), (seen, memory[1])


def test_the_windows_are_those_of_global_mode_or_the_darkest() -> None:
    """Windows at 0, 48, 96 and 144 of each side; the image is black, but for the right half."""
    image = np.zeros((1, 3, 207, 207), np.float32)
    image[..., 111:] = 1.0
    chains = Chains(make_model([]).tools, image, image)
    windows = Windows(Brightness(), ["brighten"], chains)
    assert windows.values(()).reshape(4, 4, 2)[1, :, 0] == pytest.approx([0, 0, 48 / 63, 1])
    assert windows.darkest(0.5).tolist() == [0, 1, 4, 5, 8, 9, 12, 13]
    few = WindowGrid.cover(207, 207, 63, 48, 4)
    chosen = [(windows.grid.tops[n // 4], windows.grid.lefts[n % 4]) for n in windows.limited(4)]
    assert chosen == [(top, left) for top in few.tops for left in few.lefts]
    # After a tool it remembers what it saw before: black, then an eighth.
    assert windows.values(("brighten",))[0, 0] == pytest.approx(1 / 8)
    assert windows.values(("brighten",))[3, 0] == pytest.approx(2)  # clipped


def test_at_half_size_four_pixels_are_one() -> None:
    image = np.arange(3 * 5 * 7, dtype=np.float32).reshape(1, 3, 5, 7)
    small = halved(image)
    assert small.shape == (1, 3, 2, 3)
    assert small[0, 1, 1, 2] == pytest.approx(image[0, 1, 2:4, 4:6].mean())


def test_a_large_photograph_is_made_of_enlarged_ones(photograph: Pixels) -> None:
    photo = np.tile(photograph, (3, 3, 1))
    large = large_photo([photo], 0.9, np.random.default_rng(0))
    assert large.shape == (2 * CELL, 2 * CELL, 3)
    noisy, target = take(large[:64, :64], seed=1)
    assert noisy.shape == target.shape == (64, 64, 3)
    assert 0.5 < (noisy.astype(float) - target).std() < 60


def test_every_rule_and_the_oracle_choose() -> None:
    """The toy brightens by 1/8 and darkens by 1/16 wherever it looks; the picture lacked 1/8."""
    model = make_model([0, 1])
    target = np.full((256, 256, 3), 120, np.uint8)
    found = compare_rules(model.tools, model.agent, target - 32, target)
    assert [looked.chain for looked in found[:-1]] == [("brighten", "darken")] * (len(found) - 1)
    left = 32 / 255 - 1 / 8 + 1 / 16
    assert found[0].gain_db == pytest.approx(20 * np.log10(32 / 255 / left), abs=0.01)
    assert (found[-1].rule, found[-1].chain) == ("greedy oracle", ("brighten",))


def test_the_table_has_regrets() -> None:
    photos = [
        [Looked("as it is", ("a",), 1.0), Looked("other", ("b",), 3.0), Looked("greedy oracle", ("b",), 3.5)],
        [Looked("as it is", (), 0.0), Looked("other", (), 0.0), Looked("greedy oracle", ("b",), 0.5)],
    ]
    assert rules_table(photos).splitlines()[2:] == [
        "| as it is | +0.50 | 1.50 | +0.00 | 0 of 2 |",
        "| other | +1.50 | 0.50 | +0.00 | 1 of 2 |",
        "| greedy oracle | +2.00 | 0.00 | +0.50 | 2 of 2 |",
    ]
