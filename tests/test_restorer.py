"""Whole photographs: one chain for all, one for every region, and what goes in and out."""

import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor, nn

from rlrestore.errors import UsageError
from rlrestore.evaluation.scores import restore_patches
from rlrestore.imaging.io.files import read_photo, write_photo
from rlrestore.imaging.io.photo import Photo
from rlrestore.inference import chains
from rlrestore.inference.by_hand import apply_by_hand
from rlrestore.inference.photos import PhotoLike, as_photo
from rlrestore.restorer import Restorer
from rlrestore.runtime.torch_runtime import TorchRuntime
from rlrestore.toolbox.specs import TOOLS
from rlrestore.toolbox.toolbox import Toolbox
from tests.rules import (
    Rule,
    Rules,
    always,
    at_looks,
    by_colour,
    by_last_action,
    by_memory,
    grey,
    restorer,
    torch_model,
)
from tests.toys import make_restorer


@pytest.mark.parametrize("rule", [by_last_action, by_memory])
def test_the_chain_is_played_without_clipping_between_the_steps(rule: Rule) -> None:
    restored = restorer([0.9, -0.8], rule).restore(grey(0.5))

    # Clipped after the first step it would be 1.0 - 0.8 = 0.2.
    np.testing.assert_allclose(restored.photo.pixels, 0.6, atol=1e-6)
    assert restored.trace.tools == ("deblur-1", "deblur-2")
    assert restored.trace.stopped
    assert [step.tool for step in restored.trace.steps] == ["deblur-1", "deblur-2", "stop"]


def test_the_result_is_clipped_at_the_end() -> None:
    restored = restorer([0.4], always(1.0)).restore(grey(0.5))

    assert restored.photo.pixels.max() == 1.0
    assert restored.trace.tools == ("deblur-1",) * 3
    assert not restored.trace.stopped


def test_the_agent_sees_clipped_windows_of_its_size() -> None:
    toy = restorer([0.9], always(1.0))
    toy.restore(grey(0.5, 8, 200))
    policy = torch_model(toy).policy
    assert isinstance(policy, Rules)

    assert {tuple(images.shape[1:]) for images in policy.seen} == {(3, 63, 63)}
    assert policy.seen[0].eq(0.5).all()
    assert policy.seen[1].eq(1.0).all()


def by_shade(images: Tensor, last_action: Tensor, looks: int) -> Tensor:
    bright = images.mean(dim=(1, 2, 3))
    return torch.stack([bright, 1 - bright], dim=1)


def test_the_mean_over_the_windows_decides() -> None:
    image = grey(0.0, 63, 63 * 5)
    image[:, 63 * 2 :] = 1.0  # three windows of five are bright
    step = restorer([0.0, 0.1], by_shade, max_steps=1).restore(image).trace.steps[0]

    assert step.tool == "deblur-1"
    assert step.expected_gain_db == pytest.approx(0.6, abs=0.02)
    assert step.runners_up == (("deblur-2", pytest.approx(0.4, abs=0.02)), ("stop", 0.0))
    assert step.shares == (("deblur-1", 1.0),)


def test_max_steps_overrides_the_model() -> None:
    restored = restorer([0.01], always(1.0)).restore(grey(0.5), max_steps=5)

    np.testing.assert_allclose(restored.photo.pixels, 0.55, atol=1e-6)


def test_an_agent_that_stops_at_once_changes_nothing() -> None:
    pixels = np.random.default_rng(0).random((64, 65, 3), np.float32)
    restored = restorer([0.1], always(-1.0)).restore(pixels)

    np.testing.assert_array_equal(restored.photo.pixels, pixels)
    assert restored.trace.tools == ()
    assert restored.trace.stopped
    assert restored.trace.expected_gain_db == 0


def test_psnr_is_measured_against_the_reference() -> None:
    trace = restorer([0.05], always(1.0), max_steps=1).restore(grey(0.5), reference=grey(0.6)).trace

    # MSE 0.1² and 0.05²: 20 dB and 26.02 dB.
    assert trace.start_psnr_db == pytest.approx(20, abs=1e-3)
    assert trace.psnr_db == pytest.approx(20 - 20 * math.log10(0.5), abs=1e-3)
    assert trace.gains_db()[0] == pytest.approx(6.0206, abs=1e-3)


