"""Where scenes begin, told by small pictures made by hand."""

from collections.abc import Iterable

import numpy as np
import pytest

from rlrestore.video.scenes import FLASH_FRAMES, LASTING_FRAMES, PAIRS, Look, Scene, find_scenes, look_at


def shown(*runs: tuple[int, float, float]) -> list[tuple[int, Look]]:
    """Return numbered frames: runs of so many of a brightness and a level."""
    looks = [
        Look(np.full((18, 32), value, np.float32), level)
        for count, value, level in runs
        for _ in range(count)
    ]
    return list(enumerate(looks))


def scenes(frames: Iterable[tuple[int, Look]]) -> list[Scene[tuple[int, Look]]]:
    return list(find_scenes(frames, lambda frame: frame[1]))


def parts(*runs: tuple[int, float, float]) -> list[tuple[int, int, str]]:
    return [(each.first, each.frames, each.begins) for each in scenes(shown(*runs))]


def test_a_cut_begins_a_scene() -> None:
    assert parts((30, 0.3, 0.02), (20, 0.6, 0.02)) == [(0, 30, "start"), (30, 20, "cut")]


@pytest.mark.parametrize("count", [1, 2, FLASH_FRAMES])
def test_a_cut_shortly_before_the_end_is_one(count: int) -> None:
    assert parts((30, 0.3, 0.02), (count, 0.6, 0.02)) == [(0, 30, "start"), (30, count, "cut")]


@pytest.mark.parametrize("count", [1, FLASH_FRAMES])
def test_a_flash_is_no_cut(count: int) -> None:
    assert parts((20, 0.3, 0.02), (count, 0.9, 0.02), (20, 0.3, 0.02)) == [(0, 40 + count, "start")]


def test_what_lasts_longer_than_a_flash_is_a_scene() -> None:
    count = FLASH_FRAMES + 1

    found = parts((20, 0.3, 0.02), (count, 0.9, 0.02), (20, 0.3, 0.02))

    assert found == [(0, 20, "start"), (20, count, "cut"), (20 + count, 20, "cut")]


def test_noise_that_comes_to_stay_is_a_change() -> None:
    assert parts((40, 0.3, 0.02), (40, 0.3, 0.05)) == [(0, 40, "start"), (40, 40, "change")]
    assert parts((40, 0.3, 0.05), (40, 0.3, 0.02)) == [(0, 40, "start"), (40, 40, "change")]


def test_noise_that_goes_again_is_none() -> None:
    passing = LASTING_FRAMES - 1

    assert parts((40, 0.3, 0.02), (passing, 0.3, 0.05), (40, 0.3, 0.02)) == [(0, 80 + passing, "start")]


def test_a_slow_fade_is_a_change() -> None:
    fade = [(1, 0.2 + 0.004 * step, 0.02) for step in range(100)]

    found = parts(*fade)

    assert len(found) > 1
    assert all(begins == "change" for *_, begins in found[1:])
    assert sum(frames for _, frames, _ in found) == 100


def test_a_video_of_one_frame_is_a_scene_of_it_alone() -> None:
    (scene,) = scenes(shown((1, 0.5, 0.0)))

    assert (scene.first, scene.frames) == (0, 1)
    assert [(one[0], other[0]) for one, other in scene.pairs] == [(0, 0)]


def test_no_frames_no_scenes() -> None:
    assert scenes([]) == []


@pytest.mark.parametrize("count", [2, 3, 7, 50, 1000])
def test_the_pairs_are_neighbours_spread_over_the_scene(count: int) -> None:
    (scene,) = scenes(shown((count, 0.5, 0.02)))

    numbers = [(one[0], other[0]) for one, other in scene.pairs]
    assert all(other == one + 1 for one, other in numbers)
    assert 1 <= len(numbers) <= PAIRS
    if count >= 50:
        assert numbers[0][0] < count / 3
        assert numbers[-1][0] > count / 2


def test_pairs_lie_in_their_own_scene() -> None:
    for scene in scenes(shown((37, 0.3, 0.02), (40, 0.3, 0.05), (5, 0.8, 0.05), (50, 0.2, 0.05))):
        for one, other in scene.pairs:
            assert scene.first <= one[0] <= other[0] < scene.first + scene.frames


def test_few_frames_are_held_however_long_the_video_is() -> None:
    alive = most = 0

    class Counted:
        def __init__(self) -> None:
            nonlocal alive, most
            alive += 1
            most = max(most, alive)

        def __del__(self) -> None:
            nonlocal alive
            alive -= 1

    look = Look(np.full((18, 32), 0.5, np.float32), 0.02)
    list(find_scenes((Counted() for _ in range(3000)), lambda _: look))

    assert most < 2 * (2 * PAIRS + 3)


def test_noise_is_what_diagonal_neighbours_differ_by() -> None:
    # Of independent noise the sum of four has twice the deviation; half its mean size is σ·√(2/π).
    noise = np.random.default_rng(0).normal(128, 10, (400, 400))
    found = look_at(noise.round().astype(np.uint8), 255)

    assert found.level * 255 == pytest.approx(10 * np.sqrt(2 / np.pi), rel=0.02)
    assert found.picture == pytest.approx(128 / 255, abs=0.01)
    assert look_at(np.full((30, 41), 7, np.uint8), 255).level == 0
