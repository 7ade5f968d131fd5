"""What a tool is trained on: its own distortion, alone and among the others."""

import torch
from torch import Tensor

from rlrestore.imaging.degradation.mixtures import MODERATE, light_amounts, mixture_of
from rlrestore.imaging.degradation.protocol import Degradations, where
from rlrestore.toolbox.specs import ToolSpec

MIXED_SHARES = {"blur": 0.5, "noise": 0.5, "jpeg": 0.1}
"""By a tool's distortion: share of its training samples that are degraded by the other two as well."""


def in_range(spec: ToolSpec, amounts: Degradations) -> Tensor:
    """Return `(B,)` bool: whether a tool's own distortion is among these amounts, in its range."""
    own = {
        "blur": amounts.blur_sigma_px,
        "noise": amounts.noise_sigma_255,
        "jpeg": amounts.jpeg_quality,
    }[spec.distortion]
    return (own > 0) & (own >= spec.low) & (own <= spec.high)


def own_distortion(specs: list[ToolSpec], generator: torch.Generator) -> Degradations:
    """Draw, for each of B tools, its own distortion alone, uniformly in its range, or its own mixture."""
    device = generator.device
    low = torch.tensor([spec.low for spec in specs], device=device)
    high = torch.tensor([spec.high for spec in specs], device=device)
    amount = low + (high - low) * torch.rand(len(specs), generator=generator, device=device)
    drawn = Degradations(*(torch.where(mask, amount, 0.0) for mask in _own_masks(specs, device)))
    for spec in dict.fromkeys(spec for spec in specs if spec.distortion == "mixture"):
        mixture = mixture_of(spec).sample(len(specs), generator)
        chosen = torch.tensor([other == spec for other in specs], device=device)
        drawn = where(chosen, mixture, drawn)
    return drawn


def training_distortion(
    specs: list[ToolSpec], generator: torch.Generator, mixed_share: float | None = None
) -> Degradations:
    """Draw what each of B tools trains on.

    Always its own distortion, uniformly in its range; a tool for a mixture draws nothing else. For
    `mixed_share` of the samples (`MIXED_SHARES`, if not given) the other two come at the strengths of the
    paper's moderate mixture, which is what a tool meets early in a chain; for the rest lightly, as late in a
    chain: no blur, and for every second one noise up to 5, JPEG from quality 60.
    Without the samples that no JPEG has touched, a tool fails on noise whose colours are still full.

    With its own amount exchanged, a moderate triple may add up to a mild or a severe one: tools trained so
    include some of the two mixtures that the paper never trains on.

    Source: paper, section 3.1 (slight noise and JPEG are added to every tool's training data); the share of
    moderate mixtures is ours.
    """
    device, count = generator.device, len(specs)
    own, mixed = own_distortion(specs, generator), MODERATE.sample(count, generator)
    draws = torch.rand(5, count, generator=generator, device=device)
    shares = [
        MIXED_SHARES.get(spec.distortion, 0.0) if mixed_share is None else mixed_share for spec in specs
    ]
    heavy = draws[0] < torch.tensor(shares, device=device)
    light_noise, light_quality = light_amounts(draws[1:])
    noise = torch.where(heavy, mixed.noise_sigma_255, light_noise)
    quality = torch.where(heavy, mixed.jpeg_quality, light_quality)
    blur = torch.where(heavy, mixed.blur_sigma_px, 0.0)
    is_blur, is_noise, is_jpeg = _own_masks(specs, device)
    among_others = Degradations(
        blur_sigma_px=torch.where(is_blur, own.blur_sigma_px, blur),
        noise_sigma_255=torch.where(is_noise, own.noise_sigma_255, noise),
        jpeg_quality=torch.where(is_jpeg, own.jpeg_quality, quality),
    )
    return where(is_blur | is_noise | is_jpeg, among_others, own)


def _own_masks(specs: list[ToolSpec], device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    blur, noise, jpeg = (
        torch.tensor([spec.distortion == kind for spec in specs], device=device)
        for kind in ("blur", "noise", "jpeg")
    )
    return blur, noise, jpeg
