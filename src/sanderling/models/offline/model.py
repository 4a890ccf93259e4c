"""
The built-in offline model: it reads the question with rules, writes Python, and tells the output.

It is no language model and says so in the first answer of a conversation. What it cannot do with a
rule it says too. Every number in an answer was printed by code that ran. One turn follows from the
conversation alone, like a real model's: which rule fits, which attempts were made and what came of
them.
"""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, assert_never

from sanderling.ids import new_id
from sanderling.models.base import (
    CODE_TOOL_NAME,
    CallDelta,
    CallFinished,
    CallStarted,
    ModelEvent,
    TextDelta,
    TurnFinished,
    TurnRequest,
)
from sanderling.models.offline import functions
from sanderling.models.offline.author import LIST_FILES, author
from sanderling.models.offline.conversation import Conversation, read
from sanderling.models.offline.plan import Plan, Shown, join
from sanderling.records import Usage

NAME = "sanderling-offline"
INTRODUCTION = "I am Sanderling's built-in offline model: a few rules, not a language model."
ABILITIES = """\
I found no rule for that. With the python tool I can:
- run code you send in a ```python block
- solve equations (Solve 3x + 11 = 14), compute, integrate, factor
- work out interest and returns, statistics of a list, numbers in JSON, temperatures
- with an attached table: totals by group, growth by month, charts, cleaning, conversion
- with an attached picture: crop, rotate, contrast, histogram
- with an attached document: extract and count its text

For anything else, connect a language model with --model-url."""
_NO_TOOL = "I can only compute with the python tool, and this request does not let me use it."
_DELTA_CHARS = 24  # about what a chat model sends at once
_CHARS_PER_TOKEN = 4  # the usual rule of thumb; there is no tokenizer here


@dataclass(frozen=True, slots=True)
class _Say:
    text: str


@dataclass(frozen=True, slots=True)
class _Call:
    name: str
    text: str


