"""
The Chat Completions API: passed on to the model server, or answered by a run of our own.

A request with the code interpreter among its tools is a run like any other, and so is every one
where there is no model server: the offline model has no wire to pass anything to. A completion has
no id to come back by, so a client that leaves ends the work on it.

Source: OpenAI API reference, "Create chat completion".
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack
from typing import Any

from fastapi import APIRouter, Request, Response

from sanderling.api import errors, shapes, sse
from sanderling.api.attended import attend, failure
from sanderling.api.awaited import Awaited
from sanderling.api.bodies import json_value
from sanderling.api.chat.events import ChatProjection
from sanderling.api.chat.messages import in_words_of_chat, input_of
from sanderling.api.chat.passing import pass_on
from sanderling.api.chat.requests import (
    CreateChatCompletion,
    Envelope,
    passed_on,
    refuse_unsupported,
    run_request,
)
from sanderling.api.describing import described
from sanderling.api.files import find_file
from sanderling.api.replies import json_reply
from sanderling.api.responses.inputs import input_items
from sanderling.api.responses.tools import Auto, CodeInterpreter
from sanderling.api.routing import Organization, Partners
from sanderling.api.services import Services
from sanderling.api.validation import check
from sanderling.errors import RequestError, SanderlingError
from sanderling.observe import logs
from sanderling.records import Run
from sanderling.runs.events import Event

router = APIRouter(prefix="/chat/completions")


@router.post("")
@described(
    shapes.ChatCompletion,
    json=CreateChatCompletion,
    statuses=(404, 502, 503, 504),
    is_streamed=True,
)
async def create_chat_completion(
    request: Request, services: Partners, organization_id: Organization
) -> Response:
    """Complete a chat; with the code interpreter, after having run code."""
    given = await json_value(request)
    envelope = check(Envelope, given)
    if not envelope.runs_code:
        opening = services.model.relay(passed_on(given))
        if opening is not None:
            return Awaited(lambda stack: pass_on(opening, stack))
    body = check(CreateChatCompletion, given)
    refuse_unsupported(body)
    return Awaited(lambda stack: _answer(body, given, services, organization_id, stack))


async def _answer(
    body: CreateChatCompletion,
    given: dict[str, Any],
    services: Services,
    organization_id: str,
    stack: AsyncExitStack,
) -> Response:
    run = await _start(body, given, services, organization_id)
    options = body.stream_options
    projection = ChatProjection(
        run, include_usage=bool(body.stream and options and options.include_usage)
    )
    early, events = await attend(services.runner, run, stack)
    if body.stream:
        return sse.EventStream(_frames(projection, early, events))
    for event in early:
        projection.project(event)
    async for event in events:
        projection.project(event)
    if projection.run.error is not None:
        raise failure(projection.run.error)
    return json_reply(projection.completion)


async def _start(
    body: CreateChatCompletion, given: dict[str, Any], services: Services, organization_id: str
) -> Run:
    items, places = input_of(body.messages)
    try:
        await _check_tool_files(body, services, organization_id)
        reading = input_items(
            items,
            services=services,
            organization_id=organization_id,
            places=places,
            is_sent_again=True,
        )
        async with reading as records:
            asked = run_request(body, given, records, organization_id=organization_id)
            return await services.runner.start(asked)
    except RequestError as error:
        raise in_words_of_chat(error) from error


async def _check_tool_files(
    body: CreateChatCompletion, services: Services, organization_id: str
) -> None:
    for index, tool in enumerate(body.tools or ()):
        if isinstance(tool, CodeInterpreter) and isinstance(tool.container, Auto):
            for position, file_id in enumerate(tool.container.file_ids or ()):
                param = f"tools[{index}].container.file_ids[{position}]"
                await find_file(services, organization_id, file_id, param=param)


async def _frames(
    projection: ChatProjection, early: list[Event], events: AsyncGenerator[Event, None]
) -> AsyncGenerator[bytes, None]:
    """Yield the run's chunks; `[DONE]` last, or an error where it failed."""
    try:
        for event in early:
            yield _chunks(projection, event)
        async for event in events:
            yield _chunks(projection, event)
    except SanderlingError as error:
        yield sse.data(errors.body_of(error))
        return
    except Exception as error:  # noqa: BLE001 the request boundary, once the stream has begun
        logs.error("request.failed", cause=error, method="POST", route=router.prefix)
        yield sse.data(errors.server_fault(projection.run.id))
        return
    if projection.run.error is not None:
        yield sse.data(errors.body_of(failure(projection.run.error)))
        return
    yield sse.DONE


def _chunks(projection: ChatProjection, event: Event) -> bytes:
    return b"".join(sse.data(chunk) for chunk in projection.project(event))
