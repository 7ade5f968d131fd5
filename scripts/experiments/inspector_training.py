"""Fitting an inspector: its network, the middle of what is familiar, and its calibrations."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from experiments.inspector_data import draw_trained, spectra_of
from rlrestore.explain.inspection import spread
from rlrestore.explain.inspector import (
    LAYERS,
    MOST_DEVIATION,
    NONE,
    STRIDE,
    UNITS,
    Inspector,
    aggregate,
    fold_directions,
    from_none,
    widened,
    width,
)
from rlrestore.explain.spectrum import BLOCK
from rlrestore.imaging import PATCH
from rlrestore.imaging.patches import PhotoBank
from rlrestore.model_folder import Arrays
from rlrestore.model_folder.inspector import QUANTITIES, InspectorEntry

LEVELS = (0.05, 0.5, 0.95)
"""The quantiles that the network learns."""
COVERAGE, FALSE_ALARM, VARYING_ALARM = 0.9, 0.02, 0.01
"""Of the intervals; of pictures taken for unfamiliar; of uniform ones of which a quantity is said to vary."""
HIDDEN = 64
BATCH, LEARNING_RATE, WEIGHT_DECAY = 256, 1e-3, 1e-2
ISOTROPIC, DIRECTED = 32, 4
"""Components by which the familiar is told: of the part of spectra that knows no direction, and the rest."""
LEAST_DEVIATION = 0.1
MEASURED = 1 << 14
"""Spectra at most whose means and components are taken; bounds the memory."""
CALIBRATED_ON = {1: 4000, 3: 1000, 9: 500}
"""How many square pictures of so many windows a side are calibrated on."""

Halves = NDArray[np.float16]
Floats = NDArray[np.float32]


def fit_network(spectra: Halves, truth: Floats, steps: int, seed: int) -> Arrays:
    """Train the network on spectra `(N, ENTRIES)` and what was done to them `(N, 3)`.

    Args:
        spectra: Of patches.
        truth: Amounts, by `QUANTITIES`.
        steps: How many gradient steps.
        seed: Of its first weights and of all draws.
    """
    first = spectra[:: -(-len(spectra) // MEASURED)].astype(np.float32)
    mean, deviation = first.mean(axis=0), first.std(axis=0).clip(LEAST_DEVIATION)
    offset, scale = torch.from_numpy(mean), torch.from_numpy(deviation)
    wanted = torch.from_numpy(truth / UNITS)[..., None]
    observed = torch.from_numpy(spectra)
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        sizes = (spectra.shape[1], *(HIDDEN,) * (LAYERS - 1), 3 * len(QUANTITIES))
        layers = [nn.Linear(*pair) for pair in pairwise(sizes)]
    network = nn.Sequential(*(part for layer in layers for part in (layer, nn.ReLU())))[:-1]
    optimiser = torch.optim.AdamW(network.parameters(), LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    for step in range(steps):
        for group in optimiser.param_groups:
            group["lr"] = LEARNING_RATE * (1 - step / steps)
        rows = torch.randint(len(observed), (BATCH,), generator=generator)
        standard = ((observed[rows].float() - offset) / scale).clamp(-MOST_DEVIATION, MOST_DEVIATION)
        if torch.rand((), generator=generator) < 0.5:
            standard = standard.unflatten(1, (-1, BLOCK, BLOCK)).mT.flatten(1)
        loss = pinball(network(standard), wanted[rows])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    weights: Arrays = {"mean": mean, "deviation": deviation}
    for index, layer in enumerate(layers):
        weights[f"weight{index}"] = layer.weight.detach().numpy()
        weights[f"bias{index}"] = layer.bias.detach().numpy()
    return weights


def pinball(values: Tensor, wanted: Tensor) -> Tensor:
    """Return the loss whose minimum are the quantiles `LEVELS`.

    Args:
        values: `(B, 9)` of the network: how far below the middle, the middle, how far above, by quantity.
        wanted: `(B, 3, 1)`.
    """
    below, middle, above = values.unflatten(1, (-1, 3)).unbind(dim=2)
    ends = torch.stack((middle - F.softplus(below), middle, middle + F.softplus(above)), dim=2)
    error, levels = wanted - ends, torch.tensor(LEVELS)
    return torch.maximum(levels * error, (levels - 1) * error).mean()


def fit_familiar(spectra: Halves, weights: Arrays) -> Arrays:
    """Return the principal components of standardised spectra, scaled to 1: `isotropic` and `directed`.

    What a transposed picture shares is told from what it has with the other sign: that says whether one
    direction is blurred more than another, and would drown in the former.
    """
    standard: Floats = spectra[:: -(-len(spectra) // MEASURED)].astype(np.float32)
    standard -= weights["mean"]
    standard /= weights["deviation"]
    np.clip(standard, -MOST_DEVIATION, MOST_DEVIATION, out=standard)
    parts = zip(("isotropic", "directed"), fold_directions(standard), (ISOTROPIC, DIRECTED), strict=True)
    return {name: _components(part, count) for name, part, count in parts}


def _components(rows: Floats, count: int) -> Floats:
    variances, vectors = np.linalg.eigh(rows.T @ rows / len(rows))
    components: Floats = (vectors[:, -count:] / np.sqrt(variances[-count:])).T.astype(np.float32)
    return components


def windows_of(images: Tensor) -> Tensor:
    """Return all windows of square pictures, `(N, 3, S, S)` to `(N · windows, 3, PATCH, PATCH)`."""
    places = range(0, images.shape[-1] - PATCH + 1, STRIDE)
    cut = [images[..., top : top + PATCH, left : left + PATCH] for top in places for left in places]
    return torch.stack(cut, dim=1).flatten(0, 1)


def draw_pictures(
    bank: PhotoBank, count: int, windows: int, generator: torch.Generator
) -> tuple[Halves, Floats]:
    """Draw pictures of some windows a side; returns spectra `(N, windows², ENTRIES)` and truth `(N, 3)`."""
    side, spectra, truths = PATCH + (windows - 1) * STRIDE, [], []
    piece = max(1, 4096 // windows**2 // 8)
    for start in range(0, count, piece):
        drawn = draw_trained(bank, min(piece, count - start), side, generator)
        found = spectra_of(windows_of(drawn.images))
        spectra.append(found.reshape(-1, windows**2, found.shape[1]))
        truths.append(drawn.truth.numpy())
    return np.concatenate(spectra), np.concatenate(truths).astype(np.float32)


def calibrated(weights: Arrays, pictures: Sequence[tuple[Halves, Floats]]) -> Inspector:
    """Return an inspector whose intervals and alarms are right on some pictures.

    Args:
        weights: All of it.
        pictures: For ascending numbers of windows, spectra and truth as of `draw_pictures`.
    """
    sizes = tuple(spectra.shape[1] for spectra, _ in pictures)
    blank = tuple((0.0,) * len(QUANTITIES) for _ in sizes)
    entry = InspectorEntry(
        COVERAGE, FALSE_ALARM, sizes, blank, blank, tuple((1.0, 1.0) for _ in sizes), blank
    )
    raw = Inspector(entry, weights)
    found = [[_judged(raw, one) for one in spectra] for spectra, _ in pictures]
    shares = [
        _shares(np.stack([aggregate(quantiles) for quantiles, _ in judged]), truth)
        for judged, (_, truth) in zip(found, pictures, strict=True)
    ]
    widening, faint = (_rows(each[index] for each in shares) for index in range(2))
    limits = _rows(_limits(np.stack([distances for _, distances in judged])) for judged in found)
    varying = _rows(_varying([quantiles for quantiles, _ in judged]) for judged in found)
    return Inspector(replace(entry, widening=widening, faint=faint, limits=limits, varying=varying), weights)


def _rows(arrays: Iterable[Floats]) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(map(float, each)) for each in arrays)


def _judged(raw: Inspector, spectra: Halves) -> tuple[Floats, Floats]:
    """Return the quantiles `(windows, 3, 3)` and the distances `(2,)` of a picture."""
    standard = raw.standardised(spectra.astype(np.float32))
    return raw.quantiles(standard), raw.distances(standard)


def _shares(whole: Floats, truth: Floats) -> Floats:
    """Return by what share of its width each interval must grow, and what is too faint to be told from none.

    The first such that as many as should be are held of the amounts that are some, the second of those that
    are none.

    Args:
        whole: `(N, 3, 3)` of pictures.
        truth: `(N, 3)`.

    Returns:
        `(2, 3)`.
    """
    none = truth == NONE
    missed = np.maximum(whole[..., 0] - truth, truth - whole[..., 2]) / width(whole)
    shares = _columns(missed, ~none)
    return np.stack((shares, _columns(from_none(widened(whole, shares)), none)))


def _columns(values: Floats, chosen: NDArray[np.bool_]) -> Floats:
    """Return what `COVERAGE` of the chosen values of each column do not exceed: `(N, 3)` to `(3,)`."""
    columns = zip(values.T, chosen.T, strict=True)
    return np.array([np.quantile(column[rows], COVERAGE) for column, rows in columns], np.float32)


def _limits(distances: Floats) -> Floats:
    """Return the distances that few exceed, `(N, 2)` to `(2,)`: such that as many do by either as should."""
    tails = np.linspace(FALSE_ALARM / 2, FALSE_ALARM, 101)
    candidates = np.quantile(distances, 1 - tails, axis=0)  # (101, 2)
    alarms = (distances[:, None] > candidates).any(axis=2).mean(axis=0)
    limits: Floats = candidates[np.abs(alarms - FALSE_ALARM).argmin()]
    return limits


def _varying(pictures: Sequence[Floats]) -> Floats:
    """Return how far neighbourhoods differ in few uniform pictures, each of `(windows, 3, 3)` quantiles."""
    side = round(len(pictures[0]) ** 0.5)
    shape = side, side, len(QUANTITIES)
    spreads = [spread(one[..., 1].reshape(shape), width(one).reshape(shape)) for one in pictures]
    limits: Floats = np.quantile(np.stack(spreads), 1 - VARYING_ALARM, axis=0)
    return limits
