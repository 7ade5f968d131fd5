"""Measuring trained variants of a tool on photographs that no training saw, and their tables."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from experiments.comparison import Estimate
from experiments.presentation import markdown_table
from experiments.tool_variants import ConditionedHourglass, per_pixel
from experiments.variant_training import (
    NOISE,
    ConditionedBatch,
    Variant,
    noisy_patches,
    ramps,
    restore,
)
from rlrestore.errors import DataError
from rlrestore.evaluation.costs import count_multiply_adds, parameter_count
from rlrestore.explain.inspection import Inspection
from rlrestore.explain.inspector import Inspector
from rlrestore.explain.maps import centres, spread_out
from rlrestore.imaging import PATCH
from rlrestore.imaging.degradation.camera import CameraRecipe
from rlrestore.imaging.degradation.compression import CompressionRecipe, compress
from rlrestore.imaging.degradation.mixtures import MODERATE
from rlrestore.imaging.io.atomic import write_atomically
from rlrestore.imaging.io.samples import Floats
from rlrestore.imaging.metrics import psnr_db
from rlrestore.imaging.pairs import camera_pairs, coded_side, degraded_pairs, take_patches
from rlrestore.imaging.patches import PhotoBank
from rlrestore.model_folder.inspector import QUANTITIES

NOISY_SIDE = 191
"""Of the patches with noise, in pixels: `inspect` looks at 25 windows of such a patch."""
FAINT_255, STRONG_255 = (0.0, 5.0), (25.0, 50.0)
"""The ends between which noise varies over a patch, in units of 1/255."""
CAMERA = CameraRecipe(soft_share=0.0, clean_share=0.0, compression=CompressionRecipe(share=0.0))
"""Noise of cameras, without their lenses and files."""
TWICE = CompressionRecipe(
    share=1.0, lowest_quality=20.0, highest_quality=60.0, full_chroma_share=0.0, twice_share=1.0
)
"""Two JPEGs whose grids lie at any phase to one another, and nothing else."""
BATCH = 8
COUNTED_SIDES = 64, 128
TRUE, INSPECTED = "true map", "map of `inspect`"
BLIND_USE, CONDITIONED_USE = "one network, no map", "`denoise-any`"
PICTURE_USE, PIXEL_USE = "siblings, one for the picture", "siblings, one for each pixel"
NOISE_REFERENCE = f"{PICTURE_USE}, {INSPECTED}"
NOISE_ORDER = tuple(
    f"{use}, {source}" for use in (PICTURE_USE, PIXEL_USE, CONDITIONED_USE) for source in (INSPECTED, TRUE)
)
NETWORK_REFERENCE = "hourglass"

GainsDb = Mapping[str, Mapping[str, list[float]]]


@dataclass(frozen=True)
class Result:
    """What came of a row of the comparison.

    Attributes:
        row: Its name.
        setup: What all rows of a comparison share.
        steps: Gradient steps, of each of its networks.
        multiply_adds_per_px: Of one of its networks.
        parameters: Likewise.
        gains_db: By use, then by test set: PSNR gained over the input, of every patch.
    """

    row: str
    setup: Mapping[str, Any]
    steps: list[int]
    multiply_adds_per_px: float
    parameters: int
    gains_db: GainsDb

    def save(self, folder: Path) -> None:
        """Write it as the file of its row."""
        write_atomically(result_file(folder, self.row), json.dumps(asdict(self)).encode())


def result_file(folder: Path, row: str) -> Path:
    """Return where the result of a row lies."""
    return folder / f"{row}.json"


def read_result(folder: Path, row: str, setup: Mapping[str, Any]) -> Result | None:
    """Return the result of a row, None if there is none yet.

    Raises:
        DataError: It cannot be read, or is of another comparison.
    """
    path = result_file(folder, row)
    if not path.exists():
        return None
    try:
        result = Result(**json.loads(path.read_text("utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise DataError(
            f"{path}: expected the result of a row, got something else ({error}); delete it"
        ) from error
    if result.setup != setup:
        raise DataError(f"{path} is of {result.setup}, expected {dict(setup)}; choose another --out")
    return result


def noise_sets(bank: PhotoBank, count: int, seed: int) -> dict[str, ConditionedBatch]:
    """Return patches of NOISY_SIDE pixels with noise that is constant, and that varies in two ways.

    Args:
        bank: The photographs.
        count: Patches of each kind.
        seed: Which.
    """
    sets = {}
    for name in ("constant", "gradient", "step"):
        generator = torch.Generator().manual_seed(seed)
        drawn = torch.rand(3, count, generator=generator)
        faint, strong, whole = (
            low + (high - low) * each
            for (low, high), each in zip(
                (FAINT_255, STRONG_255, (NOISE[0].low, NOISE[-1].high)), drawn, strict=True
            )
        )
        share = ramps(count, NOISY_SIDE, generator)
        share = (share >= 0.5).float() if name == "step" else share
        ends = (whole, whole) if name == "constant" else (faint, strong)
        sets[name] = noisy_patches(bank, *ends, share, generator)
    return sets


def mixture_sets(bank: PhotoBank, count: int, seed: int) -> dict[str, tuple[Tensor, Tensor]]:
    """Return degraded patches of PATCH pixels and their references: as in training, and two other kinds.

    Args:
        bank: The photographs.
        count: Patches of each kind.
        seed: Which.
    """
    moderate, camera, twice = (torch.Generator().manual_seed(seed) for _ in range(3))
    taken = camera_pairs(bank, CAMERA, count, PATCH, camera, scale_shares={1.0: 1.0})
    clean = bank.crops(count, coded_side(PATCH), twice)
    coded = compress(clean, TWICE.sample(count, twice))
    top, left = torch.randint(clean.shape[-1] - PATCH + 1, (2, count), generator=twice)
    return {
        "moderate": degraded_pairs(bank, MODERATE.sample(count, moderate), PATCH, moderate),
        "camera noise": (taken.degraded, taken.target),
        "double JPEG": (take_patches(coded, top, left, PATCH), take_patches(clean, top, left, PATCH)),
    }


def inspected_maps(inspector: Inspector, images: Tensor) -> Tensor:
    """Return `(B, 1, H, W)` maps of the noise in `(B, 3, H, W)` in units of 1/255, as `inspect` sees it.

    Where it finds that the noise does not vary, the map is its estimate for the whole picture.
    """
    height, width = images.shape[-2:]
    maps = [noise_map(inspector.inspect_planes(each[None].numpy()), height, width) for each in images]
    return torch.from_numpy(np.stack(maps))[:, None]


def noise_map(inspection: Inspection, height: int, width: int) -> Floats:
    """Return the map `(height, width)` of an inspection: linear between the middles of its windows."""
    windows, index = inspection.windows, QUANTITIES.index("noise_sigma_255")
    if windows is None or not windows.varies[index]:
        return np.full((height, width), inspection.noise_sigma_255.estimate, np.float32)
    return spread_out(windows.smooth(), height, width, *centres(windows.grid, 1.0))[..., index]


@torch.inference_mode()
def gains_db(restored: Tensor, degraded: Tensor, target: Tensor) -> list[float]:
    """Return what `(B, 3, H, W)` gained over the input, `(B,)` in dB; the result is clipped to [0, 1]."""
    gained: list[float] = (psnr_db(restored.clamp(0, 1), target) - psnr_db(degraded, target)).tolist()
    return gained


@torch.inference_mode()
def restored_patches(network: nn.Module, images: Tensor, strength_255: Tensor | None = None) -> Tensor:
    """Restore `(B, 3, H, W)` a few at a time; see `variant_training.restore`."""
    maps = [None] * len(images) if strength_255 is None else strength_255.split(BATCH)
    parts = zip(images.split(BATCH), maps, strict=False)
    return torch.cat([restore(network, part, part_map) for part, part_map in parts])


def sibling_of(strength_255: Tensor) -> Tensor:
    """Return which of the four tools for noise is for these strengths: int64 of the same shape."""
    ends = torch.tensor([spec.high for spec in NOISE[:-1]])
    return torch.bucketize(strength_255.contiguous(), ends)


def measure_noise(
    networks: Sequence[nn.Module], sets: Mapping[str, ConditionedBatch], maps: Mapping[str, Tensor]
) -> GainsDb:
    """Measure tools for noise.

    Args:
        networks: The four siblings, or one network.
        sets: What `noise_sets` returns.
        maps: Of each set, as `inspect` sees it.
    """
    measured: dict[str, dict[str, list[float]]] = {}
    for name, batch in sets.items():
        for use, restored in _noise_uses(networks, batch, maps[name]).items():
            measured.setdefault(use, {})[name] = gains_db(restored, batch.degraded, batch.target)
    return measured


def _noise_uses(
    networks: Sequence[nn.Module], batch: ConditionedBatch, inspected_255: Tensor
) -> dict[str, Tensor]:
    sources = {INSPECTED: inspected_255, TRUE: batch.strength_255}
    if len(networks) == 1:
        (network,) = networks
        if not isinstance(network, ConditionedHourglass):
            return {BLIND_USE: restored_patches(network, batch.degraded)}
        return {
            f"{CONDITIONED_USE}, {source}": restored_patches(network, batch.degraded, strength_255)
            for source, strength_255 in sources.items()
        }
    candidates = [restored_patches(network, batch.degraded) for network in networks]
    uses = {}
    for source, strength_255 in sources.items():
        mean_255 = strength_255.mean(dim=(2, 3), keepdim=True).expand_as(strength_255)
        uses[f"{PICTURE_USE}, {source}"] = per_pixel(candidates, sibling_of(mean_255))
        uses[f"{PIXEL_USE}, {source}"] = per_pixel(candidates, sibling_of(strength_255))
    return uses


def measure_mixtures(
    network: nn.Module, row: str, sets: Mapping[str, tuple[Tensor, Tensor]]
) -> dict[str, dict[str, list[float]]]:
    """Measure a tool for mixtures on what `mixture_sets` returns."""
    found = {
        name: gains_db(restored_patches(network, degraded), degraded, target)
        for name, (degraded, target) in sets.items()
    }
    return {row: found}


def network_cost(variant: Variant) -> tuple[float, int]:
    """Return the multiply-adds of a variant's network for a pixel of a large image, and its parameters."""
    network = variant.build().eval()
    roots = []
    for side in COUNTED_SIDES:
        image, strength_255 = torch.zeros(1, 3, side, side), torch.zeros(1, 1, side, side)
        run = lambda: restore(network, image, strength_255)  # noqa: E731, B023  # called before the next
        roots.append(count_multiply_adds(run) ** 0.5)
    growth: float = (roots[1] - roots[0]) / (COUNTED_SIDES[1] - COUNTED_SIDES[0])
    return growth**2, parameter_count(network)


