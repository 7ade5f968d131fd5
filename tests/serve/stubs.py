"""Restorers for the server's tests: that wait for leave or to be cancelled, and one with a fault."""

import threading
from typing import Any

from rlrestore.errors import CancelledRestorationError
from rlrestore.imaging.progress import Progress
from rlrestore.inference.restoration import Restoration
from rlrestore.restorer import Restorer
from tests.patience import PATIENCE_S
from tests.toys import make_model


class Gated(Restorer):
    """The toy that waits in `restore` until the gate is open."""

    def __init__(self) -> None:
        super().__init__(make_model([0]))
        self.gate, self.begun = threading.Event(), threading.Event()

    def restore(self, photo: Any, *args: Any, **options: Any) -> Restoration:
        """Restore, but not before the gate is open."""
        self.begun.set()
        assert self.gate.wait(PATIENCE_S)
        return super().restore(photo, *args, **options)


class Patient(Restorer):
    """The toy that is half done until it is cancelled."""

    def __init__(self) -> None:
        super().__init__(make_model([0]))
        self.begun, self.cancelled = threading.Event(), threading.Event()

    def restore(self, *_args: Any, **options: Any) -> Restoration:
        """Wait to be cancelled."""
        options["progress"](Progress(0.5, 1, 3))
        self.begun.set()
        assert options["cancel"].wait(PATIENCE_S)
        self.cancelled.set()
        raise CancelledRestorationError("the restoration was cancelled")


class Broken(Restorer):
    """The toy with a fault that nobody foresaw."""

    def __init__(self) -> None:
        super().__init__(make_model([0]))

    def restore(self, *_args: Any, **_options: Any) -> Restoration:
        """Fail."""
        raise ZeroDivisionError("a fault of ours")
