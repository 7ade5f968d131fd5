"""Where each tool worked in a step of local mode: a coloured map over the grey photograph."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from rlrestore.imaging.io.samples import Floats

Colour = tuple[int, int, int]

PALETTE: tuple[Colour, ...] = (
    (214, 69, 65),
    (31, 119, 180),
    (44, 140, 60),
    (222, 130, 20),
    (130, 85, 180),
    (20, 150, 150),
    (190, 60, 130),
    (120, 120, 20),
    (140, 86, 75),
    (70, 90, 220),
    (90, 160, 20),
    (200, 90, 60),
)
"""Of the tools, by their number; they repeat where a model has more."""
LEAST_SHARE = 0.005
"""Of the photograph, for a tool to stand in the legend."""
TINT = 0.55
"""How much of the colour is seen where a tool worked alone."""


@dataclass(frozen=True, eq=False)
class Regions:
    """How much each action counted in each window.

    Attributes:
        names: Of the actions, stop last.
        shares: `(rows, columns, actions)` in [0, 1]; the last axis sums to 1.
    """

    names: tuple[str, ...]
    shares: Floats

    def legend(self) -> tuple[tuple[str, float, Colour], ...]:
        """Return the tools that worked, the share of the photograph that each had, and its colour."""
        means = self.shares.mean(axis=(0, 1))
        order = np.argsort(-means[:-1], kind="stable")
        used = [int(index) for index in order if means[index] >= LEAST_SHARE]
        return tuple((self.names[index], float(means[index]), _colour(index)) for index in used)

    def overlay(self, frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Colour a photograph `(H, W, 3)`, made grey, by the tools; where none worked it stays grey."""
        height, width = frame.shape[:2]
        tools = self.shares[..., :-1]
        palette = np.array([_colour(index) for index in range(tools.shape[2])], np.float32)
        tint = np.concatenate((tools @ palette, tools.sum(axis=2, keepdims=True)), axis=2)
        wide = cv2.resize(tint, (width, height), interpolation=cv2.INTER_LINEAR)
        grey = np.asarray(Image.fromarray(frame).convert("L"), np.float32)[..., None]
        coloured = grey * (1 - TINT * wide[..., 3:]) + TINT * wide[..., :3]
        seen: NDArray[np.uint8] = np.rint(coloured).clip(0, 255).astype(np.uint8)
        return seen


def _colour(action: int) -> Colour:
    return PALETTE[action % len(PALETTE)]
