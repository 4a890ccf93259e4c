"""
The pools of one host, one for each guest environment that is in use.

The home environment, which most containers have, is there from start to end. Every other one is
started when a container first asks for it, and ended when no box of its has stood for a while: its
zygote has its own libraries in memory, so only a few may be at work at once. Each has a zygote and
a wall of its own, and is as sealed as the home one; when one dies, its own boxes alone are lost.

Names come from clients. One is looked at before it becomes part of a path, and the environment is
held (`catalog.Use`) while boxes stand, so that nobody removes it under their feet. One that was
removed or replaced since its zygote was started is found out before the next box.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from sanderling.environments import catalog
from sanderling.environments.catalog import Catalog, Hold, Use
from sanderling.errors import (
    InvalidRequest,
    MachineFull,
    SanderlingError,
    SetupError,
    SpawnFailed,
)
from sanderling.observe import logs
from sanderling.sandbox.options import HostOptions
from sanderling.sandbox.pool import BoxMaker, Pool

# How long a caller waits for an environment that is being started, which takes seconds; with the
# wait for a turn (`local.py`) shorter than callers wait for an answer (`client.py`). The start goes
# on for whoever comes next.
_START_WAIT_S = 25.0
_RETRY_CHANGING_S = 1.0
# Ready boxes of an environment that is not the home one; somebody just asked, and may ask again.
_READY = 1

# Given the folder of an environment and its preload list, as `preloads.parse` reads it.
Start = Callable[[str, str], Awaitable[BoxMaker]]


@dataclass(eq=False)
class Stock:
    """
    One environment in use: its pool, and how many containers have boxes of its.

    use: what holds the environment; None for one that the operator named by its folder.
    """

    name: str
    pool: Pool
    use: Use | None
    starting: asyncio.Task[None]
    users: int = 0
    idle: asyncio.TimerHandle | None = None
    last_used: float = 0.0
    is_ending: bool = False


class Pools:
    """The pools of one host. Open it with `open`, end it with `close`."""

    def __init__(
        self,
        options: HostOptions,
        start: Start,
        *,
        on_maker_death: Callable[[Pool], None],
        check_memory: Callable[[], None],
    ) -> None:
        """
        on_maker_death: called with the pool whose zygote died, and all its boxes with it.
        check_memory: called before each fork; raises MachineFull if the machine has no memory left.
        """
        self._check_memory = check_memory
        self._options = options
        self._start = start
        self._on_maker_death = on_maker_death
        self._catalog = Catalog(Path(options.environments) if options.environments else None)
        self._stocks: dict[str, Stock] = {}
        self._home: Stock | None = None  # the one that was begun last
        self._outlived: set[Stock] = set()  # out of use, but boxes of theirs stand
        self._endings: set[asyncio.Task[None]] = set()
        self._is_closing = False

    async def open(self) -> None:
        """Start the home environment. Raises MachineUnfit, SetupError."""
        stock = self._begin(self._options.environment)
        await stock.starting
        if stock.use is not None:
            stock.use.end()

    @property
    def home(self) -> Pool:
        """
        The pool of the home environment; it has ended, if the environment was removed since.

        Who asks for it after that is refused, until there is one of that name again.
        """
        assert self._home is not None
        return self._home.pool

    def standing(self) -> dict[str, int]:
        """Return the environments at work, each with how many containers have boxes of its."""
        return {name: stock.users for name, stock in self._stocks.items()}

    async def enter(self, name: str) -> Stock:
        """
        Return the environment `name`, started, for one container; `leave` gives it back.

        Raises:
            InvalidRequest: it is no name, or there is no such environment.
            MachineFull: as many others as may are at work, all with boxes; or it is being replaced
                or removed at this moment.
            SetupError, MachineUnfit: it cannot be started.
            SpawnFailed: it is not started yet.
        """
        name = name or self._options.environment
        stock = self._current(name)
        if stock is None:
            stock = self._begin(name)
        self._count_in(stock)
        try:
            if not stock.starting.done():
                async with asyncio.timeout(_START_WAIT_S):
                    # Not awaited itself: a caller who leaves stops no start that others wait for.
                    await asyncio.wait([stock.starting])
            _raise_refusal(stock)
        except TimeoutError as error:
            self.leave(stock)
            raise SpawnFailed(
                f"The environment {name!r} is still being started; try again in a moment."
            ) from error
        except BaseException:
            self.leave(stock)
            raise
        return stock

    def enter_now(self, name: str) -> Stock | None:
        """
        As `enter`, for an environment that is at work already; None if it is not.

        Raises:
            MachineFull: it is being replaced or removed at this moment.
        """
        stock = self._stocks.get(name or self._options.environment)
        if stock is None or not stock.starting.done():
            return None
        current = self._current(stock.name)
        if current is not None:
            self._count_in(current)
        return current

    def leave(self, stock: Stock) -> None:
        """A container has no box of `stock` any more."""
        stock.users -= 1
        if stock.users:
            return
        if stock.use is not None:
            stock.use.end()
        if self._stocks.get(stock.name) is not stock:
            self._outlived.discard(stock)
            self._end(stock)
        elif stock.name != self._options.environment:
            loop = asyncio.get_running_loop()
            stock.last_used = loop.time()
            stock.idle = loop.call_later(self._options.environment_idle_s, self._retire, stock)

    async def close(self) -> None:
        """End every zygote; every box that still stands dies with its own."""
        self._is_closing = True
        for stock in [*self._stocks.values(), *self._outlived]:
            self._retire(stock)
        while self._endings:
            await asyncio.wait(self._endings)

    # ---- inside --------------------------------------------------------------------------------

    def _current(self, name: str) -> Stock | None:
        """
        Return the environment if it is at work, and is still the one that was started.

        Raises:
            MachineFull: it is being replaced or removed at this moment; it stays as it is.
        """
        stock = self._stocks.get(name)
        if stock is None:
            return None
        if not _has_failed(stock):
            hold = _hold(stock)
            if hold == "held":
                return stock
            if hold == "busy":
                raise _changing(name)
        logs.info("environment.changed", environment=name)
        self._retire(stock)
        return None

    def _begin(self, name: str) -> Stock:
        """Begin to start an environment. Raises InvalidRequest, MachineFull, SetupError."""
        env, preload, use = self._found(name)
        try:
            self._make_room(name)
        except MachineFull:
            if use is not None:
                use.close()
            raise
        is_home = name == self._options.environment
        pool = Pool(
            lambda: self._start(env, preload),
            size=self._options.pool_size if is_home else min(_READY, self._options.pool_size),
            on_maker_death=lambda: self._on_maker_death(pool),
            check_memory=self._check_memory,
        )
        starting = asyncio.create_task(pool.open(), name=f"start-{name}")
        stock = Stock(name, pool, use, starting)
        self._stocks[name] = stock
        if is_home:
            self._home = stock
        starting.add_done_callback(lambda _: self._started(stock))
        return stock

    def _started(self, stock: Stock) -> None:
        starting = stock.starting
        if starting.cancelled():
            return
        if (error := starting.exception()) is not None:
            logs.error("environment.failed", environment=stock.name, reason=str(error))
            if self._stocks.get(stock.name) is stock and stock.name != self._options.environment:
                self._retire(stock)
        else:
            logs.info("environment.started", environment=stock.name)

    def _found(self, name: str) -> tuple[str, str, Use | None]:
        """Return the folder of an environment, its preload list, and the hold on it."""
        if name == catalog.DEFAULT:
            return self._options.env, self._options.preload, None
        if not catalog.is_name(name):
            raise InvalidRequest("The environment has no valid name.", param="environment")
        try:
            path = self._catalog.path(name)
            use = Use(path)
        except SetupError as error:
            raise self._absent(name) from error
        try:
            if use.begin() != "held":
                raise _changing(name)
            # Read while it is held: nobody replaces it between this and its zygote's start.
            named = self._catalog.find(name)
            if named is None:
                raise self._absent(name)
            if named.environment is None:
                raise SetupError(
                    f"The environment {name!r} cannot be used: its Python is gone. Build it anew "
                    f"with: sanderling env create {name} --replace"
                )
        except BaseException:
            use.close()
            raise
        # What the operator lists by a setting is of the default packages.
        return str(path), named.record.preload or "", use

    def _absent(self, name: str) -> SanderlingError:
        if self._catalog.is_at_work(name):
            return _changing(name)
        return InvalidRequest(
            f"There is no environment {name!r} on this server.", param="environment"
        )

    def _make_room(self, name: str) -> None:
        """
        End the environment that has been idle for longest, if there are too many.

        Those that were replaced or removed while boxes of theirs stand have their zygotes in memory
        like the others, and count like them.
        """
        if name == self._options.environment:
            return
        others = [b for b in self._stocks.values() if b.name != self._options.environment]
        if len(others) + len(self._outlived) < self._options.environments_max:
            return
        idle = [stock for stock in others if not stock.users]
        if not idle:
            raise MachineFull(
                "As many environments beside the usual one are in use as this server starts at "
                f"once ({self._options.environments_max}, environments_max). Try again when "
                "containers have expired."
            )
        self._retire(min(idle, key=lambda stock: stock.last_used))

    def _count_in(self, stock: Stock) -> None:
        stock.users += 1
        if stock.idle is not None:
            stock.idle.cancel()
            stock.idle = None

    def _retire(self, stock: Stock) -> None:
        """Take an environment out of use; it ends when the last of its boxes has."""
        if self._stocks.get(stock.name) is stock:
            del self._stocks[stock.name]
        if not stock.users or self._is_closing:
            self._end(stock)
        else:
            self._outlived.add(stock)

    def _end(self, stock: Stock) -> None:
        if stock.is_ending:
            return
        stock.is_ending = True
        if stock.idle is not None:
            stock.idle.cancel()
        ending = asyncio.create_task(_close(stock), name=f"end-{stock.name}")
        self._endings.add(ending)
        ending.add_done_callback(self._endings.discard)


def _raise_refusal(stock: Stock) -> None:
    """Raise what the start of the environment failed with, if it did."""
    if stock.starting.cancelled():
        raise SpawnFailed(f"The environment {stock.name!r} is being ended.")
    if (error := stock.starting.exception()) is not None:
        raise error


def _has_failed(stock: Stock) -> bool:
    starting = stock.starting
    return starting.done() and (starting.cancelled() or starting.exception() is not None)


def _hold(stock: Stock) -> Hold:
    """Hold the environment, as long as there are boxes; those that stand hold it already."""
    if stock.use is None:
        return "held"
    if not stock.users:
        return stock.use.begin()
    return "held" if stock.use.is_current() else "gone"


def _changing(name: str) -> MachineFull:
    return MachineFull(
        f"The environment {name!r} is being made, replaced or removed; try again in a moment.",
        retry_after_s=_RETRY_CHANGING_S,
    )


async def _close(stock: Stock) -> None:
    """End it as far as that goes: what fails is told, and keeps nothing else open."""
    try:
        stock.starting.cancel()
        await asyncio.wait([stock.starting])
        await stock.pool.close()
    except Exception as error:  # noqa: BLE001 - nobody waits for this task: the log is told
        logs.error("environment.end_failed", environment=stock.name, reason=str(error))
    else:
        logs.info("environment.ended", environment=stock.name)
    finally:
        if stock.use is not None:
            stock.use.close()
