"""Jobs: paths or Parquet in, files or Parquet out."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset
import ray.data

from rlrestore.distributed.cluster import READING_SHARE, Pool, joined, work
from rlrestore.distributed.records import Records
from rlrestore.distributed.worker import Settings
from rlrestore.errors import DataError
from rlrestore.imaging.io.files import shown

MOST_BLOCKS = 10_000
"""Into which a list of paths is divided: each costs Ray about a millisecond."""

Watch = Callable[[str, str | None], None]
"""Takes an image that is done, and what went wrong with it; None if nothing did."""


@dataclass
class Outcome:
    """What became of the images of a job.

    Attributes:
        total: Images of the job.
        restored: In this run.
        failed: In this run; their rows say why, and the next run tries them again.
        begun_again: Images of batches whose worker died.
        cpu_seconds: Of all workers, for the images of this run.
        first: When the first images were done, in seconds of the monotonic clock, and how many they were.
        last_s: When the last ones were.
    """

    total: int
    restored: int = 0
    failed: int = 0
    begun_again: int = 0
    cpu_seconds: float = 0.0
    first: tuple[float, int] | None = None
    last_s: float = 0.0

    @property
    def done_before(self) -> int:
        """How many an earlier run has restored."""
        return self.total - self.restored - self.failed

    @property
    def images_per_s(self) -> float | None:
        """Images a second since the first ones were done, which leaves the start of the workers out."""
        if self.first is None or self.last_s <= self.first[0]:
            return None
        return (self.restored + self.failed - self.first[1]) / (self.last_s - self.first[0])

    def add(self, statuses: Sequence[dict[str, Any]]) -> None:
        """Count images that were done together."""
        failed = sum(status["error"] is not None for status in statuses)
        self.failed += failed
        self.restored += len(statuses) - failed
        self.begun_again += sum(status["attempts"] > 1 for status in statuses)
        self.cpu_seconds += sum(status["cpu_seconds"] for status in statuses)
        self.last_s = time.monotonic()
        self.first = self.first or (self.last_s, len(statuses))


def restore_files(
    sources: Sequence[Path],
    outputs: Sequence[Path] | None,
    records: Path,
    settings: Settings | None = None,
    pool: Pool | None = None,
    watch: Watch | None = None,
) -> Outcome:
    """Restore files; what is done already is left out.

    Args:
        sources: The images; all machines see them by these paths, made absolute.
        outputs: Where each result goes; None puts them into the records.
        records: Folder of the Parquet files that say what was done.
        settings: How to restore.
        pool: On what.
        watch: Called after every image.

    Raises:
        UsageError: The records are of another job, or the cluster has no room for a worker.
        RlrestoreError: No worker can be started, or the cluster is gone.
    """
    pool = pool or Pool()
    columns = {"input": pa.array([str(path.absolute()) for path in sources], pa.string())}
    if outputs is not None:
        columns["output"] = pa.array([str(path.absolute()) for path in outputs], pa.string())
    table = pa.table(columns)
    rows = pool.batch * max(1, len(table) // (pool.batch * MOST_BLOCKS))
    blocks = [table.slice(start, rows) for start in range(0, len(table), rows)]
    return _run(lambda: ray.data.from_arrow(blocks), len(table), records, settings, pool, watch)


def restore_parquet(
    source: Path,
    records: Path,
    settings: Settings | None = None,
    pool: Pool | None = None,
    watch: Watch | None = None,
    key: str = "input",
    image: str = "image",
) -> Outcome:
    """Restore the images of Parquet files into Parquet files; what is done already is left out.

    Args:
        source: A file or a folder of them.
        records: Folder of the Parquet files that are written: a row for each image, with its result.
        settings: How to restore.
        pool: On what.
        watch: Called after every image.
        key: The column that names each image.
        image: The column of the images' bytes, whole files as JPEG or PNG.

    Raises:
        DataError: There are no such columns.
        UsageError: The records are of another job, or the cluster has no room for a worker.
        RlrestoreError: No worker can be started, or the cluster is gone.
    """
    total = _count(source, {key: pa.types.is_string, image: pa.types.is_binary})

    def read() -> Any:
        found = ray.data.read_parquet(
            str(source.absolute()), columns=[key, image], num_cpus=READING_SHARE, concurrency=1
        )
        return found.rename_columns(
            {key: "input", image: "image"} if (key, image) != ("input", "image") else {}
        )

    return _run(read, total, records, settings, pool or Pool(), watch)


def _count(source: Path, columns: dict[str, Callable[[Any], bool]]) -> int:
    """Return how many rows there are, after making sure of the columns."""
    try:
        found = pyarrow.dataset.dataset(source, format="parquet")
        schema, total = found.schema, int(found.count_rows())
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"expected Parquet in {shown(source)}, got: {str(error).splitlines()[0]}") from error
    for name, fits in columns.items():
        kind = schema.field(name).type if name in schema.names else "none"
        if kind == "none" or not fits(kind):
            expected = (
                "a column of names (string)" if fits is pa.types.is_string else "a column of bytes (binary)"
            )
            raise DataError(
                f"expected {expected} {name!r} in {shown(source)}, got {kind} among "
                f"{', '.join(schema.names)}: name another"
            )
    return total


def _run(
    read: Callable[[], Any],
    total: int,
    folder: Path,
    settings: Settings | None,
    pool: Pool,
    watch: Watch | None,
) -> Outcome:
    settings, records = settings or Settings(), Records(folder.absolute())
    records.open(settings.to_json())
    outcome = Outcome(total)
    with joined(pool) as workers:
        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = False
        for statuses in work(read(), pool, workers, settings, records, records.done()) if total else ():
            outcome.add(statuses)
            if watch is not None:
                for status in statuses:
                    watch(status["input"], status["error"])
    return outcome
