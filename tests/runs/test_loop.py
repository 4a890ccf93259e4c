from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from sanderling.errors import ModelProtocol, ModelRefused, ModelTimeout, PromptTooLong
from sanderling.models.base import (
    CallDelta,
    CallFinished,
    CallStarted,
    ModelEvent,
    ReasoningDelta,
    RefusalDelta,
    TextDelta,
    TurnFinished,
)
from sanderling.models.scripted import calls, code, error, function, text
from sanderling.records import (
    CodeCallItem,
    FunctionCallItem,
    FunctionOutputItem,
    FunctionTool,
    RunError,
    TextPart,
    ToolChoice,
    Usage,
)
from sanderling.runs import prompts
from sanderling.runs.events import RunChanged
from tests.runs.stage import AUTO, Stage, answer, answer_text, items, readable, request, user

WEATHER = FunctionTool("weather", "Tells the weather.", {"type": "object"}, strict=True)
USAGE = Usage(input_tokens=10, output_tokens=5)


def cut(*events: ModelEvent, finish: Any = "length") -> list[ModelEvent]:
    return [*events, TurnFinished(finish, USAGE, "scripted")]


def stop(*events: ModelEvent) -> list[ModelEvent]:
    return cut(*events, finish="stop")


def hidden_answers(stage: Stage) -> list[str]:
    """Return what the model was told of its calls in the last request."""
    messages = stage.model.requests[-1].messages
    return [m["content"] for m in messages if m["role"] == "tool"]


# ---- playbooks ---------------------------------------------------------------------------------


async def test_model_that_only_talks(stage: Stage) -> None:
    told = await stage.play([text("Hello you")], request("Hi"))

    assert readable(told) == [
        "run in_progress",
        "msg1 begins",
        "msg1 + |Hello you",
        "msg1 ends completed Hello you",
        "run completed",
    ]


async def test_model_that_thinks_speaks_runs_code_and_answers(stage: Stage) -> None:
    turns = [code("print('on')\n2 + 2", say="Let me see.", think="Sum."), text("It is 4.")]

    told = await stage.play(turns, request("2 + 2?"))

    assert readable(told) == [
        "run in_progress",
        "rs1 begins",
        "rs1 + |Sum.",
        "rs1 ends Sum.",
        "msg1 begins",
        "msg1 + |Let me see.",
        "msg1 ends completed Let me see.",
        "ci1 begins call_1 in cntr1",
        "ci1 + |print('on')\n2 + 2",
        "ci1 written print('on')\n2 + 2",
        "ci1 [0] stdout:on",
        "ci1 [0] stdout:",
        "ci1 [1] result:4",
        "ci1 ends completed ok stdout:on result:4",
        "msg2 begins",
        "msg2 + |It is 4.",
        "msg2 ends completed It is 4.",
        "run completed",
    ]


async def test_model_that_corrects_its_code(stage: Stage) -> None:
    turns = [code("1 / 0"), code("1 / 2", call_id="call_2"), text("A half.")]

    told = await stage.play(turns, request("1 / 0?"))

    assert readable(told) == [
        "run in_progress",
        "ci1 begins call_1 in cntr1",
        "ci1 + |1 / 0",
        "ci1 written 1 / 0",
        "ci1 [0] error:ZeroDivisionError",
        "ci1 ends completed error error:ZeroDivisionError",
        "ci2 begins call_2 in cntr1",
        "ci2 + |1 / 2",
        "ci2 written 1 / 2",
        "ci2 [0] result:0.5",
        "ci2 ends completed ok result:0.5",
        "msg1 begins",
        "msg1 + |A half.",
        "msg1 ends completed A half.",
        "run completed",
    ]
    assert "ZeroDivisionError: division by zero" in hidden_answers(stage)[0]


async def test_calls_of_one_turn_run_one_after_the_other(stage: Stage) -> None:
    told = await stage.play([calls("x = 1", "x + 1"), text("2")], request("?"))

    assert readable(told)[1:9] == [
        "ci1 begins call_1 in cntr1",
        "ci1 + |x = 1",
        "ci1 written x = 1",
        "ci1 ends completed ok",
        "ci2 begins call_2 in cntr1",
        "ci2 + |x + 1",
        "ci2 written x + 1",
        "ci2 [0] result:2",
    ]


