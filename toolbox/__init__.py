"""The toolbox: twelve small networks, each good at one distortion at one strength."""

from typing import TYPE_CHECKING

from rlrestore.lazy import lazy_names

if TYPE_CHECKING:
    from rlrestore.toolbox.custom import add_onnx_tool, add_tool, custom_spec, register
    from rlrestore.toolbox.report import ToolReport
    from rlrestore.toolbox.specs import TOOL_NAMES, TOOLS, ToolSpec
    from rlrestore.toolbox.storage import load_toolbox, save_toolbox
    from rlrestore.toolbox.toolbox import Toolbox
    from rlrestore.toolbox.trainer import Budget, Trainer
    from rlrestore.toolbox.training import ToolSettings, train_tools

__all__ = [
    "TOOLS",
    "TOOL_NAMES",
    "Budget",
    "ToolReport",
    "ToolSettings",
    "ToolSpec",
    "Toolbox",
    "Trainer",
    "add_onnx_tool",
    "add_tool",
    "custom_spec",
    "load_toolbox",
    "register",
    "save_toolbox",
    "train_tools",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "custom": (
            "add_onnx_tool",
            "add_tool",
            "custom_spec",
            "register",
        ),
        "report": ("ToolReport",),
        "specs": (
            "TOOLS",
            "TOOL_NAMES",
            "ToolSpec",
        ),
        "storage": (
            "load_toolbox",
            "save_toolbox",
        ),
        "toolbox": ("Toolbox",),
        "trainer": (
            "Budget",
            "Trainer",
        ),
        "training": (
            "ToolSettings",
            "train_tools",
        ),
    },
)
