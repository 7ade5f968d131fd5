"""Environments on every device that this machine has."""

import gymnasium
import numpy as np
import pytest
import torch

from rlrestore.envs import ENV_ID
from rlrestore.envs.batched import BatchedRestorationEnv
from rlrestore.envs.leaves import dead_leaves
from rlrestore.envs.setup import given_or_shipped_toolbox
from rlrestore.envs.single import RestorationEnv
from rlrestore.envs.sources import MixtureSource
from rlrestore.imaging.degradation.mixtures import MODERATE

CPU = torch.device("cpu")


@pytest.mark.parametrize("bfloat16", [False, True])
def test_a_step_is_that_of_the_processor(device: torch.device, bfloat16: bool) -> None:
    """From the same pairs by the same actions; convolutions of a GPU round a little more."""
    pairs = MixtureSource(dead_leaves(), MODERATE)(13, torch.Generator().manual_seed(0))
    actions = torch.arange(13).roll(3)
    rewards = []
    for place in (CPU, device):
        batched = BatchedRestorationEnv(13, device=place, bfloat16=bfloat16 and place == device)
        names = ("degraded", "clean")
        batched.reset(options={name: pair.to(place) for name, pair in zip(names, pairs, strict=True)})
        observation, reward, terminated, _, infos = batched.step(actions.to(place))
        assert observation["image"].device.type == reward.device.type == place.type
        assert terminated.tolist() == (actions == 12).tolist()
        assert infos["final_info"]["chain"][:, 0].tolist() == [-1 if each == 12 else each for each in actions]
        rewards.append(reward.cpu())
    torch.testing.assert_close(rewards[1], rewards[0], rtol=0, atol=0.2 if bfloat16 else 0.02)


@pytest.mark.parametrize("episodes", [1, 50])
def test_episodes_begin_and_end_on_the_device(device: torch.device, episodes: int) -> None:
    batched = BatchedRestorationEnv(episodes, device=device)
    batched.reset(seed=1)
    generator = torch.Generator(device).manual_seed(0)
    ended = 0
    for _ in range(6):
        actions = torch.randint(13, (episodes,), generator=generator, device=device)
        observation, rewards, terminated, _, infos = batched.step(actions)
        assert bool(rewards.isfinite().all())
        assert float(observation["image"].min()) >= 0
        assert bool((infos["psnr_db"][terminated] == infos["input_psnr_db"][terminated]).all())
        ended += int(terminated.sum())
    assert ended >= 2 * episodes


def test_the_single_environment_takes_arrays(device: torch.device) -> None:
    env = RestorationEnv(device=device)
    observation, _ = env.reset(seed=3)
    assert env.observation_space.contains(observation)
    observation, reward, terminated, truncated, _ = env.step(8)
    assert env.observation_space.contains(observation)
    assert np.isfinite(reward)
    assert not terminated
    assert not truncated


def test_gymnasium_makes_it(device: torch.device) -> None:
    vector = gymnasium.make_vec(ENV_ID, 4, vectorization_mode="vector_entry_point", device=str(device))
    vector.reset(seed=0)
    observations, rewards, *_ = vector.step(np.array([0, 3, 8, 12]))
    assert vector.observation_space.contains(observations)
    assert rewards[3] == 0


def test_the_shipped_tools_lie_there(device: torch.device) -> None:
    assert given_or_shipped_toolbox(None, None, device).device.type == device.type
