"""Sanderling's sandbox, as its host runs it: boxes behind their whole wall, asked in process."""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
from importlib import metadata

from bench.peers.base import CellFailed, Peer, Place, Session
from sanderling.sandbox import machine
from sanderling.sandbox.base import BoxLimits, Ended, Error, Logs
from sanderling.sandbox.local import LocalSandbox
from sanderling.sandbox.options import HostOptions

LIMITS = BoxLimits(memory_bytes=1 << 30)
POOL = 4  # the server's own default
_LIVE_MAX = 1000
_DISK_BYTES = 1 << 30
_LOGS_BYTES = 1 << 20
_LEVELS = {"zygote": "namespaces, Landlock, seccomp", "gvisor": "gVisor"}


def offers(level: str) -> bool:
    """Whether this version knows the isolation level."""
    return level == "zygote" or "isolation" in {f.name for f in dataclasses.fields(HostOptions)}


class Sanderling(Peer):
    python = "ours"
    is_blocking = False
    starts_loaded = True
    shows_figures = True

    def __init__(self, *, level: str = "zygote", pool: int = 0) -> None:
        self.key = "ours" + ("-pool" if pool else "") + ("" if level == "zygote" else f"-{level}")
        self.title = "Sanderling, box from the pool" if pool else "Sanderling, no pool"
        self.isolation = _LEVELS[level]
        self.live_max = _LIVE_MAX if level == "zygote" else 0
        if level != "zygote":
            self.title += f", {level} level"
            self.remark = "A box is a whole gVisor, restored from a checkpoint."
        if pool:
            more = f"{pool} boxes stand ready; beyond them, boxes are made when asked for."
            self.remark = f"{self.remark} {more}".strip()
            self.cannot = {"memory": "the same boxes as without pool"}
            if level != "zygote":
                why = "many more boxes than stand ready: as without pool"
                self.cannot |= {"burst": why, "lives": why}
        self._level = level
        self._pool = pool
        self._numbers = itertools.count()

    async def open(self, place: Place) -> None:
        machine.allow_many_descriptors()
        options = HostOptions(
            env=str(place.env),
            disk_bytes=_DISK_BYTES,
            logs_bytes_max=_LOGS_BYTES,
            pool_size=self._pool,
            boxes_max=_LIVE_MAX + 100,
            **({} if self._level == "zygote" else {"isolation": self._level}),
        )
        self._sandbox = LocalSandbox(options)
        await self._sandbox.open()

    async def session(self) -> Session:
        number = next(self._numbers)
        container_id = f"cntr_{number}"
        # Of several organizations, because one alone may not have every box.
        await self._sandbox.create(container_id, LIMITS, tenant=f"org_{number % 4}")
        return _Container(self._sandbox, container_id)

    async def settle(self) -> None:
        while (await self._sandbox.status()).pool < self._pool:
            await asyncio.sleep(0.005)

    async def close(self) -> None:
        await self._sandbox.end()

    def version(self) -> str:
        return f"sanderling {metadata.version('sanderling')}"


class _Container:
    """One container with its box."""

    def __init__(self, sandbox: LocalSandbox, container_id: str) -> None:
        self._sandbox = sandbox
        self._id = container_id
        self._cells = itertools.count()

    async def run(self, code: str) -> str:
        printed: list[str] = []
        cell = self._sandbox.execute(self._id, f"exec_{next(self._cells)}", code, timeout_s=120)
        async for happening in cell:
            match happening:
                case Logs(text=text):
                    printed.append(text)
                case Error(traceback=traceback):
                    raise CellFailed(traceback)
                case Ended(status=status, notice=notice) if status != "ok":
                    raise CellFailed(f"{status}: {notice}")
        return "".join(printed)

    async def close(self) -> None:
        await self._sandbox.close(self._id)
