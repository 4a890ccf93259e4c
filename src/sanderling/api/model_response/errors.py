"""
Errors as `model/response` tells them: the same faults as everywhere, in another envelope.

    {"success": false, "error": {"code": "MISSING_REQUIRED_PARAMETER", "message": "…", …}}

What is wrong in a request is 422 there, not 400. Whatever fails before the request is known to be
one of this dialect (a path, a method, too many requests) is told as everywhere.

Source: Aitronos documentation, "Error handling", of 2026.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute

from sanderling.api import errors
from sanderling.api.replies import json_reply
from sanderling.errors import InvalidRequest, SanderlingError

_TYPES = {
    401: "authentication_error",
    404: "not_found_error",
    413: "validation_error",
    422: "validation_error",
    429: "rate_limit_error",
}


class EnvelopedRoute(APIRoute):
    """A route whose errors, that of a wrong key among them, come in this envelope."""

    def get_route_handler(self) -> Callable[[Request], Awaitable[Response]]:  # type: ignore[override]
        """See APIRoute."""
        handle = super().get_route_handler()

        async def told(request: Request) -> Response:
            try:
                return await handle(request)
            except SanderlingError as error:
                return reply(error, request)

        return told


def reply(error: SanderlingError, request: Request) -> Response:
    """Return the HTTP reply for `error`."""
    content = {"success": False, "error": error_object(error, request)}
    told = json_reply(content, status=_status(error))
    told.headers.update(errors.headers_of(error))
    return told


def error_object(error: SanderlingError, request: Request) -> dict[str, Any]:
    """Return what is told of an error, in a reply and in a stream."""
    status = _status(error)
    param = getattr(error, "param", None)
    now = request.app.state.services.clock.now()
    return {
        "code": _code(error),
        "message": error.message,
        "system_message": error.message,
        "type": _TYPES.get(status, "client_error" if status < 500 else "server_error"),
        "status": status,
        "details": {} if param is None else {"param": param},
        "trace_id": request.state.request_id,
        "timestamp": datetime.fromtimestamp(now, UTC).isoformat().replace("+00:00", "Z"),
    }


def _status(error: SanderlingError) -> int:
    return 422 if isinstance(error, InvalidRequest) else errors.shape_of(error).status


def _code(error: SanderlingError) -> str:
    code = getattr(error, "code", None) or errors.shape_of(error).code
    if code is None:
        code = "validation_error" if isinstance(error, InvalidRequest) else _named(error)
    return str(code).upper()


def _named(error: SanderlingError) -> str:
    """Return NotFound as `not_found`."""
    name = type(error).__name__
    return "".join("_" + c.lower() if c.isupper() else c for c in name).removeprefix("_")
