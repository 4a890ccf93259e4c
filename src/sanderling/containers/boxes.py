"""
The boxes behind containers: made when first needed, filled with the container's files, made again.

A container's files live in the blob store; its box holds copies. Everything that makes a box or
changes its files by our hand happens under the container's lock, so a box is either whole (every
recorded file is in it) or not known to be, and then the next `ready` looks.

Between a restart of the server and the first use of a container, a box may stand that this process
has never seen; `ready` adopts it: files that are missing in it are written, the others are left
alone, because the box may hold newer ones. Which it does hold is looked at after the first
execution here: until then a cell of the server before may still be at work.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from sanderling.containers.files import Files, are_equal
from sanderling.containers.lifecycle import refuse_unless_running
from sanderling.containers.lines import Line
from sanderling.containers.streams import closing
from sanderling.errors import InvalidRequest, NotFound, RequestError, SandboxError, TooLarge
from sanderling.records import MEMORY_TIER_BYTES, Container, ContainerFile
from sanderling.sandbox.base import BoxLimits, Sandbox
from sanderling.store.store import Store

VARIABLES_GONE = (
    "Python was started anew in this container: files are kept, variables and imports of earlier "
    "calls are gone."
)


@dataclass(slots=True)
class Live:
    """
    What this process knows of one container's box. Changed by Boxes and by the execution at work.

    is_whole: a box stands, as far as we know, and holds every recorded file. If it does not stand
        any more, whoever uses it is told so by the sandbox (NotFound) and makes this False.
    has_run: code ran in it since this process has known it.
    is_adopted: the box stood before us, and what code left in it was not compared with the records.
    is_closed: the container is not running any more; set before its box is closed.
    is_over: it was not running any more when this began to know it.
    executions: how many are running or in line; while there are any the container cannot expire.
    line: where they wait, one behind the other.
    missed: paths that code made, changed or removed and that could not be recorded yet.
    notices: sentences that the next execution's output must begin with.
    """

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    is_whole: bool = False
    has_run: bool = False
    is_adopted: bool = False
    is_closed: bool = False
    is_over: bool = False
    executions: int = 0
    line: Line = field(default_factory=Line)
    missed: set[str] = field(default_factory=set)
    notices: list[str] = field(default_factory=list)


class Boxes:
    """The boxes of all containers of this server."""

    def __init__(
        self, store: Store, sandbox: Sandbox, *, started_at: float, cpu_count: float | None = None
    ) -> None:
        self._store = store
        self._sandbox = sandbox
        self._started_at = started_at
        self._cpu_count = cpu_count
        self._live: dict[str, Live] = {}

    def live(self, container_id: str) -> Live:
        """Return what is known of the container's box; begins knowing it."""
        return self._live.setdefault(container_id, Live())

    def known(self) -> set[str]:
        """Return the ids of the containers whose boxes are in this process's hands."""
        return set(self._live)

    def revoke(self, container_id: str, execution_id: str) -> bool:
        """Keep an execution that is not the sandbox's yet from running; False if there is none."""
        live = self._live.get(container_id)
        return live is not None and live.line.revoke(execution_id)

    def is_executing(self, container_id: str) -> bool:
        """Return whether an execution is running or queued in the container."""
        live = self._live.get(container_id)
        return live is not None and live.executions > 0

    def is_standing(self, container_id: str) -> bool:
        """Return whether a whole box stood when last looked at; it may have gone since."""
        live = self._live.get(container_id)
        return live is not None and live.is_whole

    async def ready(self, container: Container) -> None:
        """
        Make sure a box stands with every recorded file in it.

        A box that was whole is believed to stand: the next call to the sandbox finds out for
        nothing, and asking first would cost every execution as much as its code.

        Raises:
            NotFound, Expired: the container is not running any more.
            SpawnFailed, MachineFull, MachineUnfit, HostUnavailable: there is none, or not a whole
            one.
        """
        live = self.live(container.id)
        async with live.lock:
            if live.is_whole and not live.is_closed:
                return
            # Under the lock, because `close` takes it too: no box is made after the last one went.
            await self.check_running(container.id)
            limits = BoxLimits(
                memory_bytes=MEMORY_TIER_BYTES[container.memory_limit],
                cpu_count=self._cpu_count,
                allowed_domains=container.allowed_domains,
                read_only=container.read_only,
            )
            is_new = await self._sandbox.create(
                container.id,
                limits,
                tenant=container.organization_id,
                environment=container.environment,
            )
            # A container older than this process may have run code under the one before it.
            if is_new and (live.has_run or container.created_at < self._started_at):
                live.notices = [VARIABLES_GONE]
                live.has_run = False
            await self._fill(container.id, live, is_new=is_new)
            live.is_whole, live.is_adopted = True, not is_new

    async def check_running(self, container_id: str) -> None:
        """
        Raises:
            NotFound, Expired: the container is not running any more; and is not known here.
        """
        found = await self._store.containers.find(container_id)
        try:
            refuse_unless_running(container_id, found)
        except RequestError:
            self.dismiss(container_id)
            raise

    def dismiss(self, container_id: str) -> None:
        """The container was over before this began to know it: know it no longer."""
        self.live(container_id).is_over = True
        self._forget(container_id)

    async def _fill(self, container_id: str, live: Live, *, is_new: bool) -> None:
        try:
            files = await self._store.container_files.all(container_id)
            for file in files:
                if is_new or not await self.holds(container_id, file.path):
                    await self._mount(file, live)
        except BaseException:
            # A new box with half the files would be taken for a whole one after a restart.
            if is_new:
                with contextlib.suppress(SandboxError):
                    await self._sandbox.close(container_id)
            raise

    async def compare(self, container_id: str, live: Live) -> None:
        """
        Note what code left in an adopted box and nobody was there to record. Reads every file, once
        for each box that outlived its server. The caller holds the container's lock.

        Raises:
            SandboxError: there is nobody to ask; it is done again when the box is found again.
        """
        recorded = {file.path: file for file in await self._store.container_files.all(container_id)}
        with contextlib.suppress(NotFound):  # the box has gone, and all that was in it
            for file in await self._sandbox.list_files(container_id):
                known = recorded.get(file.path)
                if known is None or known.bytes != file.bytes or not await self._is_in_box(known):
                    live.missed.add(file.path)
        live.is_adopted = False

    async def _is_in_box(self, file: ContainerFile) -> bool:
        """Return whether the box has the recorded bytes of a file. Raises NotFound: or none."""
        theirs = self._sandbox.read_file(file.container_id, file.path)
        return await are_equal(theirs, self._store.blobs.read(file.blob_id))

    async def _mount(self, file: ContainerFile, live: Live) -> None:
        try:
            await self._sandbox.write_file(
                file.container_id, file.path, self._store.blobs.read(file.blob_id)
            )
        except (TooLarge, InvalidRequest):
            # One file that does not fit must not keep every other one and all code out.
            live.notices.append(
                f"The file {file.path} could not be put into the container: there is no room."
            )

    async def holds(self, container_id: str, path: str) -> bool:
        """Return whether a regular file stands at `path` in the container's box."""
        try:
            async with closing(self._sandbox.read_file(container_id, path)) as chunks:
                async for _ in chunks:
                    break
        except NotFound:
            return False
        return True

    async def free_path(self, files: Files, container_id: str, name: str) -> str:
        """Return a path no record has and no file in the box either: code may be writing some."""
        hidden: set[str] = set()
        while True:
            path = await files.free_path(container_id, name, also_taken=hidden)
            if not self.is_standing(container_id) or not await self.holds(container_id, path):
                return path
            hidden.add(path)

    async def write(self, container_id: str, path: str, chunks: AsyncIterator[bytes]) -> bool:
        """
        Write a file into the container's box; False if no box stands, which is no failure: the
        file is written when there is one. The caller holds the container's lock.

        Raises:
            TooLarge, InvalidRequest: the box has no room, or something else stands at `path`.
        """
        try:
            await self._sandbox.write_file(container_id, path, chunks)
        except NotFound:
            self.live(container_id).is_whole = False
            return False
        return True

    async def link(self, container_id: str, path: str, target: str) -> None:
        """
        Let `path` lead to a file in the container's box; where the box has no room for it, or has
        something else there, it does not.

        Raises:
            NotFound: no box stands.
        """
        with contextlib.suppress(TooLarge, InvalidRequest):
            await self._sandbox.link_file(container_id, path, target)

    async def delete(self, container_id: str, path: str) -> None:
        """Remove a file from the container's box, if one stands and has it."""
        with contextlib.suppress(NotFound):
            await self._sandbox.delete_file(container_id, path)

    async def close(self, container_id: str) -> None:
        """
        End the box of a container that is not running any more; an execution in it ends
        `interrupted`.

        Raises:
            HostUnavailable: then there is no box either, or the host closes it when it is back.
        """
        live = self.live(container_id)
        live.is_closed = True
        live.line.revoke_all()
        try:
            async with live.lock:
                await self._sandbox.close(container_id)
        finally:
            self._forget(container_id)

    def begin(self, live: Live) -> None:
        """Count an execution in; `end` counts it out."""
        live.executions += 1

    def end(self, container_id: str, live: Live) -> None:
        """Count an execution out."""
        live.executions -= 1
        if live.is_closed or live.is_over:
            self._forget(container_id)

    def _forget(self, container_id: str) -> None:
        """Know a container that is over no longer, once nobody needs to."""
        live = self._live.get(container_id)
        if live is not None and not live.executions:
            del self._live[container_id]
