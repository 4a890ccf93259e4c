"""The files of containers: one record for each path below /mnt/data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, delete, insert, select, update

from sanderling.errors import NotFound
from sanderling.records import ContainerFile
from sanderling.store.database import Database
from sanderling.store.paging import Listing, Page, by_creation, select_page
from sanderling.store.rows import Rows
from sanderling.store.tables import container_files, containers

_ROWS = Rows(container_files, ContainerFile)


def _at(container_id: str, path: str) -> ColumnElement[bool]:
    return (container_files.c.container_id == container_id) & (container_files.c.path == path)


def _named(container_id: str, file_id: str) -> ColumnElement[bool]:
    return (container_files.c.container_id == container_id) & (container_files.c.id == file_id)


class ContainerFileTable:
    """What is known of each container file; its bytes are a blob."""

    def __init__(
        self, database: Database, has_blob: Callable[[str], bool] = lambda _: True
    ) -> None:
        """has_blob: whether the bytes of that id are there."""
        self._database = database
        self._has_blob = has_blob

    async def upsert(self, file: ContainerFile) -> ContainerFile:
        """
        Record the file and return it as it now stands.

        A path that is known keeps its id and created_at and takes all else from `file`; the caller
        then releases the blob it had before.

        Raises:
            NotFound: the blob is gone: whoever had it before let it go meanwhile.
        """

        def work(connection: Connection) -> ContainerFile:
            # Within a write transaction, as every deletion of a blob is: one that is there now
            # and is referred to from here on cannot be deleted in between.
            if not self._has_blob(file.blob_id):
                raise NotFound("The content of this file has been deleted.")
            values = _ROWS.encode(file)
            changes = {"blob_id": values["blob_id"], "record": values["record"]}
            row = connection.execute(
                update(container_files)
                .where(_at(file.container_id, file.path))
                .values(changes)
                .returning(container_files)
            )
            known = row.mappings().first()
            if known is not None:
                return _ROWS.decode(known)
            connection.execute(insert(container_files).values(values))
            return file

        return await self._database.write(work)

    async def move(
        self, file: ContainerFile, path: str, *, mime_type: str
    ) -> tuple[ContainerFile | None, ContainerFile | None]:
        """
        Give the file another path, at which it keeps its id, and return it as it now stands; and
        what had that path before, whose blob the caller then releases. None: there is none.
        """
        moved = _ROWS.encode(replace(file, path=path, mime_type=mime_type))

        def work(connection: Connection) -> tuple[ContainerFile | None, ContainerFile | None]:
            is_there = container_files.c.blob_id == file.blob_id  # not changed meanwhile
            found = select(container_files).where(_named(file.container_id, file.id) & is_there)
            if connection.execute(found).first() is None:
                return None, None
            row = connection.execute(
                delete(container_files)
                .where(_at(file.container_id, path) & (container_files.c.id != file.id))
                .returning(container_files)
            )
            replaced = row.mappings().first()
            row = connection.execute(
                update(container_files)
                .where(_named(file.container_id, file.id))
                .values({"path": moved["path"], "record": moved["record"]})
                .returning(container_files)
            )
            before = None if replaced is None else _ROWS.decode(replaced)
            return _ROWS.decode(row.mappings().one()), before

        return await self._database.write(work)

    async def get(self, container_id: str, file_id: str) -> ContainerFile | None:
        return await self._first(select(container_files).where(_named(container_id, file_id)))

    async def find(self, organization_id: str, file_id: str) -> ContainerFile | None:
        """Return the file from whichever container of the organization it is in."""
        return await self._first(
            select(container_files)
            .join(containers)
            .where(
                container_files.c.id == file_id,
                containers.c.organization_id == organization_id,
                containers.c.status != "deleted",
            )
        )

    async def by_path(self, container_id: str, path: str) -> ContainerFile | None:
        return await self._first(select(container_files).where(_at(container_id, path)))

    async def _first(self, statement: Select[Any]) -> ContainerFile | None:
        def work(connection: Connection) -> ContainerFile | None:
            found = connection.execute(statement).mappings().first()
            return None if found is None else _ROWS.decode(found)

        return await self._database.read(work)

    async def all(self, container_id: str) -> list[ContainerFile]:
        """Return every file of the container, oldest first."""

        def work(connection: Connection) -> list[ContainerFile]:
            rows = connection.execute(
                select(container_files)
                .where(container_files.c.container_id == container_id)
                .order_by(container_files.c.created_at, container_files.c.sequence)
            )
            return [_ROWS.decode(row) for row in rows.mappings()]

        return await self._database.read(work)

    async def page(self, container_id: str, page: Page) -> Listing[ContainerFile]:
        def work(connection: Connection) -> Listing[ContainerFile]:
            rows, has_more = select_page(
                connection,
                container_files,
                page,
                sorting=by_creation(container_files),
                scope=container_files.c.container_id == container_id,
            )
            return Listing([_ROWS.decode(row) for row in rows], has_more)

        return await self._database.read(work)

    async def due(
        self, expired_before: float, *, limit: int, container_id: str | None = None
    ) -> list[ContainerFile]:
        """
        Return files that are not to be kept any more, `limit` at most: all of deleted containers;
        of expired ones what clients put there, and all if it expired before that moment.
        """
        deadline = containers.c.last_active_at + containers.c.expires_after_minutes * 60
        source = container_files.c.record["source"].as_string()
        is_over = (containers.c.status == "deleted") | (
            (containers.c.status == "expired")
            & ((source != "assistant") | (deadline <= expired_before))
        )
        statement = select(container_files).join(containers).where(is_over).limit(limit)
        if container_id is not None:
            statement = statement.where(containers.c.id == container_id)

        def work(connection: Connection) -> list[ContainerFile]:
            return [_ROWS.decode(row) for row in connection.execute(statement).mappings()]

        return await self._database.read(work)

    async def delete(self, container_id: str, file_id: str) -> ContainerFile | None:
        """Delete the record and return it; the caller then releases its blob."""
        return await self._delete(_named(container_id, file_id))

    async def delete_path(self, container_id: str, path: str) -> ContainerFile | None:
        """Delete the record at `path` and return it; the caller then releases its blob."""
        return await self._delete(_at(container_id, path))

    async def _delete(self, condition: ColumnElement[bool]) -> ContainerFile | None:
        def work(connection: Connection) -> ContainerFile | None:
            row = connection.execute(
                delete(container_files).where(condition).returning(container_files)
            )
            gone = row.mappings().first()
            return None if gone is None else _ROWS.decode(gone)

        return await self._database.write(work)
