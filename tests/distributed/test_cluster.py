"""Jobs on a local cluster: a broken image, a worker that is killed, what was done before; what is refused."""

import json
import os
import signal
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import ray
from PIL import Image

from rlrestore.cli.main import main
from rlrestore.distributed import Outcome, Pool, Settings, restore_files, restore_parquet
from rlrestore.distributed.cluster import cause_of
from rlrestore.distributed.records import Records
from rlrestore.distributed.worker import Worker
from rlrestore.errors import DataError, UsageError
from rlrestore.runtime.device_queue import DeviceQueue
from tests.patience import PATIENCE_S, comes
from tests.toys import save_toy

pytestmark = pytest.mark.filterwarnings("ignore")  # Ray's own
COUNT = 12
ONE = ("--workers", "1", "--batch", "2")
"""More batches than a worker has in hand at a time."""
SLOW_STARTS = (
    "RAY_gcs_server_port_wait_time_s",
    "RAY_gcs_server_request_timeout_seconds",
    "RAY_raylet_start_wait_time_s",
    "RAY_worker_register_timeout_seconds",
)
"""What tells the parts of Ray for how many seconds they wait for one another when they start."""
USUAL: dict[str, Any] = {
    "mode": "global",
    "max_steps": None,
    "only": [],
    "never": [],
    "views": 1,
    "strength": 1.0,
    "detail": 0.0,
}
"""What the command asks for by itself."""


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    """A cluster of this machine, of one core to share."""
    os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_worker_niceness": "0"}  # workers else wait for others
    os.environ |= dict.fromkeys(SLOW_STARTS, str(PATIENCE_S))
    ray.init(address="local", num_cpus=1, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    yield
    ray.shutdown()


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that adds 32 of 255."""
    return save_toy(tmp_path_factory.mktemp("models") / "toy", (0,))


@pytest.fixture
def sources(tmp_path: Path) -> list[Path]:
    """So many grey files, the sixth of which is broken."""
    (tmp_path / "in").mkdir()
    paths = [tmp_path / "in" / f"{number:02}.png" for number in range(COUNT)]
    for number, path in enumerate(paths):
        Image.new("RGB", (16, 16), (number,) * 3).save(path)
    paths[5].write_bytes(b"no image")
    return paths


def rows(folder: Path) -> list[dict[str, Any]]:
    return [row for path in sorted(folder.glob("*.parquet")) for row in pq.read_table(path).to_pylist()]


def mortal(killed: Path) -> type[Worker]:
    """Return the class of workers of which the first is killed at its ninth image, once it has begun it."""

    class Mortal(Worker):
        def _restore(self, row: Mapping[str, Any]) -> dict[str, Any]:
            if Path(row["input"]).stem == "08" and not killed.exists():
                killed.touch()
                os.kill(os.getpid(), signal.SIGKILL)
            return super()._restore(row)

    return Mortal


@pytest.mark.usefixtures("cluster")
def test_nothing_is_lost_when_a_worker_is_killed(
    sources: list[Path],
    model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """All but the broken image are restored, in files. Other options are refused where these results are."""
    out = tmp_path / "out"
    monkeypatch.setattr("rlrestore.distributed.cluster.Worker", mortal(tmp_path / "killed"))
    command = ["distribute", str(tmp_path / "in"), "-o", str(out), "--model", str(model), *ONE]
    assert main(command) == 1
    said = capsys.readouterr().err
    assert f"{COUNT - 1} of {COUNT} images restored, 1 failed, " in said
    assert "2 begun again after a worker died" in said
    found = rows(out / "records.parquet")
    assert sorted(row["input"] for row in found) == [str(path) for path in sources]
    assert [Path(row["input"]).stem for row in found if row["error"]] == ["05"]
    assert len({row["worker"] for row in found}) == 2
    assert len(list(out.glob("*_restored.png"))) == COUNT - 1
    for number in (*range(5), *range(6, COUNT)):
        with Image.open(out / f"{number:02}_restored.png") as restored:
            assert set(np.unique(np.asarray(restored))) == {number + 32}
    assert main([*command, "--strength", "0.5"]) == 2
    assert "records of another job (options" in capsys.readouterr().err


@pytest.mark.parametrize("died", [False, True])
def test_on_a_device_the_images_of_a_batch_are_restored_together(
    died: bool, sources: list[Path], model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The processor stands for the device. Where a worker died they are restored one by one."""
    batch = pa.table({"input": [*map(str, sources)], "image": [path.read_bytes() for path in sources]})
    settings, together = Settings(str(model), options=USUAL), list[int]()
    launch = DeviceQueue._launch

    def count(queue: DeviceQueue, calls: Sequence[Any]) -> None:
        if len(calls) == 1 and not together and not died:
            comes(lambda: len(queue._waiting) >= 2)
        together.append(len(calls))
        launch(queue, calls)

    found = []
    for device in ("cpu", "cuda"):
        records = Records(tmp_path / device)
        records.prepare(settings.to_json())
        worker = Worker(settings, records, records.done(), 4)
        worker.restorer.runtime.device = device
        if died:
            records.begin(batch["input"].to_pylist(), "one that died")
        worker(batch)
        found.append(rows(tmp_path / device))
        monkeypatch.setattr(DeviceQueue, "_launch", count)
        monkeypatch.setattr("rlrestore.runtime.torch_runtime.queue_of", DeviceQueue)
    assert (max(together) > 1) == (not died)
    names = ("input", "image", "error", "attempts")
    alone, beside = ([tuple(row[name] for name in names) for row in each] for each in found)
    assert alone == beside
    assert [Path(row[0]).stem for row in beside] == [f"{number:02}" for number in range(COUNT)]
    assert [Path(row[0]).stem for row in beside if row[2]] == ["05"]
    assert all(row["cpu_seconds"] > 0 for row in found[1])


@pytest.mark.usefixtures("cluster")
def test_parquet_goes_in_and_out(
    sources: list[Path], model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two files of half the images each, two of which were done before; it says which image failed."""
    source, out = tmp_path / "in.parquet", tmp_path / "out.parquet"
    names, files = [path.stem for path in sources], [path.read_bytes() for path in sources]
    table = pa.table({"name": names, "file": files})
    source.mkdir()
    for half in range(2):
        pq.write_table(table.slice(half * COUNT // 2, COUNT // 2), source / f"{half}.parquet")
    settings, records = Settings(str(model), suffix=".jpg", quality=90, options=USUAL), Records(out)
    records.prepare(settings.to_json())
    Worker(settings, records, records.done(), 1)(pa.table({"input": names[:2], "image": files[:2]}))
    command = ["distribute", str(source), "-o", str(out), "--model", str(model), *ONE]
    assert main([*command, "--key", "name", "--image", "file", "--format", "jpg", "--quality", "90"]) == 1
    said = capsys.readouterr().err
    assert "error: '05': expected an image file" in said
    assert f"{COUNT - 3} of {COUNT} images restored, 2 done before, 1 failed" in said
    found = {row["input"]: row for row in pq.read_table(out).to_pylist()}
    assert set(found) == {path.stem for path in sources}
    assert found["07"]["image"].startswith(b"\xff\xd8")
    assert json.loads(found["07"]["trace"])["steps"][0]["tool"] == "brighten"
    assert found["05"]["image"] is None


@pytest.mark.usefixtures("cluster")
@pytest.mark.parametrize(
    ("pool", "message"),
    [
        (
            Pool(gpus=1),
            r"expected a machine with 1 cores and 1 GPUs .* has 1 and 0: ask for less, or start Ray",
        ),
        (Pool(cpus=64), "expected a machine with 64 cores and 0 GPUs"),
    ],
)
def test_what_no_machine_has_room_for_is_refused(
    sources: list[Path], tmp_path: Path, pool: Pool, message: str
) -> None:
    """Ray would wait for such a machine for ever."""
    with pytest.raises(UsageError, match=message):
        restore_files(sources, None, tmp_path / "records", pool=pool)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (
            ("name", "image"),
            r"expected a column of bytes \(binary\) 'image' in .*, got none among name, file",
        ),
        (("file", "file"), r"expected a column of names \(string\) 'file' in .*, got binary"),
    ],
)
def test_columns_that_are_not_there_are_named(tmp_path: Path, columns: tuple[str, str], message: str) -> None:
    pq.write_table(pa.table({"name": ["a"], "file": [b"x"]}), tmp_path / "in.parquet")
    with pytest.raises(DataError, match=message):
        restore_parquet(tmp_path / "in.parquet", tmp_path / "out", None, None, None, *columns)


def test_a_file_that_is_no_parquet_is_named(tmp_path: Path) -> None:
    """The second file is cut."""
    pq.write_table(pa.table({"input": ["a"], "image": [b"x"]}), tmp_path / "a.parquet")
    (tmp_path / "b.parquet").write_bytes(b"PAR1 cut")
    with pytest.raises(DataError, match=r"expected Parquet in .*b\.parquet', got: "):
        restore_parquet(tmp_path, tmp_path / "out")


def test_every_file_must_have_the_columns(tmp_path: Path) -> None:
    """Else a worker would find out, and end the job."""
    pq.write_table(pa.table({"input": ["a"], "image": [b"x"]}), tmp_path / "a.parquet")
    pq.write_table(pa.table({"id": ["a"], "image": [b"x"]}), tmp_path / "b.parquet")
    with pytest.raises(DataError, match=r"in .*b\.parquet', got none among id, image"):
        restore_parquet(tmp_path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_folder_without_parquet_is_named(tmp_path: Path) -> None:
    (tmp_path / "none.parquet").mkdir()
    with pytest.raises(DataError, match=r"expected files of Parquet in .*, but it has none"):
        restore_parquet(tmp_path / "none.parquet", tmp_path / "out")


def test_where_there_is_no_cluster_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def init(**_: object) -> None:
        raise ConnectionError("nobody answers")

    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", init)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    for pool, place in ((Pool(), "this machine"), (Pool(address="ray://far:10001"), "ray://far:10001")):
        with pytest.raises(UsageError, match=f"a Ray cluster at {place}, got: nobody answers; start one"):
            restore_files([tmp_path / "a.png"], None, tmp_path / "out", pool=pool)


def test_workers_are_told_the_model_by_its_whole_path_and_the_precision(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An exported model, too, by a path that begins here."""
    asked: list[Settings] = []

    def note(sources: object, outputs: object, records: object, settings: Settings, *_: object) -> Outcome:
        asked.append(settings)
        return Outcome(0)

    monkeypatch.setattr("rlrestore.distributed.restore_files", note)
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (16, 16)).save("a.png")
    assert main(["export", str(save_toy(tmp_path / "toy", (0,))), "--out", "exported"]) == 0
    command = ["distribute", "a.png", "-o", "out", "--precision", "float32"]
    assert main([*command, "--model", "exported", "--only", "brighten"]) == 0
    assert main(command) == 0
    assert [each.model for each in asked] == [str(tmp_path / "exported"), "default"]
    assert [each.to_json()["precision"] for each in asked] == ["float32", "float32"]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["a.parquet", "-o", "out"], "write -o NAME.parquet"),
        (["a.png", "a.parquet", "-o", "out"], "write -o NAME.parquet"),
        (["a.png", "-o", "out", "--quality", "90"], "--quality goes with jpg, avif and webp, not with png"),
        (["a.png", "-o", "out", "--only", "nothing"], "nothing"),
        (["a.png", "-o", "out", "--model", "none"], "none"),
        (["a.png", "-o", "out"], "'a.png' does not exist"),
        (["a.parquet", "-o", "b.parquet"], "'a.parquet' does not exist; check the path"),
        (["a.parquet", "-o", "./a.parquet"], "would lie among the images of a.parquet: choose another --out"),
        (["a.parquet", "-o", "a.parquet/b.parquet"], "would lie among the images of a.parquet"),
        (["b.parquet/a.parquet", "-o", "b.parquet"], "would lie among the images of b.parquet/a.parquet"),
    ],
)
def test_wrong_usage_is_told_before_a_cluster_is_asked_for(
    more: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["distribute", *more]) == 2
    assert message in capsys.readouterr().err


def test_of_an_error_of_rays_the_line_that_says_why_is_shown() -> None:
    text = """ray::MapWorker(MapBatches(Worker)).submit()
  File "worker.py", line 1, in __call__
AttributeError: 'NoneType' object has no attribute 'encode'
To change retry attempts, configure DataContext."""
    assert cause_of(RuntimeError(text)) == "AttributeError: 'NoneType' object has no attribute 'encode'"
    assert cause_of(RuntimeError("The actor died.\nIts node is gone.")) == "Its node is gone."
    assert cause_of(RuntimeError()) == "RuntimeError"
