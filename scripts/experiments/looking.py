"""Where the agent should look in a large photograph: which windows, and at which size."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from experiments.presentation import markdown_table
from experiments.rivals import greedy_chain, to_floats
from rlrestore.evaluation.testsets import Pixels
from rlrestore.imaging import PATCH
from rlrestore.imaging.degradation.camera import CameraRecipe
from rlrestore.imaging.degradation.camera_files import compress_pixels, expose_pixels
from rlrestore.imaging.degradation.libjpeg import jpeg_pixels
from rlrestore.imaging.io.samples import to_floats as to_unit
from rlrestore.imaging.psnr import photo_psnr_db
from rlrestore.inference.chains import GLOBAL_STRIDE, apply_tool_, best_action
from rlrestore.inference.windows import WindowedAgent, WindowGrid
from rlrestore.runtime import Agent, Floats, Tools
from rlrestore.toolbox.specs import NO_ACTION

WINDOWS_PER_MEGAPIXEL = 1024 / 12
"""Of the rule of global mode in a photograph of twelve megapixels."""
CELL = 512
"""Side in pixels of the photographs that a large one is made of."""
ENLARGED = 2
"""Photographs that were scaled down are enlarged by as much: at full resolution a camera's are soft."""
TILE, TILES = 192, 4
"""The oracle chooses on `TILES`² squares of so many pixels, evenly spread."""

Look = Callable[[Floats, int], NDArray[np.floating]]
"""From the photograph as it is now and the last action to the value of every action."""


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
    noisy, target = expose_pixels(to_unit(photo), camera, generator)
    if camera.compression.quality.item() > 0:
        noisy = jpeg_pixels(compress_pixels(noisy, camera.compression))
    return noisy, target


def halved(image: Floats) -> Floats:
    """Return `(1, 3, H, W)` at half its size, each pixel the mean of four."""
    height, width = (side // 2 * 2 for side in image.shape[-2:])
    parts = image[..., :height, :width].reshape(1, 3, height // 2, 2, width // 2, 2)
    small: Floats = parts.mean(axis=(3, 5), dtype=np.float32)
    return small


class Windows:
    """The agent's mean values over windows of a photograph.

    Attributes:
        dark_share: The mean is over so many of the windows, the darkest first.
    """

    def __init__(
        self,
        agent: Agent,
        image: Floats,
        limit: int | None = None,
        half: bool = False,
        dark_share: float = 1.0,
    ) -> None:
        """Choose the windows of a photograph `(1, 3, H, W)` as it came."""
        seen = halved(image) if half else image
        self._half = half
        height, width = seen.shape[-2:]
        self._grid = WindowGrid.cover(height, width, PATCH, GLOBAL_STRIDE, limit)
        self._agent = WindowedAgent(agent, self._grid)
        levels = self._grid.patches(seen, 0, len(self._grid)).mean(axis=(1, 2, 3))
        count = max(1, round(dark_share * len(levels)))
        self._chosen = np.argsort(levels, kind="stable")[:count]

    def __call__(self, image: Floats, last_action: int) -> Floats:
        """Return the mean values `(tools + 1,)`."""
        seen = halved(image) if self._half else image
        last = np.full(len(self._grid), last_action, np.int64)
        mean: Floats = self._agent.values(seen, last)[self._chosen].mean(axis=0)
        return mean


def rules(agent: Agent, image: Floats) -> dict[str, Look]:
    """Return the rules that are compared, for a photograph `(1, 3, H, W)`; the first is that of global mode.

    The windows are as many as global mode has in twelve megapixels, for each pixel of the photograph.
    """
    limit = max(16, round(WINDOWS_PER_MEGAPIXEL * image.shape[-2] * image.shape[-1] / 1e6))
    at_full, at_half = Windows(agent, image, limit), Windows(agent, image, half=True)
    return {
        "as it is": Windows(agent, image, limit),
        "a quarter of these windows": Windows(agent, image, limit // 4),
        "all windows": Windows(agent, image),
        "the darkest half of them": Windows(agent, image, dark_share=0.5),
        "the darkest fifth of them": Windows(agent, image, dark_share=0.2),
        "half size": Windows(agent, image, half=True),
        "both sizes": lambda now, last: np.mean([at_full(now, last), at_half(now, last)], axis=0),
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
    image, truth = to_floats(noisy), to_floats(target)
    chains, found = Chains(tools, image, truth), []
    for name, look in rules(agent, image).items():
        chain: tuple[str, ...] = ()
        action = NO_ACTION
        while len(chain) < agent.max_steps:
            action = best_action(look(chains.after(chain), action), agent.stop_margin_db)
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
