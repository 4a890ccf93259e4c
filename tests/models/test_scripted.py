from __future__ import annotations

import pytest

from sanderling.errors import ModelProtocol, ModelRefused
from sanderling.models import scripted
from sanderling.models.base import (
    CallDelta,
    CallFinished,
    CallStarted,
    ModelEvent,
    ReasoningDelta,
    TextDelta,
    TurnFinished,
    TurnRequest,
)
from sanderling.models.scripted import ScriptedModel

ASKED = TurnRequest(model="m", messages=({"role": "user", "content": "Hi"},))


async def play(model: ScriptedModel) -> list[ModelEvent]:
    return [event async for event in model.stream(ASKED)]


async def test_turns_are_played_in_order_and_requests_are_kept() -> None:
    model = ScriptedModel([scripted.code("1 + 1", say="Hm.", think="Two?"), scripted.text("Two.")])

    first, second = await play(model), await play(model)

    assert first[:3] == [
        ReasoningDelta("Two?"),
        TextDelta("Hm."),
        CallStarted(0, "call_1", "python", True),
    ]
    assert first[-2] == CallFinished(0, "call_1", "python", True, "1 + 1")
    assert isinstance(first[-1], TurnFinished)
    assert first[-1].finish == "tool_calls"
    assert "".join(e.text for e in second if isinstance(e, TextDelta)) == "Two."
    assert isinstance(second[-1], TurnFinished)
    assert second[-1].finish == "stop"
    assert model.requests == [ASKED, ASKED]


async def test_several_calls_are_contiguous_and_numbered() -> None:
    events = await play(ScriptedModel([scripted.calls("a", "bb")]))

    finished = [(e.index, e.call_id, e.text) for e in events if isinstance(e, CallFinished)]
    assert finished == [(0, "call_1", "a"), (1, "call_2", "bb")]
    assert "".join(e.text for e in events if isinstance(e, CallDelta)) == "abb"


async def test_a_function_call_carries_json() -> None:
    events = await play(ScriptedModel([scripted.function("weather", {"city": "Oslo"})]))

    assert CallFinished(0, "call_1", "weather", False, '{"city": "Oslo"}') in events


async def test_an_error_is_raised_where_it_stands() -> None:
    model = ScriptedModel([scripted.error(ModelRefused("No."), say="Well")])
    events = model.stream(ASKED)

    assert await anext(events) == TextDelta("Well")
    with pytest.raises(ModelRefused, match="No"):
        await anext(events)


async def test_a_script_that_is_over_is_an_error_unless_it_repeats() -> None:
    once, always = (
        ScriptedModel([scripted.text("a")]),
        ScriptedModel([scripted.text("a")], repeats=True),
    )
    for model in (once, always):
        await play(model)

    with pytest.raises(ModelProtocol, match="no turn 2"):
        await play(once)
    assert TextDelta("a") in await play(always)
    assert await always.names() == ["scripted"]
    await always.aclose()
