"""One folder, several machines: what each restores, and that nothing is lost or done twice."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlrestore.cli.main import main
from rlrestore.cli.planning import Plan, make_plan
from rlrestore.cli.shards import Shard

Write = Callable[..., Path]
NAMES = ("a.png", "b.png", "c.png", "deep/a.png", "deep/d.png", "ü.png", "x.png", "x.bmp", "y.png", "z.png")


@pytest.fixture
def folder(write_image: Write, tmp_path: Path) -> Path:
    """Ten images, two of which would share a result."""
    for number, name in enumerate(NAMES):
        write_image(f"in/{name}", level=10 * number)
    return tmp_path / "in"


@pytest.fixture
def restore(toy_model: Path) -> Callable[..., int]:
    return lambda *arguments: main(["restore", *map(str, arguments), "--model", str(toy_model)])


def pairs(plan: Plan) -> set[tuple[Path, Path]]:
    return {(job.source, job.output) for job in plan.jobs}


@pytest.mark.parametrize("count", [1, 2, 3, 40])
def test_the_shards_of_a_folder_partition_it(folder: Path, tmp_path: Path, count: int) -> None:
    """Each image is in one shard, and its result is named as without shards: x.png's after its format."""
    whole = make_plan([str(folder)], f"{tmp_path}/out/")
    parts = [pairs(whole.part(Shard(number, count))) for number in range(1, count + 1)]
    assert sum(map(len, parts)) == len(NAMES)
    assert set().union(*parts) == pairs(whole)
    assert {"x_png_restored.png", "x_bmp_restored.png"} <= {
        output.name for part in parts for _, output in part
    }


@given(st.text(st.characters(codec="utf-8", exclude_characters="/\0"), min_size=1), st.integers(1, 99))
def test_an_image_is_in_one_shard(name: str, count: int) -> None:
    assert sum(Shard(number, count).holds(Path(name)) for number in range(1, count + 1)) == 1


def test_the_division_is_that_of_the_manual() -> None:
    """BLAKE2b of 8 bytes of the path inside the folder, read big-endian, modulo N, from 1."""
    digest = hashlib.blake2b(b"deep/a.png", digest_size=8).hexdigest()
    assert digest == "dd279c80c3ffb808"
    assert Shard(0xDD279C80C3FFB808 % 7 + 1, 7).holds(Path("deep") / "a.png")


def test_the_division_does_not_depend_on_where_the_folder_lies(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    moved = folder.rename(tmp_path / "elsewhere")
    monkeypatch.chdir(moved)
    here, there = make_plan(["."], None), make_plan([str(moved)], None)
    for plan in (here, there):
        held = {job.place.as_posix() for job in plan.part(Shard(2, 3)).jobs}
        assert held == {name for name in NAMES if Shard(2, 3).holds(Path(name))}


def test_a_rerun_does_the_rest(
    folder: Path, restore: Callable[..., int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One of three machines is lost; a rerun of all, or of another number of shards, does what it left."""
    out = f"{tmp_path}/out/"
    for number in (1, 3):
        assert restore(folder, "-o", out, "--shard", f"{number}/3") == 0
    missing = {name for name in NAMES if Shard(2, 3).holds(Path(name))}
    assert 0 < len(missing) < len(NAMES)
    capsys.readouterr()
    for number in (1, 2):
        assert restore(folder, "-o", out, "--skip-existing", "--json", "--shard", f"{number}/2") == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    done = {Path(line["input"]).relative_to(folder).as_posix() for line in lines if "skipped" not in line}
    assert done == missing
    assert len(list((tmp_path / "out").rglob("*_restored.png"))) == len(NAMES) == len(lines)


def test_an_empty_shard_is_a_success(
    restore: Callable[..., int], write_image: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = write_image("in/a.png")
    empty = next(number for number in (1, 2) if not Shard(number, 2).holds(Path("a.png")))
    assert restore(image.parent, "--shard", f"{empty}/2") == 0
    assert f"shard {empty}/2 holds none of 1 images" in capsys.readouterr().err
    assert restore(image.parent, "--shard", f"{3 - empty}/2") == 0
    assert (tmp_path / "in" / "a_restored.png").exists()


def test_an_input_that_is_not_there_is_reported_by_one_shard(
    restore: Callable[..., int], folder: Path, tmp_path: Path
) -> None:
    gone = tmp_path / "gone.png"
    codes = [
        restore(folder, gone, "-o", f"{tmp_path}/out/", "--shard", f"{number}/4") for number in range(1, 5)
    ]
    assert sorted(codes) == [0, 0, 0, 1]


@pytest.mark.parametrize("text", ["0/4", "5/4", "1", "1/", "/4", "a/b", "-1/4", "1/0", "1.5/4"])
def test_a_shard_outside_is_wrong_usage(folder: Path, text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["restore", str(folder), f"--shard={text}"])
    assert "expected I/N, I from 1 to N, as 1/8" in capsys.readouterr().err


def test_a_reference_does_not_go_with_shards(
    restore: Callable[..., int], folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert restore(folder / "a.png", "--shard", "1/2", "--reference", "a.png") == 2
    assert "--shard does not go with --reference" in capsys.readouterr().err
