"""What runs on each GPU or group of cores: a process that holds the model and restores batches."""

import io
import json
import os
import socket
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from rlrestore.distributed.records import RECORD, Attempts, Digests, Records, digests
from rlrestore.errors import ImageError, RlrestoreError
from rlrestore.imaging.io.decoding import decode_photo
from rlrestore.imaging.io.encoding import encode_photo
from rlrestore.imaging.io.files import claimed_pixels, read_photo, shown, write_photo
from rlrestore.imaging.io.holding import check_holds, fitted
from rlrestore.inference.batch import batch, usual_workers
from rlrestore.runtime import Precision

STATUS = pa.schema([RECORD.field(name) for name in ("input", "error", "cpu_seconds", "attempts")])
"""What a worker reports of an image; all else is in the records."""


@dataclass(frozen=True)
class Settings:
    """How every image of a job is restored.

    Attributes:
        model: A model that comes with the package, or a model's folder, seen by all machines.
        device: `cpu`, or `cuda` for the GPU that Ray gives a worker.
        precision: In which the tools compute; by `auto` machines of several kinds may differ, by 1 of 255.
        suffix: Of results that go into Parquet, such as `.png`.
        quality: From 1 to 100, for JPEG, AVIF and WebP.
        options: Further arguments of `Restorer.restore`, as JSON values: `mode`, `max_steps`, `only`, …
    """

    model: str = "default"
    device: str = "cpu"
    precision: Precision = "auto"
    suffix: str = ".png"
    quality: int | None = None
    options: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return what the results depend on, as JSON values."""
        return dict(json.loads(json.dumps({**asdict(self), "options": dict(self.options)})))


class Worker:
    """Restores batches of images, for `Dataset.map_batches`.

    A batch is a table of `input`, and either `output`, the files to write, or `image`, the bytes to restore,
    or neither: a result without a file goes into the records. Or it says in one row where in Parquet it is:
    `file`, row `group`, `first` of so many `rows`, and the columns of the names, `key`, and bytes, `column`.
    """

    def __init__(self, settings: Settings, records: Records, done: Digests, threads: int) -> None:
        """Read the model.

        Args:
            settings: How to restore.
            records: Where to record what comes of it.
            done: The images that are left out, sorted.
            threads: Cores to compute on.
        """
        from rlrestore.restorer import Restorer

        self.settings, self.records, self.done = settings, records, done
        self.restorer = Restorer.from_pretrained(settings.model, settings.device, settings.precision)
        self.restorer.runtime.set_threads(threads)
        self.name = f"{socket.gethostname()}:{os.getpid()}"

    def __call__(self, batch: Any) -> Any:
        """Restore what is not done of a batch, record it, and return how it went."""
        if "file" in batch.column_names:
            try:
                batch = _read(batch)
            except (OSError, pa.ArrowException) as error:
                return self._unread(batch, error)
        rows = [row for row, done in zip(batch.to_pylist(), self._is_done(batch), strict=True) if not done]
        if not rows:
            return STATUS.empty_table()
        keys = [row["input"] for row in rows]
        attempts = self.records.begin(keys, self.name)
        made = self._together(rows, attempts)
        self.records.write(keys, made)
        attempts.end()
        return pa.Table.from_pylist(made, STATUS)

    def _unread(self, batch: Any, error: Exception) -> Any:
        """Record of every image of a part of Parquet that it cannot be read, and return so."""
        (part,) = batch.to_pylist()
        with pq.ParquetFile(part["file"]) as file:
            group_rows = file.metadata.row_group(part["group"]).num_rows
        last = min(part["first"] + part["rows"], group_rows)
        place = f"{part['file']}, row group {part['group']}, row"
        names = [f"{place} {number}" for number in range(part["first"], last)]
        cause = f"expected Parquet, but the part of the file cannot be read ({' '.join(str(error).split())})"
        known = {"seconds": 0.0, "cpu_seconds": 0.0, "worker": self.name, "attempts": 1}
        made = [{"input": name, "error": f"{cause}; get a fresh copy of the file"} | known for name in names]
        self.records.write(names, made)
        return pa.Table.from_pylist(made, STATUS)

    def _together(self, rows: Sequence[Mapping[str, Any]], attempts: Attempts) -> list[dict[str, Any]]:
        """Restore a batch, and return what to record of each image.

        Where another device than the cores computes, the images are restored side by side, so that what they
        ask of one network in one size is computed together; but one by one where their worker died before,
        to find the one that ends it.
        """
        runtime = self.restorer.runtime
        if runtime.device == "cpu" or attempts.count > 1:
            return [self._record(row, attempts) for row in rows]
        made: list[dict[str, Any]] = []
        began_cpu = time.process_time()

        def settle(_: Mapping[str, Any], done: Future[dict[str, Any]]) -> None:
            made.append(done.result())

        with batch(settle, usual_workers(runtime), runtime) as work:
            for row in rows:
                pixels = claimed_pixels((row["image"] or b"") if "image" in row else row["input"])
                work.submit(row, pixels, partial(self._record, row, attempts))
        spent = (time.process_time() - began_cpu) / len(rows)  # which image took it is not known
        return [record | {"cpu_seconds": spent} for record in made]

    def _is_done(self, batch: Any) -> list[bool]:
        """Tell of each image whether it is recorded, and its file is there."""
        recorded = np.isin(digests(batch["input"].to_pylist()), self.done)
        if "output" not in batch.column_names:
            return [bool(each) for each in recorded]
        outputs = batch["output"].to_pylist()
        return [
            bool(known) and Path(output).is_file() for known, output in zip(recorded, outputs, strict=True)
        ]

    def _record(self, row: Mapping[str, Any], attempts: Attempts) -> dict[str, Any]:
        """Restore one image; whatever goes wrong is recorded."""
        began, began_cpu, key = time.monotonic(), time.process_time(), row["input"]
        record: dict[str, Any] = {"input": key, "worker": self.name, "attempts": attempts.count}
        try:
            if key is None:
                raise ImageError("expected a name for every image, but one has none; give it one")
            if key in attempts.given_up:
                raise RlrestoreError("its worker died while it was restored; restore it alone to see why")
            attempts.take(key)
            record |= self._restore(row)
        except Exception as error:  # noqa: BLE001  # the other images go on
            foreseen = isinstance(error, RlrestoreError)
            words = " ".join(str(error).split())
            record["error"] = words if foreseen else f"unexpected {type(error).__name__}: {words}"
        spent = {"seconds": time.monotonic() - began, "cpu_seconds": time.process_time() - began_cpu}
        return record | spent

    def _restore(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """Restore one image, write its result, and return what to record of it."""
        key, output = row["input"], row.get("output")
        if "image" not in row:
            photo = read_photo(key)
        elif row["image"]:
            photo = decode_photo(io.BytesIO(row["image"]), shown(key))
        else:
            raise ImageError(f"expected the bytes of an image, but {shown(key)} has none")
        suffix = self.settings.suffix if output is None else Path(output).suffix.lower()
        check_holds(photo, suffix, shown(output or key))
        photo = replace(photo, notes=(*photo.notes, *fitted(photo, suffix)[1]))
        kept = {"keep_steps": False, "keep_original": False, "in_place": True}
        done = self.restorer.restore(photo, **{**self.settings.options, **kept})
        known = {"trace": json.dumps(done.trace.to_json()), "notes": list(photo.notes)}
        if output is None:
            return known | {"image": encode_photo(done.photo, suffix, shown(key), self.settings.quality)}
        Path(output).parent.mkdir(parents=True, exist_ok=True)
        write_photo(output, done.photo, self.settings.quality)
        return known | {"output": output}


def _read(batch: Any) -> Any:
    """Read the images of a batch from Parquet; the rows before them in their group are read past."""
    (part,) = batch.to_pylist()
    names = [part["key"], part["column"]]
    with pq.ParquetFile(part["file"]) as file:
        found = file.iter_batches(part["rows"], row_groups=[part["group"]], columns=names)
        table = next(islice(found, part["first"] // part["rows"], None))
    return pa.table({"input": table.column(names[0]), "image": table.column(names[1])})
