"""Listening, and serving until told to stop."""

import contextlib
import errno
import os
import socket

import uvicorn
from fastapi import FastAPI

from rlrestore.errors import UsageError

BACKLOG = 128


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens, so that a port in use is told before a model is read.

    Args:
        host: An address or a name of this machine.
        port: 0 for any that is free.

    Raises:
        UsageError: The port is in use or not allowed, or the address is not this machine's.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listening = socket.socket(family, kind, protocol)
    except OSError as error:
        raise UsageError(f"expected an address of this machine as --host, got {host!r} ({error})") from error
    try:
        if os.name == "posix":  # elsewhere it would let two servers share a port
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen(BACKLOG)
    except OSError as error:
        listening.close()
        if error.errno == errno.EADDRINUSE:
            raise UsageError(
                f"expected a free port, but {port} on {host} is in use; choose another with --port"
            ) from error
        raise UsageError(
            f"expected to listen on {host}, port {port}, but that failed ({error.strerror}); "
            "choose another with --host and --port"
        ) from error
    return listening


def url(listening: socket.socket) -> str:
    """Return where a socket is reached from this machine."""
    host, port = listening.getsockname()[:2]
    name = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)  # noqa: S104
    return f"http://{name}:{port}"


def make_server(app: FastAPI) -> uvicorn.Server:
    """Return a server that finishes what it has begun when it is told to stop."""
    return uvicorn.Server(
        uvicorn.Config(
            app,
            log_config=None,
            log_level="warning",
            access_log=False,
            server_header=False,
            loop="asyncio",
            http="h11",
            ws="none",
            lifespan="on",
        )
    )


def serve(app: FastAPI, listening: socket.socket) -> None:
    """Serve until SIGTERM or Ctrl-C; then finish what is running, and take on nothing more."""
    with listening, contextlib.suppress(KeyboardInterrupt):  # which is raised once all is finished
        make_server(app).run(sockets=[listening])
