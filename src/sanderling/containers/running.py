"""
The executions of all containers at work in this process, each in a task of ours.

An execution goes through here from the moment it is asked for to its record: it waits in its
container's line (`lines.py`), has a box made for it (`boxes.py`), and is run and collected
(`executions.py`), whether or not somebody still listens.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from typing import Any

from sanderling.clock import Clock
from sanderling.containers.boxes import Boxes, Live
from sanderling.containers.executions import Cell
from sanderling.containers.files import Files
from sanderling.containers.happenings import ContainerHappening
from sanderling.containers.lifecycle import is_overdue
from sanderling.containers.lines import Place, Shares
from sanderling.errors import (
    HostUnavailable,
    NotFound,
    RateLimited,
    RequestError,
    SandboxError,
    StorageFull,
)
from sanderling.observe import logs
from sanderling.records import Container, Execution
from sanderling.sandbox.base import Sandbox

# None: nothing follows.
_Told = asyncio.Queue[ContainerHappening | None]


class Running:
    """What `registry.Containers` promises of executions, which it asks of this."""

    def __init__(
        self,
        sandbox: Sandbox,
        boxes: Boxes,
        files: Files,
        clock: Clock,
        *,
        get: Callable[[str, str], Awaitable[Container]],
        touch: Callable[[Container], Awaitable[Container]],
    ) -> None:
        """
        get: returns the container of an organization for use; raises NotFound, Expired.
        touch: pushes a container's deadline back.
        """
        self._sandbox = sandbox
        self._boxes = boxes
        self._files = files
        self._clock = clock
        self._get = get
        self._touch = touch
        self._shares = Shares()
        self._tasks: set[asyncio.Task[None]] = set()

    def prepare(self, container: Container) -> None:
        """Begin to make the container's box."""
        if self._boxes.is_standing(container.id):
            return

        async def make_ready() -> None:
            try:
                await self._boxes.ready(container)
            except (SandboxError, RequestError) as error:
                logs.debug("box.unprepared", container_id=container.id, reason=error.message)

        self._own(make_ready(), name=container.id)

    def execute(
        self, container: Container, code: str, *, execution_id: str, timeout_s: float
    ) -> AsyncIterator[ContainerHappening]:
        """Run one cell; see `Containers.execute`."""
        live = self._boxes.live(container.id)
        self._shares.take(container.organization_id, len(code))
        try:
            place = live.line.join(execution_id)
        except RateLimited:
            self._shares.give_back(container.organization_id, len(code))
            raise
        told: _Told = asyncio.Queue()
        cell = Cell(
            container,
            code,
            execution_id=execution_id,
            timeout_s=timeout_s,
            sandbox=self._sandbox,
            boxes=self._boxes,
            files=self._files,
            place=place,
            tell=told.put_nowait,
        )

        def leave(_: object) -> None:
            live.line.leave(place)
            self._shares.give_back(container.organization_id, len(code))
            told.put_nowait(None)

        task = self._own(
            self._perform(container, cell, live, place, told.put_nowait), name=execution_id
        )
        task.add_done_callback(leave)  # also when it is cancelled before it began
        return _follow(task, told)

    async def interrupt(self, container_id: str, execution_id: str) -> bool:
        """Interrupt an execution, running or in line; False if it is not there or is over."""
        if self._boxes.revoke(container_id, execution_id):
            return True
        try:
            return await self._sandbox.interrupt(container_id, execution_id)
        except NotFound:
            return False  # no box: nothing runs

    async def close(self) -> None:
        """Stop following what runs."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _perform(
        self,
        container: Container,
        cell: Cell,
        live: Live,
        place: Place,
        tell: Callable[[Execution], None],
    ) -> None:
        if is_overdue(container, self._clock.now()):
            try:
                container = await self._get(container.organization_id, container.id)
            except RequestError:
                self._boxes.dismiss(container.id)
                raise
        self._boxes.begin(live)  # at once, so that it cannot expire in between
        try:
            await place.turn()
            execution = await cell.perform(live)
            tell(execution)
            # Nobody waits for this; before `end`, because from then on the container may expire.
            with contextlib.suppress(StorageFull):
                await self._touch(container)
        finally:
            self._boxes.end(container.id, live)
        logs.info(
            "execution.finished",
            container_id=container.id,
            execution_id=execution.id,
            status=execution.status,
            duration_ms=execution.duration_ms,
        )

    def _own(self, work: Coroutine[Any, Any, None], *, name: str) -> asyncio.Task[None]:
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._disown)
        return task

    def _disown(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        # Raised to the listener as well, if there still is one. Who asks for what is not there
        # must not be able to fill the log.
        if error is not None and not isinstance(error, RequestError):
            logs.error("execution.failed", cause=error, execution_id=task.get_name())


async def _follow(task: asyncio.Task[None], told: _Told) -> AsyncIterator[ContainerHappening]:
    while (happening := await told.get()) is not None:
        yield happening
    await asyncio.wait({task})
    if task.cancelled():
        raise HostUnavailable("The server is shutting down.")
    task.result()
