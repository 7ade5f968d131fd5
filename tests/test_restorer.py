"""Whole photographs: one chain for all, one for every region, and what goes in and out."""

import math
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor, nn

from rlrestore.agent.policy import Hidden, Policy
from rlrestore.errors import UsageError
from rlrestore.evaluation.scores import restore_patches
from rlrestore.imaging.io.files import read_photo, write_photo
from rlrestore.imaging.io.photo import Photo
from rlrestore.inference import chains
from rlrestore.inference.photos import PhotoLike, as_photo
from rlrestore.restorer import Restorer, apply_by_hand
from rlrestore.runtime.torch_runtime import TorchRuntime
from rlrestore.toolbox.specs import TOOLS
from rlrestore.toolbox.toolbox import Toolbox
from tests.toys import make_restorer

Rule = Callable[[Tensor, Tensor, int], Tensor]
"""How a hand-made agent thinks: images `(B, 3, P, P)`, last actions `(B,)`, looks so far → `(B, tools)`."""


class Brighten(nn.Module):
    """A tool that adds a constant, so that every result is known beforehand."""

    def __init__(self, amount: float) -> None:
        super().__init__()
        self.amount = nn.Parameter(torch.tensor(amount))

    def forward(self, images: Tensor) -> Tensor:
        return images + self.amount


class Rules(Policy):
    """An agent that follows a rule, and counts its looks in the memory it is handed."""

    def __init__(self, tools: int, rule: Rule, max_steps: int = 3) -> None:
        super().__init__(tools, max_steps=max_steps)
        self.rule = rule
        self.seen: list[Tensor] = []

    def forward(self, images: Tensor, last_action: Tensor, hidden: Hidden) -> tuple[Tensor, Hidden]:
        self.seen.append(images.clone())
        values = self.rule(images, last_action, int(hidden[0][0, 0]))
        return torch.cat([values, torch.zeros(len(images), 1)], dim=1), (hidden[0] + 1, hidden[1])


def restorer(amounts: Sequence[float], rule: Rule, max_steps: int = 3) -> Restorer:
    toolbox = Toolbox(TOOLS[: len(amounts)], "toy", [Brighten(amount) for amount in amounts])
    return Restorer(TorchRuntime(toolbox, Rules(len(amounts), rule, max_steps), "toy"))


def torch_model(restorer: Restorer) -> TorchRuntime:
    assert isinstance(restorer.runtime, TorchRuntime)
    return restorer.runtime


def always(*values: float) -> Rule:
    def rule(images: Tensor, last_action: Tensor, looks: int) -> Tensor:
        return torch.tensor([values]).expand(len(images), -1)

    return rule


def at_looks(*values: float) -> Rule:
    def rule(images: Tensor, last_action: Tensor, looks: int) -> Tensor:
        return torch.full((len(images), 1), values[looks])

    return rule


def by_colour(images: Tensor, last_action: Tensor, looks: int) -> Tensor:
    """Value tool 0 by the red, tool 1 by the green; half is worth nothing."""
    return 4 * (images.mean(dim=(2, 3))[:, :2] - 0.5)


def grey(value: float, height: int = 70, width: int = 90) -> npt.NDArray[np.float32]:
    return np.full((height, width, 3), value, np.float32)


def by_last_action(images: Tensor, last_action: Tensor, looks: int) -> Tensor:
    """Play tool 0, then tool 1, then stop."""
    return nn.functional.one_hot(last_action + 1, 3)[:, :2] - 0.5


def by_memory(images: Tensor, last_action: Tensor, looks: int) -> Tensor:
    """Play the same chain, told by the memory alone."""
    return torch.tensor([[float(looks == 0), float(looks == 1)]]).expand(len(images), -1) - 0.5


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


def dark_only(images: Tensor, last_action: Tensor, looks: int) -> Tensor:
    return 2 * (0.5 - images.mean(dim=(1, 2, 3))[:, None])


