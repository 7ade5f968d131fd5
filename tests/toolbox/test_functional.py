"""Tools as functions of their weights compute what their modules do, and so do their gradients."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from rlrestore.agent.policy import Policy
from rlrestore.agent.qlearning import TriedActions
from rlrestore.agent.training import AgentSettings, AgentTraining
from rlrestore.toolbox.functional import FunctionalTools
from rlrestore.toolbox.networks import channels_last
from rlrestore.toolbox.specs import TOOLS, ToolSpec
from rlrestore.toolbox.toolbox import Toolbox

WIDTHS = {3: [8], 8: [8, 12]}


def trained_alike(family: str) -> Toolbox:
    """A mild and a severe tool of each kind, none of whose layers is zero."""
    toolbox = Toolbox(TOOLS[1::2], family, widths=WIDTHS if family == "hourglass" else {})
    generator = torch.Generator().manual_seed(0)
    for weight in toolbox.parameters():
        nn.init.normal_(weight, std=0.1, generator=generator)
    return toolbox


def images_and_actions(tools: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.rand(10, 3, 63, 63, generator=generator), torch.arange(10) % (tools + 1)


@pytest.mark.parametrize("family", ["hourglass", "paper"])
def test_gradients_are_those_of_the_modules(family: str) -> None:
    toolbox = trained_alike(family)
    images, actions = images_and_actions(toolbox.stop)
    plain = torch.stack(
        [
            image if tool == toolbox.stop else toolbox.networks[tool](image[None])[0]
            for image, tool in zip(images, actions.tolist(), strict=True)
        ]
    )
    plain.square().mean().backward()
    expected = [weight.grad.clone() for weight in toolbox.parameters() if weight.grad is not None]
    tools = FunctionalTools(toolbox, torch.float32)
    tools.zero_grad()
    restored = tools.apply_each(actions, images)
    restored.square().mean().backward()
    torch.testing.assert_close(restored, plain)
    found = [weight.grad for weight in toolbox.parameters() if weight.grad is not None]
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4 * float(other.abs().max()))


def test_bfloat16_copies_give_float32_masters_their_gradients() -> None:
    toolbox = trained_alike("hourglass")
    images, actions = images_and_actions(toolbox.stop)
    gradients = []
    for precision in (torch.float32, torch.bfloat16):
        tools = FunctionalTools(toolbox, precision)
        tools.zero_grad()
        restored = tools.apply_each(actions, images)
        assert restored.dtype == torch.float32
        restored.square().mean().backward()
        gradients.append(
            torch.cat([weight.grad.flatten() for weight in toolbox.parameters() if weight.grad is not None])
        )
    exact, rounded = gradients
    assert rounded.dtype == torch.float32
    assert 0 < float((exact - rounded).norm() / exact.norm()) < 0.05


def test_gradients_of_several_calls_add_up_in_the_layout_of_their_masters() -> None:
    toolbox = trained_alike("hourglass")
    channels_last(toolbox)
    images, actions = images_and_actions(toolbox.stop)
    tools = FunctionalTools(toolbox, torch.bfloat16)
    gradients = []
    for times in (1, 3):
        tools.zero_grad()
        for _ in range(times):  # between two calls of refresh
            tools.apply_each(actions, images).square().mean().backward()
        tools.scale_gradients(torch.full((toolbox.stop,), 1 / times))
        gradients.append([weight.grad for weight in toolbox.parameters() if weight.grad is not None])
    once, thrice = gradients
    assert len(once) == len(list(toolbox.parameters()))
    for one, other in zip(once, thrice, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)
    for weight in toolbox.parameters():
        assert weight.grad is not None
        assert weight.grad.stride() == weight.stride()


def test_a_tool_that_is_not_used_has_no_gradient_and_copies_follow_their_masters() -> None:
    toolbox = trained_alike("hourglass")
    tools = FunctionalTools(toolbox, torch.bfloat16)
    images = torch.rand(2, 3, 64, 64)
    tools.zero_grad()
    before = tools.apply_tool(0, images)
    before.mean().backward()
    assert tools.used == {0}
    assert all(weight.grad is not None for weight in toolbox.networks[0].parameters())
    assert all(weight.grad is None for weight in toolbox.networks[1].parameters())
    with torch.no_grad():
        for weight in toolbox.networks[0].parameters():
            weight.zero_()
    assert torch.equal(tools.apply_tool(0, images), before)
    tools.refresh()
    assert torch.equal(tools.apply_tool(0, images), images)


class Scale(nn.Module):
    """Multiplies by a number, in float32 alone; two of them have the same weights: none."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, images: Tensor) -> Tensor:
        assert images.dtype == torch.float32
        return self.factor * images


@pytest.mark.parametrize("custom", ["", "scale"])
def test_networks_of_no_known_family_are_functions_of_their_own(custom: str) -> None:
    specs = [ToolSpec(name, "noise", 0, 50, 3, custom) for name in ("double", "treble")]
    toolbox = Toolbox(specs, "scales", [Scale(2.0), Scale(3.0)])
    tools, images = FunctionalTools(toolbox, torch.bfloat16), torch.rand(3, 3, 16, 16)
    restored = tools.apply_each(torch.tensor([0, 1, 2]), images)
    assert torch.equal(restored, images * torch.tensor([2.0, 3.0, 1.0])[:, None, None, None])
    assert tools.used == {0, 1}


def test_a_single_image_is_not_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would become a constant, and the size of a batch is to stay open."""
    sizes: list[int] = []

    def compiler(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
        def run(weights: dict[str, Tensor], images: Tensor) -> Tensor:
            sizes.append(len(images))
            return function(weights, images)

        return run

    monkeypatch.setattr(torch, "compile", compiler)
    toolbox = trained_alike("hourglass")
    tools = FunctionalTools(toolbox, torch.float32, compiled=True)
    for count in (1, 3, 1):
        images = torch.rand(count, 3, 64, 64)
        torch.testing.assert_close(tools.apply_tool(0, images), toolbox.apply_tool(0, images))
    assert sizes == [3]


def test_where_compiling_fails_the_tools_run_as_they_are(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
        def run(*_: object) -> Tensor:
            raise RuntimeError(f"no compiler for {function.__name__}")

        return run

    monkeypatch.setattr(torch, "compile", fail)
    toolbox = trained_alike("hourglass")
    tools, images = FunctionalTools(toolbox, torch.float32, compiled=True), torch.rand(2, 3, 64, 64)
    for _ in range(2):
        torch.testing.assert_close(tools.apply_tool(0, images), toolbox.apply_tool(0, images))
    assert caplog.text.count("the tools are not compiled here (no compiler") == 1


@pytest.mark.parametrize("kind", ["cpu", "cuda"])
def test_trainings_compile_their_tools_on_a_gpu_alone(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The agent's training as that of the tools."""
    compiled: list[object] = []
    monkeypatch.setattr(torch, "compile", compiled.append)
    monkeypatch.setattr(Toolbox, "device", torch.device(kind))
    toolbox, settings = trained_alike("hourglass"), AgentSettings(precision=torch.float32)
    policy, cpu = Policy(toolbox.stop), torch.device("cpu")
    training = AgentTraining(policy, toolbox, no_pairs, TriedActions(), settings, cpu)
    assert training.tools.precision == torch.float32
    assert len(compiled) == (toolbox.stop if kind == "cuda" else 0)


def no_pairs(*_: object) -> tuple[Tensor, Tensor]:
    raise AssertionError("nothing is drawn")
