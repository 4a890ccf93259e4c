"""Files of the Files API."""

from __future__ import annotations

from sqlalchemy import Connection, delete, insert, select

from sanderling.records import StoredFile
from sanderling.store.database import Database
from sanderling.store.paging import Listing, Page, by_creation, select_page
from sanderling.store.rows import Rows
from sanderling.store.tables import files

_ROWS = Rows(files, StoredFile)


class FileTable:
    """What is known of each stored file; its bytes are a blob."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def insert(self, file: StoredFile) -> None:
        def work(connection: Connection) -> None:
            connection.execute(insert(files).values(_ROWS.encode(file)))

        await self._database.write(work)

    async def keep(self, file: StoredFile) -> StoredFile:
        """Insert the record unless there is one of its id; return the one that there is now."""

        def work(connection: Connection) -> StoredFile:
            found = connection.execute(select(files).where(files.c.id == file.id)).mappings()
            if (row := found.first()) is not None:
                return _ROWS.decode(row)
            connection.execute(insert(files).values(_ROWS.encode(file)))
            return file

        return await self._database.write(work)

    async def get(self, organization_id: str, file_id: str) -> StoredFile | None:
        def work(connection: Connection) -> StoredFile | None:
            row = connection.execute(
                select(files).where(
                    files.c.id == file_id, files.c.organization_id == organization_id
                )
            )
            found = row.mappings().first()
            return None if found is None else _ROWS.decode(found)

        return await self._database.read(work)

    async def delete(self, organization_id: str, file_id: str) -> StoredFile | None:
        """Delete the record and return it; the caller then releases its blob."""

        def work(connection: Connection) -> StoredFile | None:
            row = connection.execute(
                delete(files)
                .where(files.c.id == file_id, files.c.organization_id == organization_id)
                .returning(files)
            )
            gone = row.mappings().first()
            return None if gone is None else _ROWS.decode(gone)

        return await self._database.write(work)

    async def page(
        self, organization_id: str, *, purpose: str | None = None, now: float = 0.0, page: Page
    ) -> Listing[StoredFile]:
        """
        Return a page of the organization's files whose time is not over at `now`; `purpose` keeps
        those of one purpose.
        """
        only = files.c.expires_at.is_(None) | (files.c.expires_at > now)
        if purpose is not None:
            only &= files.c.purpose == purpose

        def work(connection: Connection) -> Listing[StoredFile]:
            rows, has_more = select_page(
                connection,
                files,
                page,
                sorting=by_creation(files),
                scope=files.c.organization_id == organization_id,
                only=only,
            )
            return Listing([_ROWS.decode(row) for row in rows], has_more)

        return await self._database.read(work)

    async def expired(self, now: float) -> list[StoredFile]:
        """Return every file, of any organization, whose time is over at `now` (Unix seconds)."""

        def work(connection: Connection) -> list[StoredFile]:
            rows = connection.execute(
                select(files).where(files.c.expires_at <= now).order_by(files.c.sequence)
            )
            return [_ROWS.decode(row) for row in rows.mappings()]

        return await self._database.read(work)
