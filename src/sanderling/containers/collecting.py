"""
From what a cell did to /mnt/data to records and bytes that are kept, and to what is told of it.

The sandbox says which paths are not as they were; paths and sizes come from inside the box and are
checked before use. A file whose bytes are those that are kept already costs no second copy: one
that was renamed keeps its record under its new path, and with it the id that clients know; one that
was written again with the same bytes, or touched, is told as changed; one of which only the mode or
the number of links changed is not told at all.
"""

from __future__ import annotations

from collections.abc import Sequence

from sanderling.containers.boxes import Boxes, Live
from sanderling.containers.files import FILES_PER_CONTAINER_MAX, Files, Room
from sanderling.containers.names import is_clean_path
from sanderling.containers.streams import closing
from sanderling.errors import NotFound, SandboxError, StorageFull, TooLarge
from sanderling.records import Artifact, ContainerFile, FileChange
from sanderling.sandbox.base import ChangedFile, Ended, Sandbox

# One file costs two transactions and an fsync, about 5 ms: a thousand is five seconds of waiting,
# and more than anybody downloads one by one. Code that makes more should make an archive.
FILES_PER_EXECUTION_MAX = 1000
_TOO_LARGE_NAMED_MAX = 10  # files named in the notice about them

_UNCOLLECTED = "The sandbox went away before all files that were made could be kept."
_UNKEPT = (
    "The server's disk is full: some files that were made cannot be downloaded. They are in the "
    "container, and are kept by the next call for which there is room."
)


class _CrowdedError(Exception):
    """The container has as many files as are kept of one."""


