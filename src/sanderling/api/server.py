"""The application: every route under /v1, `/health`, and one shape for every error."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import APIRouter, FastAPI, Request, Response
from starlette.exceptions import HTTPException

from sanderling.api import (
    container_files,
    containers,
    conversations,
    errors,
    executions,
    files,
    models,
)
from sanderling.api.chat import routes as chat
from sanderling.api.middleware import RequestFrame
from sanderling.api.model_response import routes as model_response
from sanderling.api.replies import json_reply
from sanderling.api.responses import routes as responses
from sanderling.api.routing import Partners
from sanderling.api.services import Services
from sanderling.errors import SanderlingError

# What is asked most often first: a route is looked for from the top.
_ROUTERS = (
    *(executions, responses, chat, files, containers, container_files, conversations, models),
    *(model_response,),
)


def create_app(services: Services) -> FastAPI:
    """
    Return the ASGI application that serves `services`, which the caller opens and closes.

    FastAPI's own pages are off: its schema would show none of the bodies, which are checked by
    hand so that the errors are OpenAI's.
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
    app.add_exception_handler(SanderlingError, _sanderling_error)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_middleware(RequestFrame)
    return app


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
