import math
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import stable_baselines3.common.env_checker
import torch
from gymnasium.error import ResetNeeded
from gymnasium.utils.env_checker import check_env
from gymnasium.wrappers import FlattenObservation
from numpy.typing import NDArray
from PIL import Image

from rlrestore.envs import ENV_ID
from rlrestore.envs.single import RestorationEnv
from rlrestore.envs.sources import PairSource
from rlrestore.errors import UsageError
from rlrestore.model_folder.card import ModelCard
from rlrestore.toolbox.storage import save_toolbox
from rlrestore.toolbox.toolbox import Toolbox

DARKEN, BRIGHTEN, SMOOTH, STOP = range(4)


@pytest.fixture
def env(toolbox: Toolbox, source: PairSource) -> RestorationEnv:
    made = gymnasium.make(ENV_ID, toolbox=toolbox, source=source, render_mode="rgb_array").unwrapped
    assert isinstance(made, RestorationEnv)
    return made


def bright_pair() -> dict[str, Any]:
    """A pair whose input is 0.1 too bright, 20 dB."""
    clean = np.full((3, 63, 63), 0.5, np.float32)
    return {"degraded": clean + np.float32(0.1), "clean": clean}


@pytest.mark.parametrize("render_mode", [None, "rgb_array"])
def test_gymnasiums_checker_passes_what_gymnasium_makes(
    toolbox: Toolbox, source: PairSource, render_mode: str | None
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        made = gymnasium.make(ENV_ID, toolbox=toolbox, source=source, render_mode=render_mode)
        check_env(made)
        assert made.unwrapped is made


def test_stable_baselines3s_checker_passes_a_flat_observation(env: RestorationEnv) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        flat = FlattenObservation(env)
        stable_baselines3.common.env_checker.check_env(flat, warn=True, skip_render_check=False)


def test_stable_baselines3s_checker_only_warns_twice_of_the_float_image(env: RestorationEnv) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        stable_baselines3.common.env_checker.check_env(env, warn=True, skip_render_check=False)
    assert ["image is an image" in str(warning.message) for warning in caught] == [True, True]


def test_the_reward_is_measured_as_asked_for_and_the_infos_stay_psnr(toolbox: Toolbox) -> None:
    """0.1 too bright, then 0.05: in PSNR 6 dB, in SSIM of flat patches as by hand."""
    env = RestorationEnv(toolbox, reward="ssim")
    env.reset(options=bright_pair())
    _, reward, _, _, info = env.step(DARKEN)
    assert info["psnr_db"] == pytest.approx(26.02, abs=0.01)
    least = [1 - (2 * 0.5 * grey + 1e-4) / (0.25 + grey**2 + 1e-4) for grey in (0.6, 0.55)]  # no contrast
    assert reward == pytest.approx(10 * math.log10(least[0] / least[1]), abs=0.01)
    _, reward, terminated, _, _ = env.step(STOP)
    assert (reward, terminated) == (0.0, True)
    with pytest.raises(ValueError, match="expected a reward of psnr, salient-psnr, ssim, got 'lpips'"):
        gymnasium.make(ENV_ID, toolbox=toolbox, reward="lpips")


def test_an_episode_from_a_given_pair(env: RestorationEnv) -> None:
    observation, info = env.reset(options=bright_pair())
    assert info == {
        "psnr_db": pytest.approx(20, abs=1e-3),
        "input_psnr_db": pytest.approx(20, abs=1e-3),
        "tool": None,
        "chain": (),
    }
    assert observation["image"].max() == pytest.approx(0.6)
    assert observation["last_action"].tolist() == [0, 0, 0, 0]

    observation, reward, terminated, truncated, info = env.step(DARKEN)
    assert reward == pytest.approx(6.0206, abs=1e-3)
    assert (terminated, truncated) == (False, False)
    assert observation["image"].max() == pytest.approx(0.55)
    assert observation["last_action"].tolist() == [1, 0, 0, 0]
    assert (info["tool"], info["chain"]) == ("darken", ("darken",))

    _, reward, terminated, truncated, info = env.step(STOP)
    assert (reward, terminated, truncated) == (0.0, True, False)
    assert (info["tool"], info["chain"]) == ("stop", ("darken",))
    assert info["psnr_db"] == pytest.approx(26.0206, abs=1e-3)


def test_the_step_limit_is_part_of_the_task(toolbox: Toolbox, source: PairSource) -> None:
    env = RestorationEnv(toolbox, source, max_steps=2)
    env.reset(seed=0)
    assert env.step(SMOOTH)[2:4] == (False, False)
    assert env.step(SMOOTH)[2:4] == (True, False)


def test_a_worse_image_ends_training_episodes(toolbox: Toolbox, source: PairSource) -> None:
    env = RestorationEnv(toolbox, source, stop_when_worse=True)
    env.reset(options=bright_pair())
    assert env.step(BRIGHTEN)[2] is True


def test_the_same_seed_gives_the_same_episodes(env: RestorationEnv) -> None:
    first = [env.reset(seed=5)[0]["image"], env.reset()[0]["image"]]
    again = [env.reset(seed=5)[0]["image"], env.reset()[0]["image"]]
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first[0], first[1])


