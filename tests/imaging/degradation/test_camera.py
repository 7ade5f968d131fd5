"""The camera: what is drawn, and every stage against a small computation of its own."""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from rlrestore.imaging.degradation.blur import RADIUS_PX
from rlrestore.imaging.degradation.camera import SCALE_SHARES, Camera, CameraRecipe
from rlrestore.imaging.degradation.compression import compress
from rlrestore.imaging.degradation.development import (
    add_sensor_noise,
    context_px,
    expose,
    record_and_develop,
    sensor_noise,
    simulate_camera,
)
from rlrestore.imaging.degradation.tone import to_linear, to_srgb
from tests.envs.waits import Waits

Pixels = npt.NDArray[np.uint8]

PATTERN = ((0, 1), (1, 2))
"""The channel behind the filters of a cell: red, green; green, blue."""


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def plain(count: int = 1, **settings: Any) -> Camera:
    """Return cameras that do nothing but record a mosaic and interpolate it bilinearly."""
    drawn = CameraRecipe(0, 0, 0, 0, clean_share=1).sample(count, seeded())
    zero, one = torch.zeros(count), torch.ones(count)
    nothing: dict[str, Any] = {"blur_sigma_px": zero, "red_gain": one, "blue_gain": one, "tone": zero}
    nothing |= {"malvar": zero.bool(), "mosaic_top": zero.long(), "mosaic_left": zero.long()}
    return dataclasses.replace(drawn, **(nothing | settings))


def noiseless(camera: Camera) -> Camera:
    return dataclasses.replace(camera, shot=torch.zeros(len(camera)), read=torch.zeros(len(camera)))


def images_of(pixels: Pixels) -> Tensor:
    return torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None].float() / 255


def blurred(image: Tensor, sigma_px: float) -> Tensor:
    pixels = image.permute(1, 2, 0).numpy()
    done = cv2.GaussianBlur(pixels, (21, 21), sigma_px, borderType=cv2.BORDER_REPLICATE)
    return torch.from_numpy(done).permute(2, 0, 1)


@settings(max_examples=30)
@given(st.tuples(*[st.floats(0.05, 0.95)] * 3), st.integers(0, 1000), st.sampled_from(list(SCALE_SHARES)))
def test_a_flat_scene_without_noise_comes_back(
    colour: tuple[float, float, float], seed: int, scale: float
) -> None:
    """Whatever the gains, matrix, curves, sharpening, scale: development undoes what was undone."""
    scene = torch.tensor(colour).view(1, 3, 1, 1).expand(1, 3, 16, 20)
    camera = noiseless(CameraRecipe().sample(1, seeded(seed), scale))
    degraded, target = expose(scene, camera, seeded())
    torch.testing.assert_close(target, scene, atol=2e-4, rtol=0)
    assert torch.equal(degraded, target)


@settings(max_examples=15)
@given(st.integers(0, 10_000), st.sampled_from(list(SCALE_SHARES)))
def test_without_noise_and_jpeg_every_picture_is_its_own_target(seed: int, scale: float) -> None:
    scene = torch.rand(3, 3, 24, 28, generator=seeded(seed))
    degraded, target = simulate_camera(
        scene, CameraRecipe(clean_share=1).sample(3, seeded(seed), scale), seeded()
    )
    assert torch.equal(degraded, target)
    assert target.min() >= 0
    assert target.max() <= 1


def test_the_target_has_neither_noise_nor_jpeg(photograph: Pixels) -> None:
    images = images_of(photograph).expand(8, -1, -1, -1)
    camera = CameraRecipe(clean_share=0).sample(8, seeded(5))
    (_, first), (_, second) = (simulate_camera(images, camera, seeded(seed)) for seed in (1, 2))
    assert torch.equal(first, second)
    degraded, clean = expose(images, noiseless(camera), seeded(3))
    assert torch.equal(first, clean)
    assert torch.equal(degraded, clean)


