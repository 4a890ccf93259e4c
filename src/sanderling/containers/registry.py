"""
Containers: the workspaces that clients own, from creation to expiry.

A container is a record, its files, and a deadline that every use pushes back. A box is made for it
when code first runs and may be made again at any time; see `boxes.py`. An expired container cannot
be revived, as the API documents, and one in which code is running never expires.
"""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator, Sequence
from typing import Literal

from sanderling.clock import Clock
from sanderling.containers.boxes import Boxes
from sanderling.containers.environments import check_environment
from sanderling.containers.files import Files
from sanderling.containers.happenings import ContainerHappening
from sanderling.containers.lifecycle import is_overdue, refuse_unless_running
from sanderling.containers.network import check_domains
from sanderling.containers.retention import Retention
from sanderling.containers.running import Running
from sanderling.environments.catalog import DEFAULT, Catalog
from sanderling.errors import (
    InvalidRequest,
    MachineUnfit,
    NotFound,
    SandboxError,
    SanderlingError,
)
from sanderling.ids import new_id
from sanderling.observe import logs
from sanderling.records import (
    MEMORY_TIER_BYTES,
    Container,
    ContainerFile,
    MemoryTier,
    StoredFile,
)
from sanderling.sandbox.base import Sandbox
from sanderling.store.paging import Listing, Page
from sanderling.store.store import Store

# How exactly the last use of a container is known. Deadlines are minutes away, and every touch is a
# write that reaches the disk; one call of code is several uses.
TOUCH_EVERY_S = 5.0


