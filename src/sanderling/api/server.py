"""The application: every route under /v1, `/health`, and one shape for every error."""

from __future__ import annotations

import functools
import importlib.metadata
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException

from sanderling.api import (
    container_files,
    containers,
    conversations,
    errors,
    executions,
    files,
    models,
    shapes,
    upload_routes,
)
from sanderling.api.bodies import JSON_BYTES_MAX
from sanderling.api.chat import routes as chat
from sanderling.api.describing import described
from sanderling.api.docs_page import render
from sanderling.api.middleware import RequestFrame
from sanderling.api.model_response import routes as model_response
from sanderling.api.openapi import document
from sanderling.api.rate_limits import RateLimits
from sanderling.api.replies import json_reply
from sanderling.api.responses import aside
from sanderling.api.responses import routes as responses
from sanderling.api.routing import Partners
from sanderling.api.services import Services
from sanderling.errors import SanderlingError

# How uvicorn is to speak WebSocket: a message is as long as a body may be, and not compressed, as
# a few kilobytes could then be many megabytes.
WEBSOCKETS: dict[str, Any] = {
    "ws": "websockets-sansio",
    "ws_max_size": JSON_BYTES_MAX,
    "ws_per_message_deflate": False,
}

# What is asked most often first: a route is looked for from the top.
_ROUTERS = (
    executions,
    responses,
    aside,
    chat,
    files,
    containers,
    container_files,
    conversations,
    upload_routes,
    model_response,
    models,
)


def create_app(services: Services) -> FastAPI:
    """
    Return the ASGI application that serves `services`, which the caller opens and closes.

    FastAPI's own pages are off: its schema would show none of the bodies, which are checked by
    hand so that the errors are OpenAI's. Ours are made from what the routes say of themselves.
    """

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        await services.cells.close()

    app = FastAPI(
        title="Sanderling", openapi_url=None, docs_url=None, redoc_url=None, lifespan=lifespan
    )
    app.state.services = services
    v1 = APIRouter(prefix="/v1")
    for module in _ROUTERS:
        v1.include_router(module.router)
    app.include_router(v1)
    app.add_api_route("/health", _health, methods=["GET"])
    app.add_api_route("/openapi.json", _openapi, methods=["GET"])
    app.add_api_route("/docs", _docs, methods=["GET"])
    app.add_exception_handler(SanderlingError, _sanderling_error)
    app.add_exception_handler(HTTPException, _http_error)
    limits = RateLimits(services.settings.requests_per_minute, services.clock)
    app.add_middleware(RequestFrame, limits=limits)
    return app


def api_routes() -> list[tuple[str, APIRoute]]:
    """Return every route that is described, with the prefix it is served under."""
    found = [("/v1", route) for module in _ROUTERS for route in module.router.routes]
    found += [("", APIRoute("/health", _health, methods=["GET"]))]
    return [(prefix, route) for prefix, route in found if isinstance(route, APIRoute)]


@functools.cache
def _document() -> dict[str, Any]:
    # Made when it is first asked for: it takes a tenth of a second, and most servers never are.
    return document(api_routes(), version=importlib.metadata.version("sanderling"))


async def _openapi() -> Response:
    return json_reply(_document())


async def _docs() -> Response:
    page = Response(render(_document()), media_type="text/html; charset=utf-8")
    page.headers["content-security-policy"] = "default-src 'none'; style-src 'unsafe-inline'"
    return page


@described(shapes.Health, statuses=(503,))
async def _health(services: Partners) -> Response:
    """Say whether code can run: 200, or 503 when the sandbox host does not answer."""
    status = await services.sandbox.status()
    return json_reply(
        {
            "status": "ok",
            "sandbox": {
                "isolation": status.isolation,
                "boxes": status.boxes,
                "pool": status.pool,
                "cgroups": status.cgroups,
                "soft_limits": status.soft_limits,
            },
        }
    )


async def _sanderling_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, SanderlingError)
    return errors.reply(error)


async def _http_error(request: Request, error: Exception) -> Response:
    """Answer what the router itself refuses: paths and methods that do not exist."""
    assert isinstance(error, HTTPException)
    method, path = request.method, request.url.path
    if error.status_code == 405:
        content = errors.wrong_method(method, path)
    elif error.status_code == 404:
        content = errors.unknown_route(method, path)
    else:
        content = errors.body(str(error.detail), type="invalid_request_error")
    reply = json_reply(content, status=error.status_code)
    reply.headers.update(error.headers or {})
    return reply
