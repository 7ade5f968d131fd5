"""Restore degraded photographs: an agent applies tools of a toolbox, one at a time, until none would help.

    import rlrestore

    restoration = rlrestore.restore("street.jpg")
    print(restoration.trace.table())
    restoration.save("street_restored.png")

Importing this package loads neither torch nor OpenCV; the names below are loaded when they are first used.
"""

import importlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rlrestore.agent.joint import JointSettings
    from rlrestore.agent.learn import train_agent, train_joint
    from rlrestore.agent.storage import load_agent, save_model
    from rlrestore.agent.training import AgentSettings
    from rlrestore.explain.inspection import Inspection
    from rlrestore.explain.inspector import Inspector, inspect
    from rlrestore.imaging.io.files import Photo
    from rlrestore.imaging.metrics import psnr_db, ssim
    from rlrestore.imaging.patches import PhotoBank
    from rlrestore.inference.restoration import Restoration
    from rlrestore.model_folder import find_model, shipped_models
    from rlrestore.model_folder.card import ModelCard
    from rlrestore.restorer import Restorer, restore
    from rlrestore.toolbox.custom import add_tool, custom_spec, register
    from rlrestore.toolbox.specs import ToolSpec
    from rlrestore.toolbox.storage import load_toolbox, save_toolbox
    from rlrestore.toolbox.toolbox import Toolbox
    from rlrestore.toolbox.trainer import Budget
    from rlrestore.toolbox.training import ToolSettings, train_tools
    from rlrestore.trace import Trace
    from rlrestore.video.restoring import VideoRestoration, restore_video

__version__ = "0.1.0"

# OpenMP reads it when torch is loaded, and has no call for it later. Threads that wait for others would spin
# on their cores, and where another process needs these, all work waits for the thread that was put aside.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

__all__ = [
    "AgentSettings",
    "Budget",
    "Inspection",
    "Inspector",
    "JointSettings",
    "ModelCard",
    "Photo",
    "PhotoBank",
    "Restoration",
    "Restorer",
    "ToolSettings",
    "ToolSpec",
    "Toolbox",
    "Trace",
    "VideoRestoration",
    "__version__",
    "add_tool",
    "custom_spec",
    "find_model",
    "inspect",
    "load_agent",
    "load_toolbox",
    "psnr_db",
    "register",
    "restore",
    "restore_video",
    "save_model",
    "save_toolbox",
    "shipped_models",
    "ssim",
    "train_agent",
    "train_joint",
    "train_tools",
]

_HOMES = {
    "AgentSettings": "rlrestore.agent.training",
    "Budget": "rlrestore.toolbox.trainer",
    "Inspection": "rlrestore.explain.inspection",
    "Inspector": "rlrestore.explain.inspector",
    "JointSettings": "rlrestore.agent.joint",
    "ModelCard": "rlrestore.model_folder.card",
    "Photo": "rlrestore.imaging.io.files",
    "PhotoBank": "rlrestore.imaging.patches",
    "Restoration": "rlrestore.inference.restoration",
    "Restorer": "rlrestore.restorer",
    "ToolSettings": "rlrestore.toolbox.training",
    "ToolSpec": "rlrestore.toolbox.specs",
    "Toolbox": "rlrestore.toolbox.toolbox",
    "Trace": "rlrestore.trace",
    "VideoRestoration": "rlrestore.video.restoring",
    "add_tool": "rlrestore.toolbox.custom",
    "custom_spec": "rlrestore.toolbox.custom",
    "find_model": "rlrestore.model_folder",
    "inspect": "rlrestore.explain.inspector",
    "load_agent": "rlrestore.agent.storage",
    "load_toolbox": "rlrestore.toolbox.storage",
    "psnr_db": "rlrestore.imaging.metrics",
    "register": "rlrestore.toolbox.custom",
    "restore": "rlrestore.restorer",
    "restore_video": "rlrestore.video.restoring",
    "save_model": "rlrestore.agent.storage",
    "save_toolbox": "rlrestore.toolbox.storage",
    "shipped_models": "rlrestore.model_folder",
    "ssim": "rlrestore.imaging.metrics",
    "train_agent": "rlrestore.agent.learn",
    "train_joint": "rlrestore.agent.learn",
    "train_tools": "rlrestore.toolbox.training",
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
