"""The records of a job, and a worker without a cluster: what is done, begun again, given up."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from rlrestore.distributed.records import Records, digests
from rlrestore.distributed.worker import Settings, Worker
from rlrestore.errors import UsageError
from rlrestore.imaging.io.files import read_photo
from tests.toys import save_toy


@pytest.fixture
def records(tmp_path: Path) -> Records:
    records = Records(tmp_path / "records")
    records.prepare({"model": "toy"})
    return records


@pytest.fixture
def make_worker(tmp_path: Path, records: Records) -> Callable[[], Worker]:
    """A worker with a model that brightens by 32 of 255; each call is one that has just been started."""
    model = save_toy(tmp_path / "toy", (0,))
    return lambda: Worker(Settings(str(model)), records, records.done(), 1)


def batch_of(folder: Path, names: str) -> Any:
    """A batch of grey files, each with the file of its result."""
    folder.mkdir(exist_ok=True)
    for name in names:
        Image.new("RGB", (16, 16), (100, 100, 100)).save(folder / f"{name}.png")
    files = [[str(folder / f"{name}{end}.png") for name in names] for end in ("", "_restored")]
    return pa.table({"input": files[0], "output": files[1]})


def rows(records: Records) -> dict[str, dict[str, Any]]:
    """What is recorded, by the image's name."""
    return {Path(row["input"]).stem: row for row in pq.read_table(records.folder).to_pylist()}


def die_at(monkeypatch: pytest.MonkeyPatch, deaths: dict[str, int]) -> list[str]:
    """Let a process end while it restores certain images, so many times; return which it tries."""
    tried: list[str] = []

    def read(path: str) -> Any:
        tried.append(Path(path).stem)
        if deaths.get(tried[-1], 0):
            deaths[tried[-1]] -= 1
            raise SystemExit("killed")
        return read_photo(path)

    monkeypatch.setattr("rlrestore.distributed.worker.read_photo", read)
    return tried


def test_a_batch_is_restored_and_recorded(
    make_worker: Callable[[], Worker], records: Records, tmp_path: Path
) -> None:
    """The toy's one step adds 0.125, of 255: 32."""
    statuses = make_worker()(batch_of(tmp_path / "in", "ab")).to_pylist()
    assert [(Path(each["input"]).stem, each["error"], each["attempts"]) for each in statuses] == [
        ("a", None, 1),
        ("b", None, 1),
    ]
    done = rows(records)
    assert set(done) == {"a", "b"}
    assert json.loads(done["a"]["trace"])["steps"][0]["tool"] == "brighten"
    with Image.open(done["a"]["output"]) as restored:
        assert set(np.unique(np.asarray(restored))) == {132}
    assert not list((records.folder / ".attempts").iterdir())


def test_a_broken_image_is_a_row_and_the_others_go_on(
    make_worker: Callable[[], Worker], records: Records, tmp_path: Path
) -> None:
    batch = batch_of(tmp_path / "in", "abc")
    (tmp_path / "in" / "b.png").write_bytes(b"no image")
    (tmp_path / "in" / "c.png").unlink()
    make_worker()(batch)
    done = rows(records)
    assert done["a"]["error"] is None
    assert "expected an image file" in done["b"]["error"]
    assert "c.png" in done["c"]["error"]
    assert done["b"]["output"] is done["b"]["trace"] is None


def test_what_is_done_is_left_out_and_what_failed_is_tried_again(
    make_worker: Callable[[], Worker], records: Records, tmp_path: Path
) -> None:
    """Of four images one is broken and repaired, and the result of one is removed: these two are done."""
    batch = batch_of(tmp_path / "in", "abcd")
    (tmp_path / "in" / "b.png").write_bytes(b"no image")
    make_worker()(batch)
    batch_of(tmp_path / "in", "b")
    (tmp_path / "in" / "c_restored.png").unlink()
    again = make_worker()(batch).to_pylist()
    assert [Path(each["input"]).stem for each in again] == ["b", "c"]
    assert not any(each["error"] for each in again)
    assert make_worker()(batch).num_rows == 0
    assert len(records.done()) == 4


