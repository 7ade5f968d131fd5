import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from stable_baselines3.common.vec_env import VecMonitor

SMALLER = {
    "num_envs=64": "num_envs=2",
    "(64,)": "(2,)",
    "n_steps=12": "n_steps=4",
    "batch_size=192": "batch_size=4",
}
SMALLER |= {"200_000": "8", "verbose=1": "verbose=0"}


def test_the_programs_of_the_page_run(
    root: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    make_photograph: Callable[..., NDArray[np.uint8]],
) -> None:
    """With the shipped tools, on one photograph and for a few steps."""
    (tmp_path / "photos").mkdir()
    Image.fromarray(make_photograph(160, 160)).save(tmp_path / "photos" / "photo.png")
    monkeypatch.chdir(tmp_path)
    page = (root / "docs/environment.md").read_text("utf-8")
    program = "\n".join(re.findall(r"```python\n(.*?)```", page, re.DOTALL))
    for whole, part in SMALLER.items():
        assert whole in program
        program = program.replace(whole, part)
    names: dict[str, Any] = {}
    exec(compile(program, "environment.md", "exec"), names)  # noqa: S102  # our own
    assert capsys.readouterr().out.count(" dB\n") == 2
    assert names["envs"].num_envs == 2
    assert names["model"].num_timesteps == 8
    assert isinstance(names["model"].get_env(), VecMonitor)
    assert 0 < len(names["model"].ep_info_buffer) <= 8
