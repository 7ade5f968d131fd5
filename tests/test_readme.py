"""The programs in the README do what it says."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image


def test_the_programs_under_from_python_run(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the shipped model, on a small part of the street, and on the processor."""
    section = (root / "README.md").read_text("utf-8").split("\n## From Python\n")[1].split("\n## ")[0]
    first, second = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    (tmp_path / "examples").mkdir()
    with Image.open(root / "examples/street.jpg") as street:
        street.crop((0, 0, 96, 80)).save(tmp_path / "examples" / "street.jpg")
    monkeypatch.chdir(tmp_path)
    seen: list[Image.Image] = []

    def show(image: Image.Image) -> None:
        seen.append(image)

    monkeypatch.setattr(Image.Image, "show", show)
    names: dict[str, Any] = {}
    exec(first, names)  # noqa: S102  # our own
    assert seen[0].size == (96, 80)
    assert "step" in capsys.readouterr().out
    assert (tmp_path / "street_restored.png").exists()

    names["images"] = [np.full((64, 70), 200, np.uint8), np.full((70, 64, 3), 0.5)]
    exec(second.replace('"cuda"', '"cpu"'), names)  # noqa: S102
    for given, restored in zip(names["images"], names["restored"], strict=True):
        assert (given.shape, given.dtype) == (restored.shape, restored.dtype)
