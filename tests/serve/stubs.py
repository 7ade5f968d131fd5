"""Restorers for the server's tests: one that waits for leave, and one of a later day's options."""

import threading
from collections.abc import Sequence
from typing import Any

from rlrestore.restorer import Restoration, Restorer
from tests.toys import make_model


class Gated(Restorer):
    """The toy that waits in `restore` until the gate is open."""

    def __init__(self) -> None:
        super().__init__(make_model([0]))
        self.gate, self.begun = threading.Event(), threading.Event()

    def restore(self, photo: Any, *args: Any, **options: Any) -> Restoration:
        """Restore, but not before the gate is open."""
        self.begun.set()
        assert self.gate.wait(20)
        return super().restore(photo, *args, **options)


class Overruled(Restorer):
    """The toy that takes options which the real one may get, and writes down what it was given."""

    def __init__(self) -> None:
        super().__init__(make_model([0]))
        self.given: dict[str, object] = {}

    def restore(  # type: ignore[override]  # it has more options, and forwards none
        self,
        photo: Any,
        *,
        detail: float = 0.0,
        chain: Sequence[str] = (),
        never: Sequence[str] = (),
        keep_steps: bool = True,
        in_place: bool = False,
    ) -> Restoration:
        """Restore, and remember the options."""
        self.given = {"detail": detail, "chain": chain, "never": never}
        return super().restore(photo, keep_steps=keep_steps, in_place=in_place)


class Broken(Restorer):
    """The toy with a fault that nobody foresaw."""

    def __init__(self) -> None:
        super().__init__(make_model([0]))

    def restore(self, *_args: Any, **_options: Any) -> Restoration:
        """Fail."""
        raise ZeroDivisionError("a fault of ours")
