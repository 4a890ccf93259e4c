"""
After a crash: whatever was running has failed, and says so.

Called once at start, before anybody may follow a run. A run whose last event was written but whose
row was not changed ended properly; it gets its row. Every other one is closed as failed, its open
item included, so that each stream a client resumes comes to an end.
"""

from __future__ import annotations

from sanderling.clock import Clock
from sanderling.observe import logs
from sanderling.records import (
    CodeCallItem,
    FunctionCallItem,
    Item,
    MessageItem,
    ReasoningItem,
    Run,
    RunError,
)
from sanderling.runs.events import (
    CodeCallFinished,
    Event,
    FunctionCallFinished,
    MessageFinished,
    ReasoningFinished,
    RunChanged,
    is_terminal,
)
from sanderling.runs.feed import Feed
from sanderling.runs.recorder import Recorder, changed, write_end
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
        await _recover(run, store, feed, clock)
        logs.warning("run.recovered", run_id=run.id)
    return len(unfinished)


async def _recover(run: Run, store: Store, feed: Feed, clock: Clock) -> None:
    recorder = Recorder(run, store=store, feed=feed)
    last: Event | None = None
    async for _, event in feed.follow(run.id):  # nobody writes it yet, so this ends
        recorder.fold(event)
        last = event
    if isinstance(last, RunChanged) and is_terminal(last):
        await write_end(store, changed(recorder.run, last))
        return
    await feed.begin(run.id)
    closing = await _stored_closing(recorder, store)
    if closing is not None:
        recorder.fold(closing)
        await feed.append(run.id, closing)
    await recorder.end("failed", clock.now(), usage=None, error=STOPPED)
    await feed.flush(run.id)


async def _stored_closing(recorder: Recorder, store: Store) -> Event | None:
    """Return the closing event of the open item, if the item itself was stored before the crash."""
    if recorder.open_item.kind is None:
        return None
    for item in await store.runs.items(recorder.run.id, "output"):
        if item.id == recorder.open_item.item_id:
            return closing_event(item)
    return None


def closing_event(item: Item) -> Event:
    """Return the event that closes `item`."""
    match item:
        case MessageItem():
            return MessageFinished(item)
        case CodeCallItem():
            return CodeCallFinished(item)
        case FunctionCallItem():
            return FunctionCallFinished(item)
        case ReasoningItem():
            return ReasoningFinished(item)
        case _:
            raise AssertionError("a run has no such output")
