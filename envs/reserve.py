"""Beginnings of episodes, drawn ahead into the device's memory and taken without waiting for it."""

from dataclasses import fields
from functools import partial

import torch
from torch import Tensor

from rlrestore.envs.sources import MAX_ROUNDS, CandidateSource, PairSource, too_few
from rlrestore.envs.transition import EpisodeState, replace, start

BATCH_ON_CPU, BATCH = 32, 1024
"""Pairs drawn at a time at most. On a processor few, for their images must fit into its cache."""


class Reserve:
    """A ring of states in which episodes begin, in the order in which they were drawn.

    Where the next one is written and taken, and so how many are `ready`, is known on the device alone: how
    many episodes end, and how many pairs are too good to be written, is found out there. The host learns it
    once a step, when it asks for other numbers anyway, and then sees to it that there are two for every
    episode: one for this step, and one for the next, before which it cannot look again.
    """

    def __init__(
        self, source: PairSource | CandidateSource, generator: torch.Generator, episodes: int
    ) -> None:
        """Make an empty reserve.

        Args:
            source: Where the pairs come from; unless it is a `CandidateSource`, it may wait for the device.
            generator: Source of all draws, on the device.
            episodes: How many can end at once.
        """
        self._draw = source.candidates if isinstance(source, CandidateSource) else partial(_usable, source)
        self._generator = generator
        self._episodes = episodes
        self._batch = min(episodes, BATCH_ON_CPU if generator.device.type == "cpu" else BATCH)
        self._capacity = 2 * episodes + self._batch
        self._ring: EpisodeState | None = None
        self._written = self._taken = torch.zeros((), dtype=torch.int64, device=generator.device)

    @property
    def ready(self) -> Tensor:
        """How many can be taken: an int64 on the device."""
        return self._written - self._taken

    def fill(self, ready: int) -> None:
        """Draw as many as are missing, and see to it that every episode can begin anew.

        Waits for the device only where fewer than one for each episode were ready: in the beginning, and when
        the source has had to drop nearly half of the pairs.

        Args:
            ready: The value of `ready`.

        Raises:
            DataError: Nearly every pair is too good.
        """
        for _ in range(MAX_ROUNDS):
            for _ in range(ready, 2 * self._episodes, self._batch):
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
        place = torch.where(usable, place, self._capacity)  # behind the ring, where nothing is ever read
        for row, column in zip(_columns(self._ring), _columns(drawn), strict=True):
            row.index_copy_(0, place, column)
        self._written = self._written + line[-1]

    def begin(self, state: EpisodeState, ended: Tensor) -> EpisodeState:
        """Return the state with the next ones from the reserve where episodes have `ended`, `(B,)` bool.

        Raises:
            RuntimeError: The reserve was never filled.
        """
        line = ended.cumsum(0)
        fresh = self._at(line - 1)  # where none has ended: any state, not used
        self._taken = self._taken + line[-1]
        return replace(state, ended, fresh)

    def take(self, count: int) -> EpisodeState:
        """Return the next states.

        Raises:
            RuntimeError: The reserve was never filled.
        """
        taken = self._at(torch.arange(count, device=self._taken.device))
        self._taken = self._taken + count
        return taken

    def _at(self, line: Tensor) -> EpisodeState:
        """Return the states at these places in the line, the next one being at 0."""
        if self._ring is None:
            raise RuntimeError("expected a reserve with states in it, got an empty one: call fill() first")
        place = (self._taken + line) % self._capacity
        return EpisodeState(*(column[place] for column in _columns(self._ring)))


def _usable(source: PairSource, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Draw from a source that marks nothing: what it gives is meant to be used."""
    degraded, clean = source(count, generator)
    return degraded, clean, torch.ones(count, dtype=torch.bool, device=generator.device)


@torch.inference_mode(False)  # or what was made in that mode could not be written to outside it
def _room(like: EpisodeState, count: int) -> EpisodeState:
    """Return room for states of the same shapes; what is in it is undefined."""
    return EpisodeState(*(column.new_empty(count, *column.shape[1:]) for column in _columns(like)))


def _columns(state: EpisodeState) -> tuple[Tensor, ...]:
    return tuple(getattr(state, field.name) for field in fields(state))
