"""What the server refuses: foreign pages, too much, too many, too slow."""

import json
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from rlrestore.serve.bounds import Bounds, RefusedError
from rlrestore.serve.shelf import Shelf
from tests.patience import PATIENCE_S
from tests.serve.conftest import png
from tests.serve.live import Live, live
from tests.serve.stubs import Gated, Patient
from tests.toys import make_restorer

SMALL = Bounds(megabytes=0.2, megapixels=0.002, waiting=1)


@pytest.fixture(scope="module")
def small() -> Iterator[Live]:
    with live(make_restorer([0]), SMALL) as running:
        yield running


@pytest.fixture
def gated() -> Iterator[tuple[Live, Gated]]:
    restorer = Gated()
    with live(restorer, Bounds(waiting=1)) as running:
        yield running, restorer
        restorer.gate.set()


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "192.168.1.7", "[", ""])
def test_a_foreign_host_is_refused(toy: Live, host: str) -> None:
    answer = toy.client.get("/healthz", headers={"Host": host})
    assert answer.status_code == 403
    assert "own names as Host" in answer.json()["error"]


@pytest.mark.parametrize("host", ["localhost", "localhost:9000", "127.0.0.1", "[::1]:8000", "LOCALHOST"])
def test_its_own_names_are_served(toy: Live, host: str) -> None:
    assert toy.client.get("/healthz", headers={"Host": host}).status_code == 200


def test_a_server_for_the_network_is_reached_by_any_address_and_by_the_names_it_was_given() -> None:
    with live(make_restorer([]), host="0.0.0.0", names=("NAS.local",)) as everywhere:  # noqa: S104
        answers = {
            host: everywhere.client.get("/healthz", headers={"Host": host}).status_code
            for host in ("192.168.1.7:8000", "[fe80::1]", "nas.local", "localhost", "evil.example")
        }
    assert list(answers.values()) == [200, 200, 200, 200, 403]


@pytest.mark.parametrize(
    "origin", ["http://[", "http://evil.example", "null", "http://127.0.0.1:1", "http://localhost"]
)
def test_a_foreign_origin_is_refused(toy: Live, grey: bytes, origin: str) -> None:
    answer = toy.client.post("/api/restore", files={"file": grey}, headers={"Origin": origin})
    assert (answer.status_code, "own page" in answer.json()["error"]) == (403, True)
    own = {"Origin": f"http://127.0.0.1:{toy.port}"}
    assert toy.client.post("/api/restore", files={"file": grey}, headers=own).status_code == 200


