"""Playbooks: chunks of a chat completion in, the list of model events out."""

from __future__ import annotations

import json
from typing import Any

import pytest

from sanderling.errors import ModelProtocol, ModelRefused
from sanderling.models.assembler import Broken, TurnAssembler
from sanderling.models.base import (
    CallDelta,
    CallFinished,
    CallStarted,
    ModelEvent,
    ReasoningDelta,
    RefusalDelta,
    TextDelta,
    TurnFinished,
    TurnRequest,
)
from sanderling.models.offer import Offer
from sanderling.records import Usage

WEATHER = {
    "type": "function",
    "function": {"name": "weather", "parameters": {"type": "object", "required": ["city"]}},
}
CLOCK = {"type": "function", "function": {"name": "clock"}}
OFFER = Offer.of(TurnRequest(model="m", messages=(), functions=(WEATHER, CLOCK), offers_code=True))
TEXT_CALLS = Offer(code=True, text_calls=True)


def chunk(finish: str | None = None, **delta: Any) -> dict[str, Any]:
    return {"model": "m-1", "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}


def piece(arguments: Any = "", **given: Any) -> dict[str, Any]:
    """Return one fragment of a call; name goes into the function, the rest beside it."""
    function = {"arguments": arguments}
    if "name" in given:
        function["name"] = given.pop("name")
    return {"function": function, **given}


def calls(*pieces: dict[str, Any]) -> dict[str, Any]:
    return chunk(tool_calls=list(pieces))


def play(
    *chunks: dict[str, Any], offer: Offer = OFFER, finish: str | None = "tool_calls"
) -> list[ModelEvent]:
    """Return all events of a turn that stands."""
    assembler = TurnAssembler(offer, model="asked")
    events = [event for one in chunks for event in assembler.feed(one)]
    if finish is not None:
        events += assembler.feed(chunk(finish=finish))
    rest = assembler.finish()
    assert not isinstance(rest, Broken)
    return events + rest


def breaks(*chunks: dict[str, Any]) -> tuple[TurnAssembler, list[ModelEvent]]:
    """Return the assembler of a turn that does not stand, and what it emitted."""
    assembler = TurnAssembler(OFFER, model="asked")
    events = [event for one in chunks for event in assembler.feed(one)]
    assert isinstance(assembler.finish(), Broken)
    return assembler, events


def reply(text: str | None = None, *made: tuple[str, Any], finish: str | None = "stop") -> Any:
    tool_calls = [
        {"id": f"again_{n}", "function": {"name": name, "arguments": arguments}}
        for n, (name, arguments) in enumerate(made)
    ]
    message = {"content": text, "tool_calls": tool_calls or None}
    usage = {"prompt_tokens": 5, "completion_tokens": 2}
    return {"choices": [{"message": message, "finish_reason": finish}], "usage": usage}


def code_events(code: str, *, call_id: str = "a", deltas: list[str]) -> list[ModelEvent]:
    return [
        CallStarted(0, call_id, "python", True),
        *(CallDelta(0, delta) for delta in deltas),
        CallFinished(0, call_id, "python", True, code),
        TurnFinished("tool_calls", Usage(), "m-1"),
    ]


def finished(events: list[ModelEvent]) -> list[tuple[str, bool, str]]:
    return [(e.name, e.is_code, e.text) for e in events if isinstance(e, CallFinished)]


def text_of(events: list[ModelEvent]) -> str:
    return "".join(event.text for event in events if isinstance(event, TextDelta))


# ---- a turn as it should be --------------------------------------------------------------------


def test_text_is_passed_on_as_it_comes() -> None:
    usage = {
        "prompt_tokens": 9,
        "completion_tokens": 4,
        "prompt_tokens_details": {"cached_tokens": 2},
        "completion_tokens_details": {"reasoning_tokens": 1},
    }

    events = play(
        chunk(role="assistant", content=""),
        chunk(content="Hel"),
        chunk(content="lo"),
        chunk(finish="stop"),
        {"model": "m-1", "choices": [], "usage": usage},
        finish=None,
    )

    assert events == [
        TextDelta("Hel"),
        TextDelta("lo"),
        TurnFinished("stop", Usage(9, 4, 2, 1), "m-1"),
    ]


def test_code_is_streamed_decoded_while_it_is_written() -> None:
    events = play(
        calls(piece(index=0, id="a", name="python")),
        calls(piece('{"code": "pri', index=0)),
        calls(piece("nt(1)\\", index=0)),
        calls(piece('n2"}', index=0)),
    )

    assert events == code_events("print(1)\n2", deltas=["pri", "nt(1)", "\n2"])


def test_function_arguments_pass_through_and_end_as_clean_json() -> None:
    events = play(
        calls(piece('{"city"', index=0, id="a", name="weather")),
        calls(piece(': "Oslo"}', index=0)),
    )

    assert events == [
        CallStarted(0, "a", "weather", False),
        CallDelta(0, '{"city"'),
        CallDelta(0, ': "Oslo"}'),
        CallFinished(0, "a", "weather", False, '{"city": "Oslo"}'),
        TurnFinished("tool_calls", Usage(), "m-1"),
    ]


def test_calls_are_contiguous_even_when_their_fragments_interleave() -> None:
    events = play(
        calls(piece('{"code": ', index=0, id="a", name="python")),
        calls(piece('{"city": ', index=1, id="b", name="weather")),
        calls(piece('"1"}', index=0)),
        calls(piece('"Oslo"}', index=1)),
    )

    assert [getattr(e, "index", None) for e in events] == [0] * 3 + [1] * 4 + [None]
    assert finished(events) == [("python", True, "1"), ("weather", False, '{"city": "Oslo"}')]


def test_text_between_calls_keeps_its_place() -> None:
    events = play(
        chunk(content="First."),
        calls(piece('{"code": "1"}', index=0, id="a", name="python")),
        chunk(content="\n"),
        chunk(content="Then."),
        calls(piece('{"code": "2"}', index=1, id="b", name="python")),
    )

    kinds = [type(event).__name__ for event in events]
    assert kinds == [
        "TextDelta",
        "CallStarted",
        "CallDelta",
        "CallFinished",
        "TextDelta",
        "CallStarted",
        "CallDelta",
        "CallFinished",
        "TurnFinished",
    ]
    assert text_of(events) == "First.Then."


def test_text_inside_an_unfinished_call_waits_for_its_end() -> None:
    events = play(
        calls(piece('{"code": "1', index=0, id="a", name="python")),
        chunk(content="I am computing."),
        calls(piece('"}', index=0)),
    )

    assert [type(e).__name__ for e in events[-3:]] == ["CallFinished", "TextDelta", "TurnFinished"]


def test_refusals_and_reasoning_are_told_apart_from_text() -> None:
    events = play(
        chunk(reasoning_content="Hm"),
        chunk(reasoning="m."),
        chunk(refusal="No."),
        finish="stop",
    )

    assert events[:-1] == [ReasoningDelta("Hm"), ReasoningDelta("m."), RefusalDelta("No.")]


def test_content_given_as_parts_is_read() -> None:
    parts = [
        {"type": "thinking", "thinking": [{"type": "text", "text": "Hm."}]},
        {"type": "text", "text": "Yes."},
    ]

    events = play(chunk(content=parts), finish="stop")

    assert events[:-1] == [ReasoningDelta("Hm."), TextDelta("Yes.")]


THOUGHT = "\n<think>two < three</think>\n\nFive."


@pytest.mark.parametrize("cut", range(len(THOUGHT)))
def test_thoughts_written_into_the_text_are_reasoning_wherever_they_are_split(cut: int) -> None:
    events = play(chunk(content=THOUGHT[:cut]), chunk(content=THOUGHT[cut:]), finish="stop")

    thought = "".join(e.text for e in events if isinstance(e, ReasoningDelta))
    assert (thought, text_of(events)) == ("two < three", "Five.")


def test_a_think_tag_in_the_middle_of_an_answer_is_text() -> None:
    assert text_of(play(chunk(content="Write <think>."), finish="stop")) == "Write <think>."


# ---- faults that are put right at once ---------------------------------------------------------

FRAGMENTS = ['{"code": "a', ' = 1"', "}"]


@pytest.mark.parametrize(
    "chunks",
    [
        # neither index nor id
        [calls(piece(FRAGMENTS[0], name="python")), *(calls(piece(f)) for f in FRAGMENTS[1:])],
        # id, no index
        [
            calls(piece(FRAGMENTS[0], id="a", name="python")),
            *(calls(piece(f, id="a")) for f in FRAGMENTS[1:]),
        ],
        # index as text
        [
            calls(piece(FRAGMENTS[0], index="0", id="a", name="python")),
            *(calls(piece(f, index="0")) for f in FRAGMENTS[1:]),
        ],
        # another id in every chunk
        [calls(piece(f, index=0, id=f"id{f}", name=None)) for f in ["", *FRAGMENTS]],
        # the name in every chunk
        [calls(piece(f, index=0, id="a", name="python")) for f in FRAGMENTS],
        # name and id null after the first
        [
            calls(piece(FRAGMENTS[0], index=0, id="a", name="python")),
            *(calls(piece(f, index=0, id=None, name=None)) for f in FRAGMENTS[1:]),
        ],
        # the name in two parts
        [
            calls(piece(None, index=0, id="a", name="pyt")),
            calls(piece(None, index=0, name="hon")),
            *(calls(piece(f, index=0)) for f in FRAGMENTS),
        ],
        # everything so far in every chunk
        [
            calls(piece(FRAGMENTS[0], index=0, id="a", name="python")),
            calls(piece("".join(FRAGMENTS[:2]), index=0)),
            calls(piece("".join(FRAGMENTS), index=0)),
            calls(piece("".join(FRAGMENTS), index=0)),
        ],
        # an object
        [calls(piece({"code": "a = 1"}, index=0, id="a", name="python"))],
        # the old field for one call
        [
            chunk(function_call={"name": "python", "arguments": FRAGMENTS[0]}),
            *(chunk(function_call={"arguments": f}) for f in FRAGMENTS[1:]),
        ],
        # one call that is no list
        [chunk(tool_calls=piece("".join(FRAGMENTS), name="python"))],
        # flat
        [chunk(tool_calls=[{"name": "python", "arguments": "".join(FRAGMENTS)}])],
        # names that models make up
        [calls(piece("".join(FRAGMENTS), index=0, name="code_interpreter"))],
        [calls(piece("".join(FRAGMENTS), index=0, name="functions.python"))],
    ],
)
@pytest.mark.parametrize("finish", ["tool_calls", "stop", "eos"])
def test_badly_framed_calls_are_put_together(chunks: list[dict[str, Any]], finish: str) -> None:
    offer = Offer(code=True)

    events = play(*chunks, offer=offer, finish=finish)

    assert finished(events) == [("python", True, "a = 1")]
    deltas = "".join(event.text for event in events if isinstance(event, CallDelta))
    assert deltas == "a = 1"
    assert isinstance(events[-1], TurnFinished)
    assert events[-1].finish == "tool_calls"


def test_a_call_without_id_gets_one() -> None:
    events = play(calls(piece('{"code": "1"}', index=0, name="python")))

    started = next(event for event in events if isinstance(event, CallStarted))
    assert started.call_id.startswith("call_")


@pytest.mark.parametrize(
    "chunks",
    [
        [
            calls(piece('{"code": "1"}', index=0, id="a", name="python")),
            calls(piece('{"code": "2"}', index=0, id="b", name="python")),
        ],
        [
            calls(piece('{"code": "1"}', name="python")),
            calls(piece('{"code": ', name="python")),
            calls(piece('"2"}')),
        ],
        [
            calls(
                piece('{"code": "1"}', id="a", name="python"),
                piece('{"code": "2"}', id="b", name="python"),
            )
        ],
        [
            calls(piece("", index=0, id="a", name="python"), piece("", index=1, name="python")),
            calls(piece('{"code": "1"}', index=0), piece('{"code": "2"}', index=1)),
        ],
    ],
)
def test_two_calls_stay_two_calls(chunks: list[dict[str, Any]]) -> None:
    assert finished(play(*chunks)) == [("python", True, "1"), ("python", True, "2")]


def test_two_calls_with_one_id_get_two() -> None:
    events = play(
        calls(piece('{"code": "1"}', index=0, id="same", name="python")),
        calls(piece('{"code": "2"}', index=1, id="same", name="python")),
    )

    ids = [event.call_id for event in events if isinstance(event, CallFinished)]
    assert ids[0] == "same"
    assert len(set(ids)) == 2


def test_white_space_after_a_whole_call_is_no_other_call() -> None:
    events = play(
        calls(piece('{"code": "1"}', index=0, id="a", name="python")),
        calls(piece("\n", index=0, id="a", name="python")),
        calls(piece("\n", index=0, name="python")),
    )

    assert finished(events) == [("python", True, "1")]


def test_a_call_without_a_name_is_known_by_its_arguments() -> None:
    assert finished(play(calls(piece('{"code": "1"}', index=0)))) == [("python", True, "1")]


def test_a_function_without_required_arguments_may_have_none() -> None:
    for arguments in ("", None, "{}"):
        events = play(calls(piece(arguments, index=0, id="a", name="clock")))

        assert finished(events) == [("clock", False, "{}")]


def test_a_function_nobody_offered_is_reported_as_it_is() -> None:
    events = play(calls(piece('{"q": 1}', index=0, id="a", name="browser")))

    assert finished(events) == [("browser", False, '{"q": 1}')]


def test_without_the_code_tool_python_is_an_unknown_function() -> None:
    events = play(calls(piece('{"code": "1"}', index=0, name="python")), offer=Offer())

    assert finished(events) == [("python", False, '{"code": "1"}')]


def test_a_client_function_called_python_is_the_clients() -> None:
    offer = Offer(code=True, functions=frozenset({"python"}))

    events = play(calls(piece('{"code": "1"}', index=0, name="python")), offer=offer)

    assert finished(events) == [("python", False, '{"code": "1"}')]


@pytest.mark.parametrize("finish", ["length", "max_tokens"])
def test_a_call_cut_by_the_token_limit_is_not_run(finish: str) -> None:
    events = play(calls(piece('{"code": "print(1', index=0, name="python")), finish=finish)

    call = next(event for event in events if isinstance(event, CallFinished))
    assert call.text == "print(1"
    assert call.problem == "The call was cut off by the token limit, so nothing was run."
    assert isinstance(events[-1], TurnFinished)
    assert events[-1].finish == "length"


@pytest.mark.parametrize(
    "junk",
    [
        {"choices": None},
        {"choices": [None, 1]},
        {"choices": [{"delta": None}]},
        {"choices": [{"index": 1, "delta": {"content": "another choice"}}]},
        {"choices": [{"delta": {"content": 5, "tool_calls": 7, "refusal": []}}]},
        {"choices": [{"delta": {"tool_calls": [None, "x"]}}]},
        {"choices": [], "usage": {"prompt_tokens": None, "completion_tokens": "x"}},
        {},
    ],
)
def test_odd_chunks_are_passed_over(junk: dict[str, Any]) -> None:
    assert text_of(play(junk, chunk(content="Yes."), finish="stop")) == "Yes."


@pytest.mark.parametrize("junk", ["text", 3, None, [], {"choices": [{"delta": "x"}]}])
def test_what_is_no_chunk_at_all_is_an_error(junk: Any) -> None:
    with pytest.raises(ModelProtocol):
        TurnAssembler(OFFER).feed(junk)


def test_an_error_in_place_of_a_chunk_is_told() -> None:
    with pytest.raises(ModelRefused, match="too long"):
        TurnAssembler(OFFER).feed({"object": "error", "message": "too long", "code": 400})


# ---- calls written as text ---------------------------------------------------------------------

WRITTEN = [
    "```python\na = 1\n```",
    "```py\na = 1\n```\n",
    '<tool_call>\n{"name": "python", "arguments": {"code": "a = 1"}}\n</tool_call>',
    '<tool_call>{"name": "python", "arguments": "{\\"code\\": \\"a = 1\\"}"}',
    "<|python_tag|>a = 1",
    '<|python_tag|>{"name": "python", "parameters": {"code": "a = 1"}}',
]


@pytest.mark.parametrize("written", WRITTEN)
def test_a_call_at_the_end_of_a_text_is_a_call_where_that_is_wanted(written: str) -> None:
    message = "Let me `compute` that.\n" + written

    for cut in range(len(message)):
        pieces = chunk(content=message[:cut]), chunk(content=message[cut:])
        events = play(*pieces, offer=TEXT_CALLS, finish="stop")

        assert finished(events) == [("python", True, "a = 1")]
        assert text_of(events).strip() == "Let me `compute` that."
        assert isinstance(events[-1], TurnFinished)
        assert events[-1].finish == "tool_calls"


def test_a_message_that_is_one_object_is_a_call_where_that_is_wanted() -> None:
    written = '{"name": "python", "parameters": {"code": "a = 1"}}'

    assert finished(play(chunk(content=written), offer=TEXT_CALLS, finish="stop"))
    assert text_of(play(chunk(content='{"a": 1}'), offer=TEXT_CALLS, finish="stop")) == '{"a": 1}'


@pytest.mark.parametrize("written", WRITTEN)
def test_calls_in_text_are_text_unless_wanted(written: str) -> None:
    events = play(chunk(content=written), finish="stop")

    assert finished(events) == []
    assert text_of(events) == written


def test_a_block_that_is_explained_afterwards_is_prose() -> None:
    message = "Use this:\n```python\na = 1\n```\nIt sets `a`."

    events = play(*(chunk(content=c) for c in message), offer=TEXT_CALLS, finish="stop")

    assert finished(events) == []
    assert text_of(events) == message


# ---- broken turns, and their recovery ----------------------------------------------------------


def test_a_stream_that_stops_without_a_finish_reason_is_broken() -> None:
    for chunks in ([], [chunk(content="The answer")], [chunk(finish="error")]):
        breaks(*chunks)


def test_nothing_emitted_recovers_into_anything() -> None:
    assembler, events = breaks()

    recovered = assembler.recover(reply("Four.", finish=None))

    assert events == []
    assert recovered == [TextDelta("Four."), TurnFinished("stop", Usage(5, 2), "asked")]


def test_an_answer_half_said_cannot_be_taken_back() -> None:
    assembler, _ = breaks(chunk(content="The answer is"))

    assert not assembler.is_recoverable


def test_a_finished_call_cannot_be_taken_back() -> None:
    assembler, _ = breaks(
        calls(piece('{"code": "1"}', index=0, id="a", name="python")),
        calls(piece('{"code": "2', index=1, id="b", name="python")),
    )

    assert not assembler.is_recoverable


def test_code_half_written_is_replaced_by_the_second_attempts() -> None:
    assembler, events = breaks(
        chunk(content="Let me see."),
        calls(piece('{"code": "a = ', index=0, id="first", name="python")),
    )

    recovered = assembler.recover(reply("I will compute.", ("python", '{"code": "b = 2"}')))

    assert events[1:] == [CallStarted(0, "first", "python", True), CallDelta(0, "a = ")]
    assert recovered == [
        CallFinished(0, "first", "python", True, "b = 2"),
        TurnFinished("tool_calls", Usage(5, 2), "m-1"),
    ]


def test_code_half_written_is_continued_where_the_second_attempt_says_the_same() -> None:
    assembler, _ = breaks(calls(piece('{"code": "a = ', index=0, id="first", name="python")))

    recovered = assembler.recover(reply(None, ("python", '{"code": "a = 1"}'), ("weather", "{}")))

    assert recovered[:2] == [
        CallDelta(0, "1"),
        CallFinished(0, "first", "python", True, "a = 1"),
    ]
    assert finished(recovered)[1] == ("weather", False, "{}")


@pytest.mark.parametrize("arguments", ["", None, '{"code": ', "{}", '{"code": 1}', "some words"])
def test_arguments_that_cannot_be_understood_are_asked_for_again(arguments: Any) -> None:
    assembler, _ = breaks(
        calls(piece(arguments, index=0, id="a", name="python")), chunk(finish="tool_calls")
    )

    recovered = assembler.recover(reply(None, ("python", {"code": "1"})))

    assert finished(recovered) == [("python", True, "1")]


def test_arguments_that_are_wrong_twice_become_a_problem_for_the_model() -> None:
    for name, text in (("python", ""), ("weather", "{}")):
        assembler, _ = breaks(
            calls(piece("[", index=0, id="a", name=name)), chunk(finish="tool_calls")
        )

        recovered = assembler.recover(reply(None, (name, "[")))

        call = next(event for event in recovered if isinstance(event, CallFinished))
        assert call.problem is not None
        assert call.text == text or call.is_code


def test_a_call_that_was_announced_and_lost_is_asked_for_again() -> None:
    assembler, _ = breaks(chunk(content="Let me see."), chunk(finish="tool_calls"))

    recovered = assembler.recover(reply("Let me look.", ("python", {"code": "1"})))

    assert text_of(recovered) == ""
    assert finished(recovered) == [("python", True, "1")]


def test_a_second_attempt_with_another_call_is_an_error() -> None:
    for other in (reply("No call."), reply(None, ("clock", "{}"))):
        assembler, _ = breaks(calls(piece('{"code": "a = ', index=0, name="python")))

        with pytest.raises(ModelProtocol):
            assembler.recover(other)


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        ({"error": {"message": "overloaded"}}, ModelRefused),
        ({"choices": []}, ModelProtocol),
        ("<html>", ModelProtocol),
    ],
)
def test_a_second_attempt_that_is_no_reply_is_an_error(answer: Any, error: type[Exception]) -> None:
    assembler, _ = breaks()

    with pytest.raises(error):
        assembler.recover(answer)


@pytest.mark.parametrize("cut", range(1, 60))
def test_a_real_stream_cut_anywhere_ends_in_the_same_call(cut: int) -> None:
    arguments = json.dumps({"code": "for i in range(3):\n    print(i, 'é😀')"})
    fragments = [arguments[at : at + 2] for at in range(0, len(arguments), 2)]
    chunks = [calls(piece("", index=0, id="a", name="python"))]
    chunks += [calls(piece(fragment, index=0)) for fragment in fragments]
    assembler = TurnAssembler(OFFER)
    events = [event for one in chunks[:cut] for event in assembler.feed(one)]
    assert isinstance(assembler.finish(), Broken)

    events += assembler.recover(reply(None, ("python", arguments)))

    code = json.loads(arguments)["code"]
    assert finished(events) == [("python", True, code)]
    assert "".join(e.text for e in events if isinstance(e, CallDelta)) == code
    assert sum(isinstance(e, CallStarted) for e in events) == 1
