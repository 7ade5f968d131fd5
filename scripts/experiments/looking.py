"""Where the agent should look in a large photograph: which windows, and at which size."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from experiments.presentation import markdown_table
from experiments.rivals import greedy_chain
from rlrestore.evaluation.testsets import Pixels
from rlrestore.imaging import PATCH
from rlrestore.imaging.degradation.camera import CameraRecipe
from rlrestore.imaging.degradation.camera_files import take_pixels
from rlrestore.imaging.io.samples import to_floats
from rlrestore.imaging.psnr import photo_psnr_db
from rlrestore.inference.chains import STRIDE, apply_tool_, step_margins_db
from rlrestore.inference.labelling import best_action
from rlrestore.inference.photos import as_photo, to_planes
from rlrestore.inference.windows import BATCH, WindowGrid
from rlrestore.runtime import Agent, Floats, Memory, Tools
from rlrestore.toolbox.specs import NO_ACTION

WINDOWS_PER_MEGAPIXEL = 1024 / 12
"""Of the rule of global mode in a photograph of twelve megapixels."""
CELL = 512
"""Side in pixels of the photographs that a large one is made of."""
ENLARGED = 2
"""Photographs that were scaled down are enlarged by as much: at full resolution a camera's are soft."""
TILE, TILES = 192, 3
"""The oracle chooses on `TILES`² squares of so many pixels, evenly spread."""

Chain = tuple[str, ...]
Rule = Callable[[Chain], NDArray[np.floating]]
"""From what was done to the value of every action."""


def large_photo(photos: Sequence[Pixels], megapixels: float, rng: np.random.Generator) -> Pixels:
    """Return a photograph of 4:3 made of others, enlarged and at random places, mirrored at random."""
    rows = max(1, round((megapixels * 1e6 * 3 / 4) ** 0.5 / CELL))
    columns = max(1, round((megapixels * 1e6 * 4 / 3) ** 0.5 / CELL))
    return np.concatenate(
        [np.concatenate([_cell(photos, rng) for _ in range(columns)], 1) for _ in range(rows)]
    )


def _cell(photos: Sequence[Pixels], rng: np.random.Generator) -> Pixels:
    photo = photos[int(rng.integers(len(photos)))]
    side = CELL // ENLARGED
    top, left = (int(rng.integers(length - side + 1)) for length in photo.shape[:2])
    part = Image.fromarray(photo[top : top + side, left : left + side])
    enlarged = np.asarray(part.resize((CELL, CELL), Image.Resampling.BICUBIC))
    return enlarged[:, ::-1] if rng.random() < 0.5 else enlarged


def take(photo: Pixels, seed: int) -> tuple[Pixels, Pixels]:
    """Take a photograph by a camera at its full resolution, in focus; returns it and its reference."""
    generator = torch.Generator().manual_seed(seed)
    camera = CameraRecipe(soft_share=0.0, clean_share=0.0).sample(1, generator)
    return take_pixels(to_floats(photo), camera, generator)


