import gymnasium
import pytest
import torch
from gymnasium.error import ResetNeeded
from gymnasium.vector import AutoresetMode
from torch import Tensor

from rlrestore.envs import ENV_ID
from rlrestore.envs.batched import BatchedRestorationEnv
from rlrestore.envs.single import RestorationEnv
from rlrestore.envs.sources import PairSource
from rlrestore.imaging.rewards import Reward
from rlrestore.toolbox.toolbox import Toolbox
from tests.envs.waits import Waits
from tests.toys import make_toolbox

STOP = 3


@pytest.fixture
def batched(toolbox: Toolbox, source: PairSource) -> BatchedRestorationEnv:
    return BatchedRestorationEnv(6, toolbox, source)


def random_actions(count: int, steps: int, seed: int = 0) -> Tensor:
    return torch.randint(STOP + 1, (steps, count), generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(
    ("stop_when_worse", "reward"), [(False, "psnr"), (True, "psnr"), (True, "salient-psnr"), (False, "ssim")]
)
def test_one_batched_episode_is_the_single_one_on_the_same_seed(
    toolbox: Toolbox, source: PairSource, stop_when_worse: bool, reward: Reward
) -> None:
    single = RestorationEnv(toolbox, source, stop_when_worse=stop_when_worse, reward=reward)
    batched = BatchedRestorationEnv(1, toolbox, source, stop_when_worse=stop_when_worse, reward=reward)
    alone, info = single.reset(seed=7)
    together, infos = batched.reset(seed=7)
    for actions in random_actions(1, steps=20):
        for name, value in together.items():
            torch.testing.assert_close(value[0], torch.from_numpy(alone[name]))
        assert infos["psnr_db"].item() == pytest.approx(info["psnr_db"], abs=1e-4)
        assert infos["input_psnr_db"].item() == pytest.approx(info["input_psnr_db"], abs=1e-4)
        alone, earned, terminated, _, info = single.step(actions.item())
        together, rewards, terminations, _, infos = batched.step(actions)
        assert rewards.item() == pytest.approx(earned, abs=1e-4)
        assert terminations.item() is terminated
        if terminated:
            torch.testing.assert_close(infos["final_obs"]["image"][0], torch.from_numpy(alone["image"]))
            alone, info = single.reset()


def test_every_batched_episode_is_a_single_one_from_the_same_pair(
    toolbox: Toolbox, source: PairSource, batched: BatchedRestorationEnv
) -> None:
    batched.reset(seed=1)
    pairs = batched.state
    singles = [RestorationEnv(toolbox, source) for _ in range(6)]
    for index, env in enumerate(singles):
        env.reset(options={"degraded": pairs.images[index].numpy(), "clean": pairs.clean[index].numpy()})
    running = set(range(6))
    for actions in random_actions(6, steps=3, seed=3):
        observations, rewards, terminations, truncations, infos = batched.step(actions)
        for index in sorted(running):
            alone, reward, terminated, truncated, info = singles[index].step(int(actions[index]))
            source_of = infos["final_obs"] if terminated else observations
            infos_of = infos["final_info"] if terminated else infos
            torch.testing.assert_close(source_of["image"][index], torch.from_numpy(alone["image"]))
            assert source_of["last_action"][index].tolist() == alone["last_action"].tolist()
            assert rewards[index].item() == pytest.approx(reward, abs=1e-4)
            assert (terminations[index].item(), truncations[index].item()) == (terminated, truncated)
            assert infos_of["psnr_db"][index].item() == pytest.approx(info["psnr_db"], abs=1e-4)
            names = [toolbox.names[tool] for tool in infos_of["chain"][index].tolist() if tool >= 0]
            assert tuple(names) == info["chain"]
            running -= {index} if terminated else set()
    assert not running


def test_a_reset_on_the_way_goes_on_with_the_next_pair(toolbox: Toolbox, source: PairSource) -> None:
    single, batched = RestorationEnv(toolbox, source), BatchedRestorationEnv(1, toolbox, source)
    for seed in (2, None, None):
        alone, _ = single.reset(seed=seed)
        together, _ = batched.reset(seed=seed)
        torch.testing.assert_close(together["image"][0], torch.from_numpy(alone["image"]))
        single.step(2)
        batched.step(torch.tensor([2]))


@pytest.mark.parametrize("bfloat16", [False, True])
@pytest.mark.parametrize("stop_when_worse", [False, True])
def test_a_step_waits_for_the_device_once(
    toolbox: Toolbox, source: PairSource, stop_when_worse: bool, bfloat16: bool
) -> None:
    """One read of a few numbers, whatever ends. On the CPU nothing waits: what would on a GPU is counted."""
    batched = BatchedRestorationEnv(6, toolbox, source, stop_when_worse=stop_when_worse, bfloat16=bfloat16)
    batched.reset(seed=0)
    batched.step(torch.zeros(6, dtype=torch.int64))  # constants are sent to the device once
    all_stop = torch.full((3, 6), STOP)
    for actions in torch.cat((random_actions(6, steps=12), all_stop)):
        with Waits() as waits:
            batched.step(actions)
        assert waits.found == ["tolist"]


def test_waits_are_found() -> None:
    values, numbers = torch.arange(3.0), torch.arange(3)
    with Waits() as waits:
        bool(values[0] > 1)
        values[values > 1]
        values[values > 1] = 0.0
        torch.tensor([1.0])
        values.cpu()
        torch.where(values > 1)
        torch.multinomial(values + 1, 1, replacement=True)
    found = [
        "__bool__",
        "_local_scalar_dense",
        "index",
        "index_put_",
        "tensor",
        "cpu",
        "nonzero",
        "multinomial",
    ]
    assert waits.found == found
    with Waits() as waits:
        values[numbers] + values.to(torch.float64)[:2].sum().clamp(min=1)
        torch.multinomial(values + 1, 2, replacement=True)
        len(values)
    assert not waits.found


def test_in_bfloat16_rewards_are_nearly_the_same_and_images_stay_float32(source: PairSource) -> None:
    exact, fast = (BatchedRestorationEnv(8, source=source, bfloat16=bfloat16) for bfloat16 in (False, True))
    for env in (exact, fast):
        env.reset(seed=0)
    gaps = []
    for actions in random_actions(8, steps=3):
        gaps.append(exact.step(actions)[1] - fast.step(actions)[1])
        assert fast.state.images.dtype == torch.float32
    worst = torch.cat(gaps).abs().max().item()
    assert 0 < worst < 0.1


def test_copies_in_bfloat16_follow_their_tools_at_a_reset(source: PairSource) -> None:
    """Tools that are trained on meanwhile: those that change nothing, after a reset and not before."""
    tools = make_toolbox()
    env = BatchedRestorationEnv(4, tools, source, bfloat16=True)
    env.reset(seed=0)
    actions = torch.zeros(4, dtype=torch.int64)
    with torch.no_grad():
        for weight in tools.parameters():
            weight.zero_()
    assert (env.step(actions)[1] != 0).all()
    env.reset(seed=0)
    assert (env.step(actions)[1] == 0).all()


def test_episodes_share_pairs_where_that_is_asked_for(toolbox: Toolbox, source: PairSource) -> None:
    env = BatchedRestorationEnv(6, toolbox, source, episodes_per_pair=3)
    env.reset(seed=0)
    images = env.state.images
    same = (images[:, None] == images[None]).flatten(2).all(dim=2)
    assert torch.equal(same, torch.eye(2).repeat_interleave(3, 0).repeat_interleave(3, 1).bool())
    env.step(torch.full((6,), STOP))
    assert not (env.state.images[:, None] == images[None]).flatten(2).all(dim=2).any()
    with pytest.raises(ValueError, match="a whole number above 0, got episodes_per_pair=0"):
        BatchedRestorationEnv(6, toolbox, source, episodes_per_pair=0)


def test_where_an_episode_ends_the_next_has_begun(batched: BatchedRestorationEnv) -> None:
    assert batched.metadata["autoreset_mode"] is AutoresetMode.SAME_STEP
    before, _ = batched.reset(seed=0)
    actions = torch.tensor([STOP, 2, STOP, 2, 2, 2])
    after, rewards, terminated, _, infos = batched.step(actions)
    ended = [True, False, True, False, False, False]
    assert terminated.tolist() == infos["_final_obs"].tolist() == infos["_final_info"].tolist() == ended
    assert rewards[terminated].tolist() == [0.0, 0.0]
    assert after["last_action"].sum(dim=1).tolist() == [0, 1, 0, 1, 1, 1]
    assert infos["final_obs"]["last_action"].argmax(dim=1).tolist() == actions.tolist()
    assert torch.equal(infos["final_obs"]["image"][0], before["image"][0])
    assert not torch.equal(after["image"][0], before["image"][0])
    assert batched.state.steps.tolist() == [0, 1, 0, 1, 1, 1]
    assert infos["chain"].tolist() == [[-1] * 3 if end else [2, -1, -1] for end in ended]
    assert infos["final_info"]["chain"].tolist() == [[-1 if end else 2, -1, -1] for end in ended]


def test_final_observations_are_there_where_no_episode_ended(batched: BatchedRestorationEnv) -> None:
    batched.reset(seed=0)
    after, *_, infos = batched.step(torch.full((6,), 2))
    assert not infos["_final_obs"].any()
    assert not infos["_final_info"].any()
    assert torch.equal(infos["final_obs"]["image"], after["image"])


def test_the_same_seed_gives_the_same_stream(batched: BatchedRestorationEnv) -> None:
    streams = []
    for seed in (0, 0, 1):
        batched.reset(seed=seed)
        streams.append(torch.stack([batched.step(a)[0]["image"] for a in random_actions(6, steps=4)]))
    assert torch.equal(streams[0], streams[1])
    assert not torch.equal(streams[0], streams[2])


def test_its_spaces_hold_what_comes_out(batched: BatchedRestorationEnv) -> None:
    observation, _ = batched.reset(seed=0)
    assert batched.observation_space.contains({name: value.numpy() for name, value in observation.items()})


def test_gymnasium_steps_single_ones_in_a_vector(toolbox: Toolbox, source: PairSource) -> None:
    made = gymnasium.make_vec(ENV_ID, num_envs=2, vectorization_mode="sync", toolbox=toolbox, source=source)
    made.reset(seed=0)
    observation, rewards, *_ = made.step(made.action_space.sample())
    assert observation["image"].shape == (2, 3, 63, 63)
    assert rewards.shape == (2,)
    made.close()


def test_given_pairs_are_used(batched: BatchedRestorationEnv) -> None:
    clean = torch.full((6, 3, 63, 63), 0.5)
    observation, infos = batched.reset(options={"degraded": clean + 0.1, "clean": clean})
    assert torch.equal(observation["image"], clean + 0.1)
    assert infos["psnr_db"].tolist() == pytest.approx([20.0] * 6, abs=1e-3)
    with pytest.raises(
        ValueError, match=r"\['degraded'\] as a tensor of shape \(6, 3, 63, 63\), got shape \(2, "
    ):
        batched.reset(options={"degraded": clean[:2], "clean": clean})
    with pytest.raises(ValueError, match=r"expected options\['clean'\] .* got NoneType"):
        batched.reset(options={"degraded": clean})


def test_stepping_needs_a_reset(batched: BatchedRestorationEnv) -> None:
    with pytest.raises(ResetNeeded, match=r"call reset\(\) first"):
        batched.step(torch.zeros(6, dtype=torch.int64))


@pytest.mark.parametrize(
    ("actions", "message"),
    [
        (torch.zeros(5, dtype=torch.int64), r"expected actions \(6,\) torch.int64, got \(5,\) torch.int64"),
        (torch.zeros(6), r"expected actions \(6,\) torch.int64, got \(6,\) torch.float32"),
        (torch.tensor([0, 0, 0, 0, 0, 4]), "expected actions from 0 to 3, got some from 0 to 4"),
        (torch.tensor([-1, 0, 0, 0, 0, 0]), "expected actions from 0 to 3, got some from -1 to 0"),
    ],
)
def test_wrong_actions_are_refused(batched: BatchedRestorationEnv, actions: Tensor, message: str) -> None:
    batched.reset(seed=0)
    with pytest.raises(ValueError, match=message):
        batched.step(actions)


def test_no_episodes_at_all_are_refused(toolbox: Toolbox, source: PairSource) -> None:
    with pytest.raises(ValueError, match="expected num_envs as a whole number above 0, got num_envs=0"):
        BatchedRestorationEnv(0, toolbox, source)
