"""Restore degraded photographs: an agent that looks, picks one tool of a toolbox, looks again, and stops.

    import rlrestore

    restoration = rlrestore.restore("street.jpg")
    print(restoration.trace.table())
    restoration.save("street_restored.png")

Importing this package loads neither torch nor OpenCV; the names below are loaded when they are first used.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rlrestore.imaging.files import Photo
    from rlrestore.restore import Restoration, Restorer, restore
    from rlrestore.trace import Trace

__version__ = "0.1.0"

__all__ = ["Photo", "Restoration", "Restorer", "Trace", "__version__", "restore"]

_HOMES = {
    "Photo": "rlrestore.imaging.files",
    "Restoration": "rlrestore.restore",
    "Restorer": "rlrestore.restore",
    "Trace": "rlrestore.trace",
}


def __getattr__(name: str) -> Any:
    # The module rlrestore.restore can be called like the function in it: importing a submodule puts the
    # module under its name here, so `rlrestore.restore` would otherwise change its meaning by that.
    if name == "restore":
        return importlib.import_module("rlrestore.restore")
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
