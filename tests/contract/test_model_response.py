"""`POST /v1/model/response` over a real socket: the examples of its documentation, and errors."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from sanderling.api.services import Services
from sanderling.ids import new_id
from sanderling.records import ApiKey
from sanderling.store.keys import digest_of
from tests.contract.conftest import Play
from tests.contract.servers import LoopThread, PlayedModel, memory_server
from tests.doubles.model_server import Turn

QUESTION = "What is the compound interest on $10,000 at 7% for 20 years?"
INTEREST = "result = 10000 * 1.07 ** 20\nprint(f'${result:,.2f}')"
ASK: dict[str, Any] = {
    "organization_id": "org_your_org_id",
    "assistant_id": "asst_abc123",
    "tools": [{"type": "code_interpreter"}],
    "inputs": [{"role": "user", "content": QUESTION}],
}
ONE = {"inputs": ASK["inputs"]}
CI = {"type": "code_interpreter"}


def ask(base_url: str, body: Any, **kwargs: Any) -> httpx.Response:
    return httpx.post(f"{base_url}/model/response", json=body, timeout=60, **kwargs)


def events_of(text: str) -> list[tuple[str, dict[str, Any]]]:
    events = []
    for block in text.split("\n\n")[:-1]:
        name, data = block.split("\n")
        events.append((name.removeprefix("event: "), json.loads(data.removeprefix("data: "))))
    return events


def containers(base_url: str) -> list[Any]:
    data: list[Any] = httpx.get(f"{base_url}/containers").json()["data"]
    return data


@pytest.fixture(scope="module")
def server(
    loop_thread: LoopThread, model_server: PlayedModel, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    root = tmp_path_factory.mktemp("model_response_server")
    with memory_server(loop_thread, root, model_server.base_url) as base_url:
        yield base_url


# ---- with real boxes too -----------------------------------------------------------------------


def test_the_documented_example(live_server: str, play: Play):
    play(Turn(code=INTEREST), Turn(text="$10,000 at 7% for 20 years grows to $38,696.84."))
    before = containers(live_server)

    reply = ask(live_server, ASK)

    assert reply.status_code == 200
    response = reply.json()
    call, message = response["output"]
    assert call == {
        "type": "code_interpreter_call",
        "id": call["id"],
        "status": "completed",
        "code": INTEREST,
        "outputs": [{"type": "text", "text": "$38,696.84"}],
    }
    assert call["id"].startswith("ci_")
    assert message["content"] == [
        {"type": "output_text", "text": "$10,000 at 7% for 20 years grows to $38,696.84."}
    ]
    assert (message["type"], message["role"]) == ("message", "assistant")
    assert (response["success"], response["status"]) == (True, "completed")
    assert (response["organization_id"], response["assistant_id"]) == (
        "org_your_org_id",
        "asst_abc123",
    )
    assert response["usage"] == {"input_tokens": 40, "output_tokens": 20, "total_tokens": 60}
    assert containers(live_server) == before  # nobody was told of one, so none is left


@pytest.mark.sandbox
@pytest.mark.parametrize("live_server", ["real"], indirect=True)
def test_code_reads_the_files_it_is_given_and_writes_none(live_server: str, play: Play):
    files = {"file": ("sales.csv", b"a,b\n1,2\n")}
    uploaded = httpx.post(f"{live_server}/files", files=files, data={"purpose": "user_data"})
    content = [
        {"type": "text", "text": "Add it up."},
        {"type": "file", "file_id": uploaded.json()["id"]},
    ]
    read = "print(open('/mnt/data/sales.csv').read())"
    write = "for at in ('/mnt/data/x', '/tmp/x'):\n    try:\n        open(at, 'w')\n"
    write += "    except OSError as error:\n        print(type(error).__name__, at)"
    model = play(Turn(code=read), Turn(code=write), Turn(code="open('x', 'w')"), Turn(text="3."))

    tools = [{"type": "code_interpreter", "mode": "on"}, {"type": "file_retrieval"}]
    inputs = [{"role": "user", "content": content}]
    calls = ask(live_server, {"inputs": inputs, "tools": tools}).json()["output"][:3]

    outputs = [call["outputs"][0]["text"] for call in calls]
    assert outputs[0] == "a,b\n1,2\n"
    assert [line.split()[1] for line in outputs[1].splitlines()] == ["/mnt/data/x", "/tmp/x"]
    assert "Error" in outputs[2]
    system = model.requests[0]["messages"][0]["content"]
    assert "No file can be written" in system
    assert "at most 30 seconds" in system
    assert "A call may take 30 seconds" in json.dumps(model.requests[0]["tools"])


# ---- the tool and its mode ---------------------------------------------------------------------

OFF, AUTO, ON = "off", "auto", "on"


@pytest.mark.parametrize(
    ("fields", "mode"),
    [
        ({}, OFF),
        ({"tools": []}, OFF),
        ({"tools": [CI]}, AUTO),
        ({"tools": [{**CI, "mode": None}]}, AUTO),
        ({"tools": [{**CI, "mode": "auto"}]}, AUTO),
        ({"tools": [{**CI, "mode": "on"}]}, ON),
        ({"tools": [{**CI, "mode": "off"}]}, OFF),
        ({"tools": [{"type": "file_retrieval"}]}, OFF),
        ({"system_tools": {"code_interpreter": {"enabled": True}}}, AUTO),
        ({"system_tools": {"code_interpreter": {"enabled": False}}}, OFF),
        ({"system_tools": {"code_interpreter": {"mode": "auto"}}}, AUTO),
        ({"system_tools": {"code_interpreter": {"mode": "on"}}}, ON),
        ({"system_tools": {"code_interpreter": {"mode": "off"}}}, OFF),
        ({"system_tools": {"code_interpreter": {"mode": "on", "enabled": False}}}, OFF),
        ({"system_tools": {"code_interpreter": {"mode": "on", "enabled": True}}}, ON),
        ({"system_tools": {}}, OFF),
        ({"tools": [CI], "system_tools": {"code_interpreter": {"mode": "on"}}}, ON),
        ({"tools": [CI], "system_tools": {"code_interpreter": {"enabled": False}}}, OFF),
        ({"tools": [{**CI, "mode": "on"}], "system_tools": {"code_interpreter": {}}}, ON),
        (
            {
                "tools": [{**CI, "mode": "auto"}],
                "system_tools": {"code_interpreter": {"mode": "off"}},
            },
            AUTO,
        ),
    ],
)
def test_mode_in_every_spelling(server: str, play: Play, fields: dict[str, Any], mode: str):
    model = play(Turn(text="Hi."))

    assert ask(server, {**ONE, **fields}).status_code == 200

    asked = model.requests[0]
    assert ("tools" in asked) is (mode != OFF)
    forced = {"type": "function", "function": {"name": "python"}}
    assert asked.get("tool_choice") == (forced if mode == ON else None)


def test_inputs_in_every_spelling(server: str, play: Play):
    model = play(Turn(text="Hi."))
    inputs = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "texts": [{"text": "One."}, {"text": "Two."}]},
        {"role": "assistant", "content": "Three."},
        {"content": [{"type": "text", "text": "Four."}]},
    ]

    reply = ask(server, {"model": "m", "inputs": inputs, "instructions": "Rhyme.", "rules": [1]})

    assert reply.json()["model"] == "m"
    assert [(m["role"], m["content"]) for m in model.requests[0]["messages"]] == [
        ("system", "Rhyme."),
        ("system", "Be brief."),
        ("user", "One.\nTwo."),
        ("assistant", "Three."),
        ("user", "Four."),
    ]


# ---- streams -----------------------------------------------------------------------------------


def test_stream_tells_every_item_and_adds_up(server: str, play: Play):
    play(Turn(code=INTEREST), Turn(text="It grows to $38,696.84."))

    reply = ask(server, {**ASK, "stream": True})

    assert reply.headers["content-type"].startswith("text/event-stream")
    events = events_of(reply.text)
    names = [name for name, _ in events if name != "response.output_text.delta"]
    assert names == [
        "response.created",
        "response.output_item.added",
        "response.output_item.done",
        "response.output_item.added",
        "response.output_text.done",
        "response.output_item.done",
        "response.completed",
    ]
    assert events[0][1] == {"id": events[0][1]["id"], "status": "in_progress"}
    call = events[2][1]
    assert (call["index"], call["item"]["code"]) == (0, INTEREST)
    assert call["item"]["outputs"] == [{"type": "text", "text": "$38,696.84"}]
    deltas = [data for name, data in events if name == "response.output_text.delta"]
    assert {delta["index"] for delta in deltas} == {1}
    assert "".join(delta["delta"] for delta in deltas) == "It grows to $38,696.84."
    assert (events[-3][1]["text"], events[-1][1]["status"]) == (
        "It grows to $38,696.84.",
        "completed",
    )
    assert events[-1][1]["usage"]["total_tokens"] == 60
    assert containers(server) == []


def test_failure_in_the_middle_of_a_stream_is_its_last_event(server: str, play: Play):
    play(Turn(code="1"), Turn(status=400, error="Bad schema."))

    events = events_of(ask(server, {**ASK, "stream": True}).text)

    name, data = events[-1]
    assert (name, data["status"]) == ("response.failed", "failed")
    assert (data["error"]["status"], data["error"]["code"]) == (422, "INVALID_PROMPT")
    assert "Bad schema." in data["error"]["message"]


# ---- errors ------------------------------------------------------------------------------------


def checked_error(reply: httpx.Response) -> dict[str, Any]:
    """Return the error of a reply, checking its envelope."""
    body = reply.json()
    assert set(body) == {"success", "error"}
    assert body["success"] is False
    error: dict[str, Any] = body["error"]
    assert set(error) == {
        *("code", "message", "system_message", "type", "status"),
        *("details", "trace_id", "timestamp"),
    }
    assert error["status"] == reply.status_code
    assert error["trace_id"] == reply.headers["x-request-id"]
    assert error["timestamp"].endswith("Z")
    return error


def inputs(*values: Any) -> dict[str, Any]:
    return {"inputs": list(values)}


def tools(*values: Any) -> dict[str, Any]:
    return {**ONE, "tools": list(values)}


MISSING, TYPE, VALUE = "MISSING_REQUIRED_PARAMETER", "INVALID_TYPE", "INVALID_VALUE"


@pytest.mark.parametrize(
    ("body", "status", "code", "param", "words"),
    [
        ([], 422, TYPE, None, "expected an object"),
        ({}, 422, MISSING, "inputs", "'inputs'"),
        ({"inputs": []}, 422, "EMPTY_ARRAY", "inputs", "minimum length 1"),
        ({"inputs": "Hi"}, 422, TYPE, "inputs", "expected an array"),
        (inputs("Hi"), 422, TYPE, "inputs[0]", "expected an object"),
        (inputs({}), 422, MISSING, "inputs[0].content", "'inputs[0].content'"),
        (inputs({"role": "bot", "content": "x"}), 422, VALUE, "inputs[0].role", "'assistant'"),
        (inputs({"content": 5}), 422, TYPE, "inputs[0].content", "content parts"),
        (inputs({"texts": []}), 422, "EMPTY_ARRAY", "inputs[0].texts", "minimum length 1"),
        (
            inputs({"content": [{"type": "audio"}]}),
            422,
            VALUE,
            "inputs[0].content[0].type",
            "'text' and 'file'",
        ),
        (
            inputs({"content": [{"type": "file", "file_id": "file-none"}]}),
            404,
            "NOT_FOUND",
            "inputs[0].content[0].file_id",
            "No such File object: file-none",
        ),
        (tools({"type": "web_search"}), 422, VALUE, "tools[0].type", "'file_retrieval'"),
        (tools({**CI, "mode": "maybe"}), 422, VALUE, "tools[0].mode", "'auto', 'on', and 'off'"),
        (tools(CI, CI), 422, VALUE, "tools[1]", "only one"),
        (
            {**ONE, "system_tools": {"code_interpreter": {"enabled": "yes"}}},
            422,
            TYPE,
            "system_tools.code_interpreter.enabled",
            "expected a boolean",
        ),
        ({**ONE, "stream": "yes"}, 422, TYPE, "stream", "expected a boolean"),
        ({**ONE, "organization_id": 5}, 422, TYPE, "organization_id", "expected a string"),
        ({**ONE, "assistant_id": ""}, 422, "STRING_BELOW_MIN_LENGTH", "assistant_id", "too short"),
        ({**ONE, "temperature": 9}, 422, "DECIMAL_ABOVE_MAX_VALUE", "temperature", "<= 2"),
    ],
)
def test_wrong_request_is_told_in_the_envelope(
    server: str, body: Any, status: int, code: str, param: str | None, words: str
):
    reply = ask(server, body)

    error = checked_error(reply)
    assert (error["status"], error["code"]) == (status, code)
    assert error["details"] == ({} if param is None else {"param": param})
    assert words in error["message"]
    assert error["type"] == ("not_found_error" if status == 404 else "validation_error")


@pytest.mark.parametrize(
    ("content", "kind", "code"),
    [
        (b"{", "application/json", "INVALID_JSON"),
        (b"\xff", "application/json", "INVALID_JSON"),
        (b"{}", "text/plain", "UNSUPPORTED_CONTENT_TYPE"),
    ],
)
def test_body_that_is_no_json(server: str, content: bytes, kind: str, code: str):
    reply = httpx.post(f"{server}/model/response", content=content, headers={"content-type": kind})

    assert (checked_error(reply)["code"], reply.status_code) == (code, 422)


def test_model_server_that_refuses_is_told_in_the_envelope(server: str, play: Play):
    play(Turn(status=429, error="Slow down."))
    limited = ask(server, {**ASK, "stream": True})
    play(Turn(status=503, error="Loading."))
    down = ask(server, ASK)

    assert (limited.status_code, checked_error(limited)["code"]) == (429, "RATE_LIMIT_EXCEEDED")
    assert (down.status_code, checked_error(down)["code"]) == (500, "SERVER_ERROR")


def test_client_that_leaves_ends_the_run_and_its_container(
    server: str, play: Play, loop_thread: LoopThread
):
    model = play(Turn(code="1"), Turn(faults=("hang",)))
    model.client_left.clear()

    with pytest.raises(httpx.ReadTimeout):
        httpx.post(f"{server}/model/response", json=ASK, timeout=httpx.Timeout(10, read=0.5))

    loop_thread.run(asyncio.wait_for(model.client_left.wait(), 10))
    # It is deleted; nobody tells when.
    assert any(not containers(server) for _ in range(1000))


def test_key_in_every_header_and_none(
    loop_thread: LoopThread,
    model_server: PlayedModel,
    tmp_path_factory: pytest.TempPathFactory,
    play: Play,
):
    async def add_key(services: Services) -> None:
        key = ApiKey(new_id("key"), "org_1", "a", "sk", digest_of("sk-right"), 1.0)
        await services.store.keys.insert(key)

    root = tmp_path_factory.mktemp("keyed")
    with memory_server(loop_thread, root, model_server.base_url, add_key) as base_url:
        for name, value in (
            ("X-API-Key", "sk-right"),
            ("Authorization", "Bearer sk-right"),
            ("api-key", "sk-right"),
        ):
            play(Turn(text="Hi."))
            assert ask(base_url, ONE, headers={name: value}).status_code == 200
        for headers in ({}, {"X-API-Key": "sk-wrong"}):
            error = checked_error(ask(base_url, ONE, headers=headers))
            assert (error["status"], error["code"]) == (401, "INVALID_API_KEY")
            assert error["type"] == "authentication_error"
