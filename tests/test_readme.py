"""The programs in the README do what it says."""

import re
from pathlib import Path
from typing import Any

import pytest
from PIL import Image


def test_the_programs_under_from_python_run(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the shipped model, on a small part of the street."""
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

    exec(second, names)  # noqa: S102
    assert [image.size for image in names["restored"]] == [(96, 80)] * 2
