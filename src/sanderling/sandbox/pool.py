"""
Boxes that stand ready, and the zygote they are forked from.

A ready box has its limits already: those that were asked for last, as the next container nearly
always asks for the same. A taken box is replaced in the background, one fork at a time; who finds
the pool empty forks one for itself and never waits for the refill. When the zygote dies every box
dies with it (it is pid 1 of the namespace around them): the pool notices at once, says so, and
starts another.
"""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Protocol

from sanderling.errors import SandboxError, SanderlingError, SpawnFailed
from sanderling.observe import logs
from sanderling.records import MEMORY_TIER_BYTES
from sanderling.sandbox.base import BoxLimits
from sanderling.sandbox.box import Box
from sanderling.sandbox.spawner import ZygoteFacts

# Waits between attempts that failed; the last one is repeated.
_BACKOFF_S = (0.1, 0.3, 1.0, 3.0, 10.0)
# A fork takes a core for milliseconds: whoever just took a box gets to its first result before.
_REFILL_AFTER_S = 0.03
# How long a caller waits for a zygote that is being started again; a start takes about 2 s.
_RESTART_DEADLINE_S = 30.0
# A fork takes milliseconds and a box has 10 s of its own (`spawner.py`). A zygote that has not even
# answered by then hangs, or the machine does; its boxes live, so it is not ended for that.
_FORK_DEADLINE_S = 20.0
_SETTLE_S = 0.04  # twice what a kernel waits for somebody to want it
_USUAL_LIMITS = BoxLimits(MEMORY_TIER_BYTES["1g"])  # until somebody has asked for others


class BoxMaker(Protocol):
    """A zygote: `spawner.Spawner`, or the tests' double without a wall."""

    @property
    def facts(self) -> ZygoteFacts: ...

    @property
    def pid(self) -> int: ...

    @property
    def is_alive(self) -> bool: ...

    async def spawn(self, *, read_only: bool = False) -> Box: ...

    async def respawn(self, dead: Box) -> Box: ...

    async def close(self) -> None: ...


StartMaker = Callable[[], Awaitable[BoxMaker]]


