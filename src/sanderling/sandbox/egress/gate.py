"""What one container may reach, and how much of it at once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from sanderling.sandbox.egress.audit import Entry
from sanderling.sandbox.egress.reach import Reach

REQUESTS_PER_S, REQUESTS_BURST = 50, 200  # of one container: an audit is to be read by people
_LOOKUPS_MAX = 4  # of one container at once, so that one with a slow DNS leaves others their turn

Record = Callable[[Entry], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Permit:
    """Who may reach what. organization_id: empty if it is not known."""

    container_id: str
    organization_id: str
    domains: tuple[str, ...]


class Gate:
    """One permit at work."""

    def __init__(self, permit: Permit, reach: Reach, record: Record) -> None:
        """record: called with each request when it is over; may make it wait."""
        self.domains = permit.domains
        self.reach = reach.for_one(_LOOKUPS_MAX)
        self.record = record
        self._permit = permit
        self._next = 0.0

    def entry(self) -> Entry:
        return Entry(
            time=round(time.time(), 3),
            container_id=self._permit.container_id,
            organization_id=self._permit.organization_id,
        )

    async def turn(self) -> None:
        """Wait until this container may ask for more: after a burst, so many a second."""
        now = asyncio.get_running_loop().time()
        # When the next would be due, had none come early; a burst may run that far ahead.
        self._next = max(self._next, now) + 1 / REQUESTS_PER_S
        await asyncio.sleep(max(0.0, self._next - now - REQUESTS_BURST / REQUESTS_PER_S))
