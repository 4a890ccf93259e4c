"""
Whose turn it is: no more than so many at work at once, and no tenant waits behind another's crowd.

Who finds no free place waits in the line of its tenant. A place that becomes free goes to the next
tenant in a circle, and there to the one who came first; so a tenant that asks for one thing gets it
after at most one turn of every other tenant, however many those have asked for. Each line has an
end, and each wait a deadline: nobody is left hanging, and memory is bounded.
"""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict, deque

from sanderling.errors import MachineFull, RateLimited

_RETRY_LINE_FULL_S = 2.0
_RETRY_TOO_BUSY_S = 10.0


class Turns:
    """Places for work of one kind. Every `enter` that returns is followed by one `leave`."""

    def __init__(
        self,
        places: int,
        *,
        work: str,
        waiting_max: int = 1000,
        wait_s_max: float = 120.0,
        first_is_free: bool = False,
    ) -> None:
        """
        places: how many may be at work.
        work: what is waited for, in the plural, as errors call it.
        waiting_max: how many of one tenant may wait.
        wait_s_max: how long each of them may.
        first_is_free: a tenant that has nothing at work never waits, even if all places are taken.
            For work that may take long, so that a few cannot keep everybody else out.
        """
        self._places = places
        self._work = work
        self._waiting_max = waiting_max
        self._wait_s_max = wait_s_max
        self._first_is_free = first_is_free
        self._at_work: Counter[str] = Counter()
        self._total = 0
        self._lines: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()

    @property
    def at_work(self) -> int:
        """How many have a place."""
        return self._total

    @property
    def waiting(self) -> int:
        """How many wait for one."""
        return sum(map(len, self._lines.values()))

    def try_enter(self, tenant: str) -> bool:
        """Take a place if one is free for this tenant now."""
        if tenant in self._lines:
            return False  # those who wait come first
        is_first = self._first_is_free and not self._at_work[tenant]
        if not is_first and self._total >= self._places:
            return False
        self._give(tenant)
        return True

    def check_line(self, tenant: str) -> None:
        """Raises RateLimited: too many of this tenant wait already."""
        waiting = len(self._lines.get(tenant, ()))
        if waiting >= self._waiting_max:
            raise RateLimited(
                f"{waiting} {self._work} of this organization are waiting already. Try again "
                "when some of them are done.",
                retry_after_s=_RETRY_LINE_FULL_S,
            )

    async def enter(self, tenant: str) -> None:
        """
        Wait for a place and take it.

        Raises:
            RateLimited: too many of this tenant wait already.
            MachineFull: none became free in time.
        """
        if self.try_enter(tenant):
            return
        self.check_line(tenant)
        line = self._lines.setdefault(tenant, deque())
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        line.append(place)
        try:
            async with asyncio.timeout(self._wait_s_max):
                await place
        except BaseException as error:
            if place.done() and not place.cancelled():
                self.leave(tenant)  # it was given to us just as we went
            else:
                self._step_out(tenant, place)
            if isinstance(error, TimeoutError):
                raise MachineFull(
                    f"The machine was too busy: of the {self._work} waiting, this one had no turn "
                    f"within {self._wait_s_max:g} s. Nothing was done; try again later.",
                    retry_after_s=_RETRY_TOO_BUSY_S,
                ) from error
            raise

    def leave(self, tenant: str) -> None:
        """Give a place back; the next in turn has it at once."""
        self._total -= 1
        self._at_work[tenant] -= 1
        if not self._at_work[tenant]:
            del self._at_work[tenant]
            if self._first_is_free and tenant in self._lines:
                self._call_next(tenant)
        while self._lines and self._total < self._places:
            self._call_next(next(iter(self._lines)))

    def _give(self, tenant: str) -> None:
        self._total += 1
        self._at_work[tenant] += 1

    def _call_next(self, tenant: str) -> None:
        """Give a place to the first in the line of `tenant`; the tenant goes to the end."""
        line = self._lines[tenant]
        while line:
            place = line.popleft()
            if not place.done():  # else it was cancelled, and has not stepped out yet
                self._give(tenant)
                place.set_result(None)
                break
        if line:
            self._lines.move_to_end(tenant)
        else:
            del self._lines[tenant]

    def _step_out(self, tenant: str, place: asyncio.Future[None]) -> None:
        line = self._lines.get(tenant)
        if line is None or place not in line:
            return
        line.remove(place)
        if not line:
            del self._lines[tenant]
