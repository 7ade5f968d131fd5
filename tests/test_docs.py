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

from rlrestore.cli.main import main
from tests.test_public_names import programs

Painter = Callable[..., npt.NDArray[np.uint8]]


@pytest.fixture
def run_page(
    root: Path, tmp_path: Path, make_photograph: Painter, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str], dict[str, Any]]:
    """Runs the one program of a page beside a folder `photos` and its TOML files, and returns its names."""
    (tmp_path / "photos").mkdir()
    for seed in range(2):
        Image.fromarray(make_photograph(128, 130, seed)).save(tmp_path / "photos" / f"{seed}.png")
    monkeypatch.chdir(tmp_path)

    def run(page: str) -> dict[str, Any]:
        names: dict[str, Any] = {}
        text = (root / "docs" / page).read_text("utf-8")
        for name, content in re.findall(r"^```toml\n# (\S+)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
            Path(name).write_text(content, "utf-8")
        (program,) = programs(text)
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
    clean = torch.rand(2, 3, 40, 50, generator=torch.Generator().manual_seed(1))
    degraded = names["batch"](clean, {"length_px": torch.tensor([9.0, 1.0])}, None)
    means = np.lib.stride_tricks.sliding_window_view(clean.numpy(), 9, axis=3).mean(axis=4)
    assert degraded.numpy()[0, ..., 4:-4] == pytest.approx(means[0], abs=1e-6)
    torch.testing.assert_close(degraded[1], clean[1])
    filed = names["file"](clean[0].permute(1, 2, 0).numpy(), {"length_px": 9.0}, None)
    assert filed.transpose(2, 0, 1) == pytest.approx(degraded[0].numpy(), abs=1e-6)


def test_the_mixture_of_the_page_degrades_a_photograph(
    run_page: Callable[[str], dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    run_page("own-degradation.md")
    capsys.readouterr()
    said = set()
    for seed in range(8):
        options = ["--mixture", "phone.toml", "--seed", str(seed), "-o", "bad.png"]
        assert main(["degrade", "photos/0.png", *options]) == 0
        said |= set(re.findall(r"[a-z][a-z-]*[a-z](?= |\n)", capsys.readouterr().out))
    assert said >= {"defocus", "shot-noise", "jpeg", "resize", "nothing"}
