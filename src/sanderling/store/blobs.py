"""
Bytes on disk: each blob one file, written once, whole or not at all.

A blob is written beside its final place, flushed to the disk, and only then renamed, so a name in
the tree always holds every byte, even after the power went. Blobs are found by id alone and never
change; who refers to them is known by the tables.

    blobs/tmp/blob_4f1c…          being written; locked by its writer
    blobs/4f/blob_4f1c…           complete

There are 256 folders and no more, so that soon each of them stands: making one and making that
survive the loss of power takes longer than a small blob itself.

Memory is bounded: a writer holds at most two pieces of CHUNK_BYTES, a reader one. The disk works in
threads, one piece at a time; while one piece is written the next one is gathered.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import os
import re
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self, TypeVar

from sanderling.errors import NotFound, SanderlingError, SetupError, StorageFull, TooLarge
from sanderling.ids import new_id

T = TypeVar("T")

# Large enough that handing a piece to a thread (0.1 ms) costs nothing beside writing it (1 ms).
CHUNK_BYTES = 1 << 20

# How much is written before the disk is made to catch up. Left alone, the kernel keeps half a
# gigabyte in memory, and the last flush holds up the database's commits: the longest one during an
# upload was 170 ms without this and 50 ms with it (medians of 8 uploads, two-core machine).
FLUSH_BYTES = 32 << 20

_BLOB_ID = re.compile(r"blob_([0-9a-f]{2})[0-9a-f]{30}")


async def _in_thread(work: Callable[[], T]) -> T:
    """Return what `work` returns; it runs to its end even if the caller is cancelled."""
    return await asyncio.shield(asyncio.get_running_loop().run_in_executor(None, work))


class Blobs:
    """The blobs below one folder."""

    def __init__(self, root: Path) -> None:
        """
        Make the folder when there is none, and remove what killed writers left behind.

        Raises:
            SetupError: the folder cannot be made or written; says what to do.
        """
        self._root = root
        self._tmp = root / "tmp"
        try:
            root.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._tmp.mkdir(mode=0o700, exist_ok=True)
            self._sweep()
            if not os.access(self._tmp, os.W_OK | os.X_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        except OSError as error:
            raise SetupError(
                f"Files cannot be kept in {root}: {error.strerror}. "
                "Give a data folder that this user may write to."
            ) from error

    def _sweep(self) -> None:
        for path in self._tmp.iterdir():
            with path.open("rb") as file:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    continue  # another process is writing it now
                path.unlink(missing_ok=True)

    def path(self, blob_id: str) -> Path:
        """
        Return where the blob is. The file belongs to the store: read it, never write.

        Raises:
            NotFound: `blob_id` is no id of a blob; nothing else than an id gets near a path.
        """
        match = _BLOB_ID.fullmatch(blob_id)
        if match is None:
            raise NotFound("No such blob.")
        return self._root / match[1] / blob_id

    def has(self, blob_id: str) -> bool:
        """Return whether there is such a blob. Asks the disk at once, for a few microseconds."""
        return self.path(blob_id).exists()

    async def size(self, blob_id: str) -> int:
        """Return the blob's length in bytes. Raises NotFound when there is no such blob."""
        path = self.path(blob_id)
        return (await _in_thread(lambda: _found(path.stat))).st_size

    async def read(self, blob_id: str) -> AsyncIterator[bytes]:
        """
        Yield the blob in pieces of CHUNK_BYTES. A blob deleted meanwhile is read to its end.

        Raises:
            NotFound: there is no such blob; raised by the first step, before any piece.
        """
        path = self.path(blob_id)

        def begin() -> tuple[BinaryIO, bytes]:
            file = _found(lambda: path.open("rb", buffering=CHUNK_BYTES))
            return file, file.read(CHUNK_BYTES)

        file, chunk = await _in_thread(begin)
        try:
            while chunk:
                yield chunk
                chunk = await _in_thread(lambda: file.read(CHUNK_BYTES))
        finally:
            # The file's own lock makes this wait for a read that a cancelled caller left behind.
            await _in_thread(file.close)

    async def delete(self, blob_id: str) -> None:
        """Delete the blob; that there is none is no error."""
        path = self.path(blob_id)
        await _in_thread(lambda: path.unlink(missing_ok=True))

    def writer(self, *, bytes_max: int) -> BlobWriter:
        """Return a writer of a new blob of at most `bytes_max` bytes, for `async with`."""
        blob_id = new_id("blob")
        return BlobWriter(self._tmp / blob_id, self.path(blob_id), bytes_max)

    def ids(self, *, written_before: float) -> list[str]:
        """Return the ids of the blobs written before that moment (Unix seconds). Walks the tree."""
        found = []
        for path in self._root.glob("[0-9a-f][0-9a-f]/blob_*"):
            with contextlib.suppress(FileNotFoundError):  # deleted while we look
                if _BLOB_ID.fullmatch(path.name) and path.stat().st_mtime < written_before:
                    found.append(path.name)
        return found


