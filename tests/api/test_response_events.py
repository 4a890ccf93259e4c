"""The projection of run events to Responses wire events: exact, and valid to the official SDK."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

from sanderling.api.responses.events import OUTPUT_DELTA, ResponseProjection
from sanderling.records import (
    AutoContainer,
    Citation,
    CodeCallItem,
    CodeTool,
    ErrorOutput,
    FunctionCallItem,
    ImageOutput,
    LogsOutput,
    MessageItem,
    ReasoningItem,
    RefusalPart,
    ResultOutput,
    Run,
    RunError,
    RunRequest,
    TextPart,
    Usage,
)
from sanderling.runs.events import (
    ArgumentsAdded,
    CodeAdded,
    CodeCallFinished,
    CodeCallStarted,
    CodeWritten,
    Event,
    FunctionCallFinished,
    FunctionCallStarted,
    MessageFinished,
    MessageStarted,
    OutputAdded,
    ReasoningAdded,
    ReasoningFinished,
    ReasoningStarted,
    RefusalAdded,
    RunChanged,
    TextAdded,
)

RUN = Run(
    id="resp_1",
    request=RunRequest(
        organization_id="org",
        dialect="responses",
        model="m",
        input=(),
        tools=(CodeTool(AutoContainer()),),
        echo={"tools": [{"type": "code_interpreter", "container": {"type": "auto"}}]},
    ),
    status="in_progress",
    created_at=100.5,
)
CALL = CodeCallItem(
    id="ci_1",
    call_id="call_1",
    code="print(1)",
    container_id="cntr_1",
    status="completed",
    outputs=(LogsOutput("stdout", "1\n"),),
    execution_status="ok",
)
CITATION = Citation("cntr_1", "cfile_1", "a.csv", 4, 27)
MESSAGE = MessageItem("msg_1", "assistant", (TextPart("See sandbox:/mnt/data/a.csv", (CITATION,)),))
BEGAN = RunChanged("in_progress", 100.5)
ENDED = RunChanged("completed", 102.0, usage=Usage(10, 5, 2, 1))
STORY: list[Event] = [
    BEGAN,
    ReasoningStarted("rs_1"),
    ReasoningAdded("rs_1", "hm"),
    ReasoningFinished(ReasoningItem("rs_1", "hm")),
    CodeCallStarted("ci_1", "call_1", "cntr_1"),
    CodeAdded("ci_1", "print"),
    CodeAdded("ci_1", "(1)"),
    CodeWritten("ci_1", "print(1)"),
    OutputAdded("ci_1", 0, LogsOutput("stdout", "1\n")),
    CodeCallFinished(CALL),
    FunctionCallStarted("fc_1", "call_2", "f"),
    ArgumentsAdded("fc_1", "{}"),
    FunctionCallFinished(FunctionCallItem("fc_1", "call_2", "f", "{}")),
    MessageStarted("msg_1"),
    TextAdded("msg_1", "See "),
    TextAdded("msg_1", "sandbox:/mnt/data/a.csv"),
    MessageFinished(MESSAGE),
    ENDED,
]
NAMES = [
    "response.created",
    "response.in_progress",
    "response.output_item.added",
    "response.content_part.added",
    "response.reasoning_text.delta",
    "response.reasoning_text.done",
    "response.content_part.done",
    "response.output_item.done",
    "response.output_item.added",
    "response.code_interpreter_call.in_progress",
    "response.code_interpreter_call_code.delta",
    "response.code_interpreter_call_code.delta",
    "response.code_interpreter_call_code.done",
    "response.code_interpreter_call.interpreting",
    "response.code_interpreter_call.completed",
    "response.output_item.done",
    "response.output_item.added",
    "response.function_call_arguments.delta",
    "response.function_call_arguments.done",
    "response.output_item.done",
    "response.output_item.added",
    "response.content_part.added",
    "response.output_text.delta",
    "response.output_text.delta",
    "response.output_text.annotation.added",
    "response.output_text.done",
    "response.content_part.done",
    "response.output_item.done",
    "response.completed",
]
SDK_EVENT: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)


def played(events: list[Event], **options: bool) -> list[dict[str, Any]]:
    projection = ResponseProjection(RUN, **options)
    return [wire for event in events for wire in projection.project(event)]


def names(wires: list[dict[str, Any]]) -> list[str]:
    return [wire["type"] for wire in wires]


def test_a_run_with_everything_in_it_streams_in_the_documented_order():
    wires = played(STORY)

    assert names(wires) == NAMES
    assert [wire["sequence_number"] for wire in wires] == list(range(len(wires)))


@pytest.mark.parametrize("with_outputs", [False, True])
def test_every_event_is_one_of_the_sdks(with_outputs: bool):
    for wire in played(STORY, with_outputs=with_outputs):
        event = SDK_EVENT.validate_python(wire)

        assert event.type == wire["type"]
        assert not any(
            value is None and name not in type(event).model_fields for name, value in wire.items()
        )


def test_items_are_numbered_in_their_order_and_events_carry_the_number():
    by_item: dict[str, set[int]] = {}
    for wire in played(STORY):
        if "item_id" in wire or "item" in wire:
            item_id = wire.get("item_id") or wire["item"]["id"]
            by_item.setdefault(item_id, set()).add(wire["output_index"])

    assert by_item == {"rs_1": {0}, "ci_1": {1}, "fc_1": {2}, "msg_1": {3}}


def test_the_last_event_carries_the_whole_response():
    wires = played(STORY)
    response = wires[-1]["response"]

    Response.model_validate(response)
    assert [item["id"] for item in response["output"]] == ["rs_1", "ci_1", "fc_1", "msg_1"]
    assert (response["status"], response["completed_at"]) == ("completed", 102)
    assert response["service_tier"] == "default"
    assert response["usage"] == {
        "input_tokens": 10,
        "input_tokens_details": {"cached_tokens": 2, "cache_write_tokens": 0},
        "output_tokens": 5,
        "output_tokens_details": {"reasoning_tokens": 1},
        "total_tokens": 15,
    }
    assert [w["item"] for w in wires if w["type"] == "response.output_item.done"] == response[
        "output"
    ]


def test_the_first_events_carry_the_response_before_anything_happened():
    created, in_progress = played(STORY)[:2]

    assert created["response"] == in_progress["response"]
    assert created["response"]["status"] == "in_progress"
    assert created["response"]["service_tier"] == "auto"
    assert (created["response"]["output"], created["response"]["usage"]) == ([], None)
    assert created["response"]["completed_at"] is None


def test_replaying_the_same_events_gives_the_same_stream():
    assert played(STORY) == played(STORY)


def test_a_run_that_is_over_projects_as_when_it_was_live():
    over = dataclasses.replace(
        RUN, status="completed", completed_at=102.0, usage=Usage(10, 5, 2, 1)
    )
    projection = ResponseProjection(over)

    assert [wire for event in STORY for wire in projection.project(event)] == played(STORY)


def test_citations_carry_all_six_fields():
    wires = played(STORY)

    annotation = next(w for w in wires if w["type"] == "response.output_text.annotation.added")
    assert annotation["annotation"] == {
        "type": "container_file_citation",
        "container_id": "cntr_1",
        "file_id": "cfile_1",
        "filename": "a.csv",
        "start_index": 4,
        "end_index": 27,
    }
    message = wires[-1]["response"]["output"][-1]
    assert message["content"][0]["annotations"] == [annotation["annotation"]]


def test_outputs_are_null_unless_asked_for():
    def item(wires: list[dict[str, Any]]) -> Any:
        return wires[-1]["response"]["output"][1]["outputs"]

    assert item(played(STORY)) is None
    assert item(played(STORY, with_outputs=True)) == [{"type": "logs", "logs": "1\n"}]


def test_outputs_while_code_runs_are_an_event_only_where_asked_for():
    wires = played(STORY, with_output_deltas=True)

    (delta,) = [wire for wire in wires if wire["type"] == OUTPUT_DELTA]
    assert delta == {
        "type": OUTPUT_DELTA,
        "sequence_number": 14,
        "item_id": "ci_1",
        "output_index": 1,
        "output": {"index": 0, "is_more": True, "type": "logs", "logs": "1\n"},
    }
    assert [n for n in names(wires) if n != OUTPUT_DELTA] == NAMES
    assert [wire["sequence_number"] for wire in wires] == list(range(len(wires)))


def test_outputs_become_logs_and_images_in_order_and_a_burst_is_one_entry():
    call = dataclasses.replace(
        CALL,
        outputs=(
            LogsOutput("stdout", "a\n"),
            LogsOutput("stderr", "b\n"),
            ImageOutput("data:image/png;base64,AA==", "cfile_9", "/mnt/data/figure_1.png"),
            LogsOutput("stdout", "c\n"),
            ResultOutput("42"),
            ErrorOutput("ValueError", "no", "Traceback …\nValueError: no\n"),
            ErrorOutput("KeyError", "'k'", ""),
        ),
    )
    events = [BEGAN, CodeCallStarted("ci_1", "call_1", "cntr_1"), CodeCallFinished(call), ENDED]
    wires = played(events, with_outputs=True)

    assert wires[-1]["response"]["output"][0]["outputs"] == [
        {"type": "logs", "logs": "a\nb\n"},
        {"type": "image", "url": "data:image/png;base64,AA=="},
        {"type": "logs", "logs": "c\n"},
        {"type": "logs", "logs": "42"},
        {"type": "logs", "logs": "Traceback …\nValueError: no\n"},
        {"type": "logs", "logs": "KeyError: 'k'"},
    ]
    Response.model_validate(wires[-1]["response"])


def test_code_that_was_never_written_to_its_end_is_still_told():
    call = dataclasses.replace(CALL, status="failed", code="pri", outputs=())
    wires = played(
        [
            BEGAN,
            CodeCallStarted("ci_1", "call_1", "cntr_1"),
            CodeAdded("ci_1", "pri"),
            CodeCallFinished(call),
        ]
    )

    assert names(wires)[2:] == [
        "response.output_item.added",
        "response.code_interpreter_call.in_progress",
        "response.code_interpreter_call_code.delta",
        "response.code_interpreter_call_code.done",
        "response.output_item.done",
    ]
    assert wires[-1]["item"]["status"] == "failed"


def test_a_refusal_streams_as_one():
    refusal = MessageItem("msg_1", "assistant", (RefusalPart("No."),))
    wires = played(
        [
            BEGAN,
            MessageStarted("msg_1"),
            RefusalAdded("msg_1", "No."),
            MessageFinished(refusal),
            ENDED,
        ]
    )

    assert names(wires)[3:7] == [
        "response.content_part.added",
        "response.refusal.delta",
        "response.refusal.done",
        "response.content_part.done",
    ]
    for wire in wires:
        SDK_EVENT.validate_python(wire)


def test_a_message_that_came_at_once_has_its_part_announced():
    wires = played([BEGAN, MessageStarted("msg_1"), MessageFinished(MESSAGE), ENDED])

    assert names(wires)[2:5] == [
        "response.output_item.added",
        "response.content_part.added",
        "response.output_text.annotation.added",
    ]


def test_reasoning_without_text_has_no_part():
    wires = played([BEGAN, ReasoningStarted("rs_1"), ReasoningFinished(ReasoningItem("rs_1"))])

    assert names(wires)[2:] == ["response.output_item.added", "response.output_item.done"]


@pytest.mark.parametrize(
    ("event", "name", "details"),
    [
        (
            RunChanged("failed", 101, error=RunError("server_error", "broken")),
            "response.failed",
            {"error": {"code": "server_error", "message": "broken"}, "completed_at": None},
        ),
        (
            RunChanged("failed", 101, error=RunError("made_up", "broken")),
            "response.failed",
            {"error": {"code": "server_error", "message": "broken"}},
        ),
        (
            RunChanged("incomplete", 101, incomplete_reason="content_filter"),
            "response.incomplete",
            {"incomplete_details": {"reason": "content_filter"}},
        ),
        (
            RunChanged("incomplete", 101, incomplete_reason="max_output_tokens"),
            "response.incomplete",
            {"incomplete_details": {"reason": "max_output_tokens"}},
        ),
        (RunChanged("cancelled", 101), "response.incomplete", {"status": "cancelled"}),
    ],
)
def test_every_way_to_end_has_its_event(event: RunChanged, name: str, details: dict[str, Any]):
    wires = played([event])

    assert names(wires) == ["response.created", "response.in_progress", name]
    assert wires[-1]["response"].items() >= details.items()
    SDK_EVENT.validate_python(wires[-1])
