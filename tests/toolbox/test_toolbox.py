import itertools
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from rlrestore.errors import UsageError
from rlrestore.evaluation.costs import multiply_adds_per_px
from rlrestore.imaging.tiling import apply_tiled_
from rlrestore.toolbox.networks import (
    FAMILIES,
    WIDTHS,
    Hourglass,
    build_network,
    check_trainable,
    pad_to_multiple,
    receptive_radius,
)
from rlrestore.toolbox.specs import TOOL_NAMES, TOOLS, ToolSpec, tool_index
from rlrestore.toolbox.toolbox import PIECE_ON_CPU, Toolbox, apply_filled_up, group_sizes, rounded_up


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


def parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def test_the_papers_networks_have_the_papers_sizes() -> None:
    """21,827 and 50,851 parameters: the authors' released checkpoints."""
    assert [parameters(build_network("paper", depth)) for depth in (3, 8)] == [21_827, 50_851]


def test_the_hourglass_has_the_size_worked_out_by_hand() -> None:
    """Weights of 3×3 and a bias for each output: 12→32, 32→104, four of 104→104, 104→128, 32→12."""
    layers = [(12, 32), (32, 104), *[(104, 104)] * 4, (104, 128), (32, 12)]
    assert sum(9 * inputs * outputs + outputs for inputs, outputs in layers) == 546_740
    assert parameters(build_network("hourglass", 8)) == 546_740
    shallow = 9 * 12 * 64 + 64 + 9 * 64 * 64 + 64 + 9 * 64 * 12 + 12
    assert parameters(build_network("hourglass", 3)) == shallow


@pytest.mark.parametrize("family", WIDTHS)
@pytest.mark.parametrize("depth", [3, 8])
def test_a_network_has_the_stated_depth(family: str, depth: int) -> None:
    network = build_network(family, depth)
    assert sum(isinstance(module, nn.Conv2d) for module in network.modules()) == depth


@pytest.mark.parametrize("depth", [3, 8])
def test_folded_networks_cost_less_than_the_papers(depth: int) -> None:
    hourglass, fast, paper = (multiply_adds_per_px(build_network(family, depth)) for family in WIDTHS)
    (width,) = WIDTHS["fast"][depth]
    assert fast == pytest.approx(9 * (24 * width + (depth - 2) * width**2) / 4)
    assert hourglass == pytest.approx(fast if depth == 3 else 35_424)
    assert max(hourglass, fast) < 0.71 * paper


@settings(max_examples=15, deadline=None)
@given(height=st.integers(2, 40), width=st.integers(2, 40), family=st.sampled_from(list(WIDTHS)))
def test_a_tool_keeps_any_size(height: int, width: int, family: str) -> None:
    for depth in (3, 8):
        assert build_network(family, depth)(torch.rand(1, 3, height, width)).shape == (1, 3, height, width)


@pytest.mark.parametrize("family", ["hourglass", "fast"])
def test_an_untrained_tool_changes_nothing(family: str) -> None:
    images = torch.rand(2, 3, 21, 32)
    assert torch.equal(build_network(family, 8)(images), images)


def random_hourglass() -> Hourglass:
    """A narrow one, none of whose weights is zero."""
    network, generator = Hourglass(6, 10), torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator))
    return network.double()


