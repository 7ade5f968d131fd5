"""HEAD, answered as GET."""

from starlette.types import ASGIApp, Receive, Scope, Send


class HeadAsGet:
    """Lets every route that answers GET answer HEAD, with the same status and headers."""

    def __init__(self, app: ASGIApp) -> None:
        """Stand before an application.

        Args:
            app: What answers.
        """
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on; the server, which still knows it for HEAD, leaves out the body."""
        if scope["type"] == "http" and scope["method"] == "HEAD":
            scope = {**scope, "method": "GET"}
        await self._app(scope, receive, send)
