"""A sandbox of plain boxes in this process, and the same behind a socket, for tests to play on."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sanderling.sandbox.base import BoxLimits, Logs
from sanderling.sandbox.calls import CallServer
from sanderling.sandbox.client import HostClient
from sanderling.sandbox.local import LocalSandbox
from sanderling.sandbox.options import HostOptions
from tests.doubles.plain_spawner import PlainSpawner

DEADLINE_S = 30.0
LIMITS = BoxLimits(memory_bytes=1 << 30)
SPINS = "print('begun')\nwhile True: pass"


@dataclass
class Stage:
    """A sandbox as its user sees it, and the parts behind it."""

    sandbox: Any  # LocalSandbox or HostClient
    local: LocalSandbox
    socket_path: Path
    makers: list[PlainSpawner]

    async def run(self, code: str, *, container_id: str = "cntr_a", execution_id: str = "e") -> Any:
        return [h async for h in self.follow(code, container_id, execution_id)]

    def follow(self, code: str, container_id: str = "cntr_a", execution_id: str = "e") -> Any:
        return self.sandbox.execute(container_id, execution_id, code, timeout_s=DEADLINE_S)


@contextlib.asynccontextmanager
async def staged(
    tmp_path: Path,
    kind: str,
    *,
    memory_left: Callable[[], int] = lambda: 1 << 30,
    **changed: Any,
) -> AsyncIterator[Stage]:
    """`changed`: fields of HostOptions."""
    makers: list[PlainSpawner] = []

    async def start(options: HostOptions) -> PlainSpawner:
        makers.append(await PlainSpawner.start(logs_bytes_max=options.logs_bytes_max))
        return makers[-1]

    options = HostOptions(
        env="/nowhere", disk_bytes=1 << 20, logs_bytes_max=1 << 20, pool_size=1, boxes_max=5
    )
    options = dataclasses.replace(options, **changed)
    local = LocalSandbox(options, start, memory_left=memory_left)
    server = CallServer(local, {"package": "test", "options": {}})
    path = tmp_path / "host.sock"
    async with asyncio.timeout(120):
        await local.open()
        await server.open(path)
        try:
            yield Stage(HostClient(path) if kind == "socket" else local, local, path, makers)
        finally:
            server.stop_listening()
            await local.end()
            await server.close()


async def chunks(*pieces: bytes) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.005)


async def begun(happenings: AsyncIterator[Any]) -> None:
    """Read until the cell has printed that it runs."""
    async for happening in happenings:
        if isinstance(happening, Logs) and "begun" in happening.text:
            return
