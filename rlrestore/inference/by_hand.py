"""One tool applied to a whole photograph, without an agent."""

import numpy as np

from rlrestore.errors import UsageError
from rlrestore.imaging.io.photo import Photo
from rlrestore.imaging.io.transparency import cover_hidden_
from rlrestore.inference.chains import apply_tool_
from rlrestore.inference.photos import PhotoLike, as_photo, to_change, with_planes
from rlrestore.runtime import Tools


def check_tool(tools: Tools, name: str) -> None:
    """Make sure that a model has a tool.

    Raises:
        UsageError: There is no such tool.
    """
    if name not in tools.names:
        raise UsageError(f"unknown tool {name!r}: expected one of {', '.join(tools.names)}")


def apply_by_hand(tools: Tools, name: str, photo: PhotoLike) -> Photo:
    """Apply one tool to a whole photograph, whose transparent pixels are covered as in a restoration.

    Args:
        tools: The tools of a model.
        name: The tool to apply.
        photo: As in `Restorer.restore`.

    Raises:
        UsageError: There is no such tool.
    """
    check_tool(tools, name)
    source = as_photo(photo)
    image = to_change(source, copied=source is photo)
    put_back = cover_hidden_(image, source.alpha)
    with np.errstate(over="ignore", invalid="ignore"):
        apply_tool_(tools, tools.names.index(name), image)
    put_back()
    return with_planes(source, image)
