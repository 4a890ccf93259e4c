"""Chunks of a chat completion: what adds up, and what is told whole where it does not."""

from __future__ import annotations

from typing import Any

from sanderling.api.chat.events import ChatProjection
from sanderling.records import (
    Artifact,
    Citation,
    CodeCallItem,
    FunctionCallItem,
    ImageOutput,
    LogsOutput,
    MessageItem,
    Output,
    RefusalPart,
    ResultOutput,
    Run,
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
    OutputsCleared,
    RefusalAdded,
    RunChanged,
    TextAdded,
)

RUN = Run("resp_12", RunRequest("org_1", "chat", "m", ()), "in_progress", created_at=5.5)
USAGE = Usage(3, 4, 1, 2)


def completed(*events: Event) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Return the deltas of a run that went so, and its completion."""
    projection = ChatProjection(RUN)
    all_events = (RunChanged("in_progress", 1), *events, RunChanged("completed", 2, USAGE))
    chunks = [chunk for event in all_events for chunk in projection.project(event)]
    assert all(chunk["id"] == "chatcmpl-12" and chunk["created"] == 5 for chunk in chunks)
    return [chunk["choices"][0]["delta"] for chunk in chunks], projection.completion


def cell(code: str, *outputs: Output, artifacts: tuple[Artifact, ...] = ()) -> CodeCallFinished:
    item = CodeCallItem("ci_1", "call_1", code, "cntr_1", "completed", outputs, artifacts, "ok")
    return CodeCallFinished(item)


def calls(deltas: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [c for d in deltas for c in d.get("code_interpreter", {}).get("calls", ())]


STARTED = CodeCallStarted("ci_1", "call_1", "cntr_1")


def test_outputs_are_told_as_they_appear_and_logs_of_one_burst_are_one():
    image = ImageOutput("data:image/png;base64,eA==", "cfile_1", "/mnt/data/figure_1.png")
    shown = (LogsOutput("stdout", "a\nb\n"), LogsOutput("stderr", "c\n"), image)

    deltas, completion = completed(
        STARTED,
        CodeAdded("ci_1", "pri"),
        CodeAdded("ci_1", "nt()"),
        CodeWritten("ci_1", "print()"),
        OutputAdded("ci_1", 0, LogsOutput("stdout", "a\n")),
        OutputAdded("ci_1", 0, LogsOutput("stdout", "b\n")),
        OutputAdded("ci_1", 1, LogsOutput("stderr", "c\n")),
        OutputAdded("ci_1", 2, image),
        cell("print()", *shown),
    )

    assert [c["outputs"] for c in calls(deltas) if "outputs" in c] == [
        [{"index": 0, "type": "logs", "logs": "a\n"}],
        [{"index": 0, "type": "logs", "logs": "b\n"}],
        [{"index": 0, "type": "logs", "logs": "c\n"}],
        [{"index": 1, "type": "image", "url": image.data_url, "file_id": "cfile_1"}],
    ]
    assert calls(deltas)[-1] == {"index": 0, "status": "completed"}
    (whole,) = completion["choices"][0]["message"]["code_interpreter"]["calls"]
    assert whole["outputs"] == [
        {"type": "logs", "logs": "a\nb\nc\n"},
        {"type": "image", "url": image.data_url, "file_id": "cfile_1"},
    ]


def test_cell_whose_deltas_do_not_add_up_is_told_whole():
    begun_anew = (CodeAdded("ci_1", "pront("), CodeWritten("ci_1", "print(1)"), cell("print(1)"))
    cleared = (
        CodeWritten("ci_1", "x"),
        OutputAdded("ci_1", 0, LogsOutput("stdout", "1 %\n")),
        OutputsCleared("ci_1"),
        OutputAdded("ci_1", 0, LogsOutput("stdout", "2 %\n")),
        cell("x", LogsOutput("stdout", "2 %\n")),
    )
    replaced = (
        CodeWritten("ci_1", "x"),
        OutputAdded("ci_1", 0, ResultOutput("1 %")),
        OutputAdded("ci_1", 0, ResultOutput("2 %")),
        cell("x", ResultOutput("2 %")),
    )
    for events in (begun_anew, cleared, replaced):
        deltas, completion = completed(STARTED, *events)

        (whole,) = completion["choices"][0]["message"]["code_interpreter"]["calls"]
        assert calls(deltas)[-1]["final"] == whole


def test_links_are_counted_in_the_whole_content_and_files_are_those_left():
    kept = Artifact("cfile_1", "cntr_1", "/mnt/data/a.csv", "a.csv", 3, 7.0)
    gone = Artifact("cfile_2", "cntr_1", "/mnt/data/b.csv", "b.csv", 3, 7.0)
    deleted = Artifact("cfile_2", "cntr_1", "/mnt/data/b.csv", "b.csv", 0, 7.0, change="deleted")
    link = Citation("cntr_1", "cfile_1", "a.csv", 4, 27)
    unlinked = Citation("cntr_1", "cfile_1", "a.csv", 0, 0)
    words = "See sandbox:/mnt/data/a.csv"
    message = MessageItem("msg_2", "assistant", (TextPart(words, (link, unlinked)),))

    deltas, completion = completed(
        MessageStarted("msg_1"),
        TextAdded("msg_1", "Wait."),
        MessageFinished(MessageItem("msg_1", "assistant", (TextPart("Wait."),))),
        STARTED,
        cell("x", artifacts=(kept, gone)),
        STARTED,
        cell("y", artifacts=(deleted,)),
        MessageStarted("msg_2"),
        TextAdded("msg_2", words),
        MessageFinished(message),
    )

    content = completion["choices"][0]["message"]["content"]
    assert content == f"Wait.\n\n{words}" == "".join(d.get("content", "") for d in deltas)
    told = completion["choices"][0]["message"]["code_interpreter"]
    at, nowhere = told["annotations"]
    assert content[at["start_index"] : at["end_index"]] == "sandbox:/mnt/data/a.csv"
    assert (nowhere["start_index"], nowhere["end_index"]) == (0, 0)
    assert [file["id"] for file in told["files"]] == ["cfile_1"]
    assert deltas[-2]["code_interpreter"]["files"] == [{"index": 0, **told["files"][0]}]


def test_function_call_that_makes_no_sense_is_not_for_the_client():
    wrong = FunctionCallItem("fc_1", "call_1", "f", "{", status="incomplete")
    right = FunctionCallItem("fc_2", "call_2", "f", "{}")

    deltas, completion = completed(
        FunctionCallStarted("fc_1", "call_1", "f"),
        ArgumentsAdded("fc_1", "{"),
        FunctionCallFinished(wrong),
        FunctionCallStarted("fc_2", "call_2", "f"),
        FunctionCallFinished(right),
    )

    call = {"id": "call_2", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    assert [d["tool_calls"] for d in deltas if "tool_calls" in d] == [[{"index": 0, **call}]]
    (choice,) = completion["choices"]
    assert (choice["finish_reason"], choice["message"]["tool_calls"]) == ("tool_calls", [call])


def test_refusal_is_no_content():
    deltas, completion = completed(
        MessageStarted("msg_1"),
        RefusalAdded("msg_1", "No."),
        MessageFinished(MessageItem("msg_1", "assistant", (RefusalPart("No."),))),
    )

    assert {"refusal": "No."} in deltas
    message = completion["choices"][0]["message"]
    assert (message["refusal"], message["content"]) == ("No.", None)
