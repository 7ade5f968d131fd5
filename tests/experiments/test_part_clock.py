"""The time of nested parts, by a clock that is set by hand."""

import pytest
import torch

from experiments import part_clock
from experiments.part_clock import PartClock


def test_inner_parts_are_not_counted_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """1 s of rest, 2 s of the outer part, 4 of the inner one, 8 and 16 again, 32 of rest."""
    time = [100.0]
    monkeypatch.setattr(part_clock, "now", lambda _: time[0])
    clock = PartClock(torch.device("cpu"))

    def wait(seconds: float) -> None:
        time[0] += seconds

    def fail() -> None:
        wait(16)
        raise ValueError("a fault")

    clock.start()
    wait(1)
    with clock.part("outer"):
        wait(2)
        clock.clocked("inner", wait)(4)
        wait(8)
        with pytest.raises(ValueError, match="a fault"):
            clock.clocked("inner", fail)()
    wait(32)
    assert clock.read() == {"rest": 33, "outer": 10, "inner": 20}
    clock.start()
    wait(1)
    assert clock.read() == {"rest": 1}


def test_a_device_is_clocked_by_itself(device: torch.device) -> None:
    clock, square = PartClock(device), torch.rand(500, 500, device=device)
    clock.start()
    with clock.part("product"):
        for _ in range(5):
            square = (square @ square).softmax(dim=0)
    spent = clock.read()
    assert set(spent) == {"rest", "product"}
    assert spent["product"] > 0
