"""
Run events as the Responses dialect streams them. Pure.

A projection reads the events of one run in order and answers each with the wire events it becomes.
It is deterministic: the same events give the same wire events with the same sequence numbers, so a
replay after a reconnect equals what was streamed. Two things are kept while it reads: the number
of the next event, and the output so far, which the last event carries whole.

Source: OpenAI API reference, "Streaming events" (Responses); order as in docs/api-extensions.md.
"""

from __future__ import annotations

import dataclasses
from typing import Any, assert_never

from sanderling.api.responses.objects import (
    annotation_object,
    item_object,
    output_object,
    part_object,
    response_object,
)
from sanderling.records import (
    LogsOutput,
    MessageItem,
    Part,
    ReasoningItem,
    RefusalPart,
    Run,
    TextPart,
)
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

WireEvent = dict[str, Any]

# The wire has no event for a cancelled response; its object tells the status.
_TERMINAL_NAMES = {
    "completed": "response.completed",
    "incomplete": "response.incomplete",
    "failed": "response.failed",
    "cancelled": "response.incomplete",
}
OUTPUT_DELTA = "response.code_interpreter_call_output.delta"
OUTPUT_CLEARED = "response.code_interpreter_call_output.cleared"


class ResponseProjection:
    """The wire events of one run."""

    def __init__(
        self, run: Run, *, with_outputs: bool = False, with_output_deltas: bool = False
    ) -> None:
        """
        Args:
            run: as it was when it started.
            with_outputs: show what code printed in finished items.
            with_output_deltas: add our own event for each output while the code runs.
        """
        self._run = dataclasses.replace(
            run,
            status="queued" if run.request.background else "in_progress",
            completed_at=None,
            usage=None,
            error=None,
            incomplete_reason=None,
        )
        self._with_outputs = with_outputs
        self._with_output_deltas = with_output_deltas
        self._number = 0
        self._has_begun = False
        self._output: list[dict[str, Any]] = []
        self._position = -1  # of the item that is open, or was last
        self._has_part = False  # the open message's or reasoning's one part was announced
        self._is_code_done = False

    @property
    def response(self) -> dict[str, Any]:
        """The response as it stands after the last event."""
        return response_object(self._run, self._output)

    @property
    def has_ended(self) -> bool:
        """Whether the last event was the run's last."""
        return self._run.status in TERMINAL_STATUSES

    def project(self, event: Event) -> list[WireEvent]:
        """Return what `event` becomes on the wire; often nothing or several."""
        if isinstance(event, RunChanged):
            return self._run_changed(event)
        return [*self._begin(), *self._item_event(event)]

    # ---- the response --------------------------------------------------------------------------

    def _wire(self, type: str, **data: Any) -> WireEvent:
        self._number += 1
        return {"type": type, "sequence_number": self._number - 1, **data}

    def _begin(self) -> list[WireEvent]:
        if self._has_begun:
            return []
        self._has_begun = True
        return [
            self._wire("response.created", response=self.response),
            self._wire(f"response.{self._run.status}", response=self.response),
        ]

    def _run_changed(self, event: RunChanged) -> list[WireEvent]:
        begun = self._begin()
        if event.status not in TERMINAL_STATUSES:
            if event.status == self._run.status:
                return begun
            self._run = dataclasses.replace(self._run, status=event.status)
            return [*begun, self._wire(f"response.{event.status}", response=self.response)]
        self._run = dataclasses.replace(
            self._run,
            status=event.status,
            completed_at=event.at,
            usage=event.usage,
            error=event.error,
            incomplete_reason=event.incomplete_reason,
        )
        return [*begun, self._wire(_TERMINAL_NAMES[event.status], response=self.response)]

    # ---- items ---------------------------------------------------------------------------------

    def _item_event(self, event: Event) -> list[WireEvent]:
        match event:
            case MessageStarted() | TextAdded() | RefusalAdded() | MessageFinished():
                return self._message_event(event)
            case CodeCallStarted() | CodeAdded() | CodeWritten() | OutputAdded() | OutputsCleared():
                return self._code_event(event)
            case CodeCallFinished():
                return self._code_finished(event)
            case FunctionCallStarted() | ArgumentsAdded() | FunctionCallFinished():
                return self._function_event(event)
            case ReasoningStarted() | ReasoningAdded() | ReasoningFinished():
                return self._reasoning_event(event)
            case RunChanged():
                raise AssertionError("not an event of an item")
            case _:
                assert_never(event)

    def _added(self, item: dict[str, Any]) -> WireEvent:
        self._position += 1
        self._has_part = self._is_code_done = False
        return self._wire("response.output_item.added", output_index=self._position, item=item)

    def _finished(self, item: dict[str, Any]) -> WireEvent:
        self._output.append(item)
        return self._wire("response.output_item.done", output_index=self._position, item=item)

    def _on_item(self, type: str, item_id: str, **data: Any) -> WireEvent:
        return self._wire(type, item_id=item_id, output_index=self._position, **data)

    def _on_part(self, type: str, item_id: str, **data: Any) -> WireEvent:
        return self._on_item(type, item_id, content_index=0, **data)

    def _part_added(self, item_id: str, part: dict[str, Any]) -> list[WireEvent]:
        if self._has_part:
            return []
        self._has_part = True
        return [self._on_part("response.content_part.added", item_id, part=part)]

    # ---- messages ------------------------------------------------------------------------------

    def _message_event(
        self, event: MessageStarted | TextAdded | RefusalAdded | MessageFinished
    ) -> list[WireEvent]:
        match event:
            case MessageStarted(item_id=item_id):
                empty = MessageItem(item_id, "assistant", (), "in_progress")
                return [self._added(item_object(empty, with_outputs=False))]
            case TextAdded(item_id=item_id, delta=delta):
                return [
                    *self._part_added(item_id, _assistant_part(TextPart(""))),
                    self._on_part("response.output_text.delta", item_id, delta=delta, logprobs=[]),
                ]
            case RefusalAdded(item_id=item_id, delta=delta):
                return [
                    *self._part_added(item_id, _assistant_part(RefusalPart(""))),
                    self._on_part("response.refusal.delta", item_id, delta=delta),
                ]
            case MessageFinished(item=item):
                return [
                    *(wire for part in item.parts for wire in self._part_finished(item.id, part)),
                    self._finished(item_object(item, with_outputs=False)),
                ]
            case _:
                assert_never(event)

    def _part_finished(self, item_id: str, part: Part) -> list[WireEvent]:
        whole = _assistant_part(part)
        match part:
            case TextPart(text=text, citations=citations):
                return [
                    *self._part_added(item_id, _assistant_part(TextPart(""))),
                    *(
                        self._on_part(
                            "response.output_text.annotation.added",
                            item_id,
                            annotation_index=index,
                            annotation=annotation_object(citation),
                        )
                        for index, citation in enumerate(citations)
                    ),
                    self._on_part("response.output_text.done", item_id, text=text, logprobs=[]),
                    self._on_part("response.content_part.done", item_id, part=whole),
                ]
            case RefusalPart(refusal=refusal):
                return [
                    *self._part_added(item_id, _assistant_part(RefusalPart(""))),
                    self._on_part("response.refusal.done", item_id, refusal=refusal),
                    self._on_part("response.content_part.done", item_id, part=whole),
                ]
            case _:
                raise AssertionError(f"a model does not write a {part.type} part")

    # ---- code calls ----------------------------------------------------------------------------

    def _code_event(
        self, event: CodeCallStarted | CodeAdded | CodeWritten | OutputAdded | OutputsCleared
    ) -> list[WireEvent]:
        match event:
            case CodeCallStarted(item_id=item_id, container_id=container_id):
                call = {
                    "id": item_id,
                    "type": "code_interpreter_call",
                    "status": "in_progress",
                    "code": "",
                    "container_id": container_id,
                    "outputs": [],
                }
                return [
                    self._added(call),
                    self._on_item("response.code_interpreter_call.in_progress", item_id),
                ]
            case CodeAdded(item_id=item_id, delta=delta):
                return [
                    self._on_item("response.code_interpreter_call_code.delta", item_id, delta=delta)
                ]
            case CodeWritten(item_id=item_id, code=code):
                return [
                    self._code_done(item_id, code),
                    self._on_item("response.code_interpreter_call.interpreting", item_id),
                ]
            case OutputAdded(item_id=item_id, index=index, output=output):
                if not self._with_output_deltas:
                    return []
                # On this wire results and errors are logs too, and those are whole.
                is_more = isinstance(output, LogsOutput)
                shown = {"index": index, "is_more": is_more, **output_object(output)}
                return [self._on_item(OUTPUT_DELTA, item_id, output=shown)]
            case OutputsCleared(item_id=item_id):
                return [self._on_item(OUTPUT_CLEARED, item_id)] if self._with_output_deltas else []
            case _:
                assert_never(event)

    def _code_done(self, item_id: str, code: str) -> WireEvent:
        self._is_code_done = True
        return self._on_item("response.code_interpreter_call_code.done", item_id, code=code)

    def _code_finished(self, event: CodeCallFinished) -> list[WireEvent]:
        item = event.item
        wires = [] if self._is_code_done else [self._code_done(item.id, item.code)]
        # The wire has no event for a call that failed; the item's status tells.
        if item.status == "completed":
            wires.append(self._on_item("response.code_interpreter_call.completed", item.id))
        return [*wires, self._finished(item_object(item, with_outputs=self._with_outputs))]

    # ---- function calls, reasoning -------------------------------------------------------------

    def _function_event(
        self, event: FunctionCallStarted | ArgumentsAdded | FunctionCallFinished
    ) -> list[WireEvent]:
        match event:
            case FunctionCallStarted(item_id=item_id, call_id=call_id, name=name):
                started = {
                    "id": item_id,
                    "type": "function_call",
                    "status": "in_progress",
                    "arguments": "",
                    "call_id": call_id,
                    "name": name,
                }
                return [self._added(started)]
            case ArgumentsAdded(item_id=item_id, delta=delta):
                return [
                    self._on_item("response.function_call_arguments.delta", item_id, delta=delta)
                ]
            case FunctionCallFinished(item=item):
                return [
                    self._on_item(
                        "response.function_call_arguments.done",
                        item.id,
                        arguments=item.arguments,
                        name=item.name,
                    ),
                    self._finished(item_object(item, with_outputs=False)),
                ]
            case _:
                assert_never(event)

    def _reasoning_event(
        self, event: ReasoningStarted | ReasoningAdded | ReasoningFinished
    ) -> list[WireEvent]:
        match event:
            case ReasoningStarted(item_id=item_id):
                empty = ReasoningItem(item_id)
                return [self._added(item_object(empty, with_outputs=False))]
            case ReasoningAdded(item_id=item_id, delta=delta):
                return [
                    *self._part_added(item_id, _reasoning_part("")),
                    self._on_part("response.reasoning_text.delta", item_id, delta=delta),
                ]
            case ReasoningFinished(item=item):
                whole = [self._finished_reasoning(item)] if not item.text else []
                return whole or [
                    *self._part_added(item.id, _reasoning_part("")),
                    self._on_part("response.reasoning_text.done", item.id, text=item.text),
                    self._on_part(
                        "response.content_part.done", item.id, part=_reasoning_part(item.text)
                    ),
                    self._finished_reasoning(item),
                ]
            case _:
                assert_never(event)

    def _finished_reasoning(self, item: ReasoningItem) -> WireEvent:
        return self._finished(item_object(item, with_outputs=False))


def _assistant_part(part: Part) -> dict[str, Any]:
    return part_object(part, "assistant")


def _reasoning_part(text: str) -> dict[str, Any]:
    return {"type": "reasoning_text", "text": text}
