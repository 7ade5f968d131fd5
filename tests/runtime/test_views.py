"""Tools that look at a photograph from several sides."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from rlrestore.cli.arguments import MOST_VIEWS
from rlrestore.cli.main import main
from rlrestore.errors import UsageError
from rlrestore.imaging.io.files import read_photo
from rlrestore.imaging.io.photo import Photo
from rlrestore.inference.chains import apply_tool_
from rlrestore.restorer import Restorer
from rlrestore.runtime import Floats
from rlrestore.runtime.device_queue import DeviceQueue
from rlrestore.runtime.torch_runtime import TorchTools
from rlrestore.runtime.views import VIEWS, Views, turned, turned_back, with_views
from rlrestore.toolbox.specs import TOOLS, ToolSpec
from rlrestore.toolbox.toolbox import Toolbox


def noise(height: int, width: int, batch: int = 1) -> Floats:
    return np.random.default_rng(0).random((batch, 3, height, width), np.float32)


def random_tools(queue: DeviceQueue | None = None) -> TorchTools:
    torch.manual_seed(0)
    toolbox = Toolbox(TOOLS[1:3])
    for parameter in toolbox.parameters():
        nn.init.normal_(parameter, std=0.04)
    return TorchTools(toolbox, queue)


def test_the_eight_views_are_all_there_are() -> None:
    image = noise(5, 5)
    seen = [turned(image, *view) for view in VIEWS]
    assert len({each.tobytes() for each in seen}) == 8
    np.testing.assert_array_equal(seen[1], np.rot90(image, 2, (-2, -1)).swapaxes(-2, -1))
    wide = noise(4, 7)
    for view in VIEWS:
        np.testing.assert_array_equal(turned_back(turned(wide, *view), *view), wide)


@pytest.mark.parametrize(("height", "width"), [(64, 64), (40, 72), (63, 63), (37, 50)])
def test_the_result_is_the_mean_over_the_views(height: int, width: int) -> None:
    """A side that is turned round is first completed by its last row or column, to a multiple of 4."""
    tools, image = random_tools(), noise(height, width, 2)
    tall = np.pad(image, [(0, 0), (0, 0), (0, -height % 4), (0, 0)], mode="edge")
    wide = np.pad(image, [(0, 0), (0, 0), (0, 0), (0, -width % 4)], mode="edge")
    both = np.pad(tall, [(0, 0), (0, 0), (0, 0), (0, -width % 4)], mode="edge")
    completed = (image, both, wide, tall, both, image, tall, wide)
    each = [
        turned_back(tools.apply(1, turned(whole, *view).copy()), *view)[..., :height, :width]
        for whole, view in zip(completed, VIEWS, strict=True)
    ]
    np.testing.assert_array_equal(each[0], tools.apply(1, image))
    for count in (2, 3, 8):
        found = Views(tools, count).apply(1, image)
        np.testing.assert_allclose(found, np.mean(each[:count], axis=0), atol=1e-6)
        assert found.shape == image.shape


def test_a_tool_that_does_not_fold_sees_no_more_than_the_photograph() -> None:
    """A mean over 3 by 3 pixels is the same in every view, up to the edge."""

    class Box(nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            padded = nn.functional.pad(images, (1, 1, 1, 1), mode="reflect")
            return nn.functional.avg_pool2d(padded, 3, stride=1)

    spec = ToolSpec("box", "noise", 0.0, 50.0, custom="module", radius=1)
    tools, image = TorchTools(Toolbox([spec], networks=[Box()])), noise(37, 50)
    np.testing.assert_allclose(Views(tools, 8).apply(0, image), tools.apply(0, image), atol=1e-6)


def test_all_eight_views_make_no_difference_between_sides() -> None:
    """The result on a turned image is the turned result, which it is not for one view."""
    image, view = noise(64, 48), VIEWS[6]
    apart = []
    for count in (1, 8):
        tools = Views(random_tools(), count)
        there, here = (tools.apply(1, each) for each in (turned(image, *view).copy(), image))
        apart.append(np.abs(turned_back(there, *view) - here).max())
    assert apart[0] > 0.05
    assert apart[1] < 1e-5


@pytest.mark.parametrize("queue", [None, DeviceQueue(torch.device("cpu"))])
def test_tiles_fit_together(queue: DeviceQueue | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every tile is folded in each view as all of the photograph is, whose sides are no multiple of 4."""
    monkeypatch.setattr("rlrestore.inference.chains.TILE", 96)
    tools, image = Views(random_tools(queue), 8), noise(201, 158)
    np.testing.assert_allclose(apply_tool_(tools, 1, image.copy()), tools.apply(1, image), atol=1e-5)


