"""The exact keys of everything that a response shows: clients break on one that is absent."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest

from sanderling.errors import ModelRefused
from sanderling.models.base import RefusalDelta, TextDelta, TurnFinished
from sanderling.models.scripted import code, error, function, text
from sanderling.records import Usage
from tests.api.making import memory_api

CI = {"type": "code_interpreter", "container": {"type": "auto"}}
LOOK_UP = {"type": "function", "name": "look_up", "parameters": {"type": "object"}}
USAGE = Usage(input_tokens=10, output_tokens=5, cached_tokens=3, reasoning_tokens=2)
PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n..").decode()
WRITE = "import pathlib\n_ = pathlib.Path('/mnt/data/out.csv').write_text('1')"

RESPONSE = """
id object created_at status background completed_at error frequency_penalty incomplete_details
instructions max_output_tokens max_tool_calls metadata model moderation output parallel_tool_calls
presence_penalty previous_response_id prompt_cache_key prompt_cache_retention reasoning
safety_identifier service_tier store temperature text tool_choice tools top_logprobs top_p
truncation usage user
"""
# type of an item, a part or an annotation -> its keys
OBJECTS = {
    "message": "id type status content role",
    "code_interpreter_call": "id type status code container_id outputs",
    "function_call": "id type status arguments call_id name",
    "function_call_output": "id type status call_id output",
    "reasoning": "id type summary content encrypted_content",
    "output_text": "type annotations logprobs text",
    "input_text": "type text",
    "input_image": "type detail file_id image_url",
    "input_file": "type file_id filename",
    "refusal": "type refusal",
    "reasoning_text": "type text",
    "container_file_citation": "type container_id file_id filename start_index end_index",
    "logs": "type logs",
}
ON_ITEM = "type sequence_number item_id output_index "
ON_PART = ON_ITEM + "content_index "
# type of an event -> its keys
EVENTS = {
    "response.created": "type sequence_number response",
    "response.queued": "type sequence_number response",
    "response.in_progress": "type sequence_number response",
    "response.completed": "type sequence_number response",
    "response.incomplete": "type sequence_number response",
    "response.failed": "type sequence_number response",
    "response.output_item.added": "type sequence_number output_index item",
    "response.output_item.done": "type sequence_number output_index item",
    "response.content_part.added": ON_PART + "part",
    "response.content_part.done": ON_PART + "part",
    "response.output_text.delta": ON_PART + "delta logprobs",
    "response.output_text.done": ON_PART + "text logprobs",
    "response.output_text.annotation.added": ON_PART + "annotation_index annotation",
    "response.refusal.delta": ON_PART + "delta",
    "response.refusal.done": ON_PART + "refusal",
    "response.reasoning_text.delta": ON_PART + "delta",
    "response.reasoning_text.done": ON_PART + "text",
    "response.function_call_arguments.delta": ON_ITEM + "delta",
    "response.function_call_arguments.done": ON_ITEM + "arguments name",
    "response.code_interpreter_call.in_progress": ON_ITEM,
    "response.code_interpreter_call.interpreting": ON_ITEM,
    "response.code_interpreter_call.completed": ON_ITEM,
    "response.code_interpreter_call_code.delta": ON_ITEM + "delta",
    "response.code_interpreter_call_code.done": ON_ITEM + "code",
}


def check_objects(value: Any) -> None:
    """Check the keys of every object in `value` that has a type of its own."""
    if isinstance(value, list):
        for each in value:
            check_objects(each)
    elif isinstance(value, dict):
        kind = value.get("type")
        if value.get("object") == "response":
            check_response(value)
        elif kind in OBJECTS:
            assert sorted(value) == sorted(OBJECTS[kind].split()), kind
        for each in value.values():
            check_objects(each)


def check_response(response: Any) -> None:
    assert sorted(response) == sorted(RESPONSE.split())
    is_over = response["status"] not in ("queued", "in_progress")
    assert response["service_tier"] == ("default" if is_over else "auto")
    assert (response["completed_at"] is None) == (response["status"] != "completed")
    assert (response["error"] is None) == (response["status"] != "failed")
    assert (response["incomplete_details"] is None) == (response["status"] != "incomplete")
    assert set(response["reasoning"]) == {"effort", "summary"}
    assert set(response["text"]) == {"format", "verbosity"}
    for tool in response["tools"]:
        if tool["type"] == "function":
            assert set(tool) == {"type", "name", "description", "parameters", "strict"}
    usage = response["usage"]
    if usage is not None:
        assert set(usage) == {
            "input_tokens",
            "input_tokens_details",
            "output_tokens",
            "output_tokens_details",
            "total_tokens",
        }
        assert set(usage["input_tokens_details"]) == {"cached_tokens", "cache_write_tokens"}
        assert set(usage["output_tokens_details"]) == {"reasoning_tokens"}


@pytest.mark.parametrize("background", [False, True])
@pytest.mark.parametrize(
    ("turns", "status", "kinds"),
    [
        (
            [code(WRITE, say="Let me see.", think="Hm."), text("[out](sandbox:/mnt/data/out.csv)")],
            "completed",
            "annotation.added reasoning_text.done interpreting",
        ),
        ([function("look_up", {"x": 1})], "completed", "function_call_arguments.done"),
        ([[RefusalDelta("No."), TurnFinished("stop", USAGE, "m")]], "completed", "refusal.done"),
        ([[TextDelta("We"), TurnFinished("length", USAGE, "m")]], "incomplete", "incomplete"),
        ([error(ModelRefused("Broken.", status=500), say="We")], "failed", "failed"),
    ],
)
async def test_every_event_has_exactly_its_keys(
    tmp_path: Path, turns: Any, status: str, kinds: str, background: bool
):
    body = {"input": "x", "tools": [CI, LOOK_UP], "stream": True, "background": background}
    async with memory_api(tmp_path, *turns) as api:
        events = await api.events("POST", "/v1/responses", body)

    assert events[-1]["response"]["status"] == status
    found = [event["type"] for event in events]
    assert (found[1] == "response.queued") == background
    for kind in kinds.split():
        assert any(each.endswith(kind) for each in found)
    for event in events:
        assert sorted(event) == sorted(EVENTS[event["type"]].split()), event["type"]
        check_objects(event)


async def test_usage_is_summed_over_the_turns_with_its_details(tmp_path: Path):
    turn = [*code("1")[:-1], TurnFinished("tool_calls", USAGE, "m")]
    last = [TextDelta("One."), TurnFinished("stop", USAGE, "m")]
    async with memory_api(tmp_path, turn, last) as api:
        response = await api.json("POST", "/v1/responses", {"input": "x", "tools": [CI]})

    assert response["usage"] == {
        "input_tokens": 20,
        "input_tokens_details": {"cached_tokens": 6, "cache_write_tokens": 0},
        "output_tokens": 10,
        "output_tokens_details": {"reasoning_tokens": 4},
        "total_tokens": 30,
    }


@pytest.mark.parametrize(
    ("asked", "shown"),
    [(None, "default"), ("auto", "default"), ("flex", "flex"), ("priority", "priority")],
)
async def test_service_tier_is_repeated(tmp_path: Path, asked: str | None, shown: str):
    async with memory_api(tmp_path, text("Hi.")) as api:
        response = await api.json("POST", "/v1/responses", {"input": "x", "service_tier": asked})

    assert response["service_tier"] == shown


async def test_every_input_item_has_exactly_its_keys(tmp_path: Path):
    given = [
        {"role": "developer", "content": "Be kind."},
        {
            "role": "user",
            "content": [
                {"type": "input_text", "text": "Hi"},
                {"type": "input_image", "image_url": f"data:image/png;base64,{PNG}"},
                {"type": "input_file", "file_data": "YSxi", "filename": "a.csv"},
            ],
        },
        {"role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]},
        {"type": "function_call", "call_id": "c1", "name": "look_up", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c1", "output": "5"},
        {"type": "reasoning", "summary": [], "content": [{"type": "reasoning_text", "text": "Hm"}]},
        {
            "type": "code_interpreter_call",
            "code": "1",
            "container_id": "cntr_gone",
            "outputs": [{"type": "logs", "logs": "1"}],
        },
    ]
    async with memory_api(tmp_path, text("Hi.")) as api:
        response = await api.json("POST", "/v1/responses", {"input": given})
        listing = await api.json(
            "GET",
            f"/v1/responses/{response['id']}/input_items"
            "?order=asc&include[]=code_interpreter_call.outputs",
        )

    assert len(listing["data"]) == len(given)
    check_objects(listing["data"])
