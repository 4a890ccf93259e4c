"""Records with every value filled in, of which a test names the ones it is about."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from sanderling.ids import new_id
from sanderling.records import (
    CodeTool,
    Container,
    ContainerFile,
    MessageItem,
    Run,
    RunRequest,
    StoredFile,
    TextPart,
    Upload,
    UploadPart,
)


def make_file(**values: Any) -> StoredFile:
    file = StoredFile(
        id=new_id("file"),
        organization_id="org_a",
        filename="sales.csv",
        purpose="user_data",
        bytes=12,
        created_at=1000.0,
        blob_id=new_id("blob"),
    )
    return replace(file, **values)


def make_upload(**values: Any) -> Upload:
    upload = Upload(
        id=new_id("upload"),
        organization_id="org_a",
        filename="sales.csv",
        purpose="user_data",
        mime_type="text/csv",
        bytes=12,
        status="pending",
        created_at=1000.0,
        expires_at=4600.0,
    )
    return replace(upload, **values)


def make_upload_part(upload_id: str, **values: Any) -> UploadPart:
    part = UploadPart(
        id=new_id("part"),
        upload_id=upload_id,
        bytes=12,
        created_at=1000.0,
        blob_id=new_id("blob"),
    )
    return replace(part, **values)


def make_container(**values: Any) -> Container:
    container = Container(
        id=new_id("cntr"),
        organization_id="org_a",
        name="notebook",
        status="running",
        memory_limit="4g",
        created_at=1000.0,
        last_active_at=1000.0,
        expires_after_minutes=20,
    )
    return replace(container, **values)


def make_container_file(container_id: str, **values: Any) -> ContainerFile:
    file = ContainerFile(
        id=new_id("cfile"),
        container_id=container_id,
        path="/mnt/data/plot.png",
        bytes=7,
        created_at=1000.0,
        source="assistant",
        blob_id=new_id("blob"),
    )
    return replace(file, **values)


def make_message(text: str, **values: Any) -> MessageItem:
    message = MessageItem(id=new_id("msg"), role="user", parts=(TextPart(text),))
    return replace(message, **values)


def make_run(*, request: dict[str, Any] | None = None, **values: Any) -> Run:
    asked = RunRequest(
        organization_id="org_a",
        dialect="responses",
        model="any",
        input=(make_message("How much?"),),
        tools=(CodeTool("cntr_1"),),
        echo={"metadata": {"team": "blue"}},
    )
    run = Run(
        id=new_id("resp"),
        request=replace(asked, **(request or {})),
        status="queued",
        created_at=1000.0,
    )
    return replace(run, **values)