async def test_text_before_between_and_after_calls_are_messages_of_their_own(
    stage: Stage,
) -> None:
    turn = cut(
        TextDelta("First."),
        CallStarted(0, "call_1", "python", True),
        CallFinished(0, "call_1", "python", True, "1"),
        TextDelta("Then."),
        CallStarted(1, "call_2", "python", True),
        CallFinished(1, "call_2", "python", True, "2"),
        TextDelta("Last."),
        finish="tool_calls",
    )

    told = await stage.play([turn, text("Done.")], request("?"))

    assert [line for line in readable(told) if "ends" in line] == [
        "msg1 ends completed First.",
        "ci1 ends completed ok result:1",
        "msg2 ends completed Then.",
        "ci2 ends completed ok result:2",
        "msg3 ends completed Last.",
        "msg4 ends completed Done.",
    ]


async def test_blank_lines_before_a_call_are_no_message(stage: Stage) -> None:
    told = await stage.play([code("1", say="\n\n"), text("1")], request("?"))

    assert [item.type for item in items(told)] == ["code_call", "message"]


async def test_blank_lines_before_words_are_kept(stage: Stage) -> None:
    told = await stage.play([stop(TextDelta("\n"), TextDelta("Hi"))], request("?"))

    assert answer_text(told) == "\nHi"


async def test_refusal_is_a_message_of_its_own(stage: Stage) -> None:
    told = await stage.play([stop(TextDelta("Hm."), RefusalDelta("I will not."))], request("?"))

    assert readable(told)[1:7] == [
        "msg1 begins",
        "msg1 + |Hm.",
        "msg1 ends completed Hm.",
        "msg2 begins",
        "msg2 refuses + |I will not.",
        "msg2 ends completed I will not.",
    ]


async def test_usage_is_summed_over_the_turns(stage: Stage) -> None:
    told = await stage.play([code("1"), text("1")], request("?"))

    assert told[-1] == RunChanged("completed", stage.clock.at, USAGE + USAGE)


# ---- what the model gets wrong -----------------------------------------------------------------


async def test_call_that_nobody_can_make_sense_of_is_told_and_not_run(stage: Stage) -> None:
    turn = cut(
        CallStarted(0, "call_1", "python", True),
        CallFinished(0, "call_1", "python", True, "{'co", problem="The arguments are cut off."),
        finish="tool_calls",
    )

    told = await stage.play([turn, text("Sorry.")], request("?"))

    assert readable(told)[1:5] == [
        "ci1 begins call_1 in cntr1",
        "ci1 written {'co",
        "ci1 [0] error:InvalidCall",
        "ci1 ends incomplete None error:InvalidCall",
    ]
    assert hidden_answers(stage) == ["The arguments are cut off."]
    assert not [call for call in stage.sandbox.calls if call[0] == "execute"]


async def test_tool_that_does_not_exist_is_answered_to_the_model_alone(stage: Stage) -> None:
    turns = [function("search", {"q": "x"}), text("I cannot search.")]

    told = await stage.play(turns, request("?", tools=(AUTO, WEATHER)))

    assert [item.type for item in items(told)] == ["message"]
    assert hidden_answers(stage) == [
        "There is no tool called 'search'. Tools you can call: python, weather."
    ]


async def test_code_is_not_run_when_the_client_did_not_offer_it(stage: Stage) -> None:
    told = await stage.play([code("1"), text("No.")], request("?", tools=()))

    assert [item.type for item in items(told)] == ["message"]
    assert hidden_answers(stage) == ["There is no tool called 'python'. Tools you can call: none."]
    assert stage.sandbox.calls == []


async def test_arguments_of_a_hidden_call_are_replayed_as_clean_json(stage: Stage) -> None:
    turn = cut(
        CallStarted(0, "call_1", "search", False),
        CallDelta(0, "not json"),
        CallFinished(0, "call_1", "search", False, "not json"),
        finish="tool_calls",
    )

    await stage.play([turn, text("No.")], request("?"))

    [call] = stage.model.requests[-1].messages[-2]["tool_calls"]
    assert call["function"]["arguments"] == '{"input": "not json"}'


