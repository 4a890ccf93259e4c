"""The chat model against a real HTTP server that does what real model servers do."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import Any

import pytest

from sanderling.errors import (
    ModelError,
    ModelProtocol,
    ModelRefused,
    ModelTimeout,
    PromptTooLong,
)
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
from sanderling.models.chat import ChatModel
from sanderling.records import TextFormat, Usage
from tests.doubles.model_server import ARGUMENT_FAULTS, ModelServer, Turn

CODE = "import math\nprint(math.sqrt(2), 'é😀 \"quoted\"')"
WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
        },
    },
}


def asking(**changes: Any) -> TurnRequest:
    given: dict[str, Any] = {
        "model": "some-model",
        "messages": ({"role": "user", "content": "What is the square root of 2?"},),
        "functions": (WEATHER,),
        "offers_code": True,
    }
    return TurnRequest(**(given | changes))


@asynccontextmanager
async def playing(
    turns: Sequence[Turn], **options: Any
) -> AsyncIterator[tuple[ChatModel, ModelServer]]:
    async with ModelServer(turns) as server:
        model = ChatModel(server.base_url, api_key="sk-test", **options)
        try:
            yield model, server
        finally:
            await model.aclose()


async def answer(model: ChatModel, request: TurnRequest | None = None) -> list[ModelEvent]:
    return [event async for event in model.stream(request or asking())]


def code_of(events: list[ModelEvent]) -> list[str]:
    return [e.text for e in events if isinstance(e, CallFinished) and e.is_code]


def text_of(events: list[ModelEvent]) -> str:
    return "".join(event.text for event in events if isinstance(event, TextDelta))


async def test_a_turn_is_streamed_with_text_reasoning_code_and_usage() -> None:
    turn = Turn(reasoning="Roots need math.", text="Let me compute that.", code=CODE)

    async with playing([turn]) as (model, server):
        events = await answer(model)

    assert text_of(events) == "Let me compute that."
    thoughts = [event.text for event in events if isinstance(event, ReasoningDelta)]
    assert "".join(thoughts) == "Roots need math."
    deltas = [event.text for event in events if isinstance(event, CallDelta)]
    assert len(deltas) > 5
    assert "".join(deltas) == CODE
    assert code_of(events) == [CODE]
    assert events[-1] == TurnFinished("tool_calls", Usage(20, 10, 4, 3), "some-model")
    assert server.headers[0]["authorization"] == "Bearer sk-test"


async def test_the_request_says_what_was_asked_and_nothing_needless() -> None:
    request = asking(
        temperature=0.5,
        top_p=0.9,
        max_output_tokens=100,
        reasoning_effort="low",
        parallel_tool_calls=False,
        tool_choice="python",
        text_format=TextFormat("json_schema", name="n", schema={"type": "object"}, strict=True),
    )

    async with playing([Turn(text="a"), Turn(text="b")], execution_timeout_s=90) as (model, server):
        await answer(model, request)
        await answer(model, TurnRequest(model="m", messages=()))

    full, bare = server.requests
    tool, function = full.pop("tools")
    assert tool["function"]["name"] == "python"
    assert tool["function"]["parameters"]["required"] == ["code"]
    assert "90 seconds" in tool["function"]["description"]
    assert function == WEATHER
    assert full == {
        "model": "some-model",
        "messages": [{"role": "user", "content": "What is the square root of 2?"}],
        "temperature": 0.5,
        "top_p": 0.9,
        "max_tokens": 100,
        "reasoning_effort": "low",
        "parallel_tool_calls": False,
        "tool_choice": {"type": "function", "function": {"name": "python"}},
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "n", "schema": {"type": "object"}, "strict": True},
        },
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    assert sorted(bare) == ["messages", "model", "stream", "stream_options"]


async def test_every_request_goes_to_the_configured_model_if_there_is_one() -> None:
    async with playing([Turn(text="a")], model_name="the-one") as (model, server):
        await answer(model)

    assert server.requests[0]["model"] == "the-one"


HARMLESS_FRAMES = [
    "missing_index",
    "missing_id",
    "same_index",
    "name_in_every_chunk",
    "new_id_in_every_chunk",
    "cumulative",
    "one_delta",
    "finish_stop",
    "no_usage",
    "slow",
]
REPEATED_ARGUMENTS = [
    "empty_arguments",
    "null_arguments",
    "damaged_arguments",
    "cut_arguments",
]


@pytest.mark.parametrize(
    "fault", [*HARMLESS_FRAMES, *(set(ARGUMENT_FAULTS) - {*REPEATED_ARGUMENTS})]
)
async def test_code_that_arrives_in_odd_ways_is_understood_at_once(fault: str) -> None:
    async with playing([Turn(code=CODE, faults=(fault,))]) as (model, server):
        events = await answer(model)

    assert code_of(events) == [CODE]
    assert [e.finish for e in events if isinstance(e, TurnFinished)] == ["tool_calls"]
    assert len(server.requests) == 1


@pytest.mark.parametrize("fault", [f for f in HARMLESS_FRAMES if f != "missing_id"])
async def test_two_calls_that_arrive_in_odd_ways_stay_two(fault: str) -> None:
    turn = Turn(code=CODE, calls=({"name": "weather", "arguments": {"city": "Oslo"}},))

    async with playing([Turn(**{**vars(turn), "faults": (fault,)})]) as (model, _):
        events = await answer(model)

    finished = [(e.name, e.text) for e in events if isinstance(e, CallFinished)]
    assert finished == [("python", CODE), ("weather", '{"city": "Oslo"}')]


@pytest.mark.parametrize(
    "fault",
    [
        *REPEATED_ARGUMENTS,
        "lost_call",
        "truncated",
        "dropped",
        "error_in_stream",
        "garbage",
        "not_streaming",
        "html",
    ],
)
async def test_a_call_spoiled_by_streaming_is_asked_for_once_more_without(fault: str) -> None:
    turn = Turn(text="Let me see.", code=CODE, faults=(fault,))

    async with playing([turn]) as (model, server):
        events = await answer(model)

    assert code_of(events) == [CODE]
    assert text_of(events) == "Let me see."
    assert sum(isinstance(event, CallStarted) for event in events) == 1
    assert [request.get("stream", False) for request in server.requests] == [True, False]


@pytest.mark.parametrize("fault", REPEATED_ARGUMENTS)
async def test_a_call_spoiled_twice_is_a_problem_the_model_is_told(fault: str) -> None:
    async with playing([Turn(code=CODE, faults=(fault,), always=True)]) as (model, server):
        events = await answer(model)

    calls = [event for event in events if isinstance(event, CallFinished)]
    assert len(calls) == 1
    assert calls[0].problem is not None
    assert len(server.requests) == 2


@pytest.mark.parametrize(
    ("fault", "error", "words"),
    [
        ("truncated", ModelProtocol, "ended in the middle"),
        ("dropped", ModelProtocol, "connection"),
        ("error_in_stream", ModelRefused, "The grammar does not match the output."),
        ("garbage", ModelProtocol, "not a chat completion"),
    ],
)
async def test_an_answer_that_breaks_off_after_words_is_an_error(
    fault: str, error: type[ModelError], words: str
) -> None:
    async with playing([Turn(text="The answer is 1.4142.", faults=(fault,))]) as (model, server):
        with pytest.raises(error, match=words):
            await answer(model)

    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (400, "It does not accept this request."),
        (401, "Check the key in SANDERLING_MODEL_KEY."),
        (403, "Check the key in SANDERLING_MODEL_KEY"),
        (404, "Check --model-url and the name of the model."),
        (422, "It does not accept this request."),
        (429, "It limits how much may be asked"),
        (500, "Its own log may say why."),
    ],
)
async def test_a_refusal_says_the_servers_words_and_what_to_do(status: int, words: str) -> None:
    turn = Turn(status=status, error="The moon is full")

    async with playing([turn], max_retries=1) as (model, _):
        with pytest.raises(ModelRefused) as refusal:
            await answer(model)

    assert refusal.value.status == status
    assert refusal.value.message.startswith(
        f"The model server answered {status}: The moon is full. {words}"
    )


@pytest.mark.parametrize("status", [429, 500, 503])
async def test_a_server_that_is_busy_for_a_moment_is_asked_again(status: int) -> None:
    async with playing([Turn(text="Yes.", status=status, times=2)]) as (model, server):
        assert text_of(await answer(model)) == "Yes."

    assert len(server.requests) == 3


async def test_a_server_that_knows_no_stream_options_is_asked_without_them_from_then_on() -> None:
    turns = [Turn(text="a", faults=("no_stream_options",)), Turn(text="b")]

    async with playing(turns) as (model, server):
        first = await answer(model)
        second = await answer(model, asking(messages=({"role": "user", "content": "Again"},)))

    assert (text_of(first), text_of(second)) == ("a", "b")
    assert ["stream_options" in request for request in server.requests] == [True, False, False]


async def test_a_server_that_wants_completion_tokens_gets_them() -> None:
    request = asking(max_output_tokens=50)

    async with playing([Turn(text="a", faults=("no_max_tokens",))]) as (model, server):
        assert text_of(await answer(model, request)) == "a"

    assert server.requests[-1]["max_completion_tokens"] == 50
    assert "max_tokens" not in server.requests[-1]


@pytest.mark.parametrize("fault", ["hang", "hang_midway"])
async def test_silence_is_an_error_after_the_time_allowed(fault: str) -> None:
    turn = Turn(text="Well, let me think about it", faults=(fault,))

    async with playing([turn], timeout_s=0.3) as (model, server):
        with pytest.raises(ModelTimeout, match=r"said nothing for 0\.3 s"):
            await answer(model)

    assert len(server.requests) == 1


async def test_a_server_that_is_not_there_is_an_error_that_says_where_it_was_sought() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/v1"
        model = ChatModel(url, max_retries=0)

        with pytest.raises(ModelTimeout, match=f"{url} failed.*--model-url"):
            await answer(model)
        with pytest.raises(ModelTimeout):
            await model.names()
    await model.aclose()


async def test_a_page_of_html_is_an_error() -> None:
    async with playing([Turn(faults=("html",), always=True)]) as (model, _):
        with pytest.raises(ModelProtocol):
            await answer(model)


async def test_leaving_a_turn_closes_the_connection() -> None:
    turn = Turn(text="word " * 200, faults=("slow",))

    async with playing([turn]) as (model, server):
        async with aclosing(model.stream(asking())) as events:  # type: ignore[type-var]
            async for event in events:
                assert isinstance(event, TextDelta)
                break
        async with asyncio.timeout(10):
            await server.client_left.wait()


async def test_code_in_a_text_is_a_call_only_where_that_is_wanted() -> None:
    turn = Turn(text=f"Let me see.\n```python\n{CODE}\n```")

    async with playing([turn], text_calls=True) as (model, _):
        assert code_of(await answer(model)) == [CODE]
    async with playing([turn]) as (model, _):
        assert code_of(await answer(model)) == []


async def test_a_server_without_tools_is_told_in_text_how_to_call_where_that_is_wanted() -> None:
    turns = [Turn(text=f"```python\n{CODE}\n```", faults=("no_tools",)), Turn(text="1.4142")]
    question = {"role": "user", "content": "What is the square root of 2?"}
    call = {"name": "python", "arguments": json.dumps({"code": CODE})}
    history = (
        question,
        {"role": "assistant", "content": "So:", "tool_calls": [{"id": "a", "function": call}]},
        {"role": "tool", "tool_call_id": "a", "content": "1.4142"},
    )

    async with playing(turns, text_calls=True) as (model, server):
        first = await answer(model)
        second = await answer(model, asking(messages=history))

    assert code_of(first) == [CODE]
    assert text_of(second) == "1.4142"
    told = server.requests[-1]
    assert "tools" not in told
    assert [message["role"] for message in told["messages"]] == [
        "system",
        "user",
        "assistant",
        "user",
    ]
    assert '"weather"' in told["messages"][0]["content"]
    assert told["messages"][2]["content"] == f"So:\n```python\n{CODE}\n```"


async def test_a_server_without_tools_is_a_refusal_otherwise() -> None:
    async with playing([Turn(text="Hi.", faults=("no_tools",))]) as (model, _):
        with pytest.raises(ModelRefused, match="does not support tools"):
            await answer(model)


async def test_names_are_the_servers_models() -> None:
    async with ModelServer([], models=["a", "b"]) as server:
        model = ChatModel(server.base_url)

        assert await model.names() == ["a", "b"]
        await model.aclose()


async def test_names_of_a_server_without_a_list_are_an_error() -> None:
    async with ModelServer([]) as server:
        model = ChatModel(server.base_url + "/nowhere")

        with pytest.raises(ModelRefused, match="404"):
            await model.names()
        await model.aclose()


# ---- formats of answers ------------------------------------------------------------------------


def formatted(kind: Any) -> TurnRequest:
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}}
    return asking(text_format=TextFormat(kind, "n", schema if kind == "json_schema" else None))


@pytest.mark.parametrize(
    ("faults", "kind", "sent"),
    [
        ((), "json_schema", ["json_schema", "json_schema"]),
        (("no_schemas",), "json_schema", ["json_schema", "json_object", "json_object"]),
        (
            ("no_schemas", "no_formats"),
            "json_schema",
            ["json_schema", "json_object", None, None],
        ),
        (("no_formats",), "json_object", ["json_object", None, None]),
    ],
)
async def test_a_server_that_takes_no_format_is_told_it_in_words_from_then_on(
    faults: tuple[str, ...], kind: str, sent: list[str | None]
) -> None:
    turns = [Turn(text="{}", faults=faults), Turn(text="{}", faults=faults)]

    async with playing(turns) as (model, server):
        for _ in range(2):
            assert text_of(await answer(model, formatted(kind))) == "{}"

    kinds = [request.get("response_format", {}).get("type") for request in server.requests]
    assert kinds == sent
    system = server.requests[-1]["messages"][0]
    assert ("JSON" in system["content"]) == (bool(faults) or kind == "json_object")
    assert ('"integer"' in system["content"]) == (bool(faults) and kind == "json_schema")


async def test_a_schema_that_a_server_calls_wrong_is_kept_from_it_alone() -> None:
    refusal = "Invalid schema for response_format 'n': 'additionalProperties' is required."
    turns = [Turn(status=400, error=refusal, times=1, text="{}"), Turn(text="{}"), Turn(text="{}")]
    other = asking(text_format=TextFormat("json_schema", "other", {"type": "object"}))

    async with playing(turns) as (model, server):
        for request in (formatted("json_schema"), other, formatted("json_schema")):
            await answer(model, request)

    kinds = [request["response_format"]["type"] for request in server.requests]
    assert kinds == ["json_schema", "json_object", "json_schema", "json_object"]


# ---- too long ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "words", "is_too_long"),
    [
        (400, "This model's maximum context length is 8192 tokens. However, you sent 9000.", True),
        (400, "the request exceeds the available context size, try increasing it", True),
        (400, "prompt is too long: 210000 tokens > 200000 maximum", True),
        (413, "The input token count (9) exceeds the maximum number of tokens allowed (8).", True),
        (400, "Unknown parameter: 'foo'.", False),
        (401, "context length", False),
    ],
)
async def test_a_conversation_that_is_too_long_is_told_from_other_refusals(
    status: int, words: str, is_too_long: bool
) -> None:
    async with playing([Turn(status=status, error=words)]) as (model, _):
        with pytest.raises(ModelRefused, match=str(status)) as caught:
            await answer(model)

    assert isinstance(caught.value, PromptTooLong) == is_too_long
