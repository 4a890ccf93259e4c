from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from sanderling.records import (
    Artifact,
    CodeCallItem,
    ErrorOutput,
    FilePart,
    FunctionCallItem,
    FunctionOutputItem,
    ImageOutput,
    ImagePart,
    LogsOutput,
    MessageItem,
    Output,
    ReasoningItem,
    RefusalPart,
    ResultOutput,
    TextPart,
)
from sanderling.runs.transcript import (
    Conversation,
    Entry,
    HiddenCall,
    Note,
    code_output,
    middle_out,
    unpaired,
)


def messages(
    *entries: Entry,
    system: str | None = None,
    mounted: Mapping[str, str] | None = None,
    images: Mapping[str, str] | None = None,
) -> list[dict[str, Any]]:
    conversation = Conversation(system, (), mounted or {}, images or {}, logs_chars_max=1000)
    return list(conversation.messages(entries))


def user(*parts: Any) -> MessageItem:
    return MessageItem("msg_1", "user", parts)


def said(text: str) -> MessageItem:
    return MessageItem("msg_2", "assistant", (TextPart(text),))


def call(code: str = "2 + 2", call_id: str = "call_1", **values: Any) -> CodeCallItem:
    given: dict[str, Any] = {
        "id": "ci_1",
        "call_id": call_id,
        "code": code,
        "container_id": "cntr_1",
        "status": "completed",
        "outputs": (ResultOutput("4"),),
        "execution_status": "ok",
    }
    return CodeCallItem(**(given | values))


def function(call_id: str, name: str = "weather", status: Any = "completed") -> FunctionCallItem:
    return FunctionCallItem("fc_1", call_id, name, '{"city": "Bern"}', status)


def answered(call_id: str, output: str) -> FunctionOutputItem:
    return FunctionOutputItem("fco_1", call_id, output)


def wire_call(call_id: str, name: str, arguments: str) -> dict[str, Any]:
    return {
        "id": call_id,
        "type": "function",
        "function": {"name": name, "arguments": arguments},
    }


# ---- roles and words ---------------------------------------------------------------------------


def test_roles_become_the_roles_every_server_knows() -> None:
    entries = [
        MessageItem("msg_1", "developer", (TextPart("Be brief."),)),
        MessageItem("msg_2", "system", (TextPart("Be kind."),)),
        user(TextPart("Hi"), TextPart("there")),
        MessageItem("msg_3", "assistant", (RefusalPart("No."),)),
    ]

    assert messages(*entries, system="You have a tool.") == [
        {"role": "system", "content": "You have a tool."},
        {"role": "system", "content": "Be brief."},
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": "Hi\nthere"},
        {"role": "assistant", "content": "No."},
    ]


def test_reasoning_and_empty_answers_are_not_replayed() -> None:
    assert messages(user(TextPart("Hi")), ReasoningItem("rs_1", "Hm."), said("")) == [
        {"role": "user", "content": "Hi"}
    ]


def test_note_is_from_the_user() -> None:
    assert messages(Note("[Answer now.]")) == [{"role": "user", "content": "[Answer now.]"}]


# ---- files and pictures ------------------------------------------------------------------------


def test_files_are_named_as_they_are_mounted() -> None:
    message = user(TextPart("Look."), FilePart("file-1", "sales.csv"), ImagePart(file_id="file-2"))

    assert messages(message, mounted={"file-1": "sales_1.csv", "file-2": "photo.png"}) == [
        {"role": "user", "content": "Look.\n[files in /mnt/data: sales_1.csv, photo.png]"}
    ]


def test_file_that_cannot_be_read_is_said_to_be_so() -> None:
    assert messages(user(TextPart("Look."), FilePart("file-1", "sales.csv"))) == [
        {
            "role": "user",
            "content": "Look.\n[files attached but not readable here: sales.csv]",
        }
    ]


def test_pictures_are_parts_of_their_own() -> None:
    message = user(
        TextPart("Look."),
        ImagePart(file_id="file-1", detail="high"),
        ImagePart(url="https://example.com/a.png"),
        ImagePart(file_id="file-none"),
    )

    assert messages(message, images={"file-1": "data:image/png;base64,eA=="}) == [
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "Look."},
                {
                    "type": "image_url",
                    "image_url": {"url": "data:image/png;base64,eA==", "detail": "high"},
                },
                {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}},
            ],
        }
    ]


def test_message_of_only_a_picture_has_no_empty_text() -> None:
    [message] = messages(user(ImagePart(url="https://example.com/a.png")))

    assert [part["type"] for part in message["content"]] == ["image_url"]


# ---- calls -------------------------------------------------------------------------------------


def test_code_call_is_replayed_with_clean_arguments_and_its_output() -> None:
    assert messages(call('print("é")')) == [
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [wire_call("call_1", "python", '{"code": "print(\\"é\\")"}')],
        },
        {"role": "tool", "tool_call_id": "call_1", "content": "4"},
    ]


def test_words_before_a_call_are_in_the_same_message() -> None:
    [assistant, tool] = messages(said("Let me see."), call())

    assert assistant["content"] == "Let me see."
    assert assistant["tool_calls"][0]["id"] == "call_1"
    assert tool["role"] == "tool"


def test_every_call_is_answered_before_the_next() -> None:
    roles = [m["role"] for m in messages(call(), call(call_id="call_2"), said("4"))]

    assert roles == ["assistant", "tool", "assistant", "tool", "assistant"]


def test_call_without_the_models_id_goes_by_its_own() -> None:
    assert messages(call(call_id=""))[1]["tool_call_id"] == "ci_1"