async def test_empty_answer_is_nudged_once(stage: Stage) -> None:
    told = await stage.play([stop(), text("Here.")], request("?"))

    assert answer_text(told) == "Here."
    assert stage.model.requests[-1].messages[-1] == {
        "role": "user",
        "content": prompts.ANSWER_EMPTY,
    }


async def test_second_empty_answer_ends_the_run_with_an_empty_message(stage: Stage) -> None:
    told = await stage.play([stop(ReasoningDelta("Hm.")), stop()], request("?"))

    assert readable(told)[4:] == ["msg1 begins", "msg1 ends completed ", "run completed"]


async def test_calls_made_though_the_client_forbade_them_are_not_run(stage: Stage) -> None:
    told = await stage.play([code("1"), text("No.")], request("?", tool_choice=ToolChoice("none")))

    assert [item.type for item in items(told)] == ["message"]
    assert [r.tool_choice for r in stage.model.requests] == ["none", "none"]
    assert hidden_answers(stage) == [prompts.CALLS_OFF]


async def test_turn_without_an_end_fails_the_run_and_leaves_no_open_item(stage: Stage) -> None:
    told = await stage.play([[TextDelta("Half")]], request("?"))

    assert readable(told)[2:] == [
        "msg1 + |Half",
        "msg1 ends incomplete Half",
        "run failed server_error",
    ]


# ---- limits ------------------------------------------------------------------------------------


async def test_answer_cut_by_the_token_limit_is_incomplete(stage: Stage) -> None:
    told = await stage.play([cut(TextDelta("Once upon"))], request("?"))

    assert readable(told)[3:] == [
        "msg1 ends incomplete Once upon",
        "run incomplete max_output_tokens",
    ]


async def test_answer_cut_by_a_content_filter_is_incomplete(stage: Stage) -> None:
    told = await stage.play([cut(TextDelta("Once"), finish="content_filter")], request("?"))

    assert readable(told)[-1] == "run incomplete content_filter"


async def test_code_cut_by_the_token_limit_is_never_run(stage: Stage) -> None:
    turn = cut(
        CallStarted(0, "call_1", "python", True),
        CallDelta(0, "import os"),
        CallFinished(0, "call_1", "python", True, "import os"),
    )

    told = await stage.play([turn], request("?"))

    assert readable(told)[1:] == [
        "ci1 begins call_1 in cntr1",
        "ci1 + |import os",
        "ci1 ends incomplete None",
        "run incomplete max_output_tokens",
    ]
    assert not [call for call in stage.sandbox.calls if call[0] == "execute"]


async def test_token_limit_holds_for_the_whole_run(stage: Stage) -> None:
    told = await stage.play(
        [code("1"), code("2"), text("never")], request("?", max_output_tokens=10)
    )

    assert [r.max_output_tokens for r in stage.model.requests] == [10, 5]
    assert readable(told)[-1] == "run incomplete max_output_tokens"


async def test_calls_past_max_tool_calls_are_not_run_and_the_model_answers(stage: Stage) -> None:
    told = await stage.play(
        [calls("1", "2", "3"), text("1 and 2.")], request("?", max_tool_calls=2)
    )

    assert [item.type for item in items(told)] == ["code_call", "code_call", "message"]
    assert hidden_answers(stage)[-1] == prompts.CALLS_USED_UP
    assert stage.model.requests[-1].tool_choice == "none"


async def test_clients_functions_stay_when_the_code_calls_are_used_up(stage: Stage) -> None:
    await stage.play([code("1"), text("1")], request("?", tools=(AUTO, WEATHER), max_tool_calls=1))

    last = stage.model.requests[-1]
    assert (last.offers_code, last.tool_choice, len(last.functions)) == (False, "auto", 1)


