"""`rlrestore inspect`."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from rlrestore.cli.main import main
from rlrestore.imaging.degradation.libjpeg import degrade_pixels
from rlrestore.model_folder import find_model
from rlrestore.model_folder.inspector import FILE, has_inspector
from rlrestore.model_folder.upscaler import UPSCALER, own_upscaler

Pixels = npt.NDArray[np.uint8]
QUANTITIES = ("blur_sigma_px", "noise_sigma_255", "jpeg_quality")


def test_json_has_the_promised_form(photo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", str(photo), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)

    assert list(found) == ["input", *QUANTITIES, "unfamiliar"]
    assert found.pop("input") == str(photo)
    for name in QUANTITIES:
        assert list(found[name]) == ["estimate", "low", "high"]
        assert found[name]["low"] <= found[name]["estimate"] <= found[name]["high"]
    assert list(found["unfamiliar"]) == ["score", "threshold"]


def test_a_terminal_gets_a_sentence(photo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", str(photo)]) == 0
    lines = capsys.readouterr().out.splitlines()

    assert len(lines) == 1
    assert lines[0].startswith(f"'{photo}': ")


def test_a_map_is_drawn_for_what_varies(
    make_photograph: Callable[..., Pixels], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pixels = make_photograph(300, 500)
    noisy = degrade_pixels(pixels, 0, 40, None, np.random.default_rng(0))
    Image.fromarray(np.concatenate((pixels[:, :250], noisy[:, 250:]), axis=1)).save(tmp_path / "half.png")
    Image.fromarray(noisy).save(tmp_path / "all.png")
    for name in ("half", "all"):
        assert main(["inspect", str(tmp_path / f"{name}.png"), "-o", str(tmp_path / "maps")]) == 0
    assert "maps: " in capsys.readouterr().out
    with (
        Image.open(tmp_path / "maps/half_inspected.png") as half,
        Image.open(tmp_path / "maps/all_inspected.png") as whole,
    ):
        assert half.width > whole.width


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["none.png"], 2, "none.png"),
        (["text.png"], 1, "text.png"),
        (["photo.png", "--model", "nowhere"], 2, "no model 'nowhere'"),
        (["photo.png", "--model", "."], 2, "has no inspector: expected inspector.safetensors there"),
        (["photo.png", "-o", "text.png"], 2, "text.png"),
        (["photo.png", "--threads", "2"], 2, "unrecognized arguments"),
    ],
)
def test_bad_input_is_one_line(
    photograph: Pixels,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    code: int,
    words: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("text.png").write_text("no image", "utf-8")
    Image.fromarray(photograph).save("photo.png")
    try:
        ended = main(["inspect", *arguments])
    except SystemExit as end:
        ended = int(end.code or 0)
    output = capsys.readouterr()
    assert ended == code
    assert output.out == ""
    assert len(output.err.splitlines()) == 1
    assert words in output.err


@pytest.fixture
def folder(make_photograph: Callable[..., Pixels], tmp_path: Path) -> Path:
    """Two photographs, one of them restored before and one in a subfolder, a bad file, and a drawing."""
    photos = tmp_path / "photos"
    (photos / "deep").mkdir(parents=True)
    for number, name in enumerate(("a.png", "deep/b_restored.png", "a_inspected.png")):
        Image.fromarray(make_photograph(80, 90, number)).save(photos / name)
    (photos / "bad.png").write_text("no image", "utf-8")
    return photos


def test_a_folder_gives_a_line_of_json_each_and_goes_on_after_a_bad_file(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["inspect", str(folder), "--json"]) == 1
    printed = capsys.readouterr()
    lines = [json.loads(line) for line in printed.out.splitlines()]

    assert [Path(line["input"]).relative_to(folder).as_posix() for line in lines] == [
        "a.png",
        "bad.png",
        "deep/b_restored.png",
    ]
    assert "bad.png" in lines[1]["error"]
    assert list(lines[2]) == ["input", *QUANTITIES, "unfamiliar"]
    errors = printed.err.splitlines()
    assert len(errors) == 2
    assert "bad.png" in errors[0]
    assert errors[1] == "rlrestore: 2 of 3 images inspected, 1 failed"


def test_the_maps_of_a_folder_mirror_it(folder: Path, tmp_path: Path) -> None:
    maps = tmp_path / "maps"
    assert main(["inspect", str(folder), "-o", str(maps)]) == 1
    assert sorted(path.relative_to(maps).as_posix() for path in maps.rglob("*.png")) == [
        "a_inspected.png",
        "deep/b_restored_inspected.png",
    ]


def test_several_photographs_are_told_in_their_order(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    named = [str(folder / name) for name in ("deep/b_restored.png", "a_inspected.png", "a.png", "none.png")]
    assert main(["inspect", *named]) == 1
    printed = capsys.readouterr()
    assert [line.split(":")[0] for line in printed.out.splitlines()] == [f"'{name}'" for name in named[:3]]
    assert "none.png" in printed.err.splitlines()[0]


def test_restore_takes_no_map_for_a_photograph(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["restore", str(folder), "--dry-run"]) == 0
    assert "a_inspected.png" not in capsys.readouterr().out


def test_the_trace_says_it_too(photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", str(photo), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    del found["input"]
    out = tmp_path / "out.png"
    assert main(["restore", str(photo), "-o", str(out), "--trace"]) == 0

    assert json.loads((tmp_path / "out.json").read_text("utf-8"))["inspection"] == found


def test_a_model_without_one_restores_with_an_empty_entry(
    toy_model: Path, photo: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out.png"
    assert main(["restore", str(photo), "-o", str(out), "--trace", "--model", str(toy_model)]) == 0

    assert json.loads((tmp_path / "out.json").read_text("utf-8"))["inspection"] is None


def test_an_exported_model_has_it_and_needs_no_runtime(
    tmp_path: Path, photo: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "exported"
    folder.mkdir()
    (folder / FILE).write_bytes((find_model("default") / FILE).read_bytes())
    assert main(["inspect", str(photo), "--json"]) == 0
    expected = capsys.readouterr().out
    assert main(["inspect", str(photo), "--json", "--model", str(folder)]) == 0
    assert capsys.readouterr().out == expected


def test_an_export_takes_it_along_and_the_upscaler(toy_model: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    source, out = tmp_path / "model", tmp_path / "exported"
    source.mkdir()
    for path in toy_model.iterdir():
        (source / path.name).write_bytes(path.read_bytes())
    for name in (FILE, UPSCALER):
        (source / name).write_bytes((find_model("default") / name).read_bytes())
    assert main(["export", str(source), "--out", str(out)]) == 0
    assert has_inspector(out)
    assert own_upscaler(out) is not None
    assert main(["export", str(toy_model), "--out", str(out)]) == 0
    assert not has_inspector(out)
    assert own_upscaler(out) is None
