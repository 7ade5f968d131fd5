"""One episode at a time: the `gymnasium.Env`."""

from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium import spaces
from gymnasium.error import ResetNeeded
from numpy.typing import ArrayLike, NDArray

from rlrestore.devices import resolve_device
from rlrestore.envs.rendering import draw_chain
from rlrestore.envs.setup import (
    Arrays,
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
from rlrestore.toolbox.toolbox import Toolbox


class RestorationEnv(gymnasium.Env[Arrays, np.int64]):
    """Restore a degraded patch by applying tools, one after another.

    ## Description
    A 63×63 patch of a photograph has been degraded by blur, noise and JPEG compression of unknown amounts.
    Each action applies one restoration network of a toolbox to the current patch, or stops. The aim is the
    highest PSNR against the clean patch.

    ## Action space
    `Discrete(N + 1)`; with the twelve tools of the paper:

    | Action | Meaning |
    |---|---|
    | 0–3 | deblur-1 … deblur-4: Gaussian blur σ up to 1.25, 2.5, 3.75, 5 px |
    | 4–7 | denoise-1 … denoise-4: Gaussian noise σ up to 12.5, 25, 37.5, 50 of 255 |
    | 8–11 | dejpeg-1 … dejpeg-4: JPEG quality from 60, 35, 20, 10 |
    | 12 | stop: end the episode with the current patch |

    ## Observation space
    `Dict` with

    | Key | Space | Unit | Meaning |
    |---|---|---|---|
    | `image` | `Box(0, 1, (3, 63, 63), float32)` | sRGB level / 255 | the current patch, RGB, clipped |
    | `last_action` | `Box(0, 1, (N + 1,), float32)` | – | one-hot of the last action; zeros before it |

    The tools' outputs are floats that may leave [0, 1] slightly. Only the observation is clipped: the next
    tool and the reward use the unclipped image.

    ## Rewards
    The gain of the step in dB: in PSNR, in PSNR weighted by saliency (`imaging.saliency`), or in SSIM as
    −10·log10(1 − SSIM). The reward of stop is 0.

    ## Starting state
    A pair from the source, by default the paper's moderate mixture (`imaging.degradation.mixtures`).
    `reset(options={"degraded": array, "clean": array})`, both `(3, 63, 63)` in [0, 1], starts from that pair.

    ## Episode end
    Terminated by stop, by the `max_steps`-th action, and, with `stop_when_worse`, by a PSNR below the
    input's. Never truncated: the step limit is part of the task.

    ## Infos
    `psnr_db` now, `input_psnr_db`, the name of the `tool` just applied (`"stop"`, or `None` after a reset),
    and the `chain` of the tools' names so far.

    ## Arguments
    | Argument | Default | Meaning |
    |---|---|---|
    | `toolbox` | `None` | a `Toolbox`; else loaded from `model` |
    | `source` | `None` | a `PairSource`; else the moderate mixture on the photographs in `data` |
    | `model` | `None` | a model folder; the shipped model without it |
    | `data` | `None` | a folder of photographs; synthetic images (dead leaves) without it |
    | `max_steps` | 3 | the largest number of actions in an episode |
    | `stop_when_worse` | `False` | end an episode whose PSNR falls below its input's; for training |
    | `device` | `"cpu"` | where the tools run |
    | `reward` | `"psnr"` | or `"salient-psnr"`, `"ssim"` |
    | `render_mode` | `None` | `"rgb_array"`: the input, each step so far and the clean patch in a row |

    `gymnasium.make_vec` makes a `RestorationVectorEnv`. It takes `toolbox` … `reward`, and three more:

    | Argument | Default | Meaning |
    |---|---|---|
    | `bfloat16` | `False` | the tools compute in bfloat16 |
    | `episodes_per_pair` | 1 | how many episodes begin with the same pair |
    | `tensors` | `False` | torch tensors on the device instead of NumPy arrays (`BatchedRestorationEnv`) |

    ```python
    import gymnasium
    import rlrestore.envs

    env = gymnasium.make("rlrestore/Restoration-v1", data="photos/", render_mode="rgb_array")
    ```

    ## Version history
    * v1: `gymnasium.make_vec` takes and returns NumPy arrays, with infos as in gymnasium's vector
      environments; tensors with `tensors=True`. `gymnasium.make` is unchanged, but for gymnasium's checking
      wrappers, which are left out.
    * v0: `gymnasium.make_vec` takes and returns tensors on the device. The task is as in Yu et al., CVPR
      2018, section 3, with a float image and the stop action always allowed.
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 1}  # noqa: RUF012

    def __init__(
        self,
        toolbox: Toolbox | None = None,
        source: PairSource | None = None,
        *,
        model: str | Path | None = None,
        data: str | Path | None = None,
        max_steps: int = 3,
        stop_when_worse: bool = False,
        device: str | torch.device = "cpu",
        render_mode: str | None = None,
        reward: Reward = "psnr",
    ) -> None:
        if render_mode not in (None, "rgb_array"):
            raise ValueError(f"expected render_mode 'rgb_array' or None, got {render_mode!r}")
        self.reward = checked_reward(reward)
        self.device = resolve_device(str(device))
        self.toolbox = given_or_shipped_toolbox(toolbox, model, self.device)
        self.source = given_or_moderate_source(source, data, self.device)
        self.max_steps = checked_count("max_steps", max_steps)
        self.stop_when_worse = stop_when_worse
        self.render_mode = render_mode
        self.action_space = spaces.Discrete(self.toolbox.stop + 1)
        self.observation_space = observation_space(self.toolbox.stop + 1)
        self._generator: torch.Generator | None = None
        self._history: list[EpisodeState] = []
        self._terminated = True

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Arrays, dict[str, Any]]:
        """Begin an episode; see `gymnasium.Env.reset` and "Starting state" above.

        Raises:
            ValueError: `options` does not hold a whole pair of patches.
        """
        super().reset(seed=seed)
        if seed is not None or self._generator is None:
            self._generator = torch_generator(self.np_random, self.device)
        if options:
            degraded, clean = (self._given(options, name) for name in ("degraded", "clean"))
        else:
            degraded, clean = self.source(1, self._generator)
        self._history = [start(degraded, clean)]
        self._terminated = False
        return self._observation(), self._info()

    @torch.no_grad()
    def step(self, action: np.int64 | int) -> tuple[Arrays, float, bool, bool, dict[str, Any]]:
        """Take one action; see `gymnasium.Env.step`.

        Raises:
            ResetNeeded: The episode has not begun, or is over.
            ValueError: There is no such action.
        """
        if self._terminated:
            raise ResetNeeded(
                "expected a running episode, got a step before reset() or after the end: call reset()"
            )
        if not self.action_space.contains(action):
            raise ValueError(f"expected an action from 0 to {self.toolbox.stop}, got {action!r}")
        actions = torch.tensor([int(action)], device=self.device)
        moved = transition(
            self.toolbox,
            self._history[-1],
            actions,
            self.max_steps,
            self.stop_when_worse,
            reward=self.reward,
        )
        self._history.append(moved.state)
        self._terminated = bool(moved.terminated)
        return self._observation(), float(moved.reward), self._terminated, False, self._info()

    def render(self) -> NDArray[np.uint8] | None:
        """Draw the chain so far as `(H, W, 3)` uint8; the frame's size is the same throughout an episode.

        Raises:
            ResetNeeded: No episode has begun.
        """
        if self.render_mode is None:
            return None
        if not self._history:
            raise ResetNeeded("expected a running episode, got render() before reset(): call reset() first")
        chain = [state.images[0] for state in self._history if int(state.last_action) != self.toolbox.stop]
        return draw_chain(chain, self._history[0].clean[0], slots=self.max_steps + 1)

    def _given(self, options: dict[str, Any], name: str) -> torch.Tensor:
        """Return one patch of `options` as a batch of one."""
        value: ArrayLike | None = options.get(name)
        patch = torch.as_tensor(np.array(value, np.float32), device=self.device)
        if patch.shape != (3, PATCH, PATCH):
            came = "nothing" if value is None else f"shape {tuple(patch.shape)}"
            raise ValueError(f"expected options[{name!r}] of shape (3, {PATCH}, {PATCH}), got {came}")
        return patch[None]

    def _observation(self) -> Arrays:
        batch = observation(self._history[-1], self.toolbox.stop + 1)
        return {name: value[0].cpu().numpy() for name, value in batch.items()}

    def _info(self) -> dict[str, Any]:
        names = (*self.toolbox.names, "stop")
        taken = [names[int(state.last_action)] for state in self._history[1:]]
        now = self._history[-1]
        return {
            "psnr_db": float(now.psnr_db),
            "input_psnr_db": float(now.start_psnr_db),
            "tool": taken[-1] if taken else None,
            "chain": tuple(name for name in taken if name != "stop"),
        }