def test_hidden_call_is_replayed_as_any_other() -> None:
    [assistant, tool] = messages(HiddenCall("call_9", "search", "{}", "No such tool."))

    assert assistant["tool_calls"] == [wire_call("call_9", "search", "{}")]
    assert tool == {"role": "tool", "tool_call_id": "call_9", "content": "No such tool."}


def test_functions_answers_stand_behind_their_calls_wherever_they_came() -> None:
    told = messages(
        function("call_1"),
        function("call_2"),
        call(call_id="call_3"),
        answered("call_2", "Rain."),
        user(TextPart("And?")),
        answered("call_1", "Sun."),
    )

    assert [m["role"] for m in told] == ["assistant", "tool", "tool", "assistant", "tool", "user"]
    assert [c["id"] for c in told[0]["tool_calls"]] == ["call_1", "call_2"]
    assert [m["content"] for m in told[1:3]] == ["Sun.", "Rain."]


def test_call_ids_that_a_model_uses_again_are_answered_in_order() -> None:
    told = messages(
        function("call_1"),
        answered("call_1", "Sun."),
        function("call_1"),
        answered("call_1", "Rain."),
    )

    assert [m.get("content") for m in told] == [None, "Sun.", None, "Rain."]


def test_call_cut_off_by_a_limit_is_not_replayed() -> None:
    assert messages(function("call_1", status="incomplete")) == []


@pytest.mark.parametrize(
    ("items", "expected"),
    [
        ([function("call_1"), answered("call_1", "x")], ([], [])),
        ([function("call_1")], (["call_1"], [])),
        ([answered("call_1", "x"), function("call_1")], (["call_1"], ["call_1"])),
        ([function("call_1"), answered("call_1", "x"), answered("call_1", "y")], ([], ["call_1"])),
        ([function("call_1", status="incomplete")], ([], [])),
    ],
)
def test_calls_and_answers_without_each_other_are_found(items: Any, expected: Any) -> None:
    assert unpaired(items) == expected


# ---- what a call's output says -----------------------------------------------------------------


def output_of(*outputs: Output, **values: Any) -> str:
    return code_output(call(outputs=outputs, **values), chars_max=1000)


def made(*paths: str) -> tuple[Artifact, ...]:
    return tuple(
        Artifact(f"cfile_{path}", "cntr_1", f"/mnt/data/{path}", path, 1, 0.0) for path in paths
    )


def test_outputs_are_told_in_order_on_lines_of_their_own() -> None:
    assert (
        output_of(
            LogsOutput("stdout", "one\n"),
            LogsOutput("stderr", "two"),
            ResultOutput("3"),
            ErrorOutput("ValueError", "x", "Traceback\nValueError: x\n"),
        )
        == "one\ntwo\n3\nTraceback\nValueError: x"
    )


def test_error_without_a_traceback_is_told_by_name() -> None:
    assert output_of(ErrorOutput("ValueError", "x", "")) == "ValueError: x"


def test_files_and_pictures_are_told_after_the_output() -> None:
    image = ImageOutput("data:…", "cfile_figure_1.png", "/mnt/data/figure_1.png")

    assert output_of(
        image, LogsOutput("stdout", "done\n"), artifacts=made("figure_1.png", "a.csv", "b.csv")
    ) == (
        "done\n"
        "[files created: /mnt/data/a.csv, /mnt/data/b.csv]\n"
        "[image shown to the user, saved as /mnt/data/figure_1.png]"
    )


def test_what_was_done_to_files_is_told_by_kind() -> None:
    created, changed, renamed, deleted = made("a.csv", "b.csv", "c.csv", "d.csv")
    artifacts = (
        replace(deleted, change="deleted"),
        replace(renamed, change="renamed", previous_path="/mnt/data/old name.csv"),
        replace(changed, change="changed"),
        created,
    )

    assert output_of(artifacts=artifacts) == (
        "[files created: /mnt/data/a.csv]\n"
        "[files changed: /mnt/data/b.csv]\n"
        "[files renamed: /mnt/data/old name.csv -> /mnt/data/c.csv]\n"
        "[files deleted: /mnt/data/d.csv]"
    )


def test_long_list_of_files_is_cut() -> None:
    told = output_of(artifacts=made(*(f"{i}.txt" for i in range(60))))

    assert told.endswith("/mnt/data/49.txt and 10 more]")


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"execution_status": "ok"}, "[no output]"),
        (
            {"execution_status": None},
            "[the output of this call is not known any more]",
        ),
        (
            {"execution_status": None, "status": "incomplete"},
            "[this call was not run to its end]",
        ),
    ],
)
def test_silence_is_explained(values: dict[str, Any], expected: str) -> None:
    assert output_of(**values) == expected


def test_long_output_loses_its_middle_and_keeps_what_follows_it() -> None:
    item = call(
        outputs=(LogsOutput("stdout", "a" * 50 + "b" * 900 + "c" * 50),), artifacts=made("a.csv")
    )

    assert code_output(item, chars_max=100) == (
        "a" * 50
        + "\n… [900 characters left out] …\n"
        + "c" * 50
        + "\n[files created: /mnt/data/a.csv]"
    )


@pytest.mark.parametrize("length", [0, 1, 9, 10])
def test_output_that_fits_is_left_alone(length: int) -> None:
    assert middle_out("x" * length, 10) == "x" * length


def test_nothing_may_be_shown_at_all() -> None:
    assert middle_out("xyz", 0) == "\n… [3 characters left out] …\n"
