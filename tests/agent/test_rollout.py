"""Ways of choosing, played with tools that add a constant: actions and images known by hand."""

import pytest
import torch
from torch import Tensor

from rlrestore.agent.policy import Hidden, PaperPolicy
from rlrestore.agent.rollout import fixed, greedy, roll_out, uniform
from rlrestore.toolbox.specs import TOOLS
from rlrestore.toolbox.toolbox import Toolbox
from tests.toys import Adder

UP, DOWN, STOP = range(3)
LOOKS = torch.tensor([[1.0, 2.0, 0.0], [1.0, -1.0, 0.0], [-1.0, -2.0, 0.0]])
"""Values at the first, second and third look: DOWN, UP, stop."""


class Counting(PaperPolicy):
    """Chooses by how often it has looked, and keeps what it was shown."""

    def __init__(self) -> None:
        super().__init__(2)
        self.images: list[Tensor] = []
        self.last_actions: list[list[int]] = []

    def forward(self, images: Tensor, last_action: Tensor, hidden: Hidden) -> tuple[Tensor, Hidden]:
        """Return the values of this look."""
        self.images.append(images)
        self.last_actions.append(last_action.tolist())
        looks = hidden[0][:, 0].long().clamp(max=2)
        return LOOKS[looks], (hidden[0] + 1, hidden[1])


def toolbox() -> Toolbox:
    return Toolbox(TOOLS[:2], "toy", [Adder(0.75), Adder(-0.25)])


def levels(images: Tensor) -> list[float]:
    return images.mean(dim=(2, 3, 4))[:, 0].tolist()


def test_the_agent_follows_its_values_until_it_stops() -> None:
    policy = Counting()
    rollout = roll_out(toolbox(), torch.full((2, 3, 63, 63), 0.5), greedy(policy), max_steps=4)
    assert rollout.actions.tolist() == [[DOWN, UP, STOP, STOP]] * 2
    assert levels(rollout.images) == [0.5, 0.25, 1.0, 1.0, 1.0]
    assert policy.last_actions[:3] == [[-1, -1], [DOWN, DOWN], [UP, UP]]


def test_the_agent_sees_clipped_images_but_tools_do_not() -> None:
    policy = Counting()
    rollout = roll_out(toolbox(), torch.full((1, 3, 63, 63), 0.75), greedy(policy), max_steps=3)
    assert levels(rollout.images) == [0.75, 0.5, 1.25, 1.25]
    assert [float(images.max()) for images in policy.images] == [0.75, 0.5, 1.0]


def test_without_memory_every_look_is_the_first() -> None:
    policy = Counting()
    rollout = roll_out(toolbox(), torch.zeros(1, 3, 63, 63), greedy(policy, remembers=False), max_steps=3)
    assert rollout.actions.tolist() == [[DOWN, DOWN, DOWN]]
    assert policy.last_actions == [[-1]] * 3


def test_without_memory_a_further_tool_keeps_its_margin() -> None:
    """That of the first step, which is higher than all values, is asked for in the first step alone."""
    policy = Counting()
    policy.start_margins_db, policy.stop_margin_db = (5.0, 5.0), 0.0
    patches, last_action = torch.zeros(2, 3, 63, 63), torch.tensor([-1, UP])
    assert greedy(policy, remembers=False)(patches, last_action).tolist() == [STOP, DOWN]


def test_without_stop_the_best_tool_is_taken_though_it_loses() -> None:
    rollout = roll_out(toolbox(), torch.zeros(1, 3, 63, 63), greedy(Counting(), may_stop=False), max_steps=3)
    assert rollout.actions.tolist() == [[DOWN, UP, UP]]


def test_a_fixed_chain_is_taken_on_all_and_then_stops() -> None:
    rollout = roll_out(toolbox(), torch.zeros(2, 3, 63, 63), fixed((UP, DOWN), STOP), max_steps=4)
    assert rollout.actions.tolist() == [[UP, DOWN, STOP, STOP]] * 2
    assert levels(rollout.images)[-1] == 0.5


def test_chance_takes_each_action_equally_often_and_never_goes_on_after_stop() -> None:
    generator = torch.Generator().manual_seed(0)
    actions = roll_out(toolbox(), torch.zeros(3000, 3, 1, 1), uniform(3, generator), max_steps=2).actions
    assert torch.bincount(actions[:, 0]).tolist() == pytest.approx([1000] * 3, abs=100)
    stopped = actions[:, 0] == STOP
    assert set(actions[stopped, 1].tolist()) == {STOP}
    assert torch.bincount(actions[~stopped, 1]).tolist() == pytest.approx([2000 / 3] * 3, abs=100)


@pytest.mark.parametrize(
    ("allowed", "may_stop", "expected"),
    [
        ([False, True], True, [DOWN, STOP, STOP]),  # at the second look it wants UP, and DOWN would lose
        ([False, True], False, [DOWN, DOWN, DOWN]),
        ([True, False], True, [UP, UP, STOP]),
        ([True, True], True, [DOWN, UP, STOP]),
    ],
)
def test_the_agent_takes_the_best_of_what_it_may(
    allowed: list[bool], may_stop: bool, expected: list[int]
) -> None:
    choose = greedy(Counting(), may_stop=may_stop, allowed=torch.tensor(allowed))
    rollout = roll_out(toolbox(), torch.zeros(2, 3, 63, 63), choose, max_steps=3)
    assert rollout.actions.tolist() == [expected] * 2


@pytest.mark.parametrize("allowed", [[True], [False, False], [True, True, True]])
def test_a_choice_of_nothing_or_of_other_tools_is_refused(allowed: list[bool]) -> None:
    with pytest.raises(ValueError, match="one truth for each of 2 tools and one that holds"):
        greedy(Counting(), allowed=torch.tensor(allowed))
