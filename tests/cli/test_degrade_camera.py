"""`rlrestore degrade --camera`."""

import re
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from rlrestore.cli import camera_options
from rlrestore.cli.main import main
from rlrestore.imaging.degradation.camera import SCALE_SHARES
from rlrestore.imaging.degradation.demosaic import METHODS

Pixels = npt.NDArray[np.uint8]


def pixels_of(path: Path) -> Pixels:
    with Image.open(path) as image:
        assert image.mode == "RGB"
        return np.asarray(image)


def degrade(photo: Path, out: Path, *options: str) -> int:
    return main(["degrade", str(photo), "--camera", *options, "-o", str(out)])


def test_the_seed_decides_all_that_is_not_given(
    photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = []
    for name, seed in (("a.png", "1"), ("b.png", "1"), ("c.png", "2")):
        assert degrade(photo, tmp_path / name, "--seed", seed) == 0
        path, what = capsys.readouterr().out.split(" -> ")[1].split(": ")
        assert path == repr(str(tmp_path / name))
        said.append(what)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert (pixels_of(tmp_path / "a.png") != pixels_of(tmp_path / "c.png")).any()
    assert said[0] == said[1] != said[2]


def test_what_is_given_is_taken_and_the_rest_stays(
    photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [
        "--shot",
        "0.004",
        "--read",
        "2e-5",
        "--demosaic",
        "bilinear",
        "--gains",
        "2",
        "1.5",
        "--blur",
        "1.1",
    ]
    given += ["--tone", "0.25", "--sharpen", "0.5", "--scale", "2", "--jpeg", "77", "--chroma", "444"]
    assert degrade(photo, tmp_path / "a.png", "--seed", "5", *given) == 0
    line = capsys.readouterr().out
    for words in (
        *("blur 1.10 px", "shot 0.004", "read 2e-05", "gains 2.00 1.50", "bilinear", "tone 0.25"),
        *("sharpened by 50%", "scaled down by 2", "77 4:4:4"),
    ):
        assert words in line
    assert degrade(photo, tmp_path / "b.png", "--seed", "5") == 0
    drawn = capsys.readouterr().out
    assert degrade(photo, tmp_path / "b.png", "--seed", "5", "--tone", "0.25") == 0
    assert re.sub(r"tone \S+,", "", capsys.readouterr().out) == re.sub(r"tone \S+,", "", drawn)


def test_a_jpeg_that_is_asked_for_is_the_only_one(
    photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    twice = 0
    for seed in map(str, range(12)):  # a quarter of the cameras compresses twice
        assert degrade(photo, tmp_path / "a.png", "--seed", seed) == 0
        twice += " and " in capsys.readouterr().out.split("JPEG")[1]
        assert degrade(photo, tmp_path / "a.png", "--seed", seed, "--jpeg", "90") == 0
        assert "JPEG 90 4:" in capsys.readouterr().out
    assert twice > 0


def test_the_reference_is_what_the_camera_would_have_made(
    photo: Path, photograph: Pixels, tmp_path: Path
) -> None:
    out, target, other = (tmp_path / name for name in ("out.png", "new/target.png", "other.png"))
    options = ["--seed", "3", "--jpeg", "95", "--chroma", "444", "--scale", "1"]
    assert degrade(photo, out, *options, "--shot", "0.01", "--read", "1e-4", "--target", str(target)) == 0
    assert degrade(photo, out, *options, "--shot", "0", "--read", "0", "--target", str(other)) == 0
    reference = pixels_of(target)
    np.testing.assert_array_equal(reference, pixels_of(other))  # of whatever noise
    assert (reference != photograph).any()
    noiseless = np.abs(pixels_of(out).astype(float) - reference).mean()
    assert noiseless < 2.5  # what JPEG does at this quality
    assert degrade(photo, out, *options, "--shot", "0.01", "--read", "1e-4") == 0
    assert np.abs(pixels_of(out).astype(float) - reference).mean() > 3 * noiseless


def test_a_jpeg_is_the_camera_s_file(photo: Path, tmp_path: Path) -> None:
    for chroma, sampling in (("420", (2, 2)), ("444", (1, 1))):
        out, decoded = tmp_path / f"{chroma}.jpg", tmp_path / f"{chroma}.png"
        for path in (out, decoded):
            assert degrade(photo, path, "--seed", "1", "--chroma", chroma) == 0
        np.testing.assert_array_equal(pixels_of(out), pixels_of(decoded))
        with Image.open(out) as image:
            assert image.format == "JPEG"
            assert image.layer[0][1:3] == sampling  # type: ignore[attr-defined]  # Pillow does not declare it


@pytest.mark.parametrize("kind", ["grey", "alpha", "grey alpha", "16 bits", "tiny", "odd"])
def test_other_kinds_of_files(
    photograph: Pixels, tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    path, out, target = (tmp_path / name for name in ("in.png", "out.png", "target.png"))
    image = Image.fromarray(photograph)
    if kind == "16 bits":
        Image.fromarray(photograph[..., 1].astype(np.uint16) * 257).save(path)
    else:
        modes = {"grey": "L", "alpha": "RGBA", "grey alpha": "LA"}
        sizes = {"tiny": (8, 8), "odd": (77, 51)}
        image.convert(modes.get(kind, "RGB")).crop((0, 0, *sizes.get(kind, image.size))).save(path)
    options = [
        "--shot",
        "1e-4",
        "--read",
        "0",
        "--blur",
        "0",
        "--jpeg",
        "95",
        "--sharpen",
        "0",
        "--scale",
        "1",
    ]
    assert degrade(path, out, *options, "--seed", "2", "--target", str(target)) == 0
    lost = {"alpha": "transparency", "grey alpha": "transparency", "16 bits": "16 bits a sample"}
    said = capsys.readouterr().err
    assert f"left out: {lost[kind]}" in said if kind in lost else not said
    with Image.open(path) as opened:
        grey = (
            photograph[..., 1:2].repeat(3, axis=2) if kind == "16 bits" else np.asarray(opened.convert("RGB"))
        )
    # Demosaicking blurs a little: it is the photograph all the same.
    assert np.abs(pixels_of(target).astype(float) - grey).mean() < 12
    assert pixels_of(out).shape == grey.shape


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--shot", "-1"], "expected --shot from 0 to 0.1, got -1"),
        (["--shot", "nan"], "expected --shot from 0 to 0.1, got nan"),
        (["--read", "0.5"], "expected --read from 0 to 0.01, got 0.5"),
        (["--tone", "2"], "expected --tone from 0 to 1, got 2"),
        (["--sharpen", "4"], "expected --sharpen from 0 to 3, got 4"),
        (["--gains", "0.5", "2"], "expected --gains from 1 to 8, got 0.5"),
        (["--gains", "2", "inf"], "expected --gains from 1 to 8, got inf"),
        (["--blur", "9"], "expected --blur from 0 to 5, got 9"),
        (["--jpeg", "0"], "expected --jpeg from 1 (worst) to 100 (best), got 0"),
        (["--noise", "5"], "with --camera give --shot and --read instead"),
        (["--seed", "-4"], "expected --seed from 0, got -4"),
        (["--seed", "99999999999"], "expected --seed up to 4294967295"),
        (["--target", "t.jpg"], "would be compressed, and be no reference: name a .png"),
        (["--target", "{out}"], "for both --target and -o"),
        (["--target", "{photo}"], "is the input itself: choose another output with --target"),
    ],
)
def test_what_no_camera_can_do(
    photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], words: str
) -> None:
    before, out = photo.read_bytes(), tmp_path / "out.png"
    options = [option.format(out=out, photo=photo) for option in options]
    assert degrade(photo, out, *options) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert words in line
    assert [path.name for path in tmp_path.iterdir()] == ["photo.png"]
    assert photo.read_bytes() == before


@pytest.mark.parametrize("option", [["--shot", "0.01"], ["--target", "t.png"], ["--chroma", "444"]])
def test_a_camera_s_options_ask_for_a_camera(
    photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], option: list[str]
) -> None:
    assert main(["degrade", str(photo), "--noise", "5", *option, "-o", str(tmp_path / "out.png")]) == 2
    assert f"{option[0]} is a camera's: give --camera as well" in capsys.readouterr().err


def test_the_options_know_what_the_camera_knows() -> None:
    """They repeat it, so that `--help` need not import torch."""
    assert tuple(SCALE_SHARES) == camera_options.SCALES
    assert list(camera_options.DEMOSAIC) == list(METHODS)


@pytest.mark.parametrize("option", [["--demosaic", "nearest"], ["--scale", "1.7"], ["--chroma", "422"]])
def test_choices_are_named(
    photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], option: list[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        degrade(photo, tmp_path / "out.png", *option)
    assert "choose from" in capsys.readouterr().err