@pytest.mark.parametrize("order", ["C", "K"])
def test_the_image_stays_as_it_is_in_any_order(order: Literal["C", "K"]) -> None:
    image = np.ascontiguousarray(noise(32, 40).transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2).copy(order)
    before = image.copy()
    Views(random_tools(), 4).apply(0, image)
    np.testing.assert_array_equal(image, before)


@pytest.mark.parametrize("count", [0, 9, -1, 2.0, 1.5, None, "2", np.float64(2), np.array([1, 2])])
def test_other_numbers_of_views_are_refused(count: Any) -> None:
    with pytest.raises(UsageError, match=f"expected 1 to 8 views, got {re.escape(repr(count))}"):
        Views(random_tools(), count)


def test_whole_numbers_of_any_type_are_taken() -> None:
    """The trace says them as JSON can."""
    restorer, image = Restorer.from_pretrained(), noise(40, 50)[0].transpose(1, 2, 0)
    for count in (np.uint8(2), np.int64(2), torch.tensor(2)):
        trace = restorer.restore(image, views=count).trace  # type: ignore[arg-type]  # which people give
        assert json.loads(json.dumps(trace.to_json()))["views"] == 2


@pytest.fixture(scope="module")
def noisy(make_photograph: Callable[[int, int], np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """A photograph with noise, and without."""
    clean = make_photograph(120, 170)
    grains = np.random.default_rng(0).normal(0, 15, clean.shape)
    return (clean + grains).clip(0, 255).astype(np.uint8), clean


@pytest.mark.parametrize("mode", ["global", "local"])
def test_a_restoration_with_more_views_is_better(mode: str, noisy: tuple[np.ndarray, np.ndarray]) -> None:
    """By the shipped model, and one view is what it was before there were several."""
    image, clean = noisy
    restorer = Restorer.from_pretrained(precision="float32")
    few, many = (restorer.restore(image, clean, mode, views=views) for views in (1, 8))
    assert few.trace.psnr_db is not None
    assert many.trace.psnr_db is not None
    assert few.trace.psnr_db + 0.02 < many.trace.psnr_db
    assert (few.trace.to_json()["views"], many.trace.to_json()["views"]) == (1, 8)
    assert "8 views of it for every tool" in many.trace._start_caption()
    assert not any("views" in line for line in few.trace._start_caption())
    assert few.trace.tools
    np.testing.assert_array_equal(few.image, restorer.restore(image, mode=mode).image)


def test_the_command_takes_views(
    tmp_path: Path, noisy: tuple[np.ndarray, np.ndarray], capsys: pytest.CaptureFixture[str]
) -> None:
    source, wanted = tmp_path / "in.png", tmp_path / "out.png"
    Image.fromarray(noisy[0]).save(source)
    restorer = Restorer.from_pretrained()
    for chain in (("denoise-2",), ()):
        names = ["--chain", "denoise-2"] if chain else []
        assert main(["restore", str(source), "-o", str(wanted), "--views", "2", *names]) == 0
        done = restorer.restore(source, views=2, chain=chain)
        assert np.abs(read_photo(wanted).pixels - done.photo.pixels).max() <= 0.5001 / 255
    with pytest.raises(SystemExit, match="2"):
        main(["restore", str(source), "-o", str(wanted), "--views", "9"])
    assert "argument --views: invalid choice: 9" in capsys.readouterr().err


def test_what_is_refused_leaves_a_photo_as_it_was() -> None:
    """Its hidden pixels, which are covered while it is restored, among them."""
    pixels = noise(40, 50)[0].transpose(1, 2, 0).copy()
    photo = Photo(
        pixels.copy(), alpha=np.repeat(np.array([[0, 255]], np.uint8), (20, 30), axis=1).repeat(40, axis=0)
    )
    with pytest.raises(UsageError, match="expected 1 to 8 views, got 9"):
        Restorer.from_pretrained().restore(photo, in_place=True, views=9)
    np.testing.assert_array_equal(photo.pixels, pixels)
    assert len(VIEWS) == MOST_VIEWS


def test_the_model_itself_keeps_its_one_view() -> None:
    runtime = Restorer.from_pretrained().runtime
    assert with_views(runtime, 4).tools is not runtime.tools
    assert with_views(runtime, 4).agent is runtime.agent
    assert not isinstance(runtime.tools, Views)
