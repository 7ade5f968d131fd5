import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from rlrestore.devices import resolve_device
from rlrestore.errors import UsageError
from rlrestore.toolbox.networks import FAST_WIDTHS, build_network, receptive_radius
from rlrestore.toolbox.specs import ACTION_NAMES, STOP, TOOL_NAMES, TOOLS, ToolSpec, tool_index
from rlrestore.toolbox.toolbox import PIECE_ON_CPU, Toolbox, rounded_up


class Scale(nn.Module):
    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, images: Tensor) -> Tensor:
        return self.factor * images


@pytest.fixture
def scales() -> Toolbox:
    """Tool k multiplies by k + 2."""
    specs = [ToolSpec(f"times-{k + 2}", "noise", 0.0, 50.0, depth=3) for k in range(3)]
    return Toolbox(specs, family="toy", networks=[Scale(k + 2.0) for k in range(3)])


def test_the_table_is_the_papers() -> None:
    assert TOOL_NAMES[0] == "deblur-1"
    assert TOOL_NAMES[7] == "denoise-4"
    assert TOOL_NAMES[-1] == "dejpeg-4"
    assert ACTION_NAMES[STOP] == "stop"
    assert [spec.depth for spec in TOOLS] == [3, 3, 8, 8] * 3


def test_ranges_of_a_distortion_meet() -> None:
    for kind, ends in (("blur", (0, 5)), ("noise", (0, 50)), ("jpeg", (10, 100))):
        ranges = sorted((spec.low, spec.high) for spec in TOOLS if spec.distortion == kind)
        assert (ranges[0][0], ranges[-1][1]) == ends
        assert all(left[1] == right[0] for left, right in itertools.pairwise(ranges))


def test_a_tool_is_found_by_name() -> None:
    assert [tool_index(name) for name in TOOL_NAMES] == list(range(12))
    with pytest.raises(UsageError, match="unknown tool 'sharpen': expected one of deblur-1"):
        tool_index("sharpen")


def test_the_papers_networks_have_the_papers_sizes() -> None:
    """21,827 and 50,851 parameters: the authors' released checkpoints."""
    sizes = {depth: sum(p.numel() for p in build_network("paper", depth).parameters()) for depth in (3, 8)}
    assert sizes == {3: 21_827, 8: 50_851}


@pytest.mark.parametrize("family", ["fast", "paper"])
@pytest.mark.parametrize("depth", [3, 8])
def test_a_network_has_the_stated_depth(family: str, depth: int) -> None:
    network = build_network(family, depth)
    assert sum(isinstance(module, nn.Conv2d) for module in network.modules()) == depth


