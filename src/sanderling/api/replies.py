"""Successful replies: an object as JSON, or the bytes of a file."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import quote

import orjson
from starlette.responses import Response, StreamingResponse


def json_reply(value: Any, *, status: int = 200) -> Response:
    """Return `value`, made of plain JSON types, as it is."""
    return Response(orjson.dumps(value), status_code=status, media_type="application/json")


def deleted(id: str, object: str) -> Response:
    """Return the object that says `id` is gone."""
    return json_reply({"id": id, "object": object, "deleted": True})


def download(chunks: AsyncIterator[bytes], *, bytes: int, filename: str) -> Response:
    """
    Stream a file. Always an attachment of no particular type: a page that code wrote must never
    be shown by a browser as a page of this server.
    """
    return StreamingResponse(
        chunks,
        media_type="application/octet-stream",
        headers={
            "content-length": str(bytes),
            "content-disposition": disposition(filename),
            "x-content-type-options": "nosniff",
        },
    )


def disposition(filename: str) -> str:
    """
    Return a Content-Disposition with `filename` in a form for every client.

    Source: RFC 6266 §4.3 and appendix D: an ASCII `filename` first, then `filename*` in UTF-8.
    """
    plain = "".join(c if " " <= c <= "~" and c not in '"\\%' else "_" for c in filename)
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(filename, safe='')}"
