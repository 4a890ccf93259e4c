"""
After a crash: whatever was running has failed, and says so.

Called once at start, before anybody may follow a run; and by the runner for a run whose end could
not be written, when the disk may have room again. A run whose last event was written but whose
row was not changed ended properly; it gets its row. Every other one is closed as failed, its open
item included, so that each stream a client resumes comes to an end.
"""

from __future__ import annotations

from sanderling.clock import Clock
from sanderling.errors import SanderlingError
from sanderling.observe import logs
from sanderling.records import Run, RunError
from sanderling.runs.events import Event, RunChanged, is_terminal
from sanderling.runs.feed import Feed
from sanderling.runs.recorder import Recorder, changed, ending
from sanderling.store.store import Store

STOPPED = RunError("server_error", "The server stopped while the run was in progress.")


async def recover(store: Store, feed: Feed, clock: Clock) -> int:
    """
    End every run that a killed server left unfinished; return how many there were.

    Raises:
        SanderlingError: the store fails.
    """
    unfinished = await store.runs.unfinished()
    for run in unfinished:
        await end_run(run, store, feed, clock, error=STOPPED)
        logs.warning("run.recovered", run_id=run.id)
    return len(unfinished)


async def end_run(run: Run, store: Store, feed: Feed, clock: Clock, *, error: RunError) -> None:
    """
    End a run that nobody works on: as its events say, else as failed by `error`.

    Raises:
        SanderlingError: the store fails; it may be tried again.
    """
    recorder = Recorder(run, feed=feed)
    last: Event | None = None
    async for _, event in feed.follow(run.id):  # nobody writes it yet, so this ends
        recorder.fold(event)
        last = event
    if isinstance(last, RunChanged) and is_terminal(last):
        await store.runs.update(run.id, **ending(changed(recorder.run, last)))
        return
    await feed.begin(run.id)
    try:
        await recorder.end("failed", clock.now(), usage=None, error=error)
        await feed.flush(run.id)
    except SanderlingError as failure:
        await feed.abandon(run.id, failure)
        raise
