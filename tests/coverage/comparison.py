"""What OpenAI has beside what this server has: rows, each done, partial or not, and why."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from typing import Literal

from tests.coverage import ours, paths, reasons, theirs

State = Literal["done", "partial", "not"]
EVENTS = "events"
ENDPOINTS = "endpoints"


@dataclass(frozen=True)
class Row:
    """One endpoint, field or event. `name` is its path within its section."""

    name: str
    state: State
    why: str = ""

    @property
    def is_explained(self) -> bool:
        """Whether a reason says why it is not here, if it is not."""
        return self.state == "done" or bool(self.why)


@dataclass(frozen=True)
class Section:
    """What belongs together; `beyond` is what OpenAI does not have."""

    title: str
    rows: tuple[Row, ...]
    beyond: tuple[str, ...] = ()


@functools.cache
def endpoints() -> Section:
    """Return the endpoints of what is served here; other groups have one reason each."""
    offered = {name for name, each in theirs.endpoints().items() if each.group in theirs.SERVED}
    return _section(ENDPOINTS, offered, set(ours.endpoints()))


def groups() -> dict[str, int]:
    """Return how many endpoints OpenAI has in each group of which nothing is served here."""
    counts: dict[str, int] = {}
    for each in theirs.endpoints().values():
        if each.group not in theirs.SERVED:
            counts[each.group] = counts.get(each.group, 0) + 1
    return dict(sorted(counts.items()))


@functools.cache
def requests() -> tuple[Section, ...]:
    """Return what each endpoint takes, in its query and in its body."""
    found = []
    anywhere: dict[str, set[str]] = {}
    for each in theirs.endpoints().values():
        anywhere.setdefault(each.group, set()).update(each.query | each.body)
    for name, mine in _both():
        for part in ("query", "body"):
            offered, taken = getattr(theirs.endpoints()[name], part), getattr(mine, part)
            if offered or taken:
                section = _section(f"{name} {part}", offered, taken)
                # One model may check several requests, with what only some of them have.
                found.append(
                    replace(
                        section, beyond=_beyond(anywhere[theirs.endpoints()[name].group], taken)
                    )
                )
    return tuple(found)


@functools.cache
def replies() -> tuple[Section, ...]:
    """Return what each object that is replied has, and which endpoints reply it."""
    offered: dict[str, set[str]] = {}
    shown: dict[str, set[str]] = {}
    for name, mine in _both():
        if mine.shape and (reply := theirs.endpoints()[name].reply):
            offered.setdefault(mine.shape, set()).update(reply)
            shown.setdefault(mine.shape, set()).update(mine.reply)
    return tuple(
        _section(f"reply {shape}", offered[shape], shown[shape]) for shape in sorted(offered)
    )


@functools.cache
def events() -> Section:
    """Return the events of a response's stream, and their fields."""
    return _section(EVENTS, theirs.events(), ours.events())


@functools.cache
def chunks() -> Section:
    """Return what the chunks of a chat completion have."""
    return _section("chunks", theirs.chunks(), ours.chunks())


def everything() -> tuple[Section, ...]:
    """Return every section of the page, in its order."""
    return (endpoints(), *requests(), *replies(), events(), chunks())


def unexplained() -> list[str]:
    """Return what is not here without a reason, as `section path`."""
    return [f"{s.title} {row.name}" for s in everything() for row in s.rows if not row.is_explained]


def _both() -> Iterator[tuple[str, ours.Endpoint]]:
    for name, mine in sorted(ours.endpoints().items(), key=lambda each: _by_path(each[0])):
        if name in theirs.endpoints():
            yield name, mine


def _by_path(name: str) -> tuple[str, str]:
    method, _, path = name.partition(" ")
    return path, method


def _section(title: str, offered: AbstractSet[str], here: AbstractSet[str]) -> Section:
    rows = list(_rows(title, offered, here))
    if title == ENDPOINTS:
        rows.sort(key=lambda row: _by_path(row.name))
    return Section(title, tuple(rows), _beyond(offered, here))


def _beyond(offered: AbstractSet[str], here: AbstractSet[str]) -> tuple[str, ...]:
    whole = offered - {above for path in offered for above in paths.above(path)}
    untagged = {paths.untagged(path) for path in offered}
    return tuple(
        path
        for path in paths.topmost({path for path in here if path not in offered})
        if paths.untagged(path) not in untagged and whole.isdisjoint(paths.above(path))
    )


def _rows(title: str, offered: AbstractSet[str], here: AbstractSet[str]) -> Iterator[Row]:
    missing: list[str] = []
    for path in sorted(offered):
        if any(paths.is_below(path, above) for above in missing):
            continue
        why = refused(title, path)
        if passed := passed_on(title, path):
            missing.append(path)
            yield Row(path, "partial", passed)
        elif why or not paths.has(here, path):
            missing.append(path)
            yield Row(path, "not", why or gap(title, path))
        else:
            why = partial(title, path)
            yield Row(path, "partial" if why else "done", why)


def refused(title: str, path: str) -> str:
    """Return why something that the code knows is refused; empty: it is not."""
    found = [each.why for each in reasons.REFUSED if matches(each.pattern, title, path)]
    return found[0] if found else ""


def passed_on(title: str, path: str) -> str:
    """Return how something that is not read here reaches the model server; empty: it does not."""
    found = [why for pattern, why in reasons.PASSED_ON.items() if matches(pattern, title, path)]
    return found[0] if found else ""


def partial(title: str, path: str) -> str:
    """Return how something that is here is so only in part; empty: it is so wholly."""
    found = [why for pattern, why in reasons.PARTIAL.items() if matches(pattern, title, path)]
    return found[0] if found else ""


def gap(title: str, path: str) -> str:
    """Return why something is not here; empty: no reason says it."""
    pattern = pattern_of(title, path)
    return "" if pattern is None else reasons.GAPS[pattern]


def pattern_of(title: str, path: str) -> str | None:
    """Return the first pattern of a reason that is about a gap."""
    return next((each for each in reasons.GAPS if matches(each, title, path)), None)


def matches(pattern: str, title: str, path: str) -> bool:
    """Whether a reason is about something: its pattern is found in `title path`, up to the end."""
    return re.search(f"(?:{pattern})$", f"{title} {path}") is not None
