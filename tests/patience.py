"""Waiting for what must come, however slow the machine is: only a fault makes a test wait to the end."""

import socket
import time
from collections.abc import Callable

PATIENCE_S = 300
"""How long a test waits for what comes at once on a machine that has nothing else to do."""


def comes(there: Callable[[], object]) -> bool:
    """Wait until something is there; return False if it never comes."""
    until = time.monotonic() + PATIENCE_S
    while not there():
        if time.monotonic() > until:
            return False
        time.sleep(0.01)
    return True


def is_closed(port: int) -> bool:
    """Return whether nothing listens at a port of this machine."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S).close()
    except ConnectionRefusedError:
        return True
    except ConnectionError:  # it is closing just now
        pass
    return False
