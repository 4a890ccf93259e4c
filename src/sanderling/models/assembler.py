"""
Puts a model's turn together from the chunks of a chat completion, whatever server sent them.

Pure: chunks go in as plain JSON values, `ModelEvent`s come out, nothing waits. What servers get
wrong is put right here: calls without index or id, arguments as an object, twice, or cumulative,
a finish reason that does not fit, text where a call should be. What cannot be put right makes the
turn `Broken`; one second attempt without streaming may then `recover` it.

Rule of recovery: what was said cannot be unsaid. A second attempt may replace the code or the
arguments of the one call that is still open, because the finished call is the authority over its
deltas. It may not replace a finished call, nor an answer that was only text. Text or reasoning
that came before an open call stands, and the second attempt's is dropped.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, assert_never

from sanderling.errors import ModelProtocol, ModelRefused
from sanderling.ids import new_id
from sanderling.models.arguments import (
    describe_problem,
    interpret_code,
    interpret_function,
    is_whole,
)
from sanderling.models.base import (
    CODE_TOOL_NAME,
    CallDelta,
    CallFinished,
    CallStarted,
    ModelEvent,
    ReasoningDelta,
    RefusalDelta,
    TextDelta,
    TurnFinished,
)
from sanderling.models.chunks import content, first_choice, fragments, usage
from sanderling.models.decoding import CodeDecoder
from sanderling.models.offer import Offer
from sanderling.models.text_calls import TextCallSplitter, ThinkSplitter
from sanderling.records import Usage

Finish = Literal["stop", "length", "content_filter", "tool_calls"]

_FINISHES: dict[str, Finish] = {
    "length": "length",
    "max_tokens": "length",
    "model_length": "length",
    "content_filter": "content_filter",
    "safety": "content_filter",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "tool_use": "tool_calls",
}


@dataclass(frozen=True, slots=True)
class Broken:
    """The turn cannot stand as it is. `reason` is a sentence about the model server."""

    reason: str


@dataclass(slots=True)
class _Call:
    """One call as it grows; mutated by the assembler only."""

    call_id: str = ""
    name: str = ""
    arguments: str = ""
    is_started: bool = False
    is_code: bool = False
    emitted: str = ""  # the deltas so far, joined
    pending: str = ""  # arguments not yet turned into deltas
    decoder: CodeDecoder = field(default_factory=CodeDecoder)

    def add(self, fragment: str) -> None:
        """Take more argument text, unless it repeats all there is."""
        if len(self.arguments) > 1 and self.arguments[0] == "{":
            # No object begins again inside itself, so this server sends cumulative arguments.
            fragment = fragment.removeprefix(self.arguments)
        self.arguments += fragment
        self.pending += fragment

    def replace(self, arguments: str) -> None:
        self.arguments = arguments
        self.pending = "" if self.emitted else arguments


class TurnAssembler:
    """
    Assembles one turn. Feed it every chunk, then call `finish`; after a Broken, maybe `recover`.

    model: the name to report where the server tells none.
    whole: the chunk is a complete reply, of which the best has to be made: no finish reason is
    needed, and a call that cannot be understood is finished with a `problem`.
    """

    def __init__(self, offer: Offer, *, model: str = "", whole: bool = False) -> None:
        self._offer = offer
        self._whole = whole
        self._calls: list[_Call] = []
        self._by_index: dict[int | str, _Call] = {}
        self._front = 0  # first call that is not finished
        self._has_spoken = False
        self._has_reasoned = False
        self._blank = ""  # white space that is text only if words follow
        self._is_apart = True  # at the beginning, or right after a call
        self._waiting: list[ModelEvent] = []  # said while a call was open
        self._think = ThinkSplitter()
        self._text_calls = TextCallSplitter() if offer.text_calls else None
        self._finish_reason: str | None = None
        self._usage = Usage()
        self._model = model

    @property
    def has_ended(self) -> bool:
        """Whether the server said that the turn is over; only usage may follow."""
        return self._finish_reason not in (None, "error")

    @property
    def is_recoverable(self) -> bool:
        """Whether a second attempt could still be told as the continuation of this one."""
        is_answer = self._has_spoken and not self._calls and not self.has_ended
        return self._front == 0 and not is_answer

    # ---- chunks in -----------------------------------------------------------------------------

    def feed(self, chunk: object) -> list[ModelEvent]:
        """
        Take one chunk, or one complete reply, as decoded JSON; return what became certain.

        Raises:
            ModelProtocol: it is not a chat completion.
            ModelRefused: it is an error in place of a chunk.
        """
        if not isinstance(chunk, Mapping):
            what = "text" if isinstance(chunk, str) else f"a JSON {type(chunk).__name__}"
            raise ModelProtocol(
                f"The model server sent {what} in place of a chat completion. Check --model-url."
            )
        if chunk.get("object") == "error" and isinstance(chunk.get("message"), str):
            raise ModelRefused(f"The model server ended the answer: {chunk['message']}")
        self._read_envelope(chunk)
        choice = first_choice(chunk)
        if choice is None:
            if self._whole:
                raise _not_a_reply(chunk)
            return []
        delta = choice.get("delta") or choice.get("message") or {}
        if not isinstance(delta, Mapping):
            raise ModelProtocol("The model server sent a chat completion without a message.")
        events = list(self._message(delta))
        if isinstance(reason := choice.get("finish_reason"), str) and reason:
            self._finish_reason = reason
        return events

    def _read_envelope(self, chunk: Mapping[str, Any]) -> None:
        if isinstance(model := chunk.get("model"), str) and model:
            self._model = model
        if isinstance(counts := chunk.get("usage"), Mapping):
            self._usage = usage(counts)

    def _message(self, delta: Mapping[str, Any]) -> Iterator[ModelEvent]:
        for key in ("reasoning_content", "reasoning"):
            if isinstance(thought := delta.get(key), str) and thought:
                yield from self._reason(thought)
                break
        thought, text = content(delta.get("content"))
        yield from self._reason(thought)
        thought, text = self._think.feed(text)
        yield from self._reason(thought)
        if self._text_calls is not None:
            text = self._text_calls.feed(text)
        yield from self._say(text)
        if isinstance(refusal := delta.get("refusal"), str) and refusal:
            self._has_spoken = True
            yield from self._in_order(RefusalDelta(refusal))
        for position, fragment in enumerate(fragments(delta)):
            self._take_fragment(fragment, position)
        yield from self._advance()

    def _reason(self, thought: str) -> Iterator[ModelEvent]:
        if thought:
            self._has_reasoned = True
            yield from self._in_order(ReasoningDelta(thought))

    def _say(self, text: str) -> Iterator[ModelEvent]:
        if not text:
            return
        if self._is_apart:
            # Line breaks around calls and thoughts are not an answer.
            self._blank += text
            if not self._blank.strip():
                return
            text, self._blank = self._blank.lstrip(), ""
        self._is_apart = False
        self._has_spoken = True
        yield from self._in_order(TextDelta(text))

    def _in_order(self, event: ModelEvent) -> Iterator[ModelEvent]:
        """Yield `event` now, or after the call that is still open."""
        yield from self._advance(close_last=True)
        if self._front < len(self._calls):
            self._waiting.append(event)
        else:
            yield event

    def _take_fragment(self, fragment: Mapping[str, Any], position: int) -> None:
        self._is_apart = True
        function = fragment.get("function") or fragment.get("custom")
        function = function if isinstance(function, Mapping) else fragment
        name = name if isinstance(name := function.get("name"), str) else ""
        call_id = call_id if isinstance(call_id := fragment.get("id"), str) else ""
        arguments = function.get("arguments", function.get("input"))
        index = position if self._whole else fragment.get("index")
        index = index if isinstance(index, int | str) else None
        call = self._locate(index, call_id, name)
        if _begins_anew(call, call_id, name, arguments):
            call = self._begin(index)
        call.call_id = call.call_id or call_id
        if name and not call.is_started and name != call.name:
            call.name += name
        match arguments:
            case str(text):
                call.add(text)
            case dict() | list() as value:
                call.replace(json.dumps(value, ensure_ascii=False))
            case _:
                pass  # none yet, or none at all

    def _locate(self, index: int | str | None, call_id: str, name: str) -> _Call:
        """Return the call a fragment belongs to: by index, else by id, else the latest."""
        if index is not None:
            return self._by_index.get(index) or self._begin(index)
        same = next((c for c in self._calls if call_id and c.call_id == call_id), None)
        if same is None and self._calls and not (name and call_id):
            same = self._calls[-1]
        return same or self._begin(None)

    def _begin(self, index: int | str | None) -> _Call:
        call = _Call()
        self._calls.append(call)
        if index is not None:
            self._by_index[index] = call
        return call

    # ---- events out ----------------------------------------------------------------------------

    def _advance(self, *, close_last: bool = False) -> Iterator[ModelEvent]:
        """Yield what is certain about the calls; close those that something else follows."""
        while self._front < len(self._calls):
            call = self._calls[self._front]
            is_last = self._front == len(self._calls) - 1
            if (call.arguments and call.name) or not is_last:
                yield from self._open(call)
                yield from self._write(call)
            if (is_last and not close_last) or not self._is_certain(call):
                return
            yield from self._close(call)

    def _open(self, call: _Call) -> Iterator[ModelEvent]:
        if call.is_started:
            return
        call.is_started = True
        call.name, call.is_code = self._offer.resolve(call.name, call.arguments)
        is_taken = any(c.call_id == call.call_id for c in self._calls[: self._front])
        call.call_id = new_id("call") if is_taken or not call.call_id else call.call_id
        yield CallStarted(self._front, call.call_id, call.name, call.is_code)

    def _write(self, call: _Call) -> Iterator[ModelEvent]:
        pending, call.pending = call.pending, ""
        text = call.decoder.feed(pending) if call.is_code else pending
        if text:
            call.emitted += text
            yield CallDelta(self._front, text)

    def _is_certain(self, call: _Call) -> bool:
        return is_whole(call.arguments) and self._understand(call) is not None

    def _understand(self, call: _Call) -> str | None:
        """Return the final text of a call; None if there is none to be had."""
        name, is_code = self._offer.resolve(call.name, call.arguments)
        if is_code:
            return interpret_code(call.arguments)
        if not call.arguments.strip() and (name in self._offer.bare_functions or self._whole):
            return "{}"
        return interpret_function(call.arguments)

    def _close(self, call: _Call, problem: str | None = None) -> Iterator[ModelEvent]:
        yield from self._open(call)
        yield from self._write(call)
        understood = self._understand(call)
        text = understood if understood is not None else (call.emitted if call.is_code else "{}")
        if understood is None and problem is None:
            problem = describe_problem(call.arguments)
        if text != call.emitted and text.startswith(call.emitted):
            yield CallDelta(self._front, text[len(call.emitted) :])
        yield CallFinished(self._front, call.call_id, call.name, call.is_code, text, problem)
        self._front += 1
        if self._front == len(self._calls):
            yield from self._waiting
            self._waiting.clear()

    # ---- the end -------------------------------------------------------------------------------

    def finish(self) -> list[ModelEvent] | Broken:
        """Return the last events of the turn, or why it cannot stand; then nothing was emitted."""
        finish = _FINISHES.get((self._finish_reason or "").lower(), "stop")
        is_cut = finish in {"length", "content_filter"}
        prose, written = self._written_calls()
        calls = self._calls + written
        if not self._whole:
            if not self.has_ended:
                return Broken("The model server's answer ended in the middle.")
            if finish == "tool_calls" and not calls:
                return Broken("The model server announced a tool call and did not send it.")
            if not is_cut and any(self._understand(c) is None for c in calls[self._front :]):
                return Broken("The model server sent a tool call that cannot be understood.")
        events = list(self._last_words(prose))
        self._calls = calls
        for call in calls[self._front :]:
            was_cut = is_cut and call is calls[-1] and not is_whole(call.arguments)
            events += self._close(call, _cut_problem(finish) if was_cut else None)
        if not is_cut:
            finish = "tool_calls" if calls else "stop"
        return [*events, TurnFinished(finish, self._usage, self._model)]

    def _written_calls(self) -> tuple[str, list[_Call]]:
        """Return the prose that was held back, and the calls that were written as text."""
        if self._text_calls is None:
            return "", []
        prose, found = self._text_calls.finish(are_calls_possible=not self._calls)
        return prose, [
            _Call(name=c.name or CODE_TOOL_NAME, arguments=c.arguments, pending=c.arguments)
            for c in found
        ]

    def _last_words(self, prose: str) -> Iterator[ModelEvent]:
        thought, text = self._think.finish()
        yield from self._reason(thought)
        yield from self._say(prose + text)

    def recover(self, reply: object) -> list[ModelEvent]:
        """
        Return the events that end this broken turn with the complete `reply` of a second attempt.

        Raises:
            ModelProtocol, ModelRefused: the reply is no chat completion, or cannot be told as the
                continuation of what was emitted.
        """
        assert self.is_recoverable
        second = TurnAssembler(self._offer, model=self._model, whole=True)
        events = second.feed(reply)
        rest = second.finish()
        assert not isinstance(rest, Broken)
        events += rest
        open_call = self._calls[0] if self._calls and self._calls[0].is_started else None
        calls = [event for event in events if isinstance(event, CallFinished)]
        if open_call is not None and not _continues(open_call, calls):
            raise ModelProtocol(
                "The model server broke off in a tool call and made another one when asked again."
            )
        if self._has_spoken and not calls and not self.has_ended:
            raise ModelProtocol(
                "The model server broke off in an answer and gave another one when asked again."
            )
        return [*self._merge(events, open_call)]

    def _merge(self, events: list[ModelEvent], open_call: _Call | None) -> Iterator[ModelEvent]:
        waiting: list[ModelEvent] = list(self._waiting)
        is_open = open_call is not None
        for event in events:
            match event:
                case ReasoningDelta() if self._has_reasoned:
                    pass
                case TextDelta() | RefusalDelta() if self._has_spoken:
                    pass
                case CallStarted() | CallDelta() if is_open:
                    pass  # its first attempt was started already
                case CallFinished() if is_open and open_call is not None:
                    is_open = False
                    said = open_call.emitted
                    if event.text != said and event.text.startswith(said):
                        yield CallDelta(0, event.text[len(said) :])
                    yield replace(event, call_id=open_call.call_id)
                    yield from waiting
                case TurnFinished():
                    yield replace(event, usage=event.usage + self._usage)
                case TextDelta() | RefusalDelta() | ReasoningDelta() if is_open:
                    waiting.append(event)
                case (
                    TextDelta()
                    | RefusalDelta()
                    | ReasoningDelta()
                    | CallStarted()
                    | CallDelta()
                    | CallFinished()
                ):
                    yield event
                case _:
                    assert_never(event)


def _begins_anew(call: _Call, call_id: str, name: str, arguments: object) -> bool:
    """
    Return whether a fragment that points at `call` begins another one all the same.

    Some servers give every call the index 0, or neither index nor id. A new id alone says nothing,
    as others make one up for every chunk.
    """
    if not name or not call.name or (call_id and call_id == call.call_id):
        return False
    is_other_id = bool(call_id and call.call_id)
    if is_whole(call.arguments):
        more = arguments.strip() if isinstance(arguments, str) else ""
        is_more = more not in ("", call.arguments.strip())
        return is_other_id or name != call.name or is_more
    return is_other_id and name != call.name and not call.arguments


def _not_a_reply(reply: Mapping[str, Any]) -> ModelRefused | ModelProtocol:
    error = reply.get("error")
    words = error.get("message") if isinstance(error, Mapping) else error
    if isinstance(words, str):
        return ModelRefused(f"The model server refused: {words}")
    return ModelProtocol("The model server sent a chat completion without choices.")


def _cut_problem(finish: Finish) -> str:
    cause = "the token limit" if finish == "length" else "a content filter"
    return f"The call was cut off by {cause}, so nothing was run."


def _continues(open_call: _Call, calls: list[CallFinished]) -> bool:
    if not calls:
        return False
    first = calls[0]
    return first.is_code == open_call.is_code and (first.is_code or first.name == open_call.name)
