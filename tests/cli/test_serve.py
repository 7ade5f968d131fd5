"""`rlrestore serve` as a person runs it."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
import pytest

from rlrestore.cli.main import main
from rlrestore.serve.running import listen, url
from tests.patience import PATIENCE_S, comes, is_closed
from tests.serve.conftest import png
from tests.toys import save_toy


def test_a_port_in_use_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with listen("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        assert main(["serve", "--port", str(port)]) == 2
    line = f"expected a free port, but {port} on 127.0.0.1 is in use; choose another with --port"
    assert capsys.readouterr().err == f"rlrestore: error: {line}\n"


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--host", "203.0.113.9"], "expected to listen on 203.0.113.9, port 8000"),
        (["--host", "no such host"], "expected an address of this machine as --host, got 'no such host'"),
        (["--port", "0", "--model", "nowhere"], "no model 'nowhere'"),
    ],
)
def test_wrong_usage_is_one_line(capsys: pytest.CaptureFixture[str], arguments: list[str], line: str) -> None:
    assert main(["serve", *arguments]) == 2
    told = capsys.readouterr().err
    assert line in told
    assert told.count("\n") == 1


def test_a_missing_extra_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "python_multipart", None)
    assert main(["serve"]) == 2
    assert (
        "pip install -c constraints.txt '.[serve]' in the folder of rlrestore's source"
        in capsys.readouterr().err
    )


@pytest.mark.parametrize("port", ["-1", "65536", "http"])
def test_a_wrong_port_is_told(capsys: pytest.CaptureFixture[str], port: str) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["serve", f"--port={port}"])
    assert f"expected a port from 0 to 65535, got '{port}'" in capsys.readouterr().err


def test_the_address_is_one_that_a_browser_takes() -> None:
    with listen("0.0.0.0", 0) as everywhere:  # noqa: S104  # nothing answers there
        assert url(everywhere) == f"http://127.0.0.1:{everywhere.getsockname()[1]}"


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGTERM")
def test_sigterm_finishes_what_is_running(tmp_path: Path) -> None:
    """Half of an upload has come when it is told to end; it waits for the other half, and answers."""
    model, sent = save_toy(tmp_path / "toy", [0, 1]), threading.Event()
    picture = png(np.full((24, 32, 3), 100, np.uint8))
    request = httpx.Request("POST", "http://any", files={"file": ("a.png", picture)})
    whole = request.read()

    def slowly() -> Iterator[bytes]:
        yield whole[:100]
        assert sent.wait(PATIENCE_S)
        yield whole[100:]

    command = [sys.executable, "-m", "rlrestore", "serve", "--port", "0", "--model", str(model)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        address = server.stdout.readline().split()[3]
        with (
            httpx.Client(base_url=address, timeout=PATIENCE_S, trust_env=False) as client,
            ThreadPoolExecutor(1) as other,
        ):
            kind = {"Content-Type": request.headers["content-type"]}
            answer = other.submit(client.post, "/api/restore", content=slowly(), headers=kind)
            assert comes(lambda: client.get("/healthz").json()["requests"] == 1)
            server.send_signal(signal.SIGTERM)
            assert comes(lambda: is_closed(int(address.rsplit(":", 1)[1])))
            sent.set()
            assert answer.result().status_code == 200
        _, told = server.communicate(timeout=PATIENCE_S)

    assert (server.returncode, told) == (0, "rlrestore: finished what was running, and ended\n")
