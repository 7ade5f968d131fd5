"""`restore --shard I/N`: a folder shared among machines that know nothing of each other."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from rlrestore.cli.main import main
from rlrestore.cli.planning import make_plan

Write = Callable[..., Path]
DIGESTS = {"0.png": "0f25cc56a5248aca", "a/3.png": "b67f3bdc71011acc"}
"""The first 16 digits of `printf a/3.png | sha256sum`."""
NAMES = [f"{folder}{number}.png" for folder in ("", "a/", "a/b c/") for number in range(8)]


@pytest.fixture
def folder(write_image: Write) -> Path:
    """A folder of 24 photographs, on three levels."""
    for name in NAMES:
        path = write_image(f"in/{name}", width=8, height=8)
    return next(parent for parent in path.parents if parent.name == "in")


def places(folder: Path, number: int, count: int) -> set[str]:
    jobs = make_plan([str(folder)], "out/").shard(number, count).jobs
    return {job.source.relative_to(folder).as_posix() for job in jobs}


@pytest.mark.parametrize("count", [1, 2, 5, 100])
def test_every_image_is_in_one_shard(folder: Path, count: int) -> None:
    shards = [places(folder, number, count) for number in range(1, count + 1)]
    assert sorted(name for shard in shards for name in shard) == sorted(NAMES)
    if count == 2:
        assert min(map(len, shards)) >= 6


def test_a_shard_is_the_same_elsewhere_and_beside_others(folder: Path, tmp_path: Path) -> None:
    elsewhere = shutil.copytree(folder, tmp_path / "mounted" / "there")
    shutil.copy(folder / "0.png", elsewhere / "new.png")
    for number in (1, 2, 3):
        assert places(folder, number, 3) == places(elsewhere, number, 3) - {"new.png"}
    for name, digest in DIGESTS.items():
        assert name in places(folder, int(digest, 16) % 3 + 1, 3)


def test_a_rerun_does_the_rest_and_an_empty_shard_is_a_success(
    folder: Path, toy_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = folder.parent / "out"

    def restore(shard: str) -> str:
        command = ["restore", str(folder), "-o", f"{out}/", "--shard", shard, "--skip-existing"]
        assert main([*command, "--model", str(toy_model)]) == 0
        return capsys.readouterr().err

    mine = places(folder, 1, 3)
    assert f"{len(mine)} of {len(mine)} images restored" in restore("1/3")
    assert len(list(out.rglob("*.png"))) == len(mine)
    next(out.rglob("*.png")).unlink()
    assert f"1 of {len(mine)} images restored, {len(mine) - 1} skipped" in restore("1/3")
    empty = next(number for number in range(1, 101) if not places(folder, number, 100))
    assert "0 of 0 images restored" in restore(f"{empty}/100")
    restore("2/3")
    restore("3/3")
    assert len(list(out.rglob("*.png"))) == len(NAMES)


@pytest.mark.parametrize("text", ["0/3", "4/3", "1", "a/b", "1/0", "-1/3", "1/3/5"])
def test_a_shard_outside_is_wrong_usage(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["restore", "in/", f"--shard={text}"])
    assert f"expected I/N with I from 1 to N, as 2/8, got {text!r}" in capsys.readouterr().err


def test_a_pipe_has_no_shards(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["restore", "-", "-o", "out.png", "--shard", "1/2"]) == 2
    assert "--shard does not go with -" in capsys.readouterr().err