def multiply_adds_per_pixel(network: nn.Module, side: int = 64) -> float:
    """Count what the convolutions of a forward pass multiply, per pixel of the image."""
    counts = []

    def count(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        assert isinstance(module, nn.Conv2d)
        counts.append(module.weight.numel() * output[0, 0].numel())

    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(count)
    network(torch.zeros(1, 3, side, side))
    return sum(counts) / side**2


@pytest.mark.parametrize("depth", [3, 8])
def test_a_fast_network_costs_less_than_the_papers(depth: int) -> None:
    fast, paper = (multiply_adds_per_pixel(build_network(family, depth)) for family in ("fast", "paper"))
    width = FAST_WIDTHS[depth]
    assert fast == 9 * (24 * width + (depth - 2) * width**2) / 4
    assert fast < 0.7 * paper


@settings(max_examples=15, deadline=None)
@given(height=st.integers(2, 40), width=st.integers(2, 40), family=st.sampled_from(["fast", "paper"]))
def test_a_tool_keeps_any_size(height: int, width: int, family: str) -> None:
    for depth in (3, 8):
        assert build_network(family, depth)(torch.rand(1, 3, height, width)).shape == (1, 3, height, width)


def test_an_untrained_fast_tool_changes_nothing() -> None:
    images = torch.rand(2, 3, 21, 32)
    assert torch.equal(build_network("fast", 8)(images), images)


@pytest.mark.parametrize(
    ("family", "depth", "radius"), [("paper", 3, 8), ("paper", 8, 8), ("fast", 3, 7), ("fast", 8, 17)]
)
def test_the_receptive_radius_is_what_the_gradient_says(family: str, depth: int, radius: int) -> None:
    """The farthest input pixel that has a gradient; all weights are positive, so every path is open."""
    network = build_network(family, depth)
    assert receptive_radius(network) == radius
    for parameter in network.parameters():
        nn.init.constant_(parameter, 0.1)
    images = torch.rand(1, 3, 64, 64, requires_grad=True)
    network(images)[0, :, 31:33, 31:33].sum().backward()
    assert images.grad is not None
    reached = images.grad[0].abs().sum(dim=0).sum(dim=0).nonzero().flatten()
    assert max(32 - int(reached.min()), int(reached.max()) - 31) <= radius + 1
    assert 31 - int(reached.min()) >= radius - 1


def test_each_image_gets_its_own_tool(scales: Toolbox) -> None:
    images = torch.ones(5, 3, 8, 8)
    restored = scales.apply_each(torch.tensor([3, 1, 0, 1, 2]), images)
    assert restored[:, 0, 0, 0].tolist() == [1.0, 3.0, 2.0, 3.0, 4.0]


@settings(max_examples=25, deadline=None)
@given(actions=st.lists(st.integers(0, 3), min_size=1, max_size=12))
def test_grouping_changes_nothing(actions: list[int]) -> None:
    specs = [ToolSpec(f"times-{k + 2}", "noise", 0.0, 50.0, depth=3) for k in range(3)]
    toolbox = Toolbox(specs, family="toy", networks=[Scale(k + 2.0) for k in range(3)])
    images = torch.arange(1.0, len(actions) + 1)[:, None, None, None].expand(-1, 3, 2, 2)
    grouped = toolbox.apply_each(torch.tensor(actions), images)
    expected = [(index + 1.0) * (1 if action == 3 else action + 2) for index, action in enumerate(actions)]
    assert grouped[:, 0, 0, 0].tolist() == expected


def test_sizes_that_are_known_need_not_be_counted(scales: Toolbox) -> None:
    actions, images = torch.tensor([3, 1, 0, 1]), torch.rand(4, 3, 8, 8)
    assert scales.group_sizes(actions).tolist() == [1, 2, 0, 1]
    assert torch.equal(scales.apply_each(actions, images, [1, 2, 0, 1]), scales.apply_each(actions, images))


@pytest.mark.parametrize("actions", [[0, 4], [-1, 0]])
def test_what_is_no_action_is_refused(scales: Toolbox, actions: list[int]) -> None:
    with pytest.raises(
        ValueError, match=r"expected actions from 0 to 3 in 4 groups, 2 in all, got groups of"
    ):
        scales.apply_each(torch.tensor(actions), torch.ones(2, 3, 8, 8))


def test_a_processor_takes_large_groups_in_pieces(scales: Toolbox) -> None:
    taken = []
    scales.networks[1].register_forward_pre_hook(lambda _, images: taken.append(len(images[0])))
    images = torch.rand(2 * PIECE_ON_CPU + 3, 3, 2, 2)
    restored = scales.apply_each(torch.ones(len(images), dtype=torch.int64), images)
    assert torch.equal(restored, 3 * images)
    assert taken == [PIECE_ON_CPU, PIECE_ON_CPU, 3]


@given(size=st.integers(1, 10_000), more=st.integers(0, 10_000))
def test_group_sizes_on_a_gpu_are_a_few_and_hardly_larger(size: int, more: int) -> None:
    rounded = rounded_up(size)
    assert size <= rounded < 9 / 8 * size
    assert rounded_up(rounded) == rounded <= rounded_up(size + more)
    assert len({rounded_up(other) for other in range(size, 2 * size)}) <= 9


@pytest.mark.parametrize(("begin", "size"), [(0, 17), (2, 17), (3, 17), (0, 20), (19, 1)])
def test_a_group_that_is_filled_up_comes_back_alone(scales: Toolbox, begin: int, size: int) -> None:
    taken = []
    scales.networks[0].register_forward_pre_hook(lambda _, images: taken.append(len(images[0])))
    images = torch.rand(20, 3, 2, 2)
    (restored,) = scales._apply_filled_up(0, images, begin, size)
    assert torch.equal(restored, 2 * images[begin : begin + size])
    assert taken == [min(20, rounded_up(size))]


def test_all_tools_at_once(scales: Toolbox) -> None:
    assert scales.apply_all(torch.ones(2, 3, 4, 4))[:, :, 0, 0, 0].tolist() == [[2.0, 3.0, 4.0]] * 2


def test_a_toolbox_needs_one_network_and_one_name_per_tool() -> None:
    spec = ToolSpec("one", "noise", 0.0, 50.0, depth=3)
    with pytest.raises(ValueError, match="one network and one name per tool"):
        Toolbox([spec, spec])
    with pytest.raises(ValueError, match="got 2 networks"):
        Toolbox([spec], networks=[Scale(1.0), Scale(2.0)])


def test_an_unknown_network_is_refused() -> None:
    with pytest.raises(UsageError, match="expected family fast or paper and depth 3 or 8, got 'huge' and 8"):
        build_network("huge", 8)


@pytest.mark.parametrize("name", ["tpu9", "cuda:99", "meta", ""])
def test_an_unavailable_device_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="is not available: expected one of cpu"):
        resolve_device(name)
