"""Initial states of episodes, sampled ahead into the device's memory and taken without waiting for it."""

from dataclasses import fields
from functools import partial

import torch
from torch import Tensor

from rlrestore.envs.sources import MAX_ROUNDS, CandidateSource, PairSource, too_few
from rlrestore.envs.transition import EpisodeState, replace, start

BATCH_ON_CPU, BATCH = 32, 1024
"""Pairs drawn at a time at most; few on a processor, whose cache must hold their images."""


class Reserve:
    """A ring buffer of initial states, taken in the order in which they were drawn, each once or more often.

    Its write and read positions, and so the number of states that are `ready`, exist only on the device,
    where it is computed how many episodes end and how many pairs are above the limit and not stored. The host
    reads that number once a step, together with others, and then fills the buffer up to two states per
    episode: one for this step, and one for the next, before which it does not read again.
    """

    def __init__(
        self,
        source: PairSource | CandidateSource,
        generator: torch.Generator,
        episodes: int,
        episodes_per_pair: int = 1,
    ) -> None:
        """Make an empty reserve.

        Args:
            source: Where the pairs come from; unless it is a `CandidateSource`, it may wait for the device.
            generator: Source of all draws, on the device.
            episodes: The number of episodes, all of which may end in one step.
            episodes_per_pair: How many of them begin with the same pair, one after another.
        """
        self._draw = source.candidates if isinstance(source, CandidateSource) else partial(_usable, source)
        self._generator = generator
        self._episodes, self._per_pair = episodes, episodes_per_pair
        most = BATCH_ON_CPU if generator.device.type == "cpu" else BATCH
        self._batch = min(-(-episodes // episodes_per_pair), most)
        self._capacity = -(-2 * episodes // episodes_per_pair) + self._batch + 1
        self._ring: EpisodeState | None = None
        self._written = self._taken = torch.zeros((), dtype=torch.int64, device=generator.device)

    @property
    def ready(self) -> Tensor:
        """The number of states that can be taken, an int64 on the device."""
        return self._written * self._per_pair - self._taken

    def fill(self, ready: int) -> None:
        """Fill the buffer up to two states per episode.

        Waits for the device only where fewer than one state per episode was ready: at the start, and after
        the source had to drop nearly half of the pairs.

        Args:
            ready: The value of `ready`.

        Raises:
            DataError: Nearly every pair is above the limit.
        """
        for _ in range(MAX_ROUNDS):
            for _ in range(ready, 2 * self._episodes, self._batch * self._per_pair):
                self._draw_batch()
            if ready >= self._episodes:
                return
            ready = int(self.ready)
        if ready < self._episodes:
            raise too_few(self._episodes, ready)

    def _draw_batch(self) -> None:
        degraded, clean, usable = self._draw(self._batch, self._generator)
        drawn = start(degraded, clean)
        if self._ring is None:
            self._ring = _room(drawn, self._capacity + 1)
        line = usable.cumsum(0)
        place = (self._written + line - 1) % self._capacity
        place = torch.where(usable, place, self._capacity)  # behind the ring, which is never read
        for row, column in zip(_columns(self._ring), _columns(drawn), strict=True):
            row.index_copy_(0, place, column)
        self._written = self._written + line[-1]

    def begin(self, state: EpisodeState, ended: Tensor) -> EpisodeState:
        """Return the state with the next initial states where episodes have `ended`, `(B,)` bool.

        Raises:
            RuntimeError: The reserve was never filled.
        """
        line = ended.cumsum(0)
        fresh = self._at(line - 1)  # where none has ended: an arbitrary state, not used
        self._taken = self._taken + line[-1]
        return replace(state, ended, fresh)

    def take(self, count: int) -> EpisodeState:
        """Return the next initial states.

        Raises:
            RuntimeError: The reserve was never filled.
        """
        taken = self._at(torch.arange(count, device=self._taken.device))
        self._taken = self._taken + count
        return taken

    def _at(self, line: Tensor) -> EpisodeState:
        """Return the states at these positions, counted from the next one."""
        if self._ring is None:
            raise RuntimeError("expected a reserve with states in it, got an empty one: call fill() first")
        place = (self._taken + line) // self._per_pair % self._capacity
        return EpisodeState(*(column[place] for column in _columns(self._ring)))


def _usable(source: PairSource, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Draw from a plain `PairSource`, all of whose pairs are usable."""
    degraded, clean = source(count, generator)
    return degraded, clean, torch.ones(count, dtype=torch.bool, device=generator.device)


@torch.inference_mode(False)  # tensors made in that mode cannot be written to outside it
def _room(like: EpisodeState, count: int) -> EpisodeState:
    """Return uninitialised states of the same shapes."""
    return EpisodeState(*(column.new_empty(count, *column.shape[1:]) for column in _columns(like)))


def _columns(state: EpisodeState) -> tuple[Tensor, ...]:
    return tuple(getattr(state, field.name) for field in fields(state))
