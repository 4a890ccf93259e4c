"""
The SQL database: who may write when, and what it means when it will not open.

SQLite is used as it wants to be used: a write-ahead log, so that readers never wait; one writer
connection, so that writers queue in our own order instead of meeting `database is locked`; every
write transaction begins IMMEDIATE, so that what it read stays true until it commits; and
synchronous=FULL, so that what was acknowledged survives the loss of power. Another SQL database is
used through its own pool, and keeps order by itself.

A transaction is a function given to `read` or `write`. Once begun it runs to its end even if the
task that asked for it is cancelled: a client that leaves never stops a commit half-way.
"""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, TypeVar

from alembic.util import CommandError
from sqlalchemy import URL, event, make_url
from sqlalchemy.exc import DBAPIError, IntegrityError, StatementError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import AsyncAdaptedQueuePool, StaticPool

from sanderling.errors import InvalidRequest, SanderlingError, SetupError
from sanderling.store import migrations

T = TypeVar("T")

MEMORY = ":memory:"

# Reads are a fraction of a millisecond; more threads than this only take the processor from them.
_READERS = 4

# How long another process may hold the file (`sanderling keys` does, for a millisecond). What
# Python's own sqlite3 waits.
BUSY_TIMEOUT_S = 5.0


class Database:
    """An open database at the newest schema. Make one with `open`."""

    def __init__(self, writers: AsyncEngine, readers: AsyncEngine) -> None:
        self._writers = writers
        self._readers = readers
        # SQLite has one writer; in memory it has one connection, which the readers share.
        self._write_gate = asyncio.Lock() if writers.dialect.name == "sqlite" else None
        self._read_gate = self._write_gate if readers is writers else None
        self._transactions: set[asyncio.Task[Any]] = set()

    @classmethod
    async def open(
        cls, url_or_path: str | Path, *, busy_timeout_s: float = BUSY_TIMEOUT_S
    ) -> Database:
        """
        Open the database, make it if there is none, and bring it to the newest schema.

        Args:
            url_or_path: a file's path, `:memory:`, or an async SQLAlchemy URL.

        Raises:
            SetupError: it cannot be opened, read or written; says what to do.
        """
        url = _url(url_or_path)
        place = url.render_as_string(hide_password=True)
        if url.get_backend_name() == "sqlite" and not _is_memory(url):
            place = url.database or place
            if isinstance(url_or_path, Path):
                _create_private(url_or_path)
        writers = _engine(url, busy_timeout_s, connections=1, begin="BEGIN IMMEDIATE")
        readers = writers
        if url.get_backend_name() == "sqlite" and not _is_memory(url):
            readers = _engine(url, busy_timeout_s, connections=_READERS, begin="BEGIN")
        database = cls(writers, readers)
        try:
            if readers is not writers:
                await asyncio.to_thread(_try_out, writers, busy_timeout_s)
            await migrations.upgrade(writers)
        except (DBAPIError, sqlite3.Error, CommandError) as error:
            await database.close()
            raise SetupError(_why_it_does_not_open(place, _cause(error))) from error
        except BaseException:
            await database.close()
            raise
        return database

    async def read(self, work: Callable[[AsyncConnection], Awaitable[T]]) -> T:
        """
        Return what `work` reads, all of it from one moment.

        Raises:
            SanderlingError: the database failed.
        """
        return await self._run(_transaction(self._readers, self._read_gate, work))

    async def write(self, work: Callable[[AsyncConnection], Awaitable[T]]) -> T:
        """
        Do `work` and commit; when it raises, nothing of it was done.

        `work` waits for its connection and for little else: every other writer waits for it.

        Raises:
            SanderlingError: the database failed; nothing was written.
        """
        return await self._run(_transaction(self._writers, self._write_gate, work))

    async def _run(self, transaction: Coroutine[Any, Any, T]) -> T:
        task = asyncio.create_task(transaction)
        self._transactions.add(task)
        task.add_done_callback(self._transactions.discard)
        return await asyncio.shield(task)

    async def close(self) -> None:
        """Let running transactions end, then close every connection."""
        while self._transactions:
            await asyncio.wait(self._transactions)
        await self._writers.dispose()
        if self._readers is not self._writers:
            await self._readers.dispose()


async def _transaction(
    engine: AsyncEngine,
    gate: asyncio.Lock | None,
    work: Callable[[AsyncConnection], Awaitable[T]],
) -> T:
    async with AsyncExitStack() as stack:
        if gate is not None:
            await stack.enter_async_context(gate)
        try:
            connection = await stack.enter_async_context(engine.begin())
            return await work(connection)
        except IntegrityError:
            raise  # a programmer's error, or a rule that the caller leans on
        except (StatementError, sqlite3.Error) as error:
            raise _failure(_cause(error)) from error
        except UnicodeEncodeError as error:
            raise _failure(error) from error


