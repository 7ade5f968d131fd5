"""Ctrl-C and SIGTERM, as they come to a run that restores a folder."""

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_run_in_order(
    toy_model: Path, write_image: Callable[..., Path], tmp_path: Path, number: signal.Signals
) -> None:
    """What is told was written, all but one perhaps in whose telling it came; and nothing half lies about.

    Of what is told a pipe takes 64 kilobytes, less than half: the run cannot end before the signal.
    """
    if signal.getsignal(number) == signal.SIG_IGN:
        pytest.skip("the tests were started where this signal is ignored, as by a shell in the background")
    for index in range(400):
        write_image(f"in/{index:03d}.png", width=200)
    command = [sys.executable, "-m", "rlrestore", "restore", str(tmp_path / "in"), "-o", f"{tmp_path}/out/"]
    command += ["--model", str(toy_model), "--json", "--workers", "2"]
    errors = tmp_path / "stderr"
    with (
        errors.open("w") as stderr,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stderr, text=True) as process,
    ):
        assert process.stdout is not None
        said = [process.stdout.readline()]
        process.send_signal(number)
        said += process.stdout  # not by communicate(), which passes over what readline() has read ahead
    assert process.returncode == 130
    assert errors.read_text().splitlines()[-1] == "rlrestore: interrupted"
    told, written = {Path(json.loads(line)["output"]) for line in said}, set((tmp_path / "out").iterdir())
    assert told <= written
    assert len(written - told) <= 1
    assert len(written) < 400
