"""Oracles and the fixed chain, against every chain worked out on single numbers."""

from collections.abc import Sequence
from itertools import product
from math import log, log10

import pytest
import torch
from torch import Tensor, nn

from rlrestore.agent.measure import (
    best_actions,
    entropy_nats,
    every_chain,
    fixed_chain,
    oracle_return,
    tool_gains_db,
)
from rlrestore.envs.transition import start
from rlrestore.toolbox.specs import TOOLS
from rlrestore.toolbox.toolbox import Toolbox

CLEAN = 0.4
ERRORS = (0.2, 0.25, -0.1, 0.02, 0.11)
SHIFTS = (-0.18, -0.105, 0.07)


class Adder(nn.Module):
    """A tool that adds a constant, and counts how often it runs."""

    def __init__(self, shift: float) -> None:
        super().__init__()
        self.shift, self.runs = shift, 0

    def forward(self, images: Tensor) -> Tensor:
        """Return the images with the constant added."""
        self.runs += 1
        return images + self.shift


def toolbox(shifts: Sequence[float] = SHIFTS) -> Toolbox:
    return Toolbox(TOOLS[: len(shifts)], "toy", [Adder(shift) for shift in shifts])


def patches(errors: Sequence[float] = ERRORS) -> tuple[Tensor, Tensor]:
    """Patches that are wrong by the same amount everywhere, and the clean ones."""
    clean = torch.full((len(errors), 3, 4, 4), CLEAN)
    return clean + torch.tensor(errors)[:, None, None, None], clean


def level_db(error: float) -> float:
    return -10 * log10(error**2 + 1e-10)


def after(error: float, chain: Sequence[int]) -> float:
    return error + sum(SHIFTS[tool] for tool in chain)


def test_tools_gain_what_they_take_from_the_error() -> None:
    gains = tool_gains_db(toolbox(), *patches())
    expected = [[level_db(error + shift) - level_db(error) for shift in SHIFTS] for error in ERRORS]
    torch.testing.assert_close(gains, torch.tensor(expected), atol=1e-3, rtol=0)


def test_the_best_action_is_stop_where_no_tool_gains() -> None:
    gains = torch.tensor([[0.5, 1.0], [-1.0, -0.1], [0.0, -1.0], [0.2, -1.0]])
    assert best_actions(gains).tolist() == [1, 2, 2, 0]


def test_every_chain_is_run_once_and_common_beginnings_too() -> None:
    tools = toolbox()
    played = dict(every_chain(tools, *patches(), max_steps=3))
    chains = [chain for length in range(4) for chain in product(range(3), repeat=length)]
    assert len(chains) == 40
    assert set(played) == set(chains)
    for chain in chains:
        expected = [level_db(after(error, chain)) for error in ERRORS]
        assert played[chain].tolist() == pytest.approx(expected, abs=2e-2), chain
    for network in tools.networks:
        assert isinstance(network, Adder)
        assert network.runs == 1 + 3 + 9


def test_the_greedy_oracle_does_not_look_ahead() -> None:
    """0.2 - 0.18 = 0.02 is the best first step, from which nothing gains; 0.2 - 2·0.105 = -0.01 is better."""
    tools, (images, clean) = toolbox(SHIFTS[:2]), patches([0.2, -0.1])
    gain = oracle_return(tools, start(images, clean), max_steps=3)
    assert gain.tolist() == pytest.approx([level_db(0.02) - level_db(0.2), 0], abs=1e-3)
    best = torch.stack([value for _, value in every_chain(tools, images, clean, 3)]).amax(dim=0)
    assert best.tolist() == pytest.approx([level_db(-0.01), level_db(-0.1)], abs=1e-2)


@pytest.mark.parametrize("batch", [2, 64])
def test_the_fixed_chain_is_built_tool_by_tool(batch: int) -> None:
    gain, chain = fixed_chain(toolbox(), start(*patches()), max_steps=3, batch=batch)
    expected: list[int] = []
    for _ in range(3):
        means = [sum(level_db(after(e, [*expected, tool])) for e in ERRORS) / 5 for tool in range(3)]
        if max(means) <= sum(level_db(after(e, expected)) for e in ERRORS) / 5:
            break
        expected.append(means.index(max(means)))
    assert 0 < len(expected) < 3
    assert chain == tuple(expected)
    by_hand = sum(level_db(after(e, expected)) - level_db(e) for e in ERRORS) / 5
    assert gain == pytest.approx(by_hand, abs=1e-3)


def test_entropy_by_hand() -> None:
    assert entropy_nats(torch.tensor([4, 4, 4]), 13) == 0
    assert entropy_nats(torch.tensor([0, 1, 2, 2]), 3) == pytest.approx(0.5 * log(4) + 0.5 * log(2))
