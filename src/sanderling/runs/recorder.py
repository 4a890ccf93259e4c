"""
Turns the events of one run into its records, and hands them to the feed.

An item is stored in one transaction with the event that closes it, and the run's row is changed
in one transaction with the event that changes it. Nobody is told before. So whatever a client was
told can be looked up, and a run that a crash left half-way still says so in its row.
"""

from __future__ import annotations

from dataclasses import replace

from sanderling.records import Run, RunError, RunStatus, Usage
from sanderling.runs.events import (
    CodeCallFinished,
    CodeCallStarted,
    Event,
    FunctionCallFinished,
    MessageFinished,
    ReasoningFinished,
    RunChanged,
)
from sanderling.runs.feed import Feed
from sanderling.runs.lifecycle import is_over, may_become
from sanderling.runs.open_item import OpenItem
from sanderling.store.runs import RunChanges


class Recorder:
    """
    The one writer of one run's records.

    Attributes:
        run: the run as it now stands.
        open_item: the item that has begun and not ended.
    """

    def __init__(self, run: Run, *, feed: Feed) -> None:
        self.run = run
        self.open_item = OpenItem()
        self._feed = feed

    async def record(self, event: Event) -> None:
        """
        Take the run's next event. When the caller is cancelled the event is recorded whole or,
        if nothing of it was, not at all: nothing is waited for before the feed has taken it.

        Raises:
            SanderlingError: an event before it could not be written.
        """
        match event:
            case RunChanged():
                await self._change(event)
            case (
                CodeCallFinished()
                | MessageFinished()
                | ReasoningFinished()
                | FunctionCallFinished()
            ):
                self.fold(event)
                await self._feed.append(self.run.id, event, item=event.item)
            case _:
                # More of an item: the event itself is the only record.
                self.fold(event)
                await self._feed.append(self.run.id, event)

    async def end(
        self, status: RunStatus, at: float, *, usage: Usage | None, error: RunError | None
    ) -> None:
        """Close the open item and record the end of a run that did not come to it by itself."""
        if is_over(self.run.status):
            return
        closing = self.open_item.abandoned(has_failed=status == "failed")
        if closing is not None:
            await self.record(closing)
        await self.record(RunChanged(status, at, usage, error=error))

    def fold(self, event: Event) -> None:
        """Take account of an event that is recorded already, or about to be."""
        self.open_item.add(event)
        match event:
            case CodeCallStarted(container_id=container_id):
                self.run = replace(self.run, container_id=container_id)
            case CodeCallFinished(item=item):
                self.run = replace(self.run, container_id=item.container_id)
            case _:
                pass  # the run's row is as it was

    async def _change(self, event: RunChanged) -> None:
        before, status = self.run.status, event.status
        assert status == before or may_become(before, status)
        self.run = changed(self.run, event)
        changes: RunChanges | None = None
        if is_over(status):
            changes = ending(self.run)
        elif status != before:
            changes = RunChanges(status=status)
        await self._feed.append(self.run.id, event, changes=changes)


def changed(run: Run, event: RunChanged) -> Run:
    """Return `run` as `event` leaves it."""
    return replace(
        run,
        status=event.status,
        completed_at=event.at if is_over(event.status) else None,
        usage=event.usage,
        error=event.error,
        incomplete_reason=event.incomplete_reason,
    )


def ending(run: Run) -> RunChanges:
    """Return what a run's row must say of how it ended."""
    return RunChanges(
        status=run.status,
        container_id=run.container_id,
        completed_at=run.completed_at,
        usage=run.usage,
        error=run.error,
        incomplete_reason=run.incomplete_reason,
    )
