"""Measuring a model: test sets, scores, oracles, tools, costs."""

from typing import TYPE_CHECKING

from rlrestore.lazy import lazy_names

if TYPE_CHECKING:
    from rlrestore.evaluation.file_pairs import FilePair, pair_files
    from rlrestore.evaluation.policy import compare_with_oracles
    from rlrestore.evaluation.report import Report
    from rlrestore.evaluation.scores import Scores, measure_files, measure_patches
    from rlrestore.evaluation.testsets import PatchPairs, generate, read_npz
    from rlrestore.evaluation.tools import compare_tools

__all__ = [
    "FilePair",
    "PatchPairs",
    "Report",
    "Scores",
    "compare_tools",
    "compare_with_oracles",
    "generate",
    "measure_files",
    "measure_patches",
    "pair_files",
    "read_npz",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "file_pairs": ("FilePair", "pair_files"),
        "policy": ("compare_with_oracles",),
        "report": ("Report",),
        "scores": (
            "Scores",
            "measure_files",
            "measure_patches",
        ),
        "testsets": (
            "PatchPairs",
            "generate",
            "read_npz",
        ),
        "tools": ("compare_tools",),
    },
)
