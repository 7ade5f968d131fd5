"""What tools cost: counted against numbers worked out by hand, timed by a clock that the test sets."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from rlrestore.evaluation.costs import (
    Cost,
    count_multiply_adds,
    executed,
    mean_cost,
    measure_costs,
    multiply_adds_per_px,
    tool_multiply_adds,
)
from rlrestore.toolbox.networks import WIDTHS, build_network
from rlrestore.toolbox.specs import TOOLS, ToolSpec
from rlrestore.toolbox.toolbox import Toolbox

SHALLOW = 9 * 9 * 3 * 32 + 5 * 5 * 32 * 16 + 5 * 5 * 16 * 3
FAST = [(depth, WIDTHS["fast"][depth][0]) for depth in (3, 3, 8)]
DEEP = 5 * 5 * 3 * 64 + 64 * 32 + 4 * (3 * 3 * 32 * 32) + 32 * 64 + 5 * 5 * 64 * 3


def fast(depth: int, width: int) -> float:
    """At half resolution, so a quarter for each pixel: 12 channels in, 3×3 layers, 12 channels out."""
    return (3 * 3 * 12 * width + (depth - 2) * 3 * 3 * width * width + 3 * 3 * width * 12) / 4


def hourglass(half: int, quarter: int) -> float:
    """The first and the last layer at half resolution, the six between them at a quarter."""
    at_a_quarter = half * quarter + 4 * quarter * quarter + quarter * 4 * half
    return 9 * (12 * half + half * 12) / 4 + 9 * at_a_quarter / 16


@pytest.mark.parametrize(
    ("family", "depth", "widths", "expected"),
    [
        ("paper", 3, None, SHALLOW),
        ("paper", 8, None, DEEP),
        ("fast", 3, [20], fast(3, 20)),
        ("fast", 8, [16], fast(8, 16)),
        ("hourglass", 3, [20], fast(3, 20)),
        ("hourglass", 8, [8, 24], hourglass(8, 24)),
        ("hourglass", 8, None, 35_424),
    ],
)
def test_multiply_adds_are_those_worked_out_by_hand(
    family: str, depth: int, widths: list[int] | None, expected: float
) -> None:
    assert multiply_adds_per_px(build_network(family, depth, widths)) == pytest.approx(expected, rel=1e-9)


def test_the_networks_of_the_paper_cost_what_is_published() -> None:
    assert (SHALLOW, DEEP) == (21_776, 50_560)


class Recorder(nn.Module):
    """A tool that leaves the image as it is and writes down who was called on what."""

    def __init__(self, name: str, log: list[tuple[str, tuple[int, ...]]], layers: int = 1) -> None:
        super().__init__()
        self.name, self.log = name, log
        self.scale = nn.ModuleList(nn.Conv2d(3, 3, 1) for _ in range(layers))

    def forward(self, images: Tensor) -> Tensor:
        """Return the images."""
        assert images.is_contiguous(memory_format=torch.channels_last)
        self.log.append((self.name, tuple(images.shape)))
        return images


def recorders(name: str, log: list[tuple[str, tuple[int, ...]]], layers: tuple[int, ...]) -> Toolbox:
    networks = [Recorder(f"{name}{index}", log, count) for index, count in enumerate(layers)]
    return Toolbox(TOOLS[: len(layers)], "recorded", networks)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rlrestore.evaluation.costs.ROUNDS", 2)
    monkeypatch.setattr("rlrestore.evaluation.costs.LONE_REPEATS", 1)
    monkeypatch.setattr("rlrestore.evaluation.costs.PHOTO_SIDE", 200)


@pytest.mark.usefixtures("small")
def test_toolboxes_take_turns_and_equal_networks_are_timed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rlrestore.evaluation.costs.multiply_adds_per_px", lambda _: 7.0)
    log: list[tuple[str, tuple[int, ...]]] = []
    costs = measure_costs([recorders("a", log, (1, 2, 1)), recorders("b", log, (1,))])
    shapes = [(1, 3, 63, 63), (64, 3, 63, 63), (1, 3, 200, 200)]
    assert log == [(name, shape) for shape in shapes for name in ("a0", "a1", "b0")] * 2
    assert [len(tools) for tools in costs] == [3, 1]
    assert costs[0][0] == costs[0][2]
    assert [cost.parameters for cost in costs[0]] == [12, 24, 12]
    assert all(cost.multiply_adds_per_px == 7 for tools in costs for cost in tools)


@pytest.mark.usefixtures("small")
def test_the_shortest_time_counts_in_the_unit_it_is_given_in(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([5.0, 6400.0, 80.0, 2.0, 640.0, 120.0])  # ms, two rounds: a patch, 64 patches, a photograph

    def elapsed_ms(run: Callable[[], object], device: torch.device) -> float:
        return next(clock)

    monkeypatch.setattr("rlrestore.evaluation.costs.elapsed_ms", elapsed_ms)
    toolbox = Toolbox([ToolSpec("x", "blur", 0, 1, depth=3)], "paper")
    ((cost,),) = measure_costs([toolbox])
    assert cost == Cost(21_827, SHALLOW, patch_ms=2.0, batched_patch_ms=10.0, megapixel_ms=2000.0)


def test_a_mean_counts_every_tool_once() -> None:
    assert mean_cost([Cost(1, 2, 3, 4, 5), Cost(3, 6, 9, 12, 15)]) == Cost(2, 4, 6, 8, 10)


def test_an_odd_patch_is_counted_as_the_networks_pad_it() -> None:
    fast_box, paper_box = (Toolbox(TOOLS[:3], family) for family in ("fast", "paper"))
    assert tool_multiply_adds(fast_box) == tuple(64 * 64 * fast(depth, width) for depth, width in FAST)
    assert tool_multiply_adds(paper_box) == (63 * 63 * SHALLOW, 63 * 63 * SHALLOW, 63 * 63 * DEEP)


def test_stop_and_what_comes_after_it_cost_nothing() -> None:
    actions = torch.tensor([[0, 1, 1], [1, 2, -1], [2, -1, -1]])
    assert executed((5, 7), actions).tolist() == [[5, 7, 7], [7, 0, 0], [0, 0, 0]]


def test_matrix_products_are_counted_too() -> None:
    assert count_multiply_adds(lambda: torch.zeros(2, 3) @ torch.zeros(3, 5)) == 2 * 3 * 5
