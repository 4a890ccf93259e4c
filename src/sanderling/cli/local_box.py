"""Where `sanderling exec` runs a cell by itself: a box in a sandbox of its own process."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sanderling.cli.execution import Job, Place, read_in_chunks
from sanderling.containers.names import mounted, safe_name
from sanderling.containers.streams import closing
from sanderling.environments import locate
from sanderling.environments.catalog import DEFAULT, Catalog
from sanderling.errors import InvalidRequest, NotFound
from sanderling.ids import new_id
from sanderling.records import MEMORY_TIER_BYTES
from sanderling.sandbox.base import BoxLimits, Happening, Sandbox
from sanderling.sandbox.local import LocalSandbox
from sanderling.sandbox.options import HostOptions
from sanderling.settings import Settings


class LocalBox:
    """A box in a sandbox of this very process, which ends with it, however it ends."""

    def __init__(self, sandbox: Sandbox, *, cpu_count: float | None) -> None:
        self._sandbox = sandbox
        self._cpu_count = cpu_count
        self._container_id = new_id("cntr")
        self._execution_id = new_id("exec")

    async def run(self, job: Job) -> AsyncIterator[Happening]:
        await _check_memory(self._sandbox, job.memory_limit)
        limits = BoxLimits(MEMORY_TIER_BYTES[job.memory_limit], cpu_count=self._cpu_count)
        await self._sandbox.create(self._container_id, limits)
        for file in job.files:
            path = mounted(safe_name(file.name))
            await self._sandbox.write_file(self._container_id, path, read_in_chunks(file))
        happenings = self._sandbox.execute(
            self._container_id, self._execution_id, job.code, timeout_s=job.timeout_s
        )
        async with closing(happenings):
            async for happening in happenings:
                yield happening

    async def interrupt(self) -> None:
        with contextlib.suppress(NotFound):  # pressed before there was anything to interrupt
            await self._sandbox.interrupt(self._container_id, self._execution_id)

    def read(self, path: str) -> AsyncIterator[bytes]:
        return self._sandbox.read_file(self._container_id, path)


async def _check_memory(sandbox: Sandbox, tier: str) -> None:
    most = (await sandbox.status()).memory_bytes_max
    if MEMORY_TIER_BYTES[tier] > most:
        raise InvalidRequest(
            f"A memory limit of {tier} is more than this machine has ({most / (1 << 30):.1f} GiB)."
        )


@asynccontextmanager
async def on_this_machine(settings: Settings) -> AsyncIterator[Place]:
    """
    Open a sandbox in this process; close it and its box on leaving.

    Raises:
        SetupError: there is no guest environment, or none of that name.
        MachineUnfit: this machine cannot host boxes.
    """
    environment = settings.environment or DEFAULT
    is_default = environment == DEFAULT
    if not is_default:
        Catalog(settings.environments_folder).get(environment)
    options = HostOptions(
        env=str(locate.find(settings.env).path) if is_default else "",
        preload=settings.preload,
        environments=str(settings.environments_folder),
        environment=environment,
        disk_bytes=settings.box_disk_bytes,
        logs_bytes_max=settings.logs_bytes_max,
        pool_size=1,
        boxes_max=1,
        isolation=settings.isolation,
    )
    sandbox = LocalSandbox(options)
    await sandbox.open()
    try:
        yield LocalBox(sandbox, cpu_count=settings.box_cpus)
    finally:
        await sandbox.end()
