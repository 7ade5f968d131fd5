"""Jobs: paths or Parquet in, files or Parquet out."""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset
import pyarrow.parquet as pq
import ray.data

from rlrestore.distributed.cluster import Pool, joined, work
from rlrestore.distributed.records import Records
from rlrestore.distributed.worker import Settings
from rlrestore.errors import DataError
from rlrestore.imaging.io.files import shown

NAMELESS = "an image without a name"
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
    return _run(table, pool.batch, len(table), records, settings, pool, watch)


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
        key: The column that names each image: by its name it is known as done, so no two have one.
        image: The column of the images' bytes, whole files as JPEG or PNG.

    Raises:
        DataError: A file is no Parquet, or has no such columns.
        UsageError: The records are of another job, or the cluster has no room for a worker.
        RlrestoreError: No worker can be started, or the cluster is gone.
    """
    total, pool = 0, pool or Pool()
    parts: dict[str, list[Any]] = {"file": [], "group": [], "first": []}
    for path in _files(source):
        for group, rows in enumerate(_group_sizes(path, ((key, *STRINGS), (image, *BYTES)))):
            firsts = list(range(0, rows, pool.batch))
            total += rows
            for name, column in (("file", [path]), ("group", [group]), ("first", firsts)):
                parts[name] += column * (1 if name == "first" else len(firsts))
    fixed = {"rows": pool.batch, "key": key, "column": image}
    columns = {**parts, **{name: [value] * len(parts["file"]) for name, value in fixed.items()}}
    return _run(pa.table(columns), 1, total, records, settings, pool, watch)


STRINGS = ("a column of names (string)", (pa.types.is_string, pa.types.is_large_string))
BYTES = ("a column of bytes (binary)", (pa.types.is_binary, pa.types.is_large_binary))


def _files(source: Path) -> list[str]:
    """Return the files, by their absolute paths."""
    try:
        found = list(pyarrow.dataset.dataset(source.absolute(), format="parquet").files)
    except FileNotFoundError as error:
        raise DataError(f"expected Parquet, but {shown(source)} does not exist; check the path") from error
    except (OSError, pa.ArrowException) as error:
        raise _no_parquet(source, error) from error
    if not found:
        raise DataError(
            f"expected files of Parquet in the folder {shown(source)}, but it has none; use another"
        )
    return found


def _group_sizes(
    path: str, columns: Iterable[tuple[str, str, tuple[Callable[[Any], bool], ...]]]
) -> list[int]:
    """Return how many rows each row group of a file has, after making sure of its columns."""
    try:
        metadata = pq.read_metadata(path)
        schema = metadata.schema.to_arrow_schema()
    except (OSError, pa.ArrowException) as error:
        raise _no_parquet(path, error) from error
    for name, expected, kinds in columns:
        kind = schema.field(name).type if name in schema.names else None
        if kind is None or not any(fits(kind) for fits in kinds):
            there = ", ".join(schema.names) or "no columns"
            raise DataError(
                f"expected {expected} {name!r} in {shown(path)}, got {kind or 'none'} among {there}: "
                "name another"
            )
    return [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)]


def _no_parquet(path: Path | str, error: Exception) -> DataError:
    return DataError(f"expected Parquet in {shown(path)}, got: {str(error).splitlines()[0]}")


def _run(
    table: Any,
    rows: int,
    total: int,
    folder: Path,
    settings: Settings | None,
    pool: Pool,
    watch: Watch | None,
) -> Outcome:
    """Have a table's rows done, so many of them being a batch."""
    settings, records = settings or Settings(), Records(folder.absolute())
    records.prepare(settings.to_json())
    outcome = Outcome(total)
    if not total:
        return outcome
    each = rows * max(1, len(table) // (rows * MOST_BLOCKS))
    blocks = [table.slice(start, each) for start in range(0, len(table), each)]
    with joined(pool) as workers:
        ray.data.DataContext.get_current().enable_progress_bars = False
        source, done = ray.data.from_arrow(blocks), records.done()
        for statuses in work(source, rows, pool, workers, settings, records, done):
            outcome.add(statuses)
            if watch is not None:
                for status in statuses:
                    watch(status["input"] or NAMELESS, status["error"])
    return outcome
