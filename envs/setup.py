"""Shared by the single and the batched environment: spaces, observation, defaults, random numbers."""

import importlib.resources
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from torch import Tensor

from rlrestore.envs.leaves import dead_leaves
from rlrestore.envs.sources import MixtureSource, PairSource
from rlrestore.envs.transition import EpisodeState, observe
from rlrestore.imaging import PATCH
from rlrestore.imaging.degradation.mixtures import MODERATE
from rlrestore.imaging.pairs import context_side
from rlrestore.imaging.patches import PhotoBank
from rlrestore.toolbox.storage import load_toolbox
from rlrestore.toolbox.toolbox import Toolbox

Arrays = dict[str, NDArray[np.float32]]
"""One observation: `image` and `last_action`."""


def dict_space(boxes: Mapping[str, spaces.Space[Any]]) -> spaces.Space[Arrays]:
    """Return a Dict space with the type of its samples, which gymnasium's own annotation lacks."""
    return cast("spaces.Space[Arrays]", spaces.Dict(dict(boxes)))


def observation_space(actions: int) -> spaces.Space[Arrays]:
    """Return the space of one observation for a number of actions, stop included."""
    return dict_space(
        {
            "image": spaces.Box(0.0, 1.0, (3, PATCH, PATCH), np.float32),
            "last_action": spaces.Box(0.0, 1.0, (actions,), np.float32),
        }
    )


def one_hot(last_action: Tensor, actions: int) -> Tensor:
    """Return `(B, actions)` float32: 1 at the last action, zeros throughout before the first.

    Args:
        last_action: `(B,)` int64, -1 before the first.
        actions: Their number, stop included.
    """
    return (last_action[:, None] == torch.arange(actions, device=last_action.device)).float()


def observation(state: EpisodeState, actions: int) -> dict[str, Tensor]:
    """Return the batched observation: `image` `(B, 3, 63, 63)` clipped, `last_action` `(B, actions)`."""
    images, last_action = observe(state)
    return {"image": images, "last_action": one_hot(last_action, actions)}


def torch_generator(np_random: np.random.Generator, device: torch.device) -> torch.Generator:
    """Derive a torch generator, on a device, from gymnasium's seeded one."""
    return torch.Generator(device).manual_seed(int(np_random.integers(2**63)))


def checked_count(name: str, value: object) -> int:
    """Return an argument that counts something.

    Raises:
        ValueError: It is no whole number above zero.
    """
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
        raise ValueError(f"expected {name} as a whole number above 0, got {name}={value!r}")
    return int(value)


def given_or_shipped_toolbox(
    toolbox: Toolbox | None, model: str | Path | None, device: torch.device
) -> Toolbox:
    """Return the toolbox itself, or the one of a model folder, or the one that the package ships.

    Raises:
        ModelError: The folder holds no usable model.
    """
    if toolbox is not None:
        return toolbox.to(device)
    shipped = Path(str(importlib.resources.files("rlrestore"))) / "weights" / "default"
    return load_toolbox(shipped if model is None else Path(model), device)


def given_or_moderate_source(
    source: PairSource | None, data: str | Path | None, device: torch.device
) -> PairSource:
    """Return the source itself, or the moderate mixture on a folder's photographs, or on dead leaves.

    Raises:
        DataError: The folder holds no usable photograph.
    """
    if source is not None:
        return source
    if data is None:
        return MixtureSource(dead_leaves(device), MODERATE)
    bank = PhotoBank.from_folder(Path(data), smallest_side=context_side(PATCH), device=device)
    return MixtureSource(bank, MODERATE)
