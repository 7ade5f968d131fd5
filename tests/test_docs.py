"""The programs of the pages that no other test runs do what the pages say."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image

from tests.test_public_names import programs

Painter = Callable[..., npt.NDArray[np.uint8]]


@pytest.fixture
def run_page(
    root: Path, tmp_path: Path, make_photograph: Painter, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str], dict[str, Any]]:
    """Runs the one program of a page beside a folder `photos`, and returns its names."""
    (tmp_path / "photos").mkdir()
    for seed in range(2):
        Image.fromarray(make_photograph(128, 130, seed)).save(tmp_path / "photos" / f"{seed}.png")
    monkeypatch.chdir(tmp_path)

    def run(page: str) -> dict[str, Any]:
        names: dict[str, Any] = {}
        (program,) = programs((root / "docs" / page).read_text("utf-8"))
        exec(compile(program, page, "exec"), names)  # noqa: S102  # our own
        return names

    return run


def test_the_first_episode_of_a_researcher(
    run_page: Callable[[str], dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    names = run_page("start-researcher.md")
    assert names["terminated"]
    assert re.fullmatch(r".+ [+-]\d+\.\d\d dB\n", capsys.readouterr().out)


def test_motion_blur_as_a_degradation_of_ones_own(
    run_page: Callable[[str], dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    names = run_page("own-degradation.md")
    said = float(capsys.readouterr().out.removesuffix(" dB\n"))
    assert said == pytest.approx(names["info"]["psnr_db"], abs=0.005)
    degraded, clean = names["motion_blur"](2, torch.Generator().manual_seed(1))
    means = np.lib.stride_tricks.sliding_window_view(clean.numpy(), 9, axis=3).mean(axis=4)
    assert degraded.numpy()[..., 4:-4] == pytest.approx(means, abs=1e-6)
