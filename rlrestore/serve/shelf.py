"""Results that are kept for a while, so that a new strength or format needs no new restoration."""

import secrets
import time
from collections import OrderedDict
from typing import Generic, Protocol, TypeVar

from rlrestore.serve.bounds import RefusedError


class Weighed(Protocol):
    """Something that takes up memory."""

    @property
    def nbytes(self) -> int:
        """Bytes that it takes."""


T = TypeVar("T", bound=Weighed)


class Shelf(Generic[T]):
    """The most recently used of what was put here, bounded in bytes and in time."""

    def __init__(self, most_bytes: int, seconds: float) -> None:
        """Begin empty.

        Args:
            most_bytes: Together; the last one is kept even if it alone is larger.
            seconds: After which one that nobody asked for is dropped.
        """
        self._most_bytes, self._seconds = most_bytes, seconds
        self._kept: OrderedDict[str, tuple[float, T]] = OrderedDict()

    def put(self, thing: T) -> str:
        """Keep something; return the name to ask for it by, which nobody can guess."""
        name = secrets.token_urlsafe(16)
        self._kept[name] = time.monotonic(), thing
        held = sum(kept.nbytes for _, kept in self._kept.values())
        while held > self._most_bytes and len(self._kept) > 1:
            _, (_, oldest) = self._kept.popitem(last=False)
            held -= oldest.nbytes
        return name

    def get(self, name: str) -> T:
        """Return what was kept under a name.

        Raises:
            RefusedError: 404, it is not here (any more).
        """
        self.sweep()
        if name not in self._kept:
            raise RefusedError(404, "expected a result that is still kept; restore the photograph again")
        _, thing = self._kept.pop(name)
        self._kept[name] = time.monotonic(), thing
        return thing

    def drop(self, name: str) -> None:
        """Forget what was kept under a name, if it was."""
        self._kept.pop(name, None)

    def sweep(self) -> None:
        """Drop what nobody has asked for in time."""
        late = time.monotonic() - self._seconds
        for name in [name for name, (used, _) in self._kept.items() if used < late]:
            del self._kept[name]

    def __contains__(self, name: str) -> bool:
        self.sweep()
        return name in self._kept

    def __len__(self) -> int:
        return len(self._kept)
