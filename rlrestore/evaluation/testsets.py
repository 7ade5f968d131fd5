"""The test sets that `evaluate` measures on: made from photographs, or read from an array file."""

import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.lib.npyio import NpzFile
from numpy.typing import NDArray

from rlrestore.errors import DataError
from rlrestore.imaging import PATCH
from rlrestore.imaging.degradation.jpeg import BLOCK, MCU
from rlrestore.imaging.degradation.mixtures import Mixture
from rlrestore.imaging.degradation.protocol import Degradations
from rlrestore.imaging.file_draws import FileDraw
from rlrestore.imaging.io.files import list_photos, read_rgb8
from rlrestore.imaging.io.samples import to_floats
from rlrestore.imaging.metrics import psnr_db
from rlrestore.imaging.patches import LIMIT_DB, Part, choose_part
from rlrestore.imaging.recipes import AnyRecipe, NamedRecipe, SingleDistortions, draw_file
from rlrestore.toolbox.distortions import own_distortion
from rlrestore.toolbox.specs import ToolSpec

DRAWS_PER_PATCH = 20

UNREADABLE_NPZ = (
    *(OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error),
    *(MemoryError, OverflowError, RuntimeError),
)
"""Errors that a damaged file raises; the second line: absurd shapes, encryption, unknown compression."""

Grid = Literal["any", "aligned"]

Pixels = NDArray[np.uint8]
Corner = tuple[int, int]
Pair = tuple[Pixels, Pixels]
"""A degraded patch or photograph, and its reference."""


@dataclass(frozen=True)
class MixedDistortion:
    """A test set's source: a tool's own distortion with a little of the others, as in real files.

    Attributes:
        spec: The tool.
    """

    spec: ToolSpec

    @property
    def name(self) -> str:
        """Name of the set."""
        return self.spec.name

    def sample(self, count: int, generator: torch.Generator) -> Degradations:
        """Draw its own amount, and for every second image each light noise and a light JPEG."""
        return SingleDistortions((self.spec,), light_share=1.0).sample(count, generator)


@dataclass(frozen=True)
class OwnDistortion:
    """A recipe: a tool's own distortion alone.

    Attributes:
        spec: The tool.
    """

    spec: ToolSpec

    def sample(self, count: int, generator: torch.Generator) -> Degradations:
        """Draw its own amount."""
        return own_distortion([self.spec] * count, generator)


Source = Mixture | ToolSpec | MixedDistortion | NamedRecipe
"""What is drawn for a test set."""


@dataclass(frozen=True)
class PatchPairs:
    """Degraded patches and their clean originals, as the bytes of image files.

    Attributes:
        name: Name of the set in tables.
        degraded: `(N, H, W, 3)` uint8 RGB.
        clean: The same shape.
    """

    name: str
    degraded: Pixels
    clean: Pixels

    def __post_init__(self) -> None:
        if self.degraded.shape != self.clean.shape or self.degraded.shape[3:] != (3,):
            raise ValueError(
                f"expected two arrays of one shape (N, H, W, 3), "
                f"got {self.degraded.shape} and {self.clean.shape}"
            )

    def __len__(self) -> int:
        return len(self.clean)


def _pixels_psnr_db(degraded: NDArray[np.uint8], clean: NDArray[np.uint8]) -> float:
    """Return the PSNR of one patch `(H, W, 3)`, computed in float64."""
    images = (torch.from_numpy(pixels[None] / 255) for pixels in (degraded, clean))
    return psnr_db(*images).item()


def drawn_patch(photo: Pixels, corner: Corner, drawn: FileDraw) -> Pair:
    """Degrade a photograph by the file implementation and cut one patch out of the result.

    Only the surroundings that can reach the patch are computed; they begin on the coder's grid of the whole
    photograph, so the patch is the one that degrading all of it would give, but for the draws of the noise.

    Args:
        photo: `(H, W, 3)` clean.
        corner: Top and left of the patch in the photograph.
        drawn: What is done to it.

    Returns:
        The patch and its reference, `(63, 63, 3)` each.
    """
    around, inside = _surroundings(photo, corner, drawn.margin_px)
    degraded, reference = drawn.apply(to_floats(around))
    return degraded[inside], reference[inside]


