"""Reading a form with one file, in memory and within bounds."""

import asyncio
import re
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass

from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from rlrestore.serve.bounds import Bounds, RefusedError

MAX_FIELDS, MAX_FIELD_BYTES = 32, 64 * 1024


@dataclass(frozen=True)
class Form:
    """What a client sent.

    Attributes:
        name: What its file is called there.
        content: The file's bytes.
        fields: The other fields.
    """

    name: str
    content: bytes
    fields: dict[str, str]


async def read_form(request: Request, bounds: Bounds, deadline: float) -> Form:
    """Read a multipart form that has one file, called `file`.

    Args:
        request: Whose body has not been read.
        bounds: How much of it.
        deadline: When it must be here, by the monotonic clock.

    Raises:
        RefusedError: 422, it is no such form; 408, it does not come.
        ClientDisconnect: The client hung up.
    """
    if not request.headers.get("content-type", "").startswith("multipart/form-data"):
        raise RefusedError(422, "expected a form, multipart/form-data, with a photograph as its field file")
    async with aclosing(_timely(request, bounds, deadline)) as stream:
        parser = MultiPartParser(
            request.headers,
            stream,
            max_files=1,
            max_fields=MAX_FIELDS,
            max_part_size=MAX_FIELD_BYTES,
        )
        parser.spool_max_size = bounds.body_bytes + 1  # a file never goes to the disk
        try:
            items = (await parser.parse()).multi_items()
        except MultiPartException as error:
            raise RefusedError(
                422, f"expected a form with a photograph as its field file: {error.message}"
            ) from error
    fields = {key: value for key, value in items if isinstance(value, str)}
    files = [(key, value) for key, value in items if isinstance(value, UploadFile)]
    if [key for key, _ in files] != ["file"]:
        raise RefusedError(422, "expected a photograph as the form's field file, with a file name; got none")
    (upload,) = (value for _, value in files)
    content = await upload.read()
    await upload.close()
    name = re.split(r"[/\\]", upload.filename or "")[-1]  # some clients send the folder, too
    return Form(name or "photograph", content, fields)


async def _timely(request: Request, bounds: Bounds, deadline: float) -> AsyncGenerator[bytes, None]:
    """Yield a request's body as long as it comes in time."""
    async with aclosing(request.stream()) as stream:
        while True:
            left = min(bounds.idle_seconds, deadline - time.monotonic())
            try:
                async with asyncio.timeout(max(left, 0)):
                    chunk = await anext(stream, b"")
            except TimeoutError as error:
                line = "expected the rest of the upload, but it does not come; send it again"
                raise RefusedError(408, line) from error
            if not chunk:
                return
            yield chunk
