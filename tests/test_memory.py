"""The memory of a large photograph, so many bytes a pixel whatever the mode, and of many small ones."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

MEASURE = """
import sys
from pathlib import Path
import numpy as np, torch
from torch import nn
from rlrestore.restorer import Restorer
from rlrestore.runtime.torch_runtime import TorchRuntime
from rlrestore.toolbox.networks import Folded
from rlrestore.toolbox.specs import TOOLS
from rlrestore.toolbox.toolbox import Toolbox

class ByShade(nn.Module):
    "Plays the first tool on dark windows, the second on bright ones; both are never worth less than 1 dB."
    tools, max_steps, start_margins_db, stop_margin_db = 2, 3, (0.0, 0.0), 0.0
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
    def initial_state(self, batch):
        return torch.zeros(batch, 50), torch.zeros(batch, 50)
    def forward(self, images, last_action, hidden):
        shade = 10 * (images.mean(dim=(1, 2, 3)) - 0.5)
        return torch.stack([1 - shade, 1 + shade, 0 * shade], dim=1), hidden

def peak_bytes():
    # Not getrusage's, which begins with what the process had that started this one.
    status = Path("/proc/self/status").read_text()
    return 1024 * int(status.split("VmHWM:")[1].split()[0])

torch.set_num_threads(1)
toolbox = Toolbox(TOOLS[:2], networks=[Folded(3, 8), Folded(3, 8)])
restorer = Restorer(TorchRuntime(toolbox, ByShade(), "toy"))
mode, height, width = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
ramp = np.linspace(0, 255, width).astype(np.uint8)
photo = np.broadcast_to(ramp[None, :, None], (height, width, 3)).copy()
half = photo[:, : width // 2]
restorer.restore(half, mode=mode, keep_steps=False)
before = peak_bytes()
trace = restorer.restore(photo, mode=mode, keep_steps=False).trace
assert len(trace.tools) == 3 and len(trace.steps[0].shares) == (2 if mode == "local" else 1), trace
print((peak_bytes() - before) / (height * (width - half.shape[1])))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the peak is read where Linux tells it")
@pytest.mark.parametrize("mode", ["global", "local"])
def test_a_photograph_takes_one_copy_of_itself(mode: str) -> None:
    # 12 bytes a pixel, and 17 to 22 with what is held for a moment, by mode and by processor; a second copy
    # would show as 29 and more. Half the photograph comes before: tiles and windows do not grow with it.
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, mode, "2500", "4000"], capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr
    assert 10 < float(done.stdout) < 26


FOLDER = """
import sys
from pathlib import Path
from rlrestore.cli.main import main

assert main(["restore", *sys.argv[1:], "--max-steps", "1"]) == 0
print(1024 * int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the peak is read where Linux tells it")
def test_small_photographs_side_by_side_take_what_is_said(tmp_path: Path) -> None:
    """Half a gigabyte, and 170 MB for each of three megapixels at a time."""
    grain = np.random.default_rng(0).integers(0, 256, (1000, 1000, 3), np.uint8)
    (tmp_path / "in").mkdir()
    for number in range(3):
        Image.fromarray(grain).save(tmp_path / "in" / f"{number}.png")
    command = [sys.executable, "-c", FOLDER, str(tmp_path / "in"), "-o", f"{tmp_path}/out/", "--workers", "3"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    assert int(done.stdout.splitlines()[-1]) < 500e6 + 3 * 170e6
