"""docs/coverage.md, from the comparison."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from tests.coverage import comparison, ours, paths, reasons, theirs
from tests.coverage.comparison import Row, Section

PAGE = Path(__file__).parents[2] / "docs" / "coverage.md"

# The request that others are like.
_MODEL = "POST /responses"
_HEAD = """\
# What of OpenAI's API is here

Endpoint by endpoint, field by field, event by event, beside openai-python {version}, whose types
are made from OpenAI's own description. This page is written by `make coverage-page` from the code:
the routes, the models that check requests, the shapes of replies, and the events and items that a
stream really gives. A test fails when it is stale. Why something is **partial** or **not** here is
written by hand; the test fails for a gap without a reason and for a reason without a gap.

What Sanderling has beyond it: [api-extensions.md](api-extensions.md).

A path is read so: `tools[]:function.strict` is the field `strict` of those objects in the array
`tools` whose `type` is `function`; `file.{{id, bytes}}` are two fields. What is below a gap is not
told.
"""
_REQUESTS = """\
## Requests

What is not known here is ignored, so that newer SDKs keep working; in chat completions it is passed
on.
"""


class Unexplained(Exception):
    """Something is not here, and reasons.py does not say why."""


def render() -> str:
    """
    Return the whole page.

    Raises:
        Unexplained: names everything that needs a reason first.
    """
    if unexplained := comparison.unexplained():
        raise Unexplained("\n".join(unexplained))
    parts = [
        _HEAD.format(version=theirs.VERSION),
        "\n".join(_overview()),
        "\n".join(_endpoints()),
        _REQUESTS,
        *("\n".join(_section(each)) for each in comparison.requests()),
        "## Replies\n",
        *("\n".join(_reply(each)) for each in comparison.replies()),
        "\n".join(_events()),
        "\n".join(_chunks()),
    ]
    return "\n".join(parts).rstrip() + "\n"


def _overview() -> Iterator[str]:
    yield "| | done | partial | not |"
    yield "|---|---|---|---|"
    for title, sections in (
        ("[endpoints](#endpoints) of the groups that are served", [comparison.endpoints()]),
        ("fields of [requests](#requests)", comparison.requests()),
        ("fields of [replies](#replies)", comparison.replies()),
        ("[events](#events) of a response, and their fields", [comparison.events()]),
        ("[chunks](#chunks-of-chat-completions) of a completion", [comparison.chunks()]),
    ):
        rows = [row for section in sections for row in section.rows]
        counts = [sum(row.state == state for row in rows) for state in ("done", "partial", "not")]
        yield f"| {title} | {' | '.join(map(str, counts))} |"
    yield ""


def _endpoints() -> Iterator[str]:
    section = comparison.endpoints()
    yield "## Endpoints"
    yield ""
    yield "| | | |"
    yield "|---|---|---|"
    for row in section.rows:
        yield f"| `{row.name}` | {_state(row)} | {row.why} |"
    yield ""
    yield f"Beyond OpenAI's: {_names(section.beyond)}."
    yield ""
    yield "Nothing of these is here:"
    yield ""
    yield "| | endpoints | why |"
    yield "|---|---|---|"
    for group, count in comparison.groups().items():
        yield f"| `/{group}` | {count} | {reasons.GROUPS[group]} |"
    yield ""


def _section(section: Section) -> Iterator[str]:
    method_and_path, _, part = section.title.rpartition(" ")
    yield f"### {method_and_path}: {part}"
    yield ""
    if same := _as_there(section):
        yield f"As in `{_MODEL}`, with all that is below: {_names(sorted(same))}."
        yield ""
    rows = tuple(row for row in section.rows if paths.first_name(row.name) not in same)
    yield from _rows(replace(section, rows=rows))


def _as_there(section: Section) -> set[str]:
    """Return the large fields that are as they are in the request that others are modelled on."""
    if section.title == f"{_MODEL} body":
        return set()
    [model] = [each for each in comparison.requests() if each.title == f"{_MODEL} body"]
    there, here = _by_field(model), _by_field(section)
    return {name for name, rows in here.items() if len(rows) > 1 and there.get(name) == rows}


def _by_field(section: Section) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = {}
    for row in section.rows:
        found.setdefault(paths.first_name(row.name), []).append(row)
    return found


def _reply(section: Section) -> Iterator[str]:
    shape = section.title.removeprefix("reply ")
    names = [name for name, each in ours.endpoints().items() if each.shape == shape]
    known = sorted(name for name in names if name in theirs.endpoints())
    yield f"### {shape}"
    yield ""
    yield f"Of {_names(known)}."
    yield ""
    yield from _rows(section)


def _events() -> Iterator[str]:
    section = comparison.events()
    yield "## Events"
    yield ""
    yield "Of `POST /responses` and `GET /responses/{id}` with `stream`; their order is in"
    yield "[api-extensions.md](api-extensions.md#order-of-a-responses-events)."
    yield ""
    yield "| event | | fields, or why not |"
    yield "|---|---|---|"
    fields: dict[str, list[Row]] = {}
    events = [row for row in section.rows if row.name in _event_names()]
    for row in section.rows:
        if row not in events:
            event = max((e.name for e in events if row.name.startswith(f"{e.name}.")), key=len)
            fields.setdefault(event, []).append(row)
    for row in events:
        its = fields.get(row.name, [])
        told = ", ".join(_event_field(row.name, field) for field in its) or row.why
        yield f"| `{row.name[1:]}` | {_state(row)} | {told} |"
    yield ""
    yield f"Beyond OpenAI's: {_names(e[1:] for e in section.beyond)}."
    yield ""


def _chunks() -> Iterator[str]:
    yield "## Chunks of chat completions"
    yield ""
    yield "Of `POST /chat/completions` with `stream`, where this server answers; what is passed on"
    yield "comes as the model server says it."
    yield ""
    yield from _rows(comparison.chunks())


def _event_names() -> set[str]:
    """Return those paths that are not a field of another."""
    every = theirs.events()
    return {path for path in every if path.rpartition(".")[0] not in every}


def _event_field(event: str, field: Row) -> str:
    name = f"`{field.name[len(event) + 1 :]}`"
    return name if field.state == "done" else f"{name} ({_state(field)}: {field.why})"


def _rows(section: Section) -> Iterator[str]:
    done = [row.name for row in section.rows if row.state == "done"]
    if done:
        yield f"Done: {_names(done)}."
        yield ""
    others: dict[tuple[str, str], list[str]] = {}
    for row in section.rows:
        if row.state != "done":
            others.setdefault((_state(row), row.why), []).append(row.name)
    if others:
        yield "| | | why, or how |"
        yield "|---|---|---|"
        for (state, why), names in sorted(others.items(), key=lambda each: each[0][0] == "not"):
            yield f"| {_names(names)} | {state} | {why} |"
        yield ""
    if section.beyond:
        yield f"Beyond OpenAI's: {_names(section.beyond)}."
        yield ""


def _state(row: Row) -> str:
    return row.state if row.state == "done" else f"**{row.state}**"


def _names(names: Iterable[str]) -> str:
    """Return names as code, those that differ only in their last part together."""
    together: dict[str, list[str]] = {}
    for name in names:
        stem, last = re.fullmatch(r"(.*[.:])?(.*)", name.removeprefix(":")).groups("")
        together.setdefault(stem, []).append(last)
    told = []
    for stem, lasts in together.items():
        if stem and len(lasts) > 1:
            told.append(f"`{stem}{{{', '.join(lasts)}}}`")
        else:
            told += [f"`{stem}{last}`" for last in lasts]
    return ", ".join(told)