def test_local_treats_each_region_by_itself_without_a_seam() -> None:
    image = grey(0.2, 128, 512)
    image[:, 256:] = 0.8
    toy = restorer([0.2], dark_only, max_steps=1)
    local = toy.restore(image, mode="local")
    correction = local.photo.pixels - image

    np.testing.assert_allclose(correction[:, :150], 0.2, atol=1e-6)
    np.testing.assert_allclose(correction[:, 362:], 0.0, atol=1e-6)
    assert np.abs(np.diff(correction, axis=1)).max() < 0.2 / 12
    shares = dict(local.trace.steps[0].shares)
    assert shares == {"deblur-1": pytest.approx(0.5, abs=0.1), "stop": pytest.approx(0.5, abs=0.1)}
    assert local.trace.steps[0].tool == "deblur-1"


def dark_then_all(images: Tensor, last_action: Tensor, looks: int) -> Tensor:
    return dark_only(images, last_action, looks) if looks == 0 else torch.ones(len(images), 1)


def test_a_region_that_stopped_stays_as_it_is() -> None:
    # From the second step on the agent would brighten every region; but the bright half has stopped.
    image = grey(0.2, 127, 400)
    image[:, 200:] = 0.8
    correction = restorer([0.1], dark_then_all).restore(image, mode="local").photo.pixels - image

    np.testing.assert_allclose(correction[:, :60], 0.3, atol=1e-5)
    np.testing.assert_allclose(correction[:, 340:], 0.0, atol=1e-6)


def by_shade_then_the_other(images: Tensor, last_action: Tensor, looks: int) -> Tensor:
    """Play tool 0 where it is dark and tool 1 where it is bright; then the other one; then stop."""
    if looks == 2:
        return torch.full((len(images), 2), -1.0)
    shade = 8 * (images.mean(dim=(1, 2, 3)) - 0.5) if looks == 0 else 2.0 * (last_action == 0) - 1
    return torch.stack([-shade, shade], dim=1)


def test_every_region_follows_its_own_history() -> None:
    image = grey(0.2, 127, 512)
    image[:, 256:] = 0.8
    done = restorer([0.03, -0.1], by_shade_then_the_other).restore(image, mode="local")

    np.testing.assert_allclose(done.photo.pixels - image, -0.07, atol=1e-6)
    first, second, last = done.trace.steps
    assert dict(first.shares) == {name: pytest.approx(0.5, abs=0.1) for name in ("deblur-1", "deblur-2")}
    assert first.regions is not None
    assert second.regions is not None
    np.testing.assert_array_equal(first.regions.shares[..., 0], second.regions.shares[..., 1])
    assert last.shares == (("stop", 1.0),)


def test_local_is_global_where_all_regions_agree(photograph: npt.NDArray[np.uint8]) -> None:
    toy = restorer([0.05, -0.02], by_last_action)
    of_local, of_global = (toy.restore(photograph, mode=mode) for mode in ("local", "global"))

    np.testing.assert_array_equal(of_local.photo.pixels, of_global.photo.pixels)
    for one, other in zip(of_local.trace.steps, of_global.trace.steps, strict=True):
        assert (one.tool, one.shares) == (other.tool, other.shares)
        assert one.expected_gain_db == pytest.approx(other.expected_gain_db)
        assert dict(one.runners_up) == pytest.approx(dict(other.runners_up))


def by_content(images: Tensor, last_action: Tensor, looks: int) -> Tensor:
    """Tool 0 is worth more, but in many a window, for what is seen there, tool 1 by up to 2 dB."""
    seen = (20 * (images.std(dim=(1, 2, 3)) - 0.105)).clamp(-1, 1)
    return torch.stack([1.3 + seen, 1.0 - seen], dim=1)


def test_what_differs_from_window_to_window_divides_nothing() -> None:
    noise = np.random.default_rng(0).normal(0, 1, (400, 400, 1)) * 0.05
    spots = np.kron(np.random.default_rng(1).random((13, 13)), np.ones((31, 31)))[:400, :400, None]
    image = (0.5 + noise + 0.4 * (spots - 0.5)).clip(0, 1).repeat(3, axis=2).astype(np.float32)
    toy = restorer([0.05, -0.02], by_content)

    np.testing.assert_array_equal(
        toy.restore(image, mode="local").photo.pixels, toy.restore(image).photo.pixels
    )
    policy = torch_model(toy).policy
    assert isinstance(policy, Rules)
    values = by_content(policy.seen[0], torch.tensor(0), 0)
    assert 0.15 < float((values[:, 1] > values[:, 0]).float().mean()) < 0.5


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
