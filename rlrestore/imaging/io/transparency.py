"""Colours that nobody sees: those of wholly transparent pixels must not bleed into their neighbours."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from rlrestore.imaging.io.photo import Integers


def cover_hidden(image: Tensor, alpha: Integers | None) -> tuple[Tensor, Callable[[Tensor], None]]:
    """Give wholly transparent pixels the colours around them, for as long as an image is worked on.

    Args:
        image: `(1, 3, H, W)`.
        alpha: `(H, W)` transparency, None without one.

    Returns:
        The image to work on, and what puts the colours back that were covered.
    """
    if alpha is None or alpha.all():
        return image, lambda _: None
    hidden = torch.from_numpy(alpha == 0).to(image.device).expand_as(image)
    covered = image[hidden]

    def put_back(worked_on: Tensor) -> None:
        worked_on[hidden] = covered

    return fill_hidden(image, ~hidden[:, :1]), put_back


def fill_hidden(image: Tensor, visible: Tensor) -> Tensor:
    """Give hidden pixels colours that go on from the visible ones around them, near ones counting most.

    Averages over ever larger blocks of visible pixels are interpolated back.

    Args:
        image: `(1, 3, H, W)`.
        visible: `(1, 1, H, W)` bool.

    Returns:
        `(1, 3, H, W)`: the visible pixels as they are; all of them where none is visible.

    Source: Gortler, Grzeszczuk, Szeliski, Cohen: The Lumigraph, SIGGRAPH 1996 (pull and push).
    """
    if bool(visible.all()) or not bool(visible.any()):
        return image
    weight = F.avg_pool2d(visible.to(image.dtype), 2, ceil_mode=True)
    colours = F.avg_pool2d(image * visible, 2, ceil_mode=True) / weight.clamp(
        min=torch.finfo(weight.dtype).eps
    )
    coarse = fill_hidden(colours, weight > 0)
    around = F.interpolate(coarse, size=image.shape[-2:], mode="bilinear", align_corners=False)
    return torch.where(visible, image, around)
