"""What a tool's result in a window, or the agent's choice for it, depends on: the numbers and a picture."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from torch import Tensor

from rlrestore.errors import UsageError
from rlrestore.explain.attribution import (
    DETECTORS,
    SIGMA_PX,
    STEPS,
    Attribution,
    Score,
    attribute,
    blur_path,
)
from rlrestore.explain.errors import Box
from rlrestore.explain.heat import rise_and_fall
from rlrestore.imaging import PATCH
from rlrestore.imaging.degradation.blur import RADIUS_PX
from rlrestore.imaging.tiling import ALIGN
from rlrestore.inference.chains import STRIDE, step_margins_db
from rlrestore.inference.labelling import best_action
from rlrestore.inference.photos import to_frame
from rlrestore.inference.windows import WindowGrid
from rlrestore.picture import MARK, Cell, Row, draw_rows
from rlrestore.runtime.torch_runtime import TorchRuntime
from rlrestore.toolbox.specs import NO_ACTION
from rlrestore.trace import STOP_NAME

SMALLEST_SIDE, LARGEST_SIDE = 2, 256
"""Of a window in pixels: an edge takes two, and the time is bounded."""
REACH_PX = 32
"""Around a window that is explained, for every tool: more than the shipped ones see, so that the diffusion
indices of two tools are of maps of one size."""
FULL_SHARE = 0.995
"""Of a picture's pixels whose contribution has less than the full colour."""
CHOICE_STEPS = 400
"""Of a path for the agent, whose logarithms of faint coefficients are steep: with `STEPS` the map's sum
misses up to 6 % of the difference."""
SHOWN_PX = 360
"""Side at most of a map in the picture, if it is not larger itself."""


