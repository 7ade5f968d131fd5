"""One chain for a scene: the agent looks at spread frames; no tool makes still parts flicker."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from rlrestore.imaging.io.samples import Floats
from rlrestore.inference.blending import lost_detail
from rlrestore.inference.chains import apply_tool_, common_chain
from rlrestore.inference.choice import Choice
from rlrestore.runtime import Runtime
from rlrestore.trace import STOP_NAME, TraceStep

STILL_SIDE_PX = 15
"""Side of the square in which the mean difference of two frames tells whether anything moves there."""
STILL_SHARE = 3.0
"""How many times what noise alone leaves of that mean may be there where nothing moves."""
LEAST_STILL = 0.02
"""Share of the pixels that have to be still for their difference to say anything."""
UNSEEN = 0.5 / 255
"""A difference of neighbouring frames that no eye sees: half a step of 8 bits."""
ROUNDING = 1.001
"""What is no more than float32 and its sums make of equal differences."""
WORTH_DB = 0.5
"""How much more another chain has to promise after a change within a shot, to be taken there."""

Pair = tuple[Floats, Floats]


@dataclass(frozen=True)
class Shares:
    """How much of the change is kept.

    Attributes:
        strength: From 0 to 1.
        detail: How much of the fine detail that was taken away comes back, from 0 to 1.
    """

    strength: float = 1.0
    detail: float = 0.0

    def blended(self, came: Floats, restored: Floats) -> Floats:
        """Return the blend of two images `(1, 3, H, W)`."""
        kept = restored
        if self.detail:
            lost = lost_detail(_rows(came), _rows(restored))
            kept = restored + np.float32(self.detail) * lost.transpose(2, 0, 1)[None]
        return kept if self.strength == 1 else came + np.float32(self.strength) * (kept - came)


@dataclass(frozen=True)
class Differences:
    """How much neighbouring frames differ where nothing moves, as root mean square.

    Attributes:
        before: As they came, in [0, 1].
        after: Restored.
        still_share: Of the pixels, how many do not move.
    """

    before: float
    after: float
    still_share: float

    @property
    def grows(self) -> bool:
        """Whether the restoration makes still parts flicker."""
        return self.after > max(ROUNDING * self.before, UNSEEN)


@dataclass(frozen=True)
class Decision:
    """What is done to a scene.

    Attributes:
        actions: The tools, by number.
        steps: How the agent came to them; with a last one named `stop` where it ended the chain.
        left_out: Tools that it would have taken, which would have made still parts flicker, by number.
        differences: Of the frames that it looked at; None where nothing stands still, or for a single frame.
    """

    actions: tuple[int, ...]
    steps: tuple[TraceStep, ...]
    left_out: tuple[int, ...] = ()
    differences: Differences | None = None

    @property
    def expected_gain_db(self) -> float | None:
        """What the agent expects of all steps; None of one whose values are not in dB."""
        gains_db = [step.expected_gain_db for step in self.steps if step.expected_gain_db is not None]
        return sum(gains_db) if len(gains_db) == len(self.steps) else None


def decide(
    runtime: Runtime,
    pairs: Sequence[Pair],
    limit: int,
    choice: Choice,
    shares: Shares,
    before: Decision | None,
) -> Decision:
    """Return what is done to a scene.

    A tool after which still parts would differ more from frame to frame is left out, and the agent chooses
    anew, until there is none. A chain by hand is applied as it is.

    Args:
        runtime: The model.
        pairs: Neighbouring frames `(1, 3, H, W)` of the scene.
        limit: Tools to apply at most.
        choice: What was decided in the agent's place.
        shares: How much of the change is kept.
        before: What is done to the part of the same shot before; it is gone on with unless another chain
            promises more.
    """
    found = _steady(runtime, pairs, limit, choice, shares)
    if before is None or before.actions == found.actions or choice.chain is not None:
        return found
    kept = _tried(runtime, pairs, len(before.actions), Choice(before.actions), shares)
    more_db = (found.expected_gain_db or 0.0) - (kept.expected_gain_db or 0.0)
    if not runtime.agent.values_in_db or more_db > WORTH_DB or (kept.differences and kept.differences.grows):
        return found
    return kept


def _steady(runtime: Runtime, pairs: Sequence[Pair], limit: int, choice: Choice, shares: Shares) -> Decision:
    """Return the agent's choice among the tools that make nothing flicker."""
    left_out: tuple[int, ...] = ()
    while True:
        allowed = replace(choice, left_out=tuple(sorted({*choice.left_out, *left_out})))
        decision, worst = _followed(runtime, pairs, limit, allowed, shares)
        found = replace(decision, left_out=left_out)
        flickers = found.differences is not None and found.differences.grows
        if choice.chain is not None or not flickers or worst is None:
            return found
        left_out = (*left_out, worst)


