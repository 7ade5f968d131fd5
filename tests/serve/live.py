"""A server in a thread of the test's own process, and a client for it."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import httpx
import uvicorn

from rlrestore.restorer import Restorer
from rlrestore.serve.app import create_app
from rlrestore.serve.bounds import Bounds
from rlrestore.serve.running import listen, make_server, url
from tests.patience import PATIENCE_S, comes, is_closed


@dataclass(frozen=True)
class Live:
    """A server that runs: where, and how it is told to stop."""

    url: str
    server: uvicorn.Server
    client: httpx.Client

    @property
    def port(self) -> int:
        """Where it listens, on 127.0.0.1."""
        return int(self.url.rsplit(":", maxsplit=1)[1])

    def restore(self, content: bytes, name: str = "photo.png", **fields: str) -> httpx.Response:
        """Send a file, and get the picture."""
        return self.client.post("/api/restore", files={"file": (name, content)}, data=fields)

    def keep(self, content: bytes, name: str = "photo.png", **fields: str) -> httpx.Response:
        """Send a file, and get JSON."""
        headers = {"Accept": "application/json"}
        return self.client.post("/api/restore", files={"file": (name, content)}, data=fields, headers=headers)

    def wait(self, requests: int) -> None:
        """Wait until so many requests are in the line."""
        assert comes(lambda: self.client.get("/healthz").json()["requests"] == requests)

    def stop(self) -> None:
        """Tell the server to stop, and wait until it takes on nothing more."""
        self.server.should_exit = True
        assert comes(lambda: is_closed(self.port))


@contextmanager
def live(
    restorer: Restorer, bounds: Bounds | None = None, host: str = "127.0.0.1", names: tuple[str, ...] = ()
) -> Iterator[Live]:
    """Run a server for as long as the block lasts; it listens on 127.0.0.1, whatever it thinks."""
    listening = listen("127.0.0.1", 0)
    server = make_server(create_app(restorer, bounds, host, names))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    address = url(listening)
    try:
        with httpx.Client(base_url=address, timeout=PATIENCE_S, trust_env=False) as client:
            yield Live(address, server, client)
    finally:
        server.should_exit = True
        thread.join()
        listening.close()