def halved(image: Floats) -> Floats:
    """Return `(1, 3, H, W)` at half its size, each pixel the mean of four."""
    height, width = (side // 2 * 2 for side in image.shape[-2:])
    parts = image[..., :height, :width].reshape(1, 3, height // 2, 2, width // 2, 2)
    small: Floats = parts.mean(axis=(3, 5), dtype=np.float32)
    return small


class Windows:
    """The agent's values in every window of a photograph, after any chain; each is computed once.

    Attributes:
        grid: All windows that global mode may choose among.
        levels: `(windows,)` mean of each in the photograph as it came.
    """

    def __init__(self, agent: Agent, names: Sequence[str], chains: "Chains", half: bool = False) -> None:
        """Look at a photograph.

        Args:
            agent: The agent.
            names: Of its tools.
            chains: The photograph, and what chains make of it.
            half: Whether the agent looks at half its size.
        """
        self._agent, self._names, self._chains, self._half = agent, names, chains, half
        image = self._image(())
        height, width = image.shape[-2:]
        self.grid = WindowGrid.cover(height, width, PATCH, STRIDE)
        self.levels = self.grid.patches(image, np.arange(len(self.grid))).mean(axis=(1, 2, 3))
        self._known: dict[Chain, tuple[Floats, Memory]] = {}

    def values(self, chain: Chain) -> Floats:
        """Return `(windows, tools + 1)` after a chain."""
        return self._after(chain)[0]

    def limited(self, limit: int) -> NDArray[np.intp]:
        """Return the numbers of the windows that global mode takes where it may take so many."""
        height, width = self._image(()).shape[-2:]
        few = WindowGrid.cover(height, width, PATCH, STRIDE, limit)
        return np.flatnonzero(self.grid.common(few))

    def darkest(self, share: float) -> NDArray[np.intp]:
        """Return the numbers of the darkest windows."""
        return np.argsort(self.levels, kind="stable")[: max(1, round(share * len(self.levels)))]

    def _image(self, chain: Chain) -> Floats:
        image = self._chains.after(chain)
        return halved(image) if self._half else image

    def _after(self, chain: Chain) -> tuple[Floats, Memory]:
        if chain not in self._known:
            count = len(self.grid)
            memory = self._after(chain[:-1])[1] if chain else self._agent.empty_memory(count)
            last = np.full(count, self._names.index(chain[-1]) if chain else NO_ACTION, np.int64)
            image, parts = np.clip(self._image(chain), 0, 1), []
            for start in range(0, count, BATCH):
                part = slice(start, min(start + BATCH, count))
                windows = self.grid.patches(image, np.arange(part.start, part.stop))
                parts.append(self._agent.values(windows, last[part], (memory[0][part], memory[1][part])))
            after = tuple(np.concatenate([each[1][number] for each in parts]) for number in range(2))
            self._known[chain] = np.concatenate([each[0] for each in parts]), (after[0], after[1])
        return self._known[chain]


def rules(full: Windows, half: Windows, megapixels: float) -> dict[str, Rule]:
    """Return the rules that are compared; the first is that of global mode.

    Its windows are as many as in twelve megapixels, for each pixel of the photograph.
    """
    limit = max(16, round(WINDOWS_PER_MEGAPIXEL * megapixels))

    def of(numbers: NDArray[np.intp]) -> Rule:
        return lambda chain: full.values(chain)[numbers].mean(axis=0)

    return {
        "as it is": of(full.limited(limit)),
        "a quarter of these windows": of(full.limited(limit // 4)),
        "all windows": of(np.arange(len(full.grid))),
        "the darkest half of them": of(full.darkest(0.5)),
        "the darkest fifth of them": of(full.darkest(0.2)),
        "half size": lambda chain: half.values(chain).mean(axis=0),
        "both sizes": lambda chain: (full.values(chain).mean(axis=0) + half.values(chain).mean(axis=0)) / 2,
    }


@dataclass(frozen=True)
class Looked:
    """What a rule led to on one photograph.

    Attributes:
        rule: Its name.
        chain: The tools.
        gain_db: What they gained on the whole photograph.
    """

    rule: str
    chain: tuple[str, ...]
    gain_db: float


class Chains:
    """What chains make of one photograph; each beginning is run once."""

    def __init__(self, tools: Tools, image: Floats, truth: Floats) -> None:
        """Begin with a photograph `(1, 3, H, W)` and its reference."""
        self._tools, self._truth = tools, truth
        self._done: dict[tuple[str, ...], Floats] = {(): image}

    def after(self, chain: tuple[str, ...]) -> Floats:
        """Return the photograph after a chain; it must not be changed."""
        if chain not in self._done:
            before = self.after(chain[:-1])
            self._done[chain] = apply_tool_(self._tools, self._tools.names.index(chain[-1]), before.copy())
        return self._done[chain]

    def gain_db(self, chain: tuple[str, ...]) -> float:
        """Return what a chain gains."""
        start_db = photo_psnr_db(self.after(()), self._truth)
        return photo_psnr_db(self.after(chain), self._truth) - start_db


def compare_rules(tools: Tools, agent: Agent, noisy: Pixels, target: Pixels) -> list[Looked]:
    """Let every rule choose its chain for a photograph, and the greedy oracle, which comes last."""
    image, truth = (to_planes(as_photo(pixels)) for pixels in (noisy, target))
    chains, found = Chains(tools, image, truth), []
    full, half = (Windows(agent, tools.names, chains, half) for half in (False, True))
    for name, rule in rules(full, half, image.shape[-2] * image.shape[-1] / 1e6).items():
        chain: Chain = ()
        while len(chain) < agent.max_steps:
            values = rule(chain)
            margin_db = step_margins_db(agent, len(chain) + 1)[values[:-1].argmax()]
            action = best_action(values, float(margin_db))
            if action == len(tools.names):
                break
            chain = (*chain, tools.names[action])
        found.append(Looked(name, chain, chains.gain_db(chain)))
    _, chain = greedy_chain(tools, _tiles(image), _tiles(truth), agent.max_steps)
    return [*found, Looked("greedy oracle", chain, chains.gain_db(chain))]


def _tiles(image: Floats) -> Floats:
    """Return squares of a photograph side by side, as one `(1, 3, TILE, n · TILE)`."""
    height, width = image.shape[-2:]
    tops, lefts = (np.linspace(0, max(0, side - TILE), TILES).astype(int) for side in (height, width))
    parts = [image[..., top : top + TILE, left : left + TILE] for top in tops for left in lefts]
    return np.ascontiguousarray(np.concatenate(parts, axis=-1))


def rules_table(photos: Sequence[Sequence[Looked]]) -> str:
    """Return each rule's gain and its regret to the oracle, in Markdown."""
    oracle_db = np.array([found[-1].gain_db for found in photos])
    rows = [["windows", "gain, dB", "regret, dB", "the worst gain, dB", "another chain than now"]]
    for number, first in enumerate(photos[0]):
        gains_db = np.array([found[number].gain_db for found in photos])
        other = sum(found[number].chain != found[0].chain for found in photos)
        regret_db = (oracle_db - gains_db).mean()
        cells = [
            f"{gains_db.mean():+.2f}",
            f"{regret_db:.2f}",
            f"{gains_db.min():+.2f}",
            f"{other} of {len(photos)}",
        ]
        rows.append([first.rule, *cells])
    return markdown_table(rows)
