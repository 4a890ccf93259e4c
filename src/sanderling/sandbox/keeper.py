"""
Keeps the box of one container: its queue, its deadlines, its deaths.

Executions of a container run one after another in the order they were asked for. Each ends with
exactly one Ended, whatever happens. A cell past its deadline gets SIGINT every 100 ms; if that has
not ended it after the grace it gets SIGKILL. A dead kernel is replaced in the same namespaces, so
that the files stay, and the Ended says in plain words that the variables are gone. If it cannot be
replaced, the box is given up and the next `create` makes a new one.

Between cells the box is frozen: what a cell left running stands still until the next one. If there
is anything of the kind the box is frozen at once, before its files are looked at, so that what was
seen is what will be read; else soon after, for a kernel alone can have timers.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from sanderling.errors import MachineFull, RateLimited, SandboxError
from sanderling.observe import logs
from sanderling.records import ExecutionStatus
from sanderling.sandbox.base import BoxLimits, Ended, Error, Happening, Image
from sanderling.sandbox.box import Box
from sanderling.sandbox.box_files import DATA, PATH_BYTES_MAX, Difference
from sanderling.sandbox.data_folder import DataFolder
from sanderling.sandbox.journal import Journal, Journals, Shelf
from sanderling.sandbox.shown import CellEnded
from sanderling.sandbox.stopper import GRACE_S, Reason, Stopper
from sanderling.sandbox.turns import Turns
from sanderling.sandbox.verdict import LOST, RESTARTED, what_ended_it, what_was_full
from sanderling.sandbox.watchdog import Watchdog

# A cell that follows another at once meets a box that was not frozen in between.
FREEZE_AFTER_S = 0.05
# A frozen box stands still within a millisecond; one with many processes takes some.
_STILL_DEADLINE_S = 0.05
_STILL_LOOK_S = 0.0005
# A server that restarts is back in 5 s. A cell that nobody has asked after for this long belonged
# to one that was killed; left alone it would keep its container busy until its own deadline.
DESERTED_S = 10.0
# What may wait in one container: more is a client that does not wait for answers.
QUEUE_MAX = 256
QUEUE_BYTES_MAX = 16 << 20  # of code
_RETRY_QUEUE_FULL_S = 2.0

_NO_CHANGES = Difference((), (), is_complete=True)


@dataclass(frozen=True, slots=True)
class _Execution:
    """One cell that waits or runs."""

    id: str
    code: str
    timeout_s: float
    journal: Journal


class Keeper:
    """
    The keeper of one box. Its methods belong to one event loop; `close` must be called once.

    files: /mnt/data of the box, across its kernels.
    """

    def __init__(
        self,
        container_id: str,
        box: Box,
        limits: BoxLimits,
        *,
        respawn: Callable[[Box], Awaitable[Box]],
        on_lost: Callable[[], None],
        turns: Turns | None = None,
        shelf: Shelf | None = None,
        tenant: str = "",
        grace_s: float = GRACE_S,
        deserted_s: float = DESERTED_S,
    ) -> None:
        """
        box: configured with `limits`; owned from here on.
        respawn: a new kernel in a dead box's place; raises SandboxError, the box used up.
        on_lost: called when the box is given up; the keeper still wants to be closed.
        turns: the places for cells that run at once, shared by all keepers; None: no end of them.
        shelf: for the journals of executions that are over, shared by all keepers.
        tenant: whose turn of those it takes.
        grace_s: how long a cell may take to end after the first SIGINT.
        deserted_s: how long an execution may go on that nobody follows any more.
        """
        self.files = DataFolder(box.data_fd, box.file_owner)
        self._container_id = container_id
        self._box: Box | None = box
        self._limits = limits
        self._respawn = respawn
        self._on_lost = on_lost
        self._turns = turns
        self._tenant = tenant
        self._entering: asyncio.Future[None] | None = None  # while a cell waits for its turn
        self._grace_s = grace_s
        self._deserted_s = deserted_s
        self._journals = Journals(shelf)
        self._queue: list[_Execution] = []
        self._arrived = asyncio.Event()
        self._running: _Execution | None = None
        self._stopper: Stopper | None = None  # while a cell runs
        self._has_begun = False  # the running execution's cell was started
        self._is_revoked = False  # the running execution was interrupted before its cell began
        self._is_closing = False
        self._is_lost = False  # the box died and cannot be replaced
        self._freezing: asyncio.TimerHandle | None = None  # between a cell and the freeze
        self._worker = asyncio.create_task(self._work(), name=f"keeper-{container_id}")

    def submit(self, execution_id: str, code: str, *, timeout_s: float) -> Journal:
        """
        Queue a cell, or find it: the journal of that id is returned however often it is asked.

        Raises:
            Conflict: it ran once, and its journal is no longer kept.
            RateLimited: too many wait already.
        """
        journal = self._journals.get(execution_id)
        if journal is None:
            self._check_queue(len(code))
            journal = self._journals.open(execution_id, lambda: self._on_deserted(execution_id))
            execution = _Execution(execution_id, code, timeout_s, journal)
            if self._is_lost:
                self._end(execution, "died", notice=LOST)
            elif self._is_closing:
                self._end(execution, "interrupted")
            else:
                self._queue.append(execution)
                self._arrived.set()
        return journal

    def _check_queue(self, more: int) -> None:
        waiting = len(self._queue)
        is_long = waiting >= QUEUE_MAX
        if is_long or more + sum(len(e.code) for e in self._queue) > QUEUE_BYTES_MAX:
            raise RateLimited(
                f"{waiting} executions are waiting in this container already, which is as many as "
                "it takes. Wait for the answers of some, then try again.",
                retry_after_s=_RETRY_QUEUE_FULL_S,
            )

    def journal(self, execution_id: str) -> Journal | None:
        """The journal of an execution, None if it is not known. Raises Conflict, as `submit`."""
        return self._journals.get(execution_id)

    def interrupt(self, execution_id: str) -> bool:
        """End an execution as interrupted, running or queued; False if there is none."""
        if self._running is not None and self._running.id == execution_id:
            if self._stopper is not None:
                self._stopper.stop("interrupted")
                return True
            has_begun = self._has_begun
            self._is_revoked = not has_begun
            self._stop_waiting()
            return not has_begun
        for execution in self._queue:
            if execution.id == execution_id:
                self._queue.remove(execution)
                self._end(execution, "interrupted")
                return True
        return False

    def _on_deserted(self, execution_id: str) -> None:
        """The last follower left; end the execution unless somebody comes back in time."""
        journal = self._journals.get(execution_id)

        def end() -> None:
            if journal is not None and journal.followers == 0 and not journal.is_over:
                self.interrupt(execution_id)

        asyncio.get_running_loop().call_later(self._deserted_s, end)

    def lose(self) -> None:
        """Its zygote died: the box is dead and nothing can replace it."""
        self._is_lost = True
        self._arrived.set()
        self._stop_waiting()

    def begin_close(self) -> None:
        """End everything now: what runs or waits ends as interrupted. `close` waits for it."""
        self._is_closing = True
        self._stop_freezing()
        self._end_queue("interrupted")
        self._arrived.set()
        self._stop_waiting()
        if self._box is not None:
            self._box.kill()

    async def close(self) -> None:
        """End the box and all in it; /mnt/data is gone when its last reader is done."""
        self.begin_close()
        await self._worker
        box, self._box = self._box, None
        if box is not None:
            box.kill()
            await box.wait_dead()
            box.release()
        self._journals.close()
        self.files.close()

    # ---- one execution after another -----------------------------------------------------------

    async def _work(self) -> None:
        while not self._is_closing and self._box is not None:
            if self._is_lost:
                await self._give_up("its zygote died")
                return
            if not self._queue:
                self._arrived.clear()
                await self._arrived.wait()
                continue
            execution = self._running = self._queue.pop(0)
            self._stop_freezing()
            self._has_begun = self._is_revoked = False
            try:
                if await self._has_turn(execution):
                    try:
                        await self._execute(execution)
                    finally:
                        self._end_turn()
            except Exception as error:  # noqa: BLE001 - the box boundary: tell whoever waits
                logs.error("execution.failed", cause=error, execution_id=execution.id)
                await self._give_up("a fault of the host")
                if not execution.journal.is_over:
                    self._end(execution, "died", notice=LOST)
            finally:
                self._running = None

    async def _has_turn(self, execution: _Execution) -> bool:
        """Wait until this cell may run; False if it has ended without one, and its journal too."""
        if self._turns is None or self._turns.try_enter(self._tenant):
            return True
        entering = self._entering = asyncio.ensure_future(self._turns.enter(self._tenant))
        try:
            await asyncio.wait({entering})
        finally:
            self._entering = None
            entering.cancel()
        if entering.cancelled():  # revoked, closed or lost: nothing was run
            if self._is_lost and not self._is_closing:
                self._end(execution, "died", notice=LOST)
            else:
                self._end(execution, "interrupted")
            return False
        error = entering.exception()
        if isinstance(error, MachineFull | RateLimited):
            execution.journal.fail(error)
        elif error is not None:
            raise error
        return error is None

    def _end_turn(self) -> None:
        if self._turns is not None:
            self._turns.leave(self._tenant)

    def _stop_waiting(self) -> None:
        if self._entering is not None:
            self._entering.cancel()

    async def _execute(self, execution: _Execution) -> None:
        """Run one cell to its Ended."""
        notices: list[str] = []
        is_fresh = False
        if self._living_box().is_dead and not self._is_closing:
            notices.append(f"The Python process had ended by itself. {RESTARTED}")
            is_fresh = True
            if not await self._replace_kernel():
                self._end_without_box(execution, 0.0, [])
                return
        await self.files.settle()
        if self._is_closing or self._is_revoked:
            self._end(execution, "interrupted", notice=_sentence(notices), is_fresh=is_fresh)
            return
        began = time.monotonic()
        ended, reason, told = await self._run_cell(execution)
        duration_ms = (time.monotonic() - began) * 1000
        status = self._status(ended, reason)
        notices += what_ended_it(status, ended, limits=self._limits, timeout_s=execution.timeout_s)
        if ended.status == "died":
            is_fresh = await self._replace_kernel()
            if not is_fresh:
                self._end_without_box(execution, duration_ms, notices)
                return
            notices.append(RESTARTED)
        elif ended.has_leftovers:
            await self._still_box()
        found = await self.files.changes()
        notices += what_was_full(ended, self.files.room(), told)
        if not found.is_complete:
            notices.append(
                "Some files in /mnt/data were not looked at: there are too many, or their folder "
                "may not be read."
            )
        self._end(
            execution,
            status,
            duration_ms=duration_ms,
            found=found,
            notice=_sentence(notices),
            is_fresh=is_fresh,
        )
        self._freeze_soon()

    async def _run_cell(self, execution: _Execution) -> tuple[CellEnded, Reason | None, str]:
        """
        Run the cell, writing down what it shows; return how it ended, who ended it, and the
        traceback if there was one.
        """
        box = self._living_box()
        stopper = self._stopper = Stopper(box, execution.timeout_s, self._grace_s)
        self._has_begun = True
        watchdog = Watchdog(box.exceeds, box.kill, self._limits.memory_bytes)
        ended: CellEnded | None = None
        told = ""
        try:
            async for happening in box.run_cell(execution.code):
                if isinstance(happening, CellEnded):
                    ended = happening
                else:
                    execution.journal.append(_checked(happening))
                    if isinstance(happening, Error):
                        told = happening.traceback
        finally:
            self._stopper = None
            stopper.disarm()
            watchdog.disarm()
        assert ended is not None
        if watchdog.has_bitten:
            ended = replace(ended, is_out_of_memory=True)
        return ended, stopper.reason, told

    def _status(self, ended: CellEnded, reason: Reason | None) -> ExecutionStatus:
        """Who asked for the end has the word; else the machine's, else the kernel's own."""
        if ended.is_out_of_memory and ended.status == "died":
            return "out_of_memory"
        return reason or ended.status

    # ---- standing still ------------------------------------------------------------------------

    async def _still_box(self) -> None:
        """Freeze the box and wait until it stands still, but not for ever."""
        (box := self._living_box()).freeze()
        deadline = time.monotonic() + _STILL_DEADLINE_S
        while not box.is_still and time.monotonic() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(_STILL_LOOK_S)

    def _freeze_soon(self) -> None:
        if not self._is_closing:
            loop = asyncio.get_running_loop()
            self._freezing = loop.call_later(FREEZE_AFTER_S, self._freeze)

    def _freeze(self) -> None:
        self._freezing = None
        if self._box is not None:
            self._box.freeze()

    def _stop_freezing(self) -> None:
        if self._freezing is not None:
            self._freezing.cancel()
            self._freezing = None

    # ---- kernels -------------------------------------------------------------------------------

    def _living_box(self) -> Box:
        assert self._box is not None
        return self._box

    async def _replace_kernel(self) -> bool:
        """Put a new kernel into the dead box's place; False when there is no box any more."""
        dead = self._living_box()
        await dead.wait_dead()
        if self._is_closing or self._is_lost:
            await self._give_up("its zygote died")
            return False
        began = time.monotonic()
        self._box = None
        try:
            self._box = await self._respawn(dead)
            await self._box.configure(self._limits)
        except SandboxError as error:
            await self._give_up(error.message)
            return False
        took_ms = (time.monotonic() - began) * 1000
        logs.info("box.respawned", container_id=self._container_id, duration_ms=took_ms)
        return True

    async def _give_up(self, reason: str) -> None:
        """There is no box any more: end what waits for it and say so, once."""
        self._stop_freezing()
        box, self._box = self._box, None
        if box is not None:
            box.kill()
            await box.wait_dead()
            box.release()
        if not self._is_closing:
            self._is_lost = True
            logs.warning("box.died", container_id=self._container_id, reason=reason)
            self._end_queue("died", notice=LOST)
            self._on_lost()

    # ---- ends ----------------------------------------------------------------------------------

    def _end_without_box(
        self, execution: _Execution, duration_ms: float, notices: list[str]
    ) -> None:
        if self._is_lost:
            notice = " ".join([*notices, LOST])
            self._end(execution, "died", duration_ms=duration_ms, notice=notice)
        else:  # closed
            self._end(execution, "interrupted", duration_ms=duration_ms)

    def _end_queue(self, status: ExecutionStatus, notice: str | None = None) -> None:
        waiting, self._queue = self._queue, []
        for execution in waiting:
            self._end(execution, status, notice=notice)

    def _end(
        self,
        execution: _Execution,
        status: ExecutionStatus,
        *,
        duration_ms: float = 0.0,
        found: Difference = _NO_CHANGES,
        notice: str | None = None,
        is_fresh: bool = False,
    ) -> None:
        execution.journal.append(
            Ended(status, duration_ms, found.changed, found.removed, notice, is_fresh)
        )
        logs.info(
            "execution.finished",
            container_id=self._container_id,
            execution_id=execution.id,
            status=status,
            duration_ms=duration_ms,
        )


def _checked(happening: Happening) -> Happening:
    """Drop a path that cannot be one of ours; the box said it."""
    if isinstance(happening, Image) and happening.saved_path is not None:
        path = happening.saved_path
        if not path.startswith(f"{DATA}/") or len(path) > PATH_BYTES_MAX:
            return Image(happening.mime, happening.data, happening.name, None)
    return happening


def _sentence(notices: list[str]) -> str | None:
    return " ".join(notices) or None