def test_the_whole_is_exposure_then_compression(photograph: Pixels) -> None:
    images, camera = images_of(photograph).expand(4, -1, -1, -1), CameraRecipe().sample(4, seeded(1))
    noisy, _ = expose(images, camera, seeded(9), 12)
    degraded, _ = simulate_camera(images, camera, seeded(9), 12)
    assert torch.equal(degraded, compress(noisy, camera.compression))
    assert degraded.shape == (4, 3, 104, 136)


@pytest.mark.parametrize("light", [0.0, 0.1, 0.6])
def test_the_sensors_noise_has_its_variance(light: float) -> None:
    shot, read = torch.tensor([0.01, 1e-3]), torch.tensor([2e-4, 1e-5])
    field = torch.full((2, 1, 400, 500), light)
    noisy = add_sensor_noise(
        field, plain(2, shot=shot, read=read), torch.randn(field.shape, generator=seeded())
    )
    for index, variance in enumerate((shot * light + read).tolist()):
        assert noisy[index].mean().item() == pytest.approx(
            light, abs=5 * (variance / field[0].numel()) ** 0.5
        )
        assert noisy[index].var().item() == pytest.approx(variance, rel=0.02)


def test_the_sensor_saturates() -> None:
    field = torch.full((1, 1, 100, 100), 0.99)
    camera = plain(shot=torch.tensor([0.01]), read=torch.tensor([0.0]))
    noisy = add_sensor_noise(field, camera, torch.randn(field.shape, generator=seeded()))
    assert noisy.max() == 1
    assert (noisy == 1).float().mean() > 0.3


def test_noise_is_developed_by_gain_and_slope() -> None:
    """At a pixel's own colour: σ of the light, times gain, times the slope of the sRGB curve."""
    grey, gain, shot, read = 0.5, 2.0, 1e-5, 1e-7
    camera = plain(red_gain=torch.tensor([gain]), shot=torch.tensor([shot]), read=torch.tensor([read]))
    noisy, target = expose(torch.full((1, 3, 200, 200), grey), camera, seeded())
    noise = (noisy - target)[0]
    linear = to_linear(torch.tensor(grey)).item()
    slope = (to_srgb(torch.tensor(linear + 1e-3)) - to_srgb(torch.tensor(linear - 1e-3))).item() / 2e-3
    for channel, row, column, factor in ((0, 0, 0, gain), (1, 0, 1, 1.0), (2, 1, 1, 1.0)):
        own = noise[channel, row::2, column::2]
        expected = slope * factor * math.sqrt(shot * linear / factor + read)
        assert own.std().item() == pytest.approx(expected, rel=0.03)
    # A bilinear mean of four pixels has half of it.
    assert noise[1, 0::2, 0::2].std().item() == pytest.approx(
        slope * math.sqrt(shot * linear + read) / 2, rel=0.04
    )


@pytest.mark.parametrize(("top", "left"), [(0, 0), (0, 1), (1, 0), (1, 1)])
@pytest.mark.parametrize(("row", "column"), [(4, 4), (4, 5), (5, 4), (5, 5)])
def test_the_mosaic_begins_at_its_phase(top: int, left: int, row: int, column: int) -> None:
    """Noise at one pixel of the sensor changes there the colour that it records, and no other."""
    camera = plain(
        mosaic_top=torch.tensor([top]),
        mosaic_left=torch.tensor([left]),
        shot=torch.tensor([0.0]),
        read=torch.tensor([1e-4]),
    )
    noise = torch.zeros(1, 1, 14, 14)
    noise[..., row + top, column + left] = 1
    noisy, target = record_and_develop(torch.full((1, 3, 12, 12), 0.5), camera, noise)
    changed = ((noisy - target)[0, :, row, column].abs() > 1e-4).tolist()
    assert changed == [channel == PATTERN[(row + top) % 2][(column + left) % 2] for channel in range(3)]


