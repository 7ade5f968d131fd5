"""The scripts that compare optimisers and references run, on toys."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image

from rlrestore.toolbox import functional, trainer
from rlrestore.toolbox.muon import Muon
from rlrestore.toolbox.specs import TOOL_NAMES
from rlrestore.toolbox.trainer import Budget, Trainer, Watch

Run = Callable[..., int]


@pytest.fixture
def photos(make_photograph: Callable[..., npt.NDArray[np.uint8]], tmp_path: Path) -> Path:
    for seed in range(2):
        Image.fromarray(make_photograph(150, 160, seed)).save(tmp_path / f"{seed}.png")
    return tmp_path


def rows(printed: str) -> list[list[str]]:
    """Return the cells of a table in Markdown, without its head."""
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in printed.splitlines()[2:]]


def test_optimisers_are_compared_at_every_rate(
    run_script: Run, photos: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Muon as in trainings: in the precision that pays."""
    used = []

    class Watched(Trainer):
        def run(self, budget: Budget, watch: Watch | None = None) -> None:
            used.append(self.training.state().optimizers["tool"])
            super().run(budget, watch)

    monkeypatch.setattr(trainer, "Trainer", Watched)
    monkeypatch.setattr(functional, "training_precision", lambda _: torch.bfloat16)
    options = ["--steps=1", "--batch=1", "--rates", "1e-3", "3e-3"]
    assert run_script("compare_optimisers.py", "--data", str(photos), *options) == 0
    found = [row[:2] for row in rows(capsys.readouterr().out)]
    assert found == [["Adam", "0.001"], ["Adam", "0.003"], ["Muon", "0.001"], ["Muon", "0.003"]]
    assert [type(optimiser).__name__ for optimiser in used] == [row[0] for row in found]
    assert [each.precision for each in used if isinstance(each, Muon)] == [torch.bfloat16] * 2


def test_every_patch_has_a_best_tool_by_either_reference_and_a_first_choice(
    run_script: Run, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_script("compare_references.py", "--data", str(photos), "--count=6") == 0
    *tools, first, best = rows(capsys.readouterr().out)
    assert [row[0] for row in tools] == list(TOOL_NAMES)
    assert [sum(int(row[column]) for row in tools) for column in (2, 4)] == [6, 6]
    stops = int(first[5].removeprefix("stop: "))
    assert sum(int(row[5]) for row in tools) + stops == 6
    for column in (1, 3):
        assert float(best[column]) >= max(0.0, float(first[column]), *(float(row[column]) for row in tools))
