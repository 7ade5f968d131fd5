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
    from rlrestore.inference.restoration import Restoration
    from rlrestore.model_folder import find_model, shipped_models
    from rlrestore.model_folder.card import ModelCard
    from rlrestore.restorer import Restorer, restore
    from rlrestore.toolbox.custom import add_tool, custom_spec
    from rlrestore.toolbox.specs import ToolSpec
    from rlrestore.toolbox.storage import load_toolbox, save_toolbox
    from rlrestore.toolbox.toolbox import Toolbox
    from rlrestore.trace import Trace

__version__ = "0.1.0"

__all__ = [
    "ModelCard",
    "Photo",
    "Restoration",
    "Restorer",
    "ToolSpec",
    "Toolbox",
    "Trace",
    "__version__",
    "add_tool",
    "custom_spec",
    "find_model",
    "load_toolbox",
    "restore",
    "save_toolbox",
    "shipped_models",
]

_HOMES = {
    "ModelCard": "rlrestore.model_folder.card",
    "Photo": "rlrestore.imaging.io.files",
    "Restoration": "rlrestore.inference.restoration",
    "Restorer": "rlrestore.restorer",
    "ToolSpec": "rlrestore.toolbox.specs",
    "Toolbox": "rlrestore.toolbox.toolbox",
    "Trace": "rlrestore.trace",
    "add_tool": "rlrestore.toolbox.custom",
    "custom_spec": "rlrestore.toolbox.custom",
    "find_model": "rlrestore.model_folder",
    "load_toolbox": "rlrestore.toolbox.storage",
    "restore": "rlrestore.restorer",
    "save_toolbox": "rlrestore.toolbox.storage",
    "shipped_models": "rlrestore.model_folder",
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
