"""
Every event of every run: written once, then handed to whoever listens; replayed from the start.

An event is delivered only after it is on the disk, and with it the item it closes and what it
changes in the run's row, so what a client saw is what it can read again.
Writers do not wait for the disk at each token: appended events gather, and one task writes all that
gathered for a run in one transaction, so the slower the disk the larger the batches. A writer that
gets too far ahead is held back; followers never hold anybody back, because they read from the store
whatever they have missed.

The events of a run are numbered from 0 without gaps. One task appends to a run.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from functools import partial

from sanderling.errors import SanderlingError
from sanderling.observe import logs
from sanderling.records import Item
from sanderling.runs.events import Event, is_terminal
from sanderling.store.codec import Codec
from sanderling.store.runs import RunChanges
from sanderling.store.store import Store

# How far a run may be ahead of the disk: a second of the fastest models, and a bounded loss of
# memory when the disk stands still.
AHEAD_MAX = 256
# Latest events kept in memory for live followers, so that they need not ask the database.
TAIL_MAX = 256
# Events read at once by a follower that is behind.
PAGE_EVENTS = 500

_EVENTS = Codec[Event](Event)


@dataclass(frozen=True, slots=True)
class _Entry:
    """An event, and what is written with it: the item it closes, what it changes in the row."""

    event: Event
    item: Item | None = None
    changes: RunChanges = field(default_factory=RunChanges)


@dataclass(slots=True)
class _Stream:
    """
    A run that is being written; changed by the feed only.

    next_seq: the number of the next event appended.
    waiting: appended, not on the disk.
    tail: the last events on the disk, with their numbers.
    written: notified whenever events reach the disk, or cannot.
    """

    next_seq: int
    waiting: list[_Entry] = field(default_factory=list)
    tail: deque[tuple[int, Event]] = field(default_factory=lambda: deque(maxlen=TAIL_MAX))
    written: asyncio.Condition = field(default_factory=asyncio.Condition)
    is_over: bool = False
    failure: SanderlingError | None = None

    @property
    def durable_seq(self) -> int:
        """The number of the last event on the disk, -1 if there is none."""
        return self.next_seq - len(self.waiting) - 1


class Feed:
    """The one place where events are recorded and given out."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._streams: dict[str, _Stream] = {}
        self._dirty: dict[str, None] = {}  # runs with events waiting, in the order they came
        self._wake = asyncio.Event()
        self._writer: asyncio.Task[None] | None = None

    # ---- writing -------------------------------------------------------------------------------

    async def begin(self, run_id: str, *, is_new: bool = False) -> None:
        """
        Open the run's stream, where it ended if it has events. From here on followers wait.

        is_new: the run has no events; it need not be looked up.
        """
        if run_id not in self._streams:
            last = -1 if is_new else await self._store.events.last_seq(run_id)
            self._streams.setdefault(run_id, _Stream(next_seq=last + 1))
        if self._writer is None:
            self._writer = asyncio.create_task(self._write_forever())

    async def append(
        self,
        run_id: str,
        event: Event,
        *,
        item: Item | None = None,
        changes: RunChanges | None = None,
    ) -> None:
        """
        Take the run's next event; it is on the disk soon, or when `flush` returns.

        A terminal event closes the stream. The run must have been begun. The event is taken before
        anything is waited for: a caller that is cancelled in here was only held back.

        Args:
            item: the output item that the event closes; written in the same transaction.
            changes: what the event changes in the run's row; likewise.

        Raises:
            SanderlingError: an event before this one could not be written.
        """
        stream = self._streams[run_id]
        assert not stream.is_over, "nothing follows a terminal event"
        if stream.failure is not None:
            raise stream.failure
        stream.is_over = is_terminal(event)
        stream.waiting.append(_Entry(event, item, changes or RunChanges()))
        stream.next_seq += 1
        self._dirty[run_id] = None
        self._wake.set()
        if len(stream.waiting) >= AHEAD_MAX:
            await self.flush(run_id)

    async def flush(self, run_id: str) -> None:
        """
        Wait until every event appended so far is on the disk.

        Raises:
            SanderlingError: it could not be written.
        """
        stream = self._streams.get(run_id)
        if stream is None:
            return  # closed: its last event was written
        upto = stream.next_seq - 1
        async with stream.written:
            await stream.written.wait_for(
                lambda: stream.durable_seq >= upto or stream.failure is not None
            )
        if stream.failure is not None:
            raise stream.failure

    async def abandon(self, run_id: str, why: SanderlingError) -> None:
        """Give up a stream whose end cannot be recorded; its followers are told why."""
        stream = self._streams.pop(run_id, None)
        if stream is not None:
            await _fail(stream, why)

    async def close(self) -> None:
        """Write what is waiting, then stop. Nothing may be appended any more."""
        writer, self._writer = self._writer, None
        if writer is None:
            return
        for run_id in list(self._streams):
            try:
                await self.flush(run_id)
            except SanderlingError:
                continue  # logged by the writer; the next stream may do better
        writer.cancel()
        await asyncio.wait({writer})

    async def _write_forever(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            dirty, self._dirty = self._dirty, {}
            for run_id in dirty:
                stream = self._streams.get(run_id)
                if stream is not None and stream.waiting and stream.failure is None:
                    await self._write(run_id, stream)

    async def _write(self, run_id: str, stream: _Stream) -> None:
        batch = tuple(stream.waiting)
        first = stream.durable_seq + 1
        changes = RunChanges()
        for entry in batch:
            changes.update(entry.changes)
        try:
            await self._store.runs.record(
                run_id,
                first,
                [_EVENTS.dumps(entry.event) for entry in batch],
                outputs=[entry.item for entry in batch if entry.item is not None],
                changes=changes,
            )
        except Exception as error:  # noqa: BLE001 - one run's trouble must not end the writer
            logs.error("feed.failed", cause=error, run_id=run_id)
            await _fail(stream, SanderlingError("The events of the run cannot be stored."))
            return
        async with stream.written:
            del stream.waiting[: len(batch)]
            stream.tail.extend(enumerate((entry.event for entry in batch), first))
            if stream.is_over and not stream.waiting:
                self._streams.pop(run_id, None)
            stream.written.notify_all()

    # ---- reading -------------------------------------------------------------------------------

    async def follow(self, run_id: str, after: int = -1) -> AsyncIterator[tuple[int, Event]]:
        """
        Yield the run's events numbered above `after`: those on the disk, then those to come.

        Ends after the terminal event; at once for a run that has none and is not being written.

        Raises:
            SanderlingError: the run's events can be written no more, or not be read.
        """
        stream = self._streams.get(run_id)
        seq = after
        while True:
            page = await self._next(run_id, stream, seq)
            for seq, event in page:
                yield seq, event
                if is_terminal(event):
                    return
            if page:
                continue
            if stream is None:
                return
            async with stream.written:
                await stream.written.wait_for(partial(_has_news, stream, seq))
            if stream.durable_seq <= seq:
                if stream.failure is not None:
                    raise stream.failure
                return  # abandoned, or `after` lies beyond the last event

    async def _next(self, run_id: str, stream: _Stream | None, seq: int) -> list[tuple[int, Event]]:
        """Return the events after `seq`: from memory if it still has them, else from the store."""
        if stream is not None:
            if seq >= stream.durable_seq:
                return []
            if stream.tail and stream.tail[0][0] <= seq + 1:
                return [pair for pair in stream.tail if pair[0] > seq]
        page = await self._store.events.after(run_id, seq, PAGE_EVENTS)
        return [(number, _EVENTS.loads(data)) for number, data in page]


async def _fail(stream: _Stream, why: SanderlingError) -> None:
    async with stream.written:
        stream.failure = stream.failure or why
        stream.written.notify_all()


def _has_news(stream: _Stream, seq: int) -> bool:
    is_done = stream.is_over and not stream.waiting
    return stream.durable_seq > seq or stream.failure is not None or is_done
