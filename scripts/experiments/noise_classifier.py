"""Whether features of patches tell a camera's noise from texture, film grain and white noise.

A small network is trained on the features of patches of the training photographs and asked about patches of
those held out. All kinds are the same textured scenes, with noise of the same strength, or none, and the same
JPEG: only what the noise is like, and that it is there, can tell them apart.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from experiments.presentation import markdown_table
from experiments.rivals import real_pairs
from rlrestore.agent.policy import AnyPolicy, Policy
from rlrestore.agent.spectrum import Spectrum
from rlrestore.errors import UsageError
from rlrestore.evaluation.file_pairs import read_pair
from rlrestore.evaluation.scores import to_images
from rlrestore.imaging import PATCH
from rlrestore.imaging.degradation.camera import CameraRecipe
from rlrestore.imaging.degradation.compression import CompressionRecipe, compress
from rlrestore.imaging.degradation.film import FILM, add_grain
from rlrestore.imaging.degradation.jpeg import MCU, RGB_TO_YCBCR
from rlrestore.imaging.pairs import camera_pairs, take_patches
from rlrestore.imaging.patches import PhotoBank

KINDS = TEXTURE, CAMERA, FILM_GRAIN, WHITE = "texture", "camera", "film", "white noise"
SCENE = 80
"""Side in pixels of what is compressed: a patch begins at any phase of the coder's grid in it."""
LEAST_TEXTURE_255 = 1.5
"""Standard deviation of the luma about its mean over 4×4 pixels, from which a scene has texture."""
STRENGTHS_255 = (1.5, 3.0, 6.0, 25.0)
"""Ends of the ranges of strength that are reported; weaker and stronger noise is left out."""
BRIGHTNESSES = 8
SMALLEST = 1e-4
"""Added before a logarithm."""
HIDDEN, EPOCHS, BATCH, LEARNING_RATE, WEIGHT_DECAY, DROPOUT = 128, 30, 128, 1e-3, 0.3, 0.5
SCALE_SHARES = {1.0: 0.8, 1.5: 0.2}
"""By how much the cameras' photographs are scaled down: more takes long, and makes noise white."""

Features = Callable[[Tensor], Tensor]
"""From patches `(N, 3, 63, 63)` to `(N, F)`."""


@dataclass(frozen=True)
class Patches:
    """Patches of every kind, of N scenes.

    Attributes:
        images: `(4 N, 3, 63, 63)`, kind after kind in the order of `KINDS`.
        strength_255: `(N,)` root mean square of the noise, the same for all kinds that have noise.
    """

    images: Tensor
    strength_255: Tensor

    @property
    def kinds(self) -> Tensor:
        """Return `(4 N,)` int64 number of the kind."""
        return torch.arange(len(KINDS)).repeat_interleave(len(self.strength_255))


def draw_patches(bank: PhotoBank, scenes: int, generator: torch.Generator) -> Patches:
    """Draw scenes that have texture, and put noise on each in every way.

    Args:
        bank: The photographs.
        scenes: How many are drawn; those without texture or with too strong or weak a noise are left out.
        generator: Source of all draws.
    """
    recipe = CameraRecipe(soft_share=0.0, clean_share=0.0, compression=CompressionRecipe(share=0.0))
    pairs = camera_pairs(bank, recipe, scenes, SCENE, generator, SCALE_SHARES)
    noise = pairs.degraded - pairs.target
    strength_255 = 255 * noise.square().mean(dim=(1, 2, 3)).sqrt()
    wanted = (strength_255 >= STRENGTHS_255[0]) & (strength_255 <= STRENGTHS_255[-1])
    wanted &= texture_255(pairs.target) >= LEAST_TEXTURE_255
    target, taken, strength_255 = pairs.target[wanted], pairs.degraded[wanted], strength_255[wanted]
    sigma = strength_255[:, None, None, None] / 255
    film = replace(FILM.sample(len(target), generator), grain_sigma_255=strength_255)
    grain = add_grain(target, film, generator) - target
    grain *= sigma / grain.square().mean(dim=(1, 2, 3), keepdim=True).sqrt().clamp(min=SMALLEST)
    white = sigma * torch.randn(target.shape, generator=generator)
    compression = CompressionRecipe().sample(len(target), generator)
    top, left = torch.randint(MCU, (2, len(target)), generator=generator)
    images = [target, taken, (target + grain).clamp(0, 1), (target + white).clamp(0, 1)]
    coded = [take_patches(compress(each, compression), top, left, PATCH) for each in images]
    return Patches(torch.cat(coded), strength_255)