@pytest.mark.parametrize("mode", ["global", "local"])
def test_tiles_leave_no_mark(
    mode: str, photograph: npt.NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    toolbox = Toolbox(TOOLS[2:4])
    for parameter in toolbox.parameters():
        nn.init.normal_(parameter, std=0.04)
    model = Restorer(TorchRuntime(toolbox, Rules(2, by_colour), "random"))
    pixels = np.tile(photograph, (2, 2, 1))
    pixels[..., :160, 0], pixels[..., 160:, 1] = 250, 250  # red to the left, green to the right
    whole = model.restore(pixels, mode=mode)
    monkeypatch.setattr(chains, "TILE", 2 * max(map(toolbox.radius, range(toolbox.stop))) + 26)

    assert len(whole.trace.steps[0].shares) == (2 if mode == "local" else 1)
    assert np.abs(whole.photo.pixels - pixels / 255).max() > 0.01
    tiled = model.restore(pixels, mode=mode).photo.pixels
    np.testing.assert_allclose(tiled, whole.photo.pixels, atol=1e-5)


def test_patches_are_restored_like_photographs_of_one_window() -> None:
    generator = torch.Generator().manual_seed(0)
    patches = torch.rand(5, 3, 63, 63, generator=generator)
    toy = restorer([0.002, -0.003], by_colour)
    batch = restore_patches(torch_model(toy), patches)

    assert batch.images.shape == (4, 5, 3, 63, 63)
    assert batch.actions.shape == (5, 3)
    torch.testing.assert_close(batch.images[0], patches)
    for patch, images, actions in zip(patches, batch.images.unbind(1), batch.actions, strict=True):
        single = toy.restore(patch)
        names = [("deblur-1", "deblur-2", "stop")[action] for action in actions]
        assert [step.tool for step in single.trace.steps] == names[: len(single.trace.steps)]
        torch.testing.assert_close(
            torch.from_numpy(single.photo.pixels).permute(2, 0, 1), images[-1].clamp(0, 1)
        )


def test_a_patch_that_stopped_keeps_its_value() -> None:
    toy = restorer([0.1], at_looks(1.0, -1.0, 1.0))
    batch = restore_patches(torch_model(toy), torch.zeros(2, 3, 63, 63))

    assert batch.actions.tolist() == [[0, 1, 1]] * 2
    assert batch.images.mean(dim=(1, 2, 3, 4)).tolist() == pytest.approx([0, 0.1, 0.1, 0.1])


def test_every_kind_of_photograph_is_taken(photograph: npt.NDArray[np.uint8], tmp_path: Path) -> None:
    toy = restorer([0.1], always(1.0), max_steps=1)
    write_photo(tmp_path / "photo.png", as_photo(photograph))
    floats = photograph.astype(np.float32) / 255
    before = floats.copy()
    planes = torch.from_numpy(floats.copy()).permute(2, 0, 1)
    kinds: list[PhotoLike] = [
        tmp_path / "photo.png",
        str(tmp_path / "photo.png"),
        read_photo(tmp_path / "photo.png"),
        photograph,
        photograph.astype(np.uint16) * np.uint16(257),
        floats,
        planes,
        planes[None],
    ]
    for kind in kinds:
        pixels = toy.restore(kind).photo.pixels
        np.testing.assert_allclose(pixels, (before + 0.1).clip(0, 1), atol=1e-6)
    np.testing.assert_array_equal(floats, before)


def test_wrong_options_are_refused() -> None:
    toy = restorer([0.1], always(1.0))
    with pytest.raises(UsageError, match="unknown mode 'both': expected global or local"):
        toy.restore(grey(0.5), mode="both")
    with pytest.raises(UsageError, match="max_steps of at least 1, got 0"):
        toy.restore(grey(0.5), max_steps=0)
    with pytest.raises(UsageError, match="reference of the image's size, 90×70 pixels, got 70×90"):
        toy.restore(grey(0.5), reference=grey(0.5, 90, 70))


def test_what_belongs_to_the_photo_is_kept(tmp_path: Path) -> None:
    alpha = np.arange(70 * 90, dtype=np.uint16).reshape(70, 90)
    photo = Photo(grey(0.25), alpha=alpha, depth_bits=16, icc_profile=b"profile", dpi=(72.0, 72.0))
    result = restorer([0.25], always(1.0), max_steps=1).restore(photo)
    result.save(tmp_path / "out.png")
    back = read_photo(tmp_path / "out.png")

    assert result.photo.icc_profile == b"profile"
    assert back.depth_bits == 16
    np.testing.assert_array_equal(back.alpha, alpha)
    hidden = alpha < 8 * 257
    np.testing.assert_allclose(back.pixels[hidden], 0.25, atol=1 / 65535)
    np.testing.assert_allclose(back.pixels[~hidden], 0.5, atol=1 / 65535)


def test_frames_are_kept_on_request() -> None:
    toy = restorer([0.2], always(1.0), max_steps=2)
    frames = toy.restore(grey(0.5), reference=grey(0.6)).trace.frames
    without = toy.restore(grey(0.5), reference=grey(0.6), keep_steps=False).trace

    assert [int(frame[0, 0, 0]) for frame in frames] == [128, 178, 230]
    assert without.frames == ()
    assert without.reference is None


def test_one_tool_by_hand() -> None:
    tools = restorer([0.1, 0.2], always(1.0, 1.0)).runtime.tools
    result = apply_by_hand(tools, "deblur-2", as_photo(grey(0.5)))

    np.testing.assert_allclose(result.pixels, 0.7, atol=1e-6)
    with pytest.raises(UsageError, match="unknown tool 'sharpen': expected one of deblur-1, deblur-2"):
        apply_by_hand(tools, "sharpen", as_photo(grey(0.5)))


def test_the_name_restore_can_be_called_however_it_was_imported() -> None:
    code = (
        "import rlrestore; first = rlrestore.restore; import rlrestore.restorer; "
        "from rlrestore.restorer import Restorer; assert rlrestore.restore is first and callable(first); "
        "assert rlrestore.Restorer is Restorer; rlrestore.restore('missing.png', model='nowhere')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert "ModelError: no model 'nowhere'" in done.stderr


@pytest.mark.parametrize("steps", [(-1, 1, 1), (1, -1, 1), (1, 1, -1), (-2, -3, -1)])
@pytest.mark.parametrize("in_place", [False, True])
def test_pixels_of_negative_strides_are_taken(steps: tuple[int, int, int], in_place: bool) -> None:
    pixels = np.random.default_rng(0).random((60, 80, 3), np.float32)
    view, model = pixels[:: steps[0], :: steps[1], :: steps[2]], make_restorer([0])
    expected = model.restore(Photo(np.ascontiguousarray(view))).photo.pixels
    found = model.restore(Photo(view), in_place=in_place).photo.pixels
    np.testing.assert_allclose(found, expected, atol=1e-6)
