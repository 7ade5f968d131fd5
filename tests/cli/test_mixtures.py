"""`--mixture FILE` of every command that takes one."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image

from rlrestore.cli.main import main
from rlrestore.imaging.io.samples import to_floats
from rlrestore.imaging.mixture_files import read_mixture
from rlrestore.imaging.recipes import draw_file
from rlrestore.model_folder import read_card
from tests.toys import save_toy

Pixels = npt.NDArray[np.uint8]
MIXTURE = """
[[part]]
    [[part.stage]]
    degradation = "shot-noise"
    sigma_255 = [15, 25]

    [[part.stage]]
    degradation = "jpeg"
    quality = 60
"""


@pytest.fixture
def mixture(tmp_path: Path) -> str:
    path = tmp_path / "mine.toml"
    path.write_text(MIXTURE, "utf-8")
    return str(path)


def pixels_of(path: Path) -> Pixels:
    with Image.open(path) as image:
        return np.asarray(image)


@pytest.mark.parametrize("name", ["mine", "moderate", "camera", "second-order"])
def test_degrade_applies_what_the_seed_draws(
    photo: Path,
    photograph: Pixels,
    tmp_path: Path,
    mixture: str,
    name: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    chosen, out, target = mixture if name == "mine" else name, tmp_path / "bad.png", tmp_path / "gt.png"
    options = ["--mixture", chosen, "--seed", "5", "-o", str(out), "--target", str(target)]
    assert main(["degrade", str(photo), *options]) == 0
    recipe = read_mixture(chosen).recipe
    drawn = draw_file(recipe, torch.Generator().manual_seed(5), np.random.default_rng(5))
    degraded, clean = drawn.apply(to_floats(photograph))
    np.testing.assert_array_equal(pixels_of(out), degraded)
    np.testing.assert_array_equal(pixels_of(target), clean)
    assert capsys.readouterr().out.endswith(f"bad.png': {drawn.text}\n")


@pytest.mark.parametrize(
    ("options", "name", "words"),
    [
        (
            ["--mixture", "mine.toml", "--blur", "1"],
            "out.png",
            "--mixture says all: leave out --blur",
        ),
        (["--mixture", "mine.toml", "--camera"], "out.png", "leave out --camera"),
        (["--mixture", "mine.toml", "--tone", "1"], "out.png", "leave out --tone"),
        (["--mixture", "mine.toml"], "out.jpg", "would be compressed once more: name a .png"),
        (["--mixture", "mine.toml", "--target", "out.png"], "out.png", "expected two files"),
        (
            ["--mixture", "mine.toml", "--seed", "-1"],
            "out.png",
            "from 0 to 4294967295, got -1",
        ),
        (["--mixture", "mine.toml"], "photo.png", "is the input itself"),
        (
            ["--mixture", "bad.toml"],
            "out.png",
            "bad.toml, line 3: jpeg has no key 'qualty'; did you mean",
        ),
        (["--mixture", "milder"], "out.png", "there is no milder; did you mean mild?"),
    ],
)
@pytest.mark.usefixtures("mixture")
def test_what_no_mixture_can_do(
    photo: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    name: str,
    words: str,
) -> None:
    (tmp_path / "bad.toml").write_text("[[part]]\ndegradation = 'jpeg'\nqualty = 5\n", "utf-8")
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    assert main(["degrade", photo.name, *options, "-o", name]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert words in line
    assert sorted(tmp_path.rglob("*")) == before


def test_evaluate_measures_on_a_mixture(
    photos: str, tmp_path: Path, mixture: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of the toy that does nothing at once: input and result are as noisy as the file says."""
    model = str(save_toy(tmp_path / "toy", []))
    command = ["evaluate", "--data", photos, "--model", model, "--patches", "6"]
    assert main([*command, "--mixture", mixture]) == 0
    said = capsys.readouterr().out
    assert said.startswith("mine, 6 images\n")
    psnr_db = float(said.split("PSNR, dB")[1].split()[0])
    assert 22 < psnr_db < 32  # noise of 10 to 18 of 255 in mid-grey, of which JPEG takes a little
    assert main([*command, "--oracle", "--subset", "0", "--mixture", mixture]) == 0
    assert capsys.readouterr().out.startswith("mine, 6 patches of ")


def test_evaluate_names_line_and_key(photos: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bad = tmp_path / "bad.toml"
    bad.write_text("[[part]]\ndegradation = 'defocus'\nradius_px = 20\n", "utf-8")
    model = str(save_toy(tmp_path / "toy", []))
    assert main(["evaluate", "--data", photos, "--model", model, "--mixture", str(bad)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert (
        "bad.toml, line 3: radius_px of defocus is 20: expected a number or [lowest, highest], 0 to 9.5 px"
        in line
    )


@pytest.mark.usefixtures("small_trainings")
@pytest.mark.parametrize("command", ["train-tools", "train-agent", "train-joint"])
def test_trainings_take_a_mixture_and_their_cards_say_which(
    photos: str, tmp_path: Path, mixture: str, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    toy, out = str(save_toy(tmp_path / "toy", [0, 1])), tmp_path / "model"
    options = {
        "train-tools": ["--tools", "denoise-2"],
        "train-agent": ["--toolbox", toy],
        "train-joint": ["--model", toy, "--batch", "2"],
    }[command]
    common = [command, "--data", photos, "--out", str(out), "--steps", "1", *options]
    assert main([*common, "--mixture", mixture]) == 0
    assert read_card(out).training[-1]["mixture"] == read_mixture(mixture).identity
    (tmp_path / "mine.toml").write_text(MIXTURE.replace("60", "50"), "utf-8")
    capsys.readouterr()
    if command != "train-joint":  # whose own result has replaced the tools that it began with
        assert main([*common, "--resume", "--mixture", mixture]) == 2  # another file of the same name
        assert "mixture" in capsys.readouterr().err


def test_a_training_ends_at_once_where_a_mixture_is_wrong(
    photos: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    toy, out = str(save_toy(tmp_path / "toy", [0, 1])), tmp_path / "model"
    for options in (["train-tools"], ["train-agent", "--toolbox", toy], ["train-joint", "--model", toy]):
        common = ["--data", photos, "--out", str(out), "--steps", "1"]
        assert main([*options, *common, "--mixture", "milder"]) == 2
        assert "there is no milder; did you mean mild?" in capsys.readouterr().err
    assert not out.exists()
