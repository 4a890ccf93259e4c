"""
The Responses API: create, retrieve, delete, input items; plain or as a stream.

A plain reply drains the same feed that a stream is made of, and a stored response can be streamed
again from any event on. The run is the runner's: a client that leaves stops only its own stream.

Source: OpenAI API reference, "Responses".
"""

from __future__ import annotations

from collections.abc import AsyncGenerator

from fastapi import APIRouter, Request, Response

from sanderling.api import shapes
from sanderling.api.bodies import json_model
from sanderling.api.describing import Query, described, page
from sanderling.api.files import find_file
from sanderling.api.paging import flag, integer, list_of, page_of, strings
from sanderling.api.replies import deleted, json_reply
from sanderling.api.responses.events import ResponseProjection
from sanderling.api.responses.inputs import input_items
from sanderling.api.responses.objects import item_object, response_object
from sanderling.api.responses.requests import (
    CODE_OUTPUTS,
    CreateResponse,
    refuse_unsupported,
    run_request,
)
from sanderling.api.responses.tools import Auto, CodeInterpreter
from sanderling.api.routing import Organization, Partners
from sanderling.api.services import Services
from sanderling.api.sse import EventStream, frame
from sanderling.errors import Conflict, SanderlingError
from sanderling.observe import logs
from sanderling.records import Run, RunError
from sanderling.runs.events import RunChanged

router = APIRouter(prefix="/responses")

_INCLUDE = Query(
    "include[]", {"type": "array", "items": {"type": "string"}}, "What else is to be shown."
)
_RETRIEVAL = (
    _INCLUDE,
    Query("stream", {"type": "boolean"}, "Send its events again, and what follows."),
    Query("starting_after", {"type": "integer", "minimum": 0}, "The last event that is known."),
)


@router.post("")
@described(shapes.Response, json=CreateResponse, statuses=(404, 502, 503, 504), is_streamed=True)
async def create_response(
    request: Request, services: Partners, organization_id: Organization
) -> Response:
    """Start a run; reply with its events as they happen, or with the response when it has ended."""
    body = await json_model(request, CreateResponse)
    refuse_unsupported(body)
    await _check_tool_files(body, services, organization_id)
    given = input_items(body.input, services=services, organization_id=organization_id)
    async with given as items:
        run = await services.runner.start(run_request(body, items, organization_id=organization_id))
    projection = _projection(run)
    if body.stream:
        return EventStream(_frames(services, run, projection))
    async for _, event in services.runner.follow(run.id):
        projection.project(event)
    return json_reply(projection.response)


async def _check_tool_files(body: CreateResponse, services: Services, organization_id: str) -> None:
    for index, tool in enumerate(body.tools or ()):
        if isinstance(tool, CodeInterpreter) and isinstance(tool.container, Auto):
            for position, file_id in enumerate(tool.container.file_ids or ()):
                param = f"tools[{index}].container.file_ids[{position}]"
                await find_file(services, organization_id, file_id, param=param)


def _projection(run: Run, include: frozenset[str] = frozenset()) -> ResponseProjection:
    echo = run.request.echo
    return ResponseProjection(
        run,
        with_outputs=CODE_OUTPUTS in include or CODE_OUTPUTS in echo.get("include", ()),
        with_output_deltas=bool(echo.get("include_output_deltas")),
    )


async def _frames(
    services: Services, run: Run, projection: ResponseProjection, *, after: int = -1
) -> AsyncGenerator[bytes, None]:
    """Yield the run's wire events numbered above `after`; the last is a terminal one, always."""
    try:
        async for _, event in services.runner.follow(run.id):
            wires = [w for w in projection.project(event) if w["sequence_number"] > after]
            if wires:
                yield b"".join(frame(wire["type"], wire) for wire in wires)
    except SanderlingError as error:
        fault = RunError("server_error", error.message)
    except Exception as error:  # noqa: BLE001 the request boundary, once the stream has begun
        logs.error("request.failed", cause=error, method="GET", route=router.prefix)
        fault = RunError("server_error", "The server had an error while sending this stream.")
    else:
        fault = RunError("server_error", "The events of this response end without its end.")
    if not projection.has_ended:
        failed = RunChanged("failed", services.clock.now(), error=fault)
        yield b"".join(frame(wire["type"], wire) for wire in projection.project(failed))


@router.get("/{response_id}")
@described(shapes.Response, query=_RETRIEVAL, is_streamed=True)
async def retrieve_response(
    response_id: str, request: Request, services: Partners, organization_id: Organization
) -> Response:
    """Return a response, or stream it again from the event after `starting_after` on."""
    include = frozenset(strings(request, "include"))
    run, _, output = await services.runner.get(organization_id, response_id)
    query = request.query_params
    after = integer(
        query.get("starting_after"), "starting_after", default=-1, least=0, most=1 << 53
    )
    if flag(query.get("stream"), "stream"):
        return EventStream(_frames(services, run, _projection(run, include), after=after))
    items = [item_object(item, with_outputs=CODE_OUTPUTS in include) for item in output]
    return json_reply(response_object(run, items))


@router.delete("/{response_id}")
@described(shapes.Deleted)
async def delete_response(
    response_id: str, services: Partners, organization_id: Organization
) -> Response:
    """Delete a response; one that is at work is stopped first."""
    await services.runner.delete(organization_id, response_id)
    return deleted(response_id, "response")


@router.post("/{response_id}/cancel")
@described(shapes.Response)
async def cancel_response(
    response_id: str, services: Partners, organization_id: Organization
) -> Response:
    """Refuse, as OpenAI does: only background responses can be cancelled."""
    await services.runner.get(organization_id, response_id)
    raise Conflict("Cannot cancel a synchronous response.")


@router.get("/{response_id}/input_items")
@described(shapes.ItemList, query=(*page(), _INCLUDE))
async def list_input_items(
    response_id: str, request: Request, services: Partners, organization_id: Organization
) -> Response:
    """List the items that the response was given, newest first."""
    await services.runner.get(organization_id, response_id)
    listing = await services.store.runs.page_input(response_id, page_of(request))
    with_outputs = CODE_OUTPUTS in strings(request, "include")
    items = [item_object(item, with_outputs=with_outputs) for item in listing.data]
    return json_reply(list_of(items, has_more=listing.has_more))
