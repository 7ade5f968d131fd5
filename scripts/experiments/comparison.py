"""Quality and cost of all methods on the same images, in one run, on one machine.

Nothing here trains or selects anything. A set is named by the source of its images, a key of `PLACES` or
`CLEAN`, and by their degradation.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from experiments.comparison_sets import PhotoPairs, clean_patches, degraded_photos, timed_photos
from experiments.methods import Method, MethodSet, Profile
from rlrestore.evaluation.costs import elapsed_ms
from rlrestore.evaluation.scores import (
    BATCH,
    Scores,
    join_scores,
    measure_chain,
    measure_rollouts,
    standard_error,
    to_images,
)
from rlrestore.evaluation.testsets import Grid, PatchPairs, generate
from rlrestore.imaging.degradation.mixtures import MIXTURES

GRIDS: tuple[Grid, ...] = ("any", "aligned")
PHOTOS = "photographs"
PLACES = {
    "any": "Patches, JPEG grid at any phase",
    "aligned": "Patches that start on a block of the JPEG grid",
    PHOTOS: "Whole photographs",
}
CLEAN = "clean"
CLEAN_PHOTOS = "photographs"
CLEAN_OF_DATA, CLEAN_OF_PHOTOS = "patches of --data", "patches of --photos"
"""Names of the sets of `CLEAN`: whole photographs of both folders, patches of each."""

SetName = tuple[str, str]


@dataclass(frozen=True)
class Settings:
    """The settings of a comparison.

    Attributes:
        patches: Of each mixture and grid, and of each clean set.
        batch: Patches restored at once; changes no number.
        rounds: Repetitions of each time measurement; the shortest counts.
        seed: Of all random draws.
    """

    patches: int = 1000
    batch: int = BATCH
    rounds: int = 4
    seed: int = 0


@dataclass(frozen=True)
class Times:
    """The times of a method in float32, means over the three mixtures.

    Attributes:
        patch_ms: Milliseconds for each patch of a batch of 64, the agent included.
        megapixel_ms: Milliseconds for a photograph of 1000×1000 pixels in memory.
    """

    patch_ms: float
    megapixel_ms: float


@dataclass(frozen=True)
class Estimate:
    """A mean and its standard error."""

    mean: float
    error: float

    @classmethod
    def of(cls, values: Tensor) -> "Estimate":
        """Average `(N,)` values."""
        return cls(values.mean().item(), standard_error(values))

    def __str__(self) -> str:
        return f"{self.mean:+.2f} ± {self.error:.2f}"


@dataclass(frozen=True)
class Comparison:
    """The results of a comparison.

    Attributes:
        profiles: Of all methods by name, in the order of the tables.
        left_out: A sentence for each that is left out.
        singles: For a model the single network that it is compared with.
        scores: By set, then by method.
        times: By method.
    """

    profiles: dict[str, Profile]
    left_out: tuple[str, ...]
    singles: dict[str, str]
    scores: dict[SetName, dict[str, Scores]]
    times: dict[str, Times]

    def gain(self, of: SetName, name: str) -> Estimate:
        """Return the PSNR gained over the input, in dB."""
        scores = self.scores[of][name]
        return Estimate.of(scores.psnr_db[:, -1] - scores.psnr_db[:, 0])

    def difference(self, of: SetName, name: str, other: str) -> Estimate:
        """Return the mean difference of two methods' results, paired over the images, in dB."""
        own, others = (self.scores[of][each].psnr_db[:, -1] for each in (name, other))
        return Estimate.of(own - others)

    def lowest_psnr_db(self, of: SetName, name: str) -> float:
        """Return the PSNR of the worst result."""
        return self.scores[of][name].psnr_db[:, -1].min().item()

    def multiply_adds(self, of: SetName, name: str) -> float:
        """Return the mean multiply-adds of the tools applied to a patch."""
        return self.curve(of, name)[-1][0]

    def curve(self, of: SetName, name: str) -> list[tuple[float, float]]:
        """Return the mean multiply-adds of the tools, and the mean gain in dB, up to each step."""
        scores = self.scores[of][name]
        executed = self.profiles[name].tool_costs(scores.actions).cumsum(dim=1).mean(dim=0)
        gains_db = (scores.psnr_db[:, 1:] - scores.psnr_db[:, :1]).mean(dim=0)
        return list(zip(executed.tolist(), gains_db.tolist(), strict=True))

    def agent_multiply_adds(self, of: SetName, name: str) -> float:
        """Return the mean multiply-adds of the agent on a patch until its chain ended."""
        return self.profiles[name].agent_costs(self.scores[of][name].actions).mean().item()

    def tools(self, of: SetName, name: str) -> float:
        """Return the mean number of tools applied to an image."""
        return self.scores[of][name].tools().mean().item()


