"""
What can be asked of a conversation without answering it: how long it is, and to make it shorter.

Nothing is stored: files that come inside such a request are taken back when it is answered.

Source: OpenAI API reference, "Get input token counts" and "Compact a response".
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Annotated

import anyio.to_thread
from fastapi import APIRouter, Request, Response
from pydantic import Field

from sanderling.api import shapes
from sanderling.api.bodies import json_model
from sanderling.api.describing import described
from sanderling.api.replies import json_reply
from sanderling.api.responses.inputs import input_items
from sanderling.api.responses.objects import item_object, usage_object
from sanderling.api.responses.requests import CreateResponse, refuse_unsupported, run_request
from sanderling.api.routing import Organization, Partners
from sanderling.api.services import Services
from sanderling.ids import new_id
from sanderling.models.code_tool import request_body
from sanderling.records import RunRequest
from sanderling.runs.asking import turn_request
from sanderling.runs.briefing import Briefing
from sanderling.runs.compacting import compact
from sanderling.runs.counting import request_tokens

router = APIRouter(prefix="/responses")


class CompactResponse(CreateResponse):
    """`model` must be there, though a request to answer may leave it out."""

    model: Annotated[str, Field(min_length=1, max_length=512)]


class _TakenBack(Exception):
    """Ends a block whose files are not to stay."""


@asynccontextmanager
async def _briefed(
    body: CreateResponse, services: Services, organization_id: str
) -> AsyncIterator[tuple[RunRequest, Briefing]]:
    """Yield what a run of `body` would be given; then take back the files stored for it."""
    refuse_unsupported(body)
    try:
        given = input_items(body.input, services=services, organization_id=organization_id)
        async with given as items:
            request = run_request(body, items, organization_id=organization_id)
            yield request, await services.runner.brief(request)
            raise _TakenBack
    except _TakenBack:
        return


@router.post("/input_tokens")
@described(shapes.InputTokens, json=CreateResponse, statuses=(404,))
async def count_input_tokens(
    request: Request, services: Partners, organization_id: Organization
) -> Response:
    """Say how many tokens the model would read, as near as can be said without its tokenizer."""
    body = await json_model(request, CreateResponse)
    async with _briefed(body, services, organization_id) as (asked, briefing):
        turn = turn_request(
            asked,
            briefing.conversation.messages(),
            offers_code=briefing.workspace.offers_code,
            is_first=True,
            is_last=False,
            is_code_used_up=False,
            output_tokens=0,
        )
        timeout_s = services.settings.execution_timeout_s
        sent = request_body(turn, model=turn.model, execution_timeout_s=timeout_s)
        # A body of 32 MB takes seconds, which everybody else need not wait for.
        count = await anyio.to_thread.run_sync(
            request_tokens, sent["messages"], sent.get("tools", ())
        )
    return json_reply({"object": "response.input_tokens", "input_tokens": count})


@router.post("/compact")
@described(shapes.Compaction, json=CompactResponse, statuses=(404, 502, 504))
async def compact_response(
    request: Request, services: Partners, organization_id: Organization
) -> Response:
    """Return the conversation as one item, which can be given back as input in its place."""
    body = await json_model(request, CompactResponse)
    async with _briefed(body, services, organization_id) as (asked, briefing):
        compacted = await compact(asked, briefing.conversation, services.model)
    # Files that came inside this request are gone; what is said of them in the summary stays.
    known = [i for i in compacted.item.file_ids if await _is_there(services, organization_id, i)]
    item = replace(compacted.item, file_ids=tuple(known))
    return json_reply(
        {
            "id": new_id("resp"),
            "object": "response.compaction",
            "created_at": int(services.clock.now()),
            "output": [item_object(item, with_outputs=False)],
            "usage": usage_object(compacted.usage),
        }
    )


async def _is_there(services: Services, organization_id: str, file_id: str) -> bool:
    return await services.store.files.get(organization_id, file_id) is not None
