"""
The Files API: create, list, retrieve, delete, content.

Unlike OpenAI's, files of every purpose can be downloaded again: they are on the operator's own
disk. A container file can be had here by its `cfile_…` id too, record and content, because clients
that only know the Files API look for it here.

Source: OpenAI API reference, "Files".
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from typing import Any, Literal, get_args

from fastapi import APIRouter, Request, Response
from pydantic import Field

from sanderling.api import shapes
from sanderling.api.describing import FormFile, Query, described, page
from sanderling.api.paging import list_object, page_of
from sanderling.api.replies import deleted, download, json_reply
from sanderling.api.routing import Organization, Partners
from sanderling.api.services import Services
from sanderling.api.uploads import ReceivedFile, received_form
from sanderling.api.validation import RequestModel, invalid_value, missing
from sanderling.containers.names import safe_name
from sanderling.errors import InvalidRequest, NotFound
from sanderling.ids import file_id_of, new_id
from sanderling.records import ContainerFile, StoredFile

router = APIRouter()

PurposeName = Literal["assistants", "batch", "fine-tune", "vision", "user_data", "evals"]
UPLOAD_PURPOSES: tuple[PurposeName, ...] = get_args(PurposeName)
# What OpenAI takes: an hour to thirty days.
EXPIRES_AFTER_S = (3600, 2_592_000)
# OpenAI keeps these for thirty days unless something else is said, all others for good.
_BATCH_LIFETIME_S = EXPIRES_AFTER_S[1]
_LIST_LIMIT = 10_000
_CONTAINER_FILE = "cfile_"


_PURPOSE = Query("purpose", {"type": "string"}, "Only the files of that purpose.")


class CreateFile(RequestModel):
    """The form as it is described; `_purpose` and `_asked_lifetime_s` check it."""

    file: FormFile
    purpose: PurposeName
    anchor: Literal["created_at"] | None = Field(None, alias="expires_after[anchor]")
    seconds: int | None = Field(
        None, alias="expires_after[seconds]", ge=EXPIRES_AFTER_S[0], le=EXPIRES_AFTER_S[1]
    )


def file_object(file: StoredFile) -> dict[str, Any]:
    """Return the file as clients see it."""
    return {
        "id": file.id,
        "object": "file",
        "bytes": file.bytes,
        "created_at": int(file.created_at),
        "expires_at": None if file.expires_at is None else int(file.expires_at),
        "filename": file.filename,
        "purpose": file.purpose,
        "status": "processed",
        "status_details": None,
    }


def container_file_as_file(file: ContainerFile) -> dict[str, Any]:
    """Return a container file as a client of the Files API sees it."""
    return {
        "id": file.id,
        "object": "file",
        "bytes": file.bytes,
        "created_at": int(file.created_at),
        "expires_at": None,
        "filename": _last_name(file),
        "purpose": "assistants_output" if file.source == "assistant" else "user_data",
        "status": "processed",
        "status_details": None,
    }


def _last_name(file: ContainerFile) -> str:
    return file.path.rpartition("/")[2]


@router.post("/files")
@described(shapes.File, form=CreateFile)
async def create_file(
    request: Request, services: Partners, organization_id: Organization
) -> Response:
    """Receive a file; `purpose` and `expires_after[…]` may come before or after it."""
    limit = services.settings.file_bytes_max
    async with received_form(request, services.store, file_bytes_max=limit) as form:
        purpose = _purpose(form.fields)
        lifetime_s = lifetime_of(purpose, _asked_lifetime_s(form.fields))
        if form.file is None:
            raise missing("file")
        file = await store_file(
            services, organization_id, form.file, purpose=purpose, lifetime_s=lifetime_s
        )
    return json_reply(file_object(file))


async def store_file(
    services: Services,
    organization_id: str,
    received: ReceivedFile,
    *,
    purpose: str,
    lifetime_s: int | None = None,
) -> StoredFile:
    """Record a blob as a file of the organization."""
    file = _record(services, organization_id, received, purpose=purpose, lifetime_s=lifetime_s)
    await services.store.files.insert(file)
    return file


def _record(
    services: Services,
    organization_id: str,
    received: ReceivedFile,
    *,
    purpose: str,
    lifetime_s: int | None = None,
) -> StoredFile:
    now = services.clock.now()
    return StoredFile(
        id=new_id("file"),
        organization_id=organization_id,
        filename=safe_name(received.filename),
        purpose=purpose,
        bytes=received.bytes,
        created_at=now,
        blob_id=received.blob_id,
        expires_at=None if lifetime_s is None else now + lifetime_s,
    )


async def keep_content(
    services: Services,
    organization_id: str,
    data: bytes,
    *,
    filename: str,
    purpose: str,
    is_sent_again: bool,
) -> tuple[StoredFile, bool]:
    """
    Keep what came inside a request as a file of the organization; return it, and if it is new.

    is_sent_again: the same content under the same name is the same file, as it comes from clients
        that send all they ever sent with every request; code must not find it twice.
    """
    store = services.store
    file_id = new_id("file")
    if is_sent_again:
        file_id = file_id_of(organization_id.encode(), safe_name(filename).encode(), data)
    known = await store.files.get(organization_id, file_id)
    if known is not None:
        return known, False
    async with store.blobs.writer(bytes_max=len(data)) as writer:
        await writer.write(data)
    received = ReceivedFile(filename, writer.blob_id, writer.bytes)
    record = _record(services, organization_id, received, purpose=purpose)
    file = await store.files.keep(dataclasses.replace(record, id=file_id))
    if file.blob_id != received.blob_id:  # another request was faster
        await store.release_blob(received.blob_id)
    return file, file.blob_id == received.blob_id


def _purpose(fields: Mapping[str, str]) -> str:
    purpose = fields.get("purpose")
    if purpose is None:
        raise missing("purpose")
    if purpose not in UPLOAD_PURPOSES:
        raise invalid_value("purpose", purpose, UPLOAD_PURPOSES)
    return purpose


def lifetime_of(purpose: str, asked_s: int | None) -> int | None:
    """Return for how many seconds a file is kept that is to be kept so long; None: for good."""
    return _BATCH_LIFETIME_S if asked_s is None and purpose == "batch" else asked_s


def _asked_lifetime_s(fields: Mapping[str, str]) -> int | None:
    anchor, seconds = fields.get("expires_after[anchor]"), fields.get("expires_after[seconds]")
    if anchor is None and seconds is None:
        return None
    if anchor is None:
        raise missing("expires_after[anchor]")
    if anchor != "created_at":
        raise invalid_value("expires_after[anchor]", anchor, ("created_at",))
    if seconds is None:
        raise missing("expires_after[seconds]")
    least, most = EXPIRES_AFTER_S
    if not re.fullmatch(r"[0-9]{1,18}", seconds) or not least <= int(seconds) <= most:
        raise InvalidRequest(
            f"Invalid 'expires_after[seconds]': expected an integer from {least} to {most}.",
            param="expires_after[seconds]",
            code="invalid_value",
        )
    return int(seconds)


@router.get("/files")
@described(shapes.FileList, query=(*page(_LIST_LIMIT, _LIST_LIMIT), _PURPOSE))
async def list_files(
    request: Request, services: Partners, organization_id: Organization
) -> Response:
    """List files, newest first."""
    listing = await services.store.files.page(
        organization_id,
        purpose=request.query_params.get("purpose") or None,
        now=services.clock.now(),
        page=page_of(request, limit=_LIST_LIMIT, limit_max=_LIST_LIMIT),
    )
    return json_reply(list_object(listing, file_object))


@router.get("/files/{file_id}")
@described(shapes.File)
async def retrieve_file(
    file_id: str, services: Partners, organization_id: Organization
) -> Response:
    """Return a file's record."""
    if file_id.startswith(_CONTAINER_FILE):
        found = await _find_container_file(services, organization_id, file_id)
        return json_reply(container_file_as_file(found))
    return json_reply(file_object(await find_file(services, organization_id, file_id)))


