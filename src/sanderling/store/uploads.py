"""
Uploads in parts: what was announced, which parts have come, and the one step that makes a file.

    pending ──complete──► completed
       ├─────cancel─────► cancelled
       └──time is over──► expired

Every way out of `pending` is one transaction that also takes the rows of the parts away; the
caller then releases their blobs. So of several who complete and cancel at once one is first, and
the others find the upload no longer pending.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Literal
from weakref import WeakValueDictionary

from sqlalchemy import ColumnElement, Connection, delete, func, insert, select, update

from sanderling.records import StoredFile, Upload, UploadPart
from sanderling.store.database import Database
from sanderling.store.rows import Rows
from sanderling.store.tables import files, upload_parts, uploads

_FILES = Rows(files, StoredFile)
_PARTS = Rows(upload_parts, UploadPart)
_UPLOADS = Rows(uploads, Upload)


def _pending(upload_id: str) -> ColumnElement[bool]:
    return (uploads.c.id == upload_id) & (uploads.c.status == "pending")


class UploadTable:
    """What is known of each upload and of its parts; a part's bytes are a blob."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._completing: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    @asynccontextmanager
    async def completing(self, upload_id: str) -> AsyncIterator[None]:
        """
        Let one at a time make a file of the upload.

        Each writes all its bytes once more, and a client whose patience ends asks again.
        """
        async with self._completing.setdefault(upload_id, asyncio.Lock()):
            yield

    async def insert(self, upload: Upload, *, pending_max: int) -> bool:
        """Record a new upload; False, and nothing is, if its organization has so many pending."""

        def work(connection: Connection) -> bool:
            theirs = (uploads.c.organization_id == upload.organization_id) & (
                uploads.c.status == "pending"
            )
            count = select(func.count()).select_from(uploads).where(theirs)
            if connection.execute(count).scalar_one() >= pending_max:
                return False
            connection.execute(insert(uploads).values(_UPLOADS.encode(upload)))
            return True

        return await self._database.write(work)

    async def get(self, organization_id: str, upload_id: str) -> Upload | None:
        def work(connection: Connection) -> Upload | None:
            row = connection.execute(
                select(uploads).where(
                    uploads.c.id == upload_id, uploads.c.organization_id == organization_id
                )
            )
            found = row.mappings().first()
            return None if found is None else _UPLOADS.decode(found)

        return await self._database.read(work)

    async def add_part(
        self, part: UploadPart, *, parts_max: int, bytes_max: int
    ) -> Literal["added", "closed", "full"]:
        """
        Record a part of a pending upload, unless its parts would be more than that.

        The bytes of one that is not `added` are still the caller's.
        """

        def work(connection: Connection) -> Literal["added", "closed", "full"]:
            if connection.execute(select(uploads.c.id).where(_pending(part.upload_id))).first():
                size = func.coalesce(func.sum(upload_parts.c.bytes), 0)
                there = select(func.count(), size).where(upload_parts.c.upload_id == part.upload_id)
                count, bytes = connection.execute(there).one()
                if count >= parts_max or int(bytes) + part.bytes > bytes_max:
                    return "full"
                connection.execute(insert(upload_parts).values(_PARTS.encode(part)))
                return "added"
            return "closed"

        return await self._database.write(work)

    async def parts(self, upload_id: str) -> dict[str, UploadPart]:
        """Return the parts of an upload by their ids, in the order they came."""

        def work(connection: Connection) -> dict[str, UploadPart]:
            rows = connection.execute(
                select(upload_parts)
                .where(upload_parts.c.upload_id == upload_id)
                .order_by(upload_parts.c.sequence)
            )
            return {row["id"]: _PARTS.decode(row) for row in rows.mappings()}

        return await self._database.read(work)

    async def complete(self, upload: Upload, file: StoredFile) -> list[str] | None:
        """
        Make a pending upload the file; return the blobs of its parts, to be released.

        None: it is not pending any more, and there is no file. The file's blob is a new one, or
        that of a part, which changes hands here without being free in between.
        """
        completed = replace(upload, status="completed", file_id=file.id)

        def work(connection: Connection) -> list[str] | None:
            result = connection.execute(
                update(uploads).where(_pending(upload.id)).values(_UPLOADS.encode(completed))
            )
            if result.rowcount != 1:
                return None
            connection.execute(insert(files).values(_FILES.encode(file)))
            return _take_parts(connection, upload_parts.c.upload_id == upload.id)

        return await self._database.write(work)

    async def cancel(self, upload_id: str) -> list[str] | None:
        """End a pending upload; return the blobs of its parts. None: it is not pending any more."""

        def work(connection: Connection) -> list[str] | None:
            result = connection.execute(
                update(uploads).where(_pending(upload_id)).values(status="cancelled")
            )
            if result.rowcount != 1:
                return None
            return _take_parts(connection, upload_parts.c.upload_id == upload_id)

        return await self._database.write(work)

    async def expire(self, before: float) -> list[str]:
        """End the pending uploads whose time was over before that; return their parts' blobs."""
        overdue = (uploads.c.status == "pending") & (uploads.c.expires_at <= before)

        def work(connection: Connection) -> list[str]:
            ids = select(uploads.c.id).where(overdue)
            blobs = _take_parts(connection, upload_parts.c.upload_id.in_(ids))
            connection.execute(update(uploads).where(overdue).values(status="expired"))
            return blobs

        return await self._database.write(work)

    async def forget(self, before: float) -> None:
        """Delete the uploads that are not pending and whose time was over before that."""

        def work(connection: Connection) -> None:
            connection.execute(
                delete(uploads).where(uploads.c.status != "pending", uploads.c.expires_at <= before)
            )

        await self._database.write(work)


def _take_parts(connection: Connection, condition: ColumnElement[bool]) -> list[str]:
    rows = connection.execute(
        delete(upload_parts).where(condition).returning(upload_parts.c.blob_id)
    )
    return list(rows.scalars())