def test_a_worker_that_dies_once_costs_nothing(
    make_worker: Callable[[], Worker], records: Records, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = batch_of(tmp_path / "in", "abc")
    tried = die_at(monkeypatch, {"b": 1})
    with pytest.raises(SystemExit, match="killed"):
        make_worker()(batch)
    assert {row["attempts"] for row in make_worker()(batch).to_pylist()} == {2}
    assert tried == ["a", "b", "a", "b", "c"]
    assert [row["error"] for row in rows(records).values()] == [None] * 3


def test_an_image_that_ends_its_workers_is_given_up_and_the_others_go_on(
    make_worker: Callable[[], Worker], records: Records, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two such in a batch of four: five workers begin it, the last one ends it."""
    batch = batch_of(tmp_path / "in", "abcd")
    die_at(monkeypatch, {"b": 99, "d": 99})
    for _ in range(3):
        with pytest.raises(SystemExit, match="killed"):
            make_worker()(batch)
    make_worker()(batch)
    done = rows(records)
    assert [done[name]["error"] is None for name in "abcd"] == [True, False, True, False]
    assert done["b"]["error"] == "its worker died while it was restored; restore it alone to see why"


def test_a_batch_that_is_done_twice_has_one_file(
    make_worker: Callable[[], Worker], records: Records, tmp_path: Path
) -> None:
    batch, first, second = batch_of(tmp_path / "in", "ab"), make_worker(), make_worker()
    first(batch)
    second(batch)
    assert len(list(records.folder.glob("*.parquet"))) == 1


def test_bytes_go_in_and_out(make_worker: Callable[[], Worker], records: Records, tmp_path: Path) -> None:
    """One image is none, one is missing: rows like the others."""
    batch_of(tmp_path / "in", "a")
    contents = [(tmp_path / "in" / "a.png").read_bytes(), b"none", None]
    make_worker()(pa.table({"input": ["x", "y", "z"], "image": pa.array(contents, pa.binary())}))
    done = rows(records)
    (tmp_path / "x.png").write_bytes(done["x"]["image"])
    with Image.open(tmp_path / "x.png") as restored:
        assert set(np.unique(np.asarray(restored))) == {132}
    assert "expected an image file" in done["y"]["error"]
    assert done["z"]["error"] == "expected the bytes of an image, but 'z' has none"
    assert done["y"]["image"] is None


def test_an_image_without_a_name_is_a_row_and_the_others_go_on(
    make_worker: Callable[[], Worker], records: Records, tmp_path: Path
) -> None:
    batch_of(tmp_path / "in", "a")
    content = (tmp_path / "in" / "a.png").read_bytes()
    batch = pa.table({"input": pa.array([None, "", "x"]), "image": [content] * 3})
    for restored in (2, 0):
        statuses = make_worker()(batch).to_pylist()
        assert sum(each["error"] is None for each in statuses) == restored
        assert [each["error"] for each in statuses if each["input"] is None] == [
            "expected a name for every image, but one has none; give it one"
        ]


def test_a_part_of_parquet_that_is_damaged_is_rows_and_the_others_go_on(
    make_worker: Callable[[], Worker], records: Records, tmp_path: Path
) -> None:
    """The first of two row groups is overwritten; a batch is of two images."""
    batch_of(tmp_path / "in", "a")
    content = (tmp_path / "in" / "a.png").read_bytes()
    source = tmp_path / "in.parquet"
    table = pa.table({"input": list("abcdef"), "image": [content] * 6})
    pq.write_table(table, source, row_group_size=3, compression="none", use_dictionary=False)
    begin = pq.read_metadata(source).row_group(0).column(0).data_page_offset
    damaged = bytearray(source.read_bytes())
    damaged[begin : begin + 40] = b"\xff" * 40
    source.write_bytes(damaged)
    failed = []
    for group, first in ((0, 0), (0, 2), (1, 0), (1, 2)):
        part = {
            "file": str(source),
            "group": group,
            "first": first,
            "rows": 2,
            "key": "input",
            "column": "image",
        }
        failed.append(
            [each["error"] is not None for each in make_worker()(pa.Table.from_pylist([part])).to_pylist()]
        )
    assert failed == [[True, True], [True], [False, False], [False]]
    errors = [row["error"] for row in pq.read_table(records.folder).to_pylist() if row["error"] is not None]
    assert len(errors) == 3
    assert all(
        line.startswith("expected Parquet, but the part of the file cannot be read (") for line in errors
    )


def test_records_of_another_job_are_refused(records: Records) -> None:
    records.prepare({"model": "toy"})
    records.begin(["a.png"], "host:1")
    with pytest.raises(
        UsageError, match=r"another job \(model 'toy', now 'default'\).*choose another output"
    ):
        records.prepare({"model": "default"})


def test_a_job_that_never_began_binds_nobody(records: Records) -> None:
    """As one that no machine had room for; the next command line counts."""
    records.prepare({"device": "cuda"})
    records.prepare({"device": "cpu"})
    records.begin(["a.png"], "host:1")
    with pytest.raises(UsageError, match=r"another job \(device 'cpu', now 'cuda'\)"):
        records.prepare({"device": "cuda"})


def test_a_job_file_of_something_else_is_named(records: Records) -> None:
    records.begin(["a.png"], "host:1")
    (records.folder / "_job.json").write_text("[]")
    with pytest.raises(UsageError, match=r"expected a JSON object in _job\.json, got \[\]"):
        records.prepare({"model": "toy"})


def test_a_damaged_record_is_named(records: Records) -> None:
    (records.folder / "a.parquet").write_bytes(b"PAR1 cut")
    with pytest.raises(UsageError, match=r"a\.parquet' is no record .*remove it, and go on"):
        records.done()


def test_digests_are_found_again_whatever_they_end_with() -> None:
    """NumPy drops zero bytes at the end of such strings; that makes no difference here."""
    keys = [f"{number}" for number in range(3000)]
    known = np.unique(digests(keys[::2]))
    assert any(len(digest) < 16 for digest in known)
    assert np.isin(digests(keys), known).tolist() == [number % 2 == 0 for number in range(3000)]


def test_a_batch_is_read_from_its_place_in_parquet(
    make_worker: Callable[[], Worker], records: Records, tmp_path: Path
) -> None:
    """Nine rows in groups of five and four, in batches of two: the first, one of one row, the last."""
    batch_of(tmp_path / "in", "a")
    content = (tmp_path / "in" / "a.png").read_bytes()
    table = pa.table({"name": list("abcdefghi"), "file": [content] * 9, "more": list(range(9))})
    pq.write_table(table, tmp_path / "in.parquet", row_group_size=5)
    worker = make_worker()
    for group, first, expected in ((0, 0, "ab"), (0, 4, "e"), (1, 2, "hi")):
        part = {"file": [str(tmp_path / "in.parquet")], "group": [group], "first": [first], "rows": [2]}
        done = worker(pa.table({**part, "key": ["name"], "column": ["file"]})).to_pylist()
        assert [row["input"] for row in done] == list(expected)
    assert all(row["image"] for row in rows(records).values())