def _cause(error: BaseException) -> BaseException:
    """Return what the driver said; SQLAlchemy wraps it, except where a transaction begins."""
    wrapped = error.orig if isinstance(error, StatementError) else None
    return wrapped or error


def _failure(cause: BaseException) -> SanderlingError:
    """Return `cause` in our words, without the statement's values: they may be a client's text."""
    if isinstance(cause, UnicodeEncodeError):
        return InvalidRequest("The request holds text that is not valid Unicode.")
    if getattr(cause, "sqlite_errorname", "") == "SQLITE_FULL":
        return SanderlingError("The disk of the data folder is full; nothing was written.")
    return SanderlingError(f"The database failed: {cause}.")


def _url(url_or_path: str | Path) -> URL:
    if isinstance(url_or_path, Path) or url_or_path == MEMORY:
        return URL.create("sqlite+aiosqlite", database=str(url_or_path))
    return make_url(url_or_path)


def _is_memory(url: URL) -> bool:
    return url.database in (None, "", MEMORY)


def _create_private(path: Path) -> None:
    """Make the file before SQLite does, readable by its owner alone; its log inherits the mode."""
    try:
        # Never open a file that exists: closing it again would drop this process's locks on it.
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600))
    except FileExistsError:
        return
    except OSError as error:
        raise SetupError(
            f"The database {path} cannot be made: {error.strerror}. "
            "Give a data folder that this user may write to."
        ) from error


def _engine(url: URL, busy_timeout_s: float, *, connections: int, begin: str) -> AsyncEngine:
    if url.get_backend_name() != "sqlite":
        return create_async_engine(url, json_serializer=_to_json, hide_parameters=True)
    memory = _is_memory(url)
    engine = create_async_engine(
        url,
        json_serializer=_to_json,
        hide_parameters=True,
        connect_args={"timeout": busy_timeout_s},
        poolclass=StaticPool if memory else AsyncAdaptedQueuePool,
        # A transaction ends by its own commit or rollback; one more would cost a thread's turn.
        pool_reset_on_return=None,
        **({} if memory else {"pool_size": connections, "max_overflow": 0, "pool_timeout": None}),
    )

    @event.listens_for(engine.sync_engine, "connect")
    def set_up(connection: Any, _record: object) -> None:
        # Python's sqlite3 would begin transactions by itself, and late; `start` does it instead.
        connection.isolation_level = None
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
            cursor = connection.cursor()
            cursor.execute(f"PRAGMA {pragma}")
            cursor.close()

    @event.listens_for(engine.sync_engine, "begin")
    def start(connection: Any) -> None:
        # Straight to the driver: through SQLAlchemy it takes three turns of the thread, not one.
        connection.connection.dbapi_connection.run_async(lambda driver: driver.execute(begin))

    return engine


def _try_out(engine: AsyncEngine, busy_timeout_s: float) -> None:
    """
    Open and lock the file once with plain sqlite3; raise its error when that fails.

    A connection of aiosqlite that fails at once is closed by nobody one could wait for, and its
    thread then answers an event loop that may be gone: a traceback beside our own message.
    """
    (filename, *_), options = engine.dialect.create_connect_args(engine.url)
    connection = sqlite3.connect(
        filename,
        timeout=busy_timeout_s,
        isolation_level=None,
        uri=bool(options.get("uri", False)),
    )
    try:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("SELECT count(*) FROM sqlite_master")
        connection.execute("ROLLBACK")
    finally:
        connection.close()


def _to_json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def _why_it_does_not_open(place: str, cause: BaseException) -> str:
    """Return what is wrong with the database at `place`, and what would make it right."""
    if isinstance(cause, CommandError):
        return (
            f"The database {place} was written by a newer Sanderling ({cause}). "
            "Run that version, or give another data folder."
        )
    name = getattr(cause, "sqlite_errorname", "")
    start = f"The database {place} cannot be opened: {cause}."
    for prefix, advice in _ADVICE.items():
        if name.startswith(prefix):
            return f"{start} {advice}"
    return start


_ADVICE = {
    "SQLITE_BUSY": "Another process holds it; stop that process, then try again.",
    "SQLITE_LOCKED": "Another process holds it; stop that process, then try again.",
    "SQLITE_READONLY": "Let this user write to the file and its folder, or give another data "
    "folder.",
    "SQLITE_CANTOPEN": "Let this user write to the folder, or give another data folder.",
    "SQLITE_PERM": "Let this user write to the file, or give another data folder.",
    "SQLITE_NOTADB": "The file is not a database: restore it from a backup, or move it away and "
    "start anew.",
    "SQLITE_CORRUPT": "The file is damaged: restore it from a backup, or move it away and start "
    "anew.",
    "SQLITE_FULL": "The disk is full: make room, then try again.",
    "SQLITE_IOERR": "The disk reports an error: check it, then try again.",
}
