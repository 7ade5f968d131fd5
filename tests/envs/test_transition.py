import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from rlrestore.envs.transition import (
    EpisodeState,
    expand,
    observe,
    replace,
    start,
    transition,
    tried_gains_db,
)
from rlrestore.imaging.rewards import REWARDS, Reward, gain_db
from rlrestore.toolbox.specs import NO_ACTION, ToolSpec
from rlrestore.toolbox.toolbox import Toolbox

STOP = 3


def bright_pairs(count: int = 1, offset: float = 0.1) -> tuple[Tensor, Tensor]:
    """Pairs whose input is the clean patch, too bright by a constant: PSNR is -20 log10(offset)."""
    clean = torch.full((count, 3, 8, 8), 0.5)
    return clean + offset, clean


def test_the_reward_is_the_gain_in_db(toolbox: Toolbox) -> None:
    state = start(*bright_pairs())  # MSE 0.1², 20 dB
    moved = transition(toolbox, state, torch.tensor([0]), max_steps=3)  # MSE 0.05², 26.02 dB
    assert state.psnr_db.item() == pytest.approx(20.0, abs=1e-4)
    assert moved.reward.item() == pytest.approx(20 * math.log10(2), abs=1e-4)
    assert moved.state.psnr_db.item() == pytest.approx(26.0206, abs=1e-3)
    assert moved.state.start_psnr_db.item() == state.psnr_db.item()
    assert (moved.state.last_action.item(), moved.state.steps.item()) == (0, 1)
    assert not moved.terminated.item()


def test_stop_earns_exactly_nothing_and_ends_the_episode(toolbox: Toolbox) -> None:
    state = start(*bright_pairs())
    moved = transition(toolbox, state, torch.tensor([STOP]), max_steps=3)
    assert moved.reward.item() == 0.0
    assert torch.equal(moved.state.images, state.images)
    assert moved.terminated.item()


def test_the_step_limit_terminates(toolbox: Toolbox) -> None:
    state = start(*bright_pairs())
    ends = []
    for _ in range(3):
        moved = transition(toolbox, state, torch.tensor([2]), max_steps=3)
        state = moved.state
        ends.append(moved.terminated.item())
    assert ends == [False, False, True]


@pytest.mark.parametrize(("stop_when_worse", "terminated"), [(True, True), (False, False)])
def test_falling_below_the_input_ends_only_on_request(
    toolbox: Toolbox, stop_when_worse: bool, terminated: bool
) -> None:
    moved = transition(toolbox, start(*bright_pairs()), torch.tensor([1]), 3, stop_when_worse)  # MSE 0.3²
    assert moved.reward.item() == pytest.approx(-20 * math.log10(3), abs=1e-4)
    assert moved.terminated.item() is terminated


def test_each_episode_has_its_own_action(toolbox: Toolbox) -> None:
    together = transition(toolbox, start(*bright_pairs(4)), torch.tensor([1, STOP, 0, 2]), max_steps=3)
    for index, action in enumerate([1, STOP, 0, 2]):
        alone = transition(toolbox, start(*bright_pairs()), torch.tensor([action]), max_steps=3)
        torch.testing.assert_close(together.state.images[index], alone.state.images[0])
        torch.testing.assert_close(together.reward[index], alone.reward[0])


def test_expanding_a_state_foresees_what_is_tried(toolbox: Toolbox) -> None:
    """Another pair of actions in each state, stop among them."""
    generator = torch.Generator().manual_seed(0)
    state = start(*(torch.rand(4, 3, 16, 16, generator=generator) for _ in range(2)))
    tried = torch.tensor([[0, 2], [1, 0], [STOP, 1], [2, 2]])
    images, values_db = expand(toolbox, state, tried)
    assert images.shape == (4, 2, 3, 16, 16)
    for column in range(2):
        moved = transition(toolbox, state, tried[:, column], max_steps=3)
        torch.testing.assert_close(images[:, column], moved.state.images)
        torch.testing.assert_close(values_db[:, column] - state.psnr_db, moved.reward)


