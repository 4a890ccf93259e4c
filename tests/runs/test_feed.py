from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from sanderling.errors import SanderlingError
from sanderling.records import MessageItem, Run, TextPart
from sanderling.runs import events as e
from sanderling.runs import feed as feed_module
from sanderling.runs.feed import Feed
from sanderling.store.store import Store
from tests.runs.stage import request

BEGIN = e.RunChanged("in_progress", 1.0)
END = e.RunChanged("completed", 2.0)
STORY: list[e.Event] = [
    BEGIN,
    e.MessageStarted("msg_1"),
    *(e.TextAdded("msg_1", f"{n} 😀") for n in range(20)),
    e.MessageFinished(MessageItem("msg_1", "assistant", (TextPart("…"),))),
    END,
]


async def begin(feed: Feed, store: Store, run_id: str = "resp_1") -> str:
    await store.runs.insert(Run(run_id, request("?"), "in_progress", 1.0), [])
    await feed.begin(run_id)
    return run_id


async def collected(events: AsyncIterator[tuple[int, e.Event]]) -> list[tuple[int, e.Event]]:
    async with asyncio.timeout(10):
        return [numbered async for numbered in events]


def following(feed: Feed, run_id: str, after: int = -1) -> asyncio.Task[list[tuple[int, e.Event]]]:
    return asyncio.create_task(collected(feed.follow(run_id, after)))


async def test_two_followers_and_a_replay_see_the_same(feed: Feed, store: Store) -> None:
    run_id = await begin(feed, store)
    followers = [following(feed, run_id), following(feed, run_id)]

    for event in STORY:
        await feed.append(run_id, event)

    expected = list(enumerate(STORY))
    assert [await follower for follower in followers] == [expected, expected]
    assert await collected(feed.follow(run_id)) == expected


async def test_follower_who_comes_in_the_middle_sees_everything(feed: Feed, store: Store) -> None:
    run_id = await begin(feed, store)
    for event in STORY[:10]:
        await feed.append(run_id, event)
    await feed.flush(run_id)

    follower = following(feed, run_id)
    for event in STORY[10:]:
        await feed.append(run_id, event)

    assert await follower == list(enumerate(STORY))


@pytest.mark.parametrize("after", [-1, 0, 7, len(STORY) - 2])
async def test_follower_resumes_after_any_event(feed: Feed, store: Store, after: int) -> None:
    run_id = await begin(feed, store)
    live = following(feed, run_id, after)
    for event in STORY:
        await feed.append(run_id, event)

    expected = list(enumerate(STORY))[after + 1 :]
    assert await live == expected
    assert await collected(feed.follow(run_id, after)) == expected


@pytest.mark.parametrize("after", [len(STORY) - 1, len(STORY) + 5])
async def test_nothing_follows_the_terminal_event(feed: Feed, store: Store, after: int) -> None:
    run_id = await begin(feed, store)
    live = following(feed, run_id, after)
    for event in STORY:
        await feed.append(run_id, event)

    assert await live == []
    assert await collected(feed.follow(run_id, after)) == []


async def test_run_that_nobody_writes_has_no_events(feed: Feed) -> None:
    assert await collected(feed.follow("resp_none")) == []


async def test_slow_follower_reads_from_the_store_what_memory_has_lost(
    feed: Feed, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed_module, "TAIL_MAX", 4)
    monkeypatch.setattr(feed_module, "PAGE_EVENTS", 3)
    run_id = await begin(feed, store)
    slow = feed.follow(run_id)
    await feed.append(run_id, STORY[0])
    seen = [await anext(slow)]

    for event in STORY[1:]:
        await feed.append(run_id, event)
    await feed.flush(run_id)

    assert seen + await collected(slow) == list(enumerate(STORY))


async def test_event_is_on_the_disk_before_anybody_is_told(tmp_path: Path) -> None:
    store = await Store.open(tmp_path / "data")
    other = await Store.open(tmp_path / "data")
    feed = Feed(store)
    run_id = await begin(feed, store)
    follower = feed.follow(run_id)

    for event in STORY:
        await feed.append(run_id, event)
        seq, _ = await anext(follower)
        assert await other.events.last_seq(run_id) >= seq

    await feed.close()
    await other.close()
    await store.close()


async def test_events_outlive_the_process(tmp_path: Path) -> None:
    store = await Store.open(tmp_path / "data")
    feed = Feed(store)
    run_id = await begin(feed, store)
    for event in STORY:
        await feed.append(run_id, event)
    await feed.close()
    await store.close()

    reopened = await Store.open(tmp_path / "data")
    assert await collected(Feed(reopened).follow(run_id)) == list(enumerate(STORY))
    await reopened.close()


async def test_stream_that_was_broken_off_goes_on_with_the_next_number(
    feed: Feed, store: Store
) -> None:
    run_id = await begin(feed, store)
    for event in STORY[:5]:
        await feed.append(run_id, event)
    await feed.close()

    again = Feed(store)
    await again.begin(run_id)
    await again.append(run_id, END)
    await again.flush(run_id)

    assert [seq for seq, _ in await collected(again.follow(run_id))] == [0, 1, 2, 3, 4, 5]
    await again.close()


async def test_writer_far_ahead_of_the_disk_is_held_back(
    feed: Feed, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed_module, "AHEAD_MAX", 3)
    run_id = await begin(feed, store)

    for event in STORY[:3]:
        await feed.append(run_id, event)

    assert await store.events.last_seq(run_id) == 2


async def test_event_is_told_after_the_item_it_closes_and_its_changes_are_written(
    feed: Feed, store: Store
) -> None:
    run_id = await begin(feed, store)
    item = MessageItem("msg_1", "assistant", (TextPart("Hi"),))
    follower = feed.follow(run_id)

    await feed.append(run_id, e.MessageFinished(item), item=item)
    await anext(follower)
    assert await store.runs.items(run_id, "output") == [item]

    await feed.append(run_id, END, changes={"status": "completed", "completed_at": 2.0})
    await anext(follower)
    assert await store.runs.unfinished() == []


async def test_event_that_cannot_be_written_is_told_to_writer_and_followers(
    feed: Feed, store: Store
) -> None:
    run_id = await begin(feed, store)
    other = await begin(feed, store, "resp_2")
    follower = following(feed, run_id)
    await store.events.append(run_id, 0, [{"taken": True}])

    await feed.append(run_id, BEGIN)

    with pytest.raises(SanderlingError):
        await feed.flush(run_id)
    with pytest.raises(SanderlingError):
        await follower
    with pytest.raises(SanderlingError):
        await feed.append(run_id, END)
    await feed.append(other, END)
    await feed.flush(other)
    assert await collected(feed.follow(other)) == [(0, END)]


async def test_given_up_stream_ends_its_followers_with_the_reason(feed: Feed, store: Store) -> None:
    run_id = await begin(feed, store)
    await feed.append(run_id, BEGIN)
    follower = following(feed, run_id)
    await feed.flush(run_id)

    await feed.abandon(run_id, SanderlingError("The disk is gone."))

    with pytest.raises(SanderlingError, match=r"The disk is gone."):
        await follower