def texture_255(images: Tensor) -> Tensor:
    """Return `(N,)` how much the luma varies about its mean over 4×4 pixels, in grey levels."""
    luma = _planes(images)[:, :1]
    means = F.interpolate(F.avg_pool2d(luma, 4), scale_factor=4)
    height, width = means.shape[-2:]
    return 255 * (luma[..., :height, :width] - means).square().mean(dim=(1, 2, 3)).sqrt()


def _planes(images: Tensor) -> Tensor:
    """Return luma and both chromas."""
    return (torch.tensor(RGB_TO_YCBCR) @ images.flatten(2)).view_as(images)


def _diagonals(planes: Tensor) -> Tensor:
    """Return the diagonal differences of cells of 2×2 pixels: `(N, C, H, W)` to `(N, C, H // 2, W // 2)`."""
    height, width = (side // 2 * 2 for side in planes.shape[-2:])
    a, b = planes[..., 0:height:2, 0:width:2], planes[..., 0:height:2, 1:width:2]
    c, d = planes[..., 1:height:2, 0:width:2], planes[..., 1:height:2, 1:width:2]
    return (a - b - c + d) / 2


def brightness_features(images: Tensor) -> Tensor:
    """Return noise against brightness: the size of diagonal differences of each colour, by the luma there.

    At full and at half size, in `BRIGHTNESSES` ranges of luma; and the share of the cells in each range.
    """
    planes, parts = _planes(images.clamp(0, 1)), []
    for _ in range(2):
        sizes = _diagonals(planes).abs().flatten(2)  # (N, 3, cells)
        levels = F.avg_pool2d(planes[:, :1], 2).flatten(2).clamp(0, 1)  # (N, 1, cells)
        which = (levels * BRIGHTNESSES).long().clamp(max=BRIGHTNESSES - 1)
        inside = F.one_hot(which[:, 0], BRIGHTNESSES).float()  # (N, cells, ranges)
        share = inside.mean(dim=1)
        overall = sizes.mean(dim=2, keepdim=True)
        # A range without cells says what the whole patch says.
        mean = (sizes @ inside + overall) / (inside.sum(dim=1)[:, None] + 1)
        parts += [(mean + SMALLEST).log().flatten(1), share]
        planes = F.avg_pool2d(planes, 2)
    return torch.cat(parts, dim=1)


def colour_features(images: Tensor) -> Tensor:
    """Return how much fine differences agree between colours and with their neighbours, at three sizes."""
    planes, parts = images.clamp(0, 1), []
    for _ in range(3):
        fine = _diagonals(planes)
        flat = fine.flatten(2)
        flat = flat / flat.square().mean(dim=2, keepdim=True).sqrt().clamp(min=SMALLEST)
        agreement = flat @ flat.transpose(1, 2) / flat.shape[2]
        parts.append(torch.stack([agreement[:, 0, 1], agreement[:, 0, 2], agreement[:, 1, 2]], dim=1))
        power = fine.square().mean(dim=(2, 3)).clamp(min=SMALLEST**2)
        parts.append((fine[..., 1:] * fine[..., :-1]).mean(dim=(2, 3)) / power)
        planes = F.avg_pool2d(planes, 2)
    return torch.cat(parts, dim=1)


def spectrum_features(images: Tensor) -> Tensor:
    """Return all that the agent observes, in one row."""
    spectra: Tensor = Spectrum()(images)
    return spectra.flatten(1)


def trunk_features(policy: AnyPolicy) -> Features:
    """Return what an agent makes of the spectrum before it knows of its chain.

    Raises:
        UsageError: The agent does not observe the spectrum.
    """
    if not isinstance(policy, Policy):
        raise UsageError("expected an agent that observes the spectrum, got one that observes the patch")
    trunk, observe = policy.trunk, policy.observe
    return lambda images: trunk(observe(images))


@torch.no_grad()
def _in_batches(features: Features, images: Tensor) -> Tensor:
    return torch.cat([features(part) for part in images.split(256)])


class Classifier:
    """A network of one hidden layer on standardised features."""

    def __init__(self, features: Tensor, kinds: Tensor, seed: int) -> None:
        """Train it on features `(N, F)` and the numbers of their kinds."""
        self._mean, self._deviation = features.mean(dim=0), features.std(dim=0).clamp(min=1e-3)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            layers = nn.Linear(features.shape[1], HIDDEN), nn.Linear(HIDDEN, len(KINDS))
            self._network = nn.Sequential(layers[0], nn.ReLU(), nn.Dropout(DROPOUT), layers[1])
            self._train(self._standardised(features), kinds)
        self._network.eval()

    def _train(self, rows: Tensor, kinds: Tensor) -> None:
        optimiser = torch.optim.AdamW(self._network.parameters(), LEARNING_RATE, weight_decay=WEIGHT_DECAY)
        steps = EPOCHS * -(-len(rows) // BATCH)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
        for _ in range(EPOCHS):
            for part in torch.randperm(len(rows)).split(BATCH):
                optimiser.zero_grad()
                F.cross_entropy(self._network(rows[part]), kinds[part]).backward()
                optimiser.step()
                schedule.step()

    def _standardised(self, features: Tensor) -> Tensor:
        return ((features - self._mean) / self._deviation).clamp(-8, 8)

    @torch.no_grad()
    def __call__(self, features: Tensor) -> Tensor:
        """Return the number of the kind that each row of features looks like."""
        kinds: Tensor = self._network(self._standardised(features)).argmax(dim=1)
        return kinds


@dataclass(frozen=True)
class Classification:
    """How well a set of features tells the kinds apart, on held-out scenes.

    Attributes:
        name: Of the features.
        count: How many there are.
        confusion: `(4, 4)` shares: a row for each kind, a column for what it was taken for.
        found: Share of a camera's noisy patches that are not taken for texture, by `STRENGTHS_255`.
        real: The same of real cameras' patches, and the share of their references that are taken for
            texture; None without any.
    """

    name: str
    count: int
    confusion: Tensor
    found: tuple[float, ...]
    real: tuple[float, float] | None

    @property
    def accuracy(self) -> float:
        """Return the share that is classified right, all kinds counting alike."""
        return self.confusion.diagonal().mean().item()


def classify(
    name: str,
    features: Features,
    train: Patches,
    test: Patches,
    real: tuple[Tensor, Tensor] | None,
    seed: int,
) -> Classification:
    """Train a classifier on some features and ask it.

    Args:
        name: What to call the features.
        features: The features.
        train: Of the photographs that are trained on.
        test: Of those held out.
        real: Noisy patches of real cameras and their references; None for none.
        seed: Of the training.
    """
    rows = _in_batches(features, train.images)
    classifier = Classifier(rows, train.kinds, seed)
    predicted = classifier(_in_batches(features, test.images)).view(len(KINDS), -1)  # (kinds, scenes)
    confusion = torch.stack([(predicted == kind).float().mean(dim=1) for kind in range(len(KINDS))], dim=1)
    noisy, found = predicted[KINDS.index(CAMERA)] != KINDS.index(TEXTURE), []
    for low, high in pairwise(STRENGTHS_255):
        found.append(noisy[(test.strength_255 >= low) & (test.strength_255 < high)].float().mean().item())
    shares = None
    if real is not None:
        taken, reference = (
            (classifier(_in_batches(features, images)) == KINDS.index(TEXTURE)).float().mean().item()
            for images in real
        )
        shares = 1 - taken, reference
    return Classification(name, rows.shape[1], confusion, tuple(found), shares)


def real_patches(folder: Path, each: int = 4) -> tuple[Tensor, Tensor]:
    """Return the patches of real pairs with the most texture, noisy and reference, `(N, 3, 63, 63)` each.

    Args:
        folder: Of pairs, as `experiments.rivals.real_pairs` has them.
        each: Patches of each pair.
    """
    noisy, clean = [], []
    for pair in real_pairs(folder):
        sides = [to_images(pixels[None]) for pixels in read_pair(pair)]
        tiles = [F.unfold(side, PATCH, stride=PATCH)[0].T.reshape(-1, 3, PATCH, PATCH) for side in sides]
        chosen = texture_255(tiles[1]).argsort(descending=True)[:each]
        noisy.append(tiles[0][chosen])
        clean.append(tiles[1][chosen])
    return torch.cat(noisy), torch.cat(clean)


def classification_table(classifications: Sequence[Classification]) -> str:
    """Return the accuracies in Markdown."""
    ranges = [f"found, {low:g} to {high:g}" for low, high in pairwise(STRENGTHS_255)]
    rows = [["features", "number", "right", *KINDS, *ranges, "real noise found", "its reference kept"]]
    for each in classifications:
        cells = [each.accuracy, *each.confusion.diagonal().tolist(), *each.found, *(each.real or ())]
        missing = [] if each.real else ["–", "–"]
        rows.append([each.name, f"{each.count}", *(f"{cell:.1%}" for cell in cells), *missing])
    return markdown_table(rows)


def confusion_table(classification: Classification) -> str:
    """Return what each kind was taken for, in Markdown."""
    rows = [[f"{classification.name}: is ↓, taken for →", *KINDS]]
    for kind, shares in zip(KINDS, classification.confusion.tolist(), strict=True):
        rows.append([kind, *(f"{share:.1%}" for share in shares)])
    return markdown_table(rows)
