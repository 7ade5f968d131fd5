"""Resizing by matrices against torch's own, which goes pixel by pixel."""

import pytest
import torch
import torch.nn.functional as F

from rlrestore.imaging.degradation.resizing import resize


@pytest.mark.parametrize(("height", "width"), [(12, 20), (24, 30), (8, 7), (4, 40)])
def test_it_is_bicubic_interpolation(height: int, width: int) -> None:
    images = torch.rand(2, 3, 12, 20, generator=torch.Generator().manual_seed(0))
    lower, narrower = height < 12, width < 20
    expected = F.interpolate(images, (height, 20), mode="bicubic", antialias=lower)
    expected = F.interpolate(expected, (height, width), mode="bicubic", antialias=narrower)
    torch.testing.assert_close(resize(images, height, width), expected, atol=1e-6, rtol=0)
    inside = resize(images, height, width, margin=1)
    torch.testing.assert_close(inside, expected[..., 1:-1, 1:-1], atol=1e-6, rtol=0)
