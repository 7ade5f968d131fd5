"""The test sets are cut from archives as they were, or the script says what it did not find."""

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

Painter = Callable[..., npt.NDArray[np.uint8]]
Run = Callable[..., int]

CORNERS = {"0801": (13, 0), "0802": (44, 44)}
"""Where the windows begin, x and y; the second in the last corner of its photograph."""


@pytest.fixture
def sets(make_photograph: Painter, tmp_path: Path) -> Path:
    """Photographs in `archive/`, and in `sets/` the windows of them and a picture that is copied."""
    for folder in ("archive/HR", "sets/div2k_valid_256", "sets/kodak24"):
        (tmp_path / folder).mkdir(parents=True)
    for seed, (name, (x, y)) in enumerate(CORNERS.items()):
        photo = make_photograph(300, 300, seed)
        Image.fromarray(photo).save(tmp_path / f"archive/HR/{name}.png")
        window = Image.fromarray(photo[y : y + 256, x : x + 256])
        window.save(tmp_path / f"sets/div2k_valid_256/{name}.png")
    for folder in ("archive", "sets/kodak24"):
        Image.fromarray(make_photograph(64, 96, 7)).save(tmp_path / folder / "kodim01.png")
    return tmp_path


@pytest.fixture
def prepare(run_script: Run, sets: Path) -> Run:
    """Runs the script with a list of the generated pictures."""
    record = ["--list", str(sets / "list.json")]
    assert run_script("prepare_data.py", "--record", str(sets / "sets"), *record) == 0

    def run(*arguments: str) -> int:
        return run_script("prepare_data.py", *arguments, *record)

    return run


