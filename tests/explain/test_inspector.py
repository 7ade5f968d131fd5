"""What the shipped inspector says of pictures whose degradation is known, and what it computes."""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

import rlrestore
from rlrestore.errors import ModelError
from rlrestore.explain.inspection import Estimate, Inspection, Unfamiliarity, WindowEstimates, smooth, spread
from rlrestore.explain.inspector import (
    Inspector,
    aggregate,
    fold_directions,
    from_none,
    reaching_none,
    widened,
)
from rlrestore.explain.spectrum import ENTRIES
from rlrestore.imaging.degradation.libjpeg import degrade_pixels
from rlrestore.inference.windows import WindowGrid
from rlrestore.model_folder.inspector import InspectorEntry

Pixels = npt.NDArray[np.uint8]
Painter = Callable[..., Pixels]


@pytest.fixture(scope="module")
def inspector() -> Inspector:
    """The one that ships."""
    return Inspector.from_pretrained()


def degraded(painter: Painter, blur: float, noise: float, quality: int | None, seed: int = 0) -> Pixels:
    return degrade_pixels(painter(240, 320, seed), blur, noise, quality, np.random.default_rng(seed))


@pytest.mark.parametrize("noise", [0, 8, 25, 45])
def test_noise_is_measured(inspector: Inspector, make_photograph: Painter, noise: float) -> None:
    """To a fifth; the painted grain itself is noise of 5 of 255."""
    found = inspector.inspect(degraded(make_photograph, 0, noise, None)).noise_sigma_255

    assert found.low <= found.estimate <= found.high
    assert found.estimate == pytest.approx(noise, rel=0.2, abs=5)


@pytest.mark.parametrize("blur", [1.0, 2.0, 3.5])
def test_blur_is_measured(inspector: Inspector, make_photograph: Painter, blur: float) -> None:
    found = inspector.inspect(degraded(make_photograph, blur, 0, None)).blur_sigma_px

    assert found.estimate == pytest.approx(blur, abs=0.6)


@pytest.mark.parametrize("quality", [12, 30, 60])
def test_jpeg_quality_is_measured(inspector: Inspector, make_photograph: Painter, quality: int) -> None:
    found = inspector.inspect(degraded(make_photograph, 0, 0, quality)).jpeg_quality

    assert found.estimate == pytest.approx(quality, abs=10)


def test_a_mixture_is_told_apart_on_the_examples(inspector: Inspector, root: Path) -> None:
    """examples/README.md says what was done to them; no photograph of theirs was trained on."""
    for name, truth in (
        ("street", (1.8, 22, 38)),
        ("coffee", (3.2, 12, 45)),
        ("chelsea", (0.6, 42, 55)),
    ):
        found = inspector.inspect(root / "examples" / f"{name}.jpg")
        estimates = [found.blur_sigma_px, found.noise_sigma_255, found.jpeg_quality]
        for one, amount, near in zip(estimates, truth, (1.2, 3, 6), strict=True):
            assert abs(one.estimate - amount) <= near, (name, found.to_json())
        assert not found.unfamiliar.exceeded