def test_an_upload_over_the_bound_is_refused_with_and_without_its_length(
    small: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rlrestore.serve.body.DRAIN_S", PATIENCE_S)  # a client that sends slowly is answered
    large = b"0" * 300_000
    told = small.restore(large)

    def parts() -> Iterator[bytes]:
        yield b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.png"\r\n\r\n'
        yield from (large[:50_000] for _ in range(6))

    form = {"Content-Type": "multipart/form-data; boundary=x"}
    untold = small.client.post("/api/restore", content=parts(), headers=form)

    line = {"error": "expected at most 0.2 megabytes, got more; send a smaller file"}
    assert (told.status_code, told.json()) == (413, line)
    assert (untold.status_code, untold.json()) == (413, line)
    assert small.client.post("/api/zip", content=large).status_code == 413


def test_too_many_pixels_are_refused_from_the_header(small: Live) -> None:
    for sides, megapixels in (((100, 200), "0.02"), ((23, 87), "0.002001")):
        answer = small.restore(png(np.zeros((*sides, 3), np.uint8)))
        assert answer.status_code == 422
        assert answer.json()["error"] == (
            f"expected at most 0.002 megapixels, but 'photo.png' has {megapixels}; make it smaller"
        )


def test_an_upload_that_stalls_is_refused() -> None:
    with (
        live(make_restorer([0]), Bounds(idle_seconds=0.1)) as hasty,
        socket.create_connection(("127.0.0.1", hasty.port), timeout=PATIENCE_S) as stalled,
    ):
        stalled.sendall(_begun_upload(hasty.port))
        assert stalled.recv(1000).startswith(b"HTTP/1.1 408")


def _begun_upload(port: int) -> bytes:
    return (
        f"POST /api/restore HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Length: 9000\r\n"
        "Content-Type: multipart/form-data; boundary=x\r\n\r\n--x\r\n"
    ).encode()


def test_a_client_that_hangs_up_half_way_leaves_no_trace(
    toy: Live, grey: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    with socket.create_connection(("127.0.0.1", toy.port)) as leaving:
        leaving.sendall(_begun_upload(toy.port))
        toy.wait(1)
    toy.wait(0)
    assert toy.restore(grey).status_code == 200
    assert caplog.messages == []


def test_a_full_line_is_told_and_the_place_in_it(gated: tuple[Live, Gated], grey: bytes) -> None:
    server, restorer = gated
    with ThreadPoolExecutor(2) as others:
        first = others.submit(server.restore, grey)
        assert restorer.begun.wait(PATIENCE_S)
        second = others.submit(server.client.post, "/api/restore?job=mine", files={"file": grey})
        server.wait(2)
        refused = server.restore(grey)
        progress = server.client.get("/api/jobs/mine").json()
        restorer.gate.set()

        assert (refused.status_code, refused.headers["retry-after"]) == (429, "5")
        assert (
            refused.json()["error"] == "expected at most 2 requests at a time for restoring; try again soon"
        )
        assert progress["state"] == "waiting"
        assert progress["before"] == 1
        assert first.result().status_code == second.result().status_code == 200
    assert server.client.get("/api/jobs/mine").status_code == 404


def test_a_request_that_takes_too_long_is_told_and_holds_its_place_till_it_ends(grey: bytes) -> None:
    """Of the five seconds a picture of a few bytes needs hardly any before its work has begun."""
    restorer = Gated()
    with live(restorer, Bounds(waiting=1, seconds=5)) as server:
        late = server.restore(grey)
        held = server.client.get("/healthz").json()["requests"]
        restorer.gate.set()
        server.wait(0)

    assert restorer.begun.is_set()
    assert (late.status_code, held) == (503, 1)
    assert "expected an answer within 5 s" in late.json()["error"]


def test_who_hangs_up_while_waiting_is_not_worked_for(gated: tuple[Live, Gated], grey: bytes) -> None:
    server, restorer = gated
    with ThreadPoolExecutor(1) as other:
        first = other.submit(server.restore, grey)
        assert restorer.begun.wait(PATIENCE_S)
        with socket.create_connection(("127.0.0.1", server.port)) as leaving:
            body = (
                b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
                + grey
                + b"\r\n--x--"
            )
            leaving.sendall(_begun_upload(server.port)[:-5].replace(b"9000", str(len(body)).encode()) + body)
            server.wait(2)
        server.wait(1)
        restorer.gate.set()
        assert first.result().status_code == 200


def test_who_hangs_up_ends_the_work_that_was_begun_for_it(grey: bytes) -> None:
    patient = Patient()
    with live(patient) as server:
        form = {"file": ("a.png", grey)}
        request = server.client.build_request("POST", "/api/restore?job=mine", files=form)
        body = request.read()
        kind = request.headers["content-type"]
        head = f"Host: 127.0.0.1\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}"
        with socket.create_connection(("127.0.0.1", server.port)) as leaving:
            leaving.sendall(f"POST /api/restore?job=mine HTTP/1.1\r\n{head}\r\n\r\n".encode() + body)
            assert patient.begun.wait(PATIENCE_S)
            progress = server.client.get("/api/jobs/mine").json()
        assert patient.cancelled.wait(PATIENCE_S)
        server.wait(0)

    assert (progress["state"], progress["share"]) == ("working", 0.5)


@pytest.mark.parametrize(("views", "known"), [("1", True), ("2", False)])
def test_how_long_it_takes_is_told_by_others_of_its_kind(
    gated: tuple[Live, Gated], grey: bytes, views: str, known: bool
) -> None:
    """More views take longer, so one view tells nothing of two."""
    server, restorer = gated
    restorer.gate.set()
    assert server.restore(grey).status_code == 200
    restorer.gate.clear()
    restorer.begun.clear()
    with ThreadPoolExecutor(1) as other:
        address, options = "/api/restore?job=mine", {"views": views}
        running = other.submit(server.client.post, address, files={"file": grey}, data=options)
        assert restorer.begun.wait(PATIENCE_S)
        expected_s = server.client.get("/api/jobs/mine").json()["expected_s"]
        restorer.gate.set()
        assert running.result().status_code == 200
    assert (expected_s is not None) == known


def test_stopping_finishes_what_is_running(gated: tuple[Live, Gated], grey: bytes) -> None:
    server, restorer = gated
    with ThreadPoolExecutor(1) as other:
        running = other.submit(server.restore, grey)
        assert restorer.begun.wait(PATIENCE_S)
        server.stop()
        restorer.gate.set()
        assert running.result().status_code == 200


def test_uploads_stay_in_memory(toy: Live, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "there is no such folder"))
    noise = np.random.default_rng(0).integers(0, 256, (600, 600, 3), np.uint8)
    assert toy.restore(png(noise, compress_level=0), max_steps="1").status_code == 200  # a megabyte


class Box:
    """So many bytes."""

    def __init__(self, nbytes: int) -> None:
        self.nbytes = nbytes


def test_the_oldest_results_make_room() -> None:
    shelf: Shelf[Box] = Shelf(100, 3600)
    first, second = shelf.put(Box(40)), shelf.put(Box(40))
    assert shelf.get(first).nbytes == 40  # so the second is the oldest now
    third = shelf.put(Box(60))
    assert (first in shelf, second in shelf, third in shelf) == (True, False, True)
    with pytest.raises(RefusedError, match="404"):
        shelf.get(second)
    alone = shelf.put(Box(500))
    assert (len(shelf), alone in shelf) == (1, True)


def test_results_are_dropped_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten seconds after they were last asked for."""
    now = [1000.0]
    monkeypatch.setattr("rlrestore.serve.shelf.time", SimpleNamespace(monotonic=lambda: now[0]))
    shelf: Shelf[Box] = Shelf(100, 10)
    first, second = shelf.put(Box(1)), shelf.put(Box(1))
    now[0] += 8
    shelf.get(second)
    now[0] += 3
    assert (first in shelf, second in shelf) == (False, True)
    now[0] += 8
    assert len(shelf) == 1
    assert second not in shelf


def test_refusals_are_plain_json(toy: Live) -> None:
    for path in ("/nowhere", "/api/restore", "/static/../app.py", "/api/jobs/none"):
        answer = toy.client.get(path)
        assert answer.status_code in (404, 405)
        assert set(json.loads(answer.content)) == {"error"}
