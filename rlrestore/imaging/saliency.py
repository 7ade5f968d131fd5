"""Where people look: a map of saliency by the spectral residual, and errors weighted by it.

Source: Hou, Zhang: Saliency detection: a spectral residual approach, CVPR 2007.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from rlrestore.imaging.degradation.blur import gaussian_blur
from rlrestore.imaging.degradation.resizing import resize
from rlrestore.imaging.io.samples import LUMA_WEIGHTS

LARGEST_SIDE = 64
"""To which a larger image is scaled down: what stands out is looked for at this scale (section 3.1)."""
SMOOTHING_PX = 2.5
"""Of the map, in pixels of the image scaled down, as in the authors' program."""
FLAT = 1e-2
"""Amplitude below which a frequency says nothing: that of rounding to 8 bits is several times as large."""
SALIENT_SHARE = 0.25
"""Of the pixels that are the salient region of an image."""


@torch.no_grad()
def saliency(images: Tensor) -> Tensor:
    """Return how much each pixel stands out from the rest of its image.

    The residual is what the logarithm of the amplitude spectrum has beyond its mean over 3×3 frequencies; it
    is transformed back with the phases as they are, squared and smoothed.

    Args:
        images: `(B, 3, H, W)` RGB in [0, 1].

    Returns:
        `(B, 1, H, W)`, 0 or more, of mean 1; 1 throughout where an image is flat.
    """
    height, width = images.shape[-2:]
    luma = torch.einsum("bchw,c->bhw", images.float(), images.new_tensor(LUMA_WEIGHTS).float())[:, None]
    scale = min(1.0, LARGEST_SIDE / max(height, width))
    small = resize(luma, max(1, round(scale * height)), max(1, round(scale * width))) if scale < 1 else luma
    spectrum = torch.fft.fft2(small)
    amplitude = spectrum.abs() + FLAT
    neighbours = F.pad(amplitude.log(), (1, 1, 1, 1), mode="circular")  # a spectrum is periodic
    smooth = F.avg_pool2d(neighbours, 3, stride=1)
    found = torch.fft.ifft2(spectrum / amplitude * (amplitude.log() - smooth).exp()).abs().square()
    smoothed = gaussian_blur(found, found.new_full((len(found),), SMOOTHING_PX))
    enlarged = F.interpolate(smoothed, (height, width), mode="bilinear", align_corners=False)
    mean = enlarged.mean(dim=(1, 2, 3), keepdim=True)
    return torch.where(mean > 0, enlarged / mean, 1.0)  # of black, nothing is left


def salient_mse(restored: Tensor, clean: Tensor) -> Tensor:
    """Return the mean squared error `(B,)` of `(B, 3, H, W)`, each pixel weighted by the clean saliency."""
    return (saliency(clean) * (restored - clean).square()).mean(dim=(1, 2, 3))


def salient_region(images: Tensor) -> Tensor:
    """Return the quarter of the pixels that is most salient, `(B, 1, H, W)` bool."""
    found = saliency(images).flatten(1)
    places = found.topk(max(1, round(SALIENT_SHARE * found.shape[1])), dim=1).indices
    region = torch.zeros_like(found, dtype=torch.bool).scatter(1, places, True)
    return region.view(len(images), 1, *images.shape[-2:])
