"""Where a training's metrics go: a bar, TensorBoard, and the log."""

import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from rlrestore.errors import how_to_install
from rlrestore.toolbox.ranks import rank

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

LINE_SECONDS = 60.0

log = logging.getLogger(__name__)


class Bar(Protocol):
    """A progress bar: the part of tqdm's that a training uses."""

    n: float

    def update(self, count: float) -> object:
        """Move on by so many steps."""

    def set_postfix_str(self, text: str) -> None:
        """Show a text behind the bar."""


class _Nothing:
    """In the place of a bar."""

    n = 0.0

    def update(self, count: float) -> None:
        """Move on by so many steps."""
        self.n += count

    def set_postfix_str(self, text: str) -> None:
        """Show nothing."""


@contextmanager
def training_bar(name: str, steps: int, total: int | None) -> Iterator[Bar]:
    """Show how far a training is, by rank 0 on a terminal's stderr; on a machine without tqdm, nothing.

    Args:
        name: What the bar is called.
        steps: Steps already done.
        total: Steps in all, None where the time decides.
    """
    try:
        from tqdm import tqdm
    except ImportError:
        yield _Nothing()
        return
    hidden = None if rank() == 0 else True  # None: where stderr is no terminal
    with tqdm(desc=name, initial=steps, total=total, leave=False, disable=hidden) as bar:
        yield bar


class MetricLog:
    """Writes metrics by the steps of the environment; docs/training.md says what each key means.

    TensorBoard's files need its package, the extra research; without it a line in the log remains.
    """

    def __init__(self, folder: Path, steps: int = 0) -> None:
        """Open the log.

        Args:
            folder: Where TensorBoard's files go.
            steps: What was logged for later steps, by a run that was cut off, is dropped.
        """
        self.writer = _writer(folder, steps)
        self._said = time.monotonic()

    def write(self, group: str, metrics: Mapping[str, float], steps: int) -> None:
        """Write metrics under `group/name`, and now and then a line that names them all."""
        if self.writer is not None:
            for name, value in metrics.items():
                self.writer.add_scalar(f"{group}/{name}", value, steps)
        now = time.monotonic()
        if group == "validation" or now - self._said > LINE_SECONDS:
            self._said = now
            log.info(
                "%d steps: %s", steps, "   ".join(f"{name} {value:.4g}" for name, value in metrics.items())
            )

    def close(self) -> None:
        """Write all that is still in memory."""
        if self.writer is not None:
            self.writer.close()


def _writer(folder: Path, steps: int) -> "SummaryWriter | None":
    try:
        from torch.utils.tensorboard import SummaryWriter  # an extra
    except ImportError:
        log.info("no TensorBoard log: %s", how_to_install("research"))
        return None
    folder.mkdir(parents=True, exist_ok=True)
    return SummaryWriter(str(folder), purge_step=steps + 1 if steps else None)