class BlobWriter:
    """
    One blob being written: `async with blobs.writer(bytes_max=…) as w: await w.write(chunk)`.

    When the block ends well the blob is on the disk for good, and `blob_id` and `bytes` tell of it;
    when it ends with an exception, cancellation included, nothing is left.
    """

    def __init__(self, partial: Path, final: Path, bytes_max: int) -> None:
        self.blob_id = final.name
        self.bytes = 0
        self._partial = partial
        self._final = final
        self._bytes_max = bytes_max
        self._gathered = bytearray()
        self._writing: asyncio.Future[None] | None = None
        self._flushing: asyncio.Future[None] | None = None
        self._unflushed = 0
        # The threads' side. The lock orders a late write, or a late commit, before the clean-up.
        self._lock = threading.Lock()
        self._file: BinaryIO | None = None

    async def __aenter__(self) -> Self:
        try:
            await _in_thread(self._begin)
        except BaseException:
            await self._abandon()
            raise
        return self

    async def write(self, chunk: bytes | bytearray | memoryview) -> None:
        """
        Add `chunk`, of any size.

        Raises:
            TooLarge: the blob would have more than `bytes_max` bytes.
            StorageFull: the disk is full. SanderlingError: it fails.
        """
        if self.bytes + len(chunk) > self._bytes_max:
            raise TooLarge(f"The file is too large: at most {self._bytes_max} bytes are accepted.")
        self.bytes += len(chunk)
        self._gathered += chunk
        if len(self._gathered) >= CHUNK_BYTES:
            await self._settle()
            piece, self._gathered = self._gathered, bytearray()
            loop = asyncio.get_running_loop()
            self._unflushed += len(piece)
            if self._unflushed >= FLUSH_BYTES:
                # Beside the writing, but never two at once: what is unflushed stays bounded.
                if self._flushing is not None:
                    await asyncio.shield(self._flushing)
                self._flushing = loop.run_in_executor(None, self._flush)
                self._unflushed = 0
            self._writing = loop.run_in_executor(None, self._put, piece)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is not None:
            await self._abandon()
            return
        try:
            await self._settle()
            if self._flushing is not None:
                await asyncio.shield(self._flushing)
            await _in_thread(self._commit)
        except BaseException:
            await self._abandon()
            raise

    async def _settle(self) -> None:
        """Wait for the piece that is being written; raise what went wrong with it."""
        if self._writing is not None:
            await asyncio.shield(self._writing)
            self._writing = None

    async def _abandon(self) -> None:
        for future in (self._writing, self._flushing):
            if future is not None:
                # The block fails already; what the last piece met is no second failure.
                future.add_done_callback(lambda f: f.cancelled() or f.exception())
        await _in_thread(self._discard)

    # ---- in threads ----------------------------------------------------------------------------

    def _begin(self) -> None:
        with self._lock, _disk_errors():
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            self._file = os.fdopen(os.open(self._partial, flags, 0o600), "wb")
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def _put(self, piece: bytearray) -> None:
        with self._lock, _disk_errors():
            if self._file is None:
                return  # abandoned before this piece's turn
            self._file.write(piece)

    def _flush(self) -> None:
        with self._lock, _disk_errors():
            if self._file is None:
                return
            descriptor = os.dup(self._file.fileno())
        # Not under the lock: pieces go on being written meanwhile.
        try:
            with _disk_errors():
                os.fdatasync(descriptor)
        finally:
            os.close(descriptor)

    def _commit(self) -> None:
        with self._lock, _disk_errors():
            assert self._file is not None, "a writer commits once"
            self._file.write(self._gathered)
            self._file.flush()
            os.fsync(self._file.fileno())
            folder = self._final.parent
            with contextlib.suppress(FileExistsError):
                folder.mkdir(mode=0o700)
                _sync_folder(folder.parent)
            self._partial.rename(self._final)
            _sync_folder(folder)
            self._file.close()
            self._file = None

    def _discard(self) -> None:
        with self._lock:
            if self._file is not None:
                with contextlib.suppress(OSError):  # a full disk, met again by the last flush
                    self._file.close()
                self._file = None
            self._partial.unlink(missing_ok=True)
            self._final.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    """Flush the folder's list of names to the disk; without it a rename may be lost with power."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _disk_errors() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StorageFull(
                "The disk of the data folder is full; the file was not stored."
            ) from error
        raise SanderlingError(f"The file could not be stored: {error.strerror}.") from error


def _found(work: Callable[[], T]) -> T:
    try:
        return work()
    except FileNotFoundError as error:
        raise NotFound("The content of this file has been deleted.") from error