@dataclass(frozen=True)
class Explanation:
    """Why a number of a picture is what it is.

    Attributes:
        subject: What the number is, with its unit.
        tool: The tool that it belongs to.
        choice: What the agent chose, if its choice is explained.
        window: Where the number is taken.
        context: The part of the picture that the map covers.
        steps: Of the path from the blurred picture.
        attribution: The number, and what every pixel of the context contributed to it.
        before: `(H, W, 3)` uint8: the context as it is.
        after: The same after the tool.
    """

    subject: str
    tool: str
    choice: str | None
    window: Box
    context: Box
    steps: int
    attribution: Attribution
    before: NDArray[np.uint8]
    after: NDArray[np.uint8]

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values; `inside_share` is the window's share of all absolute contributions."""
        found = self.attribution
        x, y = self.window.x - self.context.x, self.window.y - self.context.y
        sizes = found.map.abs().sum(dim=0)
        inside = sizes[y : y + self.window.height, x : x + self.window.width].sum() / sizes.sum().clamp(
            min=1e-30
        )
        return {
            "subject": self.subject,
            "tool": self.tool,
            **({} if self.choice is None else {"choice": self.choice}),
            "window": vars(self.window),
            "context": vars(self.context),
            "blur_sigma_px": SIGMA_PX,
            "steps": self.steps,
            "blurred": found.blurred,
            "sharp": found.sharp,
            "map_sum": float(found.map.sum()),
            "missing": found.missing,
            "diffusion_index": round(found.diffusion_index, 2),
            "inside_share": round(float(inside), 4),
        }

    def picture(self) -> Image.Image:
        """Draw the context before and after the tool, and the map."""
        found, sums = self.attribution, self.attribution.map.sum(dim=0).cpu().numpy()
        full = max(float(np.quantile(np.abs(sums), FULL_SHARE)), 1e-30)
        zoom = max(1, SHOWN_PX // max(sums.shape))
        legend = (
            f"blue raised it, red lowered it, full at {full:.2g}",
            f"diffusion index {found.diffusion_index:.1f}",
        )
        cells = (
            Cell("the picture", ("framed: the window",), self._framed(self.before, zoom)),
            Cell(f"after {self.tool}", (), self._framed(self.after, zoom)),
            Cell("what it depends on", legend, self._framed(rise_and_fall(sums, full), zoom)),
        )
        values = f"{self.subject}: {found.blurred:.4g} when blurred, {found.sharp:.4g} as it is"
        return draw_rows("Local attribution", (), [Row(values, cells)], zoom * max(sums.shape))

    def _framed(self, frame: NDArray[np.uint8], zoom: int) -> NDArray[np.uint8]:
        """Enlarge a picture of the context and draw the window into it."""
        x, y = (
            zoom * (at - start) for at, start in zip(_corner(self.window), _corner(self.context), strict=True)
        )
        picture = Image.fromarray(frame.repeat(zoom, axis=0).repeat(zoom, axis=1))
        right, bottom = x + zoom * self.window.width - 1, y + zoom * self.window.height - 1
        ImageDraw.Draw(picture).rectangle([x, y, right, bottom], outline=MARK, width=max(1, zoom // 2))
        return np.asarray(picture)


def explain_tool(
    model: TorchRuntime, image: Tensor, window: Box, tool: str, detector: str = "edges"
) -> Explanation:
    """Explain what a tool makes of a window.

    Args:
        model: The model.
        image: `(1, 3, H, W)` RGB in [0, 1].
        window: Where its result is looked at.
        tool: The tool's name.
        detector: What of its result is explained, one of `DETECTORS`.

    Raises:
        UsageError: The window cannot be, or there is no such tool or detector, or no gradient flows through
            it.
    """
    _check(window, image)
    if tool not in model.toolbox.names:
        raise UsageError(f"unknown tool {tool!r}: expected one of {', '.join(model.toolbox.names)}")
    if detector not in DETECTORS:
        raise UsageError(f"unknown detector {detector!r}: expected {' or '.join(DETECTORS)}")
    context, index = _grown(window, image, REACH_PX), model.toolbox.names.index(tool)
    x, y = window.x - context.x, window.y - context.y
    inside = ..., slice(y, y + window.height), slice(x, x + window.width)

    def score(images: Tensor) -> Tensor:
        result: Tensor = model.toolbox.apply_tool(index, images)[inside]
        return DETECTORS[detector](result)

    subject = f"{detector} of the result of {tool} in the window"
    return _explained(model, image, (window, context), score, (subject, index, None))


def explain_choice(model: TorchRuntime, image: Tensor, window: Box) -> Explanation:
    """Explain what the agent expects, at its first step, of the tool that it values most.

    Args:
        model: The model.
        image: `(1, 3, H, W)` RGB in [0, 1].
        window: What the agent looks at, grown to 63×63 pixels if it is smaller; of a larger one the mean over
            its windows.

    Raises:
        UsageError: The window cannot be, or the picture is smaller than what the agent looks at.
    """
    _check(window, image)
    height, width = image.shape[-2:]
    if min(height, width) < PATCH:
        raise UsageError(
            f"expected a picture of at least {PATCH}×{PATCH} pixels, as the agent looks at, "
            f"got {width}×{height}: explain a tool with --tool"
        )
    seen = _at_least(window, image, PATCH)
    grid = WindowGrid.cover(seen.height, seen.width, PATCH, STRIDE)

    def values(images: Tensor) -> Tensor:
        """Return `(B, tools + 1)`, the mean over the windows."""
        parts = [
            images[..., top : top + PATCH, left : left + PATCH] for top in grid.tops for left in grid.lefts
        ]
        patches = torch.cat(parts).clamp(0, 1)
        nothing = torch.full((len(patches),), NO_ACTION, device=patches.device)
        valued, _ = model.policy(patches, nothing, model.policy.initial_state(len(patches)))
        means: Tensor = valued.unflatten(0, (len(parts), -1)).mean(dim=0)
        return means

    with torch.no_grad():
        expected = values(_cut(image, seen).to(model.place))[0].double().cpu().numpy()
    best = int(expected[:-1].argmax())
    action = best_action(expected, float(step_margins_db(model.agent, 1)[best]))
    name, unit = model.toolbox.names[best], ", dB" if model.agent.values_in_db else ""
    choice = STOP_NAME if action == len(model.toolbox.names) else name
    subject = f"gain that the agent expects of {name}{unit}"
    return _explained(
        model, image, (seen, seen), lambda images: values(images)[:, best], (subject, best, choice)
    )


def _explained(
    model: TorchRuntime,
    image: Tensor,
    boxes: tuple[Box, Box],
    score: Score,
    what: tuple[str, int, str | None],
) -> Explanation:
    """Attribute a score of the context.

    Args:
        model: The model.
        image: The picture.
        boxes: The window and its context.
        score: From the context, whose corner lies on the tools' grid.
        what: The subject, the tool's number, and the agent's choice.
    """
    (window, context), (subject, index, choice) = boxes, what
    around = _grown(context, image, RADIUS_PX)  # so that the context is blurred as within the picture
    steps = STEPS if choice is None else CHOICE_STEPS
    wide = blur_path(_cut(image, around).to(model.place), steps=steps)
    x, y = context.x - around.x, context.y - around.y
    path = wide[..., y : y + context.height, x : x + context.width].contiguous()
    tool = model.toolbox.names[index]
    try:
        found = attribute(score, path)
    except ValueError as error:
        raise UsageError(
            f"expected a tool that gradients flow through, {tool} is none: it is a custom tool in ONNX; "
            "explain another one"
        ) from error
    with torch.no_grad():
        after = model.toolbox.apply_tool(index, path[-1:])
    frames = [to_frame(each.float().cpu().numpy()) for each in (path[-1:], after)]
    return Explanation(subject, tool, choice, window, context, steps, found, *frames)


def _check(window: Box, image: Tensor) -> None:
    height, width = image.shape[-2:]
    came = f"got {window.x},{window.y},{window.width},{window.height}"
    if (
        not SMALLEST_SIDE
        <= min(window.width, window.height)
        <= max(window.width, window.height)
        <= LARGEST_SIDE
    ):
        raise UsageError(
            f"expected a window X,Y,W,H with sides of {SMALLEST_SIDE} to {LARGEST_SIDE} pixels, {came}"
        )
    right, bottom = window.x + window.width, window.y + window.height
    if min(window.x, window.y) < 0 or right > width or bottom > height:
        raise UsageError(f"expected a window X,Y,W,H inside the picture of {width}×{height} pixels, {came}")


def _corner(box: Box) -> tuple[int, int]:
    return box.x, box.y


def _cut(image: Tensor, box: Box) -> Tensor:
    return image[..., box.y : box.y + box.height, box.x : box.x + box.width]


def _grown(box: Box, image: Tensor, margin: int) -> Box:
    """Return a box with so many pixels around it, as far as the picture goes, on the grid of the tools."""
    height, width = image.shape[-2:]
    x, y = (max(0, start - margin) // ALIGN * ALIGN for start in _corner(box))
    right, bottom = min(box.x + box.width + margin, width), min(box.y + box.height + margin, height)
    return Box(x, y, right - x, bottom - y)


def _at_least(box: Box, image: Tensor, side: int) -> Box:
    """Return a box grown evenly to a side, and moved inside the picture."""
    height, width = image.shape[-2:]
    wide, high = max(box.width, side), max(box.height, side)
    x = min(max(0, box.x - (wide - box.width) // 2), width - wide)
    y = min(max(0, box.y - (high - box.height) // 2), height - high)
    return Box(x, y, wide, high)