def table(results: Sequence[Result], reference: str) -> str:
    """Return the gains of every use, ± the standard error, and in brackets the paired difference to one use.

    Args:
        results: Of rows that were measured on the same patches.
        reference: The use that the others are compared with; without it in the results, nothing is.
    """
    uses = {use: (result, gains) for result in results for use, gains in result.gains_db.items()}
    order = [use for use in NOISE_ORDER if use in uses] + [use for use in uses if use not in NOISE_ORDER]
    compared = uses[reference][1] if reference in uses else {}
    sets = list(next(iter(uses.values()))[1])
    rows = [
        ("tool", "thousand multiply-adds a pixel", "parameters", "steps", *(f"{name}, dB" for name in sets))
    ]
    for use in order:
        result, gains = uses[use]
        count = len(result.steps)
        cost = result.multiply_adds_per_px * (count if use.startswith(PIXEL_USE) else 1) / 1000
        cells = [_cell(gains[name], None if use == reference else compared.get(name)) for name in sets]
        steps = f"{count} × {result.steps[0]}" if count > 1 else str(result.steps[0])
        parameters = f"{count * result.parameters / 1000:.0f} k"
        rows.append((use, f"{cost:.1f}", parameters, steps, *cells))
    return markdown_table(rows)


def _cell(gains: list[float], compared: list[float] | None) -> str:
    own = torch.tensor(gains, dtype=torch.float64)
    mean = str(Estimate.of(own))
    if compared is None:
        return mean
    difference = Estimate.of(own - torch.tensor(compared, dtype=torch.float64))
    return f"{mean} ({difference})"
