"""
Conversations and their items: create, list, retrieve, update, delete.

The items are those of a response's input and output, read by the same reader and shown by the same
projection. A response that names a conversation adds its own when it ends; see `store/turns.py`.

Source: OpenAI API reference, "Conversations".
"""

from __future__ import annotations

from typing import Annotated, Any, get_args

from fastapi import APIRouter, Request, Response
from pydantic import Field

from sanderling.api import shapes
from sanderling.api.bodies import json_model
from sanderling.api.describing import Query, described, page
from sanderling.api.paging import list_of, page_of, strings
from sanderling.api.replies import deleted, json_reply
from sanderling.api.responses.inputs import input_items
from sanderling.api.responses.objects import item_object
from sanderling.api.responses.parts import InputItems
from sanderling.api.responses.requests import CODE_OUTPUTS, Include, Metadata
from sanderling.api.routing import Organization, Partners
from sanderling.api.services import Services
from sanderling.api.validation import RequestModel, invalid_value
from sanderling.errors import NotFound
from sanderling.ids import new_id
from sanderling.records import StoredConversation
from sanderling.store.turns import unknown

router = APIRouter(prefix="/conversations")

# OpenAI's own limit of items in one request.
ITEMS_MAX = 20
_INCLUDE = Query(
    "include[]",
    {"type": "array", "items": {"type": "string", "enum": list(get_args(Include))}},
    "What items show beside themselves.",
)


class CreateConversation(RequestModel):
    items: Annotated[InputItems, Field(max_length=ITEMS_MAX)] | None = None
    metadata: Metadata | None = None


class UpdateConversation(RequestModel):
    metadata: Metadata | None


class CreateItems(RequestModel):
    items: Annotated[InputItems, Field(min_length=1, max_length=ITEMS_MAX)]


def conversation_object(conversation: StoredConversation) -> dict[str, Any]:
    """Return the conversation as clients see it."""
    return {
        "id": conversation.id,
        "object": "conversation",
        "created_at": int(conversation.created_at),
        "metadata": conversation.metadata,
    }


# ---- conversations -----------------------------------------------------------------------------


@router.post("")
@described(shapes.Conversation, json=CreateConversation, statuses=(404,))
async def create_conversation(
    request: Request, services: Partners, organization_id: Organization
) -> Response:
    """Create a conversation, with its first items if there are any."""
    body = await json_model(request, CreateConversation)
    conversation = StoredConversation(
        new_id("conv"), organization_id, services.clock.now(), body.metadata or {}
    )
    given = input_items(
        body.items, services=services, organization_id=organization_id, param="items"
    )
    async with given as items:
        await services.store.conversations.insert(conversation, items)
    return json_reply(conversation_object(conversation))


@router.get("/{conversation_id}")
@described(shapes.Conversation)
async def retrieve_conversation(
    conversation_id: str, services: Partners, organization_id: Organization
) -> Response:
    """Return a conversation."""
    found = await _find(services, organization_id, conversation_id)
    return json_reply(conversation_object(found))


@router.post("/{conversation_id}")
@described(shapes.Conversation, json=UpdateConversation)
async def update_conversation(
    conversation_id: str, request: Request, services: Partners, organization_id: Organization
) -> Response:
    """Replace a conversation's metadata; null takes it away."""
    body = await json_model(request, UpdateConversation)
    changed = await services.store.conversations.update(
        organization_id, conversation_id, body.metadata or {}
    )
    if changed is None:
        raise unknown(conversation_id)
    return json_reply(conversation_object(changed))


@router.delete("/{conversation_id}")
@described(shapes.Deleted)
async def delete_conversation(
    conversation_id: str, services: Partners, organization_id: Organization
) -> Response:
    """Delete a conversation with its items; a response at work on it goes on to its own end."""
    if not await services.store.conversations.delete(organization_id, conversation_id):
        raise unknown(conversation_id)
    return deleted(conversation_id, "conversation.deleted")


# ---- items -------------------------------------------------------------------------------------


@router.post("/{conversation_id}/items")
@described(shapes.ItemList, json=CreateItems, query=(_INCLUDE,))
async def create_items(
    conversation_id: str, request: Request, services: Partners, organization_id: Organization
) -> Response:
    """Add items at the end of a conversation; list them as they were added."""
    body = await json_model(request, CreateItems)
    with_outputs = _with_outputs(request)
    await _find(services, organization_id, conversation_id)
    given = input_items(
        body.items, services=services, organization_id=organization_id, param="items"
    )
    async with given as items:
        await services.store.conversations.add(organization_id, conversation_id, items)
    return json_reply(list_of([item_object(each, with_outputs=with_outputs) for each in items]))


@router.get("/{conversation_id}/items")
@described(shapes.ItemList, query=(*page(), _INCLUDE))
async def list_items(
    conversation_id: str, request: Request, services: Partners, organization_id: Organization
) -> Response:
    """List the items of a conversation, newest first."""
    page, with_outputs = page_of(request), _with_outputs(request)
    await _find(services, organization_id, conversation_id)
    listing = await services.store.conversations.page(conversation_id, page)
    items = [item_object(item, with_outputs=with_outputs) for item in listing.data]
    return json_reply(list_of(items, has_more=listing.has_more))


@router.get("/{conversation_id}/items/{item_id}")
@described(shapes.Item, query=(_INCLUDE,))
async def retrieve_item(
    conversation_id: str,
    item_id: str,
    request: Request,
    services: Partners,
    organization_id: Organization,
) -> Response:
    """Return an item of a conversation."""
    with_outputs = _with_outputs(request)
    item = await services.store.conversations.item(organization_id, conversation_id, item_id)
    if item is None:
        await _find(services, organization_id, conversation_id)
        raise _unknown_item(conversation_id, item_id)
    return json_reply(item_object(item, with_outputs=with_outputs))


@router.delete("/{conversation_id}/items/{item_id}")
@described(shapes.Conversation)
async def delete_item(
    conversation_id: str, item_id: str, services: Partners, organization_id: Organization
) -> Response:
    """Delete an item; return its conversation."""
    found = await _find(services, organization_id, conversation_id)
    if not await services.store.conversations.delete_item(
        organization_id, conversation_id, item_id
    ):
        raise _unknown_item(conversation_id, item_id)
    return json_reply(conversation_object(found))


# ---- what all of them ask ----------------------------------------------------------------------


async def _find(
    services: Services, organization_id: str, conversation_id: str
) -> StoredConversation:
    found = await services.store.conversations.get(organization_id, conversation_id)
    if found is None:
        raise unknown(conversation_id)
    return found


def _unknown_item(conversation_id: str, item_id: str) -> NotFound:
    return NotFound(f"Item with id '{item_id}' not found in conversation '{conversation_id}'.")


def _with_outputs(request: Request) -> bool:
    """Return whether `include` asks for what code printed; the other values are no-ops here."""
    asked = strings(request, "include")
    for index, value in enumerate(asked):
        if value not in get_args(Include):
            raise invalid_value(f"include[{index}]", value, get_args(Include))
    return CODE_OUTPUTS in asked
