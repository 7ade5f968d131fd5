"""What models gain inside and outside of the salient regions of patches."""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from rlrestore.evaluation.scores import BATCH, restore_patches, standard_error, to_images
from rlrestore.evaluation.testsets import PatchPairs, Pixels
from rlrestore.imaging.metrics import psnr_db, salient_psnr_db, ssim
from rlrestore.imaging.psnr import SMALLEST_MSE
from rlrestore.imaging.saliency import saliency, salient_region
from rlrestore.runtime.torch_runtime import TorchRuntime

DARKEST, BRIGHT_FROM = 0.15, 0.95
"""In pictures: how light what is not salient stays, and from which quantile on a pixel keeps its light."""

Qualities = Mapping[str, Tensor]
"""By what is measured: its value on each patch, `(N,)`."""


def region_psnr_db(restored: Tensor, clean: Tensor, region: Tensor) -> Tensor:
    """Return the PSNR `(B,)` of `(B, 3, H, W)` over the pixels of a region `(B, 1, H, W)` alone."""
    errors = (restored - clean).square().mean(dim=1, keepdim=True)
    mean = (errors * region).sum(dim=(1, 2, 3)) / region.sum(dim=(1, 2, 3))
    return -10 * torch.log10(mean + SMALLEST_MSE)


def qualities(restored: Tensor, clean: Tensor) -> Qualities:
    """Return all that is measured of restored and clean patches `(B, 3, H, W)`."""
    region = salient_region(clean)
    return {
        "PSNR, dB": psnr_db(restored, clean),
        "inside, dB": region_psnr_db(restored, clean, region),
        "outside, dB": region_psnr_db(restored, clean, ~region),
        "salient PSNR, dB": salient_psnr_db(restored, clean),
        "SSIM": ssim(restored, clean),
    }


@torch.inference_mode()
def gains(model: TorchRuntime, pairs: PatchPairs) -> Qualities:
    """Return what a model gains on each patch, by what is measured."""
    parts = []
    for start in range(0, len(pairs), BATCH):
        degraded, clean = (
            to_images(side[start : start + BATCH]).to(model.place) for side in (pairs.degraded, pairs.clean)
        )
        after = qualities(restore_patches(model, degraded).images[-1], clean)
        before = qualities(degraded, clean)
        parts.append({name: (after[name] - before[name]).double().cpu() for name in after})
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


def beside_map(photo: Pixels) -> Pixels:
    """Return a photograph `(H, W, 3)`, and to its right the same, dark where it is not salient."""
    found = saliency(to_images(photo[None]))[0, 0].numpy()[..., None]
    light = DARKEST + (1 - DARKEST) * np.minimum(found / np.quantile(found, BRIGHT_FROM), 1)
    return np.concatenate((photo, np.rint(photo * light).astype(np.uint8)), axis=1)


def rows(measured: Mapping[str, Qualities]) -> list[str]:
    """Return a table in Markdown: each model's gains, and what each gains beyond the first."""
    first, names = next(iter(measured)), list(next(iter(measured.values())))
    lines = [f"| | {' | '.join(names)} |", "|---|" + "---|" * len(names)]
    for model, values in measured.items():
        cells = [f"{values[name].mean().item():+.3f}" for name in names]
        lines.append(f"| {model} | {' | '.join(cells)} |")
    for model in list(measured)[1:]:
        beyond = [measured[model][name] - measured[first][name] for name in names]
        cells = [f"{each.mean().item():+.3f} ± {standard_error(each):.3f}" for each in beyond]
        lines.append(f"| {model} − {first} | {' | '.join(cells)} |")
    return lines
