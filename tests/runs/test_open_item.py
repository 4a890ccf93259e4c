from __future__ import annotations

import pytest

from sanderling.records import (
    CodeCallItem,
    FunctionCallItem,
    LogsOutput,
    MessageItem,
    ReasoningItem,
    RefusalPart,
    ResultOutput,
    TextPart,
)
from sanderling.runs import events as e
from sanderling.runs.open_item import OpenItem


def folded(*events: e.Event) -> OpenItem:
    item = OpenItem()
    for event in events:
        item.add(event)
    return item


@pytest.mark.parametrize(
    ("events", "closing"),
    [
        (
            [e.MessageStarted("msg_1"), e.TextAdded("msg_1", "a"), e.TextAdded("msg_1", "b")],
            e.MessageFinished(MessageItem("msg_1", "assistant", (TextPart("ab"),), "incomplete")),
        ),
        (
            [e.MessageStarted("msg_1"), e.RefusalAdded("msg_1", "No")],
            e.MessageFinished(
                MessageItem("msg_1", "assistant", (RefusalPart("No"),), "incomplete")
            ),
        ),
        (
            [e.ReasoningStarted("rs_1"), e.ReasoningAdded("rs_1", "Hm")],
            e.ReasoningFinished(ReasoningItem("rs_1", "Hm")),
        ),
        (
            [e.FunctionCallStarted("fc_1", "call_1", "f"), e.ArgumentsAdded("fc_1", "{")],
            e.FunctionCallFinished(FunctionCallItem("fc_1", "call_1", "f", "{", "incomplete")),
        ),
        (
            [
                e.CodeCallStarted("ci_1", "call_1", "cntr_1"),
                e.CodeAdded("ci_1", "pri"),
                e.CodeWritten("ci_1", "print(1); 2"),
                e.OutputAdded("ci_1", 0, LogsOutput("stdout", "1")),
                e.OutputAdded("ci_1", 0, LogsOutput("stdout", "\n")),
                e.OutputAdded("ci_1", 1, ResultOutput("2")),
            ],
            e.CodeCallFinished(
                CodeCallItem(
                    "ci_1",
                    "call_1",
                    "print(1); 2",
                    "cntr_1",
                    "incomplete",
                    (LogsOutput("stdout", "1\n"), ResultOutput("2")),
                )
            ),
        ),
    ],
)
def test_item_that_is_broken_off_is_closed_with_what_there_is(
    events: list[e.Event], closing: e.Event
) -> None:
    item = folded(*events)

    assert item.abandoned(has_failed=False) == closing
    item.add(closing)
    assert item.kind is None
    assert item.abandoned(has_failed=False) is None


def test_code_call_that_we_broke_off_has_failed() -> None:
    closing = folded(e.CodeCallStarted("ci_1", "call_1", "cntr_1")).abandoned(has_failed=True)

    assert isinstance(closing, e.CodeCallFinished)
    assert closing.item.status == "failed"


def test_nothing_is_open_before_and_between_items() -> None:
    assert folded(e.RunChanged("in_progress", 1.0)).kind is None


def test_next_item_begins_empty() -> None:
    item = folded(
        e.MessageStarted("msg_1"),
        e.RefusalAdded("msg_1", "No"),
        e.MessageFinished(MessageItem("msg_1", "assistant", (RefusalPart("No"),))),
        e.MessageStarted("msg_2"),
    )

    assert (item.kind, item.item_id, item.text, item.is_refusal) == ("message", "msg_2", "", False)


def test_item_that_begins_inside_another_is_a_programmers_error() -> None:
    with pytest.raises(AssertionError):
        folded(e.MessageStarted("msg_1"), e.MessageStarted("msg_2"))