class OfflineModel:
    """Answers to any model name; needs no network, no key and no weights."""

    async def stream(self, request: TurnRequest) -> AsyncIterator[ModelEvent]:
        """See `Model.stream`."""
        conversation = read(request.messages)
        asked = sum(len(json.dumps(message)) for message in request.messages)
        limit = request.max_output_tokens
        budget = limit * _CHARS_PER_TOKEN if limit is not None else None
        match _move(request, conversation):
            case _Say(text):
                words = text if budget is None else text[:budget]
                for piece in _pieces(words):
                    yield TextDelta(piece)
                finish = "stop" if words == text else "length"
            case _Call(name, text):
                words = text if budget is None else text[:budget]
                for event in _call_events(name, words, is_whole=words == text):
                    yield event
                finish = "tool_calls" if words == text else "length"
            case move:
                assert_never(move)
        usage = Usage(-(-asked // _CHARS_PER_TOKEN), -(-len(words) // _CHARS_PER_TOKEN))
        match finish:
            case "stop" | "length" | "tool_calls":
                yield TurnFinished(finish, usage, NAME)

    def relay(self, body: Mapping[str, Any]) -> None:
        """See `Model.relay`."""

    async def names(self) -> list[str]:
        """See `Model.names`."""
        return [NAME]

    async def aclose(self) -> None:
        """See `Model.aclose`."""


# ---- one turn ----------------------------------------------------------------------------------


def _move(request: TurnRequest, conversation: Conversation) -> _Say | _Call:
    choice = request.tool_choice
    is_begun = bool(conversation.attempts or conversation.answers)
    may_call = choice != "none" and not conversation.must_answer
    if may_call and not is_begun and (call := _function_call(request, conversation)) is not None:
        return call
    if conversation.answers:
        told = "\n\n".join(f"{name} answered: {output}" for name, output in conversation.answers)
        return _say(request, conversation, told, {})
    may_run = may_call and request.offers_code
    plan, attempt = _progress(conversation)
    if attempt is not None:
        told = _tell(plan, attempt)
        return _say(request, conversation, told, attempt.facts)
    if plan is not None and may_run:
        return _Call(CODE_TOOL_NAME, plan.code)
    if may_run and not is_begun and choice in {"required", CODE_TOOL_NAME}:
        return _Call(CODE_TOOL_NAME, LIST_FILES)
    return _say(request, conversation, ABILITIES if plan is None else _NO_TOOL, {})


def _progress(conversation: Conversation) -> tuple[Plan | None, Shown | None]:
    """
    Return the plan that is due, and the output it ended with if it was carried out.

    Every attempt since the question was made by a plan of ours, so following them again tells
    where we stand: a listing of files leads on, an error leads to the plan's other approach.
    """
    plan = author(conversation)
    for attempt in conversation.attempts:
        if attempt.code == LIST_FILES:
            if plan is None or plan.code == LIST_FILES:
                return plan, attempt.shown
            continue
        again = plan.otherwise if plan is not None and attempt.shown.error is not None else None
        if again is None or again.code == attempt.code:
            return plan, attempt.shown
        plan = again
    if conversation.must_answer and conversation.attempts:
        return plan, conversation.attempts[-1].shown
    return plan, None


def _tell(plan: Plan | None, shown: Shown) -> str:
    if shown.error is not None:
        before = shown.text.split("Traceback (most recent call last)")[0].strip()
        printed = f"```\n{before}\n```" if before and before != shown.error else ""
        return join(printed, f"The code stopped with an error: {shown.error}")
    if plan is None or plan.code == LIST_FILES:
        names = shown.facts.get("files")
        found = f"The files in /mnt/data: {names}." if names else "There are no files in /mnt/data."
        return join(found, ABILITIES)
    try:
        return plan.explain(shown)
    except (KeyError, StopIteration, ValueError):
        # The output was cut short, or is not what the code should have printed; show it as it is.
        return join("This is what the code showed:", f"```\n{shown.text.strip()}\n```", shown.links)


def _say(
    request: TurnRequest, conversation: Conversation, text: str, facts: dict[str, str]
) -> _Say:
    match request.text_format.type:
        case "text":
            return _Say(join(INTRODUCTION, text) if conversation.is_new else text)
        case "json_object":
            return _Say(json.dumps({"answer": text, **facts}, ensure_ascii=False))
        case "json_schema":
            schema = request.text_format.schema or {"type": "object"}
            filled = functions.fill(schema, text, {"answer": text} | facts)
            return _Say(json.dumps(filled, ensure_ascii=False))


def _function_call(request: TurnRequest, conversation: Conversation) -> _Call | None:
    """Return the call of a client's function that was demanded, or that the question names."""
    named = [t for t in request.functions if t["function"]["name"] == request.tool_choice]
    tool = named[0] if named else functions.mentioned(conversation.question, request.functions)
    if tool is None and request.tool_choice == "required" and not request.offers_code:
        tool = next(iter(request.functions), None)
    if tool is None or (request.tool_choice == CODE_TOOL_NAME and not named):
        return None
    schema = tool["function"].get("parameters") or {"type": "object"}
    arguments = functions.fill({"type": "object", **schema}, conversation.question, {})
    return _Call(str(tool["function"]["name"]), json.dumps(arguments, ensure_ascii=False))


# ---- events ------------------------------------------------------------------------------------


def _call_events(name: str, text: str, *, is_whole: bool) -> Iterator[ModelEvent]:
    call_id = new_id("call")
    is_code = name == CODE_TOOL_NAME
    problem = None if is_whole else "The call was cut off by the token limit, so nothing was run."
    yield CallStarted(0, call_id, name, is_code)
    for piece in _pieces(text):
        yield CallDelta(0, piece)
    whole = text if is_code or is_whole else "{}"
    yield CallFinished(0, call_id, name, is_code, whole, problem)


def _pieces(text: str) -> Iterator[str]:
    """Yield `text` in pieces of a few words."""
    piece = ""
    for word in re.findall(r"\s*\S+|\s+$", text):
        piece += word
        if len(piece) >= _DELTA_CHARS:
            yield piece
            piece = ""
    if piece:
        yield piece
