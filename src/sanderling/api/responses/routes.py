"""
The Responses API: create, retrieve, cancel, delete, input items; plain, streamed, in background.

A plain reply drains the same feed that a stream is made of, and a stored response can be streamed
again from any event on. The run is the runner's: a client that leaves stops only its own stream.

Source: OpenAI API reference, "Responses".
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Sequence
from typing import Any

from fastapi import APIRouter, Request, Response

from sanderling.api import shapes
from sanderling.api.bodies import json_model
from sanderling.api.describing import Query, described, page
from sanderling.api.paging import flag, integer, list_of, page_of, strings
from sanderling.api.replies import deleted, json_reply
from sanderling.api.responses.events import ResponseProjection
from sanderling.api.responses.including import IMAGE_URLS, with_image_urls
from sanderling.api.responses.objects import item_object, response_object
from sanderling.api.responses.requests import CODE_OUTPUTS, CreateResponse
from sanderling.api.responses.socket import responses_socket
from sanderling.api.responses.starting import projection_of, shows_outputs, start_response
from sanderling.api.routing import Organization, Partners
from sanderling.api.services import Services
from sanderling.api.sse import EventStream, frame
from sanderling.errors import Conflict, SanderlingError
from sanderling.observe import logs
from sanderling.records import Item, Run, RunError
from sanderling.runs.events import RunChanged

router = APIRouter(prefix="/responses")
router.add_api_websocket_route("", responses_socket)

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
    """
    Start a run; reply with its events as they happen, or with the response when it has ended.

    A background response is replied at once, as it is: queued.
    """
    body = await json_model(request, CreateResponse)
    run = await start_response(body, services, organization_id)
    projection = projection_of(run)
    if body.stream:
        return EventStream(_frames(services, run, projection, is_first=True))
    if run.request.background:
        return json_reply(projection.response)
    try:
        async for _, event in services.runner.follow(run.id):
            projection.project(event)
    finally:
        await services.runner.let_go(run)
    return json_reply(projection.response)


def _stored_object(
    run: Run, output: Sequence[Item], include: frozenset[str] = frozenset()
) -> dict[str, Any]:
    with_outputs = shows_outputs(run, include)
    return response_object(run, [item_object(item, with_outputs=with_outputs) for item in output])


async def _frames(
    services: Services,
    run: Run,
    projection: ResponseProjection,
    *,
    after: int = -1,
    is_first: bool = False,
) -> AsyncGenerator[bytes, None]:
    """
    Yield the run's wire events numbered above `after`; the last is a terminal one, always.

    is_first: this is the stream of the request that started the run.
    """
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
    finally:
        if is_first:
            await services.runner.let_go(run)
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
        return EventStream(_frames(services, run, projection_of(run, include), after=after))
    if run.status == "in_progress" and (begun := await services.runner.progress(run.id)):
        # What ended meanwhile is in the store; the item is shown once.
        run, _, output = await services.runner.get(organization_id, response_id)
        if run.status == "in_progress" and begun.id not in {item.id for item in output}:
            output = [*output, begun]
    return json_reply(_stored_object(run, output, include))


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
    """Stop a background response and the code it runs; one that has ended is returned as it is."""
    run, _, _ = await services.runner.get(organization_id, response_id)
    if not run.request.background:
        raise Conflict("Cannot cancel a synchronous response.")
    with contextlib.suppress(Conflict):  # it has come to another end, perhaps just now
        await services.runner.cancel(organization_id, response_id)
    run, _, output = await services.runner.get(organization_id, response_id)
    return json_reply(_stored_object(run, output))


@router.get("/{response_id}/input_items")
@described(shapes.ItemList, query=(*page(), _INCLUDE))
async def list_input_items(
    response_id: str, request: Request, services: Partners, organization_id: Organization
) -> Response:
    """List the items that the response was given, newest first."""
    await services.runner.get(organization_id, response_id)
    listing = await services.store.runs.page_input(response_id, page_of(request))
    include = strings(request, "include")
    records: Sequence[Item] = listing.data
    if IMAGE_URLS in include:
        records = await with_image_urls(records, services, organization_id)
    items = [item_object(item, with_outputs=CODE_OUTPUTS in include) for item in records]
    return json_reply(list_of(items, has_more=listing.has_more))
