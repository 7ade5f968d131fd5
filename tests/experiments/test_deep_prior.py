"""Deep image prior: an untrained network comes nearer to the photograph than what it is fitted to."""

import torch
from torch import Tensor

from experiments.deep_prior import fitted
from rlrestore.imaging.metrics import psnr_db


def slope() -> Tensor:
    """A picture `(1, 3, 32, 32)` of smooth slopes."""
    down, across = torch.meshgrid(torch.linspace(0.1, 0.9, 32), torch.linspace(0.9, 0.2, 32), indexing="ij")
    return torch.stack((down, across, (down + across) / 2))[None]


def test_noise_is_learned_after_the_picture() -> None:
    clean = slope()
    noisy = clean + 0.1 * torch.randn(clean.shape, generator=torch.Generator().manual_seed(0))

    curve = [float(psnr_db(made, clean)) for made in fitted(noisy, 150)]

    assert max(curve) > float(psnr_db(noisy, clean)) + 2


def test_the_same_seed_fits_the_same() -> None:
    one, other, third = (list(fitted(slope(), 3, seed))[-1] for seed in (0, 0, 1))

    torch.testing.assert_close(one, other, rtol=0, atol=0)
    assert not torch.equal(one, third)
