"""What is gained inside and outside of salient regions."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image

from experiments.salient_regions import beside_map, region_psnr_db
from tests.toys import save_toy


def test_the_psnr_of_a_region_is_that_of_its_pixels() -> None:
    """Wrong by 0.1 in the left half and by 0.01 in the right one: 20 and 40 dB."""
    clean = torch.full((1, 3, 8, 8), 0.5)
    restored = clean + 0.01
    restored[..., :4] = clean[..., :4] - 0.1
    left = torch.zeros(1, 1, 8, 8, dtype=torch.bool)
    left[..., :4] = True
    assert region_psnr_db(restored, clean, left).item() == pytest.approx(20, abs=1e-3)
    assert region_psnr_db(restored, clean, ~left).item() == pytest.approx(40, abs=1e-2)


def test_models_are_compared_on_the_same_patches(
    run_script: Callable[..., int],
    make_photograph: Callable[..., npt.NDArray[np.uint8]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """One toy stops at once and gains nothing; of the other's the differences are the gains."""
    stops, adds = str(save_toy(tmp_path / "stops", [])), str(save_toy(tmp_path / "adds", [0]))
    (tmp_path / "photos").mkdir()
    Image.fromarray(make_photograph(128, 130)).save(tmp_path / "photos" / "0.png")
    options = ["--data", str(tmp_path / "photos"), "--patches", "6", "--mixture", "moderate"]
    assert run_script("measure_saliency.py", *options, "--models", stops, adds) == 0
    head, _, first, second, beyond = capsys.readouterr().out.splitlines()
    assert head == "| | PSNR, dB | inside, dB | outside, dB | salient PSNR, dB | SSIM |"
    assert re.findall(r"\d\.\d{3}", first) == ["0.000"] * 5
    gains = re.findall(r"[+-]\d+\.\d{3}", second)
    assert re.findall(r"[+-]\d+\.\d{3}(?= ±)", beyond) == gains
    assert gains[0] != "+0.000"


def test_the_picture_shows_a_photograph_and_darkens_what_is_not_salient(
    run_script: Callable[..., int],
    make_photograph: Callable[..., npt.NDArray[np.uint8]],
    tmp_path: Path,
) -> None:
    photo = make_photograph(128, 130)
    drawn = beside_map(photo)
    assert drawn.shape == (128, 260, 3)
    np.testing.assert_array_equal(drawn[:, :130], photo)
    kept = drawn[:, 130:].astype(float) / np.maximum(photo, 1)
    assert kept.max() == pytest.approx(1, abs=0.02)
    assert kept.min() < 0.5
    (tmp_path / "photos").mkdir()
    Image.fromarray(photo).save(tmp_path / "photos" / "0.png")
    picture = tmp_path / "maps.png"
    assert (
        run_script("measure_saliency.py", "--data", str(tmp_path / "photos"), "--picture", str(picture)) == 0
    )
    with Image.open(picture) as image:
        np.testing.assert_array_equal(np.asarray(image), drawn)
