"""
Container files: create, list, retrieve, content, delete.

A file is created in one of three ways that SDKs use: multipart with the bytes, JSON with the id of
a stored file, or multipart with only that id.

Source: OpenAI API reference, "Container Files".
"""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response

from sanderling.api import shapes
from sanderling.api.bodies import is_json, json_model
from sanderling.api.describing import FormFile, described, page
from sanderling.api.files import find_file
from sanderling.api.paging import list_object, page_of
from sanderling.api.replies import deleted, download, json_reply
from sanderling.api.routing import Organization, Partners
from sanderling.api.services import Services
from sanderling.api.uploads import received_form
from sanderling.api.validation import RequestModel, missing
from sanderling.errors import InvalidRequest
from sanderling.records import ContainerFile

router = APIRouter(prefix="/containers/{container_id}/files")


class CreateContainerFile(RequestModel):
    file_id: str | None = None


class ContainerFileForm(RequestModel):
    """The form as it is described, with one of the two; `received_form` reads it."""

    file: FormFile | None = None
    file_id: str | None = None


def container_file_object(file: ContainerFile) -> dict[str, Any]:
    """Return the container file as clients see it."""
    return {
        "id": file.id,
        "object": "container.file",
        "bytes": file.bytes,
        "container_id": file.container_id,
        "created_at": int(file.created_at),
        "path": file.path,
        "source": file.source,
        "mime_type": file.mime_type,
    }


@router.post("")
@described(shapes.ContainerFile, json=CreateContainerFile, form=ContainerFileForm, statuses=(503,))
async def create_container_file(
    container_id: str, request: Request, services: Partners, organization_id: Organization
) -> Response:
    """Put a file into the container, by its bytes or by the id of a stored file."""
    # Before 512 MB are received for a container that is not there.
    await services.containers.get(organization_id, container_id)
    if is_json(request):
        body = await json_model(request, CreateContainerFile)
        if body.file_id is None:
            raise missing("file_id")
        file = await _add_stored(services, organization_id, container_id, body.file_id)
    else:
        file = await _receive(container_id, request, services, organization_id)
    return json_reply(container_file_object(file))


async def _receive(
    container_id: str, request: Request, services: Services, organization_id: str
) -> ContainerFile:
    limit = services.settings.file_bytes_max
    async with received_form(request, services.store, file_bytes_max=limit) as form:
        file_id = form.fields.get("file_id")
        if form.file is None and not file_id:
            raise missing("file")
        if form.file is not None and file_id:
            raise InvalidRequest(
                "Give either 'file' or 'file_id', not both.", param="file_id", code="invalid_value"
            )
        if form.file is not None:
            return await services.containers.add_blob(
                organization_id,
                container_id,
                filename=form.file.filename,
                blob_id=form.file.blob_id,
                bytes=form.file.bytes,
            )
        assert file_id is not None
        return await _add_stored(services, organization_id, container_id, file_id)


async def _add_stored(
    services: Services, organization_id: str, container_id: str, file_id: str
) -> ContainerFile:
    await find_file(services, organization_id, file_id, param="file_id")
    return await services.containers.add_stored_file(organization_id, container_id, file_id)


@router.get("")
@described(shapes.ContainerFileList, query=page())
async def list_container_files(
    container_id: str, request: Request, services: Partners, organization_id: Organization
) -> Response:
    """List the files of a container, newest first."""
    listing = await services.containers.files_page(organization_id, container_id, page_of(request))
    return json_reply(list_object(listing, container_file_object))


@router.get("/{file_id}")
@described(shapes.ContainerFile)
async def retrieve_container_file(
    container_id: str, file_id: str, services: Partners, organization_id: Organization
) -> Response:
    """Return a container file's record."""
    file = await services.containers.get_file(organization_id, container_id, file_id)
    return json_reply(container_file_object(file))


@router.get("/{file_id}/content")
@described(None)
async def container_file_content(
    container_id: str, file_id: str, services: Partners, organization_id: Organization
) -> Response:
    """Stream a container file's bytes; those of an expired container too."""
    file = await services.containers.get_file(organization_id, container_id, file_id)
    return download(
        services.containers.read(file), bytes=file.bytes, filename=file.path.rpartition("/")[2]
    )


@router.delete("/{file_id}")
@described(shapes.Deleted, statuses=(503,))
async def delete_container_file(
    container_id: str, file_id: str, services: Partners, organization_id: Organization
) -> Response:
    """Remove a file from the container and from its box."""
    await services.containers.delete_file(organization_id, container_id, file_id)
    return deleted(file_id, "container.file.deleted")
