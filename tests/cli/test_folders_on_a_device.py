"""A folder that is restored on another device than the cores."""

from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from PIL import Image

from rlrestore.cli.main import main
from rlrestore.inference.batch import usual_workers
from rlrestore.runtime import Runtime
from rlrestore.runtime.device_queue import DeviceQueue
from tests.patience import comes

Write = Callable[..., Path]


@pytest.fixture
def restore(toy_model: Path) -> Callable[..., int]:
    return lambda *arguments: main(["restore", *map(str, arguments), "--model", str(toy_model)])


@pytest.mark.parametrize(("device", "workers"), [("cpu", 4), ("cuda", 8)])
def test_more_images_are_in_hand_where_another_device_computes(device: str, workers: int) -> None:
    assert usual_workers(cast("Runtime", SimpleNamespace(device=device, threads=4))) == workers


def test_a_folder_on_a_device_becomes_what_it_becomes_on_the_cores(
    restore: Callable[..., int], write_image: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The processor stands for the device: images that wait while it computes are computed together."""
    for number in range(12):
        write_image(f"in/{number}.png", level=10 * number, width=80 if number % 4 == 0 else 40)
    (tmp_path / "in" / "5.png").write_text("no image")
    assert restore(tmp_path / "in", "-o", f"{tmp_path}/alone/") == 1
    batches: list[int] = []
    launch = DeviceQueue._launch

    def count(queue: DeviceQueue, calls: Sequence[Any]) -> None:
        if len(calls) == 1 and not batches:
            comes(lambda: len(queue._waiting) >= 3)  # of which two are of one size
        batches.append(len(calls))
        launch(queue, calls)

    monkeypatch.setattr(DeviceQueue, "_launch", count)
    monkeypatch.setattr("rlrestore.runtime.torch_runtime.queue_of", DeviceQueue)
    assert restore(tmp_path / "in", "-o", f"{tmp_path}/beside/", "--workers", 8) == 1
    assert max(batches) > 1
    names = sorted(path.name for path in (tmp_path / "alone").iterdir())
    assert len(names) == 11
    for name in names:
        one, other = (np.asarray(Image.open(tmp_path / place / name)) for place in ("alone", "beside"))
        np.testing.assert_array_equal(one, other)
