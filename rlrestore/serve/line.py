"""The line in which requests wait for a thread: bounded in length and in time."""

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

from rlrestore.serve.bounds import RefusedError

T = TypeVar("T")


@dataclass(eq=False)
class Ticket:
    """One request's place in the line, from its arrival until its work has ended.

    Attributes:
        token: What its client calls it, to ask how far it is; may be empty.
        deadline: When it must have been answered, by the monotonic clock.
        state: `uploading`, `waiting` or `working`.
        started: When it began to wait or to be worked on, by the monotonic clock.
        share: How much of the work is done, from 0 to 1.
        cancel: Set once nobody waits for the work any more.
        expected_s: How long the work is expected to take; None where that is not known.
    """

    token: str
    deadline: float
    state: str = "uploading"
    started: float = field(default_factory=time.monotonic)
    expected_s: float | None = None
    work: "Future[object] | None" = None
    share: float = 0.0
    cancel: threading.Event = field(default_factory=threading.Event)

    def enter(self, state: str) -> None:
        """Go on to the next state."""
        self.state, self.started = state, time.monotonic()


class Line:
    """Threads, and the requests that wait for them."""

    def __init__(self, workers: int, waiting: int, seconds: float, name: str) -> None:
        """Begin with nobody.

        Args:
            workers: Threads.
            waiting: Requests at most beside those that a thread works on.
            seconds: A request may take.
            name: What is waited for, in messages.
        """
        self._pool = ThreadPoolExecutor(workers, name)
        self._most, self._seconds, self._name = workers + waiting, seconds, name
        self._tickets: list[Ticket] = []
        self._lock = threading.Lock()

    @contextmanager
    def ticket(self, token: str = "") -> Iterator[Ticket]:
        """Join the line. The place is held until the work has ended, even if nobody waits for it any more.

        Raises:
            RefusedError: 429, the line is full.
        """
        with self._lock:
            if len(self._tickets) >= self._most:
                raise RefusedError(
                    429, f"expected at most {self._most} requests at a time for {self._name}; try again soon"
                )
            ticket = Ticket(token, time.monotonic() + self._seconds)
            self._tickets.append(ticket)
        try:
            yield ticket
        finally:
            if ticket.work is None:
                self._leave(ticket)
            else:
                ticket.work.cancel()  # if no thread has begun it
                ticket.work.add_done_callback(lambda _: self._leave(ticket))

    async def run(self, ticket: Ticket, work: Callable[[], T], gone: Awaitable[object] | None = None) -> T:
        """Have a thread do the work, and wait for it.

        Args:
            ticket: Whose work it is.
            work: Called in the thread.
            gone: Ends when the client does not wait any more.

        Raises:
            RefusedError: 503, it took too long; 499, nobody waits any more.
        """
        ticket.enter("waiting")
        begun: Future[T] = self._pool.submit(partial(_work, ticket, work))
        ticket.work = begun  # type: ignore[assignment]  # whatever its result is
        done = asyncio.wrap_future(begun)
        waits: list[asyncio.Future[object]] = [done]  # type: ignore[list-item]
        leaving = None if gone is None else asyncio.ensure_future(gone)
        if leaving is not None:
            waits.append(leaving)
        try:
            left = max(ticket.deadline - time.monotonic(), 0)
            ended, _ = await asyncio.wait(waits, timeout=left, return_when=asyncio.FIRST_COMPLETED)
            if done in ended:
                return done.result()
            ticket.cancel.set()
            if ended:
                raise RefusedError(499, "the client hung up")
            raise self.too_late()
        finally:
            done.cancel()
            if leaving is not None:
                leaving.cancel()

    def too_late(self) -> RefusedError:
        """Return what a client is told whose time is over."""
        return RefusedError(
            503, f"expected an answer within {self._seconds:g} s, but the server is too busy; try again later"
        )

    def progress(self, token: str) -> dict[str, object]:
        """Tell how far a request is.

        Returns:
            `state`; `share` of the work that is done; `before`, the requests that come before it;
            `elapsed_s` in this state; `expected_s` in all, None if that is not known.

        Raises:
            RefusedError: 404, there is none of this name.
        """
        with self._lock:
            found = [place for place, ticket in enumerate(self._tickets) if token and ticket.token == token]
            if not found:
                raise RefusedError(
                    404, "expected a request that is being worked on; it has ended, or never began"
                )
            ticket = self._tickets[found[0]]
            return {
                "state": ticket.state,
                "before": found[0] if ticket.state == "waiting" else 0,
                "elapsed_s": round(time.monotonic() - ticket.started, 2),
                "share": round(ticket.share, 3),
                "expected_s": None if ticket.expected_s is None else round(ticket.expected_s, 2),
            }

    def count(self) -> int:
        """Return how many requests are in the line, those that are worked on among them."""
        return len(self._tickets)

    def close(self) -> None:
        """Wait for the work that has begun; begin no other."""
        self._pool.shutdown(cancel_futures=True)

    def _leave(self, ticket: Ticket) -> None:
        with self._lock:
            self._tickets.remove(ticket)


def _work(ticket: Ticket, work: Callable[[], T]) -> T:
    ticket.enter("working")
    return work()
