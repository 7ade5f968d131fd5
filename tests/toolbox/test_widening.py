"""Tools that grow: they restore as before, and their new channels learn."""

import pytest
import torch
from torch import nn

from rlrestore.errors import UsageError
from rlrestore.toolbox.specs import ToolSpec
from rlrestore.toolbox.toolbox import Toolbox, widened


def trained(depth: int, widths: tuple[int, ...]) -> Toolbox:
    """Return two tools of a depth whose weights are all other than zero."""
    specs = [ToolSpec(name, "noise", 0, 10, depth) for name in ("one", "other")]
    toolbox = Toolbox(specs, widths={depth: widths}).eval()
    with torch.no_grad():
        for number, weight in enumerate(toolbox.parameters()):
            weight.copy_(0.1 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(number)))
    return toolbox


@pytest.mark.parametrize(
    ("depth", "narrow", "wide"), [(3, (8,), (12,)), (8, (4, 8), (6, 13)), (8, (4, 8), (4, 9))]
)
def test_widened_tools_restore_as_before_and_learn_by_their_new_channels(
    depth: int, narrow: tuple[int, ...], wide: tuple[int, ...]
) -> None:
    toolbox, images = trained(depth, narrow), torch.rand(2, 3, 21, 18)
    wider = widened(toolbox, {depth: wide}, seed=3)
    assert wider.widths == {depth: wide}
    assert wider.names == toolbox.names
    for index in range(2):
        torch.testing.assert_close(wider.apply_tool(index, images), toolbox.apply_tool(index, images))
    wider.apply_tool(0, images).square().sum().backward()
    gradient = wider.networks[0].get_parameter("up.weight" if depth == 8 else "tail.weight").grad
    assert gradient is not None
    assert (gradient[:, narrow[-1] :] != 0).any(dim=0).all()
    again = widened(toolbox, {depth: wide}, seed=3)
    assert all(torch.equal(*pair) for pair in zip(wider.parameters(), again.parameters(), strict=True))


def test_tools_are_not_narrowed() -> None:
    with pytest.raises(UsageError, match=r"expected widths of at least \[4, 8\], got \[6, 7\]"):
        widened(trained(8, (4, 8)), {8: (6, 7)}, seed=0)
    with pytest.raises(UsageError, match="expected 2 widths of a hourglass network of 8 layers"):
        widened(trained(8, (4, 8)), {8: (9,)}, seed=0)


def test_custom_tools_remain_what_they_are() -> None:
    custom = Toolbox([ToolSpec("own", "noise", 0, 10, 3)], family="toy", networks=[nn.Identity()])
    assert list(widened(custom, {}, seed=0).networks) == list(custom.networks)
