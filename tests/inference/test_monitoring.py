"""How far a restoration is, and its early end."""

from threading import Event

import numpy as np
import pytest

from rlrestore.errors import CancelledRestorationError
from rlrestore.imaging.progress import Progress
from tests.toys import make_restorer

PIXELS = np.full((600, 700, 3), 0.5, np.float32)


@pytest.mark.parametrize("mode", ["global", "local"])
def test_progress_is_reported_and_ends_at_one(mode: str) -> None:
    reports: list[Progress] = []
    make_restorer([0, 1], max_steps=3).restore(PIXELS, mode=mode, progress=reports.append)
    shares = [one.share for one in reports]

    assert shares == sorted(shares)
    assert shares[-1] == pytest.approx(1)
    assert len([share for share in shares if 0.1 < share < 0.33]) > 2  # within the first step
    assert {(one.step, one.steps) for one in reports} == {(1, 3), (2, 3), (3, 3)}


def test_a_restoration_is_cancelled_between_two_tiles() -> None:
    cancel, reports = Event(), list[Progress]()

    def stop(progress: Progress) -> None:
        reports.append(progress)
        if progress.share > 0.2:
            cancel.set()

    toy = make_restorer([0, 1])
    with pytest.raises(CancelledRestorationError, match="the restoration was cancelled"):
        toy.restore(PIXELS, progress=stop, cancel=cancel)
    assert reports[-1].share < 0.33
    assert PIXELS.min() == 0.5  # what was handed in is as it was
    toy.restore(PIXELS[:64, :64])  # and the next one is restored
