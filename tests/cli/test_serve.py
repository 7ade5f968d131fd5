"""`rlrestore serve` as a person runs it."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx
import numpy as np
import pytest

from rlrestore.cli.main import main
from rlrestore.serve.running import listen, url
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
    model = save_toy(tmp_path / "toy", [0, 1])
    picture = png(np.random.default_rng(0).integers(0, 256, (700, 700, 3), np.uint8))
    command = [sys.executable, "-m", "rlrestore", "serve", "--port", "0", "--model", str(model)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        address = server.stdout.readline().split()[3]
        answers: list[httpx.Response] = []
        send = lambda: answers.append(  # noqa: E731
            httpx.post(f"{address}/api/restore", files={"file": picture}, timeout=60, trust_env=False)
        )
        sending = threading.Thread(target=send)
        sending.start()
        while httpx.get(f"{address}/healthz", trust_env=False).json()["requests"] == 0:
            assert sending.is_alive()
            time.sleep(0.01)
        server.send_signal(signal.SIGTERM)
        sending.join()
        _, told = server.communicate(timeout=30)

    assert [answer.status_code for answer in answers] == [200]
    assert (server.returncode, told) == (0, "rlrestore: finished what was running, and ended\n")
    with pytest.raises(ConnectionRefusedError, match="refused"):
        socket.create_connection(("127.0.0.1", int(address.rsplit(":", 1)[1])))
