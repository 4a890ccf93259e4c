"""What is asked of every peer, once for all. Runs in the peer's driver."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from bench import memory
from bench.cells import IMPORTS, NEXT, PRINT, plot
from bench.peers.base import Peer, Session
from bench.samples import timed

BURST = 20  # sessions at once
_AT_ONCE = 4  # lives in flight
_LIVES_S = 1.0
_NEXT_CELLS = 50
_MEMORY_SESSIONS = 5
_MEMORY_SAMPLE = 20

Values = dict[str, list[float]]
T = TypeVar("T")


def step(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine of a peer that blocks; no loop runs, which such a library would notice."""
    try:
        coroutine.send(None)
    except StopIteration as done:
        result: T = done.value
        return result
    raise AssertionError("a peer that blocks has waited for a loop")


class Measures:
    """The measures of one peer; each method named in `NAMES` is one repetition of one."""

    # Memory first: nothing that ran before has left a pool larger.
    NAMES = ("memory", "first_print", "next", "imports", "plot", "burst", "lives")

    def __init__(self, peer: Peer, group: Path | None) -> None:
        self._peer = peer
        self._group = group
        self._live: list[Session] = []
        self._before: set[int] = set()
        self._base_mib = 0.0

    async def measure(self, name: str, count: int, budget_s: float) -> Values:
        """Repeat a measure `count` times, or until the time is used; once at least."""
        values: Values = {}
        started = time.perf_counter()
        for _ in range(count):
            await self._peer.settle()
            for figure, found in (await getattr(self, name)()).items():
                values.setdefault(figure, []).extend(found)
            if time.perf_counter() - started > budget_s:
                break
        await self._peer.settle()  # what is made ready again must not disturb whoever is next
        return values

    async def warm_up(self) -> None:
        """Have everything in the page cache, and the libraries' own caches filled."""
        session = await self._peer.session()
        await session.run(f"{IMPORTS}\n{self._plot}" if self._peer.has_libraries else PRINT)
        await session.close()

    async def first_print(self) -> Values:
        values: list[float] = []
        with timed(values):
            session = await self._begin()
        await session.close()
        return {"first_print": values}

    async def next(self) -> Values:
        values: list[float] = []
        session = await self._begin()
        for _ in range(_NEXT_CELLS):
            with timed(values):
                await session.run(NEXT)
        await session.close()
        return {"next": values}

    async def imports(self) -> Values:
        values: list[float] = []
        with timed(values):
            session = await self._peer.session()
            await session.run(IMPORTS)
        await session.close()
        return {"imports": values}

    async def plot(self) -> Values:
        values: list[float] = []
        with timed(values):
            session = await self._peer.session()
            await session.run(f"{IMPORTS}\n{self._plot}")
        await session.close()
        return {"plot": values}

    async def memory(self) -> Values:
        """Of sessions that have imported the libraries, beyond one that is there already."""
        sessions = [await self._loaded()]
        before = memory.descendants(os.getpid())
        groups = memory.groups_of(self._group, before) if self._group else []
        base_mib = memory.charge_mib(groups)
        sessions += [await self._loaded() for _ in range(_MEMORY_SESSIONS)]
        new = memory.descendants(os.getpid()) - before
        # A pool may have lent a process that stood ready, so there may be fewer new ones.
        count = min(_MEMORY_SESSIONS, len(new))
        values = {"private": [sum(map(memory.private_mib, new)) / count]}
        if groups:
            values["charged"] = [(memory.charge_mib(groups) - base_mib) / count]
        for session in sessions:
            await session.close()
        return values

    async def burst(self) -> Values:
        """Until the last of many sessions that were asked for at once has printed."""
        values: list[float] = []
        with timed(values):
            sessions = await self._at_once(self._begin, BURST)
        for session in sessions:
            await session.close()
        return {"burst": values}

    async def lives(self) -> Values:
        """Create, execute, destroy; a few in flight, for a second at least."""
        started = time.perf_counter()

        async def one_after_another() -> int:
            lived = 0
            while time.perf_counter() - started < _LIVES_S:
                await (await self._begin()).close()
                lived += 1
            return lived

        lived = sum(await self._at_once(one_after_another, _AT_ONCE))
        return {"lives": [lived / (time.perf_counter() - started)]}

    async def scale(self, live: int, count: int, budget_s: float) -> Values:
        """Bring the idle sessions to `live`, and measure beside them."""
        if not self._live:
            self._live.append(await self._idle())  # its groups hold those of all that follow
            self._before = memory.descendants(os.getpid())
            self._groups = memory.groups_of(self._group, self._before) if self._group else []
            self._base_mib = memory.charge_mib(self._groups)
        while len(self._live) - 1 < live:
            self._live.append(await self._idle())
        await self._peer.settle()
        values: Values = {}
        if "memory" not in self._peer.cannot:
            idle = sorted(memory.descendants(os.getpid()) - self._before)
            some = idle[:: max(1, len(idle) // _MEMORY_SAMPLE)]
            values["private"] = [memory.private_mib(pid) for pid in some]
            if self._groups:
                grown = memory.charge_mib(self._groups) - self._base_mib
                values["charged"] = [grown / live]
        for name in ("first_print", "imports"):
            values |= await self.measure(name, count, budget_s)
        values["next"] = []
        for session in self._live[1 :: max(1, live // count)]:
            await session.run(NEXT)
            with timed(values["next"]):
                await session.run(NEXT)
        return values

    async def end(self) -> None:
        """Close what `scale` holds."""
        while self._live:
            await self._live.pop().close()

    @property
    def _plot(self) -> str:
        return plot(is_shown=self._peer.shows_figures)

    async def _begin(self) -> Session:
        session = await self._peer.session()
        await session.run(PRINT)
        return session

    async def _loaded(self) -> Session:
        session = await self._peer.session()
        await session.run(IMPORTS if self._peer.has_libraries else PRINT)
        return session

    async def _idle(self) -> Session:
        """A session that nobody has asked anything yet, its libraries in memory."""
        return await (self._peer.session() if self._peer.starts_loaded else self._loaded())

    async def _at_once(self, make: Callable[[], Coroutine[Any, Any, T]], count: int) -> list[T]:
        if self._peer.is_blocking:
            with ThreadPoolExecutor(count) as threads:
                return list(threads.map(lambda _: step(make()), range(count)))
        return list(await asyncio.gather(*[make() for _ in range(count)]))
