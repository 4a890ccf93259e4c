"""
A model that says what it was told to say: for tests, and for trying an application out.

`ScriptedModel([code("2 + 2"), text("4")])` answers the first turn with a code call and the second
with a text, and keeps every request it was sent.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from typing import Any

from sanderling.errors import ModelError, ModelProtocol
from sanderling.models.base import (
    CODE_TOOL_NAME,
    CallDelta,
    CallFinished,
    CallStarted,
    ModelEvent,
    ReasoningDelta,
    TextDelta,
    TurnFinished,
    TurnRequest,
)
from sanderling.records import Usage

# A turn is its events in order; an error among them is raised in its place.
Turn = Sequence[ModelEvent | ModelError]

_USAGE = Usage(input_tokens=10, output_tokens=5)


def text(words: str, *, pieces: int = 2) -> Turn:
    """Return a turn that only talks, in `pieces` deltas."""
    return [*(TextDelta(piece) for piece in _split(words, pieces)), _end("stop")]


def code(source: str, *, say: str = "", think: str = "", call_id: str = "call_1") -> Turn:
    """Return a turn that runs `source`, after saying and thinking something if given."""
    return [
        *([ReasoningDelta(think)] if think else []),
        *([TextDelta(say)] if say else []),
        *_call(0, call_id, CODE_TOOL_NAME, source, is_code=True),
        _end("tool_calls"),
    ]


def function(name: str, arguments: dict[str, Any], *, call_id: str = "call_1") -> Turn:
    """Return a turn that calls the client's function `name`."""
    return [
        *_call(0, call_id, name, json.dumps(arguments), is_code=False),
        _end("tool_calls"),
    ]


def calls(*sources: str) -> Turn:
    """Return a turn that runs several cells, one call each."""
    events = (
        _call(index, f"call_{index + 1}", CODE_TOOL_NAME, source, is_code=True)
        for index, source in enumerate(sources)
    )
    return [*itertools.chain.from_iterable(events), _end("tool_calls")]


def error(problem: ModelError, *, say: str = "") -> Turn:
    """Return a turn that fails with `problem`, after saying something if given."""
    return [*([TextDelta(say)] if say else []), problem]


class ScriptedModel:
    """
    Plays `turns` in order. When they are used up: the first again if `repeats`, else an error.

    Attributes:
        requests: every request so far, oldest first.
    """

    def __init__(self, turns: Iterable[Turn], *, repeats: bool = False) -> None:
        turns = tuple(turns)
        self._turns = itertools.cycle(turns) if repeats else iter(turns)
        self.requests: list[TurnRequest] = []

    async def stream(self, request: TurnRequest) -> AsyncIterator[ModelEvent]:
        """See `Model.stream`."""
        self.requests.append(request)
        turn = next(self._turns, None)
        if turn is None:
            raise ModelProtocol(f"The script has no turn {len(self.requests)}.")
        for event in turn:
            if isinstance(event, ModelError):
                raise event
            yield event

    def relay(self, body: Mapping[str, Any]) -> None:
        """See `Model.relay`."""

    async def names(self) -> list[str]:
        """See `Model.names`."""
        return ["scripted"]

    async def aclose(self) -> None:
        """See `Model.aclose`."""


def _call(index: int, call_id: str, name: str, body: str, *, is_code: bool) -> list[ModelEvent]:
    deltas = [CallDelta(index, piece) for piece in _split(body, 2)]
    return [
        CallStarted(index, call_id, name, is_code),
        *deltas,
        CallFinished(index, call_id, name, is_code, body),
    ]


def _end(finish: str) -> TurnFinished:
    assert finish in ("stop", "tool_calls")
    return TurnFinished("stop" if finish == "stop" else "tool_calls", _USAGE, "scripted")


def _split(whole: str, pieces: int) -> list[str]:
    size = max(1, -(-len(whole) // pieces))
    return [whole[start : start + size] for start in range(0, len(whole), size)]
