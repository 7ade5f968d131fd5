"""The vector environment of `gymnasium.make_vec`: NumPy arrays in and out, or tensors on request."""

from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from gymnasium.vector import VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from rlrestore.envs.batched import BatchedRestorationEnv
from rlrestore.envs.setup import Arrays


class RestorationVectorEnv(VectorEnv[Arrays, NDArray[np.integer[Any]], NDArray[Any]]):
    """A `BatchedRestorationEnv` that takes and returns NumPy arrays, as gymnasium's vector wrappers expect.

    Autoreset is `SAME_STEP`. Infos follow gymnasium's vector environments: `psnr_db`, `input_psnr_db` `(B,)`
    float32 and `chain` `(B, max_steps)` int64, the tools applied so far and -1 for none, each with a mask
    `_psnr_db` … `(B,)` bool. Where an episode ended, and only then, `final_obs` holds its last observation
    (`(B,)` object, `None` for the others) and `final_info` its last infos, valid where their masks say so.

    All arrays are copies: changing one changes nothing in the environment.
    """

    def __init__(self, batched: BatchedRestorationEnv) -> None:
        self.batched = batched
        self.num_envs = batched.num_envs
        self.metadata = batched.metadata
        self.single_action_space = batched.single_action_space
        self.single_observation_space = batched.single_observation_space
        self.action_space = batch_space(batched.single_action_space, batched.num_envs)

    @property
    def observation_space(self) -> spaces.Space[Any]:  # type: ignore[override]  # made when first asked for
        """The batched space."""
        return self.batched.observation_space

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Arrays, dict[str, Any]]:
        """Begin B episodes; see `BatchedRestorationEnv.reset`.

        Args:
            seed: Of the stream of pairs.
            options: `degraded` and `clean`, arrays `(B, 3, 63, 63)` in [0, 1], to start from.

        Raises:
            ValueError: The given pairs are not B pairs of patches.
        """
        super().reset(seed=seed)
        pairs = {name: self._to_tensor(value) for name, value in (options or {}).items()}
        observation, infos = self.batched.reset(seed=seed, options=pairs)
        return _arrays(observation), _masked(infos, np.ones(self.num_envs, np.bool_))

    def step(
        self, actions: NDArray[np.integer[Any]]
    ) -> tuple[Arrays, NDArray[Any], NDArray[Any], NDArray[Any], dict[str, Any]]:
        """Take one action in every episode, and begin a new one where one ended.

        Args:
            actions: `(B,)` of any integer type.

        Returns:
            Observations, rewards `(B,)` float32 in dB, terminated `(B,)` bool, truncated `(B,)` all false,
            infos.

        Raises:
            ResetNeeded: The episodes have not begun.
            ValueError: The actions are not B integers from 0 to N.
        """
        given = np.asarray(actions)
        if given.dtype.kind not in "iu":
            raise ValueError(f"expected actions ({self.num_envs},) of integers, got {given.dtype}")
        taken = torch.from_numpy(given.astype(np.int64)).to(self.batched.device)
        observation, rewards, terminated, truncated, infos = self.batched.step(taken)
        final_obs, final_info = infos.pop("final_obs"), infos.pop("final_info")
        del infos["_final_obs"], infos["_final_info"]
        ended = _array(terminated)
        came = _masked(infos, np.ones(self.num_envs, np.bool_))
        if ended.any():
            came["final_obs"], came["_final_obs"] = _last_observations(final_obs, terminated), ended.copy()
            came["final_info"], came["_final_info"] = _masked(final_info, ended), ended.copy()
        return _arrays(observation), _array(rewards), ended, _array(truncated), came

    def close_extras(self, **_: Any) -> None:
        """Close the batched environment."""
        self.batched.close()

    def _to_tensor(self, value: ArrayLike) -> Tensor:
        return torch.from_numpy(np.array(value, np.float32)).to(self.batched.device)


def make_vector_env(
    num_envs: int, *, tensors: bool = False, **arguments: Any
) -> RestorationVectorEnv | BatchedRestorationEnv:
    """Make what `gymnasium.make_vec` returns.

    Args:
        num_envs: How many episodes are stepped together.
        tensors: Take and return torch tensors on the device: a `BatchedRestorationEnv`.
        arguments: Of `BatchedRestorationEnv`.
    """
    batched = BatchedRestorationEnv(num_envs, **arguments)
    return batched if tensors else RestorationVectorEnv(batched)


def _array(tensor: Tensor) -> NDArray[Any]:
    """Return a copy on the host."""
    values: NDArray[Any] = tensor.numpy(force=True).copy()
    return values


def _arrays(tensors: dict[str, Tensor]) -> dict[str, NDArray[Any]]:
    return {name: _array(tensor) for name, tensor in tensors.items()}


def _masked(infos: dict[str, Tensor], mask: NDArray[np.bool_]) -> dict[str, Any]:
    """Return the infos as arrays, each followed by the mask of the episodes for which it is valid."""
    masks = {f"_{name}": mask.copy() for name in infos}
    return {**_arrays(infos), **masks}


def _last_observations(observations: dict[str, Tensor], ended: Tensor) -> NDArray[np.object_]:
    """Return `(B,)`: the observation of each episode that ended, `None` for the others."""
    places = ended.nonzero().squeeze(1)
    last = {name: _array(tensor[places]) for name, tensor in observations.items()}
    each = np.full(len(ended), None, np.object_)
    for row, place in enumerate(places.tolist()):
        each[place] = {name: array[row] for name, array in last.items()}
    return each
