"""
The Uploads API: a file too large for one request comes in parts, and is then a file like others.

Parts are received as files are, straight to the disk, in any order and at the same time. Where each
belongs is said at the end; a file of one part is that part, without a copy.

Source: OpenAI API reference, "Uploads".
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request, Response
from pydantic import Field

from sanderling.api import shapes
from sanderling.api.bodies import json_model
from sanderling.api.describing import FormFile, described
from sanderling.api.files import (
    EXPIRES_AFTER_S,
    PurposeName,
    file_object,
    lifetime_of,
)
from sanderling.api.replies import json_reply
from sanderling.api.routing import Organization, Partners
from sanderling.api.services import Services
from sanderling.api.uploads import received_form
from sanderling.api.validation import RequestModel, missing
from sanderling.containers.names import safe_name
from sanderling.errors import Conflict, Expired, InvalidRequest, NotFound, RateLimited, TooLarge
from sanderling.ids import new_id
from sanderling.records import StoredFile, Upload, UploadPart
from sanderling.store.joining import join, md5_of

router = APIRouter(prefix="/uploads")

# What OpenAI's API says of parts and of the time they may take.
PART_BYTES_MAX = 64 << 20
LIFETIME_S = 3600.0
PART_FIELD = "data"
# 8 GB in parts of 1 MB; SDKs send 64 MB.
PARTS_MAX = 10_000
# Each may hold 8 GB for an hour. Nobody sends a thousand files at once.
PENDING_MAX = 1000
# How soon to ask again for a place among them; one may be completed at any time.
_RETRY_AFTER_S = 10.0


class FileExpiresAfter(RequestModel):
    anchor: Literal["created_at"]
    seconds: int = Field(ge=EXPIRES_AFTER_S[0], le=EXPIRES_AFTER_S[1])


class CreateUpload(RequestModel):
    bytes: Annotated[int, Field(ge=0)]
    filename: Annotated[str, Field(min_length=1, max_length=4096)]
    mime_type: Annotated[str, Field(min_length=1, max_length=255, pattern=r"^[ -~]+$")]
    purpose: PurposeName
    expires_after: FileExpiresAfter | None = None


class CreatePart(RequestModel):
    """The form as it is described; `received_form` reads it."""

    data: FormFile


class CompleteUpload(RequestModel):
    part_ids: Annotated[list[str], Field(max_length=PARTS_MAX)]
    md5: Annotated[str, Field(pattern=r"^[0-9a-fA-F]{32}$")] | None = None


def upload_object(upload: Upload, file: StoredFile | None = None) -> dict[str, Any]:
    """Return the upload as clients see it; `file`: what it became."""
    return {
        "id": upload.id,
        "object": "upload",
        "bytes": upload.bytes,
        "created_at": int(upload.created_at),
        "filename": upload.filename,
        "purpose": upload.purpose,
        "status": upload.status,
        "expires_at": int(upload.expires_at),
        "file": None if file is None else file_object(file),
    }


def part_object(part: UploadPart) -> dict[str, Any]:
    """Return the part as clients see it."""
    return {
        "id": part.id,
        "object": "upload.part",
        "created_at": int(part.created_at),
        "upload_id": part.upload_id,
    }


@router.post("")
@described(shapes.Upload, json=CreateUpload)
async def create_upload(
    request: Request, services: Partners, organization_id: Organization
) -> Response:
    """Announce a file that will come in parts within the hour."""
    body = await json_model(request, CreateUpload)
    most = services.settings.upload_bytes_max
    if body.bytes > most:
        raise TooLarge(
            f"The file is larger than the maximum of {most} bytes.",
            param="bytes",
            code="file_too_large",
        )
    asked_s = None if body.expires_after is None else body.expires_after.seconds
    now = services.clock.now()
    upload = Upload(
        id=new_id("upload"),
        organization_id=organization_id,
        filename=safe_name(body.filename),
        purpose=body.purpose,
        mime_type=body.mime_type,
        bytes=body.bytes,
        status="pending",
        created_at=now,
        expires_at=now + LIFETIME_S,
        lifetime_s=lifetime_of(body.purpose, asked_s),
    )
    if not await services.store.uploads.insert(upload, pending_max=PENDING_MAX):
        raise RateLimited(
            f"{PENDING_MAX} uploads of this organization are pending already. Complete or cancel "
            "some of them.",
            retry_after_s=_RETRY_AFTER_S,
        )
    return json_reply(upload_object(upload))


@router.post("/{upload_id}/parts")
@described(shapes.UploadPart, form=CreatePart)
async def create_part(
    upload_id: str, request: Request, services: Partners, organization_id: Organization
) -> Response:
    """Receive a part of at most 64 MB."""
    # Before 64 MB are received for an upload that is not there.
    upload = await _open_upload(services, organization_id, upload_id)
    form_of_part = received_form(
        request, services.store, file_bytes_max=PART_BYTES_MAX, file_field=PART_FIELD
    )
    async with form_of_part as form:
        if form.file is None:
            raise missing(PART_FIELD)
        part = UploadPart(
            id=new_id("part"),
            upload_id=upload_id,
            bytes=form.file.bytes,
            created_at=services.clock.now(),
            blob_id=form.file.blob_id,
        )
        # A part may be sent again when its answer was lost.
        bytes_max = 2 * upload.bytes + PART_BYTES_MAX
        outcome = await services.store.uploads.add_part(
            part, parts_max=PARTS_MAX, bytes_max=bytes_max
        )
        if outcome == "closed":
            raise await _closed(services, organization_id, upload_id)
        if outcome == "full":
            raise TooLarge(
                f"Upload {upload_id} was created for {upload.bytes} bytes and takes at most "
                f"{bytes_max} bytes in {PARTS_MAX} parts, repeated ones included.",
                param=PART_FIELD,
                code="file_too_large",
            )
    return json_reply(part_object(part))


@router.post("/{upload_id}/complete")
@described(shapes.Upload, json=CompleteUpload)
async def complete_upload(
    upload_id: str, request: Request, services: Partners, organization_id: Organization
) -> Response:
    """Make the parts, in the order given, one file; all bytes that were announced must be there."""
    body = await json_model(request, CompleteUpload)
    async with services.store.uploads.completing(upload_id):
        file = await _complete(services, organization_id, upload_id, body)
    completed = await _find(services, organization_id, upload_id)
    return json_reply(upload_object(completed, file))


async def _complete(
    services: Services, organization_id: str, upload_id: str, body: CompleteUpload
) -> StoredFile:
    """Return the file that the upload becomes. Raises RequestError: it does not become one."""
    # Read before the upload is found open: of one that is still open then, all parts are there.
    parts = await services.store.uploads.parts(upload_id)
    upload = await _open_upload(services, organization_id, upload_id)
    blob_ids = _in_order(upload, body.part_ids, parts)
    blobs, joined = services.store.blobs, None
    try:
        if body.md5 is not None:
            _check_md5(body.md5, await md5_of(blobs, blob_ids))
        if len(blob_ids) != 1:
            joined = await join(blobs, blob_ids, bytes=upload.bytes)
    except NotFound:  # the parts went while they were read
        raise await _closed(services, organization_id, upload_id) from None
    now = services.clock.now()
    file = StoredFile(
        id=new_id("file"),
        organization_id=organization_id,
        filename=upload.filename,
        purpose=upload.purpose,
        bytes=upload.bytes,
        created_at=now,
        blob_id=joined or blob_ids[0],
        expires_at=None if upload.lifetime_s is None else now + upload.lifetime_s,
    )
    released = await services.store.uploads.complete(upload, file)
    for blob_id in (joined,) if released is None else released:
        if blob_id is not None:
            await services.store.release_blob(blob_id)
    if released is None:
        raise await _closed(services, organization_id, upload_id)
    return file


@router.post("/{upload_id}/cancel")
@described(shapes.Upload)
async def cancel_upload(
    upload_id: str, services: Partners, organization_id: Organization
) -> Response:
    """Let the parts go; no more may come. Cancelling again changes nothing."""
    upload = await _find(services, organization_id, upload_id)
    if upload.status != "cancelled":
        upload = await _open_upload(services, organization_id, upload_id)
        released = await services.store.uploads.cancel(upload_id)
        for blob_id in released or ():
            await services.store.release_blob(blob_id)
        upload = await _find(services, organization_id, upload_id)
        if upload.status != "cancelled":  # somebody else was faster
            raise await _closed(services, organization_id, upload_id)
    return json_reply(upload_object(upload))


async def _find(services: Services, organization_id: str, upload_id: str) -> Upload:
    upload = await services.store.uploads.get(organization_id, upload_id)
    if upload is None:
        raise NotFound(f"No such Upload object: {upload_id}", param="upload_id")
    return upload


async def _open_upload(services: Services, organization_id: str, upload_id: str) -> Upload:
    """
    Raises:
        NotFound: there is none. Conflict, Expired: it takes nothing any more.
    """
    upload = await _find(services, organization_id, upload_id)
    if not upload.is_open(services.clock.now()):
        raise await _closed(services, organization_id, upload_id)
    return upload


async def _closed(
    services: Services, organization_id: str, upload_id: str
) -> NotFound | Conflict | Expired:
    """Return the error for an upload that is not pending any more."""
    upload = await services.store.uploads.get(organization_id, upload_id)
    match upload:
        case None:
            return NotFound(f"No such Upload object: {upload_id}", param="upload_id")
        case Upload(status="completed"):
            return Conflict(
                f"Upload {upload_id} is completed already; its file is {upload.file_id}.",
                param="upload_id",
            )
        case Upload(status="cancelled"):
            return Conflict(
                f"Upload {upload_id} was cancelled. Create a new one.", param="upload_id"
            )
        case _:
            return Expired(f"Upload {upload_id} has expired. Create a new one.", param="upload_id")


def _in_order(upload: Upload, part_ids: Sequence[str], parts: dict[str, UploadPart]) -> list[str]:
    """Return the blobs of the parts in the order the client gives. Raises RequestError."""
    seen: set[str] = set()
    for index, part_id in enumerate(part_ids):
        param = f"part_ids[{index}]"
        if part_id not in parts:
            raise NotFound(
                f"No such Upload Part object: {part_id} in upload {upload.id}", param=param
            )
        if part_id in seen:
            raise InvalidRequest(
                f"Invalid '{param}': part {part_id} stands there twice.",
                param=param,
                code="invalid_value",
            )
        seen.add(part_id)
    size = sum(parts[part_id].bytes for part_id in part_ids)
    if size != upload.bytes:
        raise InvalidRequest(
            f"The parts are {size} bytes in all, but upload {upload.id} was created for "
            f"{upload.bytes} bytes.",
            param="part_ids",
            code="invalid_value",
        )
    return [parts[part_id].blob_id for part_id in part_ids]


def _check_md5(expected: str, found: str) -> None:
    if expected.lower() != found:
        raise InvalidRequest(
            f"Invalid 'md5': the parts in this order have the MD5 {found}.",
            param="md5",
            code="invalid_value",
        )