async def test_model_that_never_stops_is_asked_to_answer_in_its_last_turn(stage: Stage) -> None:
    turns = [code("1"), code("2"), text("Enough.")]

    told = await stage.play(turns, request("?"), max_turns=3)

    assert answer_text(told) == "Enough."
    last = stage.model.requests[-1]
    assert last.tool_choice == "none"
    assert last.messages[-1]["content"] == prompts.ANSWER_NOW


async def test_model_that_does_not_answer_in_its_last_turn_fails_the_run(stage: Stage) -> None:
    told = await stage.play([code("1"), code("2"), code("3")], request("?"), max_turns=3)

    assert readable(told)[-1] == "run failed server_error"
    assert told[-1].error == RunError(  # type: ignore[union-attr]
        "server_error", "The model came to no answer within 3 turns."
    )


# ---- tool choice and the client's functions ----------------------------------------------------


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        (ToolChoice("auto"), "auto"),
        (ToolChoice("required"), "required"),
        (ToolChoice("code"), "python"),
        (ToolChoice("function", "weather"), "weather"),
    ],
)
async def test_forced_call_is_forced_in_the_first_turn_only(
    stage: Stage, choice: ToolChoice, expected: str
) -> None:
    await stage.play(
        [code("1"), text("1")], request("?", tools=(AUTO, WEATHER), tool_choice=choice)
    )

    assert [r.tool_choice for r in stage.model.requests] == [expected, "auto"]


async def test_clients_function_ends_the_run_with_the_call_pending(stage: Stage) -> None:
    told = await stage.play(
        [function("weather", {"city": "Bern"})], request("?", tools=(AUTO, WEATHER))
    )

    assert readable(told) == [
        "run in_progress",
        "fc1 begins call_1 weather",
        'fc1 + |{"city": "Bern"}',
        'fc1 ends completed weather({"city": "Bern"})',
        "run completed",
    ]


async def test_call_of_a_clients_function_that_nobody_can_read_goes_back_to_the_model(
    stage: Stage,
) -> None:
    garbled = cut(
        CallStarted(0, "call_1", "weather", False),
        CallFinished(0, "call_1", "weather", False, "{}", problem="That is not JSON."),
        finish="tool_calls",
    )

    told = await stage.play([garbled, text("Sorry.")], request("?", tools=(AUTO, WEATHER)))

    assert "fc1 ends incomplete weather({})" in readable(told)
    assert answer_text(told) == "Sorry."
    assert stage.model.requests[-1].messages[-1] == {
        "role": "tool",
        "tool_call_id": "call_1",
        "content": "That is not JSON.",
    }


async def test_code_of_a_turn_with_a_clients_function_is_run_before_the_run_ends(
    stage: Stage,
) -> None:
    turn = cut(
        CallStarted(0, "call_1", "weather", False),
        CallFinished(0, "call_1", "weather", False, "{}"),
        CallStarted(1, "call_2", "python", True),
        CallFinished(1, "call_2", "python", True, "6 * 7"),
        finish="tool_calls",
    )

    told = await stage.play([turn], request("?", tools=(AUTO, WEATHER)))

    assert [line for line in readable(told) if "ends" in line] == [
        "fc1 ends completed weather({})",
        "ci1 ends completed ok result:42",
    ]
    assert readable(told)[-1] == "run completed"


async def test_functions_answer_reaches_the_model_in_the_next_run(stage: Stage) -> None:
    run, told = await stage.run(
        [function("weather", {"city": "Bern"})], request("?", tools=(AUTO, WEATHER))
    )
    [call] = items(told)
    assert isinstance(call, FunctionCallItem)

    answer = FunctionOutputItem("fco_1", call.call_id, "Sunny.")
    await stage.play(
        [text("Sunny.")], request(input=(answer,), tools=(WEATHER,), previous_run_id=run.id)
    )

    assert list(stage.model.requests[-1].messages) == [
        {"role": "user", "content": "?"},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {
                    "id": "call_1",
                    "type": "function",
                    "function": {"name": "weather", "arguments": '{"city": "Bern"}'},
                }
            ],
        },
        {"role": "tool", "tool_call_id": "call_1", "content": "Sunny."},
    ]


