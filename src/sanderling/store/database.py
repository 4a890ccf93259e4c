"""
The SQL database: who may write when, and what it means when it will not open.

SQLite is used as it wants to be used: a write-ahead log, so that readers never wait; one writer
connection, so that writers queue in our own order instead of meeting `database is locked`; every
write transaction begins IMMEDIATE, so that what it read stays true until it commits; and
synchronous=FULL, so that what was acknowledged survives the loss of power. Another SQL database is
used through its own pool, and keeps order by itself.

A transaction is a plain function given to `read` or `write`. All of it runs in one turn of a
thread, because a turn for each statement costs more than the statements. Once asked for it runs to
its end even if the task that asked is cancelled: a client that leaves never stops a commit
half-way.
"""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
from collections.abc import Callable, Hashable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from alembic.util import CommandError
from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import DBAPIError, IntegrityError, StatementError
from sqlalchemy.pool import QueuePool, StaticPool

from sanderling.errors import InvalidRequest, SanderlingError, SetupError, StorageFull
from sanderling.store import migrations

T = TypeVar("T")

MEMORY = ":memory:"

# Reads are a fraction of a millisecond; more threads than this only take the processor from them.
_READERS = 4

# Of a database that is not SQLite: what a small PostgreSQL gives to one client without being asked.
_CONNECTIONS = 8

# What every request asks is a few rows; more are forgotten all at once.
_RECALLED_MAX = 1024

# How long another process may hold the file (`sanderling keys` does, for a millisecond). What
# Python's own sqlite3 waits.
BUSY_TIMEOUT_S = 5.0


class _Lane:
    """
    Connections of one kind and as many threads: a transaction never waits for a connection.

    With one thread, transactions happen one after the other in the order they were asked for.
    """

    def __init__(self, engine: Engine, name: str, *, threads: int) -> None:
        self.engine = engine
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix=f"database-{name}")

    async def run(self, work: Callable[[Connection], T]) -> T:
        """Do `work` in a transaction, to its end even if the caller is cancelled."""
        loop = asyncio.get_running_loop()
        return await asyncio.shield(loop.run_in_executor(self._threads, self._transact, work))

    def _transact(self, work: Callable[[Connection], T]) -> T:
        try:
            with self.engine.begin() as connection:
                return work(connection)
        except IntegrityError:
            raise  # a programmer's error, or a rule that the caller leans on
        except (StatementError, sqlite3.Error) as error:
            raise _failure(_cause(error)) from error
        except UnicodeEncodeError as error:
            raise _failure(error) from error

    def close(self) -> None:
        """Let what was asked for end, then close every connection. Blocks."""
        self._threads.shutdown()
        self.engine.dispose()


class _Watch:
    """
    Sees whether anybody, another process too, has committed to a SQLite file.

    SQLite counts commits in the memory that its connections share: asking takes 7 µs and no disk.
    """

    def __init__(self, path: str) -> None:
        # It never waits: it is asked on the event loop.
        self._connection = sqlite3.connect(
            path, timeout=0.0, isolation_level=None, check_same_thread=False
        )

    def version(self) -> int | None:
        """A number that changes with each commit of others; None: it cannot be told now."""
        try:
            (version,) = self._connection.execute("PRAGMA data_version").fetchone()
        except sqlite3.Error:
            return None
        return int(version)

    def close(self) -> None:
        self._connection.close()


