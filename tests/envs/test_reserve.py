import itertools
from dataclasses import dataclass, field

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from rlrestore.envs.reserve import Reserve
from rlrestore.envs.transition import EpisodeState, start
from rlrestore.errors import DataError
from tests.envs.waits import Waits


@dataclass
class Numbered:
    """The n-th pair is n throughout; of every `period` pairs the first is dropped, or none."""

    period: int | None = None
    drawn: int = 0

    def __call__(self, count: int, _: torch.Generator) -> tuple[Tensor, Tensor]:
        self.drawn += count
        pairs = torch.arange(self.drawn - count, self.drawn).float()[:, None, None, None].expand(-1, 3, 2, 2)
        return pairs, pairs


@dataclass
class NumberedCandidates(Numbered):
    batches: list[int] = field(default_factory=list)

    def candidates(self, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        self.batches.append(count)
        degraded, clean = self(count, generator)
        usable = degraded[:, 0, 0, 0] % self.period != 0 if self.period else degraded[:, 0, 0, 0] >= 0
        return degraded, clean, usable


def numbers(state: EpisodeState) -> list[int]:
    assert torch.equal(state.images, state.clean)
    return [int(number) for number in state.images[:, 0, 0, 0]]


def running(count: int) -> EpisodeState:
    return start(torch.full((count, 3, 2, 2), -1.0), torch.full((count, 3, 2, 2), -1.0))


@given(
    ends=st.lists(st.lists(st.booleans(), min_size=4, max_size=4), min_size=1, max_size=12),
    period=st.sampled_from([None, 2, 3]),
    marked=st.booleans(),
    per_pair=st.sampled_from([1, 2, 3, 9]),
)
def test_states_come_in_the_order_drawn_and_none_that_was_dropped(
    ends: list[list[bool]], period: int | None, marked: bool, per_pair: int
) -> None:
    """However many end at once, and though the ring is written over again and again."""
    source = NumberedCandidates(period) if marked else Numbered()
    drawn = (n for n in itertools.count() if not (marked and period and n % period == 0))
    expected = itertools.chain.from_iterable(itertools.repeat(n, per_pair) for n in drawn)
    reserve = Reserve(source, torch.Generator(), 4, per_pair)
    reserve.fill(0)
    assert numbers(reserve.take(4)) == list(itertools.islice(expected, 4))
    for ended in ends:
        reserve.fill(int(reserve.ready))
        state = reserve.begin(running(4), torch.tensor(ended))
        assert numbers(state) == [next(expected) if end else -1 for end in ended]
        assert state.psnr_db.tolist() == [100.0] * 4


def test_filling_waits_only_while_there_are_too_few() -> None:
    reserve = Reserve(NumberedCandidates(), torch.Generator(), 4)
    for taken, ready, waits_expected in ((0, 0, 1), (0, 8, 0), (4, 4, 0), (5, 3, 1)):
        if taken:
            reserve.take(taken)
        assert int(reserve.ready) == ready
        with Waits() as waits:
            reserve.fill(ready)
        assert waits.found.count("__int__") == waits_expected
        reserve.take(int(reserve.ready) - 8)


def test_what_was_begun_in_inference_mode_goes_on_outside_it() -> None:
    reserve = Reserve(NumberedCandidates(), torch.Generator(), 2)
    with torch.inference_mode():
        reserve.fill(0)
        reserve.take(2)
    reserve.fill(2)
    assert numbers(reserve.take(4)) == [2, 3, 4, 5]


def test_batches_are_small_on_a_processor() -> None:
    source = NumberedCandidates()
    Reserve(source, torch.Generator(), 100).fill(0)
    assert set(source.batches) == {32}
    assert 200 <= source.drawn < 232


def test_no_more_pairs_are_drawn_than_episodes_share() -> None:
    source = NumberedCandidates()
    Reserve(source, torch.Generator(), 100, episodes_per_pair=4).fill(0)
    assert source.batches == [25, 25]


def test_a_source_all_of_whose_pairs_are_dropped_is_refused() -> None:
    with pytest.raises(DataError, match="expected 4 pairs below 50 dB, got 0 in 100 rounds"):
        Reserve(NumberedCandidates(period=1), torch.Generator(), 4).fill(0)


def test_nothing_can_be_taken_from_an_empty_reserve() -> None:
    with pytest.raises(RuntimeError, match=r"got an empty one: call fill\(\) first"):
        Reserve(Numbered(), torch.Generator(), 4).take(1)