def _tried(runtime: Runtime, pairs: Sequence[Pair], limit: int, choice: Choice, shares: Shares) -> Decision:
    return _followed(runtime, pairs, limit, choice, shares)[0]


def _followed(
    runtime: Runtime, pairs: Sequence[Pair], limit: int, choice: Choice, shares: Shares
) -> tuple[Decision, int | None]:
    """Return what comes of a choice, and the tool after which still parts differ most in comparison."""
    images = [frame.copy() for pair in pairs for frame in pair]
    still = [still_parts(*pair) for pair in pairs]
    before = last = _difference(list(_pairs(images)), still)
    steps, actions, worst, growth = [], [], None, 0.0
    for step in common_chain(runtime.tools, runtime.agent, images, limit, choice=choice) if limit else ():
        steps.append(step)
        if step.tool == STOP_NAME:
            break
        actions.append(runtime.tools.names.index(step.tool))
        now = _difference(list(_pairs(images)), still)
        if now / max(last, 1e-9) > growth:
            worst, growth = actions[-1], now / max(last, 1e-9)
        last = now
    flat = [frame for pair in pairs for frame in pair]
    kept = [shares.blended(came, image) for came, image in zip(flat, images, strict=True)]
    share = float(np.mean([one.mean() for one in still]))
    enough = share >= LEAST_STILL and any(one is not other for one, other in pairs)
    differences = Differences(before, _difference(list(_pairs(kept)), still), share) if enough else None
    return Decision(tuple(actions), tuple(steps), differences=differences), worst


def restore_frame(runtime: Runtime, image: Floats, decision: Decision, shares: Shares) -> Floats:
    """Return `(1, 3, H, W)` restored by a scene's chain; the image stays as it is."""
    restored = image.copy()
    for action in decision.actions:
        apply_tool_(runtime.tools, action, restored)
    return shares.blended(image, restored)


def _rows(image: Floats) -> Floats:
    return np.ascontiguousarray(image[0].transpose(1, 2, 0))


def still_parts(one: Floats, other: Floats) -> NDArray[np.bool_]:
    """Tell where nothing moves between two frames `(1, 3, H, W)`: `(H, W)`.

    There they differ by noise alone, which the mean over a square nearly takes away.
    """
    apart = (other - one)[0].mean(axis=0)
    noise = float(np.median(np.abs(apart))) / 0.6745
    mean = cv2.blur(apart, (STILL_SIDE_PX, STILL_SIDE_PX))
    most = max(STILL_SHARE * noise / STILL_SIDE_PX, UNSEEN)
    still: NDArray[np.bool_] = np.abs(mean) <= most
    return still


def _pairs(images: Sequence[Floats]) -> Iterator[Pair]:
    yield from zip(images[::2], images[1::2], strict=True)


def _difference(pairs: Sequence[Pair], still: Sequence[NDArray[np.bool_]]) -> float:
    """Return the root mean square difference of frames where they are still; 0 where nothing is."""
    apart = [(other - one)[0][:, where] for (one, other), where in zip(pairs, still, strict=True)]
    values = np.concatenate([each.ravel() for each in apart])
    return float(np.sqrt(np.square(values, dtype=np.float64).mean())) if len(values) else 0.0
