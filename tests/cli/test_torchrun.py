"""Trainings that torchrun starts in several processes, as the manual writes them."""

import os
import subprocess
import sys
from pathlib import Path

import torch

from rlrestore.model_folder import read_card
from rlrestore.toolbox.storage import load_toolbox
from rlrestore.toolbox.toolbox import Toolbox
from tests.patience import PATIENCE_S


def torchrun(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command line in two processes on this machine."""
    start = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(root)}
    command = [*start, "-m", "rlrestore", *arguments]
    return subprocess.run(
        command,
        env=environment,
        cwd=root,
        capture_output=True,
        text=True,
        timeout=10 * PATIENCE_S,
        check=False,
    )


def test_two_processes_train_a_tool_and_one_writes_the_model(root: Path, photos: str, tmp_path: Path) -> None:
    """Process 0 alone speaks and writes; the card tells how many there were."""
    out = tmp_path / "model"
    arguments = ["train-tools", "--data", photos, "--out", str(out), "--tools", "denoise-1", "--steps", "2"]
    done = torchrun(root, *arguments)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count(f"rlrestore: wrote {out}") == 1
    (record,) = read_card(out).training
    assert record["processes"] == 2
    assert record["steps"] == 2
    trained, untrained = (
        box.networks[4].state_dict() for box in (load_toolbox(out), Toolbox(load_toolbox(out).specs))
    )
    assert any(not torch.equal(trained[name], untrained[name]) for name in trained)


def test_ppo_does_not_train_in_several_processes(root: Path, photos: str, tmp_path: Path) -> None:
    """Which is said before anything is read."""
    arguments = ["train-agent", "--data", photos, "--toolbox", "default", "--out", str(tmp_path / "model")]
    done = torchrun(root, *arguments, "--steps", "2", "--algo", "ppo")
    assert done.returncode != 0
    assert "--algo ppo trains in one process: leave torchrun out, or give --algo q" in done.stderr