def straight_hourglass(weights: dict[str, Tensor], images: Tensor) -> Tensor:
    """The same function, layer by layer, folding and unfolding by reshapes; sides are multiples of 4."""

    def layer(name: str, features: Tensor, stride: int = 1) -> Tensor:
        kernel = weights[f"{name}.weight"]
        columns = F.unfold(features, 3, padding=1, stride=stride)  # (B, C·9, places)
        flat = kernel.flatten(1) @ columns + weights[f"{name}.bias"][:, None]
        height, width = (-(-side // stride) for side in features.shape[-2:])
        return flat.view(len(features), -1, height, width)

    def bent(features: Tensor) -> Tensor:
        return torch.maximum(features, 0.1 * features)

    def fold(image: Tensor) -> Tensor:
        batch, channels, height, width = image.shape
        squares = image.view(batch, channels, height // 2, 2, width // 2, 2).permute(0, 1, 3, 5, 2, 4)
        return squares.reshape(batch, 4 * channels, height // 2, width // 2)

    def unfold(features: Tensor) -> Tensor:
        batch, channels, height, width = features.shape
        squares = features.view(batch, channels // 4, 2, 2, height, width).permute(0, 1, 4, 2, 5, 3)
        return squares.reshape(batch, channels // 4, 2 * height, 2 * width)

    fine = layer("head", fold(images))
    coarse = layer("down", bent(fine), stride=2)
    for pair in ("middle.0", "middle.1"):
        coarse = coarse + layer(f"{pair}.second", bent(layer(f"{pair}.first", bent(coarse))))
    fine = fine + unfold(layer("up", bent(coarse)))
    return images + unfold(layer("tail", bent(fine)))


@torch.no_grad()
def test_the_hourglass_is_the_function_that_is_described() -> None:
    """The edge is repeated up to a multiple of 4: one line at least, as at a patch of 63, up to four."""
    network, images = random_hourglass(), torch.rand(2, 3, 63, 20, dtype=torch.float64)
    for height, width, down, across in ((63, 20, 1, 4), (17, 18, 3, 2), (20, 19, 4, 1)):
        part = images[..., :height, :width]
        repeated = torch.cat((part, *[part[..., -1:, :]] * down), dim=-2)
        repeated = torch.cat((repeated, *[repeated[..., -1:]] * across), dim=-1)
        expected = straight_hourglass(network.state_dict(), repeated)[..., :height, :width]
        assert (expected - part).abs().max() > 0.1
        torch.testing.assert_close(network(part), expected)


@pytest.mark.parametrize(("side", "multiple", "padded"), [(63, 2, 64), (64, 2, 66), (61, 4, 64), (64, 4, 68)])
def test_at_least_one_line_is_padded(side: int, multiple: int, padded: int) -> None:
    """As at a patch of 63 pixels: what becomes of a last line without another behind it is untrained."""
    images = torch.rand(1, 3, side, side + 1)
    assert pad_to_multiple(images, multiple).shape[2] == padded
    assert (pad_to_multiple(images, multiple)[:, :, side:, : side + 1] == images[:, :, -1:]).all()


@torch.no_grad()
def test_a_changed_pixel_changes_the_hourglass_as_far_as_its_radius_says() -> None:
    """Moved through one block of 4×4, a pixel changes the output up to 29 pixels away, and never farther."""
    network, images = random_hourglass(), torch.rand(1, 3, 80, 80, dtype=torch.float64)
    before, farthest = network(images), 0
    for row in range(40, 44):
        changed = images.clone()
        changed[0, :, row, 40] += 1
        places = (network(changed) != before)[0].any(dim=0).any(dim=1).nonzero().flatten()
        farthest = max(farthest, row - int(places.min()), int(places.max()) - row)
    assert farthest == receptive_radius(network) == receptive_radius(build_network("hourglass", 8)) == 29


@torch.no_grad()
def test_tiles_of_the_hourglass_leave_no_seam() -> None:
    network, image = random_hourglass(), torch.rand(1, 3, 143, 198, dtype=torch.float64).numpy()

    def apply(part: npt.NDArray[Any]) -> npt.NDArray[Any]:
        restored: npt.NDArray[Any] = network(torch.from_numpy(part)).numpy()
        return restored

    def begin(part: npt.NDArray[Any]) -> Callable[[], npt.NDArray[Any]]:
        return partial(apply, part)

    whole, radius = apply(image), receptive_radius(network)
    np.testing.assert_allclose(apply_tiled_(begin, image.copy(), 86, radius), whole, rtol=1e-7, atol=1e-7)
    shifted = apply_tiled_(begin, image.copy(), 86, radius, align=2)  # tiles that begin in mid-block
    assert np.abs(shifted - whole).max() > 0.01


def test_a_family_that_is_only_read_is_not_trained() -> None:
    for family in FAMILIES:
        check_trainable(family)
    with pytest.raises(
        UsageError, match="fast is only read, no longer trained: expected family hourglass or"
    ):
        check_trainable("fast")
    with pytest.raises(UsageError, match=r"^expected family hourglass or paper, got 'huge'"):
        check_trainable("huge")


def test_a_network_takes_its_number_of_widths() -> None:
    with pytest.raises(UsageError, match=r"expected 2 widths of a hourglass network of 8 layers, got \[32\]"):
        build_network("hourglass", 8, [32])


@pytest.mark.parametrize(
    ("family", "depth", "radius"),
    [("paper", 3, 8), ("paper", 8, 8), ("fast", 3, 7), ("fast", 8, 17), ("hourglass", 3, 7)],
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


def test_each_image_gets_its_tool(scales: Toolbox) -> None:
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
    assert group_sizes(scales, actions).tolist() == [1, 2, 0, 1]
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
    (restored,) = apply_filled_up(scales, 0, images, begin, size)
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
    with pytest.raises(
        UsageError, match="expected family hourglass or fast or paper and depth 3 or 8, got 'huge' and 8"
    ):
        build_network("huge", 8)