class Collector:
    """
    Brings home the files of one execution.

    Attributes:
        notices: sentences on what could not be kept.
    """

    def __init__(self, container_id: str, *, sandbox: Sandbox, boxes: Boxes, files: Files) -> None:
        self.notices: list[str] = []
        self._container_id = container_id
        self._sandbox = sandbox
        self._boxes = boxes
        self._files = files
        self._artifacts: dict[str, Artifact] = {}  # by path, in the order they appeared
        self._deleted: dict[str, Artifact] = {}

    def artifacts(self) -> tuple[Artifact, ...]:
        """Return what was done to files: those that are there, then those that are not."""
        return (*self._artifacts.values(), *self._deleted.values())

    def note(
        self, file: ContainerFile, change: FileChange, *, previous_path: str | None = None
    ) -> None:
        """Take a file that was recorded; what was first said of it in this execution holds."""
        first = self._artifacts.get(file.path)
        if first is not None:
            change, previous_path = first.change, first.previous_path
        self._deleted.pop(file.path, None)
        self._artifacts[file.path] = _artifact(file, change, previous_path)

    async def pull(self, path: str, *, bytes_max: int, size: int | None = None) -> ContainerFile:
        """
        Record, note and return the file that stands at `path` in the box.

        size: what it has, if that is known: then bytes that are kept are not copied again.

        Raises:
            NotFound, TooLarge, SandboxError, StorageFull: nothing is recorded.
        """
        known = await self._files.at(self._container_id, path)
        if known is None or known.bytes != size or not await self._is_kept(known, path):
            file = await self._copy(path, bytes_max)
        else:
            file = known
        self.note(file, "created" if known is None else "changed")
        return file

    async def _copy(self, path: str, bytes_max: int) -> ContainerFile:
        async with closing(self._sandbox.read_file(self._container_id, path)) as chunks:
            return await self._files.take(self._container_id, path, chunks, bytes_max=bytes_max)

    async def _is_kept(self, known: ContainerFile, path: str) -> bool:
        """Whether the box has at `path` the bytes that are kept of a file. Raises NotFound."""
        return await self._files.holds(known, self._sandbox.read_file(self._container_id, path))

    async def collect(self, ended: Ended, live: Live) -> None:
        """Bring the files the cell made, changed, moved or removed into the records."""
        async with live.lock:
            if live.is_closed:
                return  # the container went while the cell ran, and its files with it
            found = {file.path: file for file in ended.changed if is_clean_path(file.path)}
            try:
                if live.is_adopted:
                    await self._boxes.compare(self._container_id, live)
                # What an earlier one could not record: its size is not known any more.
                for path in sorted(live.missed - {*found, *ended.removed}):
                    found[path] = ChangedFile(path, 0)
                files = list(found.values())
                kept, left = files[:FILES_PER_EXECUTION_MAX], files[FILES_PER_EXECUTION_MAX:]
                gone = [*ended.removed, *(_gone for file in left for _gone in _left_behind(file))]
                # Until each is done with; a cell that makes thousands is told, and not asked again.
                live.missed = {path for file in kept for path in (file.path, *_left_behind(file))}
                live.missed.update(gone)
                for path in gone:  # first, as it makes room
                    await self._drop(path)
                    live.missed.discard(path)
                await self._record(kept, live)
            except SandboxError:
                live.is_whole = False
                self.notices.append(_UNCOLLECTED)
            except StorageFull:
                self.notices.append(_UNKEPT)
        if len(found) > FILES_PER_EXECUTION_MAX:
            self.notices.append(
                f"{len(found)} files were made or changed; only the first "
                f"{FILES_PER_EXECUTION_MAX} can be downloaded. Pack them into one archive."
            )

    async def _record(self, files: Sequence[ChangedFile], live: Live) -> None:
        """
        Record files as they are now in the box; none is missed then.

        Raises:
            SandboxError, StorageFull: some are left.
        """
        if not files:  # most cells; asking how much room there is would take longer than they
            return
        too_large: list[str] = []
        too_many = 0
        room = await self._files.room(self._container_id)
        for file in files:
            try:
                await self._take(file, room)
            except NotFound:
                # Gone again: a thread or process of the cell's removed it.
                for path in (file.path, *_left_behind(file)):
                    await self._drop(path)
            except _CrowdedError:
                too_many += 1
            except TooLarge:
                too_large.append(file.path)
            live.missed.difference_update((file.path, *_left_behind(file)))
        self._tell_unkept(too_many, too_large)

    async def _take(self, file: ChangedFile, room: Room) -> None:
        """
        Record one file, of about these bytes.

        Raises:
            NotFound, TooLarge, _CrowdedError: there is none, or it is not kept.
            SandboxError, StorageFull: it could not be.
        """
        if await self._was_moved(file, room):
            return
        bytes_max = room.at(file.path)
        if not room.has_place(file.path):
            raise _CrowdedError
        if file.bytes > bytes_max:  # known before a gigabyte is copied
            raise TooLarge
        taken = await self.pull(file.path, bytes_max=bytes_max, size=file.bytes)
        room.count(taken.path, taken.bytes)

    async def _was_moved(self, file: ChangedFile, room: Room) -> bool:
        """Whether the file has the bytes of the one it may have been; record it if renamed."""
        if file.moved_from is None:
            return False
        known = await self._files.at(self._container_id, file.moved_from)
        is_kept = (
            known is not None
            and known.bytes == file.bytes
            and await self._is_kept(known, file.path)
        )
        if file.moved_from == file.path:
            return is_kept  # nothing is to be told of it, then
        self._artifacts.pop(file.moved_from, None)
        room.leave(file.moved_from)
        if is_kept and known is not None:
            moved = await self._files.move(known, file.path)
            if moved is not None:
                room.count(file.path, moved.bytes)
                self.note(moved, "renamed", previous_path=file.moved_from)
                return True
        await self._drop(file.moved_from)
        return False

    async def _drop(self, path: str) -> None:
        """Forget the file at `path`, of which nothing is left in the box."""
        self._artifacts.pop(path, None)
        file = await self._files.drop_path(self._container_id, path)
        if file is not None:
            self._deleted[path] = _artifact(file, "deleted", None)

    def _tell_unkept(self, too_many: int, too_large: Sequence[str]) -> None:
        if too_many:
            self.notices.append(
                f"{too_many} files cannot be downloaded: the container has "
                f"{FILES_PER_CONTAINER_MAX} already. Remove some, or pack them into one archive."
            )
        if too_large:
            named = ", ".join(too_large[:_TOO_LARGE_NAMED_MAX])
            unnamed = len(too_large) - _TOO_LARGE_NAMED_MAX
            more = f" and {unnamed} more" if unnamed > 0 else ""
            self.notices.append(f"Too large to be downloaded: {named}{more}.")


def _left_behind(file: ChangedFile) -> tuple[str, ...]:
    """Return the path that a renamed file had before, if there is one."""
    if file.moved_from is None or file.moved_from == file.path:
        return ()
    return (file.moved_from,)


def _artifact(file: ContainerFile, change: FileChange, previous_path: str | None) -> Artifact:
    return Artifact(
        file_id=file.id,
        container_id=file.container_id,
        path=file.path,
        filename=file.path.rsplit("/", 1)[1],
        bytes=file.bytes,
        created_at=file.created_at,
        change=change,
        previous_path=previous_path,
        mime_type=file.mime_type,
        source=file.source,
    )
