"""Explaining windows: a linear tool's closed form, what lies outside of a tool's sight, bad windows."""

import json

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from rlrestore.errors import UsageError
from rlrestore.explain.errors import Box
from rlrestore.explain.explaining import explain_choice, explain_tool
from rlrestore.imaging.degradation.blur import gaussian_blur
from rlrestore.runtime.torch_runtime import TorchRuntime
from tests.toys import make_model


def picture(height: int = 120, width: int = 150) -> Tensor:
    return torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def default() -> TorchRuntime:
    return TorchRuntime.load("default")


def test_a_linear_tools_map_is_gradient_times_difference() -> None:
    """The toy's tools add a constant: a sample of the window counts by its share, any other not at all."""
    image, window = picture(), Box(61, 50, 10, 8)
    found = explain_tool(make_model([0]), image, window, "brighten", "brightness")
    expected = torch.zeros_like(image)
    inside = np.s_[..., 50:58, 61:71]
    difference = image - gaussian_blur(image, torch.tensor([3.0]))
    expected[inside] = difference[inside] / (3 * 10 * 8)
    assert found.context == Box(28, 16, 75, 74)  # 32 around, the corner on the grid of fours
    context = expected[0, :, 16:90, 28:103]
    torch.testing.assert_close(found.attribution.map.float(), context, atol=1e-7, rtol=1e-3)
    assert found.to_json()["inside_share"] == 1
    assert found.attribution.sharp == pytest.approx(image[inside].mean().item() + 0.125, abs=1e-5)


@pytest.mark.parametrize("window", [Box(0, 0, 20, 20), Box(130, 100, 20, 20), Box(40, 40, 16, 24)])
def test_a_tools_map_adds_up_and_ends_where_it_sees_nothing(default: TorchRuntime, window: Box) -> None:
    image = picture()
    found = explain_tool(default, image, window, "denoise-2")
    numbers = found.attribution
    assert abs(numbers.missing) < 0.02 * abs(numbers.sharp - numbers.blurred)
    rows, columns = np.nonzero(numbers.map.abs().sum(dim=0).numpy())
    radius = default.toolbox.radius(default.toolbox.names.index("denoise-2"))
    assert rows.min() + found.context.y >= window.y - radius
    assert columns.max() + found.context.x < window.x + window.width + radius
    assert 0 < numbers.diffusion_index < 50


def test_the_result_explained_is_that_of_the_whole_picture(default: TorchRuntime) -> None:
    image, index = picture(), default.toolbox.names.index("denoise-3")
    found = explain_tool(default, image, Box(70, 60, 12, 12), "denoise-3", "brightness")
    with torch.no_grad():
        whole = default.toolbox.apply_tool(index, image)[..., 60:72, 70:82].mean().item()
    assert found.attribution.sharp == pytest.approx(whole, abs=1e-5)


def test_the_agents_choice_adds_up(default: TorchRuntime) -> None:
    image = picture() * 0.4 + 0.3
    found = explain_choice(default, image, Box(20, 30, 70, 66))
    numbers = found.attribution
    assert abs(numbers.missing) < 0.05 * abs(numbers.sharp - numbers.blurred)
    assert found.choice == found.tool
    assert found.window == found.context == Box(20, 30, 70, 66)
    record = json.loads(json.dumps(found.to_json()))
    assert record["map_sum"] == pytest.approx(numbers.sharp - numbers.blurred - numbers.missing)
    assert found.picture().width > 600


def test_a_small_window_grows_to_what_the_agent_looks_at() -> None:
    found = explain_choice(make_model([1]), picture(), Box(140, 2, 8, 8))
    assert found.context == Box(87, 0, 63, 63)
    assert (found.tool, found.choice) == ("darken", "darken")
    assert found.attribution.sharp == pytest.approx(1, abs=1e-4)  # the toy expects 1 dB whatever it sees
    assert explain_choice(make_model([]), picture(), Box(0, 0, 63, 63)).choice == "stop"


@pytest.mark.parametrize(
    ("window", "message"),
    [
        (Box(100, 0, 51, 20), r"inside the picture of 150×120 pixels, got 100,0,51,20"),
        (Box(-1, 0, 20, 20), r"inside the picture of 150×120"),
        (Box(0, 0, 1, 20), "sides of 2 to 256 pixels, got 0,0,1,20"),
        (Box(0, 0, 20, 257), "sides of 2 to 256 pixels"),
    ],
)
def test_bad_windows_are_refused(window: Box, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        explain_tool(make_model([0]), picture(), window, "brighten")


def test_unknown_names_and_small_pictures_are_refused() -> None:
    model, window = make_model([0]), Box(0, 0, 8, 8)
    with pytest.raises(UsageError, match="unknown tool 'sharpen': expected one of brighten, darken, keep"):
        explain_tool(model, picture(), window, "sharpen")
    with pytest.raises(UsageError, match="unknown detector 'colour': expected edges or brightness"):
        explain_tool(model, picture(), window, "keep", "colour")
    with pytest.raises(UsageError, match="at least 63×63 pixels, as the agent looks at, got 90×40"):
        explain_choice(model, picture(40, 90), window)


class Detached(nn.Module):
    """A tool like one in ONNX: nothing flows back through it."""

    def forward(self, images: Tensor) -> Tensor:
        """Return the images without their history."""
        return images.detach().clone()


def test_a_tool_without_gradients_is_refused() -> None:
    model = make_model([0])
    model.toolbox.networks[0] = Detached()
    with pytest.raises(UsageError, match="a tool that gradients flow through, brighten is none"):
        explain_tool(model, picture(), Box(0, 0, 8, 8), "brighten")
