"""The application: its routes, and what each of them answers."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote, urlencode

from fastapi import FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse, Response, StreamingResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.staticfiles import StaticFiles

from rlrestore import __version__
from rlrestore.errors import RlrestoreError, UsageError
from rlrestore.imaging.io.encoding import KEEP
from rlrestore.imaging.progress import Progress
from rlrestore.restorer import Restorer
from rlrestore.serve.access import Access
from rlrestore.serve.adapter import WRITING, Adapter, Output, Result
from rlrestore.serve.archive import stream_zip
from rlrestore.serve.body import BodyBound
from rlrestore.serve.bounds import Bounds, RefusedError
from rlrestore.serve.head import HeadAsGet
from rlrestore.serve.line import Line, Ticket
from rlrestore.serve.options import read_options
from rlrestore.serve.schema import RESTORE_SCHEMA, as_query, with_options
from rlrestore.serve.shelf import Shelf
from rlrestore.serve.upload import Form, read_form

PAGE = Path(__file__).parent / "page"
"""The page: plain HTML, CSS and JavaScript."""

DOWNLOADS, WAITING_DOWNLOADS = 2, 64
"""Results that are written at a time, and that may wait for it."""

SWEEP_S = 60
"""How often results are dropped whose time is over."""

Token = Annotated[str, Query(pattern=r"^[\w-]{0,64}$")]


class Wish(BaseModel):
    """One result of an archive, how much of its change is kept, and how much detail comes back."""

    id: str
    strength: float = 1.0
    detail: float = 0.0

    def shares(self) -> dict[str, str]:
        """Return strength and detail as fields."""
        return {"strength": str(self.strength), "detail": str(self.detail)}


class Archive(BaseModel):
    """What an archive holds, and how it is written."""

    results: list[Wish]
    format: str = KEEP
    quality: int | None = None


class Service:
    """What all requests share.

    Attributes:
        bounds: How much is taken on.
        adapter: Who restores.
        restoring: The line for the restorer.
        writing: The line for results that are written.
        shelf: Results that are kept.
    """

    def __init__(self, restorer: Restorer, bounds: Bounds) -> None:
        self.bounds = bounds
        self.adapter = Adapter(restorer, bounds)
        self.restoring = Line(bounds.workers, bounds.waiting, bounds.seconds, "restoring")
        self.writing = Line(DOWNLOADS, WAITING_DOWNLOADS, bounds.seconds, "writing")
        self.shelf: Shelf[Result] = Shelf(int(bounds.kept_megabytes * 1e6), bounds.kept_seconds)
        self._pace_s: dict[tuple[str, str], float] = {}  # of a pixel, by mode and views

    async def restore(self, request: Request, token: str) -> Response:
        """Answer with a restored photograph, or with what was done to it."""
        with self.restoring.ticket(token) as ticket:
            form = await read_form(request, self.bounds, ticket.deadline)
            values = read_options(self.adapter.options, form.fields)
            pixels = self.adapter.pixels(form.content, form.name)
            kind = str(values.get("mode")), str(values.get("views"))
            ticket.expected_s = self._pace_s[kind] * pixels if kind in self._pace_s else None
            as_json = "application/json" in request.headers.get("accept", "")
            work = partial(_restore, self.adapter, form, values, as_json, ticket)
            del form
            result, output = await self.restoring.run(ticket, work, _gone(request))
            self._pace_s[kind] = (time.monotonic() - ticket.started) / pixels
        if output is not None:
            return _file(output)
        name = self.shelf.put(result)
        chosen = {option.name: values[option.name] for option in WRITING if values[option.name] is not None}
        picture = f"/api/results/{name}?{urlencode(chosen)}"
        return JSONResponse({"id": name, "picture": picture, **result.record})

    async def picture(self, name: str, fields: Mapping[str, str]) -> Output:
        """Write a result that was kept."""
        values = read_options(WRITING, fields)
        result = self.shelf.get(name)
        with self.writing.ticket() as ticket:
            return await self.writing.run(ticket, partial(result.write, values))

    def archive(self, archive: Archive) -> AsyncIterator[Output]:
        """Write several results that were kept, one after another.

        Raises:
            RefusedError: 404, some are not kept; `missing` names them.
            UsageError: None is asked for, or one cannot be written so.
        """
        if not archive.results:
            raise UsageError("expected results for the archive, got none; name the id of at least one")
        fields = {
            "format": archive.format,
            "quality": "" if archive.quality is None else str(archive.quality),
        }
        missing = [wish.id for wish in archive.results if wish.id not in self.shelf]
        if missing:
            line = (
                f"expected results that are still kept, got {len(missing)} that are not; restore them again"
            )
            raise RefusedError(404, line, {"missing": missing})
        wanted = [
            (self.shelf.get(wish.id), read_options(WRITING, fields | wish.shares()))
            for wish in archive.results
        ]
        for result, values in wanted:
            result.check(values)
        return self._written(wanted)

    async def _written(self, wanted: Iterable[tuple[Result, Mapping[str, Any]]]) -> AsyncIterator[Output]:
        for result, values in wanted:
            with self.writing.ticket() as ticket:
                yield await self.writing.run(ticket, partial(result.write, values))

    async def sweep(self) -> None:
        """Drop results that nobody asks for any more, for ever."""
        while True:
            await asyncio.sleep(SWEEP_S)
            self.shelf.sweep()

    def health(self) -> dict[str, Any]:
        """Tell what is going on."""
        counts = {"requests": self.restoring.count(), "results": len(self.shelf)}
        return {"status": "ok", "version": __version__, **counts}

    def close(self) -> None:
        """Wait for what was begun."""
        self.restoring.close()
        self.writing.close()


def create_app(
    restorer: Restorer, bounds: Bounds | None = None, host: str = "127.0.0.1", names: Iterable[str] = ()
) -> FastAPI:
    """Return the application.

    Args:
        restorer: Who restores.
        bounds: How much it takes on.
        host: The address that it is served on.
        names: Further names that it is reached by; any other `Host` is refused.
    """
    service = Service(restorer, bounds or Bounds())

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        sweeping = asyncio.create_task(service.sweep())
        yield
        sweeping.cancel()
        service.close()

    app = FastAPI(title="rlrestore", version=__version__, docs_url=None, redoc_url=None, lifespan=lifespan)
    app.add_middleware(HeadAsGet)
    app.add_middleware(BodyBound, megabytes=service.bounds.megabytes)
    app.add_middleware(Access, host=host, names=tuple(names))
    _answer_errors(app)
    _add_restoring(app, service)
    _add_results(app, service)
    _add_facts(app, service)
    _add_pages(app)
    return app


def _add_restoring(app: FastAPI, service: Service) -> None:
    schema = with_options(RESTORE_SCHEMA, service.adapter.options)

    @app.post("/api/restore", openapi_extra=schema, response_class=Response)
    async def restore(request: Request, job: Token = "") -> Response:
        """Restore a photograph: the picture, or JSON with the trace for `Accept: application/json`.

        `job` is a name of your own choice, to ask for progress by.
        """
        return await service.restore(request, job)

    @app.get("/api/jobs/{job}")
    async def progress(job: str) -> dict[str, Any]:
        """How far a request to restore is that was given this name."""
        return service.restoring.progress(job)


def _add_results(app: FastAPI, service: Service) -> None:
    @app.get("/api/results/{name}", openapi_extra=as_query(WRITING), response_class=Response)
    async def picture(request: Request, name: str) -> Response:
        """A result that is kept, written at a strength and in a format."""
        return _file(await service.picture(name, request.query_params))

    @app.get("/api/results/{name}/maps/{step}", response_class=Response)
    async def where(name: str, step: int) -> Response:
        """Where each tool worked in a step of local mode, from 1; JSON has the legends."""
        maps = service.shelf.get(name).maps
        if not 1 <= step <= len(maps):
            there = f"a step from 1 to {len(maps)}" if maps else "a result of local mode, which has maps"
            raise RefusedError(404, f"expected {there}, got step {step}")
        return Response(maps[step - 1], media_type="image/png", headers={"Cache-Control": "private"})

    @app.delete("/api/results/{name}", status_code=204)
    async def forget(name: str) -> None:
        """Forget a result that is kept."""
        service.shelf.drop(name)

    @app.post("/api/zip", response_class=StreamingResponse)
    async def archive(wanted: Archive) -> Response:
        """Several results that are kept, as one ZIP archive."""
        outputs = service.archive(wanted)
        return StreamingResponse(
            stream_zip(outputs), media_type="application/zip", headers=_attachment("restored.zip")
        )


def _add_facts(app: FastAPI, service: Service) -> None:
    @app.get("/api/tools")
    async def tools() -> dict[str, Any]:
        """The model, its tools, the options that it takes, and the bounds."""
        return service.adapter.about()

    @app.get("/healthz")
    async def health() -> dict[str, Any]:
        """Whether the server is well, and what it is doing."""
        return service.health()


def _add_pages(app: FastAPI) -> None:
    @app.get("/", include_in_schema=False)
    async def page() -> FileResponse:
        return FileResponse(PAGE / "index.html")

    @app.get("/docs", include_in_schema=False)
    async def documentation() -> FileResponse:
        return FileResponse(PAGE / "docs.html")

    app.mount("/static", StaticFiles(directory=PAGE), name="static")


def _answer_errors(app: FastAPI) -> None:
    """Answer what goes wrong with a status and one line of JSON."""

    async def refused(_: Request, error: Exception) -> Response:
        refusal = (
            error if isinstance(error, RefusedError) else RefusedError(422, " ".join(str(error).split()))
        )
        headers = {"Retry-After": "5"} if refusal.status in (429, 503) else {}
        return JSONResponse({"error": refusal.line, **refusal.more}, refusal.status, headers)

    async def invalid(_: Request, error: Exception) -> Response:
        first = error.errors()[0] if isinstance(error, RequestValidationError) else {}
        place = ".".join(str(part) for part in first.get("loc", ()))
        return JSONResponse({"error": f"{place}: {first.get('msg', error)}"}, 422)

    async def unknown(_: Request, error: Exception) -> Response:
        status = error.status_code if isinstance(error, HTTPException) else 500
        line = str(error.detail) if isinstance(error, HTTPException) else str(error)
        return JSONResponse({"error": line}, status)

    async def gone(_request: Request, _error: Exception) -> Response:
        return Response(status_code=499)  # nobody reads it

    app.add_exception_handler(RefusedError, refused)
    app.add_exception_handler(RlrestoreError, refused)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(HTTPException, unknown)
    app.add_exception_handler(ClientDisconnect, gone)


def _restore(
    adapter: Adapter, form: Form, values: Mapping[str, Any], as_json: bool, ticket: Ticket
) -> tuple[Result, Output | None]:
    """Restore a photograph, and write it unless it is kept; called in a thread."""

    def tell(progress: Progress) -> None:
        ticket.share = progress.share

    result = adapter.restore(form.content, form.name, values, tell, ticket.cancel)
    return result, None if as_json else result.write(values)


async def _gone(request: Request) -> None:
    """Wait until the client hangs up, after its body has been read."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _file(output: Output) -> Response:
    headers = {**_attachment(output.name), "Cache-Control": "private, max-age=600"}
    return Response(output.content, media_type=output.media_type, headers=headers)


def _attachment(name: str) -> dict[str, str]:
    return {"Content-Disposition": f"attachment; filename*=UTF-8''{quote(name, safe='')}"}
