"""
Run events as `model/response` streams them, and as the response they add up to. Pure.

    event: response.output_text.delta
    data: {"index": 1, "delta": "$38,"}

`index` counts the items of the output. What an item was in the end stands in its
`response.output_item.done`, which is how code and its outputs are told. Reasoning is not shown.

Source: Aitronos documentation, "Streaming mode" and "Streaming events", of 2026.
"""

from __future__ import annotations

import dataclasses
from typing import Any, assert_never

from sanderling.api.model_response.objects import (
    code_object,
    ending,
    message_object,
    response_object,
)
from sanderling.records import MessageItem, Run, TextPart
from sanderling.runs.events import (
    TERMINAL_STATUSES,
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

WireEvent = tuple[str, dict[str, Any]]


class ModelResponseProjection:
    """
    The wire events of one run, as pairs of a name and data.

    Attributes:
        container_id: where its code ran, if it did.
    """

    def __init__(self, run: Run) -> None:
        self.container_id: str | None = None
        self._run = run
        self._output: list[dict[str, Any]] = []
        self._has_begun = False

    @property
    def run(self) -> Run:
        """The run as the last event left it."""
        return self._run

    @property
    def response(self) -> dict[str, Any]:
        """The response; to be asked for when the run has ended."""
        return response_object(self._run, self._output)

    def project(self, event: Event) -> list[WireEvent]:
        """Return what `event` becomes on the wire; a run's failure is for the caller to tell."""
        created: WireEvent = (
            "response.created",
            {"id": self._run.id, "status": "in_progress"},
        )
        begun = [] if self._has_begun else [created]
        self._has_begun = True
        match event:
            case RunChanged():
                return [*begun, *self._run_changed(event)]
            case MessageStarted() | TextAdded() | MessageFinished():
                return [*begun, *self._message_event(event)]
            case CodeCallStarted(item_id=item_id, container_id=container_id):
                self.container_id = container_id
                started = {"type": "code_interpreter_call", "id": item_id, "status": "in_progress"}
                return [*begun, self._added(started)]
            case CodeCallFinished(item=item):
                self.container_id = item.container_id
                return [*begun, self._done(code_object(item))]
            case CodeAdded() | CodeWritten() | OutputAdded() | OutputsCleared() | RefusalAdded():
                return begun
            case ReasoningStarted() | ReasoningAdded() | ReasoningFinished():
                return begun
            case FunctionCallStarted() | ArgumentsAdded() | FunctionCallFinished():
                raise AssertionError("a request of this dialect has no functions")
            case _:
                assert_never(event)

    def _run_changed(self, event: RunChanged) -> list[WireEvent]:
        if event.status not in TERMINAL_STATUSES:
            return []
        self._run = dataclasses.replace(
            self._run,
            status=event.status,
            usage=event.usage,
            error=event.error,
            incomplete_reason=event.incomplete_reason,
        )
        if event.status in ("failed", "cancelled"):
            return []
        # Clients wait for this name; the status tells if a limit cut the answer short.
        told = {"id": self._run.id, "status": event.status, **ending(self._run)}
        return [("response.completed", told)]

    # ---- items ---------------------------------------------------------------------------------

    def _message_event(
        self, event: MessageStarted | TextAdded | MessageFinished
    ) -> list[WireEvent]:
        match event:
            case MessageStarted(item_id=item_id):
                return [self._added({"type": "message", "id": item_id, "role": "assistant"})]
            case TextAdded(delta=delta):
                return [("response.output_text.delta", {"index": self._index, "delta": delta})]
            case MessageFinished(item=item):
                return [*self._texts_done(item), self._done(message_object(item))]
            case _:
                assert_never(event)

    def _texts_done(self, item: MessageItem) -> list[WireEvent]:
        return [
            ("response.output_text.done", {"index": self._index, "text": part.text})
            for part in item.parts
            if isinstance(part, TextPart)
        ]

    @property
    def _index(self) -> int:
        return len(self._output)  # of the item at work, which is not in it yet

    def _added(self, item: dict[str, Any]) -> WireEvent:
        return "response.output_item.added", {"index": self._index, "item": item}

    def _done(self, item: dict[str, Any]) -> WireEvent:
        self._output.append(item)
        return "response.output_item.done", {"index": self._index - 1, "item": item}
