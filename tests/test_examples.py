"""The pictures that ship are what `examples/README.md` says of them."""

import shlex
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rlrestore.cli.main import main
from rlrestore.restorer import Restorer
from tests.toys import make_restorer

NAMES = ("chelsea", "coffee", "street")
LARGEST_BYTES = 250_000


def pixels(path: Path) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"), np.float64)


def degrade_command(root: Path, name: str) -> list[str]:
    """The arguments of the command in the README that makes a picture."""
    lines = (root / "examples/README.md").read_text("utf-8").splitlines()
    (line,) = [line for line in lines if line.startswith(f"rlrestore degrade examples/clean/{name}.png ")]
    return shlex.split(line)[1:]


@pytest.mark.parametrize("name", NAMES)
def test_the_command_in_the_readme_makes_the_picture(name: str, root: Path, tmp_path: Path) -> None:
    command = degrade_command(root, name)
    assert command[-2:] == ["-o", f"examples/{name}.jpg"]
    command[1] = str(root / command[1])
    command[-1] = str(tmp_path / "again.jpg")
    assert main(command) == 0
    shipped, again = pixels(root / f"examples/{name}.jpg"), pixels(tmp_path / "again.jpg")
    # Other versions of numpy, OpenCV and libjpeg may round differently, but draw the same noise.
    assert np.sqrt(np.mean((shipped - again) ** 2)) < 2
    assert np.sqrt(np.mean((shipped - pixels(root / f"examples/clean/{name}.png")) ** 2)) > 10


def test_the_readmes_picture_is_before_left_of_the_line_and_after_right_of_it(
    run_script: Callable[..., int], tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Restorer, "from_pretrained", lambda: make_restorer([0]))  # which adds 32 of 255
    assert run_script("make_examples.py", "--before-after", str(tmp_path / "row.png")) == 0
    with Image.open(root / "docs/before_after.jpg") as shipped:
        assert shipped.size == (1367, 300)
    row = pixels(tmp_path / "row.png")
    with Image.open(root / "examples/street.jpg") as street:
        came = np.asarray(street.resize((450, 300), Image.Resampling.LANCZOS), np.float64)
    assert row.shape == (300, 1367, 3)
    assert np.abs(row[:, :220] - came[:, :220]).max() < 3
    right = np.s_[:, 230:440]
    assert np.abs(row[:, :450][right] - np.minimum(came + 32, 255)[right]).mean() < 3


def test_the_pictures_are_small_and_no_others_ship(root: Path) -> None:
    pictures = [path for path in (root / "examples").rglob("*") if path.suffix in (".png", ".jpg")]
    kept = {path for path in pictures if not path.stem.endswith(("_restored", "_trace"))}
    names = {f"{name}.jpg" for name in NAMES} | {f"clean/{name}.png" for name in NAMES}
    assert {path.relative_to(root / "examples").as_posix() for path in kept} == names
    assert max(path.stat().st_size for path in kept) < LARGEST_BYTES
