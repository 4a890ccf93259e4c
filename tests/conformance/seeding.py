"""What openai-python's tests expect to be there, under the ids that they write."""

from __future__ import annotations

import asyncio
from typing import Any

from sqlalchemy import Connection, delete

from sanderling.api.services import Services
from sanderling.records import Container, ContainerFile, StoredFile, Upload, UploadPart
from sanderling.store.tables import metadata

MODELS = ("gpt-6-astra", "gpt-4o-mini")
_ORGANIZATION = "org_default"
_CONTENT = b'{"foo": "bar"}'


class Seeder:
    """Puts everything there anew, whenever somebody connects to its port."""

    def __init__(self) -> None:
        self.port = 0
        self._server: asyncio.Server | None = None

    async def start(self, services: Services) -> None:
        """Listen beside the server of `services`."""

        async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await _clear(services)
            await _seed(services)
            writer.write(b"ok")
            await writer.drain()
            writer.close()

        self._server = await asyncio.start_server(answer, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Listen no more."""
        assert self._server is not None
        self._server.close()
        await self._server.wait_closed()


async def _clear(services: Services) -> None:
    def work(connection: Connection) -> None:
        for table in reversed(metadata.sorted_tables):
            connection.execute(delete(table))

    await services.store.database.write(work)


async def _seed(services: Services) -> None:
    store, now = services.store, services.clock.now()
    for file_id in ("file_id", "string"):
        file = StoredFile(
            **await _blob(services),
            id=file_id,
            organization_id=_ORGANIZATION,
            filename="a.json",
            purpose="assistants",
            created_at=now,
        )
        await store.files.insert(file)
    await store.containers.insert(
        Container(
            id="container_id",
            organization_id=_ORGANIZATION,
            name="name",
            status="running",
            memory_limit="1g",
            created_at=now,
            last_active_at=now,
        )
    )
    in_container = ContainerFile(
        **await _blob(services),
        id="file_id",
        container_id="container_id",
        path="/mnt/data/a.json",
        created_at=now,
        source="user",
    )
    await store.container_files.upsert(in_container)
    upload = Upload(
        id="upload_abc123",
        organization_id=_ORGANIZATION,
        filename="a.json",
        purpose="assistants",
        mime_type="application/json",
        bytes=len(_CONTENT),
        status="pending",
        created_at=now,
        expires_at=now + 3600,
    )
    await store.uploads.insert(upload, pending_max=1)
    part = UploadPart(**await _blob(services), id="string", upload_id=upload.id, created_at=now)
    await store.uploads.add_part(part, parts_max=1, bytes_max=part.bytes)


async def _blob(services: Services) -> dict[str, Any]:
    async with services.store.blobs.writer(bytes_max=len(_CONTENT)) as writer:
        await writer.write(_CONTENT)
    return {"blob_id": writer.blob_id, "bytes": writer.bytes}