@pytest.mark.parametrize("packed", [False, True])
def test_windows_are_found_and_pictures_copied(
    prepare: Run, sets: Path, packed: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    archive, out = sets / "archive", sets / "out"
    if packed:
        archive = sets / "archive.zip"
        with zipfile.ZipFile(archive, "w") as file:
            for path in (sets / "archive").rglob("*.png"):
                file.write(path, path.relative_to(sets))
    arguments = ["--div2k", str(archive), "--kodak", str(archive), "--out", str(out)]
    assert prepare(*arguments) == 0
    said = capsys.readouterr().out
    for name, (x, y) in CORNERS.items():
        assert f"{name}.png: from {x},{y} of " in said
    for path in (sets / "sets").rglob("*.png"):
        with Image.open(path) as wanted, Image.open(out / path.relative_to(sets / "sets")) as made:
            assert np.array_equal(np.asarray(made), np.asarray(wanted))
    assert prepare("--check", str(out)) == 0


def test_of_windows_with_the_same_sums_the_checksum_decides(
    prepare: Run, sets: Path, make_photograph: Painter, capsys: pytest.CaptureFixture[str]
) -> None:
    """The window stands upside down before it stands as it was."""
    window = make_photograph(300, 300, 0)[0:256, 13:269]
    Image.fromarray(np.concatenate([window[::-1], window])).save(sets / "archive/HR/0801.png")
    assert prepare("--div2k", str(sets / "archive"), "--out", str(sets / "out")) == 0
    assert "0801.png: from 0,256 of HR/0801.png, 256×512" in capsys.readouterr().out


def test_a_damaged_archive_is_told(prepare: Run, sets: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with zipfile.ZipFile(sets / "archive.zip", "w") as file:
        file.write(sets / "archive/kodim01.png", "kodim01.png")
    content = bytearray((sets / "archive.zip").read_bytes())
    content[200] ^= 1
    (sets / "archive.zip").write_bytes(content)
    assert prepare("--kodak", str(sets / "archive.zip"), "--out", str(sets / "out")) == 2
    assert (
        "archive.zip is damaged (Bad CRC-32 for file 'kodim01.png'); get it again" in capsys.readouterr().err
    )
    (sets / "archive.zip").write_bytes(content[:300])
    assert prepare("--kodak", str(sets / "archive.zip"), "--out", str(sets / "out")) == 2
    assert "expected a folder or a whole zip file" in capsys.readouterr().err


def test_another_photograph_is_not_taken(
    prepare: Run, sets: Path, make_photograph: Painter, capsys: pytest.CaptureFixture[str]
) -> None:
    """One value of one pixel is different, and one photograph too small; the rest is written."""
    photo = make_photograph(300, 300, 0)
    photo[128, 128, 1] += 1
    Image.fromarray(photo).save(sets / "archive/HR/0801.png")
    Image.fromarray(photo[:100]).save(sets / "archive/kodim01.png")
    archive = str(sets / "archive")
    assert prepare("--div2k", archive, "--kodak", archive, "--out", str(sets / "out")) == 1
    captured = capsys.readouterr()
    assert "div2k_valid_256: 1 of 2 pictures\nkodak24: 0 of 1 pictures\n" in captured.out
    assert "2 are missing or others: div2k_valid_256/0801.png, kodak24/kodim01.png" in captured.err
    assert [path.name for path in (sets / "out").rglob("*.png")] == ["0802.png"]
    assert prepare("--check", str(sets / "out")) == 1


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ([], "expected --div2k, --kodak, or --check of a folder"),
        (["--check", "nowhere"], "expected --div2k, --kodak, or --check of a folder"),
        (["--kodak", "list.json"], "expected a folder or a whole zip file, got list.json"),
        (["--kodak", "archive", "--out", "list.json"], "choose another --out"),
    ],
)
def test_wrong_usage_is_said(
    prepare: Run,
    sets: Path,
    arguments: list[str],
    complaint: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(sets)
    assert prepare(*arguments) == 2
    assert complaint in capsys.readouterr().err


def test_a_damaged_picture_is_named(prepare: Run, sets: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (sets / "archive/kodim01.png").write_bytes(b"no picture")
    assert prepare("--kodak", str(sets / "archive"), "--out", str(sets / "out")) == 2
    assert "expected a picture in kodim01.png" in capsys.readouterr().err


def test_the_list_of_the_repository_is_whole(root: Path) -> None:
    sets = json.loads((root / "scripts/prepare_data.json").read_text("utf-8"))
    assert sorted(sets["div2k_valid_256"]) == [f"{number:04d}.png" for number in range(801, 901)]
    assert sorted(sets["kodak24"]) == [f"kodim{number:02d}.png" for number in range(1, 25)]
    assert {tuple(each["size"]) for each in sets["div2k_valid_256"].values()} == {(256, 256)}


def test_the_list_is_of_the_pictures_beside_the_source_tree(run_script: Run, test_sets: Path) -> None:
    assert run_script("prepare_data.py", "--check", str(test_sets)) == 0


def test_the_windows_of_the_figures_are_found_in_archives_like_div2ks(
    run_script: Run, test_sets: Path, root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By the list of the repository, in photographs of DIV2K's sizes and names, packed as its archives are.

    Around each window lie its mirror images, which have its sums: the checksum alone tells them apart. The
    second window is nearly white. The first of its repetitions, every 512 pixels, is taken.
    """
    sets = test_sets / "div2k_valid_256"
    places = {
        "DIV2K_valid_HR/0801.png": (2040, 1356, 1784, 1100),
        "DIV2K_valid_HR/0845.png": (1356, 2040, 777, 301),
        "DIV2K_valid_LR_bicubic/X2/0900x2.png": (1020, 678, 0, 13),
    }
    names = {place: f"{Path(place).stem[:4]}.png" for place in places}
    wanted = json.loads((root / "scripts/prepare_data.json").read_text("utf-8"))["div2k_valid_256"]
    some = {"div2k_valid_256": {name: wanted[name] for name in names.values()}}
    (tmp_path / "some.json").write_text(json.dumps(some), "utf-8")
    with zipfile.ZipFile(tmp_path / "archive.zip", "w") as archive:
        for place, (width, height, x, y) in places.items():
            with Image.open(sets / names[place]) as window:
                around = ((y, height - 256 - y), (x, width - 256 - x), (0, 0))
                photo = Image.fromarray(np.pad(np.asarray(window), around, "symmetric"))
            stream = io.BytesIO()
            photo.save(stream, "PNG", compress_level=1)
            archive.writestr(place, stream.getvalue())
    options = ["--out", str(tmp_path), "--list", str(tmp_path / "some.json")]
    assert run_script("prepare_data.py", "--div2k", str(tmp_path / "archive.zip"), *options) == 0
    said = capsys.readouterr().out
    for place, (width, height, x, y) in places.items():
        name = names[place]
        assert f"{name}: from {x % 512},{y % 512} of {place}, {width}×{height}" in said
        with Image.open(sets / name) as measured, Image.open(tmp_path / sets.name / name) as made:
            assert np.array_equal(np.asarray(made), np.asarray(measured))