@settings(max_examples=25, deadline=None)
@given(actions=st.lists(st.integers(0, 2), min_size=1, max_size=6), seed=st.integers(0, 2**31))
def test_rewards_add_up_to_the_gain_of_the_chain(actions: list[int], seed: int) -> None:
    torch.manual_seed(seed)
    networks = [nn.Conv2d(3, 3, 3, padding=1) for _ in range(3)]
    tools = Toolbox([ToolSpec(str(n), "blur", 0, 1, depth=3) for n in range(3)], "toy", networks)
    first = start(torch.rand(2, 3, 8, 8), torch.rand(2, 3, 8, 8))
    state, total = first, torch.zeros(2)
    with torch.no_grad():
        for action in actions:
            moved = transition(tools, state, torch.full((2,), action), max_steps=6)
            state, total = moved.state, total + moved.reward
    torch.testing.assert_close(total, state.psnr_db - first.psnr_db, atol=1e-4, rtol=0)


def test_only_the_observation_is_clipped(toolbox: Toolbox) -> None:
    clean = torch.full((1, 3, 8, 8), 0.9)
    state = transition(toolbox, start(clean, clean), torch.tensor([1]), max_steps=3).state
    assert state.images.max().item() == pytest.approx(1.1)
    images, last_action = observe(state)
    assert images.max().item() == 1.0
    assert last_action.tolist() == [1]


def test_replacing_leaves_the_other_episodes_alone(toolbox: Toolbox) -> None:
    state = transition(toolbox, start(*bright_pairs(3)), torch.tensor([0, 1, 2]), max_steps=3).state
    mixed = replace(state, torch.tensor([False, True, False]), start(*bright_pairs(3, offset=0.01)))
    assert mixed.last_action.tolist() == [0, NO_ACTION, 2]
    assert mixed.steps.tolist() == [1, 0, 1]
    assert mixed.psnr_db[1].item() == pytest.approx(40.0, abs=1e-3)
    assert mixed.start_psnr_db.tolist() == pytest.approx([20.0, 40.0, 20.0], abs=1e-3)
    assert torch.equal(mixed.images[[0, 2]], state.images[[0, 2]])


def test_gradients_flow_through_a_chain() -> None:
    network = nn.Conv2d(3, 3, 1)
    tools = Toolbox([ToolSpec("only", "blur", 0, 1, depth=3)], "toy", [network])
    state = start(*bright_pairs(2))
    for _ in range(2):
        state = transition(tools, state, torch.tensor([0, 0]), max_steps=2).state
    (state.images - state.clean).square().mean().backward()
    assert network.weight.grad is not None
    assert network.weight.grad.abs().sum() > 0


def test_pairs_of_different_shapes_are_refused() -> None:
    with pytest.raises(
        ValueError, match=r"expected pairs of one shape, got \(1, 3, 8, 8\) and \(1, 3, 9, 9\)"
    ):
        start(torch.zeros(1, 3, 8, 8), torch.zeros(1, 3, 9, 9))


def test_a_state_of_unequal_lengths_is_refused() -> None:
    images, five = torch.zeros(2, 3, 8, 8), torch.zeros(5)
    with pytest.raises(ValueError, match=r"expected \(B,\) values of B = 2 episodes, got \[\(5,\)\]"):
        EpisodeState(images, images, five, five, five.long(), five.long())


@pytest.mark.parametrize("reward", REWARDS)
def test_a_step_is_rewarded_by_the_measure_that_is_asked_for(toolbox: Toolbox, reward: Reward) -> None:
    """What a state knows of itself stays its PSNR."""
    generator = torch.Generator().manual_seed(0)
    state = start(*(torch.rand(3, 3, 16, 16, generator=generator) for _ in range(2)))
    actions = torch.tensor([0, 1, STOP])
    moved = transition(toolbox, state, actions, max_steps=3, reward=reward)
    wanted = gain_db(reward, moved.state.images, state.images, state.clean)
    assert wanted[:2].abs().min() > 1e-3
    torch.testing.assert_close(moved.reward[:2], wanted[:2])
    assert moved.reward[2].item() == 0
    usual = transition(toolbox, state, actions, max_steps=3)
    torch.testing.assert_close(moved.state.psnr_db, usual.state.psnr_db)
    assert torch.equal(moved.terminated, usual.terminated)
    assert torch.allclose(moved.reward, usual.reward) == (reward == "psnr")
    images, _ = expand(toolbox, state, torch.tensor([[0, 2], [1, 0], [2, 2]]))
    tried = tried_gains_db(reward, state, images)
    torch.testing.assert_close(tried[:2, 0], moved.reward[:2])
    torch.testing.assert_close(tried[:, 1], gain_db(reward, images[:, 1], state.images, state.clean))