def test_the_colour_matrix_mixes_noise_but_not_the_scene() -> None:
    matrix = torch.tensor([[[1.6, -0.5, -0.1], [-0.2, 1.5, -0.3], [0.0, -0.6, 1.6]]])
    settings: dict[str, Any] = {"shot": torch.tensor([1e-6]), "read": torch.tensor([1e-7])}
    noise = torch.randn(1, 1, 202, 202, generator=seeded())
    scene = torch.full((1, 3, 200, 200), 0.5)
    straight, mixed = (
        record_and_develop(scene, plain(**settings, colour_matrix=one), noise)
        for one in (torch.eye(3)[None], matrix)
    )
    torch.testing.assert_close(mixed[1], straight[1], atol=1e-5, rtol=0)
    # The curve is straight for so little noise, so the matrix applies to what is developed.
    before, after = ((noisy - target)[0].flatten(1) for noisy, target in (straight, mixed))
    torch.testing.assert_close(after, matrix[0] @ before, atol=3e-4, rtol=0)


def test_denoising_smooths_luma_and_chroma_of_the_noise() -> None:
    settings: dict[str, Any] = {"shot": torch.tensor([1e-3]), "read": torch.tensor([1e-5])}
    noise = torch.randn(1, 1, 66, 66, generator=seeded())
    scene = torch.full((1, 3, 64, 64), 0.4)
    noisy, target = record_and_develop(scene, plain(**settings), noise)
    denoising: dict[str, Any] = {"luma_sigma_px": torch.tensor([0.7]), "chroma_sigma_px": torch.tensor([2.0])}
    left, _ = record_and_develop(scene, plain(**settings, **denoising), noise)
    before = (noisy - target)[0]
    luma = (0.299 * before[0] + 0.587 * before[1] + 0.114 * before[2]).expand(3, -1, -1)
    expected = blurred(luma, 0.7) + blurred(before - luma, 2.0)
    torch.testing.assert_close((left - target)[0], expected, atol=2e-6, rtol=0)


def test_sharpening_is_an_unsharp_mask(photograph: Pixels) -> None:
    images = images_of(photograph)
    _, soft = expose(images, plain(), seeded())
    sharpening: dict[str, Any] = {"sharpen": torch.tensor([1.2]), "sharpen_sigma_px": torch.tensor([0.9])}
    _, sharp = expose(images, plain(**sharpening), seeded())
    expected = (soft[0] + 1.2 * (soft[0] - blurred(soft[0], 0.9))).clamp(0, 1)
    torch.testing.assert_close(sharp[0], expected, atol=3e-6, rtol=0)


def test_scaled_down_the_photograph_keeps_its_place_and_loses_noise(photograph: Pixels) -> None:
    images = images_of(photograph)
    strengths = []
    for scale in SCALE_SHARES:
        camera = plain(shot=torch.tensor([2e-3]), read=torch.tensor([1e-5]), scale=scale)
        noisy, target = expose(images, camera, seeded())
        assert (target - images).abs().mean().item() < 0.02  # shifted by a pixel it is 0.04
        strengths.append((noisy - target).std().item())
    assert strengths == sorted(strengths, reverse=True)
    assert strengths[-1] < 0.6 * strengths[0]


@pytest.mark.parametrize("scale", list(SCALE_SHARES))
def test_a_margin_of_the_context_hides_the_border(
    make_photograph: Callable[..., Pixels], scale: float
) -> None:
    """The middle of a photograph is taken as it is cut out with its context, whatever lies around."""
    images, margin = images_of(make_photograph(160, 160)).expand(6, -1, -1, -1), context_px(scale)
    camera = CameraRecipe(soft_share=0.5, sharpened_share=1, clean_share=1).sample(6, seeded(4), scale)
    _, whole = expose(images, camera, seeded())
    first = 80 - 16 - margin
    cut = images[..., first : 80 + 16 + margin, first : 80 + 16 + margin]
    # The sensor begins where the lens's margin ends. The mosaic must be where it was.
    shift = round((first + RADIUS_PX) * scale) % 2
    moved = dataclasses.replace(
        camera, mosaic_top=(camera.mosaic_top + shift) % 2, mosaic_left=(camera.mosaic_left + shift) % 2
    )
    _, part = expose(cut, moved, seeded(), margin)
    torch.testing.assert_close(part, whole[..., 64:96, 64:96], atol=2e-3, rtol=0)


