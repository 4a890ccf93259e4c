"""
What the loop asks of a model, and the events a turn answers with.

Messages and function tools are OpenAI chat-completion dictionaries, because that is the one
language every model server speaks; what comes back is ours. A model never sees ids, files or
containers except as text in its messages.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from sanderling.records import TextFormat, Usage

# The tool's name as models know it, and its one argument.
CODE_TOOL_NAME = "python"


@dataclass(frozen=True, slots=True)
class TurnRequest:
    """
    One model call.

    messages: chat-completion messages (system, user, assistant with tool_calls, tool).
    functions: the client's own function tools, as chat-completion `tools` entries.
    offers_code: whether the `python` tool is offered; its schema is the model module's business,
        as some servers want another.
    tool_choice: `auto`, `none`, `required`, or the name of a tool that must be called.
    execution_timeout_s: how long a cell may take, where it is not the server's usual time.
    options: what else a chat model server is asked, as the client wrote it.
    """

    model: str
    messages: tuple[dict[str, Any], ...]
    functions: tuple[dict[str, Any], ...] = ()
    offers_code: bool = False
    tool_choice: str = "auto"
    temperature: float | None = None
    top_p: float | None = None
    max_output_tokens: int | None = None
    parallel_tool_calls: bool | None = None
    text_format: TextFormat = field(default_factory=TextFormat)
    reasoning_effort: str | None = None
    execution_timeout_s: float | None = None
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TextDelta:
    text: str


@dataclass(frozen=True, slots=True)
class RefusalDelta:
    text: str


@dataclass(frozen=True, slots=True)
class ReasoningDelta:
    text: str


@dataclass(frozen=True, slots=True)
class CallStarted:
    """A tool call began. `index` counts calls of this turn; `is_code` tells the `python` tool."""

    index: int
    call_id: str
    name: str
    is_code: bool


@dataclass(frozen=True, slots=True)
class CallDelta:
    """More of a call: decoded source text when it is code, raw argument text otherwise."""

    index: int
    text: str


@dataclass(frozen=True, slots=True)
class CallFinished:
    """
    The whole call. For code, `text` is the source to run; for a function, clean JSON arguments.

    `problem` is set when a call could not be understood (`text` is `{}` for a function then):
    nothing must be run or passed on, and the sentence goes back to the model.
    """

    index: int
    call_id: str
    name: str
    is_code: bool
    text: str
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class TurnFinished:
    """Always the last event of a turn. `length`: the token limit cut it short."""

    finish: Literal["stop", "length", "content_filter", "tool_calls"]
    usage: Usage
    model: str  # the name the server says answered


ModelEvent = (
    TextDelta
    | RefusalDelta
    | ReasoningDelta
    | CallStarted
    | CallDelta
    | CallFinished
    | TurnFinished
)


@dataclass(frozen=True, slots=True)
class Relayed:
    """
    A model server's own answer to a request that was passed on to it.

    headers: what it says to its client about when to ask again; names in lower case.
    chunks: the body as it comes. Raises ModelTimeout, ModelProtocol where it breaks off.
    """

    status: int
    content_type: str
    headers: Mapping[str, str]
    chunks: AsyncIterator[bytes]


class Model(Protocol):
    """A model server, or something that stands for one."""

    def stream(self, request: TurnRequest) -> AsyncIterator[ModelEvent]:
        """
        Ask for one turn; yield what it says as it says it, ending with one TurnFinished.

        A call's events are contiguous and calls come in index order: CallStarted, CallDelta*,
        CallFinished, then the next call. Text may come before, between and after calls.

        Raises:
            ModelRefused, ModelTimeout, ModelProtocol: also in the middle of the iteration.
        """
        ...

    def relay(self, body: Mapping[str, Any]) -> AbstractAsyncContextManager[Relayed] | None:
        """
        Pass a chat completion on as it is; leaving the context ends it at the server too.
        None: there is no server to pass it to, and `stream` has to be asked.

        Raises:
            ModelTimeout, ModelProtocol: when entered; there is no answer.
        """
        ...

    async def names(self) -> list[str]:
        """The model names this server offers. Raises ModelError."""
        ...

    async def aclose(self) -> None:
        """Close connections."""
        ...
