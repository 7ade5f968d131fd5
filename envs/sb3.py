"""The batched environment as a `VecEnv` of stable-baselines3: NumPy arrays, the image as a flat vector.

stable-baselines3 expects images as 8-bit pixels and recommends flat vectors for float images. A features
extractor reshapes the vector to `(3, 63, 63)`; docs/environment.md has an example.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import gymnasium
import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from stable_baselines3.common.vec_env import VecEnv
from torch import Tensor

from rlrestore.envs.setup import Arrays, dict_space

if TYPE_CHECKING:
    from rlrestore.envs.batched import BatchedRestorationEnv

Indices = None | int | Iterable[int]


def flat_space(space: spaces.Space[Any]) -> spaces.Space[Arrays]:
    """Return a Dict space with each of its boxes made one-dimensional.

    Raises:
        TypeError: It is not a Dict of boxes.
    """
    if not isinstance(space, spaces.Dict):
        raise TypeError(f"expected a Dict of boxes, got {space}")
    return dict_space({name: spaces.flatten_space(box) for name, box in space.items()})


class RestorationVecEnv(VecEnv):
    """A `BatchedRestorationEnv` for the algorithms of stable-baselines3 and sb3-contrib.

    Infos of each episode: `psnr_db`, `input_psnr_db`. Where an episode ended, `terminal_observation` is added
    and both PSNRs are those at its end; the next episode has already begun, as stable-baselines3 expects.
    """

    def __init__(self, batched: "BatchedRestorationEnv") -> None:
        self.batched = batched
        self._actions = torch.zeros(batched.num_envs, dtype=torch.int64, device=batched.device)
        space = flat_space(batched.single_observation_space)
        super().__init__(batched.num_envs, space, batched.single_action_space)

    def reset(self) -> Arrays:
        """Begin all episodes; a seed set by `seed` is used once."""
        observation, _ = self.batched.reset(seed=self._seeds[0])
        self._reset_seeds()
        self._reset_options()
        return _to_numpy(observation)

    def step_async(self, actions: NDArray[np.int64]) -> None:
        """Store the actions `(B,)` for `step_wait`.

        Raises:
            ValueError: They are no integers.
        """
        kind = np.asarray(actions).dtype
        if kind.kind not in "iu":
            raise ValueError(f"expected actions ({self.num_envs},) of integers, got {kind}")
        self._actions = torch.as_tensor(actions, dtype=torch.int64, device=self.batched.device)

    def step_wait(
        self,
    ) -> tuple[Arrays, NDArray[np.float32], NDArray[np.bool_], list[dict[str, Any]]]:
        """Return flat observations, rewards in dB `(B,)`, dones `(B,)`, and one info for each episode."""
        observation, reward, terminated, _, infos = self.batched.step(self._actions)
        dones = terminated.cpu().numpy()
        last = infos.get("final_info", infos)
        psnr_db, input_psnr_db = (
            torch.where(terminated, last[name], infos[name]).tolist() for name in ("psnr_db", "input_psnr_db")
        )
        each: list[dict[str, Any]] = [
            {"psnr_db": now, "input_psnr_db": then} for now, then in zip(psnr_db, input_psnr_db, strict=True)
        ]
        if dones.any():
            final = _to_numpy(infos["final_obs"])
            for index in dones.nonzero()[0]:
                each[index]["terminal_observation"] = {name: value[index] for name, value in final.items()}
        return _to_numpy(observation), reward.cpu().numpy(), dones, each

    def close(self) -> None:
        """Close the batched environment."""
        self.batched.close()

    def get_attr(self, attr_name: str, indices: Indices = None) -> list[Any]:
        """Return the batched environment's attribute, once for each index."""
        return [getattr(self.batched, attr_name) for _ in self._get_indices(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: Indices = None) -> None:
        """Set an attribute of the batched environment, which all episodes share.

        Raises:
            ValueError: It is asked for some of the episodes only.
        """
        if len(list(self._get_indices(indices))) != self.num_envs:
            raise ValueError(
                f"expected all {self.num_envs} indices, got {indices}: the episodes share {attr_name}"
            )
        setattr(self.batched, attr_name, value)

    def env_method(
        self, method_name: str, *method_args: Any, indices: Indices = None, **method_kwargs: Any
    ) -> list[Any]:
        """Refuse: the episodes are one object, and a call for each of them would run it many times.

        Raises:
            NotImplementedError: Always.
        """
        raise NotImplementedError(f"the episodes are stepped as one: call {method_name} on `batched` instead")

    def env_is_wrapped(
        self, wrapper_class: type[gymnasium.Wrapper[Any, Any, Any, Any]], indices: Indices = None
    ) -> list[bool]:
        """Return for each index whether the batched environment is such a wrapper."""
        return [isinstance(self.batched, wrapper_class) for _ in self._get_indices(indices)]


def _to_numpy(observation: dict[str, Tensor]) -> Arrays:
    return {name: value.flatten(1).cpu().numpy() for name, value in observation.items()}
