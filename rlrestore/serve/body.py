"""A bound on the bytes of every request, and refusals that a client gets to read."""

import asyncio
import contextlib

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

DRAIN_S = 5.0
"""How long what comes after a refusal is read and thrown away: who is still sending does not read."""

READ_TO_THE_END = (413, 422, 429)
"""The refusals that may be given while a client is still sending, and would go on."""


class BodyBound:
    """Refuses a body that is too large, whether its length is told before or not."""

    def __init__(self, app: ASGIApp, megabytes: float) -> None:
        """Stand before an application.

        Args:
            app: What answers.
            megabytes: Of a body at most.
        """
        self._app, self._bytes = app, int(megabytes * 1e6)
        line = f"expected at most {megabytes:g} megabytes, got more; send a smaller file"
        self._refusal = JSONResponse({"error": line}, 413)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        claimed = headers.get("content-length", "")
        body = _Body(receive, self._bytes)
        if claimed.isdecimal() and int(claimed) > self._bytes:
            body.over = True
            await self._refuse(scope, headers, body, send)
            return
        held_back = False

        async def answer(message: Message) -> None:
            nonlocal held_back
            held_back = held_back or (message["type"] == "http.response.start" and body.over)
            if held_back:
                return
            if message["type"] == "http.response.start" and message["status"] in READ_TO_THE_END:
                await _drain(headers, body)
            await send(message)

        await self._app(scope, body.receive, answer)
        if held_back:
            await self._refuse(scope, headers, body, send)

    async def _refuse(self, scope: Scope, headers: Headers, body: "_Body", send: Send) -> None:
        await _drain(headers, body)
        await self._refusal(scope, body.receive, send)


class _Body:
    """A request's body, counted while it comes.

    Attributes:
        over: Whether it is too large; to the application it then looks as if the client had hung up.
        complete: Whether all of it has come, or no more will.
    """

    def __init__(self, receive: Receive, most: int) -> None:
        self._receive, self._most = receive, most
        self.read = 0
        self.over = self.complete = False

    async def receive(self) -> Message:
        """Return the next part."""
        message = await self.next_part()
        self.over = self.over or self.read > self._most
        return {"type": "http.disconnect"} if self.over else message

    async def next_part(self) -> Message:
        """Return the next part, however much came before."""
        message = await self._receive()
        self.complete = message["type"] == "http.disconnect" or not message.get("more_body", False)
        self.read += len(message.get("body", b""))
        return message

    @property
    def most(self) -> int:
        """Bytes that are read at most, those that are thrown away among them."""
        return 2 * self._most


async def _drain(headers: Headers, body: _Body) -> None:
    """Throw away what still comes of a body.

    A client that asked whether it may send (`Expect: 100-continue`) reads the answer first.
    """
    if "expect" in headers or not ("content-length" in headers or "transfer-encoding" in headers):
        return
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(DRAIN_S):
            while not body.complete and body.read < body.most:
                await body.next_part()