async def test_request_reaches_the_model_as_it_was_made(stage: Stage) -> None:
    asked = request(
        "?",
        tools=(AUTO, WEATHER),
        temperature=0.5,
        top_p=0.9,
        parallel_tool_calls=False,
        reasoning_effort="low",
        instructions="Be brief.",
    )

    await stage.play([text("Ok.")], asked)

    [turn] = stage.model.requests
    assert (turn.model, turn.temperature, turn.top_p) == ("gpt-4.1", 0.5, 0.9)
    assert (turn.parallel_tool_calls, turn.reasoning_effort) == (False, "low")
    assert turn.text_format == asked.text_format
    assert turn.offers_code
    assert turn.functions == (
        {
            "type": "function",
            "function": {
                "name": "weather",
                "description": "Tells the weather.",
                "parameters": {"type": "object"},
                "strict": True,
            },
        },
    )
    system = turn.messages[0]
    assert system["role"] == "system"
    assert "/mnt/data" in system["content"]
    assert system["content"].endswith("\n\nBe brief.")


# ---- failures ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("problem", "code", "message"),
    [
        (ModelRefused("Slow down.", status=429), "rate_limit_exceeded", "Slow down."),
        (ModelRefused("Too long.", status=400), "invalid_prompt", "Too long."),
        (ModelRefused("No key.", status=401), "server_error", "No key."),
        (ModelRefused("Broken.", status=500), "server_error", "Broken."),
        (ModelTimeout("Silence."), "server_error", "Silence."),
        (ModelProtocol("Nonsense."), "server_error", "Nonsense."),
    ],
)
async def test_model_servers_fault_fails_the_run_and_says_why(
    stage: Stage, problem: Any, code: str, message: str
) -> None:
    told = await stage.play([error(problem, say="Let me")], request("?"))

    assert readable(told)[1:4] == [
        "msg1 begins",
        "msg1 + |Let me",
        "msg1 ends incomplete Let me",
    ]
    assert told[-1] == RunChanged("failed", stage.clock.at, None, error=RunError(code, message))


async def test_sandbox_that_is_down_fails_the_run_and_the_call(stage: Stage) -> None:
    class Down:
        """A model that finds the sandbox down when its code is written."""

        async def stream(self, turn: Any) -> Any:
            for event in code("1"):
                if isinstance(event, CallFinished):
                    stage.sandbox.go_down()
                yield event

    told = await stage.play(Down(), request("?"))  # type: ignore[arg-type]

    assert readable(told)[-2:] == ["ci1 ends failed None", "run failed server_error"]


# ---- files -------------------------------------------------------------------------------------


async def test_linked_file_is_cited_where_it_is_linked(stage: Stage) -> None:
    words = "Here: [chart](sandbox:/mnt/data/chart.png)."

    told = await stage.play([code("save('chart.png', 'x')"), text(words)], request("?"))

    [part] = answer(told).parts
    assert isinstance(part, TextPart)
    [citation] = part.citations
    assert words[citation.start : citation.end] == "sandbox:/mnt/data/chart.png"
    assert citation.filename == "chart.png"


async def test_files_nobody_linked_are_cited_at_the_end_figures_first(stage: Stage) -> None:
    turns = [
        code("save('a.csv', 'x'); show(b'PNG')", say="Working: sandbox:/mnt/data/none.csv"),
        text("Done."),
    ]

    told = await stage.play(turns, request("?"))

    first, last = (item for item in items(told) if item.type == "message")
    assert first.parts[0].citations == ()  # type: ignore[union-attr]
    assert [
        (c.filename, c.start, c.end)
        for c in last.parts[0].citations  # type: ignore[union-attr]
    ] == [("figure_1.png", 0, 0), ("a.csv", 0, 0)]


async def test_file_that_later_code_removed_is_not_cited(stage: Stage) -> None:
    turns = [
        code("save('a.csv', 'x')"),
        code("import os; os.remove('/mnt/data/a.csv')"),
        text("See sandbox:/mnt/data/a.csv"),
    ]

    told = await stage.play(turns, request("?"))

    assert answer(told).parts[0].citations == ()  # type: ignore[union-attr]


