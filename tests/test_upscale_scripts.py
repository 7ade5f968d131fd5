"""The scripts behind `--upscale` run, on toys."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from rlrestore.model_folder.upscaler import UPSCALER, read_upscaler
from tests.toys import save_toy


def test_the_tool_that_enlarges_is_trained_in_two_parts_and_measured(
    run_script: Callable[..., int],
    make_photograph: Callable[..., npt.NDArray[np.uint8]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    toy, photos, clean, out = (
        save_toy(tmp_path / "toy", [0]),
        tmp_path / "photos",
        tmp_path / "a",
        tmp_path / "b",
    )
    photos.mkdir()
    for seed in range(2):
        Image.fromarray(make_photograph(241, 243, seed)).save(photos / f"{seed}.png")
    options = ["--data", str(photos), "--steps", "2", "--held-out", "2", "--model", str(toy)]
    assert run_script("train_upscaler.py", *options, "--out", str(clean)) == 0
    restored = ["--out", str(out), "--start", str(clean), "--restored", "2"]
    assert run_script("train_upscaler.py", *options, *restored) == 0
    assert [each["steps"] for each in read_upscaler(out / UPSCALER).training] == [2, 2]
    capsys.readouterr()
    shutil.copy(out / UPSCALER, toy)

    small = tmp_path / "small"
    small.mkdir()
    Image.fromarray(make_photograph(97, 98)).save(small / "0.png")
    assert run_script("measure_upscale.py", "--data", str(small), "--model", str(toy)) == 0

    rows = capsys.readouterr().out.splitlines()
    assert len(rows) == 2 + 2 * 4 * 3
    assert sum("`--upscale`" in row for row in rows) == 8
