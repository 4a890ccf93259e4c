"""Chat completions without a model server, and requests for them that are wrong."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest
import pytest_asyncio
from openai.types.chat import ChatCompletion

from sanderling.models.offline import OfflineModel
from sanderling.models.scripted import code, function, text
from tests.api.making import Api, memory_api, runs_recorded

CHAT = "/v1/chat/completions"
CI = {"type": "code_interpreter", "container": {"type": "auto"}}
LOOK_UP = {"type": "function", "function": {"name": "look_up", "parameters": {"type": "object"}}}
ASK = [{"role": "user", "content": "What is 2 + 2?"}]


def chunks_of(text: str) -> list[dict[str, Any]]:
    """Return the chunks of a stream, checking how each is framed and how it ends."""
    *blocks, done, rest = text.split("\n\n")
    assert (done, rest) == ("data: [DONE]", "")
    return [orjson.loads(block.removeprefix("data: ")) for block in blocks]


async def test_scripted_model_answers_in_openais_shape(tmp_path: Path):
    async with memory_api(tmp_path, text("Four."), function("look_up", {"word": "a"})) as api:
        plain = await api.json("POST", CHAT, {"model": "m", "messages": ASK})
        body = {"model": "m", "messages": ASK, "tools": [LOOK_UP]}
        call = await api.json("POST", CHAT, body)

    assert ChatCompletion.model_validate(plain).to_dict() == plain
    assert plain["choices"][0]["message"] == {
        "role": "assistant",
        "content": "Four.",
        "refusal": None,
        "annotations": [],
    }
    assert plain["usage"]["total_tokens"] == 15
    assert call["choices"][0]["finish_reason"] == "tool_calls"
    assert call["choices"][0]["message"]["content"] is None


async def test_offline_model_computes_and_streams(tmp_path: Path):
    async with memory_api(tmp_path, model=OfflineModel()) as api:
        body = {
            "model": "any",
            "messages": [{"role": "user", "content": "```python\nprint(2 + 2)\n```"}],
            "tools": [CI],
            "stream": True,
        }
        chunks = chunks_of((await api.http.post(CHAT, json=body)).text)

    deltas = [chunk["choices"][0]["delta"] for chunk in chunks]
    assert "4" in "".join(delta.get("content") or "" for delta in deltas)
    cells = [c for d in deltas for c in d.get("code_interpreter", {}).get("calls", [])]
    assert "".join(cell.get("code", "") for cell in cells) == "print(2 + 2)\n"
    assert "".join(o["logs"] for cell in cells for o in cell.get("outputs", [])) == "4\n"


async def test_completion_is_no_response(tmp_path: Path):
    async with memory_api(tmp_path, code("1"), text("One.")) as api:
        body = {"model": "m", "messages": ASK, "tools": [CI]}
        completion = await api.json("POST", CHAT, body)
        response_id = completion["id"].replace("chatcmpl-", "resp_")
        status, _ = await api.error("GET", f"/v1/responses/{response_id}")

    assert status == 404


# ---- wrong requests ----------------------------------------------------------------------------

TYPE, VALUE, MISSING = "invalid_type", "invalid_value", "missing_required_parameter"
UNSUPPORTED = "unsupported_parameter"


def chat(**fields: Any) -> dict[str, Any]:
    return {"model": "m", "messages": ASK, "tools": [CI], **fields}


def user(*parts: Any) -> dict[str, Any]:
    return chat(messages=[{"role": "user", "content": list(parts)}])


def tools(*tools: Any) -> dict[str, Any]:
    return chat(tools=[CI, *tools])


CALL = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
ANSWER = {"role": "tool", "tool_call_id": "call_1", "content": "x"}
CALLING = {"role": "assistant", "content": None, "tool_calls": [CALL]}

# body -> param, code, and a piece of the message
WRONG: list[tuple[Any, str | None, str | None, str]] = [
    ([], None, TYPE, "expected an object, but got an array"),
    ({"messages": ASK}, "model", MISSING, "'model'"),
    ({"model": 1, "messages": ASK}, "model", TYPE, "expected a string"),
    ({"model": "m"}, "messages", MISSING, "'messages'"),
    ({"model": "m", "messages": []}, "messages", "empty_array", "minimum length 1"),
    ({"model": "m", "messages": "Hi"}, "messages", TYPE, "expected an array"),
    ({"model": "m", "messages": ["Hi"]}, "messages[0]", TYPE, "expected an object"),
    ({"model": "m", "messages": ASK, "stream": 1}, "stream", TYPE, "expected a boolean"),
    ({"model": "m", "messages": ASK, "tools": {}}, "tools", TYPE, "expected an array"),
    (chat(messages=[{}]), "messages[0].role", MISSING, "messages[0].role"),
    (chat(messages=[{"role": "bot"}]), "messages[0].role", VALUE, "'system', 'developer'"),
    (chat(messages=[{"role": "function"}]), "messages[0].role", VALUE, "not supported"),
    (chat(messages=[{"role": "user"}]), "messages[0].content", MISSING, "content"),
    (user({"type": "input_text", "text": "x"}), "messages[0].content[0].type", VALUE, "'text'"),
    (user({"type": "input_audio"}), "messages[0].content[0].type", VALUE, "not supported"),
    (user({"type": "text"}), "messages[0].content[0].text", MISSING, "text"),
    (
        user({"type": "image_url", "image_url": "x"}),
        "messages[0].content[0].image_url",
        TYPE,
        "expected an object",
    ),
    (
        user({"type": "image_url", "image_url": {"url": "ftp://x"}}),
        "messages[0].content[0].image_url.url",
        VALUE,
        "'messages[0].content[0].image_url.url': expected a data URL",
    ),
    (
        user({"type": "file", "file": {"file_id": "file-none"}}),
        "messages[0].content[0].file.file_id",
        None,
        "No such File object: file-none",
    ),
    (
        user({"type": "file", "file": {"file_data": "data:a/b;base64,?", "filename": "a"}}),
        "messages[0].content[0].file.file_data",
        VALUE,
        "not base64",
    ),
    (chat(messages=[ANSWER]), "messages[0].tool_call_id", None, "must be a response to a"),
    (chat(messages=[*ASK, CALLING]), "messages", None, "response messages: call_1"),
    (chat(messages=[*ASK, CALLING, *ASK]), "messages", None, "response messages: call_1"),
    (
        chat(messages=[{"role": "assistant", "tool_calls": [{"type": "custom"}]}]),
        "messages[0].tool_calls[0].type",
        VALUE,
        "not supported",
    ),
    (
        chat(messages=[{"role": "assistant", "code_interpreter": {"calls": [{"code": 1}]}}]),
        "messages[0].code_interpreter.calls[0].code",
        TYPE,
        "expected a string",
    ),
    (tools({"type": "wat"}), "tools[1].type", VALUE, "'code_interpreter' and 'function'"),
    (tools({"type": "custom"}), "tools[1].type", VALUE, "not supported"),
    (tools({"type": "function"}), "tools[1].function", MISSING, "function"),
    (tools(LOOK_UP, LOOK_UP), "tools[2].function.name", VALUE, "name of another tool"),
    (tools(CI), "tools[1]", VALUE, "only one code_interpreter"),
    (chat(tools=[{**CI, "container": 5}]), "tools[0].container", TYPE, "a container id"),
    (chat(tools=[{**CI, "container": "cntr_x"}]), "tools[0].container", None, "not found"),
    (
        chat(tools=[{**CI, "container": {"type": "auto", "file_ids": ["file-x"]}}]),
        "tools[0].container.file_ids[0]",
        None,
        "No such File object",
    ),
    (chat(tool_choice="maybe"), "tool_choice", VALUE, "'none', 'auto', and 'required'"),
    (chat(tool_choice={"type": "function"}), "tool_choice.function", MISSING, "function"),
    (
        chat(tool_choice={"type": "function", "function": {"name": "f"}}),
        "tool_choice",
        VALUE,
        "'f' not found",
    ),
    (
        chat(
            tool_choice={
                "type": "allowed_tools",
                "allowed_tools": {
                    "mode": "auto",
                    "tools": [{"type": "function", "function": {"name": "f"}}],
                },
            }
        ),
        "tool_choice.allowed_tools.tools[0]",
        VALUE,
        "'f' not found",
    ),
    (chat(temperature=3), "temperature", "decimal_above_max_value", "<= 2"),
    (chat(top_p="x"), "top_p", TYPE, "expected a number"),
    (chat(max_tokens=0), "max_tokens", "integer_below_min_value", ">= 1"),
    (
        chat(max_tokens=5, max_completion_tokens=5),
        "max_tokens",
        "invalid_parameter_combination",
        "at the same time",
    ),
    (chat(n=2), "n", UNSUPPORTED, "passed on to a model server"),
    (chat(logprobs=True), "logprobs", UNSUPPORTED, "code interpreter"),
    (chat(modalities=["text", "audio"]), "modalities", UNSUPPORTED, "code interpreter"),
    (chat(functions=[]), "functions", UNSUPPORTED, "Use 'tools'"),
    (chat(stop=["a"] * 5), "stop", "array_above_max_length", "at most 4"),
    (chat(stop=5), "stop", TYPE, "a string or an array of strings"),
    (chat(seed="x"), "seed", TYPE, "expected an integer"),
    (chat(logit_bias={"1": 200}), "logit_bias.1", "decimal_above_max_value", "<= 100"),
    (chat(response_format={"type": "xml"}), "response_format.type", VALUE, "'json_schema'"),
    (
        chat(response_format={"type": "json_schema", "json_schema": {"name": "x"}}),
        "response_format.json_schema.schema",
        MISSING,
        "schema",
    ),
    (chat(stream_options={"include_usage": True}), "stream_options", None, "'stream' is enabled"),
    (chat(metadata={"a": 1}), "metadata.a", TYPE, "expected a string"),
]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def api(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Api]:
    async with memory_api(tmp_path_factory.mktemp("wrong_chat")) as api:
        yield api


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(("body", "param", "code", "words"), WRONG)
async def test_wrong_request_names_what_is_wrong(
    api: Api, body: Any, param: str | None, code: str | None, words: str
):
    status, error = await api.error("POST", CHAT, body)

    assert status == (404 if "No such" in words or words == "not found" else 400)
    assert (error["param"], error["code"]) == (param, code)
    assert words in error["message"]
    assert await runs_recorded(api) == 0
    assert (await api.json("GET", "/v1/files"))["data"] == []
