"""The tool that enlarges: its start, its file, and that it learns."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from rlrestore.errors import ModelError, UsageError
from rlrestore.imaging.patches import PhotoBank
from rlrestore.model_folder.upscaler import SCALES, UPSCALER, find_upscaler, read_upscaler
from rlrestore.toolbox.trainer import Moment
from rlrestore.toolbox.upscale_training import Pairs, UpscaleSettings, UpscaleTraining, reduce
from rlrestore.toolbox.upscaler import Upscaler, enlarge, lanczos_taps, load_upscaler, save_upscaler


@pytest.mark.parametrize("scale", SCALES)
def test_lanczos_is_pillows(scale: int) -> None:
    image = np.random.default_rng(0).random((20, 24)).astype(np.float32)
    known = Image.fromarray(image).resize((24 * scale, 20 * scale), Image.Resampling.LANCZOS)

    found = enlarge(torch.from_numpy(image)[None, None], scale)[0, 0].numpy()

    inside = slice(4 * scale, -4 * scale)  # at the border Pillow leaves out what is beyond
    np.testing.assert_allclose(found[inside, inside], np.asarray(known)[inside, inside], atol=1e-6)


@pytest.mark.parametrize("scale", SCALES)
def test_what_is_flat_stays_flat(scale: int) -> None:
    assert lanczos_taps(scale).sum(dim=1).tolist() == pytest.approx([1.0] * scale)
    assert enlarge(torch.full((1, 3, 9, 7), 0.3), scale).numpy() == pytest.approx(0.3, abs=1e-6)


@pytest.mark.parametrize("scale", SCALES)
def test_an_untrained_tool_is_lanczos(scale: int) -> None:
    images = torch.rand(2, 3, 17, 13, generator=torch.Generator().manual_seed(0))

    found = Upscaler(width=8, pairs=1)(images, scale)

    assert found.shape == (2, 3, 17 * scale, 13 * scale)
    torch.testing.assert_close(found, enlarge(images, scale))


def test_there_is_no_other_scale() -> None:
    with pytest.raises(UsageError, match="expected an enlargement by 2 or 3, got 4"):
        Upscaler(8, 1)(torch.zeros(1, 3, 8, 8), 4)


def test_no_pixel_farther_than_the_radius_matters() -> None:
    network = Upscaler(width=4, pairs=2)
    for tail in network.tails:
        nn.init.normal_(tail.weight)  # type: ignore[arg-type]  # the weight of a layer
    images = torch.rand(1, 3, 31, 31, requires_grad=True)

    network(images, 2)[0, :, 30:32, 30:32].sum().backward()  # of the pixel 15, 15

    assert images.grad is not None
    rows = images.grad.abs().sum(dim=(0, 1, 3)).nonzero().ravel()
    assert (int(rows.min()), int(rows.max())) == (15 - network.radius, 15 + network.radius)


def test_a_tool_is_written_and_read(tmp_path: Path) -> None:
    network = Upscaler(width=8, pairs=2)
    nn.init.constant_(network.tails[1].bias, 0.25)  # type: ignore[arg-type]  # a layer's bias
    save_upscaler(tmp_path, network, [{"steps": 7}])

    stored = read_upscaler(find_upscaler(tmp_path))
    read = load_upscaler(tmp_path)

    assert (stored.width, stored.pairs, stored.training) == (8, 2, ({"steps": 7},))
    images = torch.rand(1, 3, 9, 9)
    torch.testing.assert_close(read(images, 3), enlarge(images, 3) + 0.25)


def test_a_model_without_one_takes_the_shipped_one(tmp_path: Path) -> None:
    assert find_upscaler(tmp_path).parts[-2:] == ("default", UPSCALER)
    assert {"command", "steps", "gain_over_lanczos_db"} <= set(
        read_upscaler(find_upscaler(tmp_path)).training[0]
    )


@pytest.mark.parametrize("content", [b"", b"{}", b"\x08\0\0\0\0\0\0\0{}      ", b"x" * 100])
def test_a_damaged_file_is_said(tmp_path: Path, content: bytes) -> None:
    (tmp_path / UPSCALER).write_bytes(content)

    with pytest.raises(ModelError, match=f"{UPSCALER} is damaged: .*; copy it again"):
        load_upscaler(tmp_path)


def test_a_tool_of_other_sizes_than_it_says_is_said(tmp_path: Path) -> None:
    network = Upscaler(width=8, pairs=1)
    network.width = 9
    save_upscaler(tmp_path, network, [])

    with pytest.raises(ModelError, match="does not fit the sizes in its header"):
        load_upscaler(tmp_path)


def stripes() -> PhotoBank:
    """Photographs of slanted stripes with hard edges, which Lanczos blurs."""
    rng, lines = np.random.default_rng(0), np.arange(150)
    photos = []
    for _ in range(6):
        down, across = rng.uniform(-1, 1, 2)
        bright = np.sin(0.5 * (down * lines[:, None] + across * lines)) > 0
        photos.append(np.repeat((40 + 170 * bright).astype(np.uint8)[..., None], 3, axis=2))
    return PhotoBank(photos)


@pytest.mark.parametrize("restored", [False, True])
def test_it_learns_to_beat_lanczos(restored: bool) -> None:
    bank, settings = stripes(), UpscaleSettings(width=16, pairs=1, batch=4, patch=24, learning_rate=3e-3)
    generator = torch.Generator().manual_seed(0)
    known = {}
    for scale in SCALES:
        large = bank.crops(8, scale * 32, generator)
        known[scale] = Pairs(reduce(large, scale), large)
    training = UpscaleTraining(settings, bank, known if restored else None)

    for number in range(160):
        training.step(Moment(done=number / 160))

    for scale in SCALES:
        assert training.gain_db(training.clean_pairs(bank, scale)) > 0.5


def test_patches_of_restored_photographs_fit_together() -> None:
    large = torch.rand(3, 3, 60, 60, generator=torch.Generator().manual_seed(0))
    pairs = Pairs(nn.functional.avg_pool2d(large, 3), large)

    small, patches = pairs.patches(16, 10, torch.Generator().manual_seed(1))

    assert small.shape == (16, 3, 10, 10)
    torch.testing.assert_close(nn.functional.avg_pool2d(patches, 3), small)
    assert len({round(float(each.mean()), 5) for each in small}) > 12  # others each time


def test_reducing_keeps_the_mean() -> None:
    images = torch.rand(1, 3, 60, 60, generator=torch.Generator().manual_seed(0))

    for area in (False, True):
        small = reduce(images, 3, area)
        assert small.shape == (1, 3, 20, 20)
        assert float(small.mean()) == pytest.approx(float(images.mean()), abs=0.004)
        torch.testing.assert_close(small * 255, (small * 255).round())
