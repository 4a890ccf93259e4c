"""
Containers: create, list, retrieve, delete.

Source: OpenAI API reference, "Containers".
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request, Response
from pydantic import Field

from sanderling.api import shapes
from sanderling.api.bodies import json_model
from sanderling.api.describing import Query, described, page
from sanderling.api.network import NetworkPolicy, asked_domains, policy_object
from sanderling.api.paging import list_object, page_of
from sanderling.api.replies import deleted, json_reply
from sanderling.api.routing import Organization, Partners
from sanderling.api.validation import EnvironmentName, RequestModel
from sanderling.errors import InvalidRequest
from sanderling.records import Container, MemoryTier

router = APIRouter()

# OpenAI's own limit of files named in one request.
FILE_IDS_MAX = 50
# A week: longer than that, state belongs into files.
IDLE_MINUTES_MAX = 7 * 24 * 60


_NAME = Query("name", {"type": "string"}, "Only the containers of that very name.")


class ExpiresAfter(RequestModel):
    anchor: Literal["last_active_at"]
    minutes: int = Field(ge=0, le=IDLE_MINUTES_MAX)


class CreateContainer(RequestModel):
    name: Annotated[str, Field(min_length=1, max_length=256)]
    memory_limit: MemoryTier | None = None
    expires_after: ExpiresAfter | None = None
    file_ids: Annotated[list[str], Field(max_length=FILE_IDS_MAX)] | None = None
    network_policy: NetworkPolicy | None = None
    skills: list[Any] | None = None
    environment: EnvironmentName | None = None


def container_object(container: Container, isolation: str) -> dict[str, Any]:
    """Return the container as clients see it. `isolation`: the level its box has, or will have."""
    return {
        "id": container.id,
        "object": "container",
        "created_at": int(container.created_at),
        "status": container.status,
        "expires_after": {
            "anchor": "last_active_at",
            "minutes": container.expires_after_minutes,
        },
        "last_active_at": int(container.last_active_at),
        "memory_limit": container.memory_limit,
        "name": container.name,
        "network_policy": policy_object(container.allowed_domains),
        "isolation": isolation,
        "environment": container.environment,
    }


@router.post("/containers")
@described(shapes.Container, json=CreateContainer, statuses=(404, 503))
async def create_container(
    request: Request, services: Partners, organization_id: Organization
) -> Response:
    """Create a container; its box comes with its first code."""
    body = await json_model(request, CreateContainer)
    if "\0" in body.name:
        raise InvalidRequest(
            "Invalid 'name': it holds a NUL character.", param="name", code="invalid_value"
        )
    if body.skills:
        raise InvalidRequest(
            "Skills are not supported by this server.", param="skills", code="invalid_value"
        )
    container = await services.containers.create(
        organization_id,
        name=body.name,
        memory_limit=body.memory_limit or "1g",
        expires_after_minutes=body.expires_after.minutes if body.expires_after else None,
        file_ids=body.file_ids or (),
        allowed_domains=asked_domains(body.network_policy, "network_policy"),
        environment=body.environment,
    )
    return json_reply(container_object(container, services.settings.isolation))


@router.get("/containers")
@described(shapes.ContainerList, query=(*page(), _NAME))
async def list_containers(
    request: Request, services: Partners, organization_id: Organization
) -> Response:
    """List containers, newest first; `name` keeps those of that name."""
    listing = await services.containers.page(
        organization_id, page_of(request), name=request.query_params.get("name") or None
    )
    isolation = services.settings.isolation
    return json_reply(list_object(listing, lambda found: container_object(found, isolation)))


@router.get("/containers/{container_id}")
@described(shapes.Container)
async def retrieve_container(
    container_id: str, services: Partners, organization_id: Organization
) -> Response:
    """Return a container, expired ones too; that counts as a use of it."""
    container = await services.containers.retrieve(organization_id, container_id)
    return json_reply(container_object(container, services.settings.isolation))


@router.delete("/containers/{container_id}")
@described(shapes.Deleted)
async def delete_container(
    container_id: str, services: Partners, organization_id: Organization
) -> Response:
    """Delete a container with its files and its box."""
    await services.containers.delete(organization_id, container_id)
    return deleted(container_id, "container.deleted")
