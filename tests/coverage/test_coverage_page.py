"""docs/coverage.md says what is so."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator
from pathlib import Path
from typing import get_args

import pytest

from sanderling.records import Item, Tool
from sanderling.runs.events import Event
from tests.api.making import Api, memory_api
from tests.coverage import comparison, ours, page, paths, reasons, samples, theirs

# The one endpoint whose requests a model server is given as they are.
PASSING = "POST /chat/completions"


@functools.cache
def rows() -> list[tuple[str, comparison.Row]]:
    return [(section.title, row) for section in comparison.everything() for row in section.rows]


def test_every_gap_has_a_reason() -> None:
    assert comparison.unexplained() == []


def test_page_is_what_the_code_says() -> None:
    assert page.PAGE.read_text() == page.render(), "make coverage-page"


def test_reasons_are_about_something_that_is_not_here() -> None:
    used = {comparison.pattern_of(title, row.name) for title, row in rows() if row.state == "not"}

    assert set(reasons.GAPS) - used == set()


def test_what_is_passed_on_is_not_read_here() -> None:
    [chat] = [each for each in comparison.requests() if each.title == f"{PASSING} body"]
    passed = [row.name for row in chat.rows if comparison.passed_on(chat.title, row.name)]

    assert [p for p in passed if paths.has(ours.endpoints()[PASSING].body, p)] == []
    assert all(pattern.startswith(PASSING) for pattern in reasons.PASSED_ON)
    assert all(
        any(comparison.matches(pattern, chat.title, path) for path in passed)
        for pattern in reasons.PASSED_ON
    )


def test_no_reason_is_about_something_that_is_here() -> None:
    here = [
        (title, row.name)
        for title, row in rows()
        if row.state != "not" and not comparison.passed_on(title, row.name)
    ]

    wrong = [
        f"{pattern}: {' '.join(each)}"
        for pattern in reasons.GAPS
        for each in here
        if comparison.matches(pattern, *each)
    ]
    assert wrong == []


def test_what_is_said_to_be_partial_is_here() -> None:
    here = [(title, row.name) for title, row in rows() if row.state == "partial"]

    unused = [
        pattern
        for pattern in reasons.PARTIAL
        if not any(comparison.matches(pattern, *each) for each in here)
    ]
    assert unused == []


def test_groups_of_which_nothing_is_served_have_a_reason_each() -> None:
    assert set(reasons.GROUPS) == set(comparison.groups())


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    async with memory_api(tmp_path) as api:
        yield api


@pytest.mark.parametrize("refusal", reasons.REFUSED, ids=lambda each: f"{each.path} {each.param}")
async def test_what_is_said_to_be_refused_is(refusal: reasons.Refusal, api: Api) -> None:
    status, error = await api.error("POST", f"/v1{refusal.path}", refusal.body)

    assert (status, error["param"]) == (400, refusal.param)
    assert any(comparison.matches(refusal.pattern, title, row.name) for title, row in rows())


def test_sdk_is_read_whole() -> None:
    """What nobody would notice to be missing: a path, a union's member, a field of a form."""
    create = theirs.endpoints()["POST /responses"]

    assert {"POST /files", "GET /containers/{id}/files/{id}/content"} < set(theirs.endpoints())
    assert "tools[]:code_interpreter.container:auto.file_ids" in create.body
    assert "output[]:message.content[]:output_text.annotations[]:file_path.file_id" in create.reply
    assert "expires_after.anchor" in theirs.endpoints()["POST /files"].body
    assert "after" in theirs.endpoints()["GET /files"].query
    assert {":response.completed", ":response.completed.response"} < theirs.events()
    assert len(theirs.endpoints()) > 300


@pytest.mark.parametrize("union", [Event, Item, Tool], ids=["events", "items", "tools"])
def test_there_is_a_sample_of_everything(union: object) -> None:
    for kind in get_args(union):
        assert {type(each) for each in samples.of(kind)} == {kind}


@pytest.mark.parametrize(
    ("known", "path", "is_there"),
    [
        ({"a.b"}, "a.b", True),
        ({"a.b"}, "a", True),
        ({"a[].text"}, "a[]:plain.text", True),
        ({"a[]:other.text"}, "a[]:plain.text", False),
        ({"a.bc"}, "a.b", False),
        (set(), "a", False),
    ],
)
def test_path_is_there(known: set[str], path: str, is_there: bool) -> None:
    assert paths.has(known, path) is is_there


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({"properties": {"a": {"type": "string"}}}, {"a"}),
        ({"properties": {"a[b]": {"type": "string"}}}, {"a.b"}),
        (
            {"anyOf": [{"$ref": "#/x/M"}, {"items": {"$ref": "#/x/M"}}]},
            {"m", "[].m"},
        ),
        (
            {"allOf": [{"$ref": "#/x/M"}, {"properties": {"type": {"const": "t"}}}]},
            {":t", ":t.m"},
        ),
    ],
)
def test_schema_is_read(schema: dict[str, object], expected: set[str]) -> None:
    components = {"M": {"properties": {"m": {"type": "integer"}}}}

    assert set(paths.of_schema(schema, components)) == expected
