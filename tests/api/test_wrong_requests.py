"""Every wrong request gets one clear error: status, code, param, and a message that says what."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from tests.api.leftovers import kept_by
from tests.api.making import Api, memory_api

# One server for all: a wrong request changes nothing.
pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def api(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Api]:
    async with memory_api(tmp_path_factory.mktemp("wrong")) as api:
        yield api


TYPE, VALUE, MISSING = "invalid_type", "invalid_value", "missing_required_parameter"
CI = {"type": "code_interpreter", "container": {"type": "auto"}}
ALLOWLIST = {"type": "allowlist", "allowed_domains": ["site.example"]}


def message(*parts: Any) -> dict[str, Any]:
    return {"input": [{"role": "user", "content": list(parts)}]}


# body of POST /v1/responses -> param, code, and a piece of the message
RESPONSES: list[tuple[Any, str | None, str, str]] = [
    ([], None, TYPE, "expected an object, but got an array"),
    ("hello", None, TYPE, "expected an object, but got a string"),
    ({"model": 5}, "model", TYPE, "expected a string, but got an integer"),
    ({"model": ""}, "model", "string_below_min_length", "string too short"),
    ({"input": 5}, "input", TYPE, "expected a string or an array of input items"),
    ({"input": {}}, "input", TYPE, "but got an object"),
    ({"input": ["x"]}, "input[0]", TYPE, "expected an object, but got a string"),
    ({"input": [{}]}, "input[0].role", MISSING, "Missing required parameter: 'input[0].role'."),
    ({"input": [{"role": "user"}]}, "input[0].content", MISSING, "input[0].content"),
    ({"input": [{"role": "robot", "content": "x"}]}, "input[0].role", VALUE, "'robot'"),
    ({"input": [{"role": "user", "content": 1}]}, "input[0].content", TYPE, "content parts"),
    ({"input": [{"type": "wat"}]}, "input[0].type", VALUE, "'message', 'function_call',"),
    ({"input": [{"type": 3}]}, "input[0].type", TYPE, "expected a string, but got an integer"),
    ({"input": [{"type": "mcp_call"}]}, "input[0].type", VALUE, "not supported by this server"),
    (message({}), "input[0].content[0].type", MISSING, "content[0].type"),
    (message({"type": "text", "text": "x"}), "input[0].content[0].type", VALUE, "'input_text'"),
    (message({"type": "input_text"}), "input[0].content[0].text", MISSING, "text"),
    (message({"type": "input_text", "text": 1}), "input[0].content[0].text", TYPE, "integer"),
    (message({"type": "input_image"}), "input[0].content[0].image_url", MISSING, "image_url"),
    (
        message({"type": "input_image", "image_url": "ftp://x/y.png"}),
        "input[0].content[0].image_url",
        VALUE,
        "data URL",
    ),
    (
        message({"type": "input_image", "image_url": "data:image/png;base64,???"}),
        "input[0].content[0].image_url",
        VALUE,
        "not base64",
    ),
    (
        message({"type": "input_image", "image_url": "data:image/png,abc"}),
        "input[0].content[0].image_url",
        VALUE,
        "base64",
    ),
    (
        message({"type": "input_image", "image_url": "x", "detail": "huge"}),
        "input[0].content[0].detail",
        VALUE,
        "'huge'",
    ),
    (message({"type": "input_file"}), "input[0].content[0].file_id", MISSING, "file_id"),
    (
        message({"type": "input_file", "file_url": "https://x/y.csv"}),
        "input[0].content[0].file_url",
        "unsupported_parameter",
        "does not fetch",
    ),
    (
        message({"type": "input_file", "file_data": "é", "filename": "a.csv"}),
        "input[0].content[0].file_data",
        VALUE,
        "not base64",
    ),
    ({"input": [{"type": "function_call"}]}, "input[0].call_id", MISSING, "call_id"),
    (
        {"input": [{"type": "function_call_output", "call_id": "c"}]},
        "input[0].output",
        MISSING,
        "output",
    ),
    (
        {"input": [{"type": "function_call_output", "call_id": "c", "output": "x"}]},
        "input",
        "",
        "No tool call found for function call output with call_id c.",
    ),
    (
        {"input": [{"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"}]},
        "input",
        "",
        "No tool output found for function call c.",
    ),
    (
        {"input": [{"type": "code_interpreter_call", "outputs": [{"type": "x"}]}]},
        "input[0].outputs[0].type",
        VALUE,
        "'logs' and 'image'",
    ),
    ({"input": [{"type": "item_reference"}]}, "input[0].id", MISSING, "id"),
    ({"input": [{"id": "msg_nope"}]}, "input[0].id", "item_not_found", "'msg_nope' not found"),
    ({"instructions": ["x"]}, "instructions", TYPE, "expected a string, but got an array"),
    ({"tools": {}}, "tools", TYPE, "expected an array, but got an object"),
    ({"tools": ["ci"]}, "tools[0]", TYPE, "expected an object"),
    ({"tools": [{}]}, "tools[0].type", MISSING, "tools[0].type"),
    ({"tools": [{"type": "nope"}]}, "tools[0].type", VALUE, "'code_interpreter' and 'function'"),
    ({"tools": [{"type": "file_search"}]}, "tools[0].type", VALUE, "not supported"),
    ({"tools": [CI, {"type": "web_search"}]}, "tools[1].type", VALUE, "not supported"),
    ({"tools": [{"type": "mcp", "server_label": "x"}]}, "tools[0].type", VALUE, "not supported"),
    (
        {"tools": [{"type": "code_interpreter", "container": 5}]},
        "tools[0].container",
        TYPE,
        "a container id or an object",
    ),
    (
        {"tools": [{"type": "code_interpreter", "container": {}}]},
        "tools[0].container.type",
        MISSING,
        "type",
    ),
    (
        {"tools": [{"type": "code_interpreter", "container": {"type": "manual"}}]},
        "tools[0].container.type",
        VALUE,
        "'auto'",
    ),
    (
        {"tools": [{**CI, "container": {"type": "auto", "memory_limit": "2g"}}]},
        "tools[0].container.memory_limit",
        VALUE,
        "'1g', '4g', '16g', and '64g'",
    ),
    (
        {"tools": [{**CI, "container": {"type": "auto", "memory_limit": "64g"}}]},
        "tools[0].container.memory_limit",
        VALUE,
        "at most 4.0 GiB",
    ),
    (
        {"tools": [{**CI, "container": {"type": "auto", "file_ids": "f"}}]},
        "tools[0].container.file_ids",
        TYPE,
        "an array",
    ),
    (
        {"tools": [{**CI, "container": {"type": "auto", "file_ids": ["f"] * 51}}]},
        "tools[0].container.file_ids",
        "array_above_max_length",
        "50",
    ),
    (
        {"tools": [{**CI, "container": {"type": "auto", "network_policy": ALLOWLIST}}]},
        "tools[0].container.network_policy.type",
        VALUE,
        "'disabled'",
    ),
    ({"tools": [CI, CI]}, "tools[1]", VALUE, "only one code_interpreter"),
    ({"tools": [{"type": "function"}]}, "tools[0].name", MISSING, "tools[0].name"),
    (
        {"tools": [{"type": "function", "name": "a b"}]},
        "tools[0].name",
        VALUE,
        "does not match pattern",
    ),
    (
        {"tools": [{"type": "function", "name": "f"}, {"type": "function", "name": "f"}]},
        "tools[1].name",
        VALUE,
        "the name of another tool",
    ),
    (
        {"tools": [CI, {"type": "function", "name": "python"}]},
        "tools[1].name",
        VALUE,
        "the name of another tool",
    ),
    (
        {"tools": [{"type": "function", "name": "f", "parameters": []}]},
        "tools[0].parameters",
        TYPE,
        "an object",
    ),
    ({"tools": [CI] * 129}, "tools", "array_above_max_length", "128"),
    ({"tool_choice": 1}, "tool_choice", TYPE, "'none', 'auto' and 'required'"),
    ({"tool_choice": "always"}, "tool_choice", VALUE, "'always'"),
    ({"tool_choice": "required"}, "tool_choice", VALUE, "must be specified with 'tools'"),
    ({"tool_choice": {}}, "tool_choice.type", MISSING, "type"),
    (
        {"tool_choice": {"type": "code_interpreter"}},
        "tool_choice",
        VALUE,
        "Tool choice 'code_interpreter' not found in 'tools' parameter.",
    ),
    (
        {"tool_choice": {"type": "function", "name": "g"}, "tools": [CI]},
        "tool_choice",
        VALUE,
        "'g' not found",
    ),
    ({"tool_choice": {"type": "function"}}, "tool_choice.name", MISSING, "name"),
    ({"tool_choice": {"type": "file_search"}}, "tool_choice.type", VALUE, "not supported"),
    (
        {"tool_choice": {"type": "allowed_tools", "mode": "x", "tools": []}},
        "tool_choice.mode",
        VALUE,
        "'auto' and 'required'",
    ),
    (
        {"tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "mcp"}]}},
        "tool_choice.tools[0].type",
        VALUE,
        "not supported",
    ),
    ({"previous_response_id": 1}, "previous_response_id", TYPE, "a string"),
    (
        {"previous_response_id": "resp_nope"},
        "previous_response_id",
        "previous_response_not_found",
        "Previous response with id 'resp_nope' not found.",
    ),
    (
        # The file has been received by then.
        {
            **message({"type": "input_file", "filename": "a", "file_data": "YWJj"}),
            "previous_response_id": "resp_nope",
        },
        "previous_response_id",
        "previous_response_not_found",
        "Previous response with id 'resp_nope' not found.",
    ),
    (
        message(
            {"type": "input_file", "filename": "a", "file_data": "YWJj"},
            {"type": "input_image", "image_url": "data:image/png;base64,???"},
        ),
        "input[0].content[1].image_url",
        VALUE,
        "not base64",
    ),
    ({"include": "x"}, "include", TYPE, "an array"),
    ({"include": ["everything"]}, "include[0]", VALUE, "'everything'"),
    ({"stream": "yes"}, "stream", TYPE, "expected a boolean, but got a string"),
    (
        {"stream_options": {"include_output_deltas": 1}},
        "stream_options.include_output_deltas",
        TYPE,
        "a boolean",
    ),
    ({"store": 1}, "store", TYPE, "a boolean"),
    ({"background": True}, "background", "unsupported_parameter", "not supported yet"),
    ({"conversation": 1}, "conversation", "invalid_type", "a string or an object"),
    ({"conversation": ["conv_1"]}, "conversation", "invalid_type", "a string or an object"),
    ({"conversation": ""}, "conversation", "string_below_min_length", "string too short"),
    ({"conversation": {}}, "conversation.id", "missing_required_parameter", "conversation.id"),
    ({"conversation": {"id": 1}}, "conversation.id", "invalid_type", "a string"),
    ({"conversation": "resp_1"}, "conversation", "invalid_value", "begins with 'conv'"),
    ({"prompt": {"id": "p"}}, "prompt", "unsupported_parameter", "not supported yet"),
    ({"temperature": "hot"}, "temperature", TYPE, "expected a number, but got a string"),
    ({"temperature": True}, "temperature", TYPE, "but got a boolean"),
    ({"temperature": 3}, "temperature", "decimal_above_max_value", "a value <= 2, but got 3"),
    ({"temperature": -0.5}, "temperature", "decimal_below_min_value", "a value >= 0"),
    ({"top_p": 1.5}, "top_p", "decimal_above_max_value", "a value <= 1"),
    (
        {"max_output_tokens": "many"},
        "max_output_tokens",
        TYPE,
        "Invalid type for 'max_output_tokens': expected an integer, but got a string instead.",
    ),
    (
        {"max_output_tokens": 8},
        "max_output_tokens",
        "integer_below_min_value",
        (
            "Invalid 'max_output_tokens': integer below minimum value. "
            "Expected a value >= 16, but got 8 instead."
        ),
    ),
    ({"max_output_tokens": 16.5}, "max_output_tokens", TYPE, "a decimal number"),
    ({"max_output_tokens": 1 << 60}, "max_output_tokens", "integer_above_max_value", "<="),
    ({"max_tool_calls": 0}, "max_tool_calls", "integer_below_min_value", ">= 1"),
    ({"parallel_tool_calls": "no"}, "parallel_tool_calls", TYPE, "a boolean"),
    ({"text": "plain"}, "text", TYPE, "an object"),
    ({"text": {"format": {"type": "xml"}}}, "text.format.type", VALUE, "'json_schema'"),
    ({"text": {"format": {"type": "json_schema"}}}, "text.format.name", MISSING, "name"),
    (
        {"text": {"format": {"type": "json_schema", "name": "n", "schema": 1}}},
        "text.format.schema",
        TYPE,
        "an object",
    ),
    ({"text": {"verbosity": "loud"}}, "text.verbosity", VALUE, "'loud'"),
    ({"reasoning": {"effort": "extreme"}}, "reasoning.effort", VALUE, "'extreme'"),
    ({"truncation": "hard"}, "truncation", VALUE, "'auto' and 'disabled'"),
    ({"metadata": {"k": 1}}, "metadata.k", TYPE, "a string"),
    ({"metadata": {"k": "v" * 513}}, "metadata.k", "string_above_max_length", "512"),
    ({"metadata": {"k" * 65: "v"}}, "metadata." + "k" * 65, "string_above_max_length", "64"),
    (
        {"metadata": {str(n): "v" for n in range(17)}},
        "metadata",
        "object_above_max_properties",
        "16",
    ),
    ({"top_logprobs": 21}, "top_logprobs", "integer_above_max_value", "<= 20"),
    ({"service_tier": "gold"}, "service_tier", VALUE, "'gold'"),
    ({"user": 5}, "user", TYPE, "a string"),
]


@pytest.mark.parametrize(("body", "param", "code", "words"), RESPONSES)
async def test_wrong_response_request_is_400_and_names_the_parameter(
    api: Api, body, param, code, words
):
    before = await kept_by(api)

    status, error = await api.error("POST", "/v1/responses", body)

    assert (status, error["param"], error["code"] or "") == (400, param, code)
    assert error["type"] == "invalid_request_error"
    assert words in error["message"]
    assert await kept_by(api) == before


# method, path, body -> status, param, code, piece of the message
OTHERS: list[tuple[str, str, Any, int, str | None, str | None, str]] = [
    ("POST", "/v1/containers", {}, 400, "name", MISSING, "'name'"),
    ("POST", "/v1/containers", {"name": 1}, 400, "name", TYPE, "a string"),
    ("POST", "/v1/containers", {"name": ""}, 400, "name", "string_below_min_length", "short"),
    ("POST", "/v1/containers", {"name": "a\0b"}, 400, "name", VALUE, "NUL"),
    ("POST", "/v1/containers", {"name": "x" * 257}, 400, "name", "string_above_max_length", "256"),
    (
        "POST",
        "/v1/containers",
        {"name": "x", "memory_limit": "3g"},
        400,
        "memory_limit",
        VALUE,
        "'3g'",
    ),
    (
        "POST",
        "/v1/containers",
        {"name": "x", "memory_limit": "16g"},
        400,
        "memory_limit",
        VALUE,
        "at most 4.0 GiB",
    ),
    (
        "POST",
        "/v1/containers",
        {"name": "x", "expires_after": {"minutes": 5}},
        400,
        "expires_after.anchor",
        MISSING,
        "anchor",
    ),
    (
        "POST",
        "/v1/containers",
        {"name": "x", "expires_after": {"anchor": "last_active_at", "minutes": -1}},
        400,
        "expires_after.minutes",
        "integer_below_min_value",
        ">= 0",
    ),
    (
        "POST",
        "/v1/containers",
        {"name": "x", "file_ids": ["file-nope"]},
        404,
        "file_ids",
        None,
        "No such File object: file-nope",
    ),
    (
        "POST",
        "/v1/containers",
        {"name": "x", "network_policy": ALLOWLIST},
        400,
        "network_policy.type",
        VALUE,
        "no network",
    ),
    (
        "POST",
        "/v1/containers",
        {"name": "x", "skills": [{"type": "inline"}]},
        400,
        "skills",
        VALUE,
        "Skills",
    ),
    (
        "GET",
        "/v1/containers/cntr_nope",
        None,
        404,
        None,
        None,
        "Container with id 'cntr_nope' not found.",
    ),
    ("DELETE", "/v1/containers/cntr_nope", None, 404, None, None, "not found"),
    ("GET", "/v1/containers?limit=0", None, 400, "limit", "integer_below_min_value", ">= 1"),
    ("GET", "/v1/containers?limit=101", None, 400, "limit", "integer_above_max_value", "<= 100"),
    ("GET", "/v1/containers?limit=ten", None, 400, "limit", TYPE, "an integer"),
    ("GET", "/v1/containers?limit=" + "9" * 5000, None, 400, "limit", None, "limit"),
    ("GET", "/v1/containers?order=up", None, 400, "order", VALUE, "'asc' and 'desc'"),
    ("GET", "/v1/containers?after=cntr_nope", None, 400, "after", None, "cntr_nope"),
    ("GET", "/v1/containers/cntr_nope/files", None, 404, None, None, "not found"),
    ("POST", "/v1/containers/cntr_nope/files", {"file_id": "f"}, 404, None, None, "not found"),
    ("GET", "/v1/containers/cntr_nope/files/cfile_x", None, 404, None, None, "not found"),
    ("POST", "/v1/containers/cntr_nope/executions", {"code": "1"}, 404, None, None, "not found"),
    ("POST", "/v1/containers/c/executions", {}, 400, "code", MISSING, "code"),
    ("POST", "/v1/containers/c/executions", {"code": 1}, 400, "code", TYPE, "a string"),
    (
        "POST",
        "/v1/containers/c/executions",
        {"code": "1", "timeout_seconds": 0},
        400,
        "timeout_seconds",
        "decimal_below_min_value",
        "> 0",
    ),
    (
        "POST",
        "/v1/containers/c/executions",
        {"code": "1", "timeout_seconds": 3601},
        400,
        "timeout_seconds",
        "decimal_above_max_value",
        "<= 3600",
    ),
    ("POST", "/v1/containers/c/executions/exec_x/cancel", None, 404, None, None, "not found"),
    ("GET", "/v1/files/file-nope", None, 404, "id", None, "No such File object: file-nope"),
    ("GET", "/v1/files/%00%ff", None, 404, "id", None, "No such File object"),
    ("GET", "/v1/files/file-nope/content", None, 404, "id", None, "No such File object"),
    ("GET", "/v1/files/cfile_nope/content", None, 404, "id", None, "No such File object"),
    ("DELETE", "/v1/files/file-nope", None, 404, "id", None, "No such File object"),
    ("GET", "/v1/files?limit=10001", None, 400, "limit", "integer_above_max_value", "10000"),
    ("POST", "/v1/files", {"purpose": "x"}, 400, None, "unsupported_content_type", "multipart"),
    ("GET", "/v1/models/gpt-9", None, 404, "model", "model_not_found", "The model `gpt-9` does"),
    ("GET", "/v1/responses/resp_nope", None, 404, None, None, "'resp_nope' not found"),
    ("DELETE", "/v1/responses/resp_nope", None, 404, None, None, "not found"),
    ("POST", "/v1/responses/resp_nope/cancel", None, 404, None, None, "not found"),
    ("GET", "/v1/responses/resp_nope/input_items", None, 404, None, None, "not found"),
    (
        "POST",
        "/v1/responses",
        message({"type": "input_file", "file_id": "file-nope"}),
        404,
        "input[0].content[0].file_id",
        None,
        "No such File object: file-nope",
    ),
    (
        "POST",
        "/v1/responses",
        {"tools": [{**CI, "container": {"type": "auto", "file_ids": ["file-nope"]}}]},
        404,
        "tools[0].container.file_ids[0]",
        None,
        "No such File object: file-nope",
    ),
    (
        "POST",
        "/v1/responses",
        {"tools": [{"type": "code_interpreter", "container": "cntr_nope"}]},
        404,
        "tools[0].container",
        None,
        "Container with id 'cntr_nope' not found.",
    ),
    ("GET", "/", None, 404, None, None, "Invalid URL (GET /)"),
    ("GET", "/v1/assistantz", None, 404, None, None, "Invalid URL (GET /v1/assistantz)"),
    ("POST", "/v1/assistants", {}, 404, None, None, "The Assistants API is not served here yet"),
    ("GET", "/v1/threads/x/runs", None, 404, None, None, "The Assistants API is not served here"),
    ("PUT", "/v1/files", None, 405, None, "method_not_supported", "Not allowed to PUT"),
    ("DELETE", "/v1/responses", None, 405, None, "method_not_supported", "DELETE"),
]


@pytest.mark.parametrize(("method", "path", "body", "status", "param", "code", "words"), OTHERS)
async def test_wrong_request_gets_the_error_that_says_why(
    api: Api, method, path, body, status, param, code, words
):
    before = await kept_by(api)

    got, error = await api.error(method, path, body)

    assert (got, error["param"]) == (status, param)
    assert code is None or error["code"] == code
    assert words in error["message"]
    assert await kept_by(api) == before


async def test_ids_of_another_kind_are_just_unknown(api: Api):
    container = await api.json("POST", "/v1/containers", {"name": "box"})

    for path in (
        f"/v1/containers/{container['id']}/files/cfile_nope",
        f"/v1/containers/{container['id']}/files/cfile_nope/content",
        f"/v1/files/{container['id']}",
        f"/v1/responses/{container['id']}",
    ):
        status, _ = await api.error("GET", path)
        assert status == 404


async def test_unknown_parameters_are_ignored(api: Api):
    container = await api.json("POST", "/v1/containers", {"name": "box", "colour": "blue"})

    assert container["name"] == "box"


# ---- bodies that are no JSON -------------------------------------------------------------------

DEEP = b'{"metadata":' + b'{"a":' * 70 + b"1" + b"}" * 71
DEEPEST = b"[" * 100_000 + b"]" * 100_000
NOT_JSON = [
    (b"{", "invalid_json"),
    (b"nonsense", "invalid_json"),
    (b'{"input": "\xff\xfe"}', "invalid_json"),
    (b'{"input": "\\ud800"}', "invalid_json"),
    (b'{"temperature": NaN}', "invalid_json"),
    (b'{"input": "a\x00b"}', "invalid_json"),
    (b"\x00", "invalid_json"),
    (DEEP, "invalid_json"),
    (DEEPEST, "invalid_json"),
    (b'{"input": "x"} trailing', "invalid_json"),
]


@pytest.mark.parametrize(("content", "code"), NOT_JSON)
async def test_body_that_is_not_json_is_400(api: Api, content: bytes, code: str):
    for path in ("/v1/responses", "/v1/containers"):
        status, error = await api.error(
            "POST", path, content=content, headers={"content-type": "application/json"}
        )

        assert (status, error["code"]) == (400, code)


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "x"])
async def test_body_of_another_type_is_400(api: Api, kind: str):
    status, error = await api.error(
        "POST", "/v1/containers", content=b'{"name": "x"}', headers={"content-type": kind}
    )

    assert (status, error["code"]) == (400, "unsupported_content_type")
    assert kind in error["message"]


async def test_json_body_above_the_limit_is_413(api: Api):
    async def chunks():
        yield b'{"input": "'
        for _ in range(33):
            yield b"x" * (1 << 20)
        yield b'"}'

    status, error = await api.error(
        "POST", "/v1/responses", content=chunks(), headers={"content-type": "application/json"}
    )

    assert (status, error["code"]) == (413, "request_too_large")


async def test_empty_body_counts_as_an_empty_object(api: Api):
    status, error = await api.error("POST", "/v1/containers")

    assert (status, error["code"]) == (400, "missing_required_parameter")


async def test_a_body_of_a_million_little_arrays_is_refused_before_it_is_read(api: Api):
    body = b"[" + b"[]," * 1_000_000 + b"[]]"
    status, error = await api.error("POST", "/v1/containers", content=body)

    assert (status, error["code"]) == (400, "invalid_json")
    assert "more than 500000 arrays and objects" in error["message"]
