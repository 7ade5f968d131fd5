"""A camera for files beside the camera for batches."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
import torch

from rlrestore.imaging.degradation import camera_files
from rlrestore.imaging.degradation.camera import SCALE_SHARES, CameraRecipe
from rlrestore.imaging.degradation.camera_files import compress_pixels, expose_pixels, take_pixels
from rlrestore.imaging.degradation.compression import CompressionRecipe
from rlrestore.imaging.degradation.development import expose, simulate_camera
from rlrestore.imaging.degradation.libjpeg import jpeg_pixels
from rlrestore.imaging.io.samples import to_floats
from rlrestore.imaging.metrics import psnr_db

Pixels = npt.NDArray[np.uint8]

RECIPE = CameraRecipe(clean_share=0, compression=CompressionRecipe(share=1))


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def to_images(pixels: Pixels) -> torch.Tensor:
    return torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None].float() / 255


@pytest.mark.parametrize("scale", list(SCALE_SHARES))
def test_a_file_is_exposed_as_the_batch(photograph: Pixels, scale: float) -> None:
    camera = RECIPE.sample(1, seeded(2), scale)
    noisy, target = expose_pixels(to_floats(photograph), camera, seeded())
    batch = expose(to_images(photograph), camera, seeded())
    for ours, theirs in zip((noisy, target), batch, strict=True):
        assert (to_images(ours) - theirs).abs().max().item() < 0.5 / 255 + 1e-5


@pytest.mark.parametrize("scale", list(SCALE_SHARES))
def test_tiles_leave_no_seam(
    make_photograph: Callable[..., Pixels], scale: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    pixels = to_floats(make_photograph(131, 178))
    recipe = replace(RECIPE, denoised_share=1.0, sharpened_share=1.0)
    camera = recipe.sample(1, seeded(3), scale)
    whole = expose_pixels(pixels, camera, seeded())
    monkeypatch.setattr(camera_files, "TILE_PX", 96)
    tiled = expose_pixels(pixels, camera, seeded())
    for one, other in zip(whole, tiled, strict=True):
        assert one.shape == (131, 178, 3)
        assert np.abs(one.astype(int) - other).max() <= 1


def test_both_degrade_by_the_same_amount(photograph: Pixels) -> None:
    for seed in range(4):
        camera = RECIPE.sample(1, seeded(seed))
        noisy, target = expose_pixels(to_floats(photograph), camera, seeded())
        file = to_images(jpeg_pixels(compress_pixels(noisy, camera.compression)))
        batch, reference = simulate_camera(to_images(photograph), camera, seeded())
        before, after = psnr_db(batch, reference).item(), psnr_db(file, to_images(target)).item()
        assert after == pytest.approx(before, abs=0.1)
        assert psnr_db(file, batch).item() > 38


def test_a_picture_is_what_its_file_shows_or_without_a_quality_what_was_exposed(photograph: Pixels) -> None:
    pixels, camera = to_floats(photograph), RECIPE.sample(1, seeded(2))
    nothing = torch.zeros(1)
    bare = replace(camera, compression=replace(camera.compression, quality=nothing, earlier_quality=nothing))
    noisy, reference = expose_pixels(pixels, camera, seeded())
    for taken, expected in (
        (take_pixels(pixels, camera, seeded()), jpeg_pixels(compress_pixels(noisy, camera.compression))),
        (take_pixels(pixels, bare, seeded()), noisy),
    ):
        np.testing.assert_array_equal(taken[0], expected)
        np.testing.assert_array_equal(taken[1], reference)


@pytest.mark.parametrize(("height", "width"), [(8, 8), (9, 21), (3, 50)])
def test_small_pictures(make_photograph: Callable[..., Pixels], height: int, width: int) -> None:
    for seed in range(3):
        camera = RECIPE.sample(1, seeded(seed), (1.0, 1.5, 3.0)[seed])
        noisy, target = expose_pixels(to_floats(make_photograph(height, width)), camera, seeded())
        assert noisy.shape == target.shape == (height, width, 3)
        assert jpeg_pixels(compress_pixels(noisy, camera.compression)).shape == (height, width, 3)


def test_several_cameras_are_refused(photograph: Pixels) -> None:
    with pytest.raises(ValueError, match="expected the settings of one camera, got 2"):
        expose_pixels(to_floats(photograph), RECIPE.sample(2, seeded()), seeded())
