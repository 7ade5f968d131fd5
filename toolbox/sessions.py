"""Networks in ONNX files, run by onnxruntime on the processor; no torch is needed."""

import importlib
from typing import Any, TypeAlias

from rlrestore.errors import UsageError, how_to_install

Session: TypeAlias = Any
"""An `onnxruntime.InferenceSession`; several threads may run it at a time."""
REASON_CHARACTERS = 200
"""Of what another library says of a file."""


def load_onnxruntime(wanted_by: str) -> Any:
    """Return the module onnxruntime.

    Args:
        wanted_by: What needs it, for the message.

    Raises:
        UsageError: It is not installed.
    """
    try:
        return importlib.import_module("onnxruntime")
    except ImportError as error:
        raise UsageError(f"{wanted_by} needs onnxruntime: {how_to_install('onnx')}") from error


def open_session(model: bytes, threads: int, wanted_by: str) -> Session:
    """Make a network ready to run.

    Args:
        model: The content of its file.
        threads: Cores that a run computes on.
        wanted_by: What needs it, for messages.

    Raises:
        UsageError: onnxruntime is not installed, or refuses the file.
    """
    runtime = load_onnxruntime(wanted_by)
    options = runtime.SessionOptions()
    options.intra_op_num_threads = threads
    # Each network has threads of its own: those that wait must leave the cores to the others.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.enable_cpu_mem_arena = False  # it would keep what the largest tile took, for each network
    options.log_severity_level = 4
    try:
        return runtime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's errors have no common kind
        raise UsageError(
            f"{wanted_by}: expected a network in ONNX, all in one file, got what onnxruntime refuses: "
            f"{brief(error)}"
        ) from error


def brief(error: Exception) -> str:
    """Return what another library says of a network, in one line of bearable length."""
    return " ".join(str(error).split())[:REASON_CHARACTERS]
