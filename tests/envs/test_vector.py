from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode
from gymnasium.wrappers.vector import DictInfoToList, NormalizeReward, RecordEpisodeStatistics
from numpy.typing import NDArray

from rlrestore.envs import ENV_ID
from rlrestore.envs.batched import BatchedRestorationEnv
from rlrestore.envs.sources import PairSource
from rlrestore.envs.vector import RestorationVectorEnv
from rlrestore.toolbox.toolbox import Toolbox

SMOOTH, STOP = 2, 3


@pytest.fixture
def envs(toolbox: Toolbox, source: PairSource) -> RestorationVectorEnv:
    made = gymnasium.make_vec(ENV_ID, num_envs=3, toolbox=toolbox, source=source)
    assert isinstance(made, RestorationVectorEnv)
    return made


def random_actions(steps: int) -> NDArray[np.int64]:
    return np.random.default_rng(0).integers(STOP + 1, size=(steps, 3))


def test_it_takes_and_returns_arrays_of_its_spaces(envs: RestorationVectorEnv) -> None:
    observation, infos = envs.reset(seed=0)
    assert observation in envs.observation_space
    assert infos["_psnr_db"].all()
    observation, rewards, terminated, truncated, _ = envs.step(envs.action_space.sample())
    assert observation in envs.observation_space
    assert envs.metadata["autoreset_mode"] is AutoresetMode.SAME_STEP
    kinds = [(values.shape, values.dtype) for values in (rewards, terminated, truncated)]
    assert kinds == [((3,), np.float32), ((3,), np.bool_), ((3,), np.bool_)]
    envs.close()
    assert envs.batched.closed


def test_the_episodes_are_those_of_the_tensors(
    envs: RestorationVectorEnv, toolbox: Toolbox, source: PairSource
) -> None:
    tensors = gymnasium.make_vec(ENV_ID, num_envs=3, toolbox=toolbox, source=source, tensors=True)
    assert isinstance(tensors, BatchedRestorationEnv)
    expected, expected_infos = tensors.reset(seed=3)
    came, infos = envs.reset(seed=3)
    for actions in random_actions(9).astype(np.int8):
        for name in ("image", "last_action"):
            np.testing.assert_array_equal(came[name], expected[name].numpy())
        for name in ("psnr_db", "input_psnr_db", "chain"):
            np.testing.assert_array_equal(infos[name], expected_infos[name].numpy())
        expected, rewards, terminated, _, expected_infos = tensors.step(torch.from_numpy(actions).long())
        came, came_rewards, ended, _, infos = envs.step(actions)
        np.testing.assert_array_equal(came_rewards, rewards.numpy())
        np.testing.assert_array_equal(ended, terminated.numpy())


def test_the_last_observations_come_as_gymnasium_gives_them(
    envs: RestorationVectorEnv, toolbox: Toolbox, source: PairSource
) -> None:
    """The same keys and masks as its own vector of single environments, on the same actions."""
    same_step = {"autoreset_mode": AutoresetMode.SAME_STEP}
    singles = gymnasium.make_vec(
        ENV_ID, 3, vectorization_mode="sync", vector_kwargs=same_step, toolbox=toolbox, source=source
    )
    for vector in (envs, singles):
        vector.reset(seed=0)
        assert "final_obs" not in vector.step(np.array([SMOOTH, SMOOTH, SMOOTH]))[4]
    before = envs.batched.state
    infos, expected = (vector.step(np.array([SMOOTH, STOP, SMOOTH]))[4] for vector in (envs, singles))
    for name in ("_final_obs", "_final_info", "_psnr_db", "_chain"):
        np.testing.assert_array_equal(infos[name], expected[name])
    np.testing.assert_array_equal(infos["final_info"]["_psnr_db"], expected["final_info"]["_psnr_db"])
    assert [last is None for last in infos["final_obs"]] == [last is None for last in expected["final_obs"]]
    last = infos["final_obs"][1]
    assert last in envs.single_observation_space
    np.testing.assert_array_equal(last["image"], before.images[1].clamp(0, 1).numpy())
    assert infos["final_info"]["psnr_db"][1] == before.psnr_db[1].item()


def test_gymnasiums_statistics_are_the_gain_of_each_episode(envs: RestorationVectorEnv) -> None:
    recorded = RecordEpisodeStatistics(envs)
    recorded.reset(seed=0)
    for actions in ([SMOOTH, 0, SMOOTH], [SMOOTH, STOP, SMOOTH], [SMOOTH, SMOOTH, 0]):
        *_, infos = recorded.step(np.array(actions))
    final = infos["final_info"]
    assert infos["_episode"].tolist() == [True, False, True]
    assert infos["episode"]["l"].tolist() == [3, 0, 3]
    gains = np.where(infos["_episode"], final["psnr_db"] - final["input_psnr_db"], 0)
    np.testing.assert_allclose(infos["episode"]["r"], gains, atol=1e-4)
    assert list(recorded.length_queue) == [2, 3, 3]


def test_gymnasiums_normalised_rewards_are_divided_by_their_deviation(
    envs: RestorationVectorEnv, toolbox: Toolbox, source: PairSource
) -> None:
    plain = RestorationVectorEnv(BatchedRestorationEnv(3, toolbox, source))
    normalised = NormalizeReward(envs, gamma=0.0)
    for vector in (plain, normalised):
        vector.reset(seed=0)
    rewards = []
    for actions in random_actions(9):
        rewards.append(plain.step(actions)[1])
        came = normalised.step(actions)[1]
    np.testing.assert_allclose(came, rewards[-1] / np.std(rewards), rtol=0.01)


def test_infos_can_be_turned_into_lists(envs: RestorationVectorEnv) -> None:
    listed = DictInfoToList(envs)
    listed.reset(seed=0)
    each: Any = listed.step(np.array([SMOOTH, STOP, SMOOTH]))[4]
    assert ["final_info" in info for info in each] == [False, True, False]
    assert each[0]["chain"].tolist() == [SMOOTH, -1, -1]


def test_changing_what_came_out_changes_nothing_inside(envs: RestorationVectorEnv) -> None:
    arrays = {name: np.full((3, 3, 63, 63), 0.5, np.float32) for name in ("degraded", "clean")}
    arrays["degraded"] += np.float32(0.1)
    observation, infos = envs.reset(options=arrays)
    assert infos["psnr_db"].tolist() == pytest.approx([20.0] * 3, abs=1e-3)
    for array in (*arrays.values(), observation["image"], infos["psnr_db"], infos["chain"]):
        array[:] = 0
    _, rewards, *_ = envs.step(np.zeros(3, np.int64))  # darkened by half of what it was too bright
    assert rewards.tolist() == pytest.approx([6.0206] * 3, abs=1e-3)


def test_actions_that_are_no_integers_are_refused(envs: RestorationVectorEnv) -> None:
    envs.reset(seed=0)
    with pytest.raises(ValueError, match=r"expected actions \(3,\) of integers, got float64"):
        envs.step(np.zeros(3))  # type: ignore[arg-type]  # the wrong type is the test
    with pytest.raises(ValueError, match=r"expected actions \(3,\) torch.int64, got \(2,\)"):
        envs.step(np.zeros(2, np.int64))


def test_the_first_version_keeps_its_tensors(toolbox: Toolbox, source: PairSource) -> None:
    with pytest.warns(DeprecationWarning, match="v0 is out of date"):
        old = gymnasium.make_vec("rlrestore/Restoration-v0", num_envs=2, toolbox=toolbox, source=source)
    assert isinstance(old.reset(seed=0)[0]["image"], torch.Tensor)
