"""Strength and detail: a blend of what came in and what went out, after the chain."""

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from rlrestore.errors import UsageError
from rlrestore.imaging.io.photo import Photo
from rlrestore.imaging.io.samples import to_floats
from rlrestore.inference import blending
from rlrestore.inference.blending import Parts, keep_original, lost_detail
from tests.toys import make_restorer

GREY = np.full((24, 32, 3), 100, np.uint8)


def grain(height: int = 96, width: int = 128, sigma: float = 0.05) -> npt.NDArray[np.float32]:
    noise = np.random.default_rng(0).normal(0, sigma, (height, width, 3))
    return noise.astype(np.float32)


@pytest.mark.parametrize(("strength", "value"), [(0, 100), (0.5, 116), (1, 132)])
def test_strength_is_the_share_of_the_change(strength: float, value: int) -> None:
    restored = make_restorer([0]).restore(GREY, strength=strength)

    assert np.unique(restored.image).tolist() == [value]  # the toy adds 255 / 8
    assert restored.trace.to_json()["strength"] == strength


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.float32])
def test_no_strength_is_the_input_exactly(kind: type) -> None:
    values = np.random.default_rng(1).random((20, 30, 3))
    pixels = values.astype(kind) if kind is np.float32 else (values * np.iinfo(kind).max).astype(kind)
    kept = make_restorer([0]).restore(pixels)

    assert np.array_equal(kept.blended(0).image, pixels)
    assert not np.array_equal(kept.image, pixels)
    assert np.array_equal(kept.blended(1).image, kept.image)


def test_a_kept_restoration_is_blended_as_if_it_had_been_asked_for_at_once() -> None:
    toy = make_restorer([0, 1])
    pixels = np.clip(0.5 + grain(), 0, 1)
    kept = toy.restore(pixels)

    for strength, detail in ((0.3, 0.0), (1.0, 0.5), (0.6, 1.0)):
        at_once = toy.restore(pixels, strength=strength, detail=detail)
        assert np.array_equal(kept.blended(0.9, 0.1).blended(strength, detail).image, at_once.image)


def test_the_psnr_is_that_of_the_blend() -> None:
    half = make_restorer([0]).restore(GREY, np.full_like(GREY, 116), strength=0.5)
    assert half.trace.psnr_db is not None
    assert half.trace.psnr_db > 50
    assert half.trace.steps[0].psnr_db == pytest.approx(24.117, abs=0.001)  # 15.875 of 255


@pytest.mark.parametrize(("strength", "detail"), [(1.5, 0), (-0.1, 0), (float("nan"), 0), (1, 2)])
def test_shares_outside_their_range_are_refused(strength: float, detail: float) -> None:
    with pytest.raises(UsageError, match=r"expected a (strength|detail) from 0 to 1"):
        make_restorer([0]).restore(GREY, strength=strength, detail=detail)


def test_without_its_original_a_restoration_is_not_blended() -> None:
    with pytest.raises(UsageError, match="keep_original=True"):
        make_restorer([0]).restore(GREY, keep_original=False).blended(0.5)


def test_whole_samples_are_kept_as_such() -> None:
    eight = Photo(to_floats(GREY))
    assert keep_original(eight).dtype == np.uint8
    assert keep_original(Photo(np.sqrt(eight.pixels))).dtype == np.float32


def test_detail_is_the_texture_without_the_noise() -> None:
    restored = np.full((96, 128, 3), 0.5, np.float32)
    texture = np.zeros_like(restored)
    texture[32:64, 32:64] = 0.2 * (-1.0) ** np.add.outer(np.arange(32), np.arange(32))[..., None]
    noise = grain(sigma=0.02)
    detail = lost_detail(restored + texture + noise, restored)
    inside = np.s_[40:56, 40:56]

    assert np.std(detail[inside] - texture[inside]) < 0.2 * np.std(texture[inside])
    assert np.std(detail[:, 72:]) < 0.35 * np.std(noise[:, 72:])


def test_what_the_chain_has_sharpened_stays_sharp() -> None:
    sharp = np.full((96, 128, 3), 0.5, np.float32)
    sharp[:, 96:] += 0.2 * (-1.0) ** np.add.outer(np.arange(96), np.arange(32))[..., None]
    blurred, noise = 0.5 + 0.3 * (sharp - 0.5), grain(sigma=0.005)
    texture = np.s_[10:-10, 106:118]

    assert np.std(lost_detail(blurred + noise, sharp)[texture]) < 1e-3
    lost = lost_detail(sharp + noise, blurred)[texture]
    assert np.std(lost - (sharp - blurred)[texture]) < 0.1 * np.std((sharp - blurred)[texture])


def test_detail_has_no_seams(monkeypatch: pytest.MonkeyPatch) -> None:
    original, restored = 0.5 + grain(), np.full((96, 128, 3), 0.5, np.float32)
    whole = lost_detail(original, restored)
    monkeypatch.setattr(blending, "TILE", 40)
    assert np.allclose(lost_detail(original, restored), whole, atol=1e-6)


def test_what_the_chain_left_alone_gets_no_detail() -> None:
    original = np.clip(0.5 + grain(), 0, 1)
    restored = original.copy()
    restored[:, 64:] = 0.5
    detail = Parts(original, restored).detail
    assert np.array_equal(Parts(original, original).detail, np.zeros_like(original))
    assert not detail[:, :64].any()
    assert detail[:, 64:].any()


def test_hidden_colours_stay() -> None:
    pixels = np.random.default_rng(2).integers(0, 256, (24, 24, 4), np.uint8)
    pixels[:, 12:, 3] = 0
    pixels[:, :12, 3] = 255
    done = make_restorer([0]).restore(Image.fromarray(pixels), strength=0.7, detail=0.7)
    assert np.array_equal(np.asarray(done.image)[:, 12:], pixels[:, 12:])
