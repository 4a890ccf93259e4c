"""
The files of a container as records and bytes; nothing here knows whether a box stands.

Every file's bytes are in the blob store, so a box can be thrown away and built again at any moment.
A path names one file: writing it again keeps the id clients know and lets the old bytes go.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from collections.abc import Set as AbstractSet
from typing import Literal

from sanderling.clock import Clock
from sanderling.containers import kinds
from sanderling.containers.names import MOUNT, free_name, mounted, safe_name
from sanderling.containers.streams import closing
from sanderling.ids import new_id
from sanderling.records import ContainerFile
from sanderling.store.store import Store

FILES_PER_CONTAINER_MAX = 10_000  # that are kept; a record is a row, however empty its file


class Room:
    """
    How large a file that code made may be, and whether there may be one more, beside those its
    container has.

    Sparse files and hard links cost a box nothing and our disk all that they say they hold, so what
    we keep of a container is bounded by what would fit into a box again.
    """

    def __init__(
        self, files: Iterable[ContainerFile], *, file_bytes_max: int, container_bytes_max: int
    ) -> None:
        self._sizes = {file.path: file.bytes for file in files}
        self._file_bytes_max = file_bytes_max
        self._bytes_left = container_bytes_max - sum(self._sizes.values())

    def at(self, path: str) -> int:
        """Return how many bytes a file at `path` may have; what is there now is replaced."""
        return max(0, min(self._file_bytes_max, self._bytes_left + self._sizes.get(path, 0)))

    def has_place(self, path: str) -> bool:
        """Whether a file may be kept at `path`: there are not too many, or one is there now."""
        return path in self._sizes or len(self._sizes) < FILES_PER_CONTAINER_MAX

    def count(self, path: str, bytes: int) -> None:
        """Count a file in that is now at `path`."""
        self._bytes_left += self._sizes.get(path, 0) - bytes
        self._sizes[path] = bytes

    def leave(self, path: str) -> None:
        """Count the file at `path` out, if there is one."""
        self._bytes_left += self._sizes.pop(path, 0)


class Files:
    """The container files of every container."""

    def __init__(
        self, store: Store, clock: Clock, *, file_bytes_max: int, container_bytes_max: int
    ) -> None:
        """container_bytes_max: what code may leave in one container, all its files together."""
        self._store = store
        self._clock = clock
        self._file_bytes_max = file_bytes_max
        self._container_bytes_max = container_bytes_max

    async def put(
        self,
        container_id: str,
        path: str,
        *,
        blob_id: str,
        bytes: int,
        source: Literal["user", "assistant"],
        origin_id: str | None = None,
    ) -> ContainerFile:
        """
        Record that `path` now holds the bytes of `blob_id`; what it held before is let go.

        origin_id: the stored file it is a copy of; None: the same as before.
        """
        before = await self._store.container_files.by_path(container_id, path)
        if origin_id is None and before is not None:
            origin_id = before.origin_id
        after = await self._store.container_files.upsert(
            ContainerFile(
                id=new_id("cfile"),
                container_id=container_id,
                path=path,
                bytes=bytes,
                created_at=self._clock.now(),
                source=source,
                blob_id=blob_id,
                origin_id=origin_id,
                mime_type=await self._mime_type(path, blob_id),
            )
        )
        if before is not None and before.blob_id != blob_id:
            await self._store.release_blob(before.blob_id)
        return after

    async def all(self, container_id: str) -> list[ContainerFile]:
        """Return the container's files, oldest first."""
        return await self._store.container_files.all(container_id)

    async def at(self, container_id: str, path: str) -> ContainerFile | None:
        """Return the file that is recorded at `path`."""
        return await self._store.container_files.by_path(container_id, path)

    async def move(self, file: ContainerFile, path: str) -> ContainerFile | None:
        """Record that the file, with its bytes, is at `path` now; None if it is known no more."""
        mime_type = await self._mime_type(path, file.blob_id)
        moved, replaced = await self._store.container_files.move(file, path, mime_type=mime_type)
        if replaced is not None:
            await self._store.release_blob(replaced.blob_id)
        return moved

    async def holds(self, file: ContainerFile, chunks: AsyncIterator[bytes]) -> bool:
        """Return whether `chunks` are the bytes that are kept of the file."""
        return await are_equal(chunks, self._store.blobs.read(file.blob_id))

    async def _mime_type(self, path: str, blob_id: str) -> str:
        kind = kinds.by_name(path)
        if kind is not None:
            return kind
        async with closing(self._store.blobs.read(blob_id)) as chunks:
            async for chunk in chunks:
                return kinds.by_head(chunk[: kinds.HEAD_BYTES])
        return kinds.by_head(b"")

    async def room(self, container_id: str) -> Room:
        """Return how much more code may leave in the container."""
        return Room(
            await self._store.container_files.all(container_id),
            file_bytes_max=self._file_bytes_max,
            container_bytes_max=self._container_bytes_max,
        )

    async def take(
        self, container_id: str, path: str, chunks: AsyncIterator[bytes], *, bytes_max: int
    ) -> ContainerFile:
        """
        Stream `chunks` into a blob and record it as what code left at `path`.

        Raises:
            TooLarge: more than `bytes_max` bytes; nothing is recorded.
        """
        async with self._store.blobs.writer(bytes_max=bytes_max) as writer:
            async for chunk in chunks:
                await writer.write(chunk)
        return await self.put(
            container_id, path, blob_id=writer.blob_id, bytes=writer.bytes, source="assistant"
        )

    async def free_path(
        self, container_id: str, filename: str, *, also_taken: AbstractSet[str] = frozenset()
    ) -> str:
        """Return a path for `filename` that no recorded file has and is not in `also_taken`."""
        taken = {file.path for file in await self._store.container_files.all(container_id)}
        names = {path.removeprefix(MOUNT + "/") for path in taken | also_taken}
        return mounted(free_name(safe_name(filename), names))

    async def drop_path(self, container_id: str, path: str) -> ContainerFile | None:
        """Forget the file at `path` and let its bytes go; None if none was recorded."""
        file = await self._store.container_files.delete_path(container_id, path)
        if file is not None:
            await self._store.release_blob(file.blob_id)
        return file

    async def drop(self, file: ContainerFile) -> None:
        """Forget a file and let its bytes go."""
        await self._store.container_files.delete(file.container_id, file.id)
        await self._store.release_blob(file.blob_id)


async def are_equal(one: AsyncIterator[bytes], other: AsyncIterator[bytes]) -> bool:
    """Return whether two streams have the same bytes, however they are cut. Closes both."""
    left = b""  # read of `other` and not yet of `one`
    async with closing(one), closing(other):
        async for chunk in one:
            while len(left) < len(chunk):
                more = await anext(other, b"")
                if not more:
                    return False
                left += more
            if not left.startswith(chunk):
                return False
            left = left[len(chunk) :]
        return not left and not await anext(other, b"")
