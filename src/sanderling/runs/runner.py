"""
Starts runs, lets clients follow them, and ends them: by itself, on request, or when we stop.

The runner owns the task of every run; a client that leaves stops nothing. Whatever goes wrong in a
run ends here as a failed run, never as an exception in somebody else's request.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

from sanderling.clock import Clock
from sanderling.containers.registry import Containers
from sanderling.errors import Conflict, ModelRefused, NotFound, SanderlingError
from sanderling.ids import new_id
from sanderling.models.base import Model
from sanderling.observe import logs
from sanderling.records import Item, Run, RunError, RunRequest, RunStatus, Usage
from sanderling.runs.briefing import Briefing, Rules, brief
from sanderling.runs.events import Event, RunChanged, is_terminal
from sanderling.runs.feed import Feed
from sanderling.runs.loop import Loop
from sanderling.runs.recorder import Recorder
from sanderling.runs.recovery import end_run
from sanderling.runs.unstored import Unstored
from sanderling.sandbox.turns import Turns
from sanderling.store.store import Store

# Background runs at work; nobody waits for them, so that only this bounds them. A turn is hours
# away at most, or the run says that it had none.
BACKGROUND_AT_WORK_MAX = 256
BACKGROUND_WAIT_S_MAX = 4 * 3600.0

OUR_FAULT = RunError("server_error", "The server had an error while working on the run.")
SHUTTING_DOWN = RunError("server_error", "The server is shutting down.")


@dataclass(slots=True)
class _Work:
    """
    A run at work; changed by the runner only.

    ending: why its task was cancelled.
    is_let_go: whoever started it will not ask for it any more.
    has_ended: its last event is written, or never will be.
    """

    recorder: Recorder
    ending: RunStatus | None = None
    is_let_go: bool = False
    has_ended: bool = False
    task: asyncio.Task[None] | None = None


class Runner:
    """Every run of this server."""

    def __init__(
        self,
        *,
        store: Store,
        model: Model,
        containers: Containers,
        feed: Feed,
        clock: Clock,
        max_turns: int = 30,
        execution_timeout_s: float = 60.0,
        model_logs_chars_max: int = 20_000,
        shows_images: bool = True,
        background_at_work_max: int = BACKGROUND_AT_WORK_MAX,
    ) -> None:
        self._store = store
        self._model = model
        self._containers = containers
        self._feed = feed
        self._clock = clock
        self._rules = Rules(max_turns, execution_timeout_s, model_logs_chars_max, shows_images)
        self._work: dict[str, _Work] = {}
        self._unstored = Unstored(store, clock)
        self._background = Turns(
            background_at_work_max,
            work="background responses",
            wait_s_max=BACKGROUND_WAIT_S_MAX,
            first_is_free=True,
        )
        self._unended: set[str] = set()  # runs whose end could not be written

    # ---- what clients ask ----------------------------------------------------------------------

    async def start(self, request: RunRequest) -> Run:
        """
        Record a run and begin to work on it; `follow` tells how it goes.

        Raises:
            InvalidRequest, NotFound, Expired: it cannot be run as asked; nothing was recorded.
            Conflict: another run is at work on its conversation.
            HostUnavailable: it would need a sandbox host, and there is none.
            RateLimited: too many background runs of the organization wait for their turn.
        """
        if request.background:
            self._background.check_line(request.organization_id)
        briefing = await self.brief(request)
        run = Run(
            id=new_id("resp"),
            request=request,
            status="queued" if request.background else "in_progress",
            created_at=self._clock.now(),
        )
        # A run that is recorded is worked on, even if the client leaves at this very moment.
        await asyncio.shield(self._begin(run, briefing))
        return run

    async def brief(self, request: RunRequest) -> Briefing:
        """
        Return what a run of `request` would be given.

        Raises:
            InvalidRequest, NotFound, Expired: it cannot be run as asked.
        """
        return await brief(
            request, store=self._store, containers=self._containers, rules=self._rules
        )

    async def _begin(self, run: Run, briefing: Briefing) -> None:
        request = run.request
        await self._store.runs.insert(run, request.input, turn=briefing.turn)
        await self._feed.begin(run.id, is_new=True)
        work = self._work[run.id] = _Work(Recorder(run, feed=self._feed))
        if run.status == "queued":
            await work.recorder.record(RunChanged("queued", run.created_at))
            # It may wait for hours beside a thousand others: without what it was given, then.
            work.recorder.run = replace(run, request=replace(run.request, input=()))
        waits = run.status == "queued"
        work.task = asyncio.create_task(self._carry_out(work, None if waits else briefing))
        work.task.add_done_callback(lambda _: self._work.pop(run.id, None))
        await asyncio.sleep(0)  # a task that has not taken its first step cannot say how it ended
        logs.info("run.started", run_id=run.id, dialect=request.dialect, model=request.model)

    async def follow(self, run_id: str, after: int = -1) -> AsyncIterator[tuple[int, Event]]:
        """
        Yield the run's events numbered above `after`, from 0 without gaps, the terminal one last.

        Knows nothing of owners: let `get` or `start` have given the caller the id.

        Raises:
            SanderlingError: the events cannot be read, or not be written any more.
        """
        has_ended = False
        async for number, event in self._feed.follow(run_id, after):
            has_ended = is_terminal(event)
            yield number, event
        if run_id in self._unended and not has_ended:
            raise SanderlingError(OUR_FAULT.message)

    async def get(
        self, organization_id: str, run_id: str, *, include_unstored: bool = False
    ) -> tuple[Run, list[Item], list[Item]]:
        """
        Return the run with its input and output items.

        One that was not to be stored is there only if it is a background run, which clients have
        no other way to follow, and until it is swept.

        Raises:
            NotFound: no such run, or one that was not to be stored.
        """
        run = await self._store.runs.get(organization_id, run_id)
        if run is None or not (run.request.stored or run.request.background or include_unstored):
            raise NotFound(f"Response with id '{run_id}' not found.")
        return (
            run,
            await self._store.runs.items(run_id, "input"),
            await self._store.runs.items(run_id, "output"),
        )

    async def progress(self, run_id: str) -> Item | None:
        """
        Return the item that a run at work has begun and not ended, as far as it is written.

        Raises:
            SanderlingError: the run's events cannot be written any more.
        """
        work = self._work.get(run_id)
        item = None if work is None else work.recorder.open_item.so_far()
        if item is not None:
            await self._feed.flush(run_id)  # nothing is shown that a crash could take back
        return item

    async def cancel(self, organization_id: str, run_id: str) -> Run:
        """
        Stop the run and the code it runs, and return it as it ended; a cancelled one as it is.

        Raises:
            NotFound: no such run.
            Conflict: it has ended by itself.
        """
        await self.get(organization_id, run_id)  # whose it is comes first
        await self._stop(run_id, "cancelled")
        run, _, _ = await self.get(organization_id, run_id)
        if run.status != "cancelled":
            raise Conflict(f"Cannot cancel run with status '{run.status}'.")
        return run

    def abandon(self, run_id: str) -> None:
        """Stop a run that nobody can come back to; nothing is waited for. It may have ended."""
        self._end(run_id, "cancelled")

    async def delete(self, organization_id: str, run_id: str) -> None:
        """
        Forget the run, its items and its events; one that is at work is cancelled first.

        Raises:
            NotFound: no such run.
        """
        await self.get(organization_id, run_id)
        await self._stop(run_id, "cancelled")
        await self._store.runs.delete(organization_id, run_id)

    async def let_go(self, run: Run) -> None:
        """
        Whoever started the run will not ask for it any more. One that was not to be stored is
        forgotten when it has ended, a background run excepted, as clients may still poll it.
        """
        if run.request.stored or run.request.background:
            return
        work = self._work.get(run.id)
        if work is None or work.has_ended:
            await self._forget(run)
        else:
            work.is_let_go = True

    def keep(self, run: Run) -> None:
        """Keep a run that was not to be stored until it is let go: somebody may go on from it."""
        self._unstored.keep(run.id)

    async def _forget(self, run: Run) -> None:
        try:
            await self._unstored.forget(run)
        except SanderlingError as error:  # a full disk; the sweep will try again
            logs.error("sweep.failed", reason=error.message)

    # ---- what the server asks ------------------------------------------------------------------

    async def sweep(self) -> int:
        """
        Forget the runs that were not to be stored and ended a while ago; return how many.

        Before that, end those whose end could not be written: until then their conversations wait.
        """
        if unended := set(self._unended):
            for run in await self._store.runs.unfinished():
                if run.id in unended:
                    await end_run(run, self._store, self._feed, self._clock, error=OUR_FAULT)
            self._unended -= unended
        return await self._unstored.sweep()

    async def close(self) -> None:
        """
        End every run at work as failed, so that every open stream gets its last event, then close
        the feed. Nothing may be started any more.
        """
        await asyncio.gather(*(self._stop(run_id, "failed") for run_id in list(self._work)))
        await self._feed.close()

    async def _stop(self, run_id: str, ending: RunStatus) -> None:
        task = self._end(run_id, ending)
        if task is not None:
            await asyncio.wait({task})

    def _end(self, run_id: str, ending: RunStatus) -> asyncio.Task[None] | None:
        """Begin to end a run; return its task, None if it is not at work."""
        work = self._work.get(run_id)
        if work is None or work.task is None:
            return None
        if work.ending is None:  # once: a second cancellation would cut off the run's last words
            work.ending = ending
            work.task.cancel()
        return work.task

    # ---- one run -------------------------------------------------------------------------------

    async def _carry_out(self, work: _Work, briefing: Briefing | None) -> None:
        recorder, began_at = work.recorder, self._clock.now()
        with logs.bound(run_id=recorder.run.id):
            try:
                await self._work_on(work, briefing)
                await self._feed.flush(recorder.run.id)
            except Exception as error:  # noqa: BLE001 - the run boundary; the traceback is logged
                # Not even the end of the run could be written. A sweep does it, or the next start.
                self._unended.add(recorder.run.id)
                logs.error("run.failed", cause=error, reason=type(error).__name__)
                await self._feed.abandon(recorder.run.id, SanderlingError(OUR_FAULT.message))
            work.has_ended = True
            if work.is_let_go:
                await self._forget(recorder.run)
            duration_ms = (self._clock.now() - began_at) * 1000
            logs.info("run.finished", status=recorder.run.status, duration_ms=duration_ms)

    async def _work_on(self, work: _Work, briefing: Briefing | None) -> None:
        recorder, loop = work.recorder, None
        status: RunStatus = "failed"
        try:
            async with self._turn(recorder.run):
                loop = self._loop(recorder, briefing or await self._brief_again(recorder))
                await loop.go()
            return
        except asyncio.CancelledError:
            # Only `_stop` cancels this task, and what it wants is done here.
            status = work.ending or "failed"
            error = None if status == "cancelled" else SHUTTING_DOWN
        except SanderlingError as failure:
            logs.warning("run.failed", reason=failure.message)
            error = run_error(failure)
        except Exception as failure:  # noqa: BLE001 - the run boundary; the traceback is logged
            logs.error("run.failed", cause=failure, reason=type(failure).__name__)
            error = OUR_FAULT
        usage = loop.usage if loop is not None and loop.usage != Usage() else None
        await recorder.end(status, self._clock.now(), usage=usage, error=error)

    def _loop(self, recorder: Recorder, briefing: Briefing) -> Loop:
        return Loop(
            recorder.run,
            briefing.conversation,
            model=self._model,
            workspace=briefing.workspace,
            clock=self._clock,
            max_turns=self._rules.max_turns,
            tell=recorder.record,
            uncited=briefing.uncited,
        )

    async def _brief_again(self, recorder: Recorder) -> Briefing:
        """
        Return the briefing of a run that has waited; what it was given comes from the store.

        Raises:
            InvalidRequest, NotFound, Expired: it cannot be run any more as it was asked.
        """
        request = recorder.run.request
        run = await self._store.runs.get(request.organization_id, recorder.run.id)
        if run is None:
            raise NotFound("The response was deleted before it began.")
        recorder.run = run
        return await brief(
            run.request,
            store=self._store,
            containers=self._containers,
            rules=self._rules,
            is_recorded=True,
        )

    @asynccontextmanager
    async def _turn(self, run: Run) -> AsyncIterator[None]:
        """Wait until a background run may work, and let others after it; the rest need no turn."""
        if not run.request.background:
            yield
            return
        await self._background.enter(run.request.organization_id)
        try:
            yield
        finally:
            self._background.leave(run.request.organization_id)


def run_error(error: SanderlingError) -> RunError:
    """Return what the client is told of a run that failed by `error`."""
    if isinstance(error, ModelRefused) and error.status is not None:
        if error.status == 429:
            return RunError("rate_limit_exceeded", error.message)
        # The key and the way to the model are the operator's; everything else it did not like
        # about what it was asked is the prompt's.
        if 400 <= error.status < 500 and error.status not in (401, 403, 407, 408):
            return RunError("invalid_prompt", error.message)
    return RunError("server_error", error.message)