def _surroundings(photo: Pixels, corner: Corner, margin: int) -> tuple[Pixels, tuple[slice, slice]]:
    """Return a patch with so many pixels around it, from the coder's grid on, and where it lies there."""
    begin = [max(0, place - margin) // MCU * MCU for place in corner]
    end = [-(-(place + PATCH + margin) // MCU) * MCU for place in corner]
    top, left = (place - start for place, start in zip(corner, begin, strict=True))
    around = photo[begin[0] : end[0], begin[1] : end[1]]
    return around, (slice(top, top + PATCH), slice(left, left + PATCH))


def _draw_corner(photo: Pixels, grid: Grid, rng: np.random.Generator) -> Corner:
    step = BLOCK if grid == "aligned" else 1
    top, left = (int(rng.integers((side - PATCH) // step + 1)) * step for side in photo.shape[:2])
    return top, left


def _recipe_of(source: Source) -> tuple[AnyRecipe, list[int]]:
    """Return what is drawn for a set, and its seeds, which are others than those of other sets.

    Tools of one distortion and range share their draws, whatever they are called.
    """
    recipe = source.recipe if isinstance(source, NamedRecipe) else source
    if isinstance(recipe, Mixture):
        return recipe, [recipe.lowest, recipe.highest]
    if isinstance(recipe, ToolSpec | MixedDistortion):
        spec = recipe.spec if isinstance(recipe, MixedDistortion) else recipe
        job = zlib.crc32(f"{spec.distortion} {float(spec.low)} {float(spec.high)}".encode())
        return (recipe, [job, 1]) if isinstance(recipe, MixedDistortion) else (OwnDistortion(spec), [job])
    return recipe, [zlib.crc32(source.name.encode())]


def generate(
    photos: list[Pixels], source: Source, count: int, seed: int = 0, grid: Grid = "any"
) -> PatchPairs:
    """Make a test set: photographs in turn, places and amounts at random.

    A patch above 50 dB at the input is drawn again, elsewhere and by other amounts.

    Args:
        photos: Clean photographs `(H, W, 3)`, each at least 63 pixels high and wide.
        source: What is drawn: a mixture, or a tool's own distortion, alone or with a little of the others.
        count: How many patches.
        seed: The same seed gives the same set.
        grid: At which phases of the JPEG grid a patch may begin: `any`, or `aligned` on a block like the
            authors' test patches.

    Raises:
        DataError: Nearly every patch is above 50 dB.

    Source: paper, section 4.1.
    """
    recipe, seeds = _recipe_of(source)
    rng = np.random.default_rng((seed, *seeds))
    generator = torch.Generator().manual_seed(int(rng.integers(2**63)))
    order = rng.permutation(len(photos))
    pairs: list[Pair] = []
    for draw in range(DRAWS_PER_PATCH * count):
        photo = photos[order[draw % len(photos)]]
        corner = _draw_corner(photo, grid, rng)
        pair = drawn_patch(photo, corner, draw_file(recipe, generator, rng))
        if _pixels_psnr_db(*pair) <= LIMIT_DB:
            pairs.append(pair)
        if len(pairs) == count:
            return PatchPairs(source.name, *(np.stack(side) for side in zip(*pairs, strict=True)))
    raise DataError(
        f"expected {count} patches below {LIMIT_DB:g} dB, got {len(pairs)} "
        f"in {DRAWS_PER_PATCH * count} draws: the photographs are nearly empty, give others"
    )


def read_photos(folder: Path, part: Part = "all") -> list[Pixels]:
    """Read every photograph of a folder and its subfolders, in order of name.

    Args:
        folder: Where they are.
        part: All of them, or the part that trainings on this folder use or hold out.

    Raises:
        DataError: There is none, or one is smaller than a patch.
        ImageError: One cannot be read; a test set is never quietly made from fewer.
    """
    photos = []
    for path in choose_part(list_photos(folder), part):
        photo = read_rgb8(path)
        if min(photo.shape[:2]) < PATCH:
            height, width = photo.shape[:2]
            raise DataError(
                f"expected photographs of at least {PATCH}×{PATCH} pixels, {path} is {width}×{height}"
            )
        photos.append(photo)
    return photos


def read_npz(path: Path) -> PatchPairs:
    """Read a file of arrays `input` and `gt`: uint8 `(N, 63, 63, 3)`, RGB.

    Raises:
        DataError: The file is missing or is no such file.
    """
    try:
        if path.exists() and not path.is_file():  # a pipe may never end
            raise DataError(f"expected an .npz file, {path} is not a regular file")
        with path.open("rb") as stream:
            arrays = np.load(stream, allow_pickle=False)
            if not isinstance(arrays, NpzFile):
                raise DataError(
                    f"expected an .npz file with arrays input and gt, {path} is one array without a name"
                )
            degraded, clean = (_checked(arrays, key, path) for key in ("input", "gt"))
    except FileNotFoundError:
        raise DataError(f"expected an .npz file, there is no {path}") from None
    except UNREADABLE_NPZ as error:
        raise DataError(
            f"expected an .npz file with arrays input and gt, {path} cannot be read: {error}"
        ) from error
    if len(degraded) != len(clean):
        raise DataError(
            f"expected as many patches in input as in gt, {path} has {len(degraded)} and {len(clean)}"
        )
    return PatchPairs(path.stem, degraded, clean)


def _checked(arrays: Mapping[str, Any], key: str, path: Path) -> NDArray[np.uint8]:
    if key not in arrays:
        raise DataError(f"expected arrays input and gt in {path}, got {', '.join(arrays) or 'none'}")
    array = np.asarray(arrays[key])
    if array.dtype != np.uint8 or array.shape[1:] != (PATCH, PATCH, 3) or not len(array):
        raise DataError(
            f"expected array {key} of {path} to be uint8 (N, {PATCH}, {PATCH}, 3) with N > 0, "
            f"got {array.dtype} {array.shape}"
        )
    return array
