"""Image files: reading, writing, 16 bits, metadata, transparency."""

from typing import TYPE_CHECKING

from rlrestore.lazy import lazy_names

if TYPE_CHECKING:
    from rlrestore.imaging.io.files import list_photos, read_photo, write_photo
    from rlrestore.imaging.io.photo import Photo

__all__ = [
    "Photo",
    "list_photos",
    "read_photo",
    "write_photo",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "files": (
            "list_photos",
            "read_photo",
            "write_photo",
        ),
        "photo": ("Photo",),
    },
)
