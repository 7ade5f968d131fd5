"""The test set that simulated cameras took."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
import torch

from rlrestore.evaluation.testsets import drawn_patch, generate
from rlrestore.imaging.degradation.camera import CameraRecipe
from rlrestore.imaging.degradation.camera_files import compress_pixels, expose_pixels
from rlrestore.imaging.degradation.libjpeg import jpeg_pixels
from rlrestore.imaging.file_draws import camera_draw
from rlrestore.imaging.io.samples import to_floats
from rlrestore.imaging.mixture_files import read_mixture

Pixels = npt.NDArray[np.uint8]


@pytest.fixture(scope="module")
def photo(make_photograph: Callable[..., Pixels]) -> Pixels:
    return make_photograph(173, 219)


@pytest.mark.parametrize("corner", [(0, 0), (41, 37), (110, 156), (64, 80)])
@pytest.mark.parametrize("scale", [1.0, 1.5, 3.0])
def test_a_patch_is_cut_out_of_the_photograph_that_a_camera_took(
    photo: Pixels, corner: tuple[int, int], scale: float
) -> None:
    """Without noise, whose draws depend on the size; out of focus, denoised, sharpened, compressed twice."""
    generator = torch.Generator().manual_seed(1)
    drawn = CameraRecipe(soft_share=1, denoised_share=1, sharpened_share=1, clean_share=0).draw(generator)
    nothing, jpeg = torch.zeros(1), torch.tensor([60.0])
    twice = replace(drawn.compression, quality=jpeg, earlier_quality=jpeg)
    camera = replace(drawn, scale=scale, shot=nothing, read=nothing, compression=twice)
    top, left = corner
    rows, columns = slice(top, top + 63), slice(left, left + 63)
    developed, reference = expose_pixels(to_floats(photo), camera, generator)
    written = jpeg_pixels(compress_pixels(developed, twice))
    taken, target = drawn_patch(photo, corner, camera_draw(camera, generator))
    # Sums of another order may round to the next grey level, and that may be coded otherwise.
    for one, whole in ((target, reference), (taken, written)):
        difference = np.abs(one.astype(float) - whole[rows, columns])
        assert (difference > 0).mean() < 0.01
        assert difference.max() <= 4


def test_a_set_of_cameras_has_their_noise_and_comes_back_by_its_seed(photo: Pixels) -> None:
    """Real noise has 20 to 45 dB, and is not that of a lens: the reference is as soft as the patch."""
    pairs, again = (generate([photo], read_mixture("camera"), 12, seed=2) for _ in range(2))
    assert pairs.name == "camera"
    np.testing.assert_array_equal(pairs.degraded, again.degraded)
    noise = pairs.degraded.astype(float) - pairs.clean
    assert (noise.std(axis=(1, 2, 3)) > 0.8).all()  # below 50 dB
    assert 20 < 10 * np.log10(255**2 / (noise**2).mean()) < 45
    edges = [np.abs(np.diff(side.astype(float), axis=2)).mean() for side in (pairs.degraded, pairs.clean)]
    assert edges[0] > edges[1]
