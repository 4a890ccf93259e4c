"""
The item that has begun and not ended, folded from a run's events.

The loop asks it what has been said so far; when a run ends in the middle (cancelled, failed, found
unfinished after a crash) it tells how to close the item, so that no client is left with half a one.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal, assert_never

from sanderling.containers.happenings import OutputAppeared, OutputLog
from sanderling.records import (
    CodeCallItem,
    FunctionCallItem,
    Item,
    MessageItem,
    ReasoningItem,
    RefusalPart,
    TextPart,
)
from sanderling.runs.events import (
    ArgumentsAdded,
    CodeAdded,
    CodeCallFinished,
    CodeCallStarted,
    CodeWritten,
    Event,
    FunctionCallFinished,
    FunctionCallStarted,
    MessageFinished,
    MessageStarted,
    OutputAdded,
    OutputsCleared,
    ReasoningAdded,
    ReasoningFinished,
    ReasoningStarted,
    RefusalAdded,
    RunChanged,
    TextAdded,
)

Kind = Literal["message", "reasoning", "code", "function"]
_Started = MessageStarted | ReasoningStarted | CodeCallStarted | FunctionCallStarted


class OpenItem:
    """At most one item is open at a time; `add` every event of the run in order."""

    def __init__(self) -> None:
        self._start: _Started | None = None
        self._pieces: list[str] = []
        self._is_refusal = False
        self._log = OutputLog()

    @property
    def kind(self) -> Kind | None:
        """What kind of item is open, or None."""
        match self._start:
            case None:
                return None
            case MessageStarted():
                return "message"
            case ReasoningStarted():
                return "reasoning"
            case CodeCallStarted():
                return "code"
            case FunctionCallStarted():
                return "function"
            case _:
                assert_never(self._start)

    @property
    def item_id(self) -> str:
        """The id of the open item; there must be one."""
        assert self._start is not None
        return self._start.item_id

    @property
    def container_id(self) -> str:
        """The container of the open item, which must be a code call."""
        assert isinstance(self._start, CodeCallStarted)
        return self._start.container_id

    @property
    def text(self) -> str:
        """Its text, code or arguments so far."""
        return "".join(self._pieces)

    @property
    def is_refusal(self) -> bool:
        """Whether the open message is a refusal."""
        return self._is_refusal

    def add(self, event: Event) -> None:
        """Take the run's next event."""
        match event:
            case MessageStarted() | ReasoningStarted() | CodeCallStarted() | FunctionCallStarted():
                assert self._start is None, "an item began before the one before it ended"
                self._start = event
                self._pieces, self._is_refusal, self._log = [], False, OutputLog()
            case TextAdded() | ReasoningAdded() | CodeAdded() | ArgumentsAdded():
                self._pieces.append(event.delta)
            case RefusalAdded():
                self._pieces.append(event.delta)
                self._is_refusal = True
            case CodeWritten():
                self._pieces = [event.code]
            case OutputAdded():
                self._log.put(OutputAppeared(event.index, event.output))
            case OutputsCleared():
                self._log.clear()
            case (
                MessageFinished()
                | ReasoningFinished()
                | CodeCallFinished()
                | FunctionCallFinished()
            ):
                self._start = None
            case RunChanged():
                return
            case _:
                assert_never(event)

    def so_far(self) -> Item | None:
        """Return the open item as it stands, in progress; None if none is open."""
        match self.abandoned(has_failed=False):
            case MessageFinished(item=item):
                return replace(item, status="in_progress")
            case CodeCallFinished(item=item):
                return replace(item, status="in_progress")
            case FunctionCallFinished(item=item):
                return replace(item, status="in_progress")
            case ReasoningFinished(item=item):
                return item
            case _:
                return None

    def abandoned(self, *, has_failed: bool) -> Event | None:
        """
        Return the event that ends the open item as it is, or None if none is open.

        has_failed: whether our side failed; else the run was stopped. Only code calls tell the
            difference.
        """
        match self._start:
            case None:
                return None
            case MessageStarted(item_id=item_id):
                part = RefusalPart(self.text) if self._is_refusal else TextPart(self.text)
                return MessageFinished(MessageItem(item_id, "assistant", (part,), "incomplete"))
            case ReasoningStarted(item_id=item_id):
                return ReasoningFinished(ReasoningItem(item_id, self.text))
            case FunctionCallStarted(item_id=item_id, call_id=call_id, name=name):
                return FunctionCallFinished(
                    FunctionCallItem(item_id, call_id, name, self.text, "incomplete")
                )
            case CodeCallStarted(item_id=item_id, call_id=call_id, container_id=container_id):
                return CodeCallFinished(
                    CodeCallItem(
                        id=item_id,
                        call_id=call_id,
                        code=self.text,
                        container_id=container_id,
                        status="failed" if has_failed else "incomplete",
                        outputs=self._log.outputs(),
                    )
                )
            case _:
                assert_never(self._start)
