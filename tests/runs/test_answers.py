from __future__ import annotations

import json
from typing import Any

import pytest

from sanderling.models.base import RefusalDelta, TextDelta, TurnFinished
from sanderling.models.scripted import code, text
from sanderling.records import MessageItem, TextFormat, Usage
from sanderling.runs.answers import check
from tests.runs.stage import Stage, answer_text, items, request

SCHEMA = {
    "type": "object",
    "properties": {"n": {"type": "integer"}},
    "required": ["n"],
    "additionalProperties": False,
}
STRICT = TextFormat("json_schema", "n", SCHEMA, strict=True)
LOOSE = TextFormat("json_schema", "n", SCHEMA, strict=False)
OBJECT = TextFormat("json_object")
USAGE = Usage(input_tokens=10, output_tokens=5)


@pytest.mark.parametrize(
    ("given", "text_format", "answer", "problem"),
    [
        ('{"n": 1}', STRICT, '{"n": 1}', None),
        (' {"n": 1}\n', STRICT, '{"n": 1}', None),
        ('```json\n{"n": 1}\n```', STRICT, '{"n": 1}', None),
        ('Here:\n```\n{"n": 1}\n```\nGood?', STRICT, '{"n": 1}', None),
        ('Sure! {"n": 1}', STRICT, '{"n": 1}', None),
        ('{"n": "1"}', STRICT, '{"n": "1"}', "$.n is '1', not of type integer"),
        ('{"n": NaN}', STRICT, '{"n": NaN}', "it is not JSON"),
        ("one", STRICT, "one", "it is not JSON"),
        ("[" * 100_000, STRICT, "[" * 100_000, "it is not JSON"),
        ('{"m": 1}', OBJECT, '{"m": 1}', None),
        ("[1]", OBJECT, "[1]", "it is not a JSON object"),
    ],
)
def test_what_is_the_answer(
    given: str, text_format: TextFormat, answer: str, problem: str | None
) -> None:
    checked = check(given, text_format)

    assert (checked.text, checked.problem) == (answer, problem)


async def test_answer_that_fits_is_told_whole_and_words_beside_calls_are_not(stage: Stage) -> None:
    turns = [code("print(1)", say="Let me see."), text('```json\n{"n": 1}\n```')]

    told = await stage.play(turns, request("n?", text_format=STRICT))

    assert [item.type for item in items(told)] == ["code_call", "message"]
    assert answer_text(told) == '{"n": 1}'


async def test_answer_that_does_not_fit_is_asked_for_once_more(stage: Stage) -> None:
    run, told = await stage.run([text("One."), text('{"n": 1}')], request("n?", text_format=STRICT))

    assert (run.status, answer_text(told)) == ("completed", '{"n": 1}')
    assert len([item for item in items(told) if isinstance(item, MessageItem)]) == 1
    assert run.usage == USAGE + USAGE
    wrong, note = stage.model.requests[1].messages[-2:]
    assert wrong == {"role": "assistant", "content": "One."}
    assert "it is not JSON" in note["content"]
    assert json.dumps(SCHEMA) in note["content"]


async def test_answer_that_never_fits_fails_the_run_and_is_not_shown(stage: Stage) -> None:
    run, told = await stage.run([text("One."), text("Two.")], request("n?", text_format=STRICT))

    assert (run.status, items(told)) == ("failed", [])
    assert run.error is not None
    assert run.error.message == (
        "The model's answer is not in the format that was asked for: it is not JSON."
    )


@pytest.mark.parametrize(
    ("turn", "status", "types"),
    [
        ([TextDelta('{"n'), TurnFinished("length", USAGE, "m")], "incomplete", ["message"]),
        ([RefusalDelta("No."), TurnFinished("stop", USAGE, "m")], "completed", ["message"]),
    ],
)
async def test_answer_that_was_cut_or_refused_is_shown_as_it_is(
    stage: Stage, turn: Any, status: str, types: list[str]
) -> None:
    run, told = await stage.run([turn], request("n?", text_format=STRICT))

    assert (run.status, [item.type for item in items(told)]) == (status, types)


async def test_loose_schema_is_passed_on_and_not_checked(stage: Stage) -> None:
    run, told = await stage.run([text("One.")], request("n?", text_format=LOOSE))

    assert (run.status, answer_text(told)) == ("completed", "One.")
    assert stage.model.requests[0].text_format == LOOSE
