"""Chat completions through the official SDK: passed on, with the code interpreter, continued."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import httpx
import openai
import pytest
from openai import OpenAI

from tests.contract.conftest import Play
from tests.contract.servers import LoopThread, PlayedModel, memory_server
from tests.doubles.model_server import Turn

CI: Any = {"type": "code_interpreter", "container": {"type": "auto"}}
LOOK_UP: Any = {
    "type": "function",
    "function": {
        "name": "look_up",
        "parameters": {"type": "object", "properties": {"word": {"type": "string"}}},
    },
}
ASK: Any = [{"role": "user", "content": "6 * 7?"}]
WRITE = "import pathlib\n_ = pathlib.Path('/mnt/data/out.csv').write_text('a,b')"
LINK = "[out](sandbox:/mnt/data/out.csv)"


@pytest.fixture(scope="module")
def chat_server(
    loop_thread: LoopThread,
    model_server: PlayedModel,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[str]:
    """A server whose code runs without a wall: what is looked at here is the wire."""
    root = tmp_path_factory.mktemp("chat_server")
    with memory_server(loop_thread, root, model_server.base_url) as base_url:
        yield base_url


@pytest.fixture
def chat(chat_server: str) -> Iterator[OpenAI]:
    with OpenAI(
        base_url=chat_server, api_key="sk-any", max_retries=0, _strict_response_validation=True
    ) as client:
        yield client


def extension(holder: Any) -> dict[str, Any]:
    """Return the field that OpenAI does not have; the SDK keeps it."""
    value = holder.model_extra["code_interpreter"]
    assert isinstance(value, dict)
    return value


def wait_for(loop_thread: LoopThread, event: asyncio.Event) -> None:
    loop_thread.run(asyncio.wait_for(event.wait(), 10))


# ---- passed on ---------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [False, True])
def test_chat_without_code_is_the_model_servers_to_the_byte(
    chat_server: str, play: Play, stream: bool
):
    body = {
        "model": "m",
        "messages": [{"role": "user", "content": "Hi"}],
        "stream": stream,
        "top_k": 3,
        "tools": [LOOK_UP],
    }
    model = play(Turn(text="Hello there."), Turn(text="Hello there."))

    ours = httpx.post(f"{chat_server}/chat/completions", json=body)
    theirs = httpx.post(f"{model.base_url}/chat/completions", json=body)

    assert ours.content == theirs.content
    assert ours.headers["content-type"] == theirs.headers["content-type"]
    assert ours.headers["x-request-id"].startswith("req_")
    assert model.requests[0] == model.requests[1] == body


def test_passed_on_answer_is_read_by_the_sdk(chat: OpenAI, play: Play):
    model = play(Turn(text="Hello."), Turn(calls=({"name": "look_up", "arguments": {}},)))

    words = [
        chunk.choices[0].delta.content or ""
        for chunk in chat.chat.completions.create(model="m", messages=ASK, stream=True)
    ]
    call = chat.chat.completions.create(model="m", messages=ASK, tools=[LOOK_UP]).choices[0]

    assert "".join(words) == "Hello."
    assert call.finish_reason == "tool_calls"
    assert model.headers[0]["authorization"] == "Bearer none"  # ours, never the client's


@pytest.mark.parametrize(
    ("turn", "kind", "words"),
    [
        (Turn(status=400, error="Too long."), openai.BadRequestError, "Too long."),
        (Turn(status=404, error="No model m."), openai.NotFoundError, "No model m."),
        (Turn(status=429, error="Slow down."), openai.RateLimitError, "Slow down."),
        (Turn(status=503, error="Loading."), openai.InternalServerError, "Loading."),
        (Turn(status=401, error="Bad key."), openai.InternalServerError, "SANDERLING_MODEL_KEY"),
        (
            Turn(faults=("html",), always=True),
            openai.InternalServerError,
            "which is no chat completion",
        ),
        (Turn(status=400, error="x" * 90_000), openai.BadRequestError, "nothing that could"),
        (Turn(status=400, error="x" * 9_000), openai.BadRequestError, "xx…"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
@pytest.mark.parametrize("stream", [False, True])
def test_error_of_the_model_server_has_openais_shape(
    chat: OpenAI,
    play: Play,
    turn: Turn,
    kind: type[openai.APIStatusError],
    words: str,
    stream: bool,
):
    play(turn)

    with pytest.raises(kind) as caught:
        chat.chat.completions.create(model="m", messages=ASK, stream=stream)

    assert words in caught.value.message
    body = caught.value.body
    assert isinstance(body, dict)
    assert set(body) == {"message", "type", "param", "code"}
    assert len(body["message"]) < 2500
    assert (caught.value.response.headers.get("retry-after-ms") == "1") is (
        turn.status in (429, 503)
    )


def test_stream_that_breaks_off_is_told(chat: OpenAI, play: Play):
    play(Turn(text="One two three four.", faults=("dropped",)))

    with pytest.raises(openai.APIError, match="broke off"):
        list(chat.chat.completions.create(model="m", messages=ASK, stream=True))


@pytest.mark.parametrize(
    ("turns", "body"),
    [
        ([Turn(faults=("hang",), always=True)], {}),
        ([Turn(text="One two three.", faults=("hang_midway",))], {"stream": True}),
        ([Turn(code="1"), Turn(faults=("hang",))], {"tools": [CI]}),
        ([Turn(code="1"), Turn(faults=("hang",))], {"tools": [CI], "stream": True}),
    ],
)
def test_client_that_leaves_ends_the_work_at_the_model_server(
    chat_server: str,
    play: Play,
    loop_thread: LoopThread,
    turns: list[Turn],
    body: dict[str, Any],
):
    model = play(*turns)
    model.client_left.clear()

    with (
        pytest.raises(httpx.ReadTimeout),
        httpx.stream(
            "POST",
            f"{chat_server}/chat/completions",
            json={"model": "m", "messages": ASK, **body},
            timeout=httpx.Timeout(10, read=0.5),
        ) as reply,
    ):
        for _ in reply.iter_bytes():
            pass

    wait_for(loop_thread, model.client_left)
    assert len(model.requests) == len(turns)


# ---- with the code interpreter -----------------------------------------------------------------


def test_code_runs_and_the_completion_tells_what_ran_and_what_was_made(client: OpenAI, play: Play):
    play(
        Turn(text="Let me see.", code="print(6 * 7)\n" + WRITE),
        Turn(text=f"It is 42: {LINK}."),
    )

    completion = client.chat.completions.create(model="m", messages=ASK, tools=[CI])

    (choice,) = completion.choices
    content = choice.message.content
    assert content == f"Let me see.\n\nIt is 42: {LINK}."
    assert choice.finish_reason == "stop"
    assert completion.usage is not None
    assert (completion.usage.prompt_tokens, completion.usage.total_tokens) == (40, 60)
    told = extension(choice.message)
    (call,) = told["calls"]
    assert (call["status"], call["code"]) == ("completed", "print(6 * 7)\n" + WRITE)
    assert call["outputs"] == [{"type": "logs", "logs": "42\n"}]
    assert call["container_id"] == told["container_id"]
    (file,) = told["files"]
    assert (file["filename"], file["bytes"]) == ("out.csv", 3)
    (annotation,) = told["annotations"]
    assert content[annotation["start_index"] : annotation["end_index"]] == (
        "sandbox:/mnt/data/out.csv"
    )
    assert annotation["file_id"] == file["id"]
    by_container = client.containers.files.content.retrieve(
        file["id"], container_id=told["container_id"]
    )
    assert by_container.read() == client.files.content(file["id"]).read() == b"a,b"


def test_stream_adds_up_to_the_completion(chat: OpenAI, play: Play):
    turns = (
        Turn(reasoning="Hm.", text="Let me see.", code="print(1)\nprint(2)\n" + WRITE),
        Turn(code="1/0"),
        Turn(text=f"Done: {LINK}."),
    )
    play(*turns)
    options: Any = {"include_usage": True}
    chunks = list(
        chat.chat.completions.create(
            model="m", messages=ASK, tools=[CI], stream=True, stream_options=options
        )
    )
    play(*turns)
    with chat.chat.completions.stream(model="m", messages=ASK, tools=[CI]) as stream:
        streamed = stream.get_final_completion()
    play(*turns)
    plain = chat.chat.completions.create(model="m", messages=ASK, tools=[CI])

    assert len({chunk.id for chunk in chunks}) == 1
    assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == "stop"
    assert chunks[0].choices[0].delta.role == "assistant"
    assert (chunks[-1].choices, chunks[-1].usage) == ([], plain.usage)
    assert all(chunk.usage is None for chunk in chunks[:-1])
    ours, whole = streamed.choices[0].message, plain.choices[0].message
    assert (ours.content, ours.role) == (whole.content, "assistant")
    for extra in (extension(ours), extension(whole)):
        assert [call["status"] for call in extra["calls"]] == ["completed", "completed"]
        assert extra["calls"][0]["outputs"][0]["logs"] == "1\n2\n"
        assert "ZeroDivisionError" in extra["calls"][1]["outputs"][0]["logs"]
        assert not any("final" in call for call in extra["calls"])
        assert [file["filename"] for file in extra["files"]] == ["out.csv"]
    assert [call["code"] for call in extension(ours)["calls"]] == [
        call["code"] for call in extension(whole)["calls"]
    ]


def test_functions_beside_code_are_continued_by_the_messages(chat: OpenAI, play: Play):
    model = play(
        Turn(code="x = 20 + 1\nprint(x)", calls=({"name": "look_up", "arguments": {"word": "a"}},)),
        Turn(code="print(x * 2)"),
        Turn(text="42."),
    )
    messages: list[Any] = [*ASK]
    first = chat.chat.completions.create(model="m", messages=messages, tools=[LOOK_UP, CI])
    message = first.choices[0].message

    assert (first.choices[0].finish_reason, message.content) == ("tool_calls", None)
    assert message.tool_calls is not None
    (call,) = message.tool_calls
    assert call.type == "function"
    assert (call.function.name, json.loads(call.function.arguments)) == ("look_up", {"word": "a"})
    messages += [message, {"role": "tool", "tool_call_id": call.id, "content": "A letter."}]
    second = chat.chat.completions.create(model="m", messages=messages, tools=[LOOK_UP, CI])

    assert second.choices[0].message.content == "42."
    again = extension(second.choices[0].message)
    assert again["calls"][0]["outputs"] == [{"type": "logs", "logs": "42\n"}]
    assert again["container_id"] == extension(message)["container_id"]
    roles = [m["role"] for m in model.requests[1]["messages"]]
    assert roles == ["system", "user", "assistant", "tool", "assistant", "tool"]
    assert [m["content"] for m in model.requests[1]["messages"] if m["role"] == "tool"] == [
        "21",
        "A letter.",
    ]


def test_function_call_is_streamed_with_its_reason(chat: OpenAI, play: Play):
    play(Turn(code="1", calls=({"name": "look_up", "arguments": {"word": "a"}},)))

    with chat.chat.completions.stream(model="m", messages=ASK, tools=[LOOK_UP, CI]) as stream:
        choice = stream.get_final_completion().choices[0]

    assert choice.finish_reason == "tool_calls"
    assert choice.message.tool_calls is not None
    assert choice.message.tool_calls[0].function.arguments == '{"word": "a"}'


def test_explicit_container_and_files_of_messages(chat: OpenAI, play: Play):
    container = chat.containers.create(name="mine")
    data: Any = {
        "type": "file",
        "file": {"filename": "in.txt", "file_data": "data:text/plain;base64,aGVsbG8="},
    }
    show = "import pathlib\nprint(pathlib.Path('/mnt/data/in.txt').read_text())"
    model = play(Turn(code=show), Turn(text="hello"))

    completion = chat.chat.completions.create(
        model="m",
        messages=[
            {"role": "developer", "content": "Be brief."},
            {"role": "user", "content": [{"type": "text", "text": "Read it."}, data]},
        ],
        tools=[{"type": "code_interpreter", "container": container.id}],  # type: ignore[list-item]
        tool_choice={"type": "code_interpreter"},  # type: ignore[arg-type]
        max_completion_tokens=500,
        seed=7,
        stop=["END"],
        extra_body={"top_k": 5},
    )

    told = extension(completion.choices[0].message)
    assert told["calls"][0]["outputs"] == [{"type": "logs", "logs": "hello\n"}]
    assert told["container_id"] == container.id
    asked = model.requests[0]
    assert (asked["seed"], asked["stop"], asked["top_k"]) == (7, ["END"], 5)
    assert asked["tool_choice"] == {"type": "function", "function": {"name": "python"}}
    assert asked["messages"][1] == {"role": "system", "content": "Be brief."}


def test_file_that_is_sent_with_every_request_is_one_file(chat: OpenAI, play: Play):
    content: Any = [
        {"type": "text", "text": "Mark it."},
        {"type": "file", "file": {"filename": "kept.txt", "file_data": "aGVsbG8="}},
    ]
    messages: list[Any] = [{"role": "user", "content": content}]
    mark = "import pathlib\n_ = pathlib.Path('/mnt/data/kept.txt').write_text('marked')"
    look = "import os, pathlib\nprint(sorted(os.listdir('/mnt/data')))\n"
    look += "print(pathlib.Path('/mnt/data/kept.txt').read_text())"
    model = play(Turn(code=mark), Turn(text="Done."), Turn(code=look), Turn(text="One."))

    for question in ("Which files are there?", None):
        completion = chat.chat.completions.create(model="m", messages=messages, tools=[CI])
        messages += [completion.choices[0].message, {"role": "user", "content": question}]

    (call,) = extension(messages[-2])["calls"]
    assert call["outputs"][0]["logs"] == "['kept.txt']\nmarked\n"
    told = [m["content"] for m in model.requests[2]["messages"] if m["role"] == "user"]
    assert told == ["Mark it.\n[files in /mnt/data: kept.txt]", "Which files are there?"]
    kept = [file for file in chat.files.list().data if file.filename == "kept.txt"]
    assert len(kept) == 1


def test_token_limit_is_told_as_the_reason(chat: OpenAI, play: Play):
    play(Turn(text="It is", finish="length"))

    completion = chat.chat.completions.create(model="m", messages=ASK, tools=[CI])

    assert completion.choices[0].finish_reason == "length"
    assert "code_interpreter" not in (completion.choices[0].message.model_extra or {})


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("turns", "kind"),
    [
        ([Turn(status=400, error="Bad schema.")], openai.BadRequestError),
        ([Turn(status=429, error="Slow down.")], openai.RateLimitError),
        ([Turn(code="1"), Turn(status=400, error="Bad schema.")], openai.APIError),
    ],
)
def test_run_that_fails_is_an_error(
    chat: OpenAI, play: Play, turns: list[Turn], kind: type[openai.APIError], stream: bool
):
    play(*turns)

    with pytest.raises(kind, match=turns[-1].error):
        list(chat.chat.completions.create(model="m", messages=ASK, tools=[CI], stream=stream))