def compare(
    compared: MethodSet,
    data: list[NDArray[np.uint8]],
    photos: list[NDArray[np.uint8]],
    settings: Settings,
    progress: bool = False,
) -> Comparison:
    """Measure all methods.

    Args:
        compared: The methods.
        data: Clean photographs that patches are cut from, each at least 63 pixels high and wide.
        photos: Clean photographs that are restored whole, likewise.
        settings: Sizes and seed.
        progress: Whether to show progress bars on stderr.

    Raises:
        DataError: The photographs are nearly empty.
    """
    methods, scores = compared.methods, {}
    batches = []
    for name, images in _sets(data, photos, settings):
        if name[0] == GRIDS[0] and isinstance(images, PatchPairs):
            batches.append(to_images(images.degraded[:BATCH]))
        bar = tqdm(methods, ", ".join(name), unit="method", leave=False, disable=not progress)
        scores[name] = {each.name: measure(each, images, settings.batch) for each in bar}
    times = measure_times(methods, batches, timed_photos(photos, settings.seed), settings.rounds, progress)
    profiles = {each.name: each.profile for each in methods}
    return Comparison(profiles, compared.left_out, compared.singles, scores, times)


def _sets(
    data: list[NDArray[np.uint8]], photos: list[NDArray[np.uint8]], settings: Settings
) -> Iterator[tuple[SetName, PatchPairs | PhotoPairs]]:
    """Make the sets one after the other."""
    count, seed = settings.patches, settings.seed
    for mixture in MIXTURES.values():
        for grid in GRIDS:
            yield (grid, mixture.name), generate(data, mixture, count, seed, grid)
        yield (PHOTOS, mixture.name), degraded_photos(photos, mixture, seed)
    yield (CLEAN, CLEAN_OF_DATA), clean_patches(data, count, seed)
    yield (CLEAN, CLEAN_OF_PHOTOS), clean_patches(photos, count, seed)
    yield (CLEAN, CLEAN_PHOTOS), [(photo, photo) for photo in (*data, *photos)]


def measure(method: Method, images: PatchPairs | PhotoPairs, batch: int = BATCH) -> Scores:
    """Restore a set by one method, and measure the results.

    Args:
        method: The method.
        images: Patches, each restored by itself, or photographs, each restored whole.
        batch: Patches restored at once.
    """
    names, device = method.profile.action_names, method.device
    if isinstance(images, PatchPairs):
        return measure_rollouts(
            lambda degraded, _: method.restore_patches(degraded), images, names, device, batch
        )
    parts = []
    for pair in images:
        image, target = (to_images(pixels[None]).to(device) for pixels in pair)
        parts.append(measure_chain(method.photo_chain(image), image, target, method.steps))
    return join_scores(parts, PHOTOS, names)


@torch.inference_mode()
def measure_times(
    methods: Sequence[Method],
    batches: Sequence[Tensor],
    photos: Sequence[NDArray[np.uint8]],
    rounds: int,
    progress: bool = False,
) -> dict[str, Times]:
    """Time all methods alternately, with the threads that torch has.

    They alternate on every image of every round, so that other load on the machine slows all of them alike,
    and the shortest time on each counts, so a first, cold one does not.

    Args:
        methods: Ready for use.
        batches: Degraded patches `(B, 3, 63, 63)` of each mixture.
        photos: Degraded pixels `(H, W, 3)` of each mixture.
        rounds: Repetitions.
        progress: Whether to show a progress bar on stderr.

    Returns:
        By name; a megapixel is counted by the photographs' pixels.
    """
    batches_ms = {each.name: [math.inf] * len(batches) for each in methods}
    photos_ms = {each.name: [math.inf] * len(photos) for each in methods}
    for _ in tqdm(range(rounds), desc="timing", unit="round", disable=not progress):
        for index, batch in enumerate(batches):
            for each in methods:
                images = batch.to(each.device)
                spent_ms = elapsed_ms(partial(each.restore_patches, images), each.device)
                batches_ms[each.name][index] = min(batches_ms[each.name][index], spent_ms)
        for index, photo in enumerate(photos):
            for each in methods:
                spent_ms = elapsed_ms(partial(each.restore_photo, photo), each.device)
                photos_ms[each.name][index] = min(photos_ms[each.name][index], spent_ms)
    patches = [len(batch) for batch in batches]
    megapixels = [photo.shape[0] * photo.shape[1] / 1e6 for photo in photos]
    return {
        name: Times(_rate(batches_ms[name], patches), _rate(photos_ms[name], megapixels))
        for name in batches_ms
    }


def _rate(times_ms: Sequence[float], amounts: Sequence[float]) -> float:
    """Return the mean time for one unit, of times for various amounts."""
    return sum(ms / amount for ms, amount in zip(times_ms, amounts, strict=True)) / len(times_ms)
