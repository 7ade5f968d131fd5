"""The authors' released model: reading TensorFlow checkpoints, importing them."""

from typing import TYPE_CHECKING

from rlrestore.lazy import lazy_names

if TYPE_CHECKING:
    from rlrestore.paper.importing import import_paper

__all__ = [
    "import_paper",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "importing": ("import_paper",),
    },
)