class Pool:
    """The ready boxes of one host. Open it with `open`, end it with `close`."""

    def __init__(
        self,
        start: StartMaker,
        *,
        size: int,
        on_maker_death: Callable[[], None],
        check_memory: Callable[[], None] = lambda: None,
    ) -> None:
        """
        start: starts a zygote; called again each time one dies.
        size: ready boxes to keep; 0 keeps none.
        on_maker_death: called when the zygote died and all boxes with it.
        check_memory: called before each fork; raises MachineFull if the machine has no memory left.
        """
        self._start = start
        self._size = size
        self._check_memory = check_memory
        self._limits = _USUAL_LIMITS
        self._on_maker_death = on_maker_death
        self._maker: BoxMaker | None = None
        self._arrival = asyncio.Event()  # of the next zygote; each has its own
        self._maker_died = asyncio.Event()
        self._ready: deque[Box] = deque()
        self._wanted = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._endings: set[asyncio.Task[None]] = set()
        self._pidfd = -1

    async def open(self) -> None:
        """
        Start the zygote and begin to fill. Returns when boxes can be taken, before it is full.

        Raises: MachineUnfit, SetupError.
        """
        self._use(await self._start())
        self._tasks = [
            asyncio.create_task(self._keep_maker(), name="pool-zygote"),
            asyncio.create_task(self._keep_full(), name="pool-refill"),
        ]

    @property
    def ready(self) -> int:
        """How many boxes stand ready."""
        return len(self._ready)

    @property
    def facts(self) -> ZygoteFacts | None:
        """What the zygote said of itself; None while there is none."""
        return self._maker.facts if self._maker else None

    def take_ready(self, limits: BoxLimits) -> Box | None:
        """
        Return a living box that has exactly these limits and was never used; the caller owns it.
        None: none stands ready, or they have other limits. The next ones will have these.
        """
        self._limits = replace(limits, allowed_domains=())
        while self._ready:
            box = self._ready[0]
            if not box.is_dead and box.limits != limits:
                return None
            self._ready.popleft()
            self._wanted.set()
            if not box.is_dead:
                return box
            box.release()
        return None

    async def take(self, limits: BoxLimits) -> Box:
        """
        Return a living box that was never used, to be configured with `limits`; the caller owns it.

        Raises: SpawnFailed, MachineFull.
        """
        # None stands ready whose code cannot write: that is built into a box, and few want it.
        if not limits.read_only and (ready := self.take_ready(limits)) is not None:
            return ready
        while self._ready and not limits.read_only:
            box = self._ready.popleft()
            self._wanted.set()
            if not box.is_dead and box.may_become(limits):
                return box
            self._begin_end(box)
        self._check_memory()
        maker = await self._living_maker()
        try:
            return await _in_time(maker.spawn(read_only=limits.read_only))
        except SpawnFailed:
            if maker.is_alive:
                raise
        # The zygote died under the call: wait for the next one.
        maker = await self._living_maker(but=maker)
        return await _in_time(maker.spawn(read_only=limits.read_only))

    async def respawn(self, dead: Box) -> Box:
        """
        Return a new kernel in the dead box's namespaces, /mnt/data kept. `dead` is used up.

        Raises: SpawnFailed, MachineFull: nothing of the box is left then.
        """
        if self._maker is None:
            dead.release()
            raise SpawnFailed("The zygote died, and the files of its boxes with it.")
        return await _in_time(self._maker.respawn(dead))

    async def close(self) -> None:
        """End the zygote, whatever else fails; every box that still stands dies with it."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        maker, self._maker = self._maker, None
        if maker is not None:
            self._stop_watching()
            try:
                for box in self._ready:
                    box.kill()
                await self._release_ready()
            finally:
                await maker.close()
        while self._endings:
            await asyncio.wait(self._endings)

    # ---- the zygote ----------------------------------------------------------------------------

    def _use(self, maker: BoxMaker) -> None:
        self._maker = maker
        self._maker_died.clear()
        arrival, self._arrival = self._arrival, asyncio.Event()
        arrival.set()
        self._wanted.set()
        # A pidfd becomes readable when its process ends.
        self._pidfd = os.pidfd_open(maker.pid)
        asyncio.get_running_loop().add_reader(self._pidfd, self._maker_died.set)

    def _stop_watching(self) -> None:
        asyncio.get_running_loop().remove_reader(self._pidfd)
        os.close(self._pidfd)

    async def _keep_maker(self) -> None:
        """Start another zygote whenever the present one dies."""
        while True:
            await self._maker_died.wait()
            maker, self._maker = self._maker, None
            assert maker is not None
            self._stop_watching()
            logs.error("zygote.died", pid=maker.pid)
            await self._release_ready()
            await maker.close()
            self._on_maker_death()
            self._use(await self._start_again())
            logs.warning("zygote.restarted", pid=(await self._next_maker()).pid)

    async def _start_again(self) -> BoxMaker:
        attempt = 0
        while True:
            try:
                return await self._start()
            except (SanderlingError, OSError) as error:
                logs.error("zygote.start_failed", reason=str(error))
            await asyncio.sleep(_BACKOFF_S[min(attempt, len(_BACKOFF_S) - 1)])
            attempt += 1

    async def _living_maker(self, *, but: BoxMaker | None = None) -> BoxMaker:
        """Return the zygote, or wait for the next; not `but`, which is known to be dead."""
        try:
            async with asyncio.timeout(_RESTART_DEADLINE_S):
                return await self._next_maker(but)
        except TimeoutError as error:
            raise SpawnFailed(
                "The zygote died and could not be started again; the host's log says why."
            ) from error

    async def _next_maker(self, but: BoxMaker | None = None) -> BoxMaker:
        while self._maker is None or self._maker is but:
            await self._arrival.wait()
        return self._maker

    # ---- the boxes -----------------------------------------------------------------------------

    async def _keep_full(self) -> None:
        """Fork boxes while there are fewer than `size`, one at a time."""
        failures = 0
        while True:
            while len(self._ready) >= self._size:
                self._wanted.clear()
                await self._wanted.wait()
                await asyncio.sleep(_REFILL_AFTER_S)
            maker = await self._next_maker()
            try:
                self._check_memory()
                box = await self._prepared(await _in_time(maker.spawn()))
            except (SandboxError, OSError) as error:
                logs.warning("pool.refill_failed", reason=str(error))
                await asyncio.sleep(_BACKOFF_S[min(failures, len(_BACKOFF_S) - 1)])
                failures += 1
                continue
            failures = 0
            if maker is self._maker:
                self._ready.append(box)
            else:  # forked just before its zygote died
                await _end(box)

    async def _prepared(self, box: Box) -> Box:
        """Give a new box the limits that the next container will ask for. Raises SpawnFailed."""
        try:
            # Left alone for a moment it settles (`kernel/rehearsal.py`); a box that is wanted now
            # and then stands idle should not, as that takes memory.
            await asyncio.sleep(_SETTLE_S)
            await box.prepare(self._limits)
        except BaseException:
            await _end(box)
            raise
        return box

    def _begin_end(self, box: Box) -> None:
        """End a box in a task of its own: whoever wants another does not wait for this one."""
        ending = asyncio.create_task(_end(box), name="pool-end")
        self._endings.add(ending)
        ending.add_done_callback(self._endings.discard)

    async def _release_ready(self) -> None:
        while self._ready:
            await _end(self._ready.popleft())


async def _in_time(fork: Awaitable[Box]) -> Box:
    """Raises SpawnFailed: it took too long."""
    try:
        async with asyncio.timeout(_FORK_DEADLINE_S):
            return await fork
    except TimeoutError as error:
        raise SpawnFailed(
            f"No box was made within {_FORK_DEADLINE_S:g} s: the machine is too busy, or the "
            "zygote hangs. If it lasts, end the process that `sanderling doctor` names."
        ) from error


async def _end(box: Box) -> None:
    box.kill()
    await box.wait_dead()
    box.release()
