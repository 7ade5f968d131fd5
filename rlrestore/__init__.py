"""Restore degraded photographs: an agent that looks, picks one tool of a toolbox, looks again, and stops.

    import rlrestore

    restoration = rlrestore.restore("street.jpg")
    print(restoration.trace.table())
    restoration.save("street_restored.png")

Importing this package loads neither torch nor OpenCV; the names below are loaded when they are first used.
"""

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rlrestore.imaging.io.files import Photo
    from rlrestore.restorer import Restoration, Restorer, restore
    from rlrestore.trace import Trace

__version__ = "0.1.0"

__all__ = ["Photo", "Restoration", "Restorer", "Trace", "__version__", "restore"]

_HOMES = {
    "Photo": "rlrestore.imaging.io.files",
    "Restoration": "rlrestore.restorer",
    "Restorer": "rlrestore.restorer",
    "Trace": "rlrestore.trace",
    "restore": "rlrestore.restorer",
}

# In a checkout, installed or not, the subpackages toolbox, envs and agent stand beside this folder.
_checkout = Path(__file__).resolve().parents[1]
if (_checkout / "pyproject.toml").is_file():
    __path__.append(str(_checkout))


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
