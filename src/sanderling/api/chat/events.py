"""
Run events as chat completion chunks, and as the one completion they add up to. Pure.

SDKs add the deltas of a stream up: texts are joined, entries of lists found by their `index`. So
nothing that was sent can be taken back. Words and functions' calls never have to be. Of a cell, the
code may have been begun anew by the model, and outputs be replaced by the code that shows them;
where the deltas of a cell do not add up to what it was, its last one has the whole as `final`.

A run may speak several times, before code and after it; here it all is one content, with an empty
line between. A function's call is sent whole, once it is known that it can be understood.

Source: OpenAI API reference, "The chat completion chunk object".
"""

from __future__ import annotations

import dataclasses
from typing import Any, assert_never

from sanderling.api.chat.objects import (
    FINISH_OF_REASON,
    annotation_object,
    call_object,
    envelope,
    file_object,
    output_object,
    usage_object,
)
from sanderling.records import (
    Artifact,
    CodeCallItem,
    FunctionCallItem,
    LogsOutput,
    Output,
    Run,
    TextPart,
    Usage,
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

Chunk = dict[str, Any]
_GAP = "\n\n"


class ChatProjection:
    """The chunks of one run."""

    def __init__(self, run: Run, *, include_usage: bool = False) -> None:
        self._run = run
        self._include_usage = include_usage
        self._has_begun = False
        self._content = ""
        self._offset = 0  # where the message at work begins in the content
        self._refusal = ""
        self._reasoning = ""
        self._tool_calls: list[dict[str, Any]] = []
        self._calls: list[_Cell] = []
        self._artifacts: dict[str, Artifact] = {}
        self._annotations: list[dict[str, Any]] = []

    @property
    def run(self) -> Run:
        """The run as the last event left it."""
        return self._run

    @property
    def completion(self) -> dict[str, Any]:
        """The completion; to be asked for when the run has ended."""
        choice = {
            "index": 0,
            "message": self._message(),
            "logprobs": None,
            "finish_reason": self._finish_reason(),
        }
        usage = usage_object(self._run.usage or Usage())
        return {**envelope(self._run, "chat.completion"), "choices": [choice], "usage": usage}

    def project(self, event: Event) -> list[Chunk]:
        """Return what `event` becomes on the wire; often nothing."""
        begun = [] if self._has_begun else [self._chunk({"role": "assistant", "content": ""})]
        self._has_begun = True
        if isinstance(event, RunChanged):
            return [*begun, *self._run_changed(event)]
        delta = self._delta(event)
        return [*begun, self._chunk(delta)] if delta else begun

    # ---- the completion ------------------------------------------------------------------------

    def _chunk(self, delta: dict[str, Any], *, finish: str | None = None) -> Chunk:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
        usage = {"usage": None} if self._include_usage else {}
        return {**envelope(self._run, "chat.completion.chunk"), "choices": [choice], **usage}

    def _run_changed(self, event: RunChanged) -> list[Chunk]:
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
        chunks = []
        if self._calls:
            left = self._left()
            delta = {
                **left,
                "files": _numbered(left["files"]),
                "annotations": _numbered(left["annotations"]),
            }
            chunks.append(self._chunk({"code_interpreter": delta}))
        chunks.append(self._chunk({}, finish=self._finish_reason()))
        if self._include_usage:
            usage = usage_object(event.usage or Usage())
            chunks.append(
                {**envelope(self._run, "chat.completion.chunk"), "choices": [], "usage": usage}
            )
        return chunks

    def _message(self) -> dict[str, Any]:
        is_silent = not self._content and bool(self._tool_calls or self._refusal)
        message: dict[str, Any] = {
            "role": "assistant",
            "content": None if is_silent else self._content,
            "refusal": self._refusal or None,
            "annotations": [],
        }
        if self._reasoning:
            message["reasoning_content"] = self._reasoning
        if self._tool_calls:
            message["tool_calls"] = self._tool_calls
        if self._calls:
            cells = [cell.whole for cell in self._calls if cell.whole is not None]
            message["code_interpreter"] = {"calls": cells, **self._left()}
        return message

    def _left(self) -> dict[str, Any]:
        """Return what code left behind: where it ran, the files it made, where they are linked."""
        return {
            "container_id": self._calls[-1].container_id,
            "files": [file_object(artifact) for artifact in self._artifacts.values()],
            "annotations": self._annotations,
        }

    def _finish_reason(self) -> str:
        if self._run.status == "incomplete":
            return FINISH_OF_REASON.get(self._run.incomplete_reason or "", "length")
        return "tool_calls" if self._tool_calls else "stop"

    # ---- items ---------------------------------------------------------------------------------

    def _delta(self, event: Event) -> dict[str, Any] | None:
        match event:
            case TextAdded(delta=text):
                return {"content": self._spoken(text)}
            case RefusalAdded(delta=text):
                self._refusal += text
                return {"refusal": text}
            case ReasoningAdded(delta=text):
                # Not OpenAI's; what the servers that show reasoning call it.
                self._reasoning += text
                return {"reasoning_content": text}
            case MessageStarted():
                self._offset = -1
                return None
            case MessageFinished(item=item):
                self._cite(item.parts)
                return None
            case FunctionCallFinished(item=item):
                return self._function_call(item)
            case CodeCallStarted() | CodeAdded() | CodeWritten() | OutputAdded() | OutputsCleared():
                return self._code_event(event)
            case CodeCallFinished(item=item):
                return self._code_finished(item)
            case (
                ReasoningStarted() | ReasoningFinished() | FunctionCallStarted() | ArgumentsAdded()
            ):
                return None
            case RunChanged():
                raise AssertionError("not an event of an item")
            case _:
                assert_never(event)

    def _spoken(self, text: str) -> str:
        """Return a delta of the content: `text`, after a gap if it begins another message."""
        if self._offset < 0:
            gap = _GAP if self._content else ""
            self._offset = len(self._content) + len(gap)
            text = gap + text
        self._content += text
        return text

    def _cite(self, parts: tuple[Any, ...]) -> None:
        for part in parts:
            if isinstance(part, TextPart):
                self._annotations += [
                    annotation_object(citation, offset=max(self._offset, 0))
                    for citation in part.citations
                ]

    def _function_call(self, item: FunctionCallItem) -> dict[str, Any] | None:
        if item.status != "completed":
            return None  # nobody can make sense of it; the model was told
        call = {
            "id": item.call_id,
            "type": "function",
            "function": {"name": item.name, "arguments": item.arguments},
        }
        self._tool_calls.append(call)
        return {"tool_calls": [{"index": len(self._tool_calls) - 1, **call}]}

    # ---- code ----------------------------------------------------------------------------------

    def _code_event(
        self, event: CodeCallStarted | CodeAdded | CodeWritten | OutputAdded | OutputsCleared
    ) -> dict[str, Any] | None:
        if isinstance(event, CodeCallStarted):
            self._calls.append(_Cell(event.container_id))
            started = {"id": event.item_id, "container_id": event.container_id, "code": ""}
            return self._of_cell(started)
        return self._of_cell(self._calls[-1].take(event))

    def _code_finished(self, item: CodeCallItem) -> dict[str, Any] | None:
        for artifact in item.artifacts:
            self._artifacts.pop(artifact.file_id, None)
            if artifact.change != "deleted":
                self._artifacts[artifact.file_id] = artifact
        return self._of_cell(self._calls[-1].finish(item))

    def _of_cell(self, delta: dict[str, Any] | None) -> dict[str, Any] | None:
        if delta is None:
            return None
        return {"code_interpreter": {"calls": [{"index": len(self._calls) - 1, **delta}]}}


class _Cell:
    """
    One cell as its deltas tell it.

    Attributes:
        container_id: where it runs.
        whole: the cell as it was, once it is over.
    """

    def __init__(self, container_id: str) -> None:
        self.container_id = container_id
        self.whole: dict[str, Any] | None = None
        self._code = ""
        self._outputs: list[dict[str, Any]] = []
        self._places: dict[int, int] = {}  # number of an output -> its place in `_outputs`
        self._is_burst = False

    def take(
        self, event: CodeAdded | CodeWritten | OutputAdded | OutputsCleared
    ) -> dict[str, Any] | None:
        """Return the delta that tells `event`, None if none can or need."""
        match event:
            case CodeAdded(delta=delta):
                self._code += delta
                return {"code": delta}
            case CodeWritten(code=code):
                return self._rest_of_code(code)
            case OutputAdded(index=index, output=output):
                return self._output(index, output)
            case OutputsCleared():
                return None
            case _:
                assert_never(event)

    def finish(self, item: CodeCallItem) -> dict[str, Any]:
        """Return the last delta."""
        self.container_id = item.container_id
        self.whole = call_object(item)
        rest = self._rest_of_code(item.code) or {}
        is_right = self._code == item.code and self._outputs == self.whole["outputs"]
        final = {} if is_right else {"final": self.whole}
        return {**rest, "status": item.status, **final}

    def _rest_of_code(self, code: str) -> dict[str, Any] | None:
        if code == self._code or not code.startswith(self._code):
            return None
        rest = code[len(self._code) :]
        self._code = code
        return {"code": rest}

    def _output(self, index: int, output: Output) -> dict[str, Any] | None:
        is_logs = isinstance(output, LogsOutput)
        shown = output_object(output)
        place = self._places.get(index)
        if place is None and is_logs and self._is_burst:
            place = len(self._outputs) - 1
        if place is None:
            place = len(self._outputs)
            self._outputs.append(shown)
        elif is_logs and self._outputs[place]["type"] == "logs":
            self._outputs[place] = {
                **self._outputs[place],
                "logs": self._outputs[place]["logs"] + shown["logs"],
            }
        else:
            return None  # it takes the place of another, which deltas cannot tell
        self._places[index] = place
        self._is_burst = is_logs
        return {"outputs": [{"index": place, **shown}]}


def _numbered(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{"index": index, **entry} for index, entry in enumerate(entries)]