async def test_files_are_cited_though_the_model_has_nothing_to_say(stage: Stage) -> None:
    told = await stage.play([code("save('a.csv', 'x')"), stop(), stop()], request("?"))

    [part] = answer(told).parts
    assert isinstance(part, TextPart)
    assert (part.text, [c.filename for c in part.citations]) == ("", ["a.csv"])


async def test_files_made_before_a_clients_function_are_cited_when_the_run_goes_on(
    stage: Stage,
) -> None:
    turn = cut(
        *code("save('a.csv', 'x')")[:-1],  # type: ignore[arg-type]
        CallStarted(1, "call_2", "weather", False),
        CallFinished(1, "call_2", "weather", False, "{}"),
        finish="tool_calls",
    )
    run, _ = await stage.run([turn], request("?", tools=(AUTO, WEATHER)))
    output = FunctionOutputItem("fco_1", "call_2", "Sunny.")

    told = await stage.play(
        [text("Done.")],
        request(input=(output,), tools=(AUTO, WEATHER), previous_run_id=run.id),
    )

    assert [c.filename for c in answer(told).parts[0].citations] == ["a.csv"]  # type: ignore[union-attr]


async def test_limit_hit_by_code_is_a_failed_call_and_told_to_the_model(stage: Stage) -> None:
    turns = [code("import asyncio; await asyncio.sleep(60)"), text("Too slow.")]

    told = await stage.play(turns, request("?"), execution_timeout_s=0.01)

    [call, _] = items(told)
    assert isinstance(call, CodeCallItem)
    assert (call.status, call.execution_status) == ("failed", "timed_out")
    assert hidden_answers(stage) == ["The code ran longer than 0.01 s."]


async def test_what_the_model_reads_in_a_later_run_is_what_it_read_in_the_run(
    stage: Stage,
) -> None:
    run, _ = await stage.run([code("show(b'PNG'); 2 + 2"), text("4")], request("?"))
    in_the_run = stage.model.requests[-1].messages

    await stage.play([text("Yes.")], replace(request("Sure?"), previous_run_id=run.id))

    assert stage.model.requests[-1].messages == (
        *in_the_run,
        {"role": "assistant", "content": "4"},
        {"role": "user", "content": "Sure?"},
    )


async def test_no_event_is_empty(stage: Stage) -> None:
    turns = [code("1", say="Well."), cut(TextDelta("One"), TextDelta(" and"))]

    told = await stage.play(turns, request("?"))

    assert "" not in [getattr(event, "delta", None) for event in told]


# ---- conversations that are too long -----------------------------------------------------------


TOO_LONG = error(PromptTooLong("Too long.", status=400))


async def test_oldest_items_are_left_out_until_the_model_takes_it(stage: Stage) -> None:
    given = tuple(user(str(n), id=f"msg_{n}") for n in range(5))
    turns = [TOO_LONG, TOO_LONG, code("print('x' * 3000)"), TOO_LONG, TOO_LONG, text("Hi.")]

    run, told = await stage.run(turns, request(input=given, truncation="auto"))

    assert (run.status, answer_text(told)) == ("completed", "Hi.")
    asked = [
        [m["content"] for m in sent.messages if m["role"] == "user"]
        for sent in stage.model.requests
    ]
    assert asked == [["0", "1", "2", "3", "4"], ["3", "4"], ["4"], ["4"], ["4"], ["4"]]
    output = [len(sent.messages[-1]["content"]) for sent in stage.model.requests[3:]]
    assert output[0] == output[1] == 3000  # 20,000 characters are shown at first, then 5,000
    assert output[2] < 2000


@pytest.mark.parametrize(("truncation", "times"), [("disabled", 1), ("auto", 4)])
async def test_conversation_that_stays_too_long_fails_and_says_what_helps(
    stage: Stage, truncation: str, times: int
) -> None:
    run, told = await stage.run([TOO_LONG] * 9, request("Hi", truncation=truncation))

    assert (run.status, len(stage.model.requests), items(told)) == ("failed", times, [])
    assert run.error is not None
    assert run.error.code == "invalid_prompt"
    assert ("'truncation' set to 'auto'" in run.error.message) == (truncation == "disabled")
