"""
Everything the server remembers, behind one door: the tables and the blobs of one data folder.

    data/sanderling.db   records, runs and events
    data/blobs/          the bytes of files
    data/lock            held by the one server that works on this folder

Rows refer to blobs, never the other way round, so a crash between the two leaves at worst bytes
that nobody refers to; `sweep_blobs` finds and deletes those.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
from pathlib import Path

from sqlalchemy import Connection, select, union_all

from sanderling.clock import Clock, SystemClock
from sanderling.errors import SetupError
from sanderling.store.blobs import Blobs
from sanderling.store.container_files import ContainerFileTable
from sanderling.store.containers import ContainerTable
from sanderling.store.conversations import ConversationTable
from sanderling.store.database import MEMORY, Database
from sanderling.store.events import EventTable
from sanderling.store.files import FileTable
from sanderling.store.keys import KeyTable
from sanderling.store.runs import RunTable
from sanderling.store.tables import container_files, files, upload_parts
from sanderling.store.uploads import UploadTable

# A blob is referred to a moment after it is written; this leaves the slowest request room.
ORPHAN_AGE_S = 3600.0

# Joining 8 GB takes a minute or two of a slow disk.
UPLOAD_GRACE_S = 600.0
# So long a client that is late is told why, rather than that there is no such upload.
UPLOAD_KNOWN_S = 86400.0

# SQLite takes 32,766 values in one statement, PostgreSQL 65,535; far fewer are as fast.
_IDS_PER_QUERY = 500


class Store:
    """The open store. Make one with `open`, or with `memory` in tests."""

    def __init__(self, database: Database, blobs: Blobs, clock: Clock) -> None:
        self.database = database
        self.blobs = blobs
        self.files = FileTable(database)
        self.containers = ContainerTable(database)
        self.container_files = ContainerFileTable(database, blobs.has)
        self.runs = RunTable(database)
        self.conversations = ConversationTable(database)
        self.events = EventTable(database)
        self.keys = KeyTable(database, clock)
        self.uploads = UploadTable(database)
        self._clock = clock
        self._lock: int | None = None

    @classmethod
    async def open(cls, data_dir: Path, *, sole: bool = False, clock: Clock | None = None) -> Store:
        """
        Open the store in `data_dir`; make folder and database when there are none.

        Args:
            sole: be the one server of this folder, and refuse when there is another. Without it
                the folder is shared, as a command does that looks in while a server is at work.

        Raises:
            SetupError: folder or database cannot be used; says what to do.
        """
        lock = await asyncio.to_thread(_prepare, data_dir, sole=sole)
        try:
            blobs = await asyncio.to_thread(Blobs, data_dir / "blobs")
            database = await Database.open(data_dir / "sanderling.db")
        except BaseException:
            if lock is not None:
                os.close(lock)
            raise
        store = cls(database, blobs, clock or SystemClock())
        store._lock = lock
        return store

    @classmethod
    async def memory(cls, blobs_dir: Path, *, clock: Clock | None = None) -> Store:
        """Open a store for a test: tables in memory, blobs below `blobs_dir`."""
        database = await Database.open(MEMORY)
        return cls(database, Blobs(blobs_dir / "blobs"), clock or SystemClock())

    async def close(self) -> None:
        """Let running transactions end, close the database, give the folder free."""
        await self.database.close()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    async def release_blob(self, blob_id: str) -> None:
        """Delete the blob's bytes unless a file, container file or part still refers to them."""

        def work(connection: Connection) -> None:
            # Within a write transaction nobody can begin to refer to it between look and deletion.
            if not _referred(connection, [blob_id]):
                self.blobs.path(blob_id).unlink(missing_ok=True)

        await self.database.write(work)

    async def forget_expired_files(self) -> int:
        """Delete the stored files whose time is over, with their bytes; return how many."""
        expired = await self.files.expired(self._clock.now())
        for file in expired:
            await self.files.delete(file.organization_id, file.id)
            await self.release_blob(file.blob_id)
        return len(expired)

    async def forget_expired_uploads(self) -> int:
        """
        Let go the parts of uploads whose time is over, return how many; a day later also what is
        known of them, and of those that were completed or cancelled.
        """
        now = self._clock.now()
        # One that is being completed as its time ends is left to its end.
        overdue = await self.uploads.expire(now - UPLOAD_GRACE_S)
        for blob_id in overdue:
            await self.release_blob(blob_id)
        await self.uploads.forget(now - UPLOAD_KNOWN_S)
        return len(overdue)

    async def sweep_blobs(self, *, written_before: float | None = None) -> int:
        """
        Delete the blobs that nothing refers to, as a crash may leave; return how many.

        written_before: only those are looked at; default: an hour ago. Walks every blob's name:
            call it seldom.
        """
        before = self._clock.now() - ORPHAN_AGE_S if written_before is None else written_before
        ids = await asyncio.to_thread(self.blobs.ids, written_before=before)
        deleted = 0
        for start in range(0, len(ids), _IDS_PER_QUERY):
            some = ids[start : start + _IDS_PER_QUERY]

            def work(connection: Connection, some: list[str] = some) -> list[str]:
                referred = _referred(connection, some)
                return [blob_id for blob_id in some if blob_id not in referred]

            for blob_id in await self.database.read(work):
                await self.release_blob(blob_id)
                deleted += 1
        return deleted


def _referred(connection: Connection, blob_ids: list[str]) -> set[str]:
    """Return those of `blob_ids` that a row refers to."""
    rows = connection.execute(
        union_all(
            select(files.c.blob_id).where(files.c.blob_id.in_(blob_ids)),
            select(container_files.c.blob_id).where(container_files.c.blob_id.in_(blob_ids)),
            select(upload_parts.c.blob_id).where(upload_parts.c.blob_id.in_(blob_ids)),
        )
    )
    return set(rows.scalars())


def _prepare(data_dir: Path, *, sole: bool) -> int | None:
    """Make the folder when there is none; return what holds it when it is to be held."""
    try:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        return _take_lock(data_dir / "lock") if sole else None
    except OSError as error:
        raise SetupError(
            f"The data folder {data_dir} cannot be used: {error.strerror}. "
            "Give a folder that this user may write to."
        ) from error


def _take_lock(path: Path) -> int:
    """Return a descriptor that holds the folder until it is closed, or this process ends."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        holder = os.pread(descriptor, 20, 0).decode(errors="replace").strip() or "unknown"
        os.close(descriptor)
        raise SetupError(
            f"Another Sanderling server (process {holder}) works on the data folder {path.parent}. "
            "Stop it, or give another data folder."
        ) from error
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    return descriptor
