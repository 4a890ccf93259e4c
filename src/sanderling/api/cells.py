"""
The cells that clients run without a model: each is drained by a task of ours, whoever listens.

A client that leaves stops nothing; one that wants the cell to stop cancels it by its id. What has
happened is kept until the cell has ended, so that a listener who comes late misses nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator

from sanderling.containers.happenings import ContainerHappening
from sanderling.errors import HostUnavailable
from sanderling.records import Execution


class RunningCell:
    """One cell at work, or just ended."""

    def __init__(self, execution_id: str, container_id: str, organization_id: str) -> None:
        self.execution_id = execution_id
        self.container_id = container_id
        self.organization_id = organization_id
        self._happenings: list[ContainerHappening] = []
        self._failure: Exception | None = None
        self._has_ended = False
        self._changed = asyncio.Event()

    @property
    def has_ended(self) -> bool:
        """Whether nothing will happen any more."""
        return self._has_ended

    @property
    def is_told(self) -> bool:
        """Whether its end is known, though what follows on it may go on for a moment."""
        return bool(self._happenings) and isinstance(self._happenings[-1], Execution)

    async def follow(self) -> AsyncGenerator[ContainerHappening, None]:
        """
        Yield what happened and then what happens, an Execution last.

        Raises:
            SanderlingError: the cell could not be run.
        """
        told = 0
        while True:
            while told < len(self._happenings):
                yield self._happenings[told]
                told += 1
            if self._has_ended:
                break
            await self._changed.wait()
        if self._failure is not None:
            raise self._failure

    async def result(self) -> Execution:
        """
        Wait for the end and return how it was.

        Raises:
            SanderlingError: the cell could not be run.
        """
        # Closed here: one that is left to the loop costs it a task of its own.
        async with contextlib.aclosing(self.follow()) as happenings:
            async for happening in happenings:
                if isinstance(happening, Execution):
                    return happening
        raise AssertionError("an execution ended without an Execution")

    async def drain(self, happenings: AsyncIterator[ContainerHappening]) -> None:
        """Take everything that happens; the task that owns the cell runs this."""
        try:
            async for happening in happenings:
                self._happenings.append(happening)
                self._wake()
        except asyncio.CancelledError:
            self._failure = HostUnavailable("The server is shutting down.")
            raise
        except Exception as error:  # noqa: BLE001 raised again where the cell is followed
            self._failure = error
        finally:
            self._has_ended = True
            self._wake()

    async def ended_within(self, seconds: float) -> bool:
        """Wait until the cell has ended, but not longer than `seconds`."""
        try:
            async with asyncio.timeout(seconds):
                while not self._has_ended:
                    await self._changed.wait()
        except TimeoutError:
            return False
        return True

    def _wake(self) -> None:
        # A fresh event each time: whoever waits on the old one wakes exactly once.
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()


class Cells:
    """The cells at work in this process."""

    def __init__(self) -> None:
        self._running: dict[str, RunningCell] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def start(
        self,
        happenings: AsyncIterator[ContainerHappening],
        *,
        execution_id: str,
        container_id: str,
        organization_id: str,
    ) -> RunningCell:
        """Begin to run the cell that `happenings` tells of."""
        cell = RunningCell(execution_id, container_id, organization_id)
        self._running[execution_id] = cell
        task = asyncio.create_task(cell.drain(happenings))
        self._tasks.add(task)

        def forget(done: asyncio.Task[None]) -> None:
            self._tasks.discard(done)
            self._running.pop(execution_id, None)

        task.add_done_callback(forget)
        return cell

    def find(
        self, organization_id: str, container_id: str, execution_id: str
    ) -> RunningCell | None:
        """Return the cell if it is at work in that container of that organization."""
        cell = self._running.get(execution_id)
        if cell is None or cell.is_told:
            return None
        is_theirs = (cell.organization_id, cell.container_id) == (organization_id, container_id)
        return cell if is_theirs else None

    async def close(self) -> None:
        """Stop following every cell; their streams end with an error."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