class Containers:
    """Every container of this server. Foreign ids behave as absent ones everywhere."""

    def __init__(
        self,
        store: Store,
        sandbox: Sandbox,
        clock: Clock,
        *,
        idle_minutes: int = 20,
        file_bytes_max: int = 512 << 20,
        container_bytes_max: int = 2 << 30,
        files_kept_s: float = 7 * 86400.0,
        egress_domains: Sequence[str] = (),
        box_cpus: float | None = None,
        environments: Catalog | None = None,
        environment: str | None = None,
    ) -> None:
        """
        container_bytes_max: what code may leave in one container, all its files together.
        files_kept_s: how long it can be had when the container has expired.
        egress_domains: the most that a container may be let reach; none: no network.
        box_cpus: processors that one container may use; None: all.
        environments: those that a container can have; None: the default one only.
        environment: of containers that ask for none; None: the default one.
        """
        self._store = store
        self._sandbox = sandbox
        self._clock = clock
        self._idle_minutes = idle_minutes
        self._egress_domains = tuple(egress_domains)
        self._environments = environments or Catalog(None)
        self._environment = environment or DEFAULT
        self._boxes = Boxes(store, sandbox, started_at=clock.now(), cpu_count=box_cpus)
        self._files = Files(
            store, clock, file_bytes_max=file_bytes_max, container_bytes_max=container_bytes_max
        )
        self._retention = Retention(store, self._files, clock, kept_s=files_kept_s)
        self._running = Running(
            sandbox, self._boxes, self._files, clock, get=self.get, touch=self._touch
        )

    # ---- containers ----------------------------------------------------------------------------

    async def create(
        self,
        organization_id: str,
        *,
        name: str,
        memory_limit: MemoryTier = "1g",
        expires_after_minutes: int | None = None,
        file_ids: Sequence[str] = (),
        allowed_domains: Sequence[str] = (),
        environment: str | None = None,
        read_only: bool = False,
    ) -> Container:
        """
        Record a new container with the given stored files in it; its box comes with its first code.

        read_only: its code can write no file; what it shows is kept all the same.

        Raises:
            InvalidRequest: the machine cannot give that memory, or the operator not that network or
                environment.
            NotFound: one of the files is not there; nothing was made.
        """
        reachable = self.check_domains(allowed_domains)
        chosen = self.check_environment(environment)
        await self.check_memory_limit(memory_limit)
        stored = [await self._stored_file(organization_id, f, param="file_ids") for f in file_ids]
        now = self._clock.now()
        container = Container(
            id=new_id("cntr"),
            organization_id=organization_id,
            name=name,
            status="running",
            memory_limit=memory_limit,
            created_at=now,
            last_active_at=now,
            expires_after_minutes=(
                self._idle_minutes if expires_after_minutes is None else expires_after_minutes
            ),
            allowed_domains=reachable,
            environment=chosen,
            read_only=read_only,
        )
        await self._store.containers.insert(container)
        logs.info("container.created", container_id=container.id, memory_limit=memory_limit)
        for file in stored:
            await self._add(
                container.id, file.filename, file.blob_id, file.bytes, "user", origin_id=file.id
            )
        return container

    def check_domains(
        self, asked: Sequence[str], *, param: str = "network_policy"
    ) -> tuple[str, ...]:
        """Return what a container that asks for these domains gets. Raises InvalidRequest."""
        return check_domains(asked, self._egress_domains, param=param)

    def check_environment(self, asked: str | None, *, param: str = "environment") -> str:
        """Return the environment of a container that asks for this one. Raises InvalidRequest."""
        return check_environment(asked, self._environments, self._environment, param=param)

    async def check_memory_limit(self, tier: MemoryTier, *, param: str = "memory_limit") -> None:
        """
        Raises:
            InvalidRequest: a box with that much memory is more than this machine can give.
            HostUnavailable: there is no sandbox host to ask.
        """
        most = (await self._sandbox.status()).memory_bytes_max
        if MEMORY_TIER_BYTES[tier] > most:
            fitting = [t for t, size in MEMORY_TIER_BYTES.items() if size <= most]
            raise InvalidRequest(
                f"Invalid value: '{tier}'. This server can give a container at most "
                f"{most / (1 << 30):.1f} GiB. Supported values are: "
                f"{', '.join(repr(t) for t in fitting) or 'none'}.",
                param=param,
                code="invalid_value",
            )

    async def check_read_only(self) -> None:
        """
        Raises:
            MachineUnfit: no container of this server can be kept from writing files.
            HostUnavailable: there is no sandbox host to ask.
        """
        status = await self._sandbox.status()
        if not status.read_only:
            raise MachineUnfit(
                "This request is for code that can write no file, and the isolation of this server "
                f"({status.isolation}) cannot keep it from that."
            )

    async def retrieve(self, organization_id: str, container_id: str) -> Container:
        """
        Return the container and push its deadline back; an expired one is returned as such.

        Raises:
            NotFound: no such container.
        """
        container = await self._current(organization_id, container_id)
        return container if container.status == "expired" else await self._touch(container)

    async def get(
        self, organization_id: str, container_id: str, *, touch: bool = True
    ) -> Container:
        """
        Return the container for use.

        Raises:
            NotFound: no such container.
            Expired: its time is over.
        """
        container = refuse_unless_running(
            container_id, await self._current(organization_id, container_id)
        )
        return await self._touch(container) if touch else container

    async def page(
        self, organization_id: str, page: Page, *, name: str | None = None
    ) -> Listing[Container]:
        """Return a page of the organization's containers, only those called `name` if given."""
        return await self._store.containers.page(organization_id, page, name=name)

    async def delete(self, organization_id: str, container_id: str) -> None:
        """
        Delete the container, its files and its box; code running in it is interrupted.

        Raises:
            NotFound: no such container.
        """
        await self._current(organization_id, container_id)
        await self._store.containers.set_status(container_id, "deleted")
        logs.info("container.deleted", container_id=container_id)
        await self._close_box(container_id)
        await self._discard(container_id)

    async def expire_idle(self) -> int:
        """Expire every container that has been idle for too long; return how many."""
        idle = await self._store.containers.idle_since(self._clock.now())
        return sum([await self._expire(container) for container in idle])

    async def discard_due(self) -> int:
        """Discard the files that are not to be kept any more; return how many."""
        return await self._retention.sweep()

    async def close_strays(self) -> int:
        """
        End the boxes of containers that are over: those that a server which was killed, or a host
        that did not answer, left standing. Return how many.

        Raises:
            HostUnavailable: nobody to ask.
        """
        count = 0
        for container_id in set(await self._sandbox.containers()) - self._boxes.known():
            found = await self._store.containers.find(container_id)
            if found is None or found.status != "running":
                count += await self._sandbox.close(container_id)
        return count

    # ---- files ---------------------------------------------------------------------------------

    async def add_blob(
        self,
        organization_id: str,
        container_id: str,
        *,
        filename: str,
        blob_id: str,
        bytes: int,
        source: Literal["user", "assistant"] = "user",
    ) -> ContainerFile:
        """
        Put a file into the container, and into its box if one stands. The blob becomes the
        container's; on an error it stays the caller's.

        The name is made safe, and free (`name_1.ext`) if another file has it.

        Raises:
            NotFound, Expired: the container cannot be used.
            TooLarge, InvalidRequest: it does not fit into the box.
        """
        await self.get(organization_id, container_id)
        return await self._add(container_id, filename, blob_id, bytes, source)

    async def add_stored_file(
        self,
        organization_id: str,
        container_id: str,
        file_id: str,
        *,
        filename: str | None = None,
    ) -> ContainerFile:
        """
        Put a file of the Files API into the container, under its own name unless one is given.

        Raises:
            NotFound: no such file or container.
            Expired, TooLarge, InvalidRequest: as `add_blob`.
        """
        await self.get(organization_id, container_id)
        file = await self._stored_file(organization_id, file_id, param="file_id")
        return await self._add(
            container_id,
            filename or file.filename,
            file.blob_id,
            file.bytes,
            "user",
            origin_id=file.id,
        )

    async def files_page(
        self, organization_id: str, container_id: str, page: Page
    ) -> Listing[ContainerFile]:
        """
        Return a page of the container's files.

        Raises:
            NotFound, Expired: the container cannot be used.
        """
        await self.get(organization_id, container_id, touch=False)
        return await self._store.container_files.page(container_id, page)

    async def all_files(self, container_id: str) -> list[ContainerFile]:
        """Return every file of a container, whoever owns it."""
        return await self._store.container_files.all(container_id)

    async def get_file(
        self, organization_id: str, container_id: str, file_id: str
    ) -> ContainerFile:
        """
        Return a file's record; of an expired container too, so that what was cited can be had.

        Raises:
            NotFound: no such container or file.
        """
        await self._current(organization_id, container_id)
        file = await self._store.container_files.get(container_id, file_id)
        if file is None:
            raise NotFound(f"File with id '{file_id}' not found in container '{container_id}'.")
        return file

    async def delete_file(self, organization_id: str, container_id: str, file_id: str) -> None:
        """
        Remove a file from the container and from its box.

        Raises:
            NotFound, Expired: no such file, or the container cannot be used.
        """
        await self.get(organization_id, container_id)
        file = await self.get_file(organization_id, container_id, file_id)
        async with self._boxes.live(container_id).lock:
            await self._boxes.check_running(container_id)
            await self._boxes.delete(container_id, file.path)
            await self._files.drop_path(container_id, file.path)

    def read(self, file: ContainerFile) -> AsyncIterator[bytes]:
        """Stream a file's bytes."""
        return self._store.blobs.read(file.blob_id)

    # ---- code ----------------------------------------------------------------------------------

    def prepare(self, container: Container) -> None:
        """
        Begin to make the container's box, so that it stands when the code is ready to run.

        Nothing is reported: whatever fails here fails again, and is told, at the execution.
        """
        self._running.prepare(container)

    def execute(
        self, container: Container, code: str, *, execution_id: str, timeout_s: float
    ) -> AsyncIterator[ContainerHappening]:
        """
        Run one cell; yield outputs as they appear, then exactly one Execution.

        Executions of a container run one after the other, in the order of these calls. They are
        ours, not the caller's: leaving the iterator neither stops the cell nor keeps its files
        from being collected. `interrupt` stops it, running or not yet.

        Args:
            execution_id: `exec_…`, fresh.
            timeout_s: wall seconds for the cell.

        Raises:
            RateLimited: too many wait already; raised by the call itself. Else by the iterator:
            NotFound, Expired: the container cannot be used; nothing was run.
            SandboxError: no box could be made; nothing was run.
        """
        return self._running.execute(
            container, code, execution_id=execution_id, timeout_s=timeout_s
        )

    async def interrupt(self, organization_id: str, container_id: str, execution_id: str) -> bool:
        """
        Interrupt an execution, running or in line; False if it is not there or is over.

        Raises:
            NotFound, Expired: the container cannot be used.
            HostUnavailable: nobody to ask.
        """
        await self.get(organization_id, container_id)
        return await self._running.interrupt(container_id, execution_id)

    async def close(self) -> None:
        """Stop what is being done for containers. Boxes are the host's and are left alone."""
        await self._running.close()

    # ---- inside --------------------------------------------------------------------------------

    async def _current(self, organization_id: str, container_id: str) -> Container:
        """Return a container that is not deleted, expiring it first if it is overdue."""
        container = await self._store.containers.get(organization_id, container_id)
        if container is None:
            raise NotFound(f"Container with id '{container_id}' not found.")
        if is_overdue(container, self._clock.now()) and await self._expire(container):
            return dataclasses.replace(container, status="expired")
        return container

    async def _expire(self, container: Container) -> bool:
        if self._boxes.is_executing(container.id):
            return False
        if not await self._store.containers.expire(container.id, self._clock.now()):
            return False  # used by somebody else since we looked
        logs.info("container.expired", container_id=container.id)
        await self._close_box(container.id)
        await self._discard(container.id)
        return True

    async def _discard(self, container_id: str) -> None:
        try:
            await self._retention.sweep(container_id)
        except SanderlingError as error:  # it is made again, of all containers, before long
            logs.warning("sweep.failed", reason=error.message)

    async def _close_box(self, container_id: str) -> None:
        try:
            await self._boxes.close(container_id)
        except SandboxError as error:
            # The record says the container is over, which is what counts; a host that does not
            # answer has lost its boxes, or drops those that nobody uses.
            logs.warning("box.unclosed", container_id=container_id, reason=error.message)

    async def _touch(self, container: Container) -> Container:
        now = self._clock.now()
        if now - container.last_active_at < TOUCH_EVERY_S:
            return container
        await self._store.containers.touch(container.id, now)
        return dataclasses.replace(container, last_active_at=now)

    async def _stored_file(self, organization_id: str, file_id: str, *, param: str) -> StoredFile:
        file = await self._store.files.get(organization_id, file_id)
        if file is None or file.is_expired(self._clock.now()):
            raise NotFound(f"No such File object: {file_id}", param=param)
        return file

    async def _add(
        self,
        container_id: str,
        filename: str,
        blob_id: str,
        bytes: int,
        source: Literal["user", "assistant"],
        origin_id: str | None = None,
    ) -> ContainerFile:
        async with self._boxes.live(container_id).lock:
            # Under the lock, as `delete` takes it too: what came after it would never be dropped.
            await self._boxes.check_running(container_id)
            path = await self._boxes.free_path(self._files, container_id, filename)
            await self._boxes.write(container_id, path, self._store.blobs.read(blob_id))
            return await self._files.put(
                container_id,
                path,
                blob_id=blob_id,
                bytes=bytes,
                source=source,
                origin_id=origin_id,
            )
