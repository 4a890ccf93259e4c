"""
Executions in line: in one container one after the other, in the order they were asked for.

The host would queue them too, but two calls to it may overtake each other, and the files of one
cell are collected before the next may change them. How many may wait is bounded, per container and
per organization, so that a client that never waits for answers is told to, and costs no memory.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque

from sanderling.errors import RateLimited

PER_CONTAINER_MAX = 256
PER_ORGANIZATION_MAX = 1000
CODE_BYTES_MAX = 64 << 20  # of one organization's executions in line together
_RETRY_AFTER_S = 2.0


class Place:
    """
    One execution's place in line.

    is_revoked: it was interrupted before its code was handed to the sandbox; it will not be run.
    is_handed_over: its code is the sandbox's now, and so is interrupting it.
    """

    def __init__(self, execution_id: str) -> None:
        self.execution_id = execution_id
        self.is_revoked = False
        self.is_handed_over = False
        self._turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def call(self) -> None:
        """It is this execution's turn, or there will be none."""
        if not self._turn.done():
            self._turn.set_result(None)

    async def turn(self) -> None:
        """Wait until it is, or until it was revoked."""
        await self._turn

    def revoke(self) -> None:
        """It shall not run."""
        self.is_revoked = True
        self.call()


class Line:
    """The executions of one container; the first of them is at work."""

    def __init__(self) -> None:
        self._places: deque[Place] = deque()

    def join(self, execution_id: str) -> Place:
        """
        Take the last place; `leave` gives it back.

        Raises:
            RateLimited: the line is too long.
        """
        if len(self._places) > PER_CONTAINER_MAX:
            raise RateLimited(
                f"{PER_CONTAINER_MAX} executions are waiting in this container already, which is "
                "as many as it takes. Wait for the answers of some, then try again.",
                retry_after_s=_RETRY_AFTER_S,
            )
        place = Place(execution_id)
        self._places.append(place)
        self._places[0].call()
        return place

    def leave(self, place: Place) -> None:
        """Let the next one begin."""
        self._places.remove(place)
        if self._places:
            self._places[0].call()

    def revoke(self, execution_id: str) -> bool:
        """Keep an execution from running; False if it is not in line, or too late."""
        for place in self._places:
            if place.execution_id == execution_id and not place.is_handed_over:
                place.revoke()
                return True
        return False

    def revoke_all(self) -> None:
        """Keep every execution that is not at work yet from running."""
        for place in self._places:
            if not place.is_handed_over:
                place.revoke()


class Shares:
    """What each organization has in line, over all its containers."""

    def __init__(self) -> None:
        self._executions: Counter[str] = Counter()
        self._bytes: Counter[str] = Counter()

    def take(self, organization_id: str, code_bytes: int) -> None:
        """
        Count one in; `give_back` counts it out.

        Raises:
            RateLimited: the organization has too many.
        """
        executions = self._executions[organization_id]
        if (
            executions >= PER_ORGANIZATION_MAX
            or self._bytes[organization_id] + code_bytes > CODE_BYTES_MAX
        ):
            raise RateLimited(
                f"{executions} executions of this organization are running or waiting already, "
                "which is as many as the server takes. Wait for the answers of some, then try "
                "again.",
                retry_after_s=_RETRY_AFTER_S,
            )
        self._executions[organization_id] += 1
        self._bytes[organization_id] += code_bytes

    def give_back(self, organization_id: str, code_bytes: int) -> None:
        """Count one out."""
        self._executions[organization_id] -= 1
        self._bytes[organization_id] -= code_bytes
        if not self._executions[organization_id]:
            del self._executions[organization_id], self._bytes[organization_id]
