"""
The sandbox in this process: a pool of boxes, and one keeper for each container that has one.

It does what `base.Sandbox` promises. The host process is this on a Unix socket (`calls.py`).
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import math
import os
import time
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable

from sanderling.errors import (
    HostUnavailable,
    InvalidRequest,
    MachineFull,
    MachineUnfit,
    NotFound,
    RateLimited,
)
from sanderling.observe import logs
from sanderling.sandbox import levels, machine
from sanderling.sandbox.base import BoxLimits, ChangedFile, Happening, HostStatus
from sanderling.sandbox.box import Box
from sanderling.sandbox.egress.host import Egress
from sanderling.sandbox.journal import SHELF_BYTES_MAX, Journal, Shelf
from sanderling.sandbox.keeper import Keeper
from sanderling.sandbox.options import HostOptions
from sanderling.sandbox.pool import BoxMaker, Pool
from sanderling.sandbox.pools import Pools, Stock
from sanderling.sandbox.turns import Turns
from sanderling.sandbox.wire import CODE_BYTES_MAX

ID_CHARS_MAX = 128  # of container and execution ids; ours have 53
TIMEOUT_S_MAX = 24 * 3600.0
# A zygote forks one after the other while the boxes before build their walls beside it; with four
# at once two cores are full, and more would only wait in places nobody sees.
_BIRTHS_AT_ONCE = 4
# Shorter than callers wait for an answer (`client.py`): they hear why, not that nothing came.
_BIRTH_WAIT_S = 30.0
_RETRY_SHARE_S = 5.0

Start = Callable[[HostOptions], Awaitable[BoxMaker]]


class LocalSandbox:
    """The boxes of this machine. Open it with `open`, end it with `end`; both once."""

    def __init__(
        self,
        options: HostOptions,
        start: Start = levels.start,
        *,
        memory_left: Callable[[], int] = machine.memory_left,
        egress: Egress | None = None,
    ) -> None:
        """
        start: called for a zygote, at first and whenever one died.
        memory_left: tells how many bytes the machine has left for more boxes.
        egress: the way out of boxes that may have one; opened and ended with this.
        """
        self.options = options
        self._egress = egress
        self.memory_bytes_max = machine.memory_bytes()
        # Without this the one box too many would take the descriptors of calls to all others.
        self._boxes_max = min(options.boxes_max, machine.boxes_max())
        self._pools = Pools(
            options,
            lambda env, preload: start(dataclasses.replace(options, env=env, preload=preload)),
            on_maker_death=self._lose_all,
            check_memory=self._check_memory,
        )
        self._stocks: dict[str, Stock] = {}  # of each container that has a box
        self._memory_left = memory_left
        self._keepers: dict[str, Keeper] = {}
        self._births: dict[str, asyncio.Task[None]] = {}
        self._tenants: dict[str, str] = {}  # of each container that has a box or a birth
        self._counts: Counter[str] = Counter()  # of those, how many each tenant has
        self._birth_turns = Turns(
            _BIRTHS_AT_ONCE,
            work="containers",
            waiting_max=options.boxes_max,
            wait_s_max=_BIRTH_WAIT_S,
        )
        # At most a sixteenth of the machine, which is there for boxes.
        self._shelf = Shelf(min(SHELF_BYTES_MAX, self.memory_bytes_max // 16))
        self._cell_turns = Turns(options.executions_max, work="executions", first_is_free=True)
        self._funerals: set[asyncio.Task[None]] = set()
        self._is_ending = False

    async def open(self) -> None:
        """
        Make ready to create boxes; the pool fills in the background.

        Raises: MachineUnfit, SetupError.
        """
        levels.check(self.options.isolation, self.options.min_isolation)
        if self._egress is not None:
            await self._egress.open()
        await self._pools.open()

    async def end(self) -> None:
        """Close every box, then the zygote. Running executions end as interrupted."""
        self._is_ending = True
        await asyncio.gather(*self._births.values(), return_exceptions=True)
        for container_id in list(self._keepers):
            self._bury(container_id)
        if self._funerals:
            await asyncio.wait(self._funerals)
        await self._pools.close()
        if self._egress is not None:
            await self._egress.close()

    @property
    def _pool(self) -> Pool:
        return self._pools.home

    # ---- what base.Sandbox promises ------------------------------------------------------------

    async def status(self) -> HostStatus:
        facts = self._pool.facts
        return HostStatus(
            pid=os.getpid(),
            isolation=self.options.isolation,
            boxes=len(self._keepers),
            pool=self._pool.ready,
            memory_bytes_max=self.memory_bytes_max,
            cgroups=facts.cgroups if facts is not None else "none",
            soft_limits=facts.soft_limits if facts is not None else (),
            uids=facts.uids if facts is not None else "single",
            environments=self._pools.standing(),
            read_only=self.options.isolation in levels.READ_ONLY,
        )

    async def create(
        self, container_id: str, limits: BoxLimits, *, tenant: str = "", environment: str = ""
    ) -> bool:
        _check_id("container_id", container_id)
        self._check_limits(limits)
        if container_id in self._keepers:
            return False
        if self._is_ending:
            raise HostUnavailable("The sandbox host is ending.")
        birth = self._births.get(container_id)
        is_first = birth is None
        if birth is None:
            self._check_room(tenant)
            if self._hand_over(container_id, environment, limits, tenant):
                return True
            birth = asyncio.create_task(self._bear(container_id, environment, limits, tenant))
            self._births[container_id] = birth
            self._count_in(container_id, tenant)
        # Shielded: a caller who leaves stops no birth that others may wait for.
        await asyncio.shield(birth)
        return is_first

    async def execute(
        self, container_id: str, execution_id: str, code: str, *, timeout_s: float
    ) -> AsyncGenerator[Happening, None]:
        journal = self.submit(container_id, execution_id, code, timeout_s=timeout_s)
        async with contextlib.aclosing(journal.follow()) as happenings:
            async for _, happening in happenings:
                yield happening

    def submit(
        self, container_id: str, execution_id: str, code: str, *, timeout_s: float
    ) -> Journal:
        """
        Queue a cell, or find the one of that id; return its journal.

        Raises: NotFound, InvalidRequest, Conflict (it ran, and its journal is no longer kept).
        """
        _check_id("execution_id", execution_id)
        if not 0 < timeout_s <= TIMEOUT_S_MAX:
            raise InvalidRequest(f"{timeout_s} s is no time limit.", param="timeout_s")
        if len(code) > CODE_BYTES_MAX:
            raise InvalidRequest(f"The code is longer than {CODE_BYTES_MAX} bytes.", param="code")
        return self._keeper(container_id).submit(execution_id, code, timeout_s=timeout_s)

    async def events(
        self, container_id: str, execution_id: str, *, after: int = -1
    ) -> AsyncGenerator[tuple[int, Happening], None]:
        """
        Yield (sequence, happening) of a known execution, those after `after`, to its Ended.

        Raises: NotFound (no box, no such execution), Conflict (no longer kept).
        """
        journal = self._keeper(container_id).journal(execution_id)
        if journal is None:
            raise NotFound(f"There is no execution '{execution_id}' in the container.")
        async with contextlib.aclosing(journal.follow(after)) as happenings:
            async for sequence, happening in happenings:
                yield sequence, happening

    async def interrupt(self, container_id: str, execution_id: str) -> bool:
        keeper = self._keepers.get(container_id)
        return keeper is not None and keeper.interrupt(execution_id)

    async def write_file(self, container_id: str, path: str, data: AsyncIterable[bytes]) -> int:
        return await self._keeper(container_id).files.write(path, data)

    async def read_file(self, container_id: str, path: str) -> AsyncGenerator[bytes, None]:
        chunks = self._keeper(container_id).files.read(path)
        async with contextlib.aclosing(chunks):
            async for chunk in chunks:
                yield chunk

    async def delete_file(self, container_id: str, path: str) -> bool:
        return await self._keeper(container_id).files.delete(path)

    async def link_file(self, container_id: str, path: str, target: str) -> bool:
        return await self._keeper(container_id).files.link(path, target)

    async def containers(self) -> list[str]:
        return [*self._keepers, *self._births]

    async def list_files(self, container_id: str) -> list[ChangedFile]:
        return await self._keeper(container_id).files.present()

    async def close(self, container_id: str) -> bool:
        birth = self._births.get(container_id)
        if birth is not None:
            await asyncio.wait([birth])
        if container_id not in self._keepers:
            return False
        # Shielded: a caller who leaves does not stop half of an end.
        await asyncio.shield(self._bury(container_id))
        return True

    # ---- births and deaths ---------------------------------------------------------------------

    def _keeper(self, container_id: str) -> Keeper:
        keeper = self._keepers.get(container_id)
        if keeper is None:
            raise NotFound(f"No box stands for container '{container_id}'.")
        return keeper

    def _check_limits(self, limits: BoxLimits) -> None:
        if limits.memory_bytes > self.memory_bytes_max:
            raise MachineUnfit(
                f"A memory limit of {limits.memory_bytes >> 20} MiB is more than this machine has "
                f"({self.memory_bytes_max >> 20} MiB)."
            )
        if limits.read_only and self.options.isolation not in levels.READ_ONLY:
            raise MachineUnfit(
                f"Isolation {self.options.isolation!r} has no boxes that code cannot write in."
            )
        cpu_count = limits.cpu_count
        is_usable = cpu_count is None or (math.isfinite(cpu_count) and cpu_count >= 0.01)
        if limits.memory_bytes <= 0 or not is_usable:
            raise InvalidRequest("The limits of a box must be above zero.", param="limits")

    def _check_room(self, tenant: str) -> None:
        """
        Nobody's box is ended to make room: its variables would be gone, and its owner not told.

        Raises:
            RateLimited: the tenant has as many boxes as one may have.
            MachineFull: there is no room for one more box, whoever asks.
        """
        most = self.options.boxes_per_tenant_max
        if self._counts[tenant] >= most:
            raise RateLimited(
                f"This organization has {most} containers at work, as many as this server gives "
                "one (boxes_per_organization_max). Delete containers that are no longer used, or "
                "wait until they expire.",
                retry_after_s=_RETRY_SHARE_S,
            )
        if len(self._tenants) >= self._boxes_max:
            raise MachineFull(
                f"All {self._boxes_max} boxes of this machine are in use (boxes_max). Delete "
                "containers that are no longer used, or try again when some have expired."
            )

    def _check_memory(self) -> None:
        """Raise MachineFull if one more box would be one too many for the machine's memory."""
        if self._memory_left() <= 0:
            raise MachineFull(
                "The machine has too little memory left for another container. Delete containers "
                "that are no longer used, or try again when some have expired."
            )

    def _count_in(self, container_id: str, tenant: str) -> None:
        self._tenants[container_id] = tenant
        self._counts[tenant] += 1

    def _count_out(self, container_id: str) -> None:
        tenant = self._tenants.pop(container_id)
        self._counts[tenant] -= 1
        if not self._counts[tenant]:
            del self._counts[tenant]

    def _hand_over(
        self, container_id: str, environment: str, limits: BoxLimits, tenant: str
    ) -> bool:
        """Give a container a box that stands ready with its limits, if one does, on the spot."""
        if limits.allowed_domains or limits.read_only or self._birth_turns.waiting:
            return False  # there is more to be done; who waits comes first
        stock = self._pools.enter_now(environment)
        if stock is None:
            return False
        box = stock.pool.take_ready(limits)
        if box is None:
            self._pools.leave(stock)
            return False
        box.close_way_out()
        self._count_in(container_id, tenant)
        self._keep(container_id, stock, box, limits, tenant)
        logs.info("box.born", container_id=container_id, duration_ms=0.0)
        return True

    async def _bear(
        self, container_id: str, environment: str, limits: BoxLimits, tenant: str
    ) -> None:
        """Wait for a turn, take a box, set its limits, and put it into a keeper's hands."""
        began = time.monotonic()
        try:
            # Before the turn: an environment that is being started must not hold up the others.
            stock = await self._pools.enter(environment)
            try:
                await self._birth_turns.enter(tenant)
                try:
                    await self._take(container_id, stock, limits, tenant)
                finally:
                    self._birth_turns.leave(tenant)
            except BaseException:
                self._pools.leave(stock)
                raise
        finally:
            del self._births[container_id]
            if container_id not in self._keepers:
                self._count_out(container_id)
        took_ms = (time.monotonic() - began) * 1000
        logs.info("box.born", container_id=container_id, duration_ms=took_ms)

    async def _take(self, container_id: str, stock: Stock, limits: BoxLimits, tenant: str) -> None:
        box = await stock.pool.take(limits)
        try:
            limits = self._let_out(container_id, box, limits, tenant)
            await box.configure(limits)
        except BaseException:
            self._shut_in(container_id)
            box.kill()
            await box.wait_dead()
            box.release()
            raise
        self._keep(container_id, stock, box, limits, tenant)

    def _keep(
        self, container_id: str, stock: Stock, box: Box, limits: BoxLimits, tenant: str
    ) -> None:
        keeper = Keeper(
            container_id,
            box,
            limits,
            respawn=stock.pool.respawn,
            on_lost=lambda: self._lose(container_id, keeper),
            turns=self._cell_turns,
            shelf=self._shelf,
            tenant=tenant,
        )
        self._keepers[container_id] = keeper
        self._stocks[container_id] = stock

    def _let_out(self, container_id: str, box: Box, limits: BoxLimits, tenant: str) -> BoxLimits:
        """
        Grant the container's domains, those that the operator still has on the list; return the
        limits that hold. Raises SpawnFailed: boxes of this kind have no way out.
        """
        granted: tuple[str, ...] = ()
        if self._egress is not None and (granted := self._egress.granted(limits.allowed_domains)):
            listener = box.take_listener()
            self._egress.grant(container_id, listener, granted, organization_id=tenant)
        return dataclasses.replace(limits, allowed_domains=granted)

    def _shut_in(self, container_id: str) -> None:
        if self._egress is not None:
            self._egress.shut(container_id)

    def _bury(self, container_id: str) -> asyncio.Task[None]:
        """Take the box from its container at once; the end itself goes on in a task of ours."""
        keeper = self._keepers.pop(container_id)
        stock = self._stocks.pop(container_id)
        self._count_out(container_id)
        self._shut_in(container_id)
        keeper.begin_close()
        funeral = asyncio.create_task(keeper.close(), name=f"close-{container_id}")
        self._funerals.add(funeral)
        funeral.add_done_callback(self._funerals.discard)
        funeral.add_done_callback(lambda _: self._pools.leave(stock))
        return funeral

    def _lose(self, container_id: str, keeper: Keeper) -> None:
        """A box could not be replaced: forget it, so that `create` makes a new one."""
        if self._keepers.get(container_id) is keeper:
            self._bury(container_id)

    def _lose_all(self, pool: Pool) -> None:
        """A zygote died and every box of its with it. What was running ends as died."""
        for container_id, keeper in list(self._keepers.items()):
            if self._stocks[container_id].pool is pool:
                keeper.lose()


def _check_id(param: str, value: str) -> None:
    if not 0 < len(value) <= ID_CHARS_MAX or not value.isprintable():
        raise InvalidRequest(f"{param} is empty, too long or not printable.", param=param)