@router.delete("/files/{file_id}")
@described(shapes.Deleted)
async def delete_file(file_id: str, services: Partners, organization_id: Organization) -> Response:
    """Delete a file; copies of it in containers stay."""
    await find_file(services, organization_id, file_id)
    file = await services.store.files.delete(organization_id, file_id)
    if file is None:  # somebody else was faster
        raise _no_such_file(file_id, "id")
    await services.store.release_blob(file.blob_id)
    return deleted(file_id, "file")


@router.get("/files/{file_id}/content")
@described(None)
async def file_content(file_id: str, services: Partners, organization_id: Organization) -> Response:
    """Stream a file's bytes."""
    if file_id.startswith(_CONTAINER_FILE):
        found = await _find_container_file(services, organization_id, file_id)
        chunks = services.containers.read(found)
        return download(chunks, bytes=found.bytes, filename=_last_name(found))
    file = await find_file(services, organization_id, file_id)
    return download(
        services.store.blobs.read(file.blob_id), bytes=file.bytes, filename=file.filename
    )


async def find_file(
    services: Services, organization_id: str, file_id: str, *, param: str = "id"
) -> StoredFile:
    """
    Return a file of the organization.

    Raises:
        NotFound: there is none, or its time is over.
    """
    file = await services.store.files.get(organization_id, file_id)
    if file is None or file.is_expired(services.clock.now()):
        raise _no_such_file(file_id, param)
    return file


async def _find_container_file(
    services: Services, organization_id: str, file_id: str
) -> ContainerFile:
    found = await services.store.container_files.find(organization_id, file_id)
    if found is None:
        raise _no_such_file(file_id, "id")
    return found


def _no_such_file(file_id: str, param: str) -> NotFound:
    return NotFound(f"No such File object: {file_id}", param=param)
