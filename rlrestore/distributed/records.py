"""The records of a job: Parquet files of a row for each image, and who is at work on which batch.

Every batch has a file of its own, named by what is in it and written whole or not at all. So a batch that is
done twice, after a worker died, has one file, and a job that is stopped loses no batch that was done.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from rlrestore.errors import DataError, UsageError
from rlrestore.imaging.io.atomic import write_atomically
from rlrestore.imaging.io.files import shown

RECORD = pa.schema(
    {
        "input": pa.string(),
        "output": pa.string(),
        "image": pa.binary(),
        "trace": pa.string(),
        "notes": pa.list_(pa.string()),
        "error": pa.string(),
        "seconds": pa.float32(),
        "cpu_seconds": pa.float32(),
        "worker": pa.string(),
        "attempts": pa.int32(),
    }
)
"""What is recorded of an image: the path or the key that it came by; the file of its result, or the bytes of
one; the trace as JSON; notes; what went wrong, null if nothing did; how long it took, and of the cores' time;
which process did it, as host:pid; and how often its batch was begun."""
JOB_FILE = "_job.json"
ATTEMPTS_FOLDER = ".attempts"
"""Readers of Parquet folders leave out what begins with a dot or an underscore."""
DIGEST_BYTES = 16

Digests = npt.NDArray[np.bytes_]


def digests(keys: Iterable[str | None]) -> Digests:
    """Return what keys are compared by: millions of them in little memory, which processes can share."""
    found = [hashlib.blake2b(_bytes(key), digest_size=DIGEST_BYTES).digest() for key in keys]
    return np.array(found, dtype=f"S{DIGEST_BYTES}")


def _bytes(key: str | None) -> bytes:
    return b"\xff" if key is None else key.encode()  # no text in UTF-8 has this byte


@dataclass
class Attempts:
    """How often a batch was begun, and what is known of the images that end their workers.

    A worker that dies once may have been stopped from outside. From the second attempt on every image is
    noted before it is begun; one that was in hand when the worker died again is given up.

    Attributes:
        path: The file.
        count: Attempts, this one included.
        doing: The image in hand, from the second attempt on; empty before.
        worker: Who is at it, as host:pid.
        given_up: Images that are not tried any more.
    """

    path: Path
    count: int = 0
    doing: str = ""
    worker: str = ""
    given_up: list[str] = field(default_factory=list)

    @classmethod
    def begin(cls, path: Path, worker: str) -> "Attempts":
        """Begin a batch, and note it."""
        attempts = cls(path)
        if path.exists():
            attempts = cls(path, **json.loads(path.read_bytes()))
        if attempts.doing:
            attempts.given_up.append(attempts.doing)
        attempts.count, attempts.doing, attempts.worker = attempts.count + 1, "", worker
        attempts._note()
        return attempts

    def take(self, key: str) -> None:
        """Note the image that is begun now, if the batch has ended a worker before."""
        if self.count > 1:
            self.doing = key
            self._note()

    def end(self) -> None:
        """Forget the batch, which is done."""
        self.path.unlink(missing_ok=True)

    def _note(self) -> None:
        known = {name: value for name, value in asdict(self).items() if name != "path"}
        write_atomically(self.path, json.dumps(known).encode())


@dataclass(frozen=True)
class Records:
    """The records of one job.

    Attributes:
        folder: Where they lie; all machines see it by this path.
    """

    folder: Path

    def prepare(self, job: Mapping[str, Any]) -> None:
        """Make the folder, or make sure that what lies there is of the same job.

        A job that was refused, or stopped before its first batch, binds nobody.

        Args:
            job: What must be the same for results to belong together, as JSON values.

        Raises:
            UsageError: It is of another job, or not to be written.
        """
        path = self.folder / JOB_FILE
        try:
            (self.folder / ATTEMPTS_FOLDER).mkdir(parents=True, exist_ok=True)
            known = json.loads(path.read_bytes()) if path.exists() and self._begun() else None
            if known is not None and not isinstance(known, dict):
                raise ValueError(f"expected a JSON object in {JOB_FILE}, got {known!r}")
            if known is None:
                write_atomically(path, f"{json.dumps(job, indent=2)}\n".encode())
        except (OSError, ValueError) as error:
            raise UsageError(
                f"cannot keep the job's records in {shown(self.folder)} ({error}); choose another output"
            ) from error
        known = job if known is None else known
        differing = sorted(key for key in job if known.get(key) != job[key])
        if differing:
            words = "; ".join(f"{key} {known.get(key)!r}, now {job[key]!r}" for key in differing)
            raise UsageError(
                f"{shown(self.folder)} holds the records of another job ({words}): give the same options, or "
                "choose another output"
            )

    def _begun(self) -> bool:
        """Tell whether any batch was begun."""
        return any(self.folder.glob("*.parquet")) or any((self.folder / ATTEMPTS_FOLDER).glob("*.json"))

    def done(self) -> Digests:
        """Return the digests of the images that were restored, sorted."""
        found = [digests(table["input"].to_pylist()) for table in self._restored()]
        return np.unique(np.concatenate(found)) if found else digests([])

    def _restored(self) -> Iterator[Any]:
        for path in sorted(self.folder.glob("*.parquet")):
            try:
                table = pq.read_table(path, columns=["input", "error"])
            except (OSError, pa.ArrowException) as error:
                raise DataError(f"{shown(path)} is no record ({error}); remove it, and go on") from error
            yield table.filter(table["error"].is_null())

    def begin(self, keys: Sequence[str | None], worker: str) -> Attempts:
        """Begin a batch of images."""
        return Attempts.begin(self.folder / ATTEMPTS_FOLDER / f"{_name(keys)}.json", worker)

    def write(self, keys: Sequence[str | None], rows: Sequence[Mapping[str, Any]]) -> None:
        """Write the rows of a batch, completely or not at all."""
        sink = pa.BufferOutputStream()
        pq.write_table(pa.Table.from_pylist(list(rows), RECORD), sink, compression="zstd")
        write_atomically(self.folder / f"{_name(keys)}.parquet", sink.getvalue().to_pybytes())


def _name(keys: Sequence[str | None]) -> str:
    """Return what a batch's files are called: the same for the same images."""
    return hashlib.blake2b(b"\0".join(map(_bytes, keys)), digest_size=DIGEST_BYTES).hexdigest()