def test_the_state_is_not_clipped_between_steps(env: RestorationEnv) -> None:
    """Brightened beyond 1 and darkened again, a patch comes back whole, as it could not after a clip."""
    white = np.full((3, 63, 63), 0.95, np.float32)
    env.reset(options={"degraded": white, "clean": white})
    observation, *_ = env.step(BRIGHTEN)
    assert observation["image"].max() == 1.0
    for _ in range(2):
        _, _, terminated, _, info = env.step(DARKEN)
    assert terminated
    assert info["psnr_db"] == pytest.approx(20, abs=1e-3)  # 0.2 - 2 · 0.05 too bright


def test_rendering_draws_the_chain_so_far(env: RestorationEnv) -> None:
    env.reset(options=bright_pair())
    env.step(DARKEN)
    frame = env.render()
    assert frame is not None
    assert frame.shape == (63, 5 * 63 + 4 * 2, 3)
    places = [frame[0, slot * 65 : slot * 65 + 63] for slot in range(5)]
    assert [int(place[0, 0]) for place in places] == [
        153,
        140,
        255,
        255,
        128,
    ]  # input, step, two blanks, clean
    assert all((place == place[0, 0]).all() for place in places)
    env.step(STOP)
    np.testing.assert_array_equal(env.render(), frame)


def test_without_a_render_mode_nothing_is_drawn(toolbox: Toolbox, source: PairSource) -> None:
    assert RestorationEnv(toolbox, source).render() is None


def test_an_unknown_render_mode_is_refused(toolbox: Toolbox, source: PairSource) -> None:
    with pytest.raises(ValueError, match="expected render_mode 'rgb_array' or None, got 'human'"):
        RestorationEnv(toolbox, source, render_mode="human")


@pytest.mark.parametrize("steps", [0, -1, 1.5, "3", True])
def test_a_step_limit_that_counts_nothing_is_refused(
    toolbox: Toolbox, source: PairSource, steps: Any
) -> None:
    with pytest.raises(ValueError, match=f"max_steps as a whole number above 0, got max_steps={steps!r}"):
        RestorationEnv(toolbox, source, max_steps=steps)


def test_a_device_that_is_not_there_is_named(toolbox: Toolbox, source: PairSource) -> None:
    with pytest.raises(UsageError, match="device 'cuda:99' is not available: expected one of cpu"):
        RestorationEnv(toolbox, source, device="cuda:99")


@pytest.mark.parametrize(
    ("pair", "got"),
    [
        (np.zeros((1, 3, 63, 63), np.float32), "ndarray"),
        (torch.zeros((1, 3, 63, 63), dtype=torch.uint8), "torch.uint8"),
    ],
)
def test_a_source_of_something_else_is_refused(toolbox: Toolbox, pair: Any, got: str) -> None:
    env = RestorationEnv(toolbox, lambda *_: (pair, pair))
    with pytest.raises(ValueError, match=rf"expected pairs of tensors of floats in \[0, 1\], got {got}"):
        env.reset(seed=0)


def test_rendering_and_stepping_need_a_reset(env: RestorationEnv) -> None:
    with pytest.raises(ResetNeeded, match=r"call reset\(\)"):
        env.render()
    with pytest.raises(ResetNeeded, match=r"call reset\(\)"):
        env.step(STOP)
    env.reset(seed=0)
    env.step(STOP)
    with pytest.raises(ResetNeeded, match=r"call reset\(\)"):
        env.step(DARKEN)


@pytest.mark.parametrize("action", [-1, 4])
def test_an_action_that_does_not_exist_is_refused(env: RestorationEnv, action: int) -> None:
    env.reset(seed=0)
    with pytest.raises(ValueError, match=f"expected an action from 0 to 3, got {action}"):
        env.step(action)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"degraded": np.zeros((3, 63, 63))},
            r"expected options\['clean'\] of shape \(3, 63, 63\), got nothing",
        ),
        ({"degraded": np.zeros((63, 63, 3))}, r"options\['degraded'\] .* got shape \(63, 63, 3\)"),
    ],
)
def test_half_a_pair_is_refused(env: RestorationEnv, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        env.reset(options=options)


def test_an_environment_from_a_model_folder_and_no_data(tmp_path: Path) -> None:
    torch.manual_seed(0)
    save_toolbox(tmp_path, Toolbox(), ModelCard("untrained"))
    env = gymnasium.make(ENV_ID, model=tmp_path)
    observation, info = env.reset(seed=0)
    assert env.action_space == gymnasium.spaces.Discrete(13)
    assert observation["last_action"].shape == (13,)
    assert 10 < info["psnr_db"] < 40
    _, _, _, _, info = env.step(np.int64(5))
    assert info["tool"] == "denoise-2"


def test_an_environment_on_a_folder_of_photographs(
    toolbox: Toolbox, tmp_path: Path, make_photograph: Callable[..., NDArray[np.uint8]]
) -> None:
    Image.fromarray(make_photograph(160, 200)).save(tmp_path / "photo.png")
    env = RestorationEnv(toolbox, data=tmp_path)
    observation, info = env.reset(seed=0)
    assert observation["image"].std() > 0
    assert 10 < info["psnr_db"] < 50