class Database:
    """An open database at the newest schema. Make one with `open`."""

    def __init__(self, writers: _Lane, readers: _Lane) -> None:
        self._writers = writers
        self._readers = readers
        self._watch: _Watch | None = None
        self._recalled: dict[Hashable, Any] = {}
        self._recalled_version: int | None = None

    @classmethod
    async def open(
        cls, url_or_path: str | Path, *, busy_timeout_s: float = BUSY_TIMEOUT_S
    ) -> Database:
        """
        Open the database, make it if there is none, and bring it to the newest schema.

        Args:
            url_or_path: a file's path, `:memory:`, or an SQLAlchemy URL.

        Raises:
            SetupError: it cannot be opened, read or written; says what to do.
        """
        return await asyncio.to_thread(cls._open, url_or_path, busy_timeout_s)

    @classmethod
    def _open(cls, url_or_path: str | Path, busy_timeout_s: float) -> Database:
        url = _url(url_or_path)
        place = url.render_as_string(hide_password=True)
        if url.get_backend_name() == "sqlite" and not _is_memory(url):
            place = url.database or place
            if isinstance(url_or_path, Path):
                _create_private(url_or_path)
        writers = readers = _writers(url, busy_timeout_s)
        if url.get_backend_name() == "sqlite" and not _is_memory(url):
            engine = _engine(url, busy_timeout_s, connections=_READERS, begin="BEGIN")
            readers = _Lane(engine, "reader", threads=_READERS)
        database = cls(writers, readers)
        try:
            migrations.upgrade(writers.engine)
            if readers is not writers:
                database._watch = _Watch(place)
        except (DBAPIError, sqlite3.Error, CommandError) as error:
            database._close()
            raise SetupError(_why_it_does_not_open(place, _cause(error))) from error
        except BaseException:
            database._close()
            raise
        return database

    async def read(self, work: Callable[[Connection], T]) -> T:
        """
        Return what `work` reads, all of it from one moment.

        `work` runs in a thread and fetches what it returns: its connection is closed then.

        Raises:
            SanderlingError: the database failed.
        """
        return await self._readers.run(work)

    async def recall(self, key: Hashable, work: Callable[[Connection], T]) -> T:
        """
        Return what `work` reads, or read when it was last asked for by this key, if nobody has
        written to the database since.

        For what every request asks: a turn of a thread costs as much as all else of a small one.

        key: says what is read, all of it; what is read must be immutable.

        Raises:
            SanderlingError: the database failed.
        """
        version = self._watch.version() if self._watch is not None else None
        if version is None or version != self._recalled_version:
            self._recalled.clear()
            self._recalled_version = version
        if key in self._recalled:
            found: T = self._recalled[key]
            return found
        value = await self.read(work)
        if version is not None and version == self._recalled_version:
            if len(self._recalled) >= _RECALLED_MAX:
                self._recalled.clear()
            self._recalled[key] = value
        return value

    async def write(self, work: Callable[[Connection], T]) -> T:
        """
        Do `work` and commit; when it raises, nothing of it was done.

        `work` runs in a thread and does little beside its statements: every other writer waits.

        Raises:
            SanderlingError: the database failed; nothing was written.
        """
        return await self._writers.run(work)

    async def close(self) -> None:
        """Let running transactions end, then close every connection."""
        await asyncio.to_thread(self._close)

    def _close(self) -> None:
        if self._watch is not None:
            self._watch.close()
        self._writers.close()
        if self._readers is not self._writers:
            self._readers.close()


def _writers(url: URL, busy_timeout_s: float) -> _Lane:
    """SQLite has one writer, and in memory one connection; another database keeps order itself."""
    count = 1 if url.get_backend_name() == "sqlite" else _CONNECTIONS
    engine = _engine(url, busy_timeout_s, connections=count, begin="BEGIN IMMEDIATE")
    return _Lane(engine, "writer", threads=count)


def _cause(error: BaseException) -> BaseException:
    """Return what the driver said; SQLAlchemy wraps it, except where a transaction begins."""
    wrapped = error.orig if isinstance(error, StatementError) else None
    return wrapped or error


def _failure(cause: BaseException) -> SanderlingError:
    """Return `cause` in our words, without the statement's values: they may be a client's text."""
    if isinstance(cause, UnicodeEncodeError):
        return InvalidRequest("The request holds text that is not valid Unicode.")
    if getattr(cause, "sqlite_errorname", "") == "SQLITE_FULL":
        return StorageFull("The disk of the data folder is full; nothing was written.")
    return SanderlingError(f"The database failed: {cause}.")


def _url(url_or_path: str | Path) -> URL:
    if isinstance(url_or_path, Path) or url_or_path == MEMORY:
        return URL.create("sqlite", database=str(url_or_path))
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


def _engine(url: URL, busy_timeout_s: float, *, connections: int, begin: str) -> Engine:
    is_sqlite, is_memory = url.get_backend_name() == "sqlite", _is_memory(url)
    options: dict[str, Any] = {"poolclass": StaticPool}
    if not (is_sqlite and is_memory):
        options = {"poolclass": QueuePool, "pool_size": connections, "max_overflow": 0}
    if is_sqlite:
        # A connection is handed from thread to thread, never used by two at a time.
        options["connect_args"] = {"timeout": busy_timeout_s, "check_same_thread": False}
        # A transaction ends by its own commit or rollback; one more would do nothing.
        options["pool_reset_on_return"] = None
    engine = create_engine(url, json_serializer=_to_json, hide_parameters=True, **options)
    if is_sqlite:
        _set_up_sqlite(engine, begin)
    return engine


def _set_up_sqlite(engine: Engine, begin: str) -> None:
    @event.listens_for(engine, "connect")
    def set_up(connection: sqlite3.Connection, _record: object) -> None:
        # Python's sqlite3 would begin transactions by itself, and late; `start` does it instead.
        connection.isolation_level = None
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}").close()

    @event.listens_for(engine, "begin")
    def start(connection: Connection) -> None:
        # Straight to the driver: it is one word, and SQLAlchemy would take longer than SQLite.
        driver = connection.connection.dbapi_connection
        assert isinstance(driver, sqlite3.Connection)
        driver.execute(begin).close()


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
