"""Every degradation of the registry: its batched form against that for files, both against what is known."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor

from rlrestore.imaging.degradation.registry import DEGRADATIONS
from rlrestore.imaging.io.samples import Floats, to_floats

NOISES = {"gaussian-noise": 20.0, "grey-noise": 20.0, "shot-noise": 20.0, "grain": 20.0}
AMOUNTS: Mapping[str, Mapping[str, float]] = {
    "gaussian-blur": {"sigma_px": 1.7},
    "anisotropic-blur": {"sigma_px": 3.0, "ratio": 0.3, "angle_degrees": 30.0},
    "defocus": {"radius_px": 3.2},
    "resize": {"scale": 1.7},
    "gaussian-noise": {"sigma_255": 20.0},
    "grey-noise": {"sigma_255": 20.0},
    "shot-noise": {"sigma_255": 20.0},
    "grain": {"sigma_255": 20.0, "size_px": 0.8, "common": 0.4},
    "jpeg": {"quality": 35.0},
}


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def batch_of(pixels: Floats, count: int = 1) -> Tensor:
    return torch.from_numpy(pixels).permute(2, 0, 1)[None].expand(count, -1, -1, -1).contiguous()


def by_batch(name: str, pixels: Floats, amounts: Mapping[str, float]) -> Floats:
    tensors = {key: torch.tensor([amount]) for key, amount in amounts.items()}
    degraded = DEGRADATIONS[name].batch(batch_of(pixels), tensors, seeded())
    result: Floats = degraded[0].permute(1, 2, 0).numpy()
    return result


def by_file(name: str, pixels: Floats, amounts: Mapping[str, float]) -> Floats:
    return DEGRADATIONS[name].file(pixels, amounts, np.random.default_rng(0))


def test_every_degradation_is_tested_here() -> None:
    assert set(AMOUNTS) == set(DEGRADATIONS)
    for name, amounts in AMOUNTS.items():
        assert list(amounts) == list(DEGRADATIONS[name].parameters)


@pytest.mark.parametrize("name", AMOUNTS)
def test_shape_type_and_range_stay(name: str, photograph: npt.NDArray[np.uint8]) -> None:
    photo = to_floats(photograph[:93, :101])
    for degraded in (by_batch(name, photo, AMOUNTS[name]), by_file(name, photo, AMOUNTS[name])):
        assert degraded.shape == photo.shape
        assert degraded.dtype == np.float32
        assert 0 <= degraded.min() < degraded.max() <= 1
        assert np.abs(degraded - photo).max() > 0.01


@pytest.mark.parametrize("name", [name for name in AMOUNTS if name not in NOISES])
def test_without_chance_both_forms_agree(name: str, photograph: npt.NDArray[np.uint8]) -> None:
    """Up to the rounding of a coder: OpenCV, Pillow and libjpeg did the one, torch the other."""
    photo = to_floats(photograph)
    one, other = by_batch(name, photo, AMOUNTS[name]), by_file(name, photo, AMOUNTS[name])
    assert -10 * np.log10(np.square(one - other).mean() + 1e-12) > (45 if name == "jpeg" else 75)


@pytest.mark.parametrize("name", NOISES)
def test_noises_of_both_forms_have_the_same_statistics(name: str) -> None:
    """By brightness, between colours and between neighbours, on a grey that clips neither."""
    for grey in (0.3, 0.6):
        flat = np.full((160, 200, 3), grey, np.float32)
        noises = [255 * (form(name, flat, AMOUNTS[name]) - grey) for form in (by_batch, by_file)]
        said = [
            (
                noise.std(),
                np.corrcoef(noise[..., 0].ravel(), noise[..., 2].ravel())[0, 1] * 20,
                np.corrcoef(noise[:, 1:].ravel(), noise[:, :-1].ravel())[0, 1] * 20,
            )
            for noise in noises
        ]
        assert said[0] == pytest.approx(said[1], abs=0.6)


@pytest.mark.parametrize("form", [by_batch, by_file])
def test_noises_are_as_strong_as_they_say(form: object) -> None:
    assert callable(form)
    flat = np.full((200, 200, 3), 0.5, np.float32)
    noise = {name: 255 * (form(name, flat, AMOUNTS[name]) - 0.5) for name in NOISES}
    assert noise["gaussian-noise"].std() == pytest.approx(20, rel=0.03)
    assert noise["grey-noise"].std() == pytest.approx(20, rel=0.03)
    assert np.abs(noise["grey-noise"][..., 0] - noise["grey-noise"][..., 2]).max() < 1e-4
    assert noise["shot-noise"].std() == pytest.approx(20 * 0.5**0.5, rel=0.03)  # σ is that of white
    assert noise["grain"].std() == pytest.approx(20, rel=0.05)


def test_an_ellipse_is_long_along_its_axis() -> None:
    """The second moments of a blurred point, by hand: σ² along, (ratio·σ)² across."""
    point = np.zeros((31, 31, 3), np.float32)
    point[15, 15] = 1
    amounts = {"sigma_px": 2.5, "ratio": 0.4, "angle_degrees": 90.0}
    rows, columns = np.mgrid[-15:16, -15:16]
    for form in (by_batch, by_file):
        spread = form("anisotropic-blur", point, amounts)[..., 0]
        assert spread.sum() == pytest.approx(1, abs=1e-4)
        assert (spread * rows**2).sum() == pytest.approx(2.5**2, rel=0.02)  # 90 degrees: down
        assert (spread * columns**2).sum() == pytest.approx(1.0, rel=0.02)


def test_each_image_of_a_batch_has_its_own_amounts(photograph: npt.NDArray[np.uint8]) -> None:
    photo = to_floats(photograph[:96, :100])
    for name, degradation in DEGRADATIONS.items():
        if name in NOISES:
            continue
        mild = {key: 0.9 * amount + 0.1 for key, amount in AMOUNTS[name].items()}
        both = {key: torch.tensor([AMOUNTS[name][key], mild[key]]) for key in mild}
        degraded = degradation.batch(batch_of(photo, 2), both, seeded())
        for image, amounts in zip(degraded, (AMOUNTS[name], mild), strict=True):
            alone = by_batch(name, photo, amounts)
            np.testing.assert_allclose(image.permute(1, 2, 0).numpy(), alone, atol=5e-3)


def test_the_replicated_border_shows_no_further_than_said(photograph: npt.NDArray[np.uint8]) -> None:
    """Inside of the reach, a crop gives what the whole photograph gives; scales that divide both sides."""
    photo = to_floats(photograph[:96, :128])
    crop = photo[24:-24, 24:-24]
    for name in ("gaussian-blur", "anisotropic-blur", "defocus", "resize"):
        amounts = {"scale": 2.0} if name == "resize" else AMOUNTS[name]
        reach = DEGRADATIONS[name].reach_px(amounts)
        inside = slice(reach, -reach)
        whole, part = by_batch(name, photo, amounts), by_batch(name, crop, amounts)
        np.testing.assert_allclose(part[inside, inside], whole[24:-24, 24:-24][inside, inside], atol=1e-4)


def test_resizing_counts_as_the_blur_that_comes_closest(photograph: npt.NDArray[np.uint8]) -> None:
    photo = to_floats(photograph)
    scaled = by_batch("resize", photo, {"scale": 2.0})
    widths = np.arange(0.3, 2.0, 0.05)
    errors = [
        np.square(by_batch("gaussian-blur", photo, {"sigma_px": float(px)}) - scaled).mean() for px in widths
    ]
    counted = DEGRADATIONS["resize"].counts({"scale": torch.tensor([2.0])})["blur_sigma_px"].item()
    assert counted == pytest.approx(widths[int(np.argmin(errors))], abs=0.15)