def test_cameras_are_drawn_as_stated() -> None:
    count = 20_000
    camera = CameraRecipe(soft_share=0.3, clean_share=0.1).sample(count, seeded())
    clean = camera.shot == 0
    assert clean.float().mean().item() == pytest.approx(0.1, abs=0.01)
    assert not camera.read[clean].any()
    assert not camera.compression.quality[clean].any()
    log_shot, log_read = camera.shot[~clean].log(), camera.read[~clean].log()
    assert (log_shot.min() >= math.log(1e-4) - 1e-5, log_shot.max() <= math.log(0.02) + 1e-5) == (True, True)
    assert log_shot.mean().item() == pytest.approx((math.log(1e-4) + math.log(0.02)) / 2, abs=0.05)
    rest = log_read - (2.18 * log_shot + 1.2)
    assert rest.mean().item() == pytest.approx(0, abs=0.01)
    assert rest.std().item() == pytest.approx(0.26, rel=0.03)
    soft = camera.blur_sigma_px >= 1
    assert soft.float().mean().item() == pytest.approx(0.3, abs=0.015)
    assert (camera.disc_radius_px > 0)[soft].float().mean().item() == pytest.approx(0.5, abs=0.03)
    assert not camera.disc_radius_px[~soft].any()
    for gain in (camera.red_gain, camera.blue_gain):
        assert (gain.min() >= 1.2, gain.max() <= 2.4) == (True, True)
    torch.testing.assert_close(camera.colour_matrix.sum(dim=2), torch.ones(count, 3))
    phases = (2 * camera.mosaic_top + camera.mosaic_left).bincount()
    assert phases.min() > 0.23 * count


def test_a_gpu_is_not_waited_for(photograph: Pixels) -> None:
    """And what it computes there without knowing how many are chosen is the same."""
    images, recipe = images_of(photograph).expand(6, -1, -1, -1).contiguous(), CameraRecipe()
    for scale in (1.0, 1.5):
        expected = simulate_camera(
            images, recipe.sample(6, seeded(1), scale), seeded(2), 12
        )  # and fills caches
        with Waits() as waits:
            found = simulate_camera(images, recipe.sample(6, seeded(1), scale), seeded(2), 12)
        assert not waits.found
        torch.testing.assert_close(found[1], expected[1], atol=1e-5, rtol=0)
        # Where rounding falls the other way, a coefficient of JPEG moves by a step.
        assert (found[0] - expected[0]).abs().mean() < 1e-3


def test_the_same_seed_draws_the_same() -> None:
    first, second = (CameraRecipe().sample(50, seeded(3)) for _ in range(2))
    assert torch.equal(first.shot, second.shot)
    assert torch.equal(first.colour_matrix, second.colour_matrix)


def test_what_is_no_camera_is_refused() -> None:
    with pytest.raises(ValueError, match=r"expected settings of 2 images, got the shapes \{'tone': \(3,\)\}"):
        plain(2, tone=torch.zeros(3))
    with pytest.raises(ValueError, match=r"expected a scale of 1\.0, 1\.5, 2\.0, 3\.0, got 1\.7"):
        plain(scale=1.7)
    with pytest.raises(ValueError, match="expected sides that are multiples of 4, got 10×12"):
        record_and_develop(torch.zeros(1, 3, 10, 12), plain(), torch.zeros(1, 1, 12, 14))


def test_the_sensors_noise_has_room_for_every_phase() -> None:
    assert sensor_noise(torch.Size((2, 3, 12, 16)), 1.5, seeded()).shape == (2, 1, 20, 26)
