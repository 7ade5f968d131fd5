"""Who may talk to the server: pages of its own, by a name of its own.

A page from elsewhere that is open in the same browser must not use the server, neither directly (its `Origin`
is foreign) nor by a name of its own that it lets point here (DNS rebinding: the `Host` is foreign).
"""

import ipaddress
import logging
import socket
from collections.abc import Iterable
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})

SAFE_HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}
"""Of every answer: a page of ours loads nothing from elsewhere, and no page from elsewhere shows ours."""

_logger = logging.getLogger(__name__)


class Access:
    """Lets through what is asked of the server by one of its own names and from its own pages."""

    def __init__(self, app: ASGIApp, host: str, names: Iterable[str] = ()) -> None:
        """Stand before an application.

        Args:
            app: What answers.
            host: The address that the server listens on.
            names: Further names that it is reached by.
        """
        self._app = app
        self._names = {host.lower(), *(name.lower() for name in names)}
        address = _address(host)
        self._anywhere = address is not None and address.is_unspecified
        if host.lower() in LOOPBACK_NAMES or self._anywhere or (address is not None and address.is_loopback):
            self._names |= LOOPBACK_NAMES
        if self._anywhere:
            self._names.add(socket.gethostname().lower())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or pass it on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun = False

        async def send_safely(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                safe = [(name.encode(), value.encode()) for name, value in SAFE_HEADERS.items()]
                message = {**message, "headers": [*message.get("headers", ()), *safe]}
            await send(message)

        why = self._foreign(Headers(scope=scope))
        if why:
            await JSONResponse({"error": why}, 403)(scope, receive, send_safely)
            return
        try:
            await self._app(scope, receive, send_safely)
        except Exception as error:  # the last resort: one line, and the server goes on
            line = " ".join(str(error).split())
            _logger.exception("unexpected %s: %s", type(error).__name__, line)
            if begun:
                raise
            answer = {"error": f"unexpected {type(error).__name__} in the server; its log says more"}
            await JSONResponse(answer, 500)(scope, receive, send_safely)

    def _foreign(self, headers: Headers) -> str:
        """Return why a request is refused; nothing if it is not."""
        host = headers.get("host", "")
        name = _hostname(f"//{host}")
        if not self._is_own(name):
            return (
                f"expected one of the server's own names as Host, got {host[:100]!r}; "
                "start it with --allow-host for another name"
            )
        origin = headers.get("origin")
        if origin is not None and _place(origin) != host.lower():
            return f"expected a request from the server's own page, got one from {origin[:100]!r}"
        return ""

    def _is_own(self, name: str) -> bool:
        # An address cannot be pointed elsewhere as a name can.
        return name in self._names or (self._anywhere and _address(name) is not None)


def _hostname(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:  # a bracket without its other
        return ""


def _place(url: str) -> str:
    """Return the host and port of a URL."""
    try:
        return urlsplit(url).netloc.lower()
    except ValueError:
        return ""


def _address(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(name)
    except ValueError:
        return None
