"""What OpenAPI is told of the form, which the server reads itself to keep it in memory."""

from collections.abc import Iterable
from typing import Any

from rlrestore.serve.options import Option

LINE = {
    "content": {
        "application/json": {"schema": {"type": "object", "properties": {"error": {"type": "string"}}}}
    }
}
STATUSES = {
    "403": "The Host or the Origin is foreign.",
    "408": "The upload does not go on.",
    "413": "The upload is too large.",
    "422": "It is no photograph that can be read, has too many pixels, or a field means nothing.",
    "429": "Too many requests wait.",
    "503": "It would take too long.",
}

RESTORE_SCHEMA: dict[str, Any] = {
    "responses": {
        "200": {
            "description": "The restored photograph, or the trace.",
            "content": {"image/*": {}, "application/json": {}},
        },
        **{status: {"description": text, **LINE} for status, text in STATUSES.items()},
    },
}


def with_options(schema: dict[str, Any], options: Iterable[Option]) -> dict[str, Any]:
    """Return the schema of a route with a form of the file and these fields."""
    file = {"type": "string", "format": "binary", "description": "The photograph."}
    fields = {"file": file, **{option.name: option.schema() for option in options}}
    form = {"type": "object", "required": ["file"], "properties": fields}
    return {**schema, "requestBody": {"required": True, "content": {"multipart/form-data": {"schema": form}}}}


def as_query(options: Iterable[Option]) -> dict[str, Any]:
    """Return the schema of a route with these options in its query."""
    return {
        "parameters": [{"name": option.name, "in": "query", "schema": option.schema()} for option in options]
    }
