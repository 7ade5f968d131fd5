"""The transition of an episode by one action, which all environments and learners share.

Pure functions on frozen records, batched, on whichever device the images are. The images of a state are the
tools' own outputs and are never clipped between steps; only the observation (`observe`) is.

Shapes: B episodes, N tools, H×W patches; action N means stop.

Source: paper, section 3.2 (state, action, step-wise reward).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from rlrestore.imaging.metrics import psnr_db
from rlrestore.imaging.rewards import Reward, gain_db
from rlrestore.toolbox.specs import NO_ACTION
from rlrestore.toolbox.toolbox import Tools


@dataclass(frozen=True)
class EpisodeState:
    """The states of B episodes.

    Attributes:
        images: `(B, 3, H, W)` RGB after the chain so far, not clipped.
        clean: `(B, 3, H, W)` the clean RGB in [0, 1]; not part of the observation.
        psnr_db: `(B,)` of the images against the clean ones.
        start_psnr_db: `(B,)` the same at the input.
        last_action: `(B,)` int64, `NO_ACTION` before the first.
        steps: `(B,)` int64, actions taken so far, stop included.
    """

    images: Tensor
    clean: Tensor
    psnr_db: Tensor
    start_psnr_db: Tensor
    last_action: Tensor
    steps: Tensor

    def __post_init__(self) -> None:
        if self.images.ndim != 4 or self.images.shape != self.clean.shape:
            shapes = f"{tuple(self.images.shape)} and {tuple(self.clean.shape)}"
            raise ValueError(f"expected images and clean of one shape (B, 3, H, W), got {shapes}")
        flat = {self.psnr_db.shape, self.start_psnr_db.shape, self.last_action.shape, self.steps.shape}
        if flat != {self.images.shape[:1]}:
            raise ValueError(
                f"expected (B,) values of B = {len(self.images)} episodes, got {sorted(map(tuple, flat))}"
            )

    def __len__(self) -> int:
        return len(self.images)


@dataclass(frozen=True)
class Transition:
    """The result of one action in each of B episodes.

    Attributes:
        state: The states after the action.
        reward: `(B,)` gain of the step in dB, by PSNR or another measure; exactly 0 for stop.
        terminated: `(B,)` bool. No episode is ever truncated, because the step limit is part of the task.
    """

    state: EpisodeState
    reward: Tensor
    terminated: Tensor


def start(images: Tensor, clean: Tensor) -> EpisodeState:
    """Begin one episode per pair.

    Args:
        images: `(B, 3, H, W)` degraded RGB.
        clean: `(B, 3, H, W)` the same patches before the degradation.

    Raises:
        ValueError: They are no tensors of floats, or their shapes differ.
    """
    given: tuple[object, ...] = (images, clean)  # a source may be anybody's
    for each in given:
        if not isinstance(each, Tensor) or not each.is_floating_point():
            kind = each.dtype if isinstance(each, Tensor) else type(each).__name__
            raise ValueError(f"expected pairs of tensors of floats in [0, 1], got {kind}")
    if images.shape != clean.shape:
        raise ValueError(f"expected pairs of one shape, got {tuple(images.shape)} and {tuple(clean.shape)}")
    value_db = psnr_db(images, clean)
    zeros = torch.zeros(len(images), dtype=torch.int64, device=images.device)
    return EpisodeState(images, clean, value_db, value_db, zeros + NO_ACTION, zeros)


def transition(
    toolbox: Tools,
    state: EpisodeState,
    actions: Tensor,
    max_steps: int,
    stop_when_worse: bool = False,
    sizes: Sequence[int] | None = None,
    reward: Reward = "psnr",
) -> Transition:
    """Take one action in every episode.

    An episode terminates on stop, at `max_steps` actions, or, with `stop_when_worse`, when its PSNR falls
    below the input's.

    Args:
        toolbox: N tools.
        state: B episodes, none of them terminated.
        actions: `(B,)` int64 tools to apply, N for stop.
        max_steps: Actions after which an episode ends.
        stop_when_worse: End an episode that is worse than its input. For training only: it uses `clean`.
        sizes: How many episodes take each action, where known on the host: see `Toolbox.apply_each`.
        reward: What a step is rewarded with.

    Raises:
        ValueError: Some actions lie outside 0…N.

    Source: paper, section 3.2; ending worse episodes early as in its training, section 4.1.
    """
    images = toolbox.apply_each(actions, state.images, sizes)
    stopped = actions == toolbox.stop
    value_db = torch.where(stopped, state.psnr_db, psnr_db(images, state.clean))
    steps = state.steps + 1
    terminated = stopped | (steps >= max_steps)
    if stop_when_worse:
        terminated = terminated | (value_db < state.start_psnr_db)
    after = EpisodeState(images, state.clean, value_db, state.start_psnr_db, actions, steps)
    if reward == "psnr":
        gained_db = value_db - state.psnr_db
    else:
        gained_db = gain_db(reward, images, state.images, state.clean).masked_fill(stopped, 0.0)
    return Transition(after, gained_db, terminated)


def expand(toolbox: Tools, state: EpisodeState, actions: Tensor) -> tuple[Tensor, Tensor]:
    """Compute the successors and their PSNR for several actions in every state.

    Args:
        toolbox: N tools.
        state: B episodes.
        actions: `(B, K)` int64, K actions to try in each of them.

    Returns:
        `(B, K, 3, H, W)` the successors' images and `(B, K)` their PSNR in dB. An action's reward is its
        PSNR less `state.psnr_db`; for other rewards see `tried_gains_db`.
    """
    tried = actions.shape[1]
    images = toolbox.apply_each(actions.flatten(), state.images.repeat_interleave(tried, dim=0))
    values_db = psnr_db(images, state.clean.repeat_interleave(tried, dim=0))
    return images.unflatten(0, actions.shape), values_db.view(actions.shape)


def tried_gains_db(reward: Reward, state: EpisodeState, successors: Tensor) -> Tensor:
    """Return the rewards `(B, K)` of K actions in every state, by their successors `(B, K, 3, H, W)`."""
    before, clean = (
        images.repeat_interleave(successors.shape[1], dim=0) for images in (state.images, state.clean)
    )
    return gain_db(reward, successors.flatten(0, 1), before, clean).view(successors.shape[:2])


def observe(state: EpisodeState) -> tuple[Tensor, Tensor]:
    """Return what an agent observes: `(B, 3, H, W)` images clipped to [0, 1], `(B,)` last actions."""
    return state.images.clamp(0, 1), state.last_action


def replace(state: EpisodeState, ended: Tensor, fresh: EpisodeState) -> EpisodeState:
    """Return the state with the episodes that `ended` (`(B,)` bool) replaced by those of `fresh`, also B."""
    pixels = ended[:, None, None, None]
    return EpisodeState(
        images=torch.where(pixels, fresh.images, state.images),
        clean=torch.where(pixels, fresh.clean, state.clean),
        psnr_db=torch.where(ended, fresh.psnr_db, state.psnr_db),
        start_psnr_db=torch.where(ended, fresh.start_psnr_db, state.start_psnr_db),
        last_action=torch.where(ended, fresh.last_action, state.last_action),
        steps=torch.where(ended, fresh.steps, state.steps),
    )
