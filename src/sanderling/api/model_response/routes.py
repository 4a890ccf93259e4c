"""
`POST /v1/model/response`: a run that computes with code and writes no file, plain or as a stream.

Nothing of it is kept. The container is made by the first code, as always, and deleted when the
answer has been given, because no id of it is ever told.

Source: Aitronos API reference, "Create a model response", of 2026.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack

from fastapi import APIRouter, Request, Response

from sanderling.api import shapes, sse
from sanderling.api.attended import attend, failure
from sanderling.api.awaited import Awaited
from sanderling.api.bodies import json_model
from sanderling.api.describing import described
from sanderling.api.files import find_file
from sanderling.api.model_response.errors import EnvelopedRoute, error_object, reply
from sanderling.api.model_response.events import ModelResponseProjection
from sanderling.api.model_response.requests import (
    CreateModelResponse,
    FileOfInput,
    Input,
    TextOfInput,
    run_request,
)
from sanderling.api.replies import json_reply
from sanderling.api.routing import Organization, Partners
from sanderling.api.services import Services
from sanderling.api.validation import missing
from sanderling.errors import RequestError, SanderlingError
from sanderling.ids import new_id
from sanderling.observe import logs
from sanderling.records import FilePart, MessageItem, Part, RunRequest, TextPart
from sanderling.runs.events import Event

router = APIRouter(prefix="/model/response", route_class=EnvelopedRoute)

_OUR_FAULT = "The server had an error while sending this stream."


@router.post("")
@described(
    shapes.ModelResponse,
    json=CreateModelResponse,
    statuses=(404, 422, 503),
    is_streamed=True,
    error=shapes.ModelResponseError,
)
async def create_model_response(
    request: Request, services: Partners, organization_id: Organization
) -> Response:
    """Answer the inputs, after having run code if the mode says so."""
    body = await json_model(request, CreateModelResponse)
    items = tuple(
        [
            await _message(given, f"inputs[{index}]", services, organization_id)
            for index, given in enumerate(body.inputs)
        ]
    )
    asked = run_request(body, items, organization_id=organization_id)

    async def work(stack: AsyncExitStack) -> Response:
        try:
            return await _answer(asked, request, services, stack, is_stream=bool(body.stream))
        except SanderlingError as error:
            return reply(error, request)

    return Awaited(work)


async def _message(
    given: Input, place: str, services: Services, organization_id: str
) -> MessageItem:
    if given.content is None and given.texts is None:
        raise missing(f"{place}.content")
    if isinstance(given.content, str):
        return MessageItem(new_id("msg"), given.role, (TextPart(given.content),))
    parts: list[Part] = []
    for index, part in enumerate(given.content or given.texts or ()):
        match part:
            case TextOfInput(text=text):
                parts.append(TextPart(text))
            case FileOfInput(file_id=file_id):
                param = f"{place}.content[{index}].file_id"
                file = await find_file(services, organization_id, file_id, param=param)
                parts.append(FilePart(file.id, file.filename))
    return MessageItem(new_id("msg"), given.role, tuple(parts))


async def _answer(
    asked: RunRequest,
    request: Request,
    services: Services,
    stack: AsyncExitStack,
    *,
    is_stream: bool,
) -> Response:
    run = await services.runner.start(asked)
    projection = ModelResponseProjection(run)
    stack.push_async_callback(_discard_container, projection, services)  # after the run has ended
    early, events = await attend(services.runner, run, stack)
    if is_stream:
        return sse.EventStream(_frames(projection, early, events, request))
    for event in early:
        projection.project(event)
    async for event in events:
        projection.project(event)
    if projection.run.error is not None:
        raise failure(projection.run.error)
    return json_reply(projection.response)


async def _discard_container(projection: ModelResponseProjection, services: Services) -> None:
    if projection.container_id is not None:
        organization_id = projection.run.request.organization_id
        with contextlib.suppress(RequestError):  # gone already
            await services.containers.delete(organization_id, projection.container_id)


async def _frames(
    projection: ModelResponseProjection,
    early: list[Event],
    events: AsyncGenerator[Event, None],
    request: Request,
) -> AsyncGenerator[bytes, None]:
    """Yield the run's wire events; the last tells how it ended."""
    try:
        for event in early:
            yield _wire(projection, event)
        async for event in events:
            yield _wire(projection, event)
        fault = None if projection.run.error is None else failure(projection.run.error)
    except SanderlingError as error:
        fault = error
    except Exception as error:  # noqa: BLE001 the request boundary, once the stream has begun
        logs.error("request.failed", cause=error, method="POST", route=router.prefix)
        fault = SanderlingError(_OUR_FAULT)
    if fault is not None:
        told = {"status": "failed", "error": error_object(fault, request)}
        yield sse.frame("response.failed", told)


def _wire(projection: ModelResponseProjection, event: Event) -> bytes:
    return b"".join(sse.frame(name, data) for name, data in projection.project(event))
