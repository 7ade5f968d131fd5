import numpy as np
import pytest
import torch
from gymnasium import Wrapper, spaces
from stable_baselines3.common.vec_env import VecMonitor
from stable_baselines3.common.vec_env.base_vec_env import VecEnvObs

from rlrestore.envs.batched import BatchedRestorationEnv
from rlrestore.envs.sb3 import RestorationVecEnv, flat_space
from rlrestore.envs.sources import PairSource
from rlrestore.toolbox.toolbox import Toolbox

STOP = 3
PIXELS = 3 * 63 * 63


@pytest.fixture
def vector(toolbox: Toolbox, source: PairSource) -> RestorationVecEnv:
    return RestorationVecEnv(BatchedRestorationEnv(3, toolbox, source))


def test_what_comes_out_is_what_the_batched_environment_gives(
    toolbox: Toolbox, source: PairSource, vector: RestorationVecEnv
) -> None:
    batched = BatchedRestorationEnv(3, toolbox, source)
    expected, _ = batched.reset(seed=4)
    vector.seed(4)
    came: VecEnvObs = vector.reset()
    generator = np.random.default_rng(0)
    for _ in range(6):
        assert isinstance(came, dict)
        assert came["image"].shape == (3, PIXELS)
        np.testing.assert_array_equal(came["image"], expected["image"].flatten(1).numpy())
        np.testing.assert_array_equal(came["last_action"], expected["last_action"].numpy())
        assert vector.observation_space.contains({name: value[0] for name, value in came.items()})
        actions = generator.integers(STOP + 1, size=3)
        expected, rewards, terminated, _, infos = batched.step(torch.from_numpy(actions))
        came, came_rewards, dones, each = vector.step(actions)
        np.testing.assert_array_equal(came_rewards, rewards.numpy())
        np.testing.assert_array_equal(dones, terminated.numpy())
        for index, info in enumerate(each):
            assert ("terminal_observation" in info) == dones[index]
            if dones[index]:
                final = infos["final_obs"]["image"][index].flatten().numpy()
                np.testing.assert_array_equal(info["terminal_observation"]["image"], final)
                assert info["psnr_db"] == infos["final_info"]["psnr_db"][index].item()
            else:
                assert info["psnr_db"] == infos["psnr_db"][index].item()


def test_a_seed_counts_for_one_reset(vector: RestorationVecEnv) -> None:
    vector.seed(1)
    first, second = vector.reset()["image"], vector.reset()["image"]
    vector.seed(1)
    np.testing.assert_array_equal(vector.reset()["image"], first)
    assert not np.array_equal(first, second)


def test_a_monitor_reports_the_return_in_db(vector: RestorationVecEnv) -> None:
    monitored = VecMonitor(vector)
    monitored.reset()
    total = np.zeros(3)
    for actions in ([2, 2, 2], [0, 0, 0], [STOP, STOP, STOP]):
        _, rewards, _, infos = monitored.step(np.array(actions))
        total += rewards
    assert [info["episode"]["l"] for info in infos] == [3, 3, 3]
    assert [info["episode"]["r"] for info in infos] == pytest.approx(list(total), abs=1e-4)
    gains = [info["psnr_db"] - info["input_psnr_db"] for info in infos]
    assert gains == pytest.approx(list(total), abs=1e-4)


def test_attributes_are_those_of_the_batched_environment(vector: RestorationVecEnv) -> None:
    assert vector.get_attr("max_steps") == [3, 3, 3]
    assert vector.get_attr("max_steps", indices=1) == [3]
    vector.set_attr("max_steps", 2)
    assert vector.batched.max_steps == 2
    assert vector.has_attr("toolbox")
    assert not vector.has_attr("wheels")
    assert vector.env_is_wrapped(Wrapper) == [False] * 3
    vector.close()
    assert vector.batched.closed


def test_what_cannot_be_done_for_one_episode_is_refused(vector: RestorationVecEnv) -> None:
    with pytest.raises(ValueError, match="expected all 3 indices, got 0: the episodes share max_steps"):
        vector.set_attr("max_steps", 2, indices=0)
    with pytest.raises(NotImplementedError, match="call render on `batched` instead"):
        vector.env_method("render")


def test_only_a_dict_of_boxes_can_be_flattened() -> None:
    with pytest.raises(TypeError, match="expected a Dict of boxes, got Discrete"):
        flat_space(spaces.Discrete(3))


def test_actions_that_are_no_integers_are_refused(vector: RestorationVecEnv) -> None:
    """They would be cut to integers."""
    vector.reset()
    with pytest.raises(ValueError, match=r"expected actions \(3,\) of integers, got float64"):
        vector.step(np.array([0.0, 1.7, 2.0]))
