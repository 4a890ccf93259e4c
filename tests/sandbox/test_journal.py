from __future__ import annotations

import asyncio

import pytest

from sanderling.errors import Conflict, MachineFull
from sanderling.sandbox.base import Ended, Happening, Logs, Result
from sanderling.sandbox.journal import Journal, Journals, Shelf

ENDED = Ended("ok", 1.0, (), (), None, is_fresh=False)


async def collect(journal: Journal, after: int = -1) -> list[tuple[int, Happening]]:
    return [entry async for entry in journal.follow(after)]


async def test_a_second_listener_gets_everything_from_the_start():
    journal = Journal()
    first = asyncio.ensure_future(collect(journal))
    for number in range(3):
        journal.append(Result(str(number)))
        await asyncio.sleep(0)
    second = asyncio.ensure_future(collect(journal))
    journal.append(ENDED)

    expected = [(0, Result("0")), (1, Result("1")), (2, Result("2")), (3, ENDED)]
    assert await first == expected
    assert await second == expected
    assert await collect(journal) == expected


async def test_a_listener_goes_on_after_the_last_it_has_seen():
    journal = Journal()
    journal.append(Result("0"))
    journal.append(Result("1"))
    journal.append(ENDED)

    assert await collect(journal, after=0) == [(1, Result("1")), (2, ENDED)]
    assert await collect(journal, after=2) == []
    assert await collect(journal, after=99) == []


async def test_unseen_text_of_one_stream_becomes_one_entry_and_seen_text_never_changes():
    journal = Journal()
    journal.append(Logs("stdout", "a"))
    journal.append(Logs("stdout", "b"))
    listener = journal.follow()

    assert await anext(listener) == (0, Logs("stdout", "ab"))

    journal.append(Logs("stdout", "c"))
    journal.append(Logs("stderr", "d"))
    journal.append(ENDED)
    rest = [entry async for entry in listener]

    assert rest == [(1, Logs("stdout", "c")), (2, Logs("stderr", "d")), (3, ENDED)]
    assert await collect(journal) == [(0, Logs("stdout", "ab")), *rest]


async def test_a_listener_that_leaves_disturbs_nobody():
    journal = Journal()
    leaver = asyncio.ensure_future(collect(journal))
    stayer = asyncio.ensure_future(collect(journal))
    await asyncio.sleep(0)
    leaver.cancel()
    await asyncio.gather(leaver, return_exceptions=True)
    journal.append(ENDED)

    assert await stayer == [(0, ENDED)]


def test_nothing_follows_the_end():
    journal = Journal()
    journal.append(ENDED)
    with pytest.raises(AssertionError):
        journal.append(Result("late"))


def finished(journals: Journals, execution_id: str, text: str = "") -> None:
    journal = journals.open(execution_id)
    journal.append(Result(text))
    journal.append(ENDED)


def test_only_the_last_executions_are_kept_and_a_dropped_one_is_known_as_such():
    journals = Journals(executions_max=3)
    for number in range(5):
        finished(journals, f"exec_{number}")

    assert [journals.get(f"exec_{number}") is not None for number in (2, 3, 4)] == [True] * 3
    assert journals.get("exec_unheard_of") is None
    for number in (0, 1):
        with pytest.raises(Conflict):
            journals.get(f"exec_{number}")


def test_large_journals_are_dropped_oldest_first_and_the_newest_stays():
    journals = Journals(bytes_max=10_000)
    finished(journals, "old", "x" * 6_000)
    finished(journals, "newer", "x" * 6_000)
    finished(journals, "huge", "x" * 50_000)

    assert journals.get("huge") is not None
    with pytest.raises(Conflict):
        journals.get("old")


def test_a_running_execution_is_never_dropped():
    journals = Journals(executions_max=2, bytes_max=100)
    running = journals.open("running")
    running.append(Result("x" * 1000))
    for number in range(5):
        finished(journals, f"exec_{number}")

    assert journals.get("running") is running


def test_journals_of_all_containers_share_a_shelf_and_the_oldest_that_is_over_goes_first():
    shelf = Shelf(bytes_max=10_000)
    idle, running, busy = (Journals(shelf) for _ in range(3))
    finished(idle, "idle", "x" * 6_000)
    going_on = running.open("going on")
    going_on.append(Result("x" * 50_000))
    finished(busy, "busy", "x" * 6_000)

    with pytest.raises(Conflict):
        idle.get("idle")
    assert running.get("going on") is going_on
    assert busy.get("busy") is not None

    going_on.append(ENDED)  # larger than the shelf: alone on it, until the next one
    with pytest.raises(Conflict):
        busy.get("busy")
    assert running.get("going on") is going_on
    finished(busy, "next")
    with pytest.raises(Conflict):
        running.get("going on")


def test_a_container_that_is_closed_makes_its_room_on_the_shelf_free():
    shelf = Shelf(bytes_max=10_000)
    closed, other = Journals(shelf), Journals(shelf)
    finished(other, "kept", "x" * 4_000)
    finished(closed, "gone", "x" * 5_000)
    closed.close()
    finished(other, "more", "x" * 5_000)

    assert other.get("kept") is not None
    assert closed.get("gone") is None


async def test_an_execution_that_was_not_run_takes_its_place_on_the_shelf_as_well():
    shelf = Shelf(bytes_max=10_000)
    journals, other = Journals(shelf), Journals(shelf)
    journals.open("refused").fail(MachineFull("busy"))
    finished(other, "huge", "x" * 20_000)

    with pytest.raises(Conflict):
        journals.get("refused")
