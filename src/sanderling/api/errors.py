"""
Errors as clients see them: one table from our classes to HTTP, one body, one set of headers.

The body is OpenAI's, so that SDKs raise their typed exceptions and clients that match on messages
keep working:

    {"error": {"message": "…", "type": "invalid_request_error", "param": "input[0]", "code": null}}

A conflict is 400 and never 409, because SDKs repeat a 409 on their own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import orjson
from starlette.responses import Response

from sanderling import errors


@dataclass(frozen=True, slots=True)
class Shape:
    """
    How one class of error is shown.

    is_lasting: asking again will not help, though the status says 5xx; SDKs are told so.
    """

    status: int
    type: str
    code: str | None = None
    is_lasting: bool = False


TABLE: dict[type[errors.SanderlingError], Shape] = {
    errors.SanderlingError: Shape(500, "server_error", "server_error"),
    errors.RequestError: Shape(400, "invalid_request_error"),
    errors.InvalidRequest: Shape(400, "invalid_request_error"),
    errors.NotFound: Shape(404, "invalid_request_error"),
    errors.Conflict: Shape(400, "invalid_request_error"),
    errors.Unauthorized: Shape(401, "invalid_request_error", "invalid_api_key"),
    errors.TooLarge: Shape(413, "invalid_request_error", "request_too_large"),
    errors.Expired: Shape(400, "invalid_request_error"),
    errors.RateLimited: Shape(429, "requests", "rate_limit_exceeded"),
    errors.ModelError: Shape(502, "server_error", "model_error"),
    errors.ModelRefused: Shape(502, "server_error", "model_refused", is_lasting=True),
    errors.PromptTooLong: Shape(400, "invalid_request_error", "context_length_exceeded"),
    errors.ModelTimeout: Shape(504, "server_error", "model_timeout"),
    errors.ModelProtocol: Shape(502, "server_error", "model_protocol", is_lasting=True),
    errors.SandboxError: Shape(500, "server_error", "sandbox_error"),
    errors.SpawnFailed: Shape(500, "server_error", "spawn_failed"),
    errors.BoxDied: Shape(500, "server_error", "box_died"),
    errors.ProtocolBroken: Shape(500, "server_error", "protocol_broken"),
    errors.MachineUnfit: Shape(503, "server_error", "machine_unfit", is_lasting=True),
    errors.HostUnavailable: Shape(503, "server_error", "host_unavailable"),
    errors.MachineFull: Shape(503, "server_error", "machine_full"),
    errors.StorageFull: Shape(507, "server_error", "storage_full", is_lasting=True),
    errors.SetupError: Shape(500, "server_error", "setup_error", is_lasting=True),
}


def shape_of(error: errors.SanderlingError) -> Shape:
    """Return how `error` is shown: the row of its class, or of the nearest class above it."""
    return next(TABLE[cls] for cls in type(error).__mro__ if cls in TABLE)


def body(
    message: str, *, type: str, param: str | None = None, code: str | None = None
) -> dict[str, Any]:
    """Return the one shape of every error body."""
    return {"error": {"message": message, "type": type, "param": param, "code": code}}


def body_of(error: errors.SanderlingError) -> dict[str, Any]:
    """Return the body that tells a client about `error`."""
    shape = shape_of(error)
    param = getattr(error, "param", None)
    code = getattr(error, "code", None) or shape.code
    return body(error.message, type=shape.type, param=param, code=code)


def headers_of(error: errors.SanderlingError) -> dict[str, str]:
    """
    Return the headers that tell SDKs whether and when to ask again.

    Source: openai-python `_base_client.py`, `_should_retry` and `_parse_retry_after_header`.
    """
    if isinstance(error, errors.RateLimited | errors.MachineFull):
        return {
            "retry-after": str(max(1, round(error.retry_after_s))),
            "retry-after-ms": str(round(error.retry_after_s * 1000)),
        }
    return {"x-should-retry": "false"} if shape_of(error).is_lasting else {}


def reply(error: errors.SanderlingError) -> Response:
    """Return the HTTP reply for `error`."""
    return Response(
        orjson.dumps(body_of(error)),
        status_code=shape_of(error).status,
        media_type="application/json",
        headers=headers_of(error),
    )


# What OpenAI's API has and this server does not: told by name, as the URL itself is right.
_NOT_SERVED = {
    "/v1/assistants": "The Assistants API",
    "/v1/threads": "The Assistants API",
    "/v1/vector_stores": "The Vector Stores API",
}


def unknown_route(method: str, path: str) -> dict[str, Any]:
    """Return the body for a path no route has."""
    for prefix, name in _NOT_SERVED.items():
        if path == prefix or path.startswith(prefix + "/"):
            return body(
                f"{name} is not served here yet ({method} {path}). What is served stands at /docs.",
                type="invalid_request_error",
            )
    return body(f"Invalid URL ({method} {path})", type="invalid_request_error")


def wrong_method(method: str, path: str) -> dict[str, Any]:
    """Return the body for a route that has no such method."""
    return body(
        f"Not allowed to {method} on {path}.",
        type="invalid_request_error",
        code="method_not_supported",
    )


def server_fault(request_id: str) -> dict[str, Any]:
    """Return the body for a fault of ours: nothing of the inside, and the id to report it by."""
    return body(
        "The server had an error while processing your request. "
        f"If it persists, report it with the request id {request_id}.",
        type="server_error",
        code="server_error",
    )
