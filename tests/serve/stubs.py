"""Restorers for the server's tests: one that waits for leave, and one with a fault."""

import threading
from typing import Any

from rlrestore.inference.restoration import Restoration
from rlrestore.restorer import Restorer
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


class Broken(Restorer):
    """The toy with a fault that nobody foresaw."""

    def __init__(self) -> None:
        super().__init__(make_model([0]))

    def restore(self, *_args: Any, **_options: Any) -> Restoration:
        """Fail."""
        raise ZeroDivisionError("a fault of ours")
