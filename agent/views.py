"""Patches from several sides, turned and mirrored, as `rlrestore.runtime.views` does for restoring.

Shapes: B patches, P pixels a side; RGB, about [0, 1], not clipped.
"""

import itertools
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from rlrestore.imaging.tiling import ALIGN
from rlrestore.toolbox.toolbox import Tools

View = tuple[bool, bool, bool]
VIEWS: tuple[View, ...] = tuple(itertools.product((False, True), (False, True), (False, True)))
"""Whether rows and columns are exchanged, then rows, then columns put in the opposite order. The first is the
patch as it is."""


def turned(images: Tensor, exchanged: bool, upside_down: bool, mirrored: bool) -> Tensor:
    """Return one of the `VIEWS` of `(B, 3, P, P)`."""
    view = images.mT if exchanged else images
    return view.flip([axis for axis, flips in ((-2, upside_down), (-1, mirrored)) if flips])


def turned_back(view: Tensor, exchanged: bool, upside_down: bool, mirrored: bool) -> Tensor:
    """Return the images that `turned` made a view of."""
    images = turned(view, False, upside_down, mirrored)
    return images.mT if exchanged else images


@torch.no_grad()
def on_views(tools: Tools, actions: Tensor, images: Tensor, views: Sequence[View]) -> list[Tensor]:
    """Return what each image's tool makes of each view, turned back: `(B, 3, P, P)` float32 for every view.

    As `rlrestore.runtime.views` does, a side that is turned round is padded up to where networks fold it.

    Args:
        tools: N tools.
        actions: `(B,)` the tool of each image.
        images: `(B, 3, P, P)`.
        views: Some of `VIEWS`.
    """
    side = images.shape[-1]
    results = []
    for view in views:
        exchanged, upside_down, mirrored = view
        down, across = (mirrored, upside_down) if exchanged else (upside_down, mirrored)
        beyond = (0, -side % ALIGN * across, 0, -side % ALIGN * down)
        seen = turned(F.pad(images, beyond, mode="replicate"), *view).contiguous()
        results.append(turned_back(tools.apply_each(actions, seen).float(), *view)[..., :side, :side])
    return results
