"""Many episodes at once, on the device: torch tensors in, torch tensors out."""

from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from gymnasium import spaces
from gymnasium.error import ResetNeeded
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from torch import Tensor

from rlrestore.devices import resolve_device
from rlrestore.envs.reserve import Reserve
from rlrestore.envs.setup import (
    checked_count,
    given_or_moderate_source,
    given_or_shipped_toolbox,
    observation,
    observation_space,
    torch_generator,
)
from rlrestore.envs.sources import PairSource
from rlrestore.envs.transition import EpisodeState, start, transition
from rlrestore.imaging import PATCH
from rlrestore.imaging.rewards import Reward, checked_reward
from rlrestore.toolbox.functional import FunctionalTools
from rlrestore.toolbox.specs import NO_ACTION
from rlrestore.toolbox.toolbox import Toolbox, Tools, group_sizes

Observation = dict[str, Tensor]


class BatchedRestorationEnv(VectorEnv[Observation, Tensor, Tensor]):
    """B episodes of `RestorationEnv`, stepped together.

    Spaces, rewards, episode ends and arguments are those of `RestorationEnv`. Inputs and outputs are torch
    tensors on the device; the images are grouped by tool, and each tool runs on its group.
    `RestorationVectorEnv` is the same with NumPy arrays.

    A step waits for the device once, at its start, for 14 numbers: how often each action is taken, from which
    the groups of images are formed, and how many new episodes are ready. Those are drawn ahead; where an
    episode ends, the next in line takes its place. A `CandidateSource` such as `MixtureSource` is sampled
    without waiting, except for the very first pairs; other sources wait while they are sampled.

    Autoreset is `SAME_STEP`: where an episode ends, the observation returned is already the first of the next
    one. In every step `infos["final_obs"]` and `infos["final_info"]` hold the observations and infos of all B
    episodes from before the resets; the masks `infos["_final_obs"]` and `["_final_info"]` mark those that
    ended.

    Infos: `psnr_db`, `input_psnr_db` `(B,)`; `chain` `(B, max_steps)` int64, the tools applied so far, -1 for
    none.

    Two additional arguments. With `bfloat16` the tools compute in bfloat16, with copies of their weights that
    are made here and at every reset; it takes half the time on devices that support it well
    (`training_precision`) and changes a reward by 0.002 dB on average, in one step of a hundred by more than
    0.01. With `episodes_per_pair` so many episodes, one after another, begin with the same pair: to degrade
    patches takes much of the time. On a GPU of NVIDIA the tools are compiled.

    Attributes:
        tools: What is applied: the toolbox, or functions of its weights.
        reserve: Initial states, drawn ahead.
    """

    metadata: dict[str, Any] = {"render_modes": [], "autoreset_mode": AutoresetMode.SAME_STEP}  # noqa: RUF012

    def __init__(
        self,
        num_envs: int,
        toolbox: Toolbox | None = None,
        source: PairSource | None = None,
        *,
        model: str | Path | None = None,
        data: str | Path | None = None,
        max_steps: int = 3,
        stop_when_worse: bool = False,
        device: str | torch.device = "cpu",
        bfloat16: bool = False,
        episodes_per_pair: int = 1,
        reward: Reward = "psnr",
    ) -> None:
        self.reward = checked_reward(reward)
        self.num_envs = checked_count("num_envs", num_envs)
        self.device = resolve_device(str(device))
        self.toolbox = given_or_shipped_toolbox(toolbox, model, self.device)
        self.source = given_or_moderate_source(source, data, self.device)
        self.max_steps = checked_count("max_steps", max_steps)
        self.stop_when_worse = stop_when_worse
        self.episodes_per_pair = checked_count("episodes_per_pair", episodes_per_pair)
        self.tools: Tools = rollout_tools(self.toolbox, bfloat16)
        self.single_action_space = spaces.Discrete(self.toolbox.stop + 1)
        self.single_observation_space = observation_space(self.toolbox.stop + 1)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self.reserve = self._new_reserve()
        self._state: EpisodeState | None = None
        self._chains = self._no_chains(num_envs)

    @cached_property
    def observation_space(self) -> spaces.Space[Any]:  # type: ignore[override]  # bounds of 8192 images fill 1 GB
        """The batched space, made when first asked for."""
        return batch_space(self.single_observation_space, self.num_envs)

    @property
    def state(self) -> EpisodeState:
        """Where the episodes are now, for learners that use the simulator (`transition.expand`).

        Raises:
            ResetNeeded: The episodes have not begun.
        """
        if self._state is None:
            raise ResetNeeded("expected running episodes, got none yet: call reset() first")
        return self._state

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Begin B episodes, from one stream of pairs.

        Args:
            seed: Restarts the stream; without it, the pairs drawn ahead are used first. With one episode it
                is the stream of `RestorationEnv` with this seed.
            options: `degraded` and `clean`, tensors `(B, 3, 63, 63)` on the device, to start from.

        Raises:
            ValueError: The given pairs are not B pairs of patches.
        """
        super().reset(seed=seed)
        if isinstance(self.tools, FunctionalTools):
            self.tools.refresh()
        if seed is not None:
            self.reserve = self._new_reserve()
        if options:
            self._state = start(*(self._given(options, name) for name in ("degraded", "clean")))
        else:
            self.reserve.fill(int(self.reserve.ready))
            self._state = self.reserve.take(self.num_envs)
        self._chains = self._no_chains(self.num_envs)
        return self._observation(self._state), self._info(self._state)

    @torch.no_grad()
    def step(self, actions: Tensor) -> tuple[Observation, Tensor, Tensor, Tensor, dict[str, Any]]:
        """Take one action in every episode, and begin a new one where one ended.

        Args:
            actions: `(B,)` int64 on the device.

        Returns:
            Observations, rewards `(B,)` in dB, terminated `(B,)`, truncated `(B,)` all false, infos.

        Raises:
            ResetNeeded: The episodes have not begun.
            ValueError: The actions are not B numbers from 0 to N.
        """
        before = self.state
        sizes, ready = self._read_counts(actions)
        self.reserve.fill(ready)
        moved = transition(
            self.tools, before, actions, self.max_steps, self.stop_when_worse, sizes, self.reward
        )
        ended = moved.terminated
        tools = torch.where(actions == self.toolbox.stop, NO_ACTION, actions)
        self._chains = self._chains.scatter(1, before.steps[:, None], tools[:, None])
        finals = {
            "final_obs": self._observation(moved.state),
            "final_info": self._info(moved.state),
            "_final_obs": ended,
            "_final_info": ended,
        }
        self._state = self.reserve.begin(moved.state, ended)
        self._chains = self._chains.masked_fill(ended[:, None], NO_ACTION)
        infos = {**self._info(self._state), **finals}
        return self._observation(self._state), moved.reward, ended, torch.zeros_like(ended), infos

    def _read_counts(self, actions: Tensor) -> tuple[list[int], int]:
        """Read from the device how often each action is taken and how many new episodes are ready.

        Raises:
            ValueError: The actions are not B numbers from 0 to N.
        """
        stop = self.toolbox.stop
        if actions.shape != (self.num_envs,) or actions.dtype != torch.int64:
            came = f"{tuple(actions.shape)} {actions.dtype}"
            raise ValueError(f"expected actions ({self.num_envs},) torch.int64, got {came}")
        counts = torch.cat((group_sizes(self.toolbox, actions), self.reserve.ready[None]))
        *sizes, ready = counts.tolist()
        if sum(sizes) != self.num_envs:
            low, high = int(actions.min()), int(actions.max())
            raise ValueError(f"expected actions from 0 to {stop}, got some from {low} to {high}")
        return sizes, ready

    def _given(self, options: dict[str, Any], name: str) -> Tensor:
        """Return the patches of `options` of this name.

        Raises:
            ValueError: They are not B patches.
        """
        expected, value = (self.num_envs, 3, PATCH, PATCH), options.get(name)
        if not isinstance(value, Tensor) or value.shape != expected:
            came = f"shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
            raise ValueError(f"expected options[{name!r}] as a tensor of shape {expected}, got {came}")
        return value

    def _new_reserve(self) -> Reserve:
        generator = torch_generator(self.np_random, self.device)
        return Reserve(self.source, generator, self.num_envs, self.episodes_per_pair)

    def _no_chains(self, count: int) -> Tensor:
        return torch.full((count, self.max_steps), NO_ACTION, dtype=torch.int64, device=self.device)

    def _observation(self, state: EpisodeState) -> Observation:
        return observation(state, self.toolbox.stop + 1)

    def _info(self, state: EpisodeState) -> dict[str, Any]:
        return {"psnr_db": state.psnr_db, "input_psnr_db": state.start_psnr_db, "chain": self._chains}


def rollout_tools(toolbox: Toolbox, bfloat16: bool) -> Tools:
    """Return the tools for episodes without gradients: as they are, or as functions of copied weights.

    Args:
        toolbox: The tools.
        bfloat16: Whether to compute in it.
    """
    compiled = toolbox.device.type == "cuda"
    if not (bfloat16 or compiled):
        return toolbox
    return FunctionalTools(toolbox, torch.bfloat16 if bfloat16 else torch.float32, compiled)
