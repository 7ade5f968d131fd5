"""Attribution: against a linear tool's closed form, the law that the map adds up, and known spreads."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from rlrestore.explain.attribution import Attribution, attribute, blur_path, mean_slope, mean_value
from rlrestore.imaging.degradation.blur import gaussian_blur


def picture(height: int = 24, width: int = 30) -> Tensor:
    return torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(0))


def test_a_path_leads_from_the_blurred_picture_to_the_picture() -> None:
    image = picture()
    path = blur_path(image, 2.0, 10)
    torch.testing.assert_close(path[-1:], image)
    torch.testing.assert_close(path[:1], gaussian_blur(image, torch.tensor([2.0])))
    spreads = path.flatten(1).std(dim=1)
    assert (spreads.diff() >= 0).all()


def test_the_map_of_a_linear_tool_is_gradient_times_difference() -> None:
    image = picture()
    kernel = torch.randn(3, 3, 5, 5, generator=torch.Generator().manual_seed(1))

    def score(images: Tensor) -> Tensor:
        return mean_value(F.conv2d(images, kernel, padding=2)[..., 8:16, 10:20])

    # The gradient written out: each output sample of the window adds the kernel around itself.
    gradient = torch.zeros_like(image)
    for row in range(8, 16):
        for column in range(10, 20):
            gradient[0, :, row - 2 : row + 3, column - 2 : column + 3] += kernel.sum(dim=0) / (3 * 8 * 10)
    blurred = gaussian_blur(image, torch.tensor([3.0]))
    found = attribute(score, blur_path(image, 3.0, 7))
    torch.testing.assert_close(found.map.float(), (gradient * (image - blurred))[0], atol=1e-6, rtol=1e-4)
    assert found.missing == pytest.approx(0, abs=1e-6)


def test_the_map_adds_up_for_a_network() -> None:
    torch.manual_seed(0)
    network = torch.nn.Sequential(
        torch.nn.Conv2d(3, 8, 5, padding=2), torch.nn.ReLU(), torch.nn.Conv2d(8, 3, 3, padding=1)
    )
    found = attribute(
        lambda images: mean_slope(network(images)[..., 4:20, 4:20]), blur_path(picture(), 3.0, 50)
    )
    difference = found.sharp - found.blurred
    assert abs(difference) > 0.01
    assert float(found.map.sum()) == pytest.approx(difference, rel=0.01)
    assert found.missing == pytest.approx(difference - float(found.map.sum()), abs=1e-9)


def test_points_taken_one_by_one_or_together_give_one_map(monkeypatch: pytest.MonkeyPatch) -> None:
    path = blur_path(picture(), 3.0, 7)
    together = attribute(mean_slope, path)
    monkeypatch.setattr("rlrestore.explain.attribution.PIXELS_AT_ONCE", 1)
    torch.testing.assert_close(attribute(mean_slope, path).map, together.map, atol=1e-7, rtol=1e-4)


def test_a_slope_is_measured_in_both_directions() -> None:
    rows, columns = torch.meshgrid(torch.arange(6.0), torch.arange(8.0), indexing="ij")
    ramp = (0.03 * rows + 0.04 * columns).expand(1, 3, -1, -1)
    assert mean_slope(ramp).item() == pytest.approx(0.05, abs=1e-6)


@pytest.mark.parametrize(
    ("contributions", "index"),
    [
        ([1.0, -1.0, 1.0, 1.0], 100.0),
        ([0.0, 0.0, -5.0, 0.0], 25.0),  # one of four: 1 - G = 1 / 4
        ([1.0, 3.0], 75.0),  # G = Σ|a - b| / 2n²·mean = 4 / (8 · 2)
        ([0.0, 0.0], 100.0),
    ],
)
def test_the_diffusion_index_is_that_of_ginis_coefficient(contributions: list[float], index: float) -> None:
    plane = torch.tensor(contributions).view(1, 1, -1)
    assert Attribution(plane, 0.0, 0.0).diffusion_index == pytest.approx(index)


def test_what_stops_gradients_is_refused() -> None:
    with pytest.raises(ValueError, match="through which gradients flow"):
        attribute(lambda images: mean_value(images.detach()), blur_path(picture(), 3.0, 2))


def test_a_root_at_zero_leaves_no_nan_in_the_map() -> None:
    path = torch.zeros(3, 3, 4, 4)
    found = attribute(lambda images: images.square().sum(dim=(1, 2, 3)).sqrt(), path)
    assert float(found.map.abs().sum()) == 0