def test_a_page_of_flat_stripes_is_unfamiliar(inspector: Inspector) -> None:
    stripes = np.where(np.arange(200)[:, None] // 3 % 2, 255, 0) * np.ones((200, 200))
    found = inspector.inspect(np.repeat(stripes[..., None], 3, axis=2).astype(np.uint8))

    assert found.unfamiliar.exceeded
    assert "unlike anything" in found.sentences()


def test_noise_on_one_half_varies(inspector: Inspector, make_photograph: Painter) -> None:
    """And the map shows where."""
    pixels = make_photograph(300, 500)
    noisy = degrade_pixels(pixels, 0, 35, None, np.random.default_rng(0))
    both = np.concatenate((pixels[:, :250], noisy[:, 250:]), axis=1)
    found = inspector.inspect(both)

    assert "noise_sigma_255" in found.varies
    assert "noise" in found.sentences()
    assert found.windows is not None
    noise = found.windows.smooth()[..., 1]
    assert noise[:, :3].mean() + 20 < noise[:, -3:].mean()
    assert inspector.inspect(noisy).varies == ()


def test_a_picture_smaller_than_a_window_and_one_with_hidden_pixels(
    inspector: Inspector, make_photograph: Painter
) -> None:
    pixels = make_photograph(9, 300)
    assert 0 <= inspector.inspect(pixels).blur_sigma_px.estimate <= 10
    visible = make_photograph(128, 160)
    hidden = np.dstack((visible, np.full((128, 160), 255, np.uint8)))
    hidden[:64, :, 3] = 0
    hidden[:64, ::2, :3] = 255
    found = inspector.inspect(Image.fromarray(hidden, "RGBA"))
    assert found.noise_sigma_255.estimate < 12  # the stripes that nobody sees would be more


def test_the_face_of_the_package(root: Path, inspector: Inspector) -> None:
    found = rlrestore.inspect(root / "examples" / "street.jpg")

    assert found.to_json() == inspector.inspect(root / "examples" / "street.jpg").to_json()
    assert set(found.to_json()) == {"blur_sigma_px", "noise_sigma_255", "jpeg_quality", "unfamiliar"}


def test_it_needs_no_torch(root: Path) -> None:
    code = "import sys, rlrestore; rlrestore.inspect(sys.argv[1]); assert 'torch' not in sys.modules"
    picture = str(root / "examples" / "street.jpg")
    subprocess.run([sys.executable, "-c", code, picture], cwd=root, check=True)


def test_a_window_that_knows_more_counts_more() -> None:
    sure, unsure = (1.0, 2.0, 3.0), (4.0, 8.0, 12.0)  # widths 2 and 8: weights 1/4 and 1/64
    quantiles = np.array([[sure] * 3, [unsure] * 3], np.float32)

    expected = (16 * np.array(sure) + np.array(unsure)) / 17
    np.testing.assert_allclose(aggregate(quantiles), [expected] * 3, rtol=1e-5)


def test_intervals_grow_by_a_share_of_their_width_within_the_possible() -> None:
    quantiles = np.array([(1.0, 2.0, 3.0), (0.0, 2.0, 10.0), (70.0, 90.0, 98.0)], np.float32)
    grown = widened(quantiles, np.array((0.5, 0.1, 0.25), np.float32))

    np.testing.assert_allclose(grown, [(0, 2, 4), (0, 2, 11), (63, 90, 100)], atol=1e-5)
    narrowed = widened(quantiles, np.array((-0.75, 0, 0), np.float32))
    np.testing.assert_allclose(narrowed[0], (2, 2, 2))  # the middle stays inside


def test_a_calibration_never_narrows(inspector: Inspector) -> None:
    arrays, grid = inspector._arrays, WindowGrid(63, (0,), (0,))

    def found(share: float) -> Estimate:
        sizes = len(inspector.entry.windows)
        entry = replace(inspector.entry, widening=((share,) * 3,) * sizes, faint=((0.0,) * 3,) * sizes)
        return Inspector(entry, arrays).judge(arrays["mean"][None], grid).noise_sigma_255

    assert found(-0.2) == found(0)
    assert found(0.2).high > found(0).high


def test_what_is_too_faint_reaches_none() -> None:
    ends = np.array([(0.3, 1.0, 2.0), (4.0, 6.0, 8.0), (80.0, 90.0, 97.0)], np.float32)
    faint = np.array((0.3, 3.0, 3.0), np.float32)

    np.testing.assert_allclose(from_none(ends), (0.3, 4, 3), atol=1e-5)
    np.testing.assert_allclose(reaching_none(ends, faint), [(0, 1, 2), (4, 6, 8), (80, 90, 100)])


def test_a_transposed_picture_has_the_other_direction() -> None:
    standard = np.random.default_rng(0).normal(size=(2, ENTRIES)).astype(np.float32)
    turned = standard.reshape(2, -1, 8, 8).swapaxes(2, 3).reshape(2, ENTRIES)
    (same, other), (same_turned, other_turned) = fold_directions(standard), fold_directions(turned)

    np.testing.assert_allclose(same + other, standard, atol=1e-6)
    np.testing.assert_allclose(same, same_turned, atol=1e-6)
    np.testing.assert_allclose(other, -other_turned, atol=1e-6)


def test_neighbourhoods_that_agree_spread_by_nothing() -> None:
    amounts, widths = np.full((4, 5, 3), 2, np.float32), np.ones((4, 5, 3), np.float32)
    assert spread(amounts, widths).tolist() == [0, 0, 0]
    amounts[:, :, 1] = 2 + np.arange(5)
    np.testing.assert_allclose(smooth(amounts, widths)[0, :, 1], (2.5, 3, 4, 5, 5.5))
    np.testing.assert_allclose(spread(amounts, widths), (0, np.sqrt((2.25 + 1 + 0 + 1 + 2.25) / 5), 0))


def test_what_is_said_of_it() -> None:
    grid, ones = WindowGrid(63, (0, 1), (0, 1)), np.ones((2, 2, 3), np.float32)
    windows = WindowEstimates(ones, ones, (True, False, True), grid)
    found = Inspection(
        Estimate(1.23, 0.9, 1.6),
        Estimate(1.0, 0.0, 2.5),
        Estimate(41.2, 33.0, 47.4),
        Unfamiliarity(1.5, 1.0),
        windows=windows,
    )

    assert found.sentences() == (
        "Blurred by 0.9 to 1.6 px (estimate 1.2), without visible noise (below 2.5 of 255) and JPEG of "
        "quality 33 to 47 (estimate 41). Over the picture it differs in blur and JPEG's traces. It is unlike "
        "anything the inspector was trained on (score 1.50, usual up to 1.00): do not rely on these numbers."
    )
    assert json.loads(json.dumps(found.to_json())) == {
        "blur_sigma_px": {"estimate": 1.23, "low": 0.9, "high": 1.6},
        "noise_sigma_255": {"estimate": 1.0, "low": 0.0, "high": 2.5},
        "jpeg_quality": {"estimate": 41.2, "low": 33.0, "high": 47.4},
        "unfamiliar": {"score": 1.5, "threshold": 1.0},
    }


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (Estimate(0.2, 0, 0.5), "sharp (blur below 0.5 px)"),
        (Estimate(0.0, 0, 0.01), "sharp (blur below 0.1 px)"),
        (Estimate(0.5, 0.1, 0.9), "hardly blurred (up to 0.9 px)"),
    ],
)
def test_little_blur(found: Estimate, words: str) -> None:
    other = Estimate(95.0, 92.0, 100.0)
    assert Inspection(found, other, other, Unfamiliarity(0.1, 1)).lines()[::2] == (
        words,
        "no visible trace of JPEG (quality above 92)",
    )


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (Estimate(100, 99.9, 100), "no trace of JPEG"),
        (Estimate(80, 70, 100), "JPEG of quality 70 or better, or none"),
    ],
)
def test_little_compression(found: Estimate, words: str) -> None:
    nothing = Estimate(0, 0, 0)
    assert Inspection(nothing, nothing, found, Unfamiliarity(0.1, 1)).lines() == (
        "sharp (blur below 0.1 px)",
        "without visible noise (below 0.5 of 255)",
        words,
    )


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (Estimate(0.3, 0.0, 10.2), "little noise, if any (up to 10 of 255)"),
        (Estimate(2.4, 1.6, 3.4), "noise of 2 to 3 of 255 (estimate 2)"),
        (Estimate(3.1, 0.2, 5.3), "noise of 0 to 5 of 255 (estimate 3)"),
    ],
)
def test_little_noise(found: Estimate, words: str) -> None:
    nothing = Estimate(0, 0, 0)
    assert Inspection(nothing, found, nothing, Unfamiliarity(0.1, 1)).lines()[1] == words


def test_weights_that_do_not_belong_together_are_refused() -> None:
    entry = InspectorEntry(0.9, 0.02, (1,), *(((0.0,) * 3,),) * 2, ((1.0, 1.0),), ((1.0,) * 3,))
    with pytest.raises(ModelError, match=r"expected an inspector's weights, got the shapes .*copy the model"):
        Inspector(entry, {"mean": np.zeros(3, np.float32)})
